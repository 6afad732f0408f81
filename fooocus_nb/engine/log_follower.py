"""Follows the log of an engine that somebody else has started, where its file is known."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fooocus_nb.supervisor.log_files import LineSplitter, LogReader, Tail

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["LogFollower"]

#: How often it looks for new lines: what fails is judged by them a moment later.
POLL_SECONDS = 0.1
#: So much of what was written before may tell of the engine's state, and is no news.
EARLIER_BYTES = 64 << 10
READ_BYTES = 1 << 20
JOIN_SECONDS = 5.0


class LogFollower:
    """Hands on each new line of a log that is no redrawn progress bar, on a thread of its own.

    Parameters
    ----------
    path : Path
        The newest file of the log.
    take_line : callable
        Gets each line; it must return at once.
    """

    def __init__(self, path: Path, take_line: Callable[[str], None]) -> None:
        self._take_line = take_line
        self._reader = LogReader(path, EARLIER_BYTES)
        self._splitter = LineSplitter()
        self._tail = Tail()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._read(news=False)
        self._thread = threading.Thread(target=self._follow, name="fooocus-nb-log", daemon=True)
        self._thread.start()

    def tail(self, n: int) -> list[str]:
        """Return the last lines, oldest first."""
        with self._lock:
            return [line.text for line in self._tail.lines()][-n:] if n > 0 else []

    def stop(self) -> None:
        """End, and release the file. Harmless twice."""
        self._ended.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_SECONDS)

    def _follow(self) -> None:
        try:
            while not self._ended.wait(POLL_SECONDS):
                self._read(news=True)
        finally:
            self._reader.close()

    def _read(self, *, news: bool) -> None:
        while data := self._reader.read(READ_BYTES):
            lines = self._splitter.feed(data)
            with self._lock:
                for line in lines:
                    self._tail.append(line)
            for line in lines:
                if news and not line.transient:
                    self._take_line(line.text)
