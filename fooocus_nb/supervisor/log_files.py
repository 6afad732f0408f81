"""A child's output as lines, and the rotating log file that keeps it, read in both directions."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fooocus_nb._secrets import redact

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Line", "LineSplitter", "LogReader", "Tail"]

#: A line is cut after so many bytes: a child that never ends its line must not fill our memory.
MAX_LINE_BYTES = 65_536
#: What is kept for errors and views that come late; a long line counts by its length.
TAIL_LINES = 5000
TAIL_CHARACTERS = 4_000_000

#: Where reading begins, before the end: what a view shows at once, and no more.
BEGIN_BYTES = 256 << 10
#: How many older files are looked for, whatever number the writer keeps.
MAX_FILES = 10
#: How often a file may be renamed while it is read before that is left for the next call.
ATTEMPTS = 3

# A \r at the very end may be the first half of \r\n, so it waits for the next byte.
_ENDING = re.compile(rb"\r\n|\n|\r(?!\n|\Z)")

_Identity = tuple[int, int]


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
                lines.append(Line(_text(last), transient, now))
            begin = ending.end()
        rest = buffer[begin:]
        waiting = b"\r" if rest.endswith(b"\r") else b""
        self._rest = self._cut(rest.removesuffix(waiting), lines, now) + waiting
        return lines

    @property
    def rest(self) -> str:
        """What has come of a line whose ending has not, such as a progress bar's newest state."""
        return _text(self._rest.removesuffix(b"\r"))

    def flush(self) -> list[Line]:
        """Return what is left when the output has ended without a line ending."""
        rest = self._rest.removesuffix(b"\r")
        self._rest = b""
        return [Line(_text(rest))] if rest else []

    def _cut(self, data: bytes, lines: list[Line], now: float) -> bytes:
        """Add all of `data` beyond the limit to `lines` and return the last piece."""
        while len(data) > self._limit:
            cut = _character_boundary(data, self._limit)
            lines.append(Line(_text(data[:cut]), False, now))
            data = data[cut:]
        return data


def _text(data: bytes) -> str:
    return redact(data.decode("utf-8", "replace"))


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


