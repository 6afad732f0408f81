"""The states of an engine and the legal transitions between them."""

from __future__ import annotations

import enum
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fooocus_nb._background import Signal
from fooocus_nb._secrets import redact

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FAILED",
    "FINAL",
    "RUNNING",
    "EngineState",
    "StateMachine",
    "Transition",
    "UnresponsiveReason",
]

#: How many transitions the history keeps: weeks of use, in some kilobytes.
KEPT = 200


class EngineState(enum.StrEnum):
    """The state of an engine.

    `UNRESPONSIVE` means that the process runs and cannot generate: its web server or its worker is
    dead, its guardian is stopped, or a generation stalled. The engine leaves that state by itself
    where the cause has passed; a restart ends it in any case. `ASLEEP` means that it was idle and
    its process has ended; the next generation starts it again.
    """

    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    UNRESPONSIVE = "unresponsive"
    ASLEEP = "asleep"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DEAD = "dead"


class UnresponsiveReason(enum.StrEnum):
    """Why an engine whose process runs cannot generate."""

    DEVICE = "it has lost its GPU"
    GUARDIAN = "its guardian does not answer"
    HTTP = "its web server does not answer"
    STALL = "its generation showed no sign of life"
    WORKER = "its worker thread has ended"


#: From these only a restart helps.
FINAL = frozenset({UnresponsiveReason.DEVICE, UnresponsiveReason.WORKER})

#: In these an engine can take a generation.
RUNNING = frozenset({EngineState.READY, EngineState.BUSY})
#: In these it has failed by itself, and its restart policy applies.
FAILED = frozenset({EngineState.DEAD, EngineState.UNRESPONSIVE})
#: A running engine may become unresponsive, be stopped or die at any time.
_FROM_RUNNING = frozenset({EngineState.UNRESPONSIVE, EngineState.STOPPING, EngineState.DEAD})
_LEGAL: dict[EngineState, frozenset[EngineState]] = {
    EngineState.STARTING: frozenset({EngineState.READY, EngineState.STOPPING, EngineState.DEAD}),
    EngineState.READY: _FROM_RUNNING | {EngineState.BUSY, EngineState.ASLEEP},
    EngineState.ASLEEP: frozenset({EngineState.STARTING, EngineState.STOPPING}),
    EngineState.BUSY: _FROM_RUNNING | {EngineState.READY},
    EngineState.UNRESPONSIVE: _FROM_RUNNING - {EngineState.UNRESPONSIVE} | {EngineState.READY},
    EngineState.STOPPING: frozenset({EngineState.STOPPED}),
    EngineState.STOPPED: frozenset({EngineState.STARTING}),
    EngineState.DEAD: frozenset({EngineState.STARTING, EngineState.STOPPING}),
}


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of an engine's state.

    Attributes
    ----------
    state : EngineState
        The state that was entered.
    time : float
        When, in seconds since the epoch.
    reason : str
        Why, for people.
    """

    state: EngineState
    time: float
    reason: str


class StateMachine:
    """The current state, its history, and a signal for changes. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._history = [Transition(EngineState.STOPPED, time.time(), "not started yet")]
        self._changed: Signal[Transition] = Signal("the engine's state")

    @property
    def state(self) -> EngineState:
        """The current state."""
        return self._history[-1].state

    @property
    def history(self) -> tuple[Transition, ...]:
        """Every transition so far, oldest first; at most the last 200."""
        with self._lock:
            return tuple(self._history)

    def move(
        self, state: EngineState, reason: str = "", *, only_from: EngineState | None = None
    ) -> bool:
        """Enter a state if that is legal from here, and return whether it was entered.

        A late event, such as a job that ends after its engine was stopped, is not an error: it just
        comes too late to change anything. `only_from` names the one state that this is a step from.
        """
        with self._lock:
            if state not in _LEGAL[self.state] or only_from not in (None, self.state):
                return False
            transition, tell = self._record(state, reason)
        tell(transition)
        return True

    def note(self, reason: str) -> None:
        """Add to the history what happened without a change of the state, and tell listeners."""
        with self._lock:
            transition, tell = self._record(self.state, reason)
        tell(transition)

    def _record(
        self, state: EngineState, reason: str
    ) -> tuple[Transition, Callable[[Transition], None]]:
        transition = Transition(state, time.time(), redact(reason))
        self._history.append(transition)
        del self._history[:-KEPT]
        return transition, self._changed.prepare()

    def subscribe(self, listener: Callable[[Transition], None]) -> Callable[[], None]:
        """Call `listener` at every transition, on the thread that makes it."""
        return self._changed.subscribe(listener)
