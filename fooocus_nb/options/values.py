"""What stands behind an option, turned from text into its value; argparse reports what is wrong."""

from __future__ import annotations

import argparse
import contextlib
import re

from fooocus_nb.errors import ConfigurationError

__all__ = ["lora", "positive", "seconds", "setting", "sides", "size"]

_SIZE = re.compile(r"0*([1-9]\d*)\s*[xX×*]\s*0*([1-9]\d*)", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][\w-]*")


def size(text: str) -> tuple[int, int]:
    """Return width and height of a text such as ``1024x768``."""
    match = _SIZE.fullmatch(text)
    if match is None:
        msg = f"{text!r} is no size such as 1024x768"
        raise argparse.ArgumentTypeError(msg)
    return int(match[1]), int(match[2])


def positive(text: str) -> int:
    """Return a whole number above 0."""
    if not text.isdigit() or int(text) < 1:
        msg = f"{text!r} is no whole number above 0"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def seconds(text: str, *, endless: bool = False) -> float:
    """Return a number of seconds above 0, in which there may be a fraction."""
    from fooocus_nb.engine.config import checked_seconds

    given: object = text
    with contextlib.suppress(ValueError):
        given = float(text)
    try:
        return checked_seconds("SECONDS", given, endless=endless)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def lora(text: str) -> str | tuple[str, float]:
    """Return the name of a LoRA, with its weight where one is given."""
    name, colon, weight = text.rpartition(":")
    if not colon:
        return text
    try:
        return name, float(weight)
    except ValueError:
        return text  # a name with a colon in it


def setting(text: str) -> tuple[str, str]:
    """Return name and value of a text such as ``sharpness=3``."""
    written, equals, value = text.partition("=")
    name = written.strip()
    if not equals or not _NAME.fullmatch(name):
        msg = f"{text!r} is not of the form NAME=VALUE"
        raise argparse.ArgumentTypeError(msg)
    return name.replace("-", "_"), value if name == written else value.lstrip()


def sides(text: str) -> tuple[str, ...]:
    """Return the words of a list such as ``left,top``."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
