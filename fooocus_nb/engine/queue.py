"""Whose turn it is: the jobs of an engine run one by one, in the order of their coming."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from fooocus_nb.engine.state import EngineState, Lifecycle

if TYPE_CHECKING:
    import asyncio
    from collections import deque
    from collections.abc import AsyncIterator

    from fooocus_nb.engine.jobs.job import Job

__all__ = ["Turns"]


class Turns:
    """The part of an Engine that lets its jobs wait for each other."""

    _queue: deque[Job]
    _slot: asyncio.Lock
    _lifecycle: Lifecycle

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The job that runs, then those that wait for their turn, in order."""
        return tuple(self._queue)

    @property
    def current_job(self) -> Job | None:
        """The job that runs, or is the next to run; None when there is none."""
        return next(iter(self.jobs), None)

    @contextlib.asynccontextmanager
    async def _turn(self, job: Job) -> AsyncIterator[None]:
        """Wait for the job's turn; jobs run one by one, so that the log says whose each line is."""
        self._queue.append(job)
        try:
            self._tell_ranks()
            async with self._slot:
                self._lifecycle.move(EngineState.BUSY, "generating", only_from=EngineState.READY)
                try:
                    yield
                finally:
                    self._lifecycle.move(
                        EngineState.READY, "generation ended", only_from=EngineState.BUSY
                    )
        finally:
            self._queue.remove(job)
            self._tell_ranks()

    def _tell_ranks(self) -> None:
        """Tell those that wait how many are before them, in the server's own queue as well."""
        others = self._queue[0].snapshot().rank if self._queue else 0
        for rank, waiting in enumerate(self._queue):
            if rank or waiting._began is None:
                waiting._queued(rank + others)
