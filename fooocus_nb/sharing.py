"""What an engine has to do with other kernels: sharing it, keeping it, and letting go of it."""

from __future__ import annotations

import asyncio
import enum
import threading
from typing import TYPE_CHECKING, Literal

from fooocus_nb.lifecycle import EngineState
from fooocus_nb.supervise.protocol import STOPPED

if TYPE_CHECKING:
    from pathlib import Path

    from fooocus_nb.child import Child
    from fooocus_nb.lifecycle import Lifecycle

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

    @property
    def attached(self) -> bool:
        """Whether it ran already, for another kernel or an earlier one, when we started it."""
        return self._child is not None and self._child.attached

    @property
    def lifetime(self) -> Lifetime:
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
        self._end("let go of", Leaving.DETACH)

    async def adetach(self) -> None:
        """Let go of the engine; see :meth:`detach`."""
        await asyncio.to_thread(self.detach)

    def _end(self, reason: str, how: Leaving) -> None:
        raise NotImplementedError

    def _keep(self, idle_timeout: float | None) -> None:
        if self._child is not None:
            self._child.keep(idle_timeout)

    def _settled_in(self) -> None:
        """Take note of what goes on in an engine that we found running."""

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
