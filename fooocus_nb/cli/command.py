"""What a command of ``fooocus-nb`` is made of, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from fooocus_nb.errors import FooocusError
    from fooocus_nb.options.generation import Parser

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "NO_ENGINE",
    "OK",
    "WRONG_USAGE",
    "Command",
    "NoEngine",
    "UsageError",
    "add_installation",
    "add_python",
]

#: The exit codes; 130 is what a shell gives for what Ctrl-C ended.
OK, FAILED, WRONG_USAGE, NO_ENGINE, INTERRUPTED = 0, 1, 2, 3, 130


class UsageError(Exception):
    """The command line is wrong; `usage` is what people are shown above that."""

    def __init__(self, message: str, usage: str = "") -> None:
        super().__init__(message)
        self.usage = usage


class NoEngine(Exception):
    """No engine could be had: it is not there, does not start, or does not let us in."""

    def __init__(self, error: FooocusError | OSError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class Command:
    """A command: its help line, what ``--help`` says of it, its options and what it does.

    `run` returns the exit code. It tells by ``options.report``, a
    :class:`~fooocus_nb.cli.report.Report`, what it does and has found. A command that
    `takes_parameters` has any number of words beside its options, in ``options.words``, and takes
    every parameter of an engine as an option, in ``options.others``.
    """

    help: str
    description: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    takes_parameters: bool = False


def add_installation(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a checkout."""
    parser.add_argument(
        "--path", metavar="P", help="the folder of Fooocus (default: $FOOOCUS_HOME)"
    )
    add_python(parser)


def add_python(parser: Parser) -> None:
    """Add the option that names an interpreter."""
    parser.add_argument(
        "--python",
        metavar="P",
        help="the interpreter that Fooocus is installed in (default: the one in its folder)",
    )
