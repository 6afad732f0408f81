"""The options that every generation has, and the parameters that they give."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb.errors import ParameterError
from fooocus_nb.options.parameters import find_parameter, parameter_value, typed_value
from fooocus_nb.options.values import lora, positive, setting, size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fooocus_nb.fooocus.schema.parameters import Parameter

__all__ = [
    "Parser",
    "add_generation_options",
    "given_parameters",
    "joined",
    "resolved",
    "runs",
    "split_options",
]

#: What of the options goes to the engine under its own name.
_DIRECT = (
    "image_number",
    "seed",
    "styles",
    "negative_prompt",
    "performance",
    "aspect_ratio",
    "steps",
    "loras",
)
#: The seeds that there are: 0 to 2**63 - 1.
_SEEDS = 2**63


class Parser(Protocol):
    """What takes options: one of argparse's parsers, or a group of one."""

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        """Add an option."""


def add_generation_options(parser: Parser) -> None:
    """Add the options that every generation has."""
    add = parser.add_argument
    add("-n", "--images", dest="image_number", type=int, help="how many images")
    add("--seed", help="the first image's seed")
    add("--style", dest="styles", action="append", help="a style; may be given several times")
    add("--negative", dest="negative_prompt", help="what should not be in the image")
    add("--performance", help="such as Speed or Quality")
    add("--aspect", dest="aspect_ratio", help="such as 1152x896")
    add("--steps", type=int, help="sampling steps")
    add("--size", type=size, help="WxH in pixels, in place of --aspect")
    add("--lora", dest="loras", action="append", type=lora, metavar="NAME[:WEIGHT]",
        help="a LoRA; may be given several times")  # fmt: skip
    add("--set", dest="settings", action="append", type=setting, metavar="NAME=VALUE",
        help="any other parameter, by its name; --NAME VALUE does the same")  # fmt: skip
    add("--image-prompt", dest="image_prompts", action="append", metavar="IMAGE",
        help="an image that guides; may be given several times")  # fmt: skip
    add("--portable", action="store_true", help="make it independent of this machine: noise of the "
        "CPU, the expanded prompt in place of expansion; it says what it changes")  # fmt: skip
    add("--repeat", type=positive, default=1, help="generate so many times, each with its seed")


def given_parameters(known: argparse.Namespace) -> dict[str, Any]:
    """Return what the options give that have a parameter's name, by that name."""
    parameters = {
        name: getattr(known, name) for name in _DIRECT if getattr(known, name) is not None
    }
    if known.size is not None:
        parameters["width"], parameters["height"] = known.size
    if known.portable:
        parameters["portable"] = True
    for name, _ in known.settings or ():
        if name in parameters:
            raise ParameterError(_twice(name))
    return parameters


def split_options(
    words: Iterable[str], options: Mapping[str, bool], expand: Callable[[str, str], str]
) -> tuple[list[str], list[tuple[str, str | None]], list[str]]:
    """Return the known options, each in one word; those that only an engine may know; the rest.

    `options` tells of each known option whether it takes a value; `expand` gets an option and its
    value, and returns the value to use.
    """
    known: list[str] = []
    others: list[tuple[str, str | None]] = []
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if not re.match("--?[A-Za-z]", name):
            rest.append(word)
            continue
        # -n2 and -oDIR are short options with their values; -output has a dash too few.
        is_glued = name[1] != "-" and name[:2] in options and f"-{name}" not in options
        is_known = name in options
        has_value = options[name] if is_known else not is_glued
        text = value if equals else None
        if text is None and has_value and left and not left[0].startswith("--"):
            text = left.pop(0)
        if text is not None:
            text = expand(name, text)
        if is_known:
            known.append(joined(name, text))
        elif is_glued:
            known.append(word)
        else:
            others.append((name, text))
    return known, others, rest


def joined(name: str, text: str | None) -> str:
    """Return an option and its value in one word, so that the value may begin with a dash."""
    if text is None:
        return name
    return f"{name}={text}" if name.startswith("--") or "=" in name else f"{name}{text}"


def resolved(
    parameters: Mapping[str, Any],
    settings: Iterable[tuple[str, str]],
    others: Iterable[tuple[str, str | None]],
    table: Mapping[str, Parameter],
    *,
    program: str,
    options: Iterable[str],
) -> dict[str, Any]:
    """Return all parameters that a line gives, those of `settings` and `others` by the table.

    `others` are the options that may be parameters of the engine, as they were written; `options`
    are the program's own, for a hint.
    """
    found = dict(parameters)
    style = table.get("styles")
    if style is not None and "styles" in found:
        named = (typed_value(style, text) for text in found["styles"])
        found["styles"] = [name for names in named for name in _listed(names)]
    taken = {_canonical(name, table) for name in found}
    given = [
        (name, typed_value(find_parameter(name, table.values()), text)) for name, text in settings
    ]
    given += [parameter_value(program, option, text, table, options) for option, text in others]
    for name, value in given:
        canonical = _canonical(name, table)
        if canonical in taken:
            raise ParameterError(_twice(name))
        taken.add(canonical)
        found[name] = value
    return found


def runs(
    parameters: Mapping[str, Any], repeat: int, table: Mapping[str, Parameter]
) -> Iterator[dict[str, Any]]:
    """Yield the parameters of each generation: one image's seeds never meet another's."""
    if repeat == 1:
        yield dict(parameters)
        return
    key = "image_seed" if "image_seed" in parameters else "seed"
    seed = parameters.get(key)
    count = parameters.get("image_number")
    if count is None and "image_number" in table:
        count = table["image_number"].default
    for index in range(repeat):
        if seed is None or not str(seed).isdigit():
            run_seed = seed if seed is not None else secrets.randbelow(_SEEDS)
        else:
            run_seed = (int(seed) + index * (count or 1)) % _SEEDS
        yield {**parameters, key: run_seed}


def _canonical(name: str, table: Mapping[str, Parameter]) -> str:
    found = find_parameter(name, table.values())
    return name if found is None else found.name


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _twice(name: str) -> str:
    return f"{name} is given twice."
