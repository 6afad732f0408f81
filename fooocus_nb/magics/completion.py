"""Tab completion behind ``%fooocus``: verbs, options, styles, models and parameter names."""

from __future__ import annotations

import contextlib
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

from IPython.core import completer
from IPython.core.getipython import get_ipython

from fooocus_nb.errors import FooocusError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

    from fooocus_nb.fooocus.schema.parameters import Parameter

__all__ = ["complete", "register", "unregister"]

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
_IMAGE_OPTIONS = ("--image-prompt", "--mask")
_IMAGE_FILES = {".jpeg", ".jpg", ".png", ".webp"}
_HEAD = re.compile(r"\s*(?:\w[\w.,\s\[\]]*=\s*)?(%%?)fooocus(?=\s)")
#: A word as the magics split the line: parts in quotes belong together.
_WORD = re.compile(r"""(?:"[^"]*"?|'[^']*'?|[^\s"'])+""")


def register(shell: InteractiveShell) -> None:
    """Add the matcher, where the completer of this IPython takes matchers (from 8.6 on)."""
    if (matcher := _matcher()) is not None and shell.Completer is not None:
        shell.Completer.custom_matchers.append(matcher)


def unregister(shell: InteractiveShell) -> None:
    """Remove the matcher."""
    matcher = _matcher()
    if matcher is not None and shell.Completer is not None:
        with contextlib.suppress(ValueError):
            shell.Completer.custom_matchers.remove(matcher)


@functools.cache
def _matcher() -> Callable[[CompletionContext], object] | None:
    decorate = getattr(completer, "context_matcher", None)
    if decorate is None:
        return None
    make = decorate(identifier="fooocus_nb", priority=100)
    matcher: Callable[[CompletionContext], object] = make(_match)
    return matcher


def _match(context: CompletionContext) -> SimpleMatcherResult:
    """Complete a line of ours for IPython, and leave all other lines to it."""
    found = None
    line = context.text_until_cursor
    head = _HEAD.match(line)
    if head is not None and (head[1] == "%" or context.cursor_line == 0):
        found = complete(line[head.end() :], cell=head[1] == "%%")
    if not found or not found[1]:
        return {"completions": []}
    fragment, candidates = found
    return {
        "completions": [
            completer.SimpleCompletion(text=text, type="fooocus") for text in candidates
        ],
        "matched_fragment": fragment,
        "suppress": True,
        "ordered": True,
    }


def complete(text: str, *, cell: bool = False) -> tuple[str, list[str]]:
    """Return the word at the end of a line of ours, and what it may become."""
    from fooocus_nb.magics import verbs

    words = _WORD.findall(text)
    fragment = words.pop() if words and not text[-1:].isspace() else ""
    if fragment.count('"') % 2 == 0 and text.endswith((" ", "\t")):
        fragment = ""
    verb = "generate"
    if words and words[0] in verbs.names():
        verb = words.pop(0)
    elif not words and not cell and not fragment.startswith("-"):
        return fragment, _matching(fragment, [*verbs.names(), *verbs.options_of("generate")])
    return _behind(verb, words, fragment)


def _behind(verb: str, words: list[str], fragment: str) -> tuple[str, list[str]]:
    from fooocus_nb.magics import verbs

    generating = verbs.is_generating(verb)
    options = verbs.options_of(verb)
    if generating:
        from fooocus_nb.options.parameters import parameter_options

        options = dict.fromkeys(parameter_options(_parameters()), True) | options
    option, equals, begun = fragment.partition("=")
    if equals and option in options:
        return begun, _matching(begun, _values(option, begun))
    previous = words[-1] if words else ""
    if options.get(previous):
        return fragment, _matching(fragment, _values(previous, fragment))
    written = words[1:] if verbs.takes_image(verb) else words
    if generating and _has_prompt(written, options):
        return fragment, []
    return fragment, _matching(fragment, [*_positionals(verb, words), *options])


def _positionals(verb: str, words: list[str]) -> list[str]:
    """Return what may stand behind a verb by itself."""
    from fooocus_nb.magics import verbs

    if verb == "params":
        return [parameter.name for parameter in _parameters()]
    if verb == "preset":
        return _presets()
    if verb == "help":
        return list(verbs.names())
    if verb == "run" and not words:
        return ["open", "close", "status"]
    takes_image = verbs.takes_image(verb) or verb in ("describe", "mask")
    return _images() if takes_image and not words else []


def _images() -> list[str]:
    """Return the variables that hold images, and the image files of this folder."""
    from fooocus_nb.magics.image_options import image_names

    shell = get_ipython()
    names = image_names(shell.user_ns) if shell is not None else []
    with contextlib.suppress(OSError):
        names += sorted(
            path.name for path in Path().iterdir() if path.suffix.lower() in _IMAGE_FILES
        )
    return names


def _presets() -> list[str]:
    from fooocus_nb.engine import manager

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
    from fooocus_nb.engine import manager

    if option == "--name":
        return list(manager.running())
    if option in _IMAGE_OPTIONS:
        return _images()
    if option in _WORDS:
        return list(_WORDS[option])
    if option == "--set":
        return _settings(fragment)
    if option == "--lora":
        return _loras()
    return _choices(_VALUES.get(option, option))


def _loras() -> list[str]:
    from fooocus_nb.engine import manager

    with contextlib.suppress(FooocusError):
        return list(manager.current().loras)
    return []


def _settings(fragment: str) -> list[str]:
    """Return ``NAME=``, or ``NAME=VALUE`` for each of its choices once the name is written."""
    name, equals, _ = fragment.lstrip("\"'").partition("=")
    if equals:
        return [f"{name}={choice}" for choice in _choices(name)]
    return [f"{known}=" for item in _parameters() for known in (item.name, *item.aliases)]


def _parameters() -> Iterable[Parameter]:
    from fooocus_nb.engine import manager

    with contextlib.suppress(FooocusError):
        return manager.current().parameters.values()
    return ()


def _choices(name: str) -> list[str]:
    """Return the values of a parameter, by its name or as an option."""
    from fooocus_nb.fooocus.schema.parameters import plain
    from fooocus_nb.options.parameters import find_parameter

    parameter = find_parameter(name, _parameters())
    if parameter is None:
        return []
    if parameter.name == "aspect_ratios_selection":
        return [plain(choice).split(" ")[0] for choice in parameter.choices or ()]
    if parameter.type == "boolean":
        return ["true", "false"]
    return list(parameter.choices or ())


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
