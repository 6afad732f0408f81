"""The parts of a file that a request asks for, and the tags that tell its versions apart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

__all__ = ["UnsatisfiableRangeError", "entity_tag", "matches", "requested_range"]

_RANGE = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII)


class UnsatisfiableRangeError(ValueError):
    """A range lies beyond the end of the file."""


def requested_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return where the part begins and ends that a ``Range`` header asks for.

    None is the whole file: without a header, and for one that is no range or several, which a
    server may leave unanswered.
    """
    known = _RANGE.fullmatch(header or "")
    if known is None or not any(known.groups()):
        return None
    first, last = known.groups()
    if not first:  # the last bytes
        begin, end = max(size - int(last), 0), size
    else:
        begin, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
    if begin >= size or begin >= end:
        msg = f"bytes */{size}"
        raise UnsatisfiableRangeError(msg)
    return begin, end


def entity_tag(status: os.stat_result, variant: str = "") -> str:
    """Return the tag of a file as it is now, or of a variant that is made from it."""
    return f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}{variant}"'


def matches(header: str | None, tag: str) -> bool:
    """Whether an ``If-None-Match`` header names the tag."""
    if not header:
        return False
    given = {word.strip().removeprefix("W/") for word in header.split(",")}
    return tag in given or "*" in given
