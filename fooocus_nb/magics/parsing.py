"""Read what stands behind ``%fooocus``, and leave prompts as they are."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from fooocus_nb.errors import ParameterError, nearest
from fooocus_nb.magics import verbs
from fooocus_nb.magics.sweep_options import check_sweep, cut_sweeps
from fooocus_nb.magics.variables import PROMPT_OPTIONS, expand
from fooocus_nb.magics.verb import HelpWanted, Verb
from fooocus_nb.options.generation import (
    given_parameters,
    joined,
    resolved,
    runs,
    split_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from fooocus_nb.fooocus.schema.parameters import Parameter

    Variables = Mapping[str, Any]

__all__ = [
    "GenerateOptions",
    "VerbOptions",
    "parse",
    "parse_cell_line",
    "parse_generate_line",
    "parse_verb_line",
    "split_verb",
]

_NO_VARIABLES: Variables = {}
_OPTION = re.compile(r"(--?[A-Za-z][\w-]*)(?:=|\s+|$)")
_VALUE = re.compile(r"""((?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'])+)(?:\s+|$)""")


@dataclass
class VerbOptions:
    """What a verb that does not generate is to do."""

    verb: str
    options: argparse.Namespace


@dataclass
class GenerateOptions:
    """What to generate, how often, and where the result goes.

    `parameters` are by name, as ``engine.generate`` takes them; `settings` is what ``--set`` gave,
    and `others` are the options that may be parameters of the engine, as they were written.
    `sweeps` are axes as they were written, and `run_folder` is where they are recorded, with `mix`
    also from another engine.
    """

    prompt: str
    parameters: dict[str, Any] = field(default_factory=dict)
    settings: tuple[tuple[str, str], ...] = ()
    others: tuple[tuple[str, str | None], ...] = ()
    name: str | None = None
    output: str | None = None
    repeat: int = 1
    verb: str = "generate"
    sweeps: tuple[str, ...] = ()
    run_folder: str = ""
    mix: bool = False
    known: argparse.Namespace = field(default_factory=argparse.Namespace)

    def resolved(self, table: Mapping[str, Parameter]) -> GenerateOptions:
        """Return the same with every option in `parameters`, by the engine's own table."""
        parameters = _checked(
            resolved,
            self.parameters,
            self.settings,
            self.others,
            table,
            program=_prog(self.verb),
            options=verbs.options_of(self.verb) if self.others else {},
        )
        return replace(self, parameters=parameters, settings=(), others=())

    def runs(self, table: Mapping[str, Parameter]) -> Iterator[dict[str, Any]]:
        """Yield the parameters of each generation: one image's seeds never meet another's."""
        return runs(self.resolved(table).parameters, self.repeat, table)


def _checked(read: Callable[..., dict[str, Any]], *args: Any, **settings: Any) -> dict[str, Any]:
    """Return what the parameters of a line are; what is wrong with them is wrong usage."""
    try:
        return read(*args, **settings)
    except ParameterError as error:
        text = str(error)
        raise UsageError(text if text.startswith("%") else f"%fooocus: {text}") from None


def _prog(verb: str) -> str:
    return "%fooocus" if verb == "generate" else f"%fooocus {verb}"


def parse(
    line: str, cell: str | None, variables: Variables = _NO_VARIABLES
) -> GenerateOptions | VerbOptions:
    """Read a line or a cell. ``--help`` becomes the verb that shows it."""
    try:
        if cell is not None:
            return parse_cell_line(line, cell, variables)
        verb, rest = split_verb(line)
        if verbs.is_generating(verb):
            return parse_generate_line(rest, verb, variables)
        return VerbOptions(verb, parse_verb_line(verb, rest, variables))
    except HelpWanted as wanted:
        # `%fooocus --help` asks for all of it, `%fooocus generate --help` for the options.
        word = "" if line.split()[:1] in (["--help"], ["-h"]) and cell is None else wanted.verb
        return VerbOptions("help", argparse.Namespace(word=word, name=None))


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


def parse_cell_line(line: str, cell: str, variables: Variables = _NO_VARIABLES) -> GenerateOptions:
    """Read the line of a ``%%fooocus`` cell; its body is the prompt, untouched."""
    line, sweeps = cut_sweeps(line, variables)
    words = _split(line)
    named = bool(words) and verbs.is_generating(words[0])
    verb = words.pop(0) if named else "generate"
    takes_image = verbs.takes_image(verb)
    image = None
    if takes_image and words and words[0][:1] != "-":
        image = expand(words.pop(0), variables)
    parser = verbs.parser(verb)
    words, others = _split_words(words, parser.options, variables)
    known, rest = parser.parse_known_args(words)
    if rest and rest[0].startswith("-"):
        msg = f"%%fooocus: there is no option {rest[0]!r}.{nearest(rest[0], parser.options)}"
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
    return _generate_options(verb, image, known, others, prompt, sweeps)


def _split_words(
    words: list[str], options: Mapping[str, bool], variables: Variables
) -> tuple[list[str], list[tuple[str, str | None]]]:
    """Return the words for the parser, and the options that only the engine may know."""

    def expanded(name: str, text: str) -> str:
        return text if name in PROMPT_OPTIONS else expand(text, variables)

    kept, others, rest = split_options(words, options, expanded)
    return [*kept, *rest], others


def parse_generate_line(
    line: str, verb: str = "generate", variables: Variables = _NO_VARIABLES
) -> GenerateOptions:
    """Read options at the head of a line; all that follows them is the prompt, untouched.

    Where the verb takes an image, the image comes first and a prompt is not needed.
    """
    rest, image = line.strip(), None
    takes_image = verbs.takes_image(verb)
    if takes_image and rest[:1] != "-" and (first := _VALUE.match(rest)) is not None:
        image, rest = expand("".join(_split(first[1])), variables), rest[first.end() :]
    parser = verbs.parser(verb)
    words, others, rest = _options_at_head(rest, parser.options, variables)
    known = parser.parse_args(words)
    literal = rest == "--" or rest.startswith("-- ")
    rest = rest[2:].strip() if literal else rest
    if not rest and verb == "generate":
        msg = "%fooocus: the prompt is missing."
        raise UsageError(msg)
    if not literal:
        _refuse_late_options(rest, parser.options)
    return _generate_options(verb, image, known, others, rest)


def _options_at_head(
    line: str, options: Mapping[str, bool], variables: Variables
) -> tuple[list[str], list[tuple[str, str | None]], str]:
    """Return the options that a line begins with, those for the engine, and the rest."""
    words: list[str] = []
    others: list[tuple[str, str | None]] = []
    rest = line
    while (option := _OPTION.match(rest)) is not None:
        name, rest = option[1], rest[option.end() :]
        if name not in options and not name.startswith("--"):
            msg = f"%fooocus: there is no option {name!r}.{nearest(name, options)}"
            raise UsageError(msg)
        value = _VALUE.match(rest) if options.get(name, True) else None
        text = None
        if value is not None:
            text = "".join(_split(value[1]))
            text = text if name in PROMPT_OPTIONS else expand(text, variables)
            rest = rest[value.end() :]
        if name in options:
            words.append(joined(name, text))
        else:
            others.append((name, text))
    return words, others, rest


def _refuse_late_options(prompt: str, options: Iterable[str]) -> None:
    """Refuse options behind the prompt, mistyped ones too: nobody wants to generate them."""
    for word in prompt.split():
        option = word.partition("=")[0]
        if re.match("--[A-Za-z]", option):
            hint = "" if option in options else nearest(option, options)
            msg = (
                f"%fooocus: options come before the prompt, but {word} is behind it.{hint} Where "
                "it belongs to the prompt, write -- before the prompt."
            )
            raise UsageError(msg)


def _generate_options(
    verb: str,
    image: str | None,
    known: argparse.Namespace,
    others: Iterable[tuple[str, str | None]],
    prompt: str,
    more_sweeps: Sequence[str] = (),
) -> GenerateOptions:
    if verbs.takes_image(verb) and image is None:
        msg = f"%fooocus {verb}: the image is missing. It comes first: a path or a variable."
        raise UsageError(msg)
    known.image = image
    parameters = _checked(given_parameters, known)
    sweeps, run_folder = check_sweep(known, more_sweeps)
    return GenerateOptions(
        prompt,
        parameters,
        tuple(known.settings or ()),
        tuple(others),
        known.name,
        known.output,
        known.repeat,
        verb=verb,
        sweeps=sweeps,
        run_folder=run_folder,
        mix=known.mix,
        known=known,
    )


def parse_verb_line(
    verb: str, line: str, variables: Variables = _NO_VARIABLES
) -> argparse.Namespace:
    """Read what follows a verb that does not generate."""
    words = _split(line)
    found = verbs.verb(verb)
    has_flags = isinstance(found, Verb) and found.flags
    flags: list[str] = []
    if has_flags and "--" in words:
        place = words.index("--")
        words, flags = words[:place], words[place + 1 :]
    words, flags = ([expand(word, variables) for word in part] for part in (words, flags))
    parser = verbs.parser(verb)
    known, rest = parser.parse_known_args(words)
    if rest and has_flags:
        hint = nearest(rest[0], parser.options)
        msg = f"%fooocus {verb}: {rest[0]!r} is no option.{hint} Fooocus's own flags go behind --."
        raise UsageError(msg)
    if rest:
        hint = nearest(rest[0], parser.options) if rest[0].startswith("-") else ""
        msg = (
            f"%fooocus {verb}: {rest[0]!r} means nothing here.{hint} To generate it, write: "
            f"%fooocus generate {verb} {line}"
        )
        raise UsageError(msg)
    if has_flags:
        known.flags = tuple(flags)
    return known


def split_verb(line: str) -> tuple[str, str]:
    """Tell a verb from a prompt; a line that begins with no verb is a prompt to generate."""
    line = line.strip()
    if not line:
        msg = "%fooocus needs a prompt or a verb; %fooocus help lists them."
        raise UsageError(msg)
    word = line.split(maxsplit=1)[0]
    rest = line[len(word) :].strip()
    if word in verbs.names():
        return word, rest
    if line.rstrip("?") in verbs.names() and len(line) - len(line.rstrip("?")) <= 2:
        return "help", line.rstrip("?")
    # One word, or one with options behind it, is no prompt that anybody writes that near a verb.
    if (not rest or rest.startswith("-")) and (verb := _mistyped(word)):
        msg = (
            f"%fooocus: {word!r} is no verb. Did you mean {verb}? To generate it, write: "
            f"%fooocus generate {line}"
        )
        raise UsageError(msg)
    return "generate", line


def _mistyped(word: str) -> str | None:
    """Return the verb that a word was meant to be; None where it may well be a prompt."""
    if word.startswith("-"):
        return None
    # A swap of two letters of four is 0.75; longer words that are this near are other words.
    cutoff = 0.75 if len(word) <= 4 else 0.8
    found = difflib.get_close_matches(word.casefold(), verbs.names(), n=1, cutoff=cutoff)
    if not found:
        return None
    verb = found[0]
    differing = sum(one != other for one, other in zip(word.casefold(), verb, strict=False))
    # "dogs" is as near to "logs" as a typo, and "statue" to "status": of short words, one other
    # letter makes another word.
    is_other_word = len(word) == len(verb) <= 6 and differing == 1
    return None if is_other_word else verb
