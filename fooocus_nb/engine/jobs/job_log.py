"""The log lines of one generation, told from those of others on the same engine."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["JobLog"]

#: The newest lines are kept; a generation logs some 40 an image.
MAX_LINES = 2000
_PARAMETER = "[Parameters] "
_SEED = re.compile(r"\[Parameters\] Seed = (-?\d+)\s*$")
_END = "Total time: "


class JobLog:
    """Collects the lines of a generation, the newest 2,000.

    The engine runs one generation at a time and says the seed of each near its beginning, so where
    others use it, too, that tells whose the lines are. Until ours has begun, all are kept: when it
    fails before, one of them may say why. `ended` is set when the log of the generation is whole.
    """

    def __init__(self, seed: int) -> None:
        self.ended = threading.Event()
        self._seed = seed
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._begun = False
        #: When the engine said that it works on it, by the monotonic clock.
        self.begun_at: float | None = None
        self._seeds_are_logged = False

    def feed(self, text: str) -> None:
        """Take the next line of the engine's log."""
        if (said := _SEED.match(text)) is not None:
            self._seeds_are_logged = True
            if int(said[1]) == self._seed:
                self._begin()
            elif self._begun:
                self.ended.set()
        if self.ended.is_set():
            return  # what comes now is somebody else's
        self._lines.append(text)
        if text.startswith(_END) and (self._begun or not self._seeds_are_logged):
            self.ended.set()

    def _begin(self) -> None:
        """Forget what was before, but for the parameters that come before the seed."""
        if self.ended.is_set():
            # It was another's of the same seed. Its parameters were not kept, and ours were not.
            self._lines.clear()
        block = []
        while self._lines and self._lines[-1].startswith(_PARAMETER):
            block.append(self._lines.pop())
        self._lines.clear()
        self._lines.extend(reversed(block))
        self._begun = True
        self.begun_at = time.monotonic()
        self.ended.clear()

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._lines))

    @property
    def begun(self) -> bool:
        """Whether the engine has said that it works on it."""
        return self._begun

    @property
    def last(self) -> str:
        """The newest line, or an empty one."""
        return self._lines[-1] if self._lines else ""
