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


class EngineState(enum.StrEnum):
    """Where an engine is in its life."""

    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DEAD = "dead"


_LEGAL: dict[EngineState, frozenset[EngineState]] = {
    EngineState.STARTING: frozenset({EngineState.READY, EngineState.STOPPING, EngineState.DEAD}),
    EngineState.READY: frozenset({EngineState.BUSY, EngineState.STOPPING, EngineState.DEAD}),
    EngineState.BUSY: frozenset({EngineState.READY, EngineState.STOPPING, EngineState.DEAD}),
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

    def move(self, state: EngineState, reason: str = "") -> bool:
        """Enter a state if that is legal from here.

        Parameters
        ----------
        state : EngineState
            The state to enter.
        reason : str, optional
            Why, for people.

        Returns
        -------
        bool
            Whether the state was entered. A late event, such as a job that ends after its engine
            was stopped, is not an error: it just comes too late to change anything.
        """
        with self._lock:
            if state not in _LEGAL[self.state]:
                return False
            transition = Transition(state, time.time(), reason)
            self._history.append(transition)
            del self._history[:-200]
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener(transition)
            except Exception:
                logger.exception("a listener for the engine's state failed")
        return True

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
