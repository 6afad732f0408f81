"""Say why a generation could not go on, from the engine's state and its last words."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from fooocus_nb.errors import (
    ConnectionLost,
    EngineDied,
    EngineError,
    EngineStopped,
    EngineTimeout,
    GenerationError,
    GenerationStopped,
    WorkerDead,
)
from fooocus_nb.fooocus._failures import STOPPED_ELSEWHERE
from fooocus_nb.fooocus.diagnosis import diagnose, stopped
from fooocus_nb.lifecycle import EngineState

if TYPE_CHECKING:
    from fooocus_nb.engine import Engine
    from fooocus_nb.fooocus.diagnosis import Diagnosis
    from fooocus_nb.job import Job

__all__ = ["death", "diagnosed", "loss", "lost_connection", "no_images", "stalled"]

#: How long a process may take to show that it has ended, once its web server is gone.
DEATH_LAG_SECONDS = 3.0


def loss(engine: Engine) -> EngineError:
    """Return the error that says why a job cannot go on."""
    if engine.state in (EngineState.STOPPING, EngineState.STOPPED):
        msg = f"Engine {engine.name!r} was stopped during the generation."
        return EngineStopped(msg)
    if engine._child is not None and engine._child.worker_dead:
        lines = engine.tail(60)
        found = diagnose(lines)
        msg = f"The worker of engine {engine.name!r} has died, though its web page still answers."
        return WorkerDead(
            msg,
            log=found.lines if found else lines[-10:],
            remedy="engine.restart() starts it anew.",
        )
    return death(engine)


def death(engine: Engine) -> EngineError:
    """Return the error that says how the engine's process ended."""
    returncode = engine._child.returncode if engine._child else None
    lines = engine.tail(60)
    found = diagnose(lines, returncode=returncode)
    cause = found.cause if found else f"It ended with exit code {returncode}."
    return EngineDied(
        f"Engine {engine.name!r} has died. {cause}",
        log=(found.lines if found else ()) or lines[-10:],
        remedy=(f"{found.remedy}\n" if found and found.remedy else "")
        + "engine.restart() starts it again.",
    )


async def lost_connection(engine: Engine, error: ConnectionLost) -> EngineError:
    """Return what is behind a lost connection: mostly, that the process has just ended."""
    deadline = time.monotonic() + DEATH_LAG_SECONDS
    while engine._child is not None and time.monotonic() < deadline:
        if engine.state is not EngineState.BUSY:
            return loss(engine)
        await asyncio.sleep(0.05)
    return error


def stalled(engine: Engine, job: Job) -> EngineTimeout:
    """Return the error for a generation in which nothing moves."""
    msg = (
        f"Engine {engine.name!r} has shown no sign of life for {engine.stall_timeout:g} s during "
        f"the generation (its last word: {job.snapshot().text or 'none'!r})."
    )
    return EngineTimeout(msg, log=engine.tail(5), remedy="engine.restart() starts it anew.")


def diagnosed(engine: Engine, found: Diagnosis) -> EngineError:
    """Return the error that the log explains."""
    msg = f"Engine {engine.name!r}: {found.cause}"
    return found.error(msg, log=found.lines, remedy=found.remedy)


def no_images(job: Job) -> GenerationError:
    """Return the error for a generation that ended without an image, as far as is known."""
    engine = job.engine
    if stopped(job.log):
        rule = STOPPED_ELSEWHERE
        return GenerationStopped(f"Engine {engine.name!r}: {rule.cause}", remedy=rule.remedy)
    if engine.owned:
        msg = f"Engine {engine.name!r} ended the generation without an image, and said no reason."
        return GenerationError(msg, log=job.log[-10:], remedy="engine.tail() has its whole log.")
    msg = f"The server at {engine.url} ended the generation without an image."
    return GenerationError(
        msg, remedy="We only connected to it, so its log is not ours: look there for the cause."
    )
