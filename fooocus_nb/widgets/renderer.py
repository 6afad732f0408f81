"""One throttled thread for each view."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fooocus_nb.widgets._html import View

__all__ = ["MAX_INTERVAL", "MIN_INTERVAL", "Drawable", "Renderer"]

_log = logging.getLogger(__name__)

#: Ten updates a second: every frontend keeps up with that.
MIN_INTERVAL = 0.1
#: The clock moves even where nothing else changes.
MAX_INTERVAL = 1.0
JOIN_TIMEOUT = 5.0


class Drawable(Protocol):
    """Anything that draws views."""

    def draw(self, view: View) -> None:
        """Draw the view."""


class Renderer:
    """One thread that draws at most ten times a second, and at least once."""

    def __init__(self, target: Drawable, read: Callable[[], View]) -> None:
        self._target = target
        self._read = read
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._drawing = threading.Lock()
        # With the caller's context, what is drawn goes to the cell that is running now.
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._run,), name="fooocus-nb-monitor", daemon=True
        )

    def start(self) -> None:
        """Draw once, then keep drawing in the background."""
        self._draw()
        self._thread.start()

    def wake(self) -> None:
        """Request a redraw. Returns at once, from any thread."""
        self._changed.set()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let nothing be drawn meanwhile, so that no view of before is drawn as one of after."""
        with self._drawing:
            yield

    def end(self) -> None:
        """Stop drawing, and wait until no update can come any more."""
        self._ended.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_TIMEOUT)

    def _run(self) -> None:
        while not self._ended.wait(MIN_INTERVAL):
            self._changed.wait(MAX_INTERVAL - MIN_INTERVAL)
            self._changed.clear()
            if not self._ended.is_set():
                self._draw()

    def _draw(self) -> None:
        with self._drawing:
            try:
                self._target.draw(self._read())
            except Exception:  # noqa: BLE001
                # A backend that fails must not fail the generation.
                _log.debug("a monitor could not be drawn", exc_info=True)
