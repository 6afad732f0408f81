"""Images behind ``%fooocus``: paths and variables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from fooocus_nb.errors import nearest
from fooocus_nb.fooocus.requests.images import is_url
from fooocus_nb.results import Image, Result

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["find_image", "image_names"]

_VARIABLE = re.compile(r"([A-Za-z_]\w*)(?:\[(-?\d+)\])?")


def find_image(text: str, variables: Mapping[str, Any]) -> Any:
    """Return the image that a word stands for: a path, an address, or what a variable holds."""
    if is_url(text) or _is_file(text):
        return text
    found = _VARIABLE.fullmatch(text)
    if found is None or found[1] not in variables:
        hint = nearest(text, image_names(variables))
        msg = f"%fooocus: there is no file and no variable {text!r}.{hint}"
        raise UsageError(msg)
    value = variables[found[1]]
    if found[2] is not None:
        try:
            return value[int(found[2])]
        except (IndexError, KeyError, TypeError) as error:
            msg = f"%fooocus: {text} is not there: {error}."
            raise UsageError(msg) from None
    if isinstance(value, Result):
        if len(value) != 1:
            msg = f"%fooocus: {text} has {len(value)} images: say which, such as {text}[0]."
            raise UsageError(msg)
        return value[0]
    return value


def _is_file(text: str) -> bool:
    try:
        return Path(text).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # too long, nobody's home, a null byte
        return False


def image_names(variables: Mapping[str, Any]) -> list[str]:
    """Return the user's variables that hold images, each image of a result by its number."""
    names: list[str] = []
    for name, value in variables.items():
        if name.startswith("_"):
            continue
        if isinstance(value, Result) and len(value) > 1:
            names += [f"{name}[{number}]" for number in range(len(value))]
        elif isinstance(value, (Image, Result)) or type(value).__module__.startswith("PIL."):
            names.append(name)
    return names
