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

from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.schema.parameters import nearest_name
from fooocus_nb.magics import verbs
from fooocus_nb.magics.sweep_options import check_sweep, cut_sweeps
from fooocus_nb.magics.variables import expand, expand_option
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
    from fooocus_nb.magics.verb import Parser

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
_OPTION = re.compile(r"(--?[A-Za-z][\w-]*)(=|\s+|$)")
#: A short option with its number, such as -n2.
_SHORT = re.compile(r"(-[A-Za-z])(\d+)")
#: A backslash takes the next sign as it is, but on Windows, where it is in every path.
_PLAIN = r"""[^\s"']""" if os.name == "nt" else r"""\\(?:.|$)|[^\s"'\\]"""
_VALUE = re.compile(rf"""((?:"(?:[^"\\]|\\.)*"|'[^']*'|{_PLAIN})+)(?:\s+|$)""", re.DOTALL)
#: What a word processor or a chat makes of dashes and quotes.
_TYPOGRAPHIC_DASH = re.compile("[\u2012-\u2015\u2212]+-?(?=[A-Za-z])")
_TYPOGRAPHIC_QUOTES = "\u201c\u201d\u201e\u201f\u2018\u201a\u00ab\u00bb"
#: What stands in quotes that do hold a value together.
_HELD = re.compile(r"'[^']*'|\"(?:\\.|[^\"\\])*\"")
_NOT_HELD = re.compile(rf"(?<!\S)(--?[A-Za-z][\w-]*)(?:=|\s+)([{_TYPOGRAPHIC_QUOTES}]\S*)")
#: What stands behind a verb that takes something, and at the head of no prompt.
_ARGUMENT = re.compile(
    r"\w+://|[~/\\-]|\.{1,2}[/\\]|[A-Za-z]:\\|[{$]\w|\S+\[-?\d+\]|\d+$"
    r"|\S+\.(?:png|jpe?g|webp|zip|html)\b"
)


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
        word = wanted.verb
        if cell is None and line.split()[:1] in (["--help"], ["-h"]):
            word = line.split()[1] if line.split()[1:2] and line.split()[1] in verbs.names() else ""
        return VerbOptions("help", argparse.Namespace(word=word, name=None))


def _split(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    lexer.whitespace += "\u00a0\u3000"  # pasted from a page they look like blanks
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
    _refuse_typographic_quotes(line)
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
    if rest:
        _refuse_typographic_dash(rest[0])
        hint = nearest_name(rest[0].partition("=")[0], parser.options) if "=" in rest[0] else ""
        msg = (
            f"%%fooocus: {rest[0]!r} is no option.{hint} The prompt goes into the cell's body; "
            "verbs such as start go behind a single %."
        )
        raise UsageError(msg)
    prompt = cell.removesuffix("\n").removesuffix("\r")
    if not prompt.strip():
        msg = "%%fooocus: the cell's body is the prompt, and it is empty."
        raise UsageError(msg)
    return _generate_options(verb, image, known, others, prompt, sweeps)


def _split_words(
    words: list[str], options: Mapping[str, bool], variables: Variables
) -> tuple[list[str], list[tuple[str, str | None]]]:
    """Return the words for the parser, and the options that only the engine may know."""

    def expanded(name: str, text: str) -> str:
        return expand_option(name, text, variables)

    kept, others, rest = split_options(words, options, expanded)
    return [*kept, *rest], others


def _refuse_typographic_quotes(line: str) -> None:
    """Refuse an option whose value begins with quotes that a page or a phone has turned."""
    found = _NOT_HELD.search(_HELD.sub("''", line))
    if found is not None:
        msg = (
            f"%fooocus: {found[1]} {found[2]}: these quotes do not hold a value together; "
            "write ' or \"."
        )
        raise UsageError(msg)


def _refuse_typographic_dash(word: str) -> None:
    """Refuse an option whose two dashes have become one long one."""
    found = _TYPOGRAPHIC_DASH.match(word)
    if found is not None:
        option = f"--{word[found.end() :]}"
        msg = (
            f"%fooocus: {word} begins with a long dash: the option is {option}. Where it belongs "
            "to the prompt, write -- before the prompt."
        )
        raise UsageError(msg)


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
    if not literal:
        _refuse_typographic_dash(rest)
    if not rest and verb == "generate":
        msg = "%fooocus: the prompt is missing."
        if others and others[-1][1] is not None:
            msg += f" {others[-1][1]!r} was taken for the value of {others[-1][0]}."
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
        name, text = option[1], None
        short = _SHORT.fullmatch(name)
        rest = rest[option.end() :]
        if short is not None and options.get(short[1]):
            name, text = short[1], short[2]
        elif options.get(name, True) or option[2] == "=":
            value = _VALUE.match(rest)
            if value is not None:
                _refuse_typographic_quotes(f"{name} {value[1]}")
                text = expand_option(name, "".join(_split(value[1])), variables)
                rest = rest[value.end() :]
            elif rest[:1] in ("'", '"'):
                _split(rest)  # which says what is wrong with it
        if name in options:
            words.append(joined(name, text))
        else:
            others.append((name, text))
    return words, others, rest


def _refuse_late_options(prompt: str, options: Iterable[str]) -> None:
    """Refuse options behind the prompt, mistyped ones too: nobody wants to generate them."""
    known = list(options)
    for word in prompt.split():
        option = word.partition("=")[0]
        dash = _TYPOGRAPHIC_DASH.match(option)
        if dash is not None and f"--{option[dash.end() :]}" in known:
            _refuse_typographic_dash(word)
        short = _SHORT.fullmatch(option)
        is_short = option[:2] != "--" and (option if short is None else short[1]) in known
        if is_short or re.match("--[A-Za-z]", option):
            hint = "" if is_short or option in known else nearest_name(option, known)
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
    words = list(_expanded(words, variables))
    flags = [expand(word, variables) for word in flags]
    parser = verbs.parser(verb)
    known, rest = parser.parse_known_args(words)
    if rest:
        is_option = rest[0].startswith("-")
        hint = _meant(rest[0], parser)
        what = "is no option" if has_flags or is_option else "means nothing here"
        msg = f"%fooocus {verb}: {rest[0]!r} {what}.{hint}"
        if has_flags:
            msg += " Fooocus's own flags go behind --."
        elif not is_option:
            msg += f" To generate it, write: %fooocus generate {verb} {line}"
        raise UsageError(msg)
    if has_flags:
        known.flags = tuple(flags)
    return known


def _expanded(words: Iterable[str], variables: Variables) -> Iterator[str]:
    """Yield the words of a line with the variables of its options expanded."""
    option = ""
    for word in words:
        is_option = word.startswith("-")
        name, equals, value = word.partition("=")
        if is_option and equals:
            yield f"{name}={expand_option(name, value, variables)}"
        else:
            yield expand_option(option, word, variables)
        option = word if is_option else ""


def _meant(word: str, parser: Parser) -> str:
    """Return a hint at what a word was meant to be that is none of a verb's options."""
    from fooocus_nb.engine import manager

    if word.startswith("-") or f"--{word}" in parser.options:
        return nearest_name(word, parser.options)
    return f" Did you mean '--name {word}'?" if word in manager.running() else ""


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
    asked = line.rstrip("?")
    if asked != line and asked in ("", *verbs.names()):
        return "help", asked
    # One word, or one with what verbs take behind it, is no prompt that anybody writes that near
    # a verb.
    if (not rest or _ARGUMENT.match(rest)) and (verb := _mistyped(word)):
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
    word = word.rstrip("?")
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
