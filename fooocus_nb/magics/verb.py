"""What a verb of ``%fooocus`` is made of, and the options that several verbs share."""

from __future__ import annotations

import argparse
import keyword
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from IPython.core.error import UsageError

from fooocus_nb.magics.sweep_options import add_sweep_options
from fooocus_nb.options.generation import add_generation_options

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fooocus_nb.fooocus.requests.tasks import Task
    from fooocus_nb.magics.session import Session

    AddOptions = Callable[["Parser"], object]
    FindImage = Callable[[str], object]

__all__ = [
    "GeneratingVerb",
    "HelpWanted",
    "Parser",
    "Verb",
    "add_filter",
    "add_output",
    "parser_of",
]


class HelpWanted(Exception):
    """Raised where ``--help`` stands in a line."""

    def __init__(self, verb: str) -> None:
        super().__init__(verb)
        self.verb = verb


class Parser(argparse.ArgumentParser):
    """Reports bad usage as IPython does, and never ends the kernel."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.actions: list[argparse.Action] = []
        super().__init__(
            prog=f"%fooocus {verb}".removesuffix(" generate"), add_help=False, allow_abbrev=False
        )

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        """Add an option, and list it for completion and help."""
        return self.listed(super().add_argument(*names, **settings))

    def listed(self, action: argparse.Action) -> argparse.Action:
        """List an option that was added to a group."""
        self.actions.append(action)
        return action

    @property
    def options(self) -> dict[str, bool]:
        """Each option as it is written, and whether it takes a value."""
        return {
            name: action.nargs != 0 for action in self.actions for name in action.option_strings
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return the options, each as it is written, and what it does."""
        rows = []
        for action in self.actions:
            name = action.option_strings[-1] if action.option_strings else action.dest
            value = action.metavar or name.lstrip("-").replace("-", "_").upper()
            words = ", ".join(action.option_strings)
            written = words if action.nargs == 0 else f"{words} {value}".strip()
            rows.append((written, (action.help or "").replace("%%", "%")))
        return rows

    def print_help(self, file: object = None) -> NoReturn:
        """Leave the help to what shows it."""
        raise HelpWanted(self.verb)

    def error(self, message: str) -> NoReturn:
        """Raise what IPython shows without a traceback."""
        msg = f"{self.prog}: {message}. {self.prog} --help lists the options."
        raise UsageError(msg)


@dataclass(frozen=True)
class Verb:
    """A verb: its help line, its options and what it does.

    `flags` tells that what follows ``--`` is for Fooocus; it becomes ``options.flags``. `arun` does
    the same as `run` with the kernel listening meanwhile.
    """

    help: str
    run: Callable[[Session, argparse.Namespace], object]
    add_options: AddOptions = lambda parser: None
    flags: bool = False
    arun: Callable[[Session, argparse.Namespace], Awaitable[object]] | None = None


@dataclass(frozen=True)
class GeneratingVerb:
    """A verb that generates: `task` makes its task from an image, where it takes one."""

    help: str
    add_options: AddOptions = lambda parser: None
    task: Callable[[object, argparse.Namespace, FindImage], Task] | None = None


def parser_of(name: str, verb: Verb | GeneratingVerb) -> Parser:
    """Return the parser for what follows a verb."""
    parser = Parser(name)
    parser.add_argument("--name", help="the engine's name; by default the last one started")
    if isinstance(verb, GeneratingVerb):
        add_generation_options(parser)
        add_output(parser)
        add_sweep_options(parser)
    verb.add_options(parser)
    parser.add_argument("-h", "--help", action="help", help="show this")
    return parser


def add_output(parser: Parser) -> None:
    """Add the option that names a variable for the value."""
    parser.add_argument("-o", "--output", type=_variable, help="bind the value to this name")


def add_filter(parser: Parser) -> None:
    """Add a word that filters a list of names."""
    parser.add_argument("word", nargs="?", default="", metavar="FILTER", help="a part of the name")


def _variable(text: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        msg = f"{text!r} is no name for a variable"
        raise argparse.ArgumentTypeError(msg)
    return text
