"""``fooocus-nb sweep``."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from fooocus_nb._html import duration
from fooocus_nb.cli.command import FAILED, OK, Command, UsageError
from fooocus_nb.cli.engine_options import add_engine_options, chosen_engine
from fooocus_nb.errors import ParameterError
from fooocus_nb.options.values import positive

if TYPE_CHECKING:
    import argparse

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.experiment.progress import SweepProgress
    from fooocus_nb.experiment.run import Run
    from fooocus_nb.experiment.sweep import Sweep

REDRAW_SECONDS = 0.2


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument(
        "plan", metavar="PLAN", help="a TOML file with the tables [axes] and [base]"
    )
    parser.add_argument(
        "--run", dest="folder", metavar="DIR", required=True, help="the folder of the run"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be made, and make nothing"
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="make so many cells at most, and leave the rest"
    )
    parser.add_argument(
        "--retry", action="store_true", help="make also the cells that have failed before"
    )
    parser.add_argument(
        "--on-error",
        choices=("continue", "stop"),
        default="continue",
        help="what follows a cell that fails (default: %(default)s)",
    )
    parser.add_argument(
        "--mix",
        action="store_true",
        help="go on with another engine than made the run's cells so far; each manifest says which",
    )
    add_engine_options(parser)


def run(options: argparse.Namespace) -> int:
    """Make the cells that are missing."""
    from fooocus_nb.engine.folders import resolved
    from fooocus_nb.experiment.plan_file import read_plan

    try:
        sweep = read_plan(options.plan)
    except ParameterError as error:
        raise UsageError(str(error)) from None
    folder = resolved(options.folder, "--run")
    with chosen_engine(options, output_dir=folder.parent / "fooocus-outputs") as engine:
        if options.dry_run:
            return _show_plan(options, sweep, engine)
        return _make(options, sweep, engine)


def _show_plan(options: argparse.Namespace, sweep: Sweep, engine: Engine) -> int:
    plan = sweep.plan(engine, options.folder)
    options.report.document = plan.as_data()
    options.report.say(str(plan))
    return OK if plan.ok else FAILED


def _make(options: argparse.Namespace, sweep: Sweep, engine: Engine) -> int:
    from fooocus_nb.experiment.launch import Options, prepare
    from fooocus_nb.experiment.run import open_run

    if options.retry:
        with_failures = open_run(options.folder)
        if count := with_failures.retry():
            options.report.note(f"{count} failed cells are made again")
    bar = _Bar()
    settings = Options(
        on_error=options.on_error,
        mix=options.mix,
        limit=options.limit,
        show=False,
        watch=bar.watch,
    )
    launch = prepare(sweep, engine, options.folder, settings)
    made = launch.run
    try:
        try:
            launch.finish()
        finally:
            bar.close()
    finally:
        made.close()
        options.report.document = _document(made, launch.progress)
    now = launch.progress.snapshot()
    options.report.say(f"{now.counts}: {made.path}")
    for failure in made.failures:
        options.report.note(
            f"cell {failure.number}: {failure.error.get('type')}: {failure.error.get('message')}"
        )
    return OK if not (now.failed or (now.missing and options.limit is None)) else FAILED


def _document(run: Run, progress: SweepProgress) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    now = progress.snapshot()
    cells = {cell.id for cell in progress.cells}
    return {
        "run": str(run.path),
        "planned": now.planned,
        "made": now.made,
        "failed": now.failed,
        "skipped": now.skipped,
        "missing": now.missing,
        "images": [
            {
                "path": str(image.path),
                "cell": image.cell,
                "seed": None if image.seed is None else str(image.seed),
                "sha256": image.sha256,
            }
            for image in run.images
            if image.cell in cells
        ],
        "failures": [
            {"cell": failure.cell, "number": failure.number, "error": dict(failure.error)}
            for failure in run.failures
            if failure.cell in cells
        ],
    }


class _Bar:
    """The progress of a sweep on standard error."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, progress: SweepProgress) -> None:
        """Show this sweep until :meth:`close`."""
        from fooocus_nb.cli.progress_bar import ProgressBar

        bar = ProgressBar(sys.stderr)

        def show() -> None:
            while not self._over.wait(REDRAW_SECONDS):
                now = progress.snapshot()
                done = now.planned - now.missing
                left = [] if now.remaining is None else [f"{duration(now.remaining)} left"]
                jobs = [job.snapshot().text for _, job in now.running if job is not None]
                detail = ", ".join([*left, *filter(None, jobs)])
                bar.show(done, now.planned, now.elapsed, now.counts, detail)
            bar.close()

        self._thread = threading.Thread(target=show, name="fooocus-nb-progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Remove the line."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(REDRAW_SECONDS * 10)


COMMAND = Command(
    "make the cells of a sweep that are missing",
    "Makes what a plan describes, cell by cell, and records it in a run. Run again, it makes only "
    "what is missing. Progress goes to standard error.",
    add_options,
    run,
)
