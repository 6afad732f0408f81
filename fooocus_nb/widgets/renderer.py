"""One throttled thread for each view."""

from __future__ import annotations

import contextvars
import logging
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb.widgets._html import View

__all__ = ["MAX_INTERVAL", "MIN_INTERVAL", "Renderer", "Screen"]

_log = logging.getLogger(__name__)

#: Ten updates a second are what every frontend takes in without falling behind.
MIN_INTERVAL = 0.1
#: Without news the clock still moves.
MAX_INTERVAL = 1.0
JOIN_TIMEOUT = 5.0


class Screen(Protocol):
    """What can be drawn on."""

    def draw(self, view: View) -> None:
        """Show how things are now."""


class Renderer:
    """One thread that draws at most ten times a second, and at least once.

    Parameters
    ----------
    surface : Screen
        Where to draw.
    read : callable
        Returns what to show now. Called on the renderer's thread.
    """

    def __init__(self, surface: Screen, read: Callable[[], View]) -> None:
        self._surface = surface
        self._read = read
        self._news = threading.Event()
        self._ended = threading.Event()
        self._drawing = threading.Lock()
        # With the caller's context, what is drawn goes to the cell that is running now.
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._run,), name="fooocus-nb-monitor", daemon=True
        )

    def start(self) -> None:
        """Draw once, then go on in the background."""
        self._draw()
        self._thread.start()

    def wake(self) -> None:
        """Say that there is news. Returns at once, from any thread."""
        self._news.set()

    def end(self) -> None:
        """Draw no more. When this returns, no update comes after what the caller shows next."""
        self._ended.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_TIMEOUT)

    def _run(self) -> None:
        while not self._ended.wait(MIN_INTERVAL):
            self._news.wait(MAX_INTERVAL - MIN_INTERVAL)
            self._news.clear()
            if not self._ended.is_set():
                self._draw()

    def _draw(self) -> None:
        with self._drawing:
            try:
                self._surface.draw(self._read())
            except Exception:  # noqa: BLE001
                # A screen that cannot be drawn on must not cost a generation.
                _log.debug("a monitor could not be drawn", exc_info=True)