class LogReader:
    """A place in a log that :class:`~fooocus_nb.supervisor._rotate.RotatingWriter` writes.

    Not safe for several threads at once. :meth:`close` releases the file.

    Parameters
    ----------
    path : Path
        The newest file; older ones are beside it as ``.1``, ``.2``.
    begin : int
        How many bytes before its end reading begins, at the start of a line. Default 256 KiB.

    Attributes
    ----------
    lost : int
        How often the log was rotated away before it was read.
    """

    def __init__(self, path: Path, begin: int = BEGIN_BYTES) -> None:
        self._path = path
        self.lost = 0
        self._file: _Identity | None = None
        self._pin = -1
        self._offset = 0
        # Where what was handed out begins: so many files before the one being read.
        self._head_distance = 0
        self._head_offset = 0
        self._place_near_end(begin)

    # -- forwards ---------------------------------------------------------------------------

    def read(self, limit: int) -> bytes:
        """Return what was written since the last call, `limit` bytes at the most.

        Parameters
        ----------
        limit : int
            Bytes.

        Returns
        -------
        bytes
            Empty where there is nothing new. No failure of the disk is raised.
        """
        parts: list[bytes] = []
        try:
            while limit > 0:
                place = self._place()
                if place is None:
                    break
                data = self._read_at(place, self._offset, limit)
                if data is None:  # renamed meanwhile
                    continue
                self._offset += len(data)
                limit -= len(data)
                parts.append(data)
                if not data and not self._to_newer(place):
                    break
        except OSError:
            pass  # what cannot be read now may be read later
        return b"".join(parts)

    def behind(self) -> int:
        """Return how many bytes are there and not yet read."""
        place = self._place()
        if place is None:
            return 0
        sizes = [_size(self._name(number)) for number in range(place + 1)]
        return max(sum(sizes) - self._offset, 0)

    def skip(self, keep: int) -> int:
        """Go on near the end of the log, and return how many bytes were left out.

        Parameters
        ----------
        keep : int
            How many bytes before the end to go on, at the start of a line.
        """
        before, place = self.behind(), self._place()
        distance, offset = self._head_distance, self._head_offset
        self._place_near_end(keep)
        if place is not None:
            self._head_distance, self._head_offset = distance + place, offset
        return max(before - self.behind(), 0)

    def _place_near_end(self, keep: int) -> None:
        self._open_file(self._path)
        size = _size(self._path)
        begin = max(size - keep, 0)
        if begin and self._file is not None:
            data = self._read_at(0, begin, size - begin) or b""
            begin += data.find(b"\n") + 1
        self._offset = self._head_offset = begin
        self._head_distance = 0

    def _to_newer(self, place: int) -> bool:
        """Go on with the next newer file, and return whether there is one."""
        handle = _open(self._name(place - 1)) if place else None
        if handle is None:
            return False
        if _identity(self._name(place)) == self._file:  # else the names have moved on: look again
            self._keep(handle)
            self._offset = 0
            self._head_distance += 1
        else:
            os.close(handle)
        return True

    # -- backwards --------------------------------------------------------------------------

    def earlier(self, limit: int) -> bytes:
        """Return what stands before all that was handed out so far.

        Parameters
        ----------
        limit : int
            Bytes at the most; the rest comes with the next call.

        Returns
        -------
        bytes
            Whole lines, where they are not longer than `limit`. Empty where there is no more.
        """
        for _ in range(ATTEMPTS):
            place = self._place()
            if place is None:
                return b""
            older, end = place + self._head_distance, self._head_offset
            if not end:
                older, end = older + 1, _size(self._name(older + 1))
            begin = max(end - limit, 0)
            if begin == end:
                return b""
            try:
                data = _slice(self._name(older), begin, end - begin)
            except OSError:
                return b""
            if self._place() == place:  # else the names have moved on while we read
                cut = data.find(b"\n") + 1 if begin else 0
                cut = cut if cut < len(data) else 0
                self._head_distance, self._head_offset = older - place, begin + cut
                return data[cut:]
        return b""

    def before(self) -> int:
        """Return how many bytes :meth:`earlier` could still hand out."""
        place = self._place()
        if place is None:
            return 0
        older = place + self._head_distance
        rest = min(self._head_offset, _size(self._name(older)))  # it may be gone by now
        return rest + sum(_size(self._name(number)) for number in range(older + 1, MAX_FILES))

    def head(self) -> tuple[Path, int] | None:
        """Return the file and the offset where what was handed out begins; None where none is."""
        place = self._place()
        return (
            None if place is None else (self._name(place + self._head_distance), self._head_offset)
        )

    # -- files ------------------------------------------------------------------------------

    def _place(self) -> int | None:
        """Return which file is being read now: 0 is the newest; None where there is none."""
        # One that was rotated away before it was read to its end: start over with the newest.
        if self._file is not None:
            for number in range(MAX_FILES):
                if _identity(self._name(number)) == self._file:
                    return number
            self.lost += 1
        self._offset = self._head_distance = self._head_offset = 0
        return 0 if self._open_file(self._path) else None

    def _open_file(self, path: Path) -> bool:
        """Open the file to be read, and return whether it is there."""
        handle = _open(path)
        if handle is not None:
            self._keep(handle)
        return handle is not None

    def _keep(self, handle: int) -> None:
        status = os.fstat(handle)
        self.close()
        self._file = status.st_dev, status.st_ino
        if os.name == "posix":
            # While it is open no other file can get its number. Windows gives no number twice,
            # and could not rename a file that we hold.
            self._pin = handle
        else:
            os.close(handle)

    def close(self) -> None:
        """Release the file. Reading would begin anew."""
        if self._pin >= 0:
            os.close(self._pin)
        self._pin, self._file = -1, None

    def _read_at(self, place: int, offset: int, limit: int) -> bytes | None:
        """Return bytes of the file being read; None where its name is another file's by now."""
        with self._name(place).open("rb") as stream:
            status = os.fstat(stream.fileno())
            if (status.st_dev, status.st_ino) != self._file:
                return None
            if status.st_size < offset:  # emptied in place, where it could not be renamed
                self.lost += 1
                self._offset = self._head_offset = self._head_distance = offset = 0
            stream.seek(offset)
            return stream.read(limit)

    def _name(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError:
        return None


def _slice(path: Path, begin: int, length: int) -> bytes:
    with path.open("rb") as stream:
        stream.seek(begin)
        return stream.read(length)


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
