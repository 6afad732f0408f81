"""What a prompt becomes before it is drawn: arrays, wildcards, a style by chance."""

from __future__ import annotations

import random
import re

from fooocus_nb.demo.page import STYLES

__all__ = ["RANDOM_STYLE", "chosen_styles", "worded"]

RANDOM_STYLE = "Random Style"
_ARRAY = re.compile(r"\[\[([^\[\]]+)\]\]")
_WILDCARD = re.compile(r"__(\w+?)__")
_WORDS = {
    "animal": ("cat", "dog", "fox", "owl", "hare"),
    "color": ("red", "blue", "green", "golden", "violet"),
    "season": ("spring", "summer", "autumn", "winter"),
    "subject": ("lighthouse", "boat", "balloon", "castle", "tree"),
    "time": ("dawn", "day", "dusk", "night"),
}
#: A wildcard may hold another one, but not for ever.
_DEPTH = 8


def worded(prompt: str, index: int, seed: int, *, in_order: bool) -> str:
    """Return the prompt of one image.

    Parameters
    ----------
    prompt : str
        With arrays such as ``[[red, blue]]``, of which each image takes the next, and wildcards
        such as ``__animal__``.
    index : int
        Which image, from 0.
    seed : int
        Draws the words in the place of wildcards.
    in_order : bool
        Take them in their order instead.

    Returns
    -------
    str
        Without either; a wildcard that there is not loses its underscores.
    """

    def element(found: re.Match[str]) -> str:
        parts = [part.strip() for part in found[1].split(",")]
        return parts[index % len(parts)]

    chance = random.Random(seed)

    def word(found: re.Match[str]) -> str:
        words = _WORDS.get(found[1])
        if words is None:
            return found[1]
        return words[index % len(words)] if in_order else chance.choice(words)

    text = _ARRAY.sub(element, prompt)
    for _ in range(_DEPTH):
        text, count = _WILDCARD.subn(word, text)
        if not count:
            break
    return text


def chosen_styles(styles: tuple[str, ...], seed: int) -> tuple[str, ...]:
    """Return the styles of one image, with another one in the place of each random one."""
    chance = random.Random(seed)
    names = [name for name in STYLES if name != RANDOM_STYLE]
    return tuple(chance.choice(names) if name == RANDOM_STYLE else name for name in styles)
