"""Single values of an image's record: numbers checked, and what makes no sense refused."""

from __future__ import annotations

import math
import re
from typing import NoReturn

from fooocus_nb.errors import MetadataError

__all__ = ["NUMBER", "number_of", "refuse"]

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d{1,3})?")
#: Seeds have 19 digits and floats 17; a longer text is no number that anybody meant.
_MAX_NUMBER = 40


def number_of(key: str, kind: str, value: object) -> str | int | float:
    """Parse a ``number`` (float), an ``integer`` or a ``seed`` (its digits, as text)."""
    if not isinstance(value, str | int | float):
        refuse(key, value)
    # str() of an int refuses more than 4300 digits with an error of its own.
    if isinstance(value, bool) or (isinstance(value, int) and value.bit_length() > 128):
        refuse(key, "a number with too many digits" if not isinstance(value, bool) else value)
    text = str(value).strip()
    if len(text) > _MAX_NUMBER or not NUMBER.fullmatch(text):
        refuse(key, value)
    number = float(text)
    if not math.isfinite(number) or (kind != "number" and not re.fullmatch(r"-?\d+(\.0+)?", text)):
        refuse(key, value)
    if kind == "number":
        return number
    whole = text.partition(".")[0]
    return whole if kind == "seed" else int(whole)


def refuse(key: str, value: object) -> NoReturn:
    """Raise the error for a value that makes no sense."""
    # What is nested may be nested too deeply to be shown.
    shown = repr(value)[:80] if isinstance(value, str | int | float) else type(value).__name__
    msg = f"The embedded value of {key!r} makes no sense: {shown}."
    raise MetadataError(msg)
