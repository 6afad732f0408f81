"""Styles by the texts that they add to a prompt: added, and found again in a full prompt."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb.fooocus.limits import MAX_FILE_BYTES
from fooocus_nb.fooocus.plain_files import read_plain_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["EXPANSION", "StyleText", "find_styles", "full_prompts", "style_texts_of"]

#: The style that adds no text of its own but lets a language model go on with the prompt.
EXPANSION = "Fooocus V2"
_PLACE = "{prompt}"
_JOINT = ", "
#: Texts that fit are few, so an honest prompt takes a dozen; this ends a dishonest one in a second.
_MAX_TRIES = 3_000
_FOLDER = "sdxl_styles"
#: Fooocus reads its own files last, in this order, so of one name the last of them counts.
_OWN_FILES = tuple(
    f"sdxl_styles_{name}.json" for name in ("fooocus", "sai", "mre", "twri", "diva", "marc_k3nt3l")
)


@dataclass(frozen=True)
class StyleText:
    """What a style adds: its prompt, with ``{prompt}`` where the user's goes, and its negative."""

    prompt: str
    negative: str = ""


def full_prompts(
    texts: Mapping[str, StyleText], styles: Iterable[str], prompt: str, negative: str
) -> tuple[list[str], list[str]]:
    """Return the texts that Fooocus encodes for a prompt and a negative one, but an expansion."""
    first, extras = _lines(prompt)
    first_negative, extra_negatives = _lines(negative)
    chosen = [texts[style] for style in styles if style in texts]
    positives = [line for text in chosen for line in _positive(text, first)]
    negatives = [line for text in chosen for line in _negative(text)]
    if not any(_PLACE in text.prompt for text in chosen):
        positives.insert(0, first)
    positives += extras
    negatives += [first_negative, *extra_negatives]
    return [line for line in positives if line] or [first], [line for line in negatives if line]


def _lines(prompt: str) -> tuple[str, list[str]]:
    """Return the first line, which styles are applied to, and the others."""
    lines = [line for line in prompt.splitlines() if line] or [""]
    return lines[0], lines[1:]


def _positive(text: StyleText, prompt: str) -> list[str]:
    return [line for line in text.prompt.replace(_PLACE, prompt).splitlines() if line]


def _negative(text: StyleText) -> list[str]:
    return [line for line in text.negative.splitlines() if line]


def style_texts_of(checkout: Path) -> dict[str, StyleText]:
    """Return the styles in a checkout's files; none where they can't be read."""
    found: dict[str, StyleText] = {}
    for path in sorted((checkout / _FOLDER).rglob("*.json"), key=_turn):
        try:
            entries = json.loads(read_plain_file(path, MAX_FILE_BYTES))
        except (OSError, ValueError, RecursionError):
            continue  # Fooocus goes without such a file, too
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict) and isinstance(entry.get("name"), str):
                text, negative = (entry.get(key, "") for key in ("prompt", "negative_prompt"))
                if isinstance(text, str) and isinstance(negative, str):
                    found[entry["name"]] = StyleText(text, negative)
    return found


def _turn(path: Path) -> tuple[int, str]:
    """Return when Fooocus reads a file of styles, among the others."""
    return _OWN_FILES.index(path.name) if path.name in _OWN_FILES else -1, str(path)


def find_styles(
    raw: Mapping[str, Any], texts: Mapping[str, StyleText], choices: Sequence[str]
) -> list[str] | None:
    """Return the styles that make a record's full prompts of its own; None where none do.

    What is found makes exactly the texts of the record, so it makes the same image.
    """
    known = {_folded(choice): choice for choice in choices}
    usable = {known[_folded(name)]: text for name, text in texts.items() if _folded(name) in known}
    full = _text(raw.get("full_prompt", ""))
    full_negative = _text(raw.get("full_negative_prompt", ""))
    prompt, negative = str(raw.get("prompt", "")), str(raw.get("negative_prompt", ""))
    search = _Search(usable, prompt, negative, full, full_negative)
    found = search.run()
    if found is not None and search.expanded and EXPANSION in choices:
        found.insert(0, EXPANSION)
    return found


