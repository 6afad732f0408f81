"""Show generations live, then what remains of them in the same place."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from fooocus_nb._html import duration
from fooocus_nb.widgets._html import note_html
from fooocus_nb.widgets.job_view import WORDS, JobDrawing
from fooocus_nb.widgets.renderer import Renderer
from fooocus_nb.widgets.surfaces import surface as choose_surface

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.results import Result
    from fooocus_nb.widgets._html import View
    from fooocus_nb.widgets.surfaces import Surface

__all__ = ["JobMonitor", "note_bundle", "result_bundle"]


class JobMonitor:
    """Shows one generation after the other in one place, then what remains of them.

    Parameters
    ----------
    job : Job, optional
        What to show from the beginning of the block.
    total : int, optional
        How many generations there will be.
    result : bool, optional
        Whether the images take the monitor's place at the end; else only a line does.
    awaited : bool, optional
        Whether the cell awaits the generations, so that the kernel listens meanwhile.
    surface : Surface, optional
        Where to draw; by default what fits the frontend.
    earlier : sequence of Job, optional
        What was shown in the same place before: the line at the end counts it, too.

    Attributes
    ----------
    stopped : bool
        Whether Stop was pressed: then no further generation shall begin.
    """

    def __init__(
        self,
        job: Job | None = None,
        *,
        total: int = 1,
        result: bool = True,
        awaited: bool = False,
        surface: Surface | None = None,
        earlier: Sequence[Job] = (),
    ) -> None:
        self.surface = surface or choose_surface(awaited=awaited, buttons=True)
        self._total = total
        self._show_result = result
        self._first = job
        self.stopped = False
        self._jobs: list[Job] = list(earlier)
        self._earlier = len(earlier)
        self._drawing = JobDrawing()
        self._unsubscribe: Callable[[], None] = _nothing
        self._renderer = Renderer(self.surface, self._view)

    def __enter__(self) -> JobMonitor:
        if self._first is not None:
            self.watch(self._first)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._unsubscribe()
        self._renderer.end()
        self.surface.finish(self._remains())

    async def __aenter__(self) -> JobMonitor:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Making thumbnails takes a moment, in which the event loop shall not stand still.
        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    def watch(self, job: Job) -> None:
        """Show this generation from now on.

        Parameters
        ----------
        job : Job
            A generation that was just submitted.
        """
        self._unsubscribe()
        self._jobs.append(job)
        self._drawing.begin()
        self.surface.watch(job, self._ordered)
        self._unsubscribe = job.subscribe(lambda _event: self._renderer.wake())
        if len(self._jobs) == self._earlier + 1:
            self._renderer.start()

    def _ordered(self, verb: str) -> None:
        self.stopped = self.stopped or verb == "stop"

    def result(self) -> Result | None:
        """Return the images that are done so far, of all generations; None before the first one."""
        results = [result for job in self._jobs if (result := _result_of(job))]
        return type(results[0]).combined(results) if results else None

    def _remains(self) -> dict[str, Any] | None:
        """Return what stays on the screen: the images, or a line that says how it ended."""
        if not self._jobs:
            return None
        now = self._jobs[-1].snapshot()
        result = self.result()
        if self._show_result and result is not None:
            return result_bundle(result)
        count = len(result) if result is not None else 0
        images = "1 image" if count == 1 else f"{count} images"
        mark = {"done": "ok", "failed": "bad"}.get(now.state, "warn")
        word = images if now.state == "done" else f"{WORDS.get(now.state, now.state)}: {images}"
        elapsed = sum(job.snapshot().elapsed for job in self._jobs)
        return note_bundle(mark, word, (duration(elapsed), self._jobs[-1].engine.name))

    def _view(self) -> View:
        facts = (f"generation {len(self._jobs)} of {self._total}",) if self._total > 1 else ()
        return self._drawing.view(self._jobs[-1], facts, several=self._total > 1)


def note_bundle(mark: str, title: str, facts: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a MIME bundle with one line that says how something ended."""
    return {
        "text/html": note_html(mark, title, facts),
        "text/plain": f"{title} ({', '.join(facts)})" if facts else title,
    }


def result_bundle(result: Result) -> dict[str, Any]:
    """Return the MIME bundle of a result."""
    return result._repr_mimebundle_()


def _result_of(job: Job) -> Result | None:
    """Return the images that a job has brought, however it ended; None where there are none."""
    result: Result | None = None
    if job.done():
        error = job.exception()
        if error is None:
            with contextlib.suppress(Exception):
                result = job.result(timeout=0)
        else:
            result = getattr(error, "result", None)
    return result if result is not None and len(result) else None


def _nothing() -> None:
    pass
