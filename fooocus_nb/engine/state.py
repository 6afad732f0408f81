"""The states of an engine and the legal ways from one to the next."""

from __future__ import annotations

import enum
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EngineState", "Lifecycle", "Transition"]

logger = logging.getLogger(__name__)

#: How many transitions the history keeps.
KEPT = 200


class EngineState(enum.StrEnum):
    """Where an engine is in its life.

    `UNRESPONSIVE` means that the process runs and cannot generate: its web server or its worker is
    dead, its guardian is stopped, or a generation showed no sign of life. It leaves that state by
    itself where what ailed it has passed; a restart ends it in any case.
    """

    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    UNRESPONSIVE = "unresponsive"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DEAD = "dead"


#: A running engine may fall ill, be stopped or die at any time.
_TROUBLE = frozenset({EngineState.UNRESPONSIVE, EngineState.STOPPING, EngineState.DEAD})
_LEGAL: dict[EngineState, frozenset[EngineState]] = {
    EngineState.STARTING: frozenset({EngineState.READY, EngineState.STOPPING, EngineState.DEAD}),
    EngineState.READY: _TROUBLE | {EngineState.BUSY},
    EngineState.BUSY: _TROUBLE | {EngineState.READY},
    EngineState.UNRESPONSIVE: _TROUBLE - {EngineState.UNRESPONSIVE} | {EngineState.READY},
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


class Lifecycle:
    """The current state, how it came to be, and who wants to hear of changes."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._history = [Transition(EngineState.STOPPED, time.time(), "not started yet")]
        self._listeners: list[Callable[[Transition], None]] = []

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
        """Enter a state if that is legal from here.

        Parameters
        ----------
        state : EngineState
            The state to enter.
        reason : str, optional
            Why, for people.
        only_from : EngineState, optional
            The one state that this is a step from; in any other it comes too late.

        Returns
        -------
        bool
            Whether the state was entered. A late event, such as a job that ends after its engine
            was stopped, is not an error: it just comes too late to change anything.
        """
        with self._lock:
            if state not in _LEGAL[self.state] or only_from not in (None, self.state):
                return False
            transition, listeners = self._record(state, reason)
        _tell(listeners, transition)
        return True

    def note(self, reason: str) -> None:
        """Add to the history what happened without a change of the state.

        Parameters
        ----------
        reason : str
            What happened, for people. Listeners hear of it, too.
        """
        with self._lock:
            transition, listeners = self._record(self.state, reason)
        _tell(listeners, transition)

    def _record(
        self, state: EngineState, reason: str
    ) -> tuple[Transition, list[Callable[[Transition], None]]]:
        transition = Transition(state, time.time(), reason)
        self._history.append(transition)
        del self._history[:-KEPT]
        return transition, list(self._listeners)

    def subscribe(self, listener: Callable[[Transition], None]) -> Callable[[], None]:
        """Call `listener` at every transition, on the thread that makes it.

        Parameters
        ----------
        listener : callable
            Gets a :class:`Transition`.

        Returns
        -------
        callable
            Ends the subscription.
        """
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return unsubscribe


def _tell(listeners: list[Callable[[Transition], None]], transition: Transition) -> None:
    for listener in listeners:
        try:
            listener(transition)
        except Exception:
            logger.exception("a listener for the engine's state failed")
