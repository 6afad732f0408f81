"""One listener for the lines of a child."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from fooocus_nb.supervisor.log_files import Line

__all__ = ["LineListener", "Subscription"]

_log = logging.getLogger(__name__)

LineListener = Callable[[Line], None]


class Subscription:
    """A listener for lines that gets each line once and in order, on whichever thread."""

    def __init__(self, listener: LineListener, name: str) -> None:
        self._listener = listener
        self._name = name
        self.lock = threading.Lock()

    def tell(self, lines: list[Line]) -> None:
        """Call the listener for each of `lines`; the caller holds the lock."""
        for line in lines:
            try:
                self._listener(line)
            except Exception:  # noqa: BLE001 - it is not ours, and the others must hear
                _log.exception("a listener for the lines of %r failed", self._name)
