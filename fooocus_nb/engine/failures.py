"""The errors for an engine that cannot generate, from its state and the end of its log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fooocus_nb.engine.state import EngineState, UnresponsiveReason
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
from fooocus_nb.fooocus.logs.diagnosis import diagnose, stopped
from fooocus_nb.fooocus.logs.rules import STOPPED_ELSEWHERE
from fooocus_nb.fooocus.outputs import WAITING_FOR_WORKER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fooocus_nb.engine.child_process import EngineProcess
    from fooocus_nb.engine.health import ResourceUsage
    from fooocus_nb.fooocus.logs.diagnosis import Diagnosis

__all__ = [
    "RESTART",
    "FailureFacts",
    "diagnosed",
    "engine_failure",
    "no_images",
    "no_progress",
    "not_enhanced",
    "stalled_call",
]

#: How many of the last lines may tell what ended a process.
LAST_LINES = 120
#: The remedy for an engine that does not run.
RESTART = "engine.restart() starts it again."
#: What the lines of a log begin with that tell of an enhancement.
ENHANCING = "[Enhance]"


@dataclass(frozen=True)
class FailureFacts:
    """What is known of an engine that cannot generate."""

    name: str
    state: EngineState
    owned: bool
    #: Whether its log is known here.
    logged: bool
    url: str | None
    #: The end of its log, oldest line first.
    log: Sequence[str]
    #: Why it is unresponsive, where it is.
    reason: UnresponsiveReason | None
    will_restart: bool
    answer_timeout: float
    #: Its memory at the last look.
    usage: ResourceUsage | None = None
    returncode: int | None = None
    guardian_pid: int | None = None
    guardian_lost: bool = False
    guardian_stopped: bool = False

    def with_process(self, process: EngineProcess) -> FailureFacts:
        """Return the same with what is known of its process."""
        return replace(
            self,
            returncode=process.child.returncode,
            guardian_pid=process.child.guardian_pid,
            guardian_lost=process.guardian_lost,
            guardian_stopped=process.child.guardian_stopped(),
        )


def engine_failure(facts: FailureFacts) -> EngineError:
    """Return the error that says why an engine in its present state cannot generate."""
    match facts.state:
        case EngineState.DEAD:
            return _death(facts)
        case EngineState.UNRESPONSIVE:
            return _unresponsive(facts)
        case EngineState.STARTING:
            msg = f"Engine {facts.name!r} is starting, so it cannot do this yet."
            return EngineStopped(msg, remedy="engine.wait_ready() waits until it can.")
    msg = f"Engine {facts.name!r} was stopped."
    return EngineStopped(msg, remedy=RESTART)


def _remedy(facts: FailureFacts) -> str:
    """Say what to do next, or that it is being done."""
    if not facts.owned:
        cause = "" if facts.logged else "its log tells the cause, and "
        return f"It is somebody else's: {cause}only there can it be restarted."
    if facts.will_restart:
        return "It is restarted by itself: engine.wait_ready() waits for that."
    return RESTART


def _death(facts: FailureFacts) -> EngineError:
    """Return the error that says how the engine's process ended."""
    # What failed long before is not what ended it.
    found = diagnose(facts.log[-LAST_LINES:], returncode=facts.returncode)
    if facts.guardian_lost:
        cause = (
            f"Its guardian (process {facts.guardian_pid}) was killed, and with it ends all that it "
            "guards."
        )
        found = None
    else:
        cause = found.cause if found else f"It ended with exit code {facts.returncode}."
    if found is not None and issubclass(found.error, OutOfMemory) and facts.usage is not None:
        cause += f" A moment before: {facts.usage}."
    return EngineDied(
        f"Engine {facts.name!r} has died. {cause}",
        log=(found.lines if found else ()) or facts.log[-10:],
        remedy=(f"{found.remedy}\n" if found and found.remedy else "") + _remedy(facts),
    )


