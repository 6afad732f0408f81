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
    EngineUnresponsive,
    GenerationError,
    GenerationStopped,
    GPUUnusable,
    OutOfMemory,
    WorkerDead,
)
from fooocus_nb.fooocus._failures import STOPPED_ELSEWHERE
from fooocus_nb.fooocus.diagnosis import diagnose, stopped
from fooocus_nb.fooocus.progress import WAITING_FOR_WORKER
from fooocus_nb.lifecycle import EngineState
from fooocus_nb.watch import FINAL, Trouble

if TYPE_CHECKING:
    from fooocus_nb.engine import Engine
    from fooocus_nb.fooocus.diagnosis import Diagnosis
    from fooocus_nb.job import Job

__all__ = [
    "diagnosed",
    "explained",
    "explained_loss",
    "loss",
    "lost_connection",
    "no_images",
    "stalled",
]

#: How long a process may take to show that it has ended, once its web server is gone.
DEATH_LAG_SECONDS = 3.0
#: How long the log may lag behind what the server reports.
LOG_LAG_SECONDS = 1.0
PROBE_TIMEOUT = 2.0
#: How many lines of the log are read for a cause: a chain of tracebacks may have hundreds.
LOOK_BACK = 400
#: The same for a process that ended; what failed long before is not what ended it.
LAST_LINES = 120
RESTART = "engine.restart() starts it anew."


def loss(engine: Engine) -> EngineError:
    """Return the error that says why an engine in its present state cannot generate."""
    match engine.state:
        case EngineState.DEAD:
            return _death(engine)
        case EngineState.UNRESPONSIVE:
            return _ailing(engine)
        case EngineState.STARTING:
            msg = f"Engine {engine.name!r} is starting, so it cannot do this yet."
            return EngineStopped(msg, remedy="engine.wait_ready() waits until it can.")
    msg = f"Engine {engine.name!r} was stopped."
    return EngineStopped(msg, remedy="engine.restart() starts it again.")


def _remedy(engine: Engine, advice: str = RESTART) -> str:
    """Say what to do next, or that it is being done."""
    if not engine.owned:
        return "It is somebody else's: its log tells the cause, and only there can it be restarted."
    if engine._watch.will_restart():
        return "It is restarted by itself: engine.wait_ready() waits for that."
    return advice


def _death(engine: Engine) -> EngineError:
    """Return the error that says how the engine's process ended."""
    child = engine._child
    returncode = child.returncode if child else None
    lines = engine.tail(LAST_LINES)
    found = diagnose(lines, returncode=returncode)
    if child is not None and child.guardian_lost:
        cause = (
            f"Its guardian (process {child.guardian_pid}) was killed, and with it ends all that it "
            "guards."
        )
        found = None
    else:
        cause = found.cause if found else f"It ended with exit code {returncode}."
    if (
        found is not None
        and issubclass(found.error, OutOfMemory)
        and engine._watch.vitals is not None
    ):
        cause += f" A moment before: {engine._watch.vitals}."
    return EngineDied(
        f"Engine {engine.name!r} has died. {cause}",
        log=(found.lines if found else ()) or lines[-10:],
        remedy=(f"{found.remedy}\n" if found and found.remedy else "") + _remedy(engine),
    )


