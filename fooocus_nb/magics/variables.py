"""Expand ``{name}`` and ``$name`` in the options of a line: plain names, never expressions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from fooocus_nb.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PROMPT_OPTIONS", "expand"]

#: These hold prompts, in which braces and dollars mean what Fooocus makes of them.
PROMPT_OPTIONS = frozenset({"--negative"})
_REFERENCE = re.compile(r"\{\{(\w+)\}\}|\{([A-Za-z_]\w*)\}|\$\$|\$([A-Za-z_]\w*)")


def expand(text: str, variables: Mapping[str, object]) -> str:
    """Replace the names of variables by their values; ``{{name}}`` and ``$$`` stay, once."""

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
                f"%fooocus: there is no variable {name!r} for {text!r}.{nearest(name, names)} "
                f"Write {{{found[0]}}} for the text itself."
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