def _unresponsive(facts: FailureFacts) -> EngineError:
    """Return the error for an engine whose process runs, and which cannot generate."""
    name, log, remedy = facts.name, facts.log, _remedy(facts)
    match facts.reason:
        case UnresponsiveReason.WORKER:
            found = diagnose(log)
            because = found.because if found else None
            msg = f"The worker of engine {name!r} has died, though its web page still answers."
            if because is not None:
                msg = f"{msg} {because.cause}"
                remedy = f"{because.remedy} {remedy}"
            return WorkerDead(msg, log=found.lines if found else log[-10:], remedy=remedy)
        case UnresponsiveReason.DEVICE:
            found = diagnose(log)
            if found is not None and found.unrecoverable:
                return diagnosed(facts, found)
            msg = f"Engine {name!r} has lost its GPU, and cannot compute any more."
            return GPUUnusable(msg, log=log[-10:], remedy=remedy)
        case UnresponsiveReason.GUARDIAN:
            guardian = f"The guardian of engine {name!r} (process {facts.guardian_pid})"
            if not facts.guardian_stopped:
                msg = f"{guardian} has not answered for {facts.answer_timeout:g} s."
                return EngineUnresponsive(msg, remedy=remedy)
            msg = (
                f"{guardian} is stopped, so nobody reads what the engine prints, and it will come "
                "to a halt."
            )
            resume = f"`kill -CONT {facts.guardian_pid}` lets it go on."
            return EngineUnresponsive(msg, remedy=f"{resume} {remedy}")
        case UnresponsiveReason.STALL:
            msg = f"Engine {name!r} has shown no sign of life since its last generation."
            return EngineTimeout(msg, log=log[-5:], remedy=remedy)
    msg = f"The web server of engine {name!r} at {facts.url} does not answer any more"
    if facts.owned:
        return ConnectionLost(f"{msg}, though its process runs.", log=log[-10:], remedy=remedy)
    if not facts.logged:
        return ConnectionLost(f"{msg}.", remedy="It is somebody else's: look there for the cause.")
    found = diagnose(log[-LAST_LINES:])
    cause = f" {found.cause}" if found else ""
    lines = (found.lines if found else ()) or log[-10:]
    help_ = f"{found.remedy}\n" if found and found.remedy else ""
    return ConnectionLost(f"{msg}.{cause}", log=lines, remedy=help_ + remedy)


def no_progress(facts: FailureFacts, said: str, timeout: float) -> EngineTimeout | WorkerDead:
    """Return the error for a generation in which nothing moves; `said` is its last progress."""
    if said.startswith(WAITING_FOR_WORKER):
        msg = (
            f"The worker of engine {facts.name!r} has not taken up the generation in {timeout:g} s."
        )
        return WorkerDead(msg, log=facts.log[-5:], remedy=_remedy(facts))
    msg = (
        f"Engine {facts.name!r} has shown no sign of life for {timeout:g} s during "
        f"the generation (its last word: {said or 'none'!r})."
    )
    return EngineTimeout(msg, log=facts.log[-5:], remedy=_remedy(facts))


def stalled_call(facts: FailureFacts, verb: str, timeout: float) -> EngineTimeout:
    """Return the error for a call beside the generations that nothing comes of."""
    msg = (
        f"Engine {facts.name!r} has shown no sign of life for {timeout:g} s after it "
        f"was asked to {verb.replace('_', ' ')}."
    )
    return EngineTimeout(msg, log=facts.log[-5:], remedy=RESTART)


def diagnosed(facts: FailureFacts, found: Diagnosis) -> EngineError:
    """Return the error that the log explains; only a restart mends what is unrecoverable."""
    remedy = f"{found.remedy}\n{_remedy(facts)}" if found.unrecoverable else found.remedy
    return found.error(f"Engine {facts.name!r}: {found.cause}", log=found.lines, remedy=remedy)


def no_images(name: str, url: str | None, logged: bool, log: Sequence[str]) -> GenerationError:
    """Return the error for a generation that ended without an image, as far as is known."""
    if stopped(log):
        rule = STOPPED_ELSEWHERE
        return GenerationStopped(f"Engine {name!r}: {rule.cause}", remedy=rule.remedy)
    if logged:
        msg = f"Engine {name!r} ended the generation without an image, and said no reason."
        return GenerationError(msg, log=log[-10:], remedy="engine.tail() has its whole log.")
    msg = f"The server at {url} ended the generation without an image."
    return GenerationError(
        msg, remedy="We only connected to it, so its log is not ours: look there for the cause."
    )


def not_enhanced(name: str, url: str | None, logged: bool, log: Sequence[str]) -> GenerationError:
    """Return the error for an enhancement that gave back the image as it was."""
    who = f"Engine {name!r}" if logged else f"The server at {url}"
    said = [line for line in log if line.startswith(ENHANCING)]
    return GenerationError(
        f"{who} gave the image back as it was: nothing in it was enhanced.",
        log=said[-5:] or log[-10:],
        remedy="Mostly it did not find what it was to look for: try another detect=, another "
        "mask model, or lower thresholds.",
    )
