"""Tab completion behind ``%fooocus``: verbs, options, styles, models and parameter names."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from IPython import get_ipython
from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)

from fooocus_nb.engine import manager
from fooocus_nb.errors import FooocusError
from fooocus_nb.fooocus.schema.parameters import plain
from fooocus_nb.magics.image_options import picture_names
from fooocus_nb.magics.options import GENERATE_OPTIONS, PICTURE_VERBS, VERBS, options_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fooocus_nb.fooocus.schema.parameters import Parameter

__all__ = ["complete", "fooocus_matcher"]

_VALUES = {
    "--aspect": "aspect_ratios_selection",
    "--performance": "performance_selection",
    "--style": "style_selections",
}
#: Options whose values no server has a say in.
_WORDS = {
    "--as": ("photo", "anime"),
    "--by": ("1.5x", "2x", "fast 2x"),
    "--mode": ("inpaint", "detail", "modify"),
    "--sides": ("left", "right", "top", "bottom"),
    "--strength": ("subtle", "strong"),
    "--upscale": ("1.5x", "2x", "fast 2x"),
    "--vary": ("subtle", "strong"),
}
_PICTURE_OPTIONS = ("--image-prompt", "--mask")
_PICTURE_FILES = {".jpeg", ".jpg", ".png", ".webp"}
_HEAD = re.compile(r"\s*(?:\w[\w.,\s\[\]]*=\s*)?(%%?)fooocus(?=\s)")
#: A word as the magics split the line: parts in quotes belong together.
_WORD = re.compile(r"""(?:"[^"]*"?|'[^']*'?|[^\s"'])+""")


def _match(context: CompletionContext) -> SimpleMatcherResult:
    """Complete a line of ours for IPython, and leave all other lines to it.

    Parameters
    ----------
    context : CompletionContext
        Where the cursor is.

    Returns
    -------
    SimpleMatcherResult
        What may stand there.
    """
    found = None
    line = context.text_until_cursor
    head = _HEAD.match(line)
    if head is not None and (head[1] == "%" or context.cursor_line == 0):
        found = complete(line[head.end() :], cell=head[1] == "%%")
    if not found or not found[1]:
        return SimpleMatcherResult(completions=[])
    fragment, candidates = found
    return SimpleMatcherResult(
        completions=[SimpleCompletion(text=text, type="fooocus") for text in candidates],
        matched_fragment=fragment,
        suppress=True,
        ordered=True,
    )


fooocus_matcher = context_matcher(identifier="fooocus_nb", priority=100)(_match)


def complete(text: str, *, cell: bool = False) -> tuple[str, list[str]]:
    """Return what may stand at the end of a line.

    Parameters
    ----------
    text : str
        What follows ``%fooocus`` or ``%%fooocus``, up to the cursor.
    cell : bool
        Whether it is the line of a cell.

    Returns
    -------
    tuple of (str, list of str)
        The word that is being written, as it stands there, and what it may become.
    """
    words = _WORD.findall(text)
    fragment = words.pop() if words and not text[-1:].isspace() else ""
    if fragment.count('"') % 2 == 0 and text.endswith((" ", "\t")):
        fragment = ""
    verb = "generate"
    if words and words[0] in VERBS:
        verb = words.pop(0)
    elif not words and not cell and not fragment.startswith("-"):
        return fragment, _matching(fragment, [*VERBS, *GENERATE_OPTIONS])
    return _behind(verb, words, fragment)


def _behind(verb: str, words: list[str], fragment: str) -> tuple[str, list[str]]:
    options = options_of(verb)
    option, equals, begun = fragment.partition("=")
    if equals and option in options:
        return begun, _matching(begun, _values(option, begun))
    previous = words[-1] if words else ""
    if options.get(previous):
        return fragment, _matching(fragment, _values(previous, fragment))
    written = words[1:] if verb in PICTURE_VERBS else words
    if verb in ("generate", *PICTURE_VERBS) and _has_prompt(written, options):
        return fragment, []
    return fragment, _matching(fragment, [*_positionals(verb, words), *options])


def _positionals(verb: str, words: list[str]) -> list[str]:
    """Return what may stand behind a verb by itself."""
    if verb == "params":
        return [parameter.name for parameter in _parameters()]
    if verb == "preset":
        return _presets()
    takes_picture = verb in (*PICTURE_VERBS, "describe", "mask")
    return _pictures() if takes_picture and not words else []


def _pictures() -> list[str]:
    """Return the variables that hold images, and the image files of this folder."""
    shell = get_ipython()
    names = picture_names(shell.user_ns) if shell is not None else []
    with contextlib.suppress(OSError):
        names += sorted(
            path.name for path in Path().iterdir() if path.suffix.lower() in _PICTURE_FILES
        )
    return names


def _presets() -> list[str]:
    with contextlib.suppress(FooocusError):
        return list(manager.current().presets)
    return []


def _has_prompt(words: list[str], options: dict[str, bool]) -> bool:
    """Whether a word stands where no option and no option's value is."""
    is_value = False
    for word in words:
        if not is_value and word.partition("=")[0] not in options:
            return True
        is_value = not is_value and options.get(word, False)
    return False


def _values(option: str, fragment: str) -> list[str]:
    """Return the values that an option may have."""
    if option == "--name":
        return list(manager.running())
    if option in _PICTURE_OPTIONS:
        return _pictures()
    if option in _WORDS:
        return list(_WORDS[option])
    if option == "--set":
        return _settings(fragment)
    return _choices(_VALUES.get(option, ""))


def _settings(fragment: str) -> list[str]:
    """Return ``NAME=``, or ``NAME=VALUE`` for each of its choices once the name is written."""
    name, equals, _ = fragment.lstrip("\"'").partition("=")
    if equals:
        return [f"{name}={choice}" for choice in _choices(name)]
    return [f"{known}=" for item in _parameters() for known in (item.name, *item.aliases)]


def _parameters() -> Iterable[Parameter]:
    with contextlib.suppress(FooocusError):
        return manager.current().parameters.values()
    return ()


def _choices(name: str) -> list[str]:
    for parameter in _parameters():
        if name != parameter.name and name not in parameter.aliases:
            continue
        if parameter.name == "aspect_ratios_selection":
            return [plain(choice).split(" ")[0] for choice in parameter.choices or ()]
        if parameter.type == "boolean":
            return ["true", "false"]
        return list(parameter.choices or ())
    return []


def _matching(fragment: str, candidates: Iterable[str]) -> list[str]:
    """Return the candidates that begin as the fragment does, else those that contain it."""
    begun = fragment.replace('"', "").replace("'", "").casefold()
    every = list(dict.fromkeys(candidates))
    found = [word for word in every if word.casefold().startswith(begun)]
    if not found:
        found = [word for word in every if begun in word.casefold()]
    return [_quoted(word) for word in found]


def _quoted(text: str) -> str:
    """Return a word that the magics read as one."""
    name, equals, value = text.partition("=")
    if equals and name.isidentifier():
        return f"{name}={_quoted(value)}"
    if not re.search(r"""[\s"'\\]""", text):
        return text
    return f'"{text}"' if '"' not in text else f"'{text}'"
