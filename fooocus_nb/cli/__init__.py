"""The command ``fooocus-nb``."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from pathlib import PurePath
from typing import TYPE_CHECKING

from fooocus_nb import __version__
from fooocus_nb.cli.command import FAILED, INTERRUPTED, NO_ENGINE, WRONG_USAGE, NoEngine, UsageError
from fooocus_nb.cli.command_line import CommandParser, wants_json
from fooocus_nb.cli.commands import commands
from fooocus_nb.cli.report import Report
from fooocus_nb.cli.schemas import add_schema
from fooocus_nb.errors import FooocusError, ParameterError, in_words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        The exit code: 0, 1 when it failed, 2 for a wrong command line, 3 when there is no engine
        to use, 130 when it was interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    report = Report(json=wants_json(words))
    try:
        with report.alone_on_standard_output():
            code, error = _run(words, report)
        report.close(code, error)
    except BrokenPipeError:  # who reads has gone, such as `head`
        # What is still to be flushed at the interpreter's end would raise it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _run(words: list[str], report: Report) -> tuple[int, BaseException | None]:
    """Run a command; return its exit code, and the error that it ended with."""
    program = _program()
    try:
        options = _parser(program).parse_args(words)
        options.report = report
        return options.run(options), None
    except SystemExit as end:  # --help and --version
        return end.code if isinstance(end.code, int) else FAILED, None
    except UsageError as error:
        text = str(error)
        told = text if text.startswith(program) else f"{program}: {text}"
        report.note(f"{error.usage}{in_words_of('shell', told)}")
        return WRONG_USAGE, error
    except NoEngine as error:
        report.note(_told(program, error.error))
        return NO_ENGINE, error.error
    except ParameterError as error:
        report.note(_told(program, error))
        return WRONG_USAGE, error
    except BrokenPipeError:
        raise
    except (FooocusError, OSError) as error:
        report.note(_told(program, error))
        return FAILED, error
    except Exception as error:  # noqa: BLE001 - a fault of ours; who asked for JSON gets it, too
        traceback.print_exc()
        return FAILED, error
    except KeyboardInterrupt as error:
        text = str(error)
        # Tasks that the interrupt has ended would tell of it at the very end, with a traceback.
        logging.getLogger("asyncio").disabled = True
        report.note(f"{program}: {text or 'interrupted'}")
        return INTERRUPTED, KeyboardInterrupt(text or "interrupted")


def _told(program: str, error: BaseException) -> str:
    """Return an error as a terminal shows it."""
    return f"{program}: {in_words_of('shell', str(error))}"


def _program() -> str:
    """Return what the user typed: Jupyter runs ``jupyter fooocus`` as ``jupyter-fooocus``."""
    name = PurePath(sys.argv[0]).stem if sys.argv else ""
    return "jupyter fooocus" if name == "jupyter-fooocus" else "fooocus-nb"


def _parser(program: str) -> CommandParser:
    parser = CommandParser(prog=program, description="Fooocus in a notebook.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    added = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=CommandParser
    )
    for name, command in commands().items():
        one = added.add_parser(name, help=command.help, description=command.description)
        command.add_options(one)
        one.takes_parameters = command.takes_parameters
        one.add_json()
        add_schema(one, name)
        one.set_defaults(run=command.run, command=name)
    return parser
