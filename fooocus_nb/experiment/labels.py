"""Texts for axes and their values: whole, and shortened to that in which they differ."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fooocus_nb import _html
from fooocus_nb.experiment.identity import value_text
from fooocus_nb.fooocus.schema.parameters import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["axis_text", "shortened"]

MAX_TEXT = 4_000
#: Labels up to this length are left as they are: nothing is gained by cutting them.
SHORT_ENOUGH = 18
#: A shared part shorter than this stays: an ellipsis would take as much space.
WORTH_CUTTING = 6
_HASH = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
#: What a text may be cut behind.
_BREAK = re.compile(r"[\s_\-/.,:;+()\[\]]")
_MODEL_SUFFIX = re.compile(r"\.(?:safetensors|ckpt|pth|pt|bin)$", re.IGNORECASE)


def axis_text(value: Any) -> str:
    """Return a value as a label: 3.0 as ``3``, lists with commas, a hash cut short."""
    if isinstance(value, str):
        found = _HASH.fullmatch(value)
        return f"image {found[1][:10]}" if found else _html.clip(plain(value), MAX_TEXT)
    if value is None:
        return "none"
    if isinstance(value, tuple):
        value = list(value)
    return _html.clip(value_text(value, MAX_TEXT), MAX_TEXT)


def shortened(texts: Sequence[str]) -> list[str]:
    """Return labels with what all of them share cut off, so that the difference is seen.

    Parameters
    ----------
    texts : sequence of str
        The labels of one axis.

    Returns
    -------
    list of str
        As many, and as distinct; ``…`` stands for what was cut off. A file suffix of models that
        all of them share leaves no trace.
    """
    whole = list(texts)
    if len(set(whole)) < 2 or max(map(len, whole)) <= SHORT_ENOUGH:
        return whole
    suffixes = {_MODEL_SUFFIX.search(text) is not None for text in whole}
    if suffixes == {True}:
        stems = [_MODEL_SUFFIX.sub("", text) for text in whole]
        whole = stems if len(set(stems)) == len(set(texts)) else whole
    start = _shared(whole)
    rest = [text[start:] for text in whole]
    end = _shared([text[::-1] for text in rest])
    start = start if start >= WORTH_CUTTING else 0
    end = end if end >= WORTH_CUTTING else 0
    return [
        f"{'…' if start else ''}{text[start : len(text) - end]}{'…' if end else ''}"
        for text in whole
    ]


def _shared(texts: Sequence[str]) -> int:
    """Return how many characters all texts begin with, up to the last break, with a rest each."""
    first, last = min(texts), max(texts)
    longest = min(map(len, texts))
    count = 0
    while count < longest and first[count] == last[count]:
        count += 1
    while count and not (_BREAK.match(first[count - 1]) and all(len(t) > count for t in texts)):
        count -= 1
    return count
