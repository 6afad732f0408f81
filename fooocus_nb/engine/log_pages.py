"""Pages of an engine's log, each asked for by a place in it: nobody has to keep a file open.

A place names a file by what the system calls it and by its first bytes, since the system gives the
name of a removed file to another one. So it holds while the log is rotated; what was rotated away
since is a :class:`LostPlaceError`.
"""

from __future__ import annotations

import os
import re
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from fooocus_nb._html import clip
from fooocus_nb.supervisor import LineSplitter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from fooocus_nb.fooocus.logs.levels import Classifier
    from fooocus_nb.supervisor import Line

__all__ = [
    "ROTATED",
    "LostPlaceError",
    "Page",
    "batch_of",
    "lines_of",
    "page_after",
    "page_before",
    "place_at",
    "text_of",
    "whole",
]

#: The last line of a log that is saved while it is rotated.
ROTATED = "[the log was rotated meanwhile: the rest is missing]"
#: A longer line is cut where it is shown; the file has all of it.
MAX_LINE = 4000
#: How many older files are looked for, whatever number the writer keeps.
MAX_FILES = 10
#: How often a file may be renamed while it is read before that is an error.
ATTEMPTS = 3
CHUNK_BYTES = 1 << 18
#: So much of a file's beginning tells it from others.
HEAD_BYTES = 256
_PLACE = re.compile(r"-".join([r"([0-9a-f]{1,16})"] * 5), re.ASCII)
_SHORT = {"info": "i", "warning": "w", "error": "e", "note": "n"}


class LostPlaceError(LookupError):
    """A place is none, or its part of the log was rotated away."""


class Page(NamedTuple):
    """A piece of a log, of whole lines where it can be."""

    data: bytes
    #: Where it begins and ends.
    begin: str
    end: str
    #: How many bytes are before and behind it.
    before: int
    after: int


class _File(NamedTuple):
    path: Path
    device: int
    inode: int
    size: int

    def place(self, offset: int) -> str:
        head = _read(self, 0, HEAD_BYTES)
        return f"{self.device:x}-{self.inode:x}-{offset:x}-{len(head):x}-{zlib.crc32(head):x}"


class _Moved(Exception):
    """The names of the files have changed meanwhile."""


def page_before(path: Path, place: str | None, limit: int) -> Page:
    """Return what stands before a place, the end of the log where it is None."""
    return _settled(lambda: _page_before(path, place, limit))


def page_after(path: Path, place: str, limit: int) -> Page:
    """Return what stands behind a place."""
    return _settled(lambda: _page_after(path, place, limit))


def place_at(path: Path, offset: int) -> str:
    """Return the place at an offset of a file; empty where there is no such file."""
    try:
        status = path.stat()
        return _File(path, status.st_dev, status.st_ino, status.st_size).place(offset)
    except (OSError, _Moved):
        return ""


def whole(path: Path) -> Iterator[bytes]:
    """Yield all of a log, from the oldest line that is kept, in pieces of whole lines."""
    files = _files(path)
    if not files:
        return
    place = files[-1].place(0)
    while True:
        page = page_after(path, place, CHUNK_BYTES)
        if not page.data:
            return
        yield page.data
        place = page.end


def lines_of(data: bytes) -> list[Line]:
    """Return a page's lines, with passwords and tokens masked."""
    splitter = LineSplitter()
    return [*splitter.feed(data), *splitter.flush()]


def text_of(data: bytes) -> str:
    """Return a page as it is saved elsewhere, with passwords and tokens masked."""
    return "".join(f"{line.text}\n" for line in lines_of(data))


def batch_of(lines: Sequence[Line], classifier: Classifier) -> dict[str, Any]:
    """Return lines as a view shows them, with redrawn ones left out."""
    kept = [line.text for line in lines if not line.transient]
    pending = lines[-1].text if lines and lines[-1].transient else ""
    return {
        "text": "\n".join(clip(text, MAX_LINE) for text in kept),
        "levels": "".join(_SHORT[classifier.level(text)] for text in kept),
        "count": len(kept),
        "pending": clip(pending, MAX_LINE),
    }


def _settled(read: Callable[[], Page]) -> Page:
    for _ in range(ATTEMPTS):
        try:
            return read()
        except _Moved:
            continue
    msg = "the log was rotated while it was read"
    raise LostPlaceError(msg)


def _page_before(path: Path, place: str | None, limit: int) -> Page:
    files = _files(path)
    if not files:
        if place is not None:
            msg = "there is no log any more"
            raise LostPlaceError(msg)
        return Page(b"", "", "", 0, 0)
    number, end = _find(files, place) if place is not None else (0, files[0].size)
    last = files[number].place(end)
    behind = files[number].size - end + sum(file.size for file in files[:number])
    while not end and number + 1 < len(files):
        number += 1
        end = files[number].size
    file = files[number]
    begin = max(end - limit, 0)
    data = _read(file, begin, end - begin)
    if begin and 0 < (cut := data.find(b"\n") + 1) < len(data):
        begin, data = begin + cut, data[cut:]
    before = begin + sum(older.size for older in files[number + 1 :])
    return Page(data, file.place(begin), last, before, behind)


def _page_after(path: Path, place: str, limit: int) -> Page:
    files = _files(path)
    number, begin = _find(files, place)
    first = files[number].place(begin)
    before = begin + sum(file.size for file in files[number + 1 :])
    while begin >= files[number].size and number:
        number, begin = number - 1, 0
    file = files[number]
    data = _read(file, begin, min(limit, max(file.size - begin, 0)))
    if begin + len(data) < file.size and (cut := data.rfind(b"\n") + 1):
        data = data[:cut]
    end = begin + len(data)
    after = max(file.size - end, 0) + sum(newer.size for newer in files[:number])
    return Page(data, first, file.place(end), before, after)


def _files(path: Path) -> list[_File]:
    """Return the files of a log, the newest first."""
    found = []
    for number in range(MAX_FILES):
        each = path.with_name(f"{path.name}.{number}") if number else path
        try:
            status = each.stat()
        except OSError:
            break
        found.append(_File(each, status.st_dev, status.st_ino, status.st_size))
    return found


def _find(files: list[_File], place: str) -> tuple[int, int]:
    known = _PLACE.fullmatch(place)
    if known is None:
        msg = f"{place[:50]!r} is no place in a log"
        raise LostPlaceError(msg)
    device, inode, offset, length, checksum = (int(word, 16) for word in known.groups())
    for number, file in enumerate(files):
        if (file.device, file.inode) == (device, inode):
            if zlib.crc32(_read(file, 0, min(length, HEAD_BYTES))) == checksum:
                return number, min(offset, file.size)
            break
    msg = "this part of the log was rotated away"
    raise LostPlaceError(msg)


def _read(file: _File, begin: int, length: int) -> bytes:
    if length <= 0:
        return b""
    try:
        with file.path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if (status.st_dev, status.st_ino) != (file.device, file.inode):
                raise _Moved
            stream.seek(begin)
            return stream.read(length)
    except FileNotFoundError:
        raise _Moved from None