def _folded(name: str) -> str:
    """Return a name as a file and the page have in common."""
    return re.sub(r"[\W_]+", "", name.casefold())


def _text(full: object) -> str:
    return full if isinstance(full, str) else _JOINT.join(map(str, full if full else ()))  # type: ignore[call-overload]


class _Search:
    """A depth-first search for the styles whose texts follow each other in both full prompts."""

    def __init__(
        self, texts: Mapping[str, StyleText], prompt: str, negative: str, full: str, full_neg: str
    ) -> None:
        self.expanded = False
        self._first, extras = _lines(prompt)
        first_negative, extra_negatives = _lines(negative)
        self._end = _JOINT.join(extras)
        ends = [first_negative, *extra_negatives]
        self._negative_end = _JOINT.join(line for line in ends if line)
        self._full, self._full_negative = full, full_neg
        blocks = {
            name: (_JOINT.join(_positive(text, self._first)), _JOINT.join(_negative(text)))
            for name, text in texts.items()
        }
        self._blocks = {name: block for name, block in blocks.items() if any(block)}
        self._bare = {name for name in self._blocks if _PLACE not in texts[name].prompt}
        # Whether a style must have taken the prompt in: the full one doesn't begin with it then.
        self._is_taken_in = False
        # The same styles in another order, where the order makes no difference.
        self._seen: set[tuple[int, int, frozenset[str]]] = set()
        self._best: tuple[int, list[str]] | None = None

    def run(self) -> list[str] | None:
        at = _after(self._full, 0, self._first)
        if at is not None:  # no style has taken the prompt in
            self._go_on(at, 0, [], self._bare)
        if self._best is None or self._best[0]:
            self._seen.clear()
            self._is_taken_in = True
            self._go_on(0, 0, [], set(self._blocks))
        if self._best is None:
            return None
        self.expanded = self._best[0] > 0
        return self._best[1]

    def _go_on(self, at: int, negative_at: int, styles: list[str], usable: set[str]) -> None:
        state = (at, negative_at, frozenset(styles))
        is_done = self._best is not None and not self._best[0]
        if is_done or state in self._seen or len(self._seen) > _MAX_TRIES:
            return
        self._seen.add(state)
        self._look_at_end(at, negative_at, styles)
        for name, (block, negative) in self._blocks.items():
            if name not in usable or name in styles:
                continue
            after = _after(self._full, at, block)
            negative_after = _after(self._full_negative, negative_at, negative)
            if after is not None and negative_after is not None:
                self._go_on(after, negative_after, [*styles, name], usable)

    def _look_at_end(self, at: int, negative_at: int, styles: list[str]) -> None:
        """Keep the styles if what is left is the rest of the prompts, and least of an expansion."""
        if self._full_negative[negative_at:] != self._negative_end:
            return
        if self._is_taken_in and self._bare.issuperset(styles):
            return
        rest = _after(self._full, at, self._end)
        if rest is None:
            return
        expansion = self._full[rest:]
        if expansion and not self._is_expansion(expansion):
            return
        if self._best is None or len(expansion) < self._best[0]:
            self._best = len(expansion), styles

    def _is_expansion(self, text: str) -> bool:
        """Tell whether a text may go on with the prompt, which it repeats but for its blanks."""
        prompt, expanded = (re.sub(r"\s+", "", part) for part in (self._first, text))
        if not prompt:
            return bool(self._first)
        return expanded.startswith(prompt) and expanded[len(prompt) :][:1] in ("", ",")


def _after(full: str, at: int, block: str) -> int | None:
    """Return where the text after a block begins; None where the block isn't there."""
    if not block:
        return at
    end = at + len(block)
    if not full.startswith(block, at):
        return None
    if end == len(full):
        return end
    return end + len(_JOINT) if full.startswith(_JOINT, end) else None
