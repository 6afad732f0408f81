"""The command ``fooocus-nb``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from fooocus_nb import __version__
from fooocus_nb.cli.command import FAILED, INTERRUPTED
from fooocus_nb.cli.commands import commands
from fooocus_nb.errors import FooocusError, in_words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments without the program's name. By default those of this process.

    Returns
    -------
    int
        The exit code: 0, 1 when it failed, 130 when it was interrupted. A wrong command line
        exits with 2, as argparse does.
    """
    options = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except (FooocusError, OSError) as error:
        print(f"fooocus-nb: {in_words_of('shell', str(error))}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("fooocus-nb: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fooocus-nb", description="Fooocus in a notebook.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    added = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in commands().items():
        one = added.add_parser(name, help=command.help, description=command.description)
        command.add_options(one)
        one.set_defaults(run=command.run)
    return parser
