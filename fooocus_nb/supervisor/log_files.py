"""A child's output as lines: split, and the newest of them kept."""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass, field

__all__ = ["Line", "LineSplitter", "Tail"]

#: A line is cut after so many bytes: a child that never ends its line must not fill our memory.
MAX_LINE_BYTES = 65_536
TAIL_LINES = 5000
TAIL_CHARACTERS = 4_000_000

# A \r at the very end may be the first half of \r\n, so it waits for the next byte.
_ENDING = re.compile(rb"\r\n|\n|\r(?!\n|\Z)")


@dataclass(frozen=True, slots=True)
class Line:
    r"""One line of a child's output.

    Attributes
    ----------
    text : str
        The line without its ending; bytes that are not UTF-8 are replaced.
    transient : bool
        Whether it ended in a lone ``\r``: a progress bar that is redrawn in place.
    time : float
        When it was read, in seconds since the epoch.
    """

    text: str
    transient: bool = False
    time: float = field(default_factory=time.time, compare=False)


class LineSplitter:
    r"""Turns chunks of bytes into lines, however the chunks are cut.

    Lines end in ``\n``, ``\r\n`` or a lone ``\r``. A longer line than `limit` is cut into pieces.

    Parameters
    ----------
    limit : int
        The longest line, in bytes. Default 65,536.
    """

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, chunk: bytes) -> list[Line]:
        """Take a chunk and return the lines that it completes.

        Parameters
        ----------
        chunk : bytes
            Any piece of the output.

        Returns
        -------
        list of Line
            In order. Empty redrawn lines are left out.
        """
        now = time.time()
        lines: list[Line] = []
        buffer = self._rest + chunk
        # What is left from before holds no ending, but for a last \r that waited for this chunk.
        unseen = max(len(self._rest) - 1, 0)
        begin = 0
        for ending in _ENDING.finditer(buffer, unseen):
            last = self._cut(buffer[begin : ending.start()], lines, now)
            transient = ending[0] == b"\r"
            if last or not transient:
                lines.append(Line(last.decode("utf-8", "replace"), transient, now))
            begin = ending.end()
        rest = buffer[begin:]
        waiting = b"\r" if rest.endswith(b"\r") else b""
        self._rest = self._cut(rest.removesuffix(waiting), lines, now) + waiting
        return lines

    @property
    def rest(self) -> str:
        """What has come of a line whose ending has not, such as a progress bar's newest state."""
        return self._rest.removesuffix(b"\r").decode("utf-8", "replace")

    def flush(self) -> list[Line]:
        """Return what is left when the output has ended without a line ending."""
        rest = self._rest.removesuffix(b"\r")
        self._rest = b""
        return [Line(rest.decode("utf-8", "replace"))] if rest else []

    def _cut(self, data: bytes, lines: list[Line], now: float) -> bytes:
        """Add all of `data` beyond the limit to `lines` and return the last piece."""
        while len(data) > self._limit:
            cut = _character_boundary(data, self._limit)
            lines.append(Line(data[:cut].decode("utf-8", "replace"), False, now))
            data = data[cut:]
        return data


def _character_boundary(data: bytes, limit: int) -> int:
    """Return the last position up to `limit` that does not cut a UTF-8 character in two."""
    for position in range(limit, max(limit - 4, 0), -1):
        if data[position] & 0xC0 != 0x80:
            return position
    return limit


class Tail:
    """The newest lines, as a terminal would show them: a redrawn line is replaced by the next.

    Parameters
    ----------
    max_lines : int
        How many lines are kept. Default 5,000.
    max_characters : int
        How long they may be together. Default 4,000,000.
    """

    def __init__(self, max_lines: int = TAIL_LINES, max_characters: int = TAIL_CHARACTERS) -> None:
        self._max_lines = max_lines
        self._max_characters = max_characters
        self._lines: deque[Line] = deque()
        self._characters = 0

    def append(self, line: Line) -> None:
        """Add a line, and forget the oldest where there are too many."""
        if self._lines and self._lines[-1].transient:
            self._characters -= len(self._lines.pop().text)
        self._lines.append(line)
        self._characters += len(line.text)
        while len(self._lines) > self._max_lines or (
            self._characters > self._max_characters and len(self._lines) > 1
        ):
            self._characters -= len(self._lines.popleft().text)

    def lines(self) -> list[Line]:
        """Return what is kept, oldest first."""
        return list(self._lines)
