"""Expand ``{name}`` and ``$name`` in the options of a line: plain names, never expressions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from fooocus_nb.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["expand", "expand_option", "is_prompt"]

#: Names of prompts, in which braces and dollars mean what Fooocus makes of them.
_PROMPT = re.compile(r"(?:\w+_)?prompt(?:_text)?(?:_\d+)?|negative")
_IMAGES = "image_prompt"
#: What is given as NAME=VALUE, the name of a parameter first.
_SETTINGS = ("--set", "--sweep")
#: The pattern of file names has braces of its own.
_PATTERN = "--names"
#: Its value is a secret, which no error repeats.
_LOGIN = "--auth"
_REFERENCE = re.compile(r"\{\{(\w+)\}\}|\{([A-Za-z_]\w*)\}|\$\$|\$([A-Za-z_]\w*)")


def is_prompt(name: str) -> bool:
    """Whether a parameter of that name, however it is spelt, holds a prompt."""
    key = re.sub(r"[\W_]+", "_", name).strip("_").casefold()
    return _PROMPT.fullmatch(key) is not None and not key.endswith(_IMAGES)


def expand_option(option: str, text: str, variables: Mapping[str, object]) -> str:
    """Return the value of an option with variables expanded, but for prompts and patterns."""
    name = text.partition("=")[0] if option in _SETTINGS else option
    if option == _PATTERN or is_prompt(name):
        return text
    return expand(text, variables, shown="its value" if option == _LOGIN else "")


def expand(text: str, variables: Mapping[str, object], *, shown: str = "") -> str:
    """Replace the names of variables by their values; ``{{name}}`` and ``$$`` stay, once.

    `shown` stands for the text in an error.
    """

    def value(found: re.Match[str]) -> str:
        literal, braced, plain = found.groups()
        if braced is None and plain is None:
            return "$" if literal is None else f"{{{literal}}}"
        name = braced or plain
        if name not in variables:
            if plain is not None:
                return found[0]  # such as $HOME, which is the system's
            names = [known for known in variables if not known.startswith("_")]
            msg = (
                f"%fooocus: there is no variable {name!r} for {shown or repr(text)}."
                f"{nearest(name, names)} Write {{{found[0]}}} for the text itself."
            )
            raise UsageError(msg)
        return _text(name, variables[name])

    return _REFERENCE.sub(value, text)


def _text(name: str, value: object) -> str:
    # Looked at by type: what a program prints of a list or a result is no option.
    if isinstance(value, str | int | float | Path) or type(value).__module__ == "numpy":
        return str(value)
    msg = f"%fooocus: {name!r} is of type {type(value).__name__}: options take text and numbers."
    raise UsageError(msg)
