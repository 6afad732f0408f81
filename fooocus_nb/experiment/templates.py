"""Prompt templates: ``{name}`` is filled from an axis, ``{a|b|c}`` is each of its alternatives.

Alternatives are counted, and a prompt is made by its number: twenty of three are a number, and no
list of billions.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fooocus_nb.errors import ParameterError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Template"]

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_]\w*")
_PLACE, _BRACE = "\0", "\1"
#: Alternatives with a place among them.
_NESTED = re.compile(rf"\{{[^{{}}]*(?:{_PLACE}[^{{}}]*\||\|[^{{}}]*{_PLACE})[^{{}}]*\}}")


class Template:
    """A prompt with places to fill in.

    Attributes
    ----------
    text : str
        As it was written.
    fields : tuple of str
        The names in it, each once.
    count : int
        How many prompts it is by its alternatives; 1 where it has none.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts: list[str] = []
        #: Behind each part but the last: a name, or the alternatives.
        self._places: list[str | tuple[str, ...]] = []
        end, literal = 0, ""
        #: The text with a sign for each place, and for braces that are meant as such.
        outline = ""
        for found in _PART.finditer(text):
            literal += text[end : found.start()]
            outline += text[end : found.start()]
            end = found.end()
            inside = found[1]
            if inside is None:
                literal += found[0][0]
                outline += _BRACE
                continue
            if "|" in inside:
                self._places.append(tuple(inside.split("|")))
            elif _NAME.fullmatch(inside.strip()):
                self._places.append(inside.strip())
            else:
                literal += found[0]
                outline += found[0]
                continue
            outline += _PLACE
            self._parts.append(literal)
            literal = ""
        self._parts.append(literal + text[end:])
        if _NESTED.search(outline + text[end:]):
            msg = (
                f"The prompt {text[:80]!r} has braces within alternatives, which are not filled in "
                "there: give them as an axis, {name}, or write all alternatives in one {a|b|c}."
            )
            raise ParameterError(msg)
        self.fields = tuple(dict.fromkeys(p for p in self._places if isinstance(p, str)))
        self.count = 1
        for place in self._places:
            self.count *= len(place) if isinstance(place, tuple) else 1

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to fill in."""
        return not self._places

    def fill(self, number: int, values: Mapping[str, str]) -> str:
        """Return one of its prompts, by number, with these values in their places."""
        chosen: list[str] = []
        for place in reversed(self._places):
            if isinstance(place, tuple):
                number, index = divmod(number, len(place))
                chosen.append(place[index])
            else:
                chosen.append(values[place])
        chosen.reverse()
        return "".join(
            part + (chosen[index] if index < len(chosen) else "")
            for index, part in enumerate(self._parts)
        )

    def check(self, known: Iterable[str]) -> None:
        """Raise where it names something that no axis gives."""
        names = list(known)
        for field in self.fields:
            if field not in names:
                msg = (
                    f"The prompt has {{{field}}}, but no axis is called {field!r}."
                    f"{nearest(field, names)} Give {field}=[...], or write {{{{{field}}}}} for the "
                    "text itself."
                )
                raise ParameterError(msg)
