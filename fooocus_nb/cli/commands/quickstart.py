"""``fooocus-nb quickstart``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb.cli.command import OK, Command, NoEngine, add_installation
from fooocus_nb.errors import FooocusError, InstallError

if TYPE_CHECKING:
    import argparse

    from fooocus_nb.cli.quickstart import Outcome
    from fooocus_nb.fooocus.checkout.installation import Installation

DEFAULT_OUTPUT = Path("fooocus-quickstart")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument(
        "--output",
        type=Path,
        default=DEFAULT_OUTPUT,
        metavar="DIR",
        help="where to write (default: ./%(default)s)",
    )
    add_installation(parser)


def run(options: argparse.Namespace) -> int:
    """Run the notebook, with a progress bar."""
    from fooocus_nb.cli.progress_bar import ProgressBar
    from fooocus_nb.cli.quickstart import installation_from, run_quickstart

    try:
        installation = installation_from(options.path, options.python)
    except InstallError as error:
        raise NoEngine(error) from error
    options.report.note(_announcement(installation))
    bar = ProgressBar(sys.stderr)
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
    options.report.document = {
        "page": str(outcome.page),
        "notebook": str(outcome.notebook),
        "images": str(outcome.images),
        "elapsed": outcome.elapsed,
    }
    if outcome.failure:
        options.report.note(f"What ran until then is in {outcome.notebook}")
        raise FooocusError(outcome.failure)
    options.report.say(_summary(outcome))
    return OK


def _announcement(installation: Installation | None) -> str:
    if installation:
        return f"Running the quickstart on Fooocus {installation.version} in {installation.path}"
    return (
        "No Fooocus was named (--path DIR or FOOOCUS_HOME), so this runs the bundled demo engine,\n"
        "which draws images without AI. Everything around it is the real thing."
    )


def _summary(outcome: Outcome) -> str:
    return (
        f"Done in {outcome.elapsed:.0f} s.\n"
        f"  Page      {outcome.page}\n"
        f"  Notebook  {outcome.notebook}\n"
        f"  Images    {outcome.images}"
    )


COMMAND = Command(
    "run the quickstart notebook and keep it with its images",
    "Runs the quickstart notebook in a kernel and writes the executed notebook and an HTML page. "
    "Without an installed Fooocus it runs the bundled demo engine, which draws images without "
    "AI.",
    add_options,
    run,
)
