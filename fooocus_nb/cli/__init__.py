"""The command ``fooocus-nb``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb._version import __version__
from fooocus_nb.cli.engines import add_commands
from fooocus_nb.errors import FooocusError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from fooocus_nb.cli.quickstart import Outcome
    from fooocus_nb.fooocus.checkout.installation import Installation

__all__ = ["main"]

OK, FAILED, INTERRUPTED = 0, 1, 130
DEFAULT_OUTPUT = Path("fooocus-quickstart")


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
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except (FooocusError, OSError) as error:
        print(f"fooocus-nb: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("fooocus-nb: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fooocus-nb", description="Fooocus in a notebook.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_quickstart(commands)
    _add_doctor(commands)
    add_commands(commands)
    return parser


def _add_quickstart(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "quickstart",
        help="run the quickstart notebook and keep it with its images",
        description=(
            "Runs the quickstart notebook in a kernel and writes the executed notebook and an HTML "
            "page. Without an installed Fooocus it runs the bundled demo engine, which draws "
            "pictures without AI."
        ),
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=DEFAULT_OUTPUT,
        metavar="DIR",
        help="where to write (default: ./%(default)s)",
    )
    _add_installation(parser)
    parser.set_defaults(command=_quickstart)


def _add_installation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--path", metavar="P", help="the folder of Fooocus (default: $FOOOCUS_HOME)"
    )
    parser.add_argument(
        "--python",
        metavar="P",
        help="the interpreter that Fooocus is installed in (default: the one in its folder)",
    )


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "doctor",
        help="look whether Fooocus can be started here, and what to do where it can't",
        description=(
            "Looks at the checkout, its interpreter and packages, the models that are missing, "
            "disk, memory, GPU, port, config.txt, permissions and leftovers. It starts no engine, "
            "and downloads and writes nothing. Exits with 1 where something failed."
        ),
    )
    _add_installation(parser)
    parser.add_argument("--port", type=int, help="the port that it will be asked to listen on")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--restore",
        action="store_true",
        help="first rename back the *.corrupted model files that are whole",
    )
    parser.set_defaults(command=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from fooocus_nb.doctor import doctor, restore_all

    if options.restore:
        restored, refused = restore_all(options.path)
        for line in [*(f"restored {path}" for path in restored), *refused]:
            print(line, file=sys.stderr)
    report = doctor(options.path, python=options.python, port=options.port)
    print(report.to_json() if options.json else report.to_text(colour=_has_colours(sys.stdout)))
    return report.exit_code


def _has_colours(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.name != "nt"


def _quickstart(options: argparse.Namespace) -> int:
    from fooocus_nb.cli.progress_bar import ProgressBar
    from fooocus_nb.cli.quickstart import installation_from, run_quickstart

    installation = installation_from(options.path, options.python)
    print(_announcement(installation), flush=True)
    bar = ProgressBar(sys.stdout)
    try:
        outcome = run_quickstart(
            options.output,
            installation=installation,
            on_progress=lambda now: bar.show(
                now.done, now.total, now.elapsed, now.title, now.detail
            ),
        )
    finally:
        bar.close()
    if outcome.failure:
        print(f"fooocus-nb: {outcome.failure}", file=sys.stderr)
        print(f"What ran until then is in {outcome.notebook}", file=sys.stderr)
        return FAILED
    print(_summary(outcome))
    return OK


def _announcement(installation: Installation | None) -> str:
    if installation:
        return f"Running the quickstart on Fooocus {installation.version} in {installation.path}"
    return (
        "No Fooocus was named (--path DIR or FOOOCUS_HOME), so this runs the bundled demo engine,\n"
        "which draws pictures without AI. Everything around it is the real thing."
    )


def _summary(outcome: Outcome) -> str:
    return (
        f"Done in {outcome.elapsed:.0f} s.\n"
        f"  Page      {outcome.page}\n"
        f"  Notebook  {outcome.notebook}\n"
        f"  Images    {outcome.images}"
    )
