"""What a generation tells, for any number of listeners, those who come late included."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from fooocus_nb.fooocus.events import Preview

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb.fooocus.events import Event

__all__ = ["Feed"]


class Feed:
    """The events of one generation, from any thread to any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._history: list[Event] = []
        self._listeners: list[Callable[[Event | None], None]] = []
        self._ended = False

    def __len__(self) -> int:
        """How many events were told, previews left out."""
        return len(self._history)

    def publish(self, event: Event) -> None:
        """Tell an event to all who listen."""
        with self._lock:
            if not isinstance(event, Preview):
                self._history.append(event)
            listeners = list(self._listeners)
        for listener in listeners:
            listener(event)

    def end(self) -> None:
        """Tell all who listen that nothing follows."""
        with self._lock:
            self._ended = True
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener(None)

    def subscribe(self, listener: Callable[[Event | None], None]) -> Callable[[], None]:
        """Call `listener` with each event, those of the past first, and None at the end."""
        with self._lock:
            for event in self._history:
                listener(event)
            if self._ended:
                listener(None)
            else:
                self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return unsubscribe
