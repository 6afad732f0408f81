"""Read what stands behind ``%fooocus``, and leave prompts as they are."""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import re
import secrets
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from fooocus_nb.errors import nearest
from fooocus_nb.magics.options import (
    PICTURE_VERBS,
    VERBS,
    image_parser,
    options_of,
    start_parser,
    verb_parser,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fooocus_nb.fooocus.schema.parameters import Parameter

__all__ = [
    "GenerateOptions",
    "parse_cell_line",
    "parse_generate_line",
    "parse_start_line",
    "parse_verb_line",
    "split_verb",
    "typed_value",
]

_WORDS = {"true": True, "yes": True, "on": True, "1": True,
          "false": False, "no": False, "off": False, "0": False}  # fmt: skip


def typed_value(parameter: Parameter | None, text: str) -> Any:
    """Return the value that ``--set NAME=TEXT`` means for this parameter.

    Parameters
    ----------
    parameter : Parameter or None
        The server's; None where it has none of that name.
    text : str
        As it was written.

    Returns
    -------
    object
        Of the parameter's type; the text itself where it is none, for the check to complain of.
    """
    kind = "" if parameter is None else parameter.type
    if kind == "boolean":
        return _WORDS.get(text.casefold(), text)
    if kind in ("integer", "number"):
        with contextlib.suppress(ValueError):
            return int(text)
        with contextlib.suppress(ValueError):
            return float(text)
        return text
    if kind == "mask image" and text.startswith("{"):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    if kind in ("", "choices"):
        with contextlib.suppress(ValueError):
            return json.loads(text)
        with contextlib.suppress(ValueError, SyntaxError):
            return ast.literal_eval(text)
        if kind == "choices":
            return [part.strip() for part in text.split(",") if part.strip()]
    return text


@dataclass
class GenerateOptions:
    """What to generate, how often, and where the result goes.

    Attributes
    ----------
    prompt : str
        As it was written.
    parameters : dict
        By name, as ``engine.generate`` takes them.
    settings : tuple of (str, str)
        What ``--set`` gave, as it was written.
    name : str or None
        The engine's name.
    output : str or None
        The variable for the result.
    repeat : int
        How many generations.
    verb : str
        ``generate``, or what to do with a picture.
    known : argparse.Namespace
        All options, those of the verb and of pictures among them.
    """

    prompt: str
    parameters: dict[str, Any] = field(default_factory=dict)
    settings: tuple[tuple[str, str], ...] = ()
    name: str | None = None
    output: str | None = None
    repeat: int = 1
    verb: str = "generate"
    known: argparse.Namespace = field(default_factory=argparse.Namespace)

    def runs(self, table: Mapping[str, Parameter]) -> Iterator[dict[str, Any]]:
        """Yield the parameters of each generation: one image's seeds never meet another's.

        Parameters
        ----------
        table : mapping
            The server's parameters.

        Yields
        ------
        dict
            By name, as ``engine.generate`` takes them.
        """
        by_name = {alias: item for item in table.values() for alias in (item.name, *item.aliases)}
        parameters = dict(self.parameters)
        for name, text in self.settings:
            parameters[name] = typed_value(by_name.get(name), text)
        if self.repeat == 1:
            yield parameters
            return
        key = "image_seed" if "image_seed" in parameters else "seed"
        seed = parameters.get(key)
        count = parameters.get("image_number")
        if count is None and "image_number" in table:
            count = table["image_number"].default
        for index in range(self.repeat):
            if seed is None or not str(seed).isdigit():
                run_seed = seed if seed is not None else secrets.randbelow(2**63)
            else:
                run_seed = (int(seed) + index * (count or 1)) % 2**63
            yield {**parameters, key: run_seed}


def _split(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    if os.name == "nt":
        lexer.escape = ""  # or every path would lose its backslashes
    try:
        return list(lexer)
    except ValueError as error:
        msg = f"%fooocus: {error} in {text!r}"
        raise UsageError(msg) from None


def parse_cell_line(line: str, cell: str) -> GenerateOptions:
    """Read the line of a ``%%fooocus`` cell; its body is the prompt, untouched.

    Parameters
    ----------
    line, cell : str
        The line and the body.

    Returns
    -------
    GenerateOptions
        What to do.

    Raises
    ------
    UsageError
        When an option is wrong, the line holds something else, or the body is empty.
    """
    words = _split(line)
    named = words[:1] == ["generate"] or (bool(words) and words[0] in PICTURE_VERBS)
    verb = words.pop(0) if named else "generate"
    image = words.pop(0) if verb in PICTURE_VERBS and words and words[0][:1] != "-" else None
    known, rest = image_parser(verb).parse_known_args(words)
    if rest and rest[0].startswith("-"):
        msg = f"%%fooocus: there is no option {rest[0]!r}.{nearest(rest[0], options_of(verb))}"
        raise UsageError(msg)
    if rest:
        msg = (
            f"%%fooocus: {rest[0]!r} is no option. The prompt goes into the cell's body; verbs "
            "such as start go behind a single %."
        )
        raise UsageError(msg)
    prompt = cell.removesuffix("\n")
    if not prompt.strip():
        msg = "%%fooocus: the cell's body is the prompt, and it is empty."
        raise UsageError(msg)
    return _options(verb, image, known, prompt)


_OPTION = re.compile(r"(--?[A-Za-z][\w-]*)(?:=|\s+|$)")
_VALUE = re.compile(r"""((?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'])+)(?:\s+|$)""")


def parse_generate_line(line: str, verb: str = "generate") -> GenerateOptions:
    """Read options at the head of a line; all that follows them is the prompt, untouched.

    Parameters
    ----------
    line : str
        What follows ``%fooocus`` or ``%fooocus generate``; or a verb for pictures, and then the
        picture comes first and a prompt is not needed.
    verb : str
        Which of them it is. Default ``generate``.

    Returns
    -------
    GenerateOptions
        What to do.

    Raises
    ------
    UsageError
        When an option is wrong or there is no prompt.
    """
    rest, image = line.strip(), None
    if verb in PICTURE_VERBS and rest[:1] != "-" and (first := _VALUE.match(rest)) is not None:
        image, rest = "".join(_split(first[1])), rest[first.end() :]
    words, rest = _options_at_head(rest, options_of(verb))
    known = image_parser(verb).parse_args(words)
    literal = rest == "--" or rest.startswith("-- ")
    rest = rest[2:].strip() if literal else rest
    if not rest and verb == "generate":
        msg = "%fooocus: the prompt is missing."
        raise UsageError(msg)
    if not literal:
        _refuse_late_options(rest, options_of(verb))
    return _options(verb, image, known, rest)


def _options_at_head(line: str, options: Mapping[str, bool]) -> tuple[list[str], str]:
    """Return the options that a line begins with, each in one word, and the rest of the line."""
    words: list[str] = []
    rest = line
    while (option := _OPTION.match(rest)) is not None:
        name, rest = option[1], rest[option.end() :]
        if name not in options:
            msg = f"%fooocus: there is no option {name!r}.{nearest(name, options)}"
            raise UsageError(msg)
        if not options[name]:
            words.append(name)
            continue
        value = _VALUE.match(rest)
        if value is None:
            words.append(name)
            break
        # In one word, so that a value may begin with a dash.
        words.append(f"{name}{'=' if name.startswith('--') else ''}{''.join(_split(value[1]))}")
        rest = rest[value.end() :]
    return words, rest


def _refuse_late_options(prompt: str, options: Iterable[str]) -> None:
    """Refuse options behind the prompt, mistyped ones too: to draw them is what nobody wants."""
    for word in prompt.split():
        option = word.partition("=")[0]
        if re.match("--[A-Za-z]", option):
            hint = "" if option in options else nearest(option, options)
            msg = (
                f"%fooocus: options come before the prompt, but {word} is behind it.{hint} Where "
                "it belongs to the prompt, write -- before the prompt."
            )
            raise UsageError(msg)


def _options(
    verb: str, image: str | None, known: argparse.Namespace, prompt: str
) -> GenerateOptions:
    if verb in PICTURE_VERBS and image is None:
        msg = f"%fooocus {verb}: the image is missing. It comes first: a path or a variable."
        raise UsageError(msg)
    known.image = image
    direct = [
        "image_number",
        "seed",
        "styles",
        "negative_prompt",
        "performance",
        "aspect_ratio",
        "steps",
    ]
    parameters = {name: getattr(known, name) for name in direct if getattr(known, name) is not None}
    if known.size is not None:
        parameters["width"], parameters["height"] = known.size
    for name, _ in known.settings or ():
        if name in parameters:
            msg = f"%fooocus: {name} is given twice."
            raise UsageError(msg)
    return GenerateOptions(
        prompt,
        parameters,
        tuple(known.settings or ()),
        known.name,
        known.output,
        known.repeat,
        verb=verb,
        known=known,
    )


def parse_start_line(line: str) -> dict[str, Any]:
    """Read what follows ``%fooocus start``.

    Parameters
    ----------
    line : str
        Options; what follows ``--`` is for Fooocus.

    Returns
    -------
    dict
        Arguments of :func:`fooocus_nb.start`.

    Raises
    ------
    UsageError
        When an option is wrong.
    """
    words = _split(line)
    flags: list[str] = []
    if "--" in words:
        place = words.index("--")
        words, flags = words[:place], words[place + 1 :]
    known, rest = start_parser().parse_known_args(words)
    if rest:
        msg = (
            f"%fooocus start: {rest[0]!r} is no option.{nearest(rest[0], options_of('start'))} "
            "Fooocus's own flags go behind --."
        )
        raise UsageError(msg)
    given = {name: value for name, value in vars(known).items() if value is not None}
    return {**given, "args": tuple(flags)}


def parse_verb_line(verb: str, line: str) -> argparse.Namespace:
    """Read what follows one of the other verbs.

    Parameters
    ----------
    verb, line : str
        The verb and what follows it.

    Returns
    -------
    argparse.Namespace
        Its options.

    Raises
    ------
    UsageError
        When an option is wrong.
    """
    parser = verb_parser(verb)
    known, rest = parser.parse_known_args(_split(line))
    if rest:
        hint = nearest(rest[0], options_of(verb)) if rest[0].startswith("-") else ""
        msg = (
            f"%fooocus {verb}: {rest[0]!r} means nothing here.{hint} To draw it, write: "
            f"%fooocus generate {verb} {line}"
        )
        raise UsageError(msg)
    return known


def split_verb(line: str) -> tuple[str, str]:
    """Tell a verb from a prompt.

    Parameters
    ----------
    line : str
        What follows ``%fooocus``.

    Returns
    -------
    tuple of str
        The verb and what follows it; a line that begins with no verb is a prompt to generate.

    Raises
    ------
    UsageError
        When the line is empty.
    """
    line = line.strip()
    if not line:
        msg = "%fooocus needs a prompt or a verb; %fooocus help lists them."
        raise UsageError(msg)
    word = line.split(maxsplit=1)[0]
    return (word, line[len(word) :].strip()) if word in VERBS else ("generate", line)
