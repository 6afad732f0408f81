"""What an engine has to do with other kernels: sharing it, keeping it, and letting go of it."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import threading
from typing import TYPE_CHECKING, Literal, cast

from fooocus_nb.engine.jobs.records import abandon, forget, records_in
from fooocus_nb.engine.state import EngineState
from fooocus_nb.supervisor.protocol import STOPPED

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from pathlib import Path

    from fooocus_nb.engine.child_process import Child
    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.engine.jobs.orphan import FoundJob
    from fooocus_nb.engine.state import Lifecycle

__all__ = ["Leaving", "Lifetime", "Sharing", "leave"]

Lifetime = Literal["kernel", "detached"]


class Leaving(enum.Enum):
    """How to leave an engine's process."""

    #: End it, whoever else uses it.
    END = enum.auto()
    #: End it unless others use it.
    SPARE = enum.auto()
    #: Let go of it.
    DETACH = enum.auto()


def leave(child: Child, how: Leaving) -> None:
    """Leave an engine's process."""
    match how:
        case Leaving.END:
            child.stop()
        case Leaving.SPARE:
            child.leave()
        case Leaving.DETACH:
            child.close()


class Sharing:
    """The part of an Engine that knows of other kernels."""

    name: str
    _child: Child | None
    _lifecycle: Lifecycle
    _avoided: set[Path]
    _queue: deque[Job]
    _words: set[Path]
    _found: tuple[FoundJob, ...] = ()

    @property
    def attached(self) -> bool:
        """Whether it ran already, for another kernel or an earlier one, when we started it."""
        return self._child is not None and self._child.attached

    @property
    def lifetime(self) -> str:  # Lifetime, but that would cost the completion of every name
        """``kernel`` where it ends with its last user, ``detached`` where it lives on."""
        return "kernel" if self._child is None or self._child.idle_timeout is None else "detached"

    @property
    def idle_timeout(self) -> float | None:
        """Seconds that a detached engine may idle without users; None where it is not detached."""
        return self._child.idle_timeout if self._child else None

    def detach(self) -> None:
        """Let go of the engine without stopping it: it is stopped for this kernel alone.

        A detached engine lives on and finishes what it generates; another ends when nobody else
        uses it. ``restart()``, or a later :func:`fooocus_nb.start`, takes hold of it again.
        """
        words = tuple(self._words)
        self._words.clear()  # so that the jobs, which end for us, do not take them back
        self._end("let go of", Leaving.DETACH)
        for path in words:
            abandon(path)

    async def adetach(self) -> None:
        """Let go of the engine; see :meth:`detach`."""
        await asyncio.to_thread(self.detach)

    def _end(self, reason: str, how: Leaving) -> None:
        raise NotImplementedError

    def _keep(self, idle_timeout: float | None) -> None:
        if self._child is not None:
            self._child.keep(idle_timeout)

    @property
    def found_jobs(self) -> tuple[FoundJob, ...]:
        """The generations that earlier kernels had left running when we took hold of the engine.

        The one that still runs is :attr:`current_job`: it can be watched, stopped and awaited as
        any other. Its images go where its own kernel wanted them.
        """
        return self._found

    def _goes_on(self) -> bool:
        """Whether its process still runs, though we have let go of it."""
        return self._child is not None and self._child.exists()

    def _stop_own_jobs(self) -> None:
        """Stop what is being generated for us, where the engine goes on for others."""
        for job in reversed(tuple(self._queue)):
            with contextlib.suppress(Exception):  # the engine may be what is wrong
                job.stop()

    def _settled_in(self) -> None:
        """Look after what was left running in an engine that we found."""
        from fooocus_nb.engine.jobs.orphan import FoundJob

        child = self._child
        if child is None or child.run_dir is None or not child.attached:
            self._found = ()
            return
        left = [record for record in records_in(child.run_dir) if record.orphaned]
        self._found = tuple(FoundJob(cast("Engine", self), record) for record in left)

    def _leave_word(self, job: Job) -> Callable[[], None]:
        """Write down what is being generated, for kernels that come later.

        Parameters
        ----------
        job : Job
            The generation, about to be sent.

        Returns
        -------
        callable
            To be called at its end.
        """
        child = self._child
        path = job._record(child.run_dir) if child is not None and child.run_dir else None

        if path is not None:
            self._words.add(path)

        def ended() -> None:
            if path is not None and path in self._words:
                self._words.discard(path)
                forget(path)

        return ended

    def _forsake(self) -> bool:
        """Give up one that we found running and that is not fit; whether there was one."""
        child = self._child
        if child is None or child.run_dir is None or not child.ready_before:
            return False
        self._avoided.add(child.run_dir)
        self._child = None  # what becomes of it is none of our business any more
        child.leave()
        return True

    def _ended_by_others(self, child: Child) -> bool:
        """Draw the consequences where somebody else has stopped the process; whether it is so."""
        state = self._lifecycle.state
        if child.ending != STOPPED or state is EngineState.STARTING:
            return False
        if state not in (EngineState.STOPPING, EngineState.STOPPED):
            # On a thread of its own: the one that tells of the end must not wait for it.
            threading.Thread(target=self._follow_others, name="fooocus-nb-ended").start()
        return True

    def _follow_others(self) -> None:
        self._end("stopped by another of its users", Leaving.DETACH)
