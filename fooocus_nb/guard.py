"""Waiting for a generation, and for all that can end it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from fooocus_nb.errors import DiskFull, GenerationError, OutputError
from fooocus_nb.failures import explained, explained_loss, loss, stalled
from fooocus_nb.lifecycle import EngineState
from fooocus_nb.watch import Trouble

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from fooocus_nb.engine import Engine
    from fooocus_nb.job import Job

__all__ = ["guard"]

#: How often to look for a sign of life.
LOOK_SECONDS = 1.0


async def guard(engine: Engine, work: Awaitable[None], job: Job) -> None:
    """Run what a generation does until it ends, the engine fails, or nothing moves for too long.

    Parameters
    ----------
    engine : Engine
        Where it runs.
    work : awaitable
        Follows the generation; it is cancelled when the wait for it ends early.
    job : Job
        The generation.

    Raises
    ------
    EngineError
        The subclass and message tell why it could not go on.
    """
    task = asyncio.ensure_future(work)
    alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    engine._watchers.add(alarm)
    try:
        if engine.state not in (EngineState.READY, EngineState.BUSY):
            raise loss(engine)
        while not task.done():
            await asyncio.wait(
                {task, alarm}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if task.done():
                break
            if alarm.done():
                raise await explained_loss(engine)
            if (job.silence or 0.0) > engine.stall_timeout:
                error = stalled(engine, job)
                if engine.owned:
                    engine._watch.ail(Trouble.STALL)
                raise error
        await task
    except GenerationError as error:  # the server mostly says no reason, but its log does
        if (found := await explained(job, error)) is not None:
            raise found from error
        raise
    except (DiskFull, OutputError):  # ours; the server would go on and keep the next one waiting
        with contextlib.suppress(Exception):
            await engine._client.stop(job._session)
        raise
    finally:
        engine._watchers.discard(alarm)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
