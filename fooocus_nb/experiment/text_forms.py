"""Axes as text: ``guidance_scale=3,5,7``, ``seed=1..4``, ``prompt="a, b", "c"``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fooocus_nb.errors import ParameterError

if TYPE_CHECKING:
    from typing import Any

__all__ = ["expanded", "numbers_between", "parse_axis", "split_values"]

SEPARATOR = "||"
#: Numbers from the first to the last, which is one of them where the steps meet it.
_RANGE = re.compile(
    r"(-?\d+(?:\.\d+)?)\s*\.\.\s*(-?\d+(?:\.\d+)?)(?:\s*\.\.\s*(\d+(?:\.\d+)?))?", re.ASCII
)
_NAME = re.compile(r"[A-Za-z_][\w-]*")
#: More numbers are a slip of the pen.
MAX_NUMBERS = 10_000
QUOTES = ('"', "'")


def parse_axis(text: str) -> tuple[str, list[str]]:
    """Return the name and the values of ``NAME=VALUES``, each value as text."""
    name, equals, rest = text.partition("=")
    name = name.strip().removeprefix("--").replace("-", "_")
    if not equals or not _NAME.fullmatch(name):
        msg = f"{text!r} is no axis: write NAME=VALUE,VALUE, such as guidance_scale=3,5,7."
        raise ParameterError(msg)
    values = split_values(name, rest)
    found: list[str] = []
    for value in values:
        numbers = expanded(value)
        if numbers is None:
            found.append(value)
        else:
            found += [f"{n:.10g}" if isinstance(n, float) else str(n) for n in numbers]
    return name, found


def split_values(name: str, text: str) -> list[str]:
    """Return values that commas separate, or ``||`` where that is in the text.

    A value in quotes may hold a comma, also with blanks around it; a backslash takes the next
    comma, quote or backslash as it is, and a doubled quote inside of quotes is one, as in CSV.
    """
    values: list[str] = []
    for piece in _pieces(name, text):
        value = piece.strip()
        if not value:
            msg = f'{name}={text!r} has an empty value: write "" for an empty text.'
            raise ParameterError(msg)
        values.append(_unquoted(value))
    return values


def _pieces(name: str, text: str) -> list[str]:
    """Split at ``||`` where that stands outside of quotes, else at commas."""
    pieces = _split(name, text, SEPARATOR)
    return pieces if len(pieces) > 1 else _split(name, text, ",")


def _split(name: str, text: str, separator: str) -> list[str]:
    pieces, piece, quote, index = [], "", "", 0
    fresh = True  # a quote opens only where a value may begin; elsewhere it is an apostrophe
    while index < len(text):
        sign = text[index]
        if sign == "\\":
            piece += text[index : index + 2]
            index, fresh = index + 2, False
            continue
        if not quote and text.startswith(separator, index):
            pieces.append(piece)
            piece, fresh = "", True
            index += len(separator)
            continue
        if quote and text.startswith(quote * 2, index):
            piece += quote * 2
            index += 2
            continue
        if quote:
            quote = "" if sign == quote else quote
        elif fresh and sign in QUOTES:
            quote = sign
        fresh = not quote and (sign == "," or (fresh and sign.isspace()))
        piece += sign
        index += 1
    if quote:
        msg = f"{name}={text!r} has a quote that is not closed."
        raise ParameterError(msg)
    return [*pieces, piece]


def _unquoted(value: str) -> str:
    if value[0] in QUOTES and len(value) > 1 and value[-1] == value[0]:
        value = value[1:-1].replace(value[0] * 2, value[0])
    return re.sub(r"\\([,\\\"'|])", r"\1", value)


def expanded(value: str) -> list[Any] | None:
    """Return the numbers of ``1..4`` or ``0.2..1..0.2``; None where it is no range."""
    found = _RANGE.fullmatch(value.strip())
    return None if found is None else numbers_between(*found.groups())


def numbers_between(first: str, last: str, step: str | None = None) -> list[Any]:
    """Return the numbers from the first to the last; seeds stay whole however large they are."""
    whole = all("." not in part for part in (first, last, step or "1"))
    low, high = (int(first), int(last)) if whole else (float(first), float(last))
    by = (int(step) if whole else float(step)) if step else 1
    if by == 0:
        msg = f"{first}..{last}..{step} has a step of 0."
        raise ParameterError(msg)
    count = int(abs(high - low) // by if whole else abs(high - low) / by + 1e-9) + 1
    if count > MAX_NUMBERS:
        msg = f"{first}..{last} is {count:,} numbers, but {MAX_NUMBERS:,} are the most."
        raise ParameterError(msg)
    sign = 1 if high >= low else -1
    numbers = [low + sign * by * index for index in range(count)]
    return numbers if whole else [float(f"{number:.10g}") for number in numbers]
