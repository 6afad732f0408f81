"""A log file that never grows beyond its bounds and never fails its writer."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RotatingWriter"]

_NEWLINE = 10


class RotatingWriter:
    """A log file that is renamed when it is full, so that a few files hold the newest output.

    No failure of the disk is ever raised: what could not be written is counted, and the file says
    so where writing goes on. Files change between two lines, unless one line fills a whole file.

    Parameters
    ----------
    path : Path or str
        The file; older ones are beside it, named ``.1`` (the newest), ``.2`` and so on.
    max_bytes : int
        When to start a new file.
    backups : int
        How many older files to keep.

    Attributes
    ----------
    dropped : int
        Bytes that could not be written.
    """

    def __init__(self, path: Path | str, max_bytes: int, backups: int) -> None:
        self._path = str(path)
        self._max_bytes = max(max_bytes, 1)
        self._backups = backups
        self._fd = -1
        self._file = (0, 0)
        self._size = 0
        self._line_ended = True
        self._unreported = 0
        self._failure = ""
        self.dropped = 0

    def write(self, data: bytes) -> None:
        """Append `data`, starting a new file first where the current one is full."""
        view = memoryview(data)
        self._follow_path()
        try:
            if self._unreported:
                self._report()
            while view:
                view = view[self._write_some(view) :]
        except OSError as error:
            self.note_lost(len(view), error.strerror or type(error).__name__)
            self.close()

    def note_lost(self, count: int, reason: str) -> None:
        """Count bytes that were lost before or here; the file will say so, with the reason."""
        self._failure = reason
        self._unreported += count
        self.dropped += count

    def _report(self) -> None:
        """Say in the file what is missing from it."""
        notice = f"\n[{self._unreported} bytes are missing here: {self._failure}]\n"
        view = memoryview(notice.encode())
        while view:
            view = view[self._write_some(view) :]
        self._unreported = 0

    def _write_some(self, view: memoryview) -> int:
        if self._fd < 0:
            self._open()
        room = self._fitting(view)
        if room == 0:
            self._rotate()
            room = self._fitting(view)
        written = os.write(self._fd, view[:room])
        self._size += written
        self._line_ended = view[written - 1] == _NEWLINE
        return written

    def _fitting(self, view: memoryview) -> int:
        """Return how much of `view` belongs in the current file; nothing means in a new one."""
        room = self._max_bytes - self._size
        if len(view) <= room:
            return len(view)
        if room <= 0:
            return 0
        lines_end = bytes(view[:room]).rfind(b"\n") + 1
        if lines_end:
            return lines_end
        return 0 if self._size and self._line_ended else room

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            self._fd = os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)  # noqa: PTH103, PTH120
            self._fd = os.open(self._path, flags, 0o600)
        status = os.fstat(self._fd)
        self._size, self._file = status.st_size, (status.st_dev, status.st_ino)

    def _follow_path(self) -> None:
        """Let go of a file that somebody has removed or renamed: nobody would read it any more."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):
            status = os.stat(self._path)  # noqa: PTH116 - the guardian loads little
            if (status.st_dev, status.st_ino) == self._file:
                return
        self.close()

    def _rotate(self) -> None:
        self.close()
        try:
            for number in range(self._backups, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(self._name(number - 1), self._name(number))  # noqa: PTH105
        except OSError:
            pass  # on Windows, a file that somebody reads cannot be renamed
        self._open()
        if self._size:
            # No backups, or no renaming: the bound matters more than the oldest lines.
            os.ftruncate(self._fd, 0)
            self._size = 0

    def _name(self, number: int) -> str:
        return f"{self._path}.{number}" if number else self._path

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1
