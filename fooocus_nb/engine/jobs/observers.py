"""Observers of generations, such as the recorder of a run: told of each job of this kernel."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fooocus_nb.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fooocus_nb.engine.facts import EngineFacts
    from fooocus_nb.engine.jobs.image_collector import CollectedFile
    from fooocus_nb.fooocus.requests import Request
    from fooocus_nb.results import Result

__all__ = [
    "JobFacts",
    "JobObserver",
    "JobObservers",
    "Outcome",
    "observers",
    "trial",
    "trial_folder",
]

_log = logging.getLogger(__name__)

#: How long a generation waits for its observers: a file system may have gone.
OBSERVER_TIMEOUT = 30.0


@dataclass(frozen=True)
class JobFacts:
    """What an observer may know of a job before it runs."""

    request: Request
    #: The session hash: tells it from all others.
    session_hash: str
    #: Whether an earlier kernel has submitted it.
    found: bool
    #: Return what is known of its engine now.
    engine: Callable[[], EngineFacts]


@dataclass(frozen=True)
class Outcome:
    """How a generation has ended."""

    #: What was made, also by one that failed; None where nothing is known of it.
    result: Result | None
    error: BaseException | None
    #: The files of its images, in order.
    files: tuple[CollectedFile, ...]
    #: The server's names of what came and counts as none of its images.
    dropped: frozenset[str]


class JobObserver(Protocol):
    """Observes one generation. All calls come from threads of ours, one after the other."""

    def sending(self) -> None:
        """Note that the request is about to be sent; what it raises ends the generation."""

    def image(self, server_path: str, data: bytes) -> None:
        """Take a finished image, before it is written to the output folder."""

    def ended(self, outcome: Outcome) -> None:
        """Take the outcome."""


#: Each is called with a job that was just submitted, on the thread that submits it, and returns its
#: observer, or None. What it raises goes to who submits, and nothing is sent.
observers: list[Callable[[JobFacts], JobObserver | None]] = []


_trial: ContextVar[Path | None] = ContextVar("fooocus_nb_trial", default=None)


@contextlib.contextmanager
def trial(folder: Path) -> Iterator[None]:
    """Let jobs that are submitted inside of the block be only a trial.

    Nobody observes them, their images go to `folder`, and they are no result of the engine.
    """
    token = _trial.set(folder)
    try:
        yield
    finally:
        _trial.reset(token)


def trial_folder() -> Path | None:
    """Return where the images of a trial go; None where what is submitted is no trial."""
    return _trial.get()


class JobObservers:
    """The observers of one job. What one raises is logged, and does not cost the generation."""

    def __init__(self, job: JobFacts) -> None:
        watchers = () if _trial.get() is not None else tuple(observers)
        self._job = job
        self._outcome: Outcome | None = None
        self._watching = [watching for watch in watchers if (watching := watch(job)) is not None]

    async def sending(self) -> None:
        """Tell them that the request is about to be sent, and wait until they have noted it.

        What they raise ends the generation before it has begun: whoever records an experiment
        doesn't want one that is written down nowhere.
        """
        for observer in self._watching:
            if not await _in_time(observer.sending):
                msg = (
                    f"The run that this is recorded in didn't take a line within "
                    f"{OBSERVER_TIMEOUT:g} s: its disk doesn't answer. Nothing has been generated."
                )
                raise OutputError(msg)

    def image(self, server_path: str, data: bytes) -> None:
        """Hand them an image, on the thread that is about to write it."""
        for observer in self._watching:
            try:
                observer.image(server_path, data)
            except Exception:  # noqa: BLE001 - whatever an observer raises
                _log.exception("an observer of a generation failed")

    async def ended(self, outcome: Outcome) -> None:
        """Tell them the outcome, and wait until they have noted it."""
        self._outcome = outcome
        for observer in self._watching:
            try:
                await _in_time(functools.partial(observer.ended, outcome))
            except Exception:  # noqa: BLE001 - whatever an observer raises
                _log.exception("an observer of a generation failed")

    def tell_late(self, watch: Callable[[JobFacts], JobObserver | None]) -> bool:
        """Tell the outcome of a job that has ended to who came later.

        Returns whether it is anything to them, or was told to somebody before.
        """
        if self._watching or self._outcome is None:
            return bool(self._watching)
        watching = watch(self._job)
        if watching is None:
            return False
        self._watching.append(watching)
        watching.ended(self._outcome)
        return True


async def _in_time(call: Callable[[], None]) -> bool:
    """Call on a thread, and return whether it came back in time; else it goes on by itself."""
    working = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        await asyncio.wait_for(asyncio.shield(working), OBSERVER_TIMEOUT)
    except TimeoutError:
        if working.done():
            raise
        working.add_done_callback(lambda done: done.cancelled() or done.exception())
        return False
    return True