def _ailing(engine: Engine) -> EngineError:
    """Return the error for an engine whose process runs, and which cannot generate."""
    lines = engine.tail(LOOK_BACK)
    remedy = _remedy(engine)
    match engine._watch.trouble:
        case Trouble.WORKER:
            found = diagnose(lines)
            because = found.because if found else None
            msg = (
                f"The worker of engine {engine.name!r} has died, though its web page still answers."
            )
            if because is not None:
                msg = f"{msg} {because.cause}"
                remedy = f"{because.remedy} {remedy}"
            return WorkerDead(msg, log=found.lines if found else lines[-10:], remedy=remedy)
        case Trouble.DEVICE:
            found = diagnose(lines)
            if found is not None and found.lasting:
                return _lasting(engine, found)
            msg = f"Engine {engine.name!r} has lost its GPU, and cannot compute any more."
            return GPUUnusable(msg, log=lines[-10:], remedy=remedy)
        case Trouble.GUARDIAN:
            number = engine._child.guardian_pid if engine._child else None
            guardian = f"The guardian of engine {engine.name!r} (process {number})"
            if engine._child is None or not engine._child.guardian_stopped():
                msg = f"{guardian} has not answered for {engine.answer_timeout:g} s."
                return EngineUnresponsive(msg, remedy=remedy)
            msg = (
                f"{guardian} is stopped, so nobody reads what the engine prints, and it will come "
                "to a halt."
            )
            return EngineUnresponsive(msg, remedy=f"`kill -CONT {number}` lets it go on. {remedy}")
        case Trouble.STALL:
            msg = f"Engine {engine.name!r} has shown no sign of life since its last generation."
            return EngineTimeout(msg, log=lines[-5:], remedy=remedy)
    msg = f"The web server of engine {engine.name!r} at {engine.url} does not answer any more"
    if engine.owned:
        return ConnectionLost(f"{msg}, though its process runs.", log=lines[-10:], remedy=remedy)
    return ConnectionLost(f"{msg}.", remedy="It is somebody else's: look there for the cause.")


async def explained_loss(engine: Engine) -> EngineError:
    """Return why an engine cannot generate, once its log has had the time to say so.

    The first line of a traceback is enough to know that the worker has ended; by what, its last
    one says, a moment later.
    """
    error = loss(engine)
    deadline = time.monotonic() + LOG_LAG_SECONDS
    while engine._watch.trouble in FINAL and time.monotonic() < deadline:
        found = diagnose(engine.tail(LOOK_BACK))
        told = found is not None and (found.because is not None or found.lasting)
        if engine.state is not EngineState.UNRESPONSIVE:  # it is being restarted
            return error
        if told:
            return loss(engine)
        await asyncio.sleep(0.05)
    return error


async def lost_connection(engine: Engine, error: ConnectionLost) -> EngineError:
    """Return what is behind a lost connection: mostly, that the process has just ended."""
    deadline = time.monotonic() + DEATH_LAG_SECONDS
    while engine._child is not None and time.monotonic() < deadline:
        if engine.state is not EngineState.BUSY:
            return loss(engine)
        await asyncio.sleep(0.05)
    client = engine._connected
    if client is not None and not await client.healthy(timeout=PROBE_TIMEOUT):
        engine._watch.ail(Trouble.HTTP)
    return loss(engine) if engine.state is EngineState.UNRESPONSIVE else error


def stalled(engine: Engine, job: Job) -> EngineTimeout | WorkerDead:
    """Return the error for a generation in which nothing moves."""
    seconds = f"{engine.stall_timeout:g} s"
    if job.snapshot().text.startswith(WAITING_FOR_WORKER):
        msg = f"The worker of engine {engine.name!r} has not taken up the generation in {seconds}."
        return WorkerDead(msg, log=engine.tail(5), remedy=_remedy(engine))
    msg = (
        f"Engine {engine.name!r} has shown no sign of life for {seconds} during "
        f"the generation (its last word: {job.snapshot().text or 'none'!r})."
    )
    return EngineTimeout(msg, log=engine.tail(5), remedy=_remedy(engine))


def diagnosed(engine: Engine, found: Diagnosis) -> EngineError:
    """Return the error that the log explains."""
    if found.lasting:
        return _lasting(engine, found)
    msg = f"Engine {engine.name!r}: {found.cause}"
    return found.error(msg, log=found.lines, remedy=found.remedy)


def _lasting(engine: Engine, found: Diagnosis) -> EngineError:
    """Return the error for a failure that only a restart mends."""
    msg = f"Engine {engine.name!r}: {found.cause}"
    return found.error(msg, log=found.lines, remedy=f"{found.remedy}\n{_remedy(engine)}")


async def explained(job: Job, error: GenerationError) -> EngineError | None:
    """Return what the log says of a failure that the server reported; None where it says nothing.

    The log may come a moment later than the report.
    """
    deadline = time.monotonic() + LOG_LAG_SECONDS
    while job.engine.owned and not error.log and time.monotonic() < deadline:
        found = diagnose(list(job.log))
        if found is not None and not issubclass(found.error, GenerationStopped):
            return diagnosed(job.engine, found)
        await asyncio.sleep(0.05)
    return None


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
