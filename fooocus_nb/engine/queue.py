"""The queue of an engine: its jobs run one by one, first in, first out."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Protocol

from fooocus_nb.engine.state import EngineState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from fooocus_nb.engine.state import StateMachine

__all__ = ["JobQueue", "QueuedJob", "Waiting"]


class QueuedJob(Protocol):
    """A job, as far as the queue and the lifecycle know it."""

    def stop(self) -> None:
        """Stop it."""


class Waiting(Protocol):
    """What the queue tells a job that waits in it, and learns of the one that runs."""

    @property
    def rank(self) -> int:
        """How many requests of others the server has before it."""

    @property
    def began(self) -> float | None:
        """When its turn came; None before."""

    def set_rank(self, rank: int) -> None:
        """Note how many are before it."""

    def say(self, text: str) -> None:
        """Note what it waits for."""


class JobQueue:
    """Lets the jobs of an engine wait for each other, so that the log says whose each line is."""

    def __init__(self, state: StateMachine) -> None:
        self._state = state
        self._entries: deque[tuple[QueuedJob, Waiting]] = deque()
        #: Keeps the engine awake for a block, and starts one that sleeps; gets what to tell.
        self.awake: Callable[[Callable[[str], None]], contextlib.AbstractAsyncContextManager[None]]
        self.awake = lambda _say: contextlib.nullcontext()
        # Held while a job runs. It is the last in the order of locks, see EngineLifecycle.
        self._slot = asyncio.Lock()

    @property
    def jobs(self) -> tuple[QueuedJob, ...]:
        """The job that runs, then those that wait for their turn, in order."""
        return tuple(job for job, _ in tuple(self._entries))

    @property
    def busy(self) -> bool:
        """Whether somebody holds the slot: a job, or a call that the server queues like one."""
        return self._slot.locked()

    @contextlib.asynccontextmanager
    async def call(self, *, queued: bool) -> AsyncIterator[None]:
        """Keep the engine awake for a call; one that the server queues waits for its turn."""
        slot = self._slot if queued else contextlib.nullcontext()
        async with slot, self.awake(lambda _text: None):
            yield

    @contextlib.asynccontextmanager
    async def turn(self, job: QueuedJob, waiting: Waiting) -> AsyncIterator[None]:
        """Wait for a job's turn, and hold the slot while it runs."""
        entry = (job, waiting)
        self._entries.append(entry)
        try:
            self.tell_ranks()
            async with self._slot, self.awake(waiting.say):
                self._state.move(EngineState.BUSY, "generating", only_from=EngineState.READY)
                try:
                    yield
                finally:
                    self._state.move(
                        EngineState.READY, "generation ended", only_from=EngineState.BUSY
                    )
        finally:
            self._entries.remove(entry)
            self.tell_ranks()

    def tell_ranks(self) -> None:
        """Tell those that wait how many are before them, in the server's own queue as well."""
        others = self._entries[0][1].rank if self._entries else 0
        for rank, (_, waiting) in enumerate(self._entries):
            if rank or waiting.began is None:
                waiting.set_rank(rank + others)
