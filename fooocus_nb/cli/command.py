"""What a command of ``fooocus-nb`` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

__all__ = ["FAILED", "INTERRUPTED", "OK", "Command", "add_installation"]

OK, FAILED, INTERRUPTED = 0, 1, 130


@dataclass(frozen=True)
class Command:
    """A command: its help line, what ``--help`` says of it, its options and what it does.

    `run` returns the exit code.
    """

    help: str
    description: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def add_installation(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a checkout."""
    parser.add_argument(
        "--path", metavar="P", help="the folder of Fooocus (default: $FOOOCUS_HOME)"
    )
    parser.add_argument(
        "--python",
        metavar="P",
        help="the interpreter that Fooocus is installed in (default: the one in its folder)",
    )
