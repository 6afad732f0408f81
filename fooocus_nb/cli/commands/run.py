"""``fooocus-nb run``."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from fooocus_nb.cli.command import OK, Command
from fooocus_nb.cli.engine_options import add_engine_options, engine_source
from fooocus_nb.errors import FooocusError
from fooocus_nb.options.values import positive

if TYPE_CHECKING:
    import argparse

    from fooocus_nb.cli.notebook_run import Step


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("notebook", metavar="NOTEBOOK", help="the notebook, which stays as it is")
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        nargs="?",
        help="where the executed notebook goes (default: NOTEBOOK-executed.ipynb beside it)",
    )
    parser.add_argument(
        "-p",
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a value for the cell that is tagged `parameters`: a number, true, false, null, a "
        "list or a mapping as JSON, and else a text",
    )
    parser.add_argument(
        "--cwd", metavar="DIR", help="the folder that it runs in (default: the notebook's own)"
    )
    parser.add_argument(
        "--cell-timeout",
        type=positive,
        metavar="SECONDS",
        help="end it where a cell takes longer (default: never)",
    )
    add_engine_options(parser)


def run(options: argparse.Namespace) -> int:
    """Execute a notebook as an experiment."""
    from fooocus_nb.cli.notebook_run import execute, prepared
    from fooocus_nb.cli.progress_bar import ProgressBar

    plan = prepared(
        options.notebook, options.output, options.parameter, options.cwd, options.cell_timeout
    )
    source, secrets = engine_source(options)
    bar, began = ProgressBar(sys.stderr), time.monotonic()

    def tell(step: Step) -> None:
        bar.show(step.done, step.total, time.monotonic() - began, step.title, "")

    document = plan.as_data()
    options.report.document = document
    # So that Run.share() knows its notebook, as in one that a Jupyter server runs.
    env = {**secrets, "JPY_SESSION_NAME": str(plan.output)}
    try:
        outcome, failure = execute(plan, source, tell, env)
    finally:
        bar.close()
    document |= outcome
    if failure is not None:
        options.report.note(f"What ran until then is in {plan.output}")
        raise FooocusError(failure)
    for folder in document["runs"]:
        options.report.say(f"Run: {folder['path']} ({folder['images']:,} images)")
    options.report.say(f"Executed: {os.path.relpath(plan.output)}")
    return OK


COMMAND = Command(
    "execute a notebook as an experiment, with its parameters",
    "Executes a notebook with papermill (extra `run`) in a kernel of its own. -p sets what its "
    "cell tagged `parameters` sets, and an engine that is chosen here is `engine` in it. The "
    "executed notebook tells as the output of a last cell which runs it has written, and how they "
    "were made. A cell that fails ends it with 1; the notebook is kept as far as it came, and so "
    "are the runs.",
    add_options,
    run,
)
