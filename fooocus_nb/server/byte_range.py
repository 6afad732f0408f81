"""The parts of a file that a request asks for, and the conditions under which it asks."""

from __future__ import annotations

import email.utils
import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

__all__ = [
    "UnsatisfiableRangeError",
    "entity_tag",
    "matches",
    "precondition",
    "range_applies",
    "requested_range",
]

_RANGE = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


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


def precondition(headers: Mapping[str, str], tag: str, modified: float) -> int | None:
    """Return 304 or 412 where a request's conditions ask for that instead of the file.

    In the order of RFC 9110: a tag is more exact than a date, which is ignored beside it.
    """
    wanted = headers.get("If-Match")
    unmodified = _date(headers.get("If-Unmodified-Since"))
    if wanted is not None:
        if not _names(wanted, tag):
            return 412
    elif unmodified is not None and int(modified) > unmodified:
        return 412
    known = headers.get("If-None-Match")
    if known is not None:
        return 304 if matches(known, tag) else None
    since = _date(headers.get("If-Modified-Since"))
    return 304 if since is not None and int(modified) <= since else None


def range_applies(condition: str | None, tag: str, modified: float) -> bool:
    """Whether an ``If-Range`` header, a tag or a date, lets a part be sent."""
    if condition is None or condition == tag:
        return True
    date = _date(condition)
    # What was written within this second may be written again in it.
    return date is not None and date == int(modified) and modified < time.time() - 1


def matches(header: str | None, tag: str) -> bool:
    """Whether an ``If-None-Match`` header names the tag, weak or not."""
    return header is not None and _names(header.replace("W/", ""), tag)


def _names(header: str, tag: str) -> bool:
    given = {word.strip() for word in header.split(",")}
    return tag in given or "*" in given


def _date(header: str | None) -> int | None:
    """Return a date of HTTP in seconds since the epoch; None without one, or where it is none."""
    if header is None:
        return None
    try:
        return int(email.utils.parsedate_to_datetime(header).timestamp())
    except (TypeError, ValueError, OverflowError, OSError):
        return None
