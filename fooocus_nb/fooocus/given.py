"""What a user gives: any object may be given for a path or a number, and is then refused."""

from __future__ import annotations

import contextlib
import operator
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb.errors import FooocusError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["count_of", "only_our_errors", "path_of", "shown", "size_of"]

#: What an error shows of a value.
MAX_SHOWN = 80
#: No file is larger, and a larger number fits into no call of the system.
MAX_SIZE = 2**62


def shown(value: object) -> str:
    """Return a value as an error shows it."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the value's own; or a number of too many digits
        return f"({type(value).__name__})"
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def path_of(name: str, given: object, error: type[FooocusError]) -> Path:
    """Return a path, or raise what says that no system could have it."""
    try:
        found = Path(given)  # type: ignore[arg-type]
        if b"\0" in os.fsencode(found):
            msg = "it holds a NUL character"
            raise ValueError(msg)
    except Exception as reason:
        msg = f"{name}={shown(given)} is no path that can be used: {_said(reason)}."
        raise error(msg) from reason
    return found


def size_of(name: str, given: object, error: type[FooocusError]) -> int:
    """Return a number of bytes, or raise what says that it is none."""
    return _whole(name, given, error, 1, "give a number of bytes above 0")


def count_of(name: str, given: object, error: type[FooocusError]) -> int:
    """Return a whole number from 0 up, or raise what says that it is none."""
    return _whole(name, given, error, 0, "give a whole number from 0 up")


def _whole(name: str, given: object, error: type[FooocusError], least: int, right: str) -> int:
    try:
        number = -1 if isinstance(given, bool) else operator.index(given)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - the value's own
        number = -1
    if not least <= number <= MAX_SIZE:
        msg = f"{name}={shown(given)} is not possible: {right}."
        raise error(msg)
    return number


@contextlib.contextmanager
def only_our_errors(what: str, error: type[FooocusError]) -> Iterator[None]:
    """Raise an error of ours for what a value itself raises: any object may be given."""
    try:
        yield
    except FooocusError:
        raise
    except Exception as reason:
        said = _said(reason)
        msg = f"{what} cannot be used: {type(reason).__name__}{said and ': '}{said}."
        raise error(msg) from reason


def _said(reason: Exception) -> str:
    try:
        return str(reason)
    except Exception:  # noqa: BLE001 - the value's own
        return ""
