"""Whether a guardian answers, asked again and again without ever waiting for it."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pulse"]


class Pulse:
    """One question at a time to the guardian, and whether the last one has been answered.

    There is never more than one question on its way: a guardian that is stopped reads nothing, and
    its connection would fill.

    Parameters
    ----------
    ask : callable
        Sends the question. It may raise OSError, which is no answer.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._owed = False

    def beat(self) -> None:
        """Note that the answer has come."""
        with self._lock:
            self._owed = False

    def check(self) -> bool:
        """Return whether the last question has been answered; if so, ask the next one."""
        with self._lock:
            if self._owed:
                return False
            self._owed = True
        with contextlib.suppress(OSError):
            self._ask()
        return True
