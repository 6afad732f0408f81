"""``fooocus-nb verify``."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from fooocus_nb.cli.command import OK, Command, UsageError
from fooocus_nb.cli.engine_options import add_engine_options, chosen_engine
from fooocus_nb.errors import RunError

if TYPE_CHECKING:
    from fooocus_nb.experiment.verification import Verification

#: The exit codes of what was not shown; 1 to 3 and 130 are those of every command.
NOT_REPRODUCED, NOT_FUNCTIONAL, NOT_AVAILABLE = 4, 5, 6
MAX_LISTED = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("folder", metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "--sample",
        type=_sample,
        metavar="N",
        help="make so many images, such as 20, or a share of them, such as 0.1 (default: all)",
    )
    parser.add_argument(
        "--save", metavar="DIR", help="keep what is made, as a run in this new folder"
    )
    add_engine_options(parser)


def _sample(text: str) -> float:
    try:
        found = int(text) if text.isdigit() else float(text)
    except ValueError:
        found = 0
    if not (found >= 1 if isinstance(found, int) else 0 < found <= 1):
        msg = f"{text!r} is neither a whole number above 0 nor a share up to 1.0"
        raise argparse.ArgumentTypeError(msg)
    return found


def run(options: argparse.Namespace) -> int:
    """Make the images of a run again, and compare them."""
    from fooocus_nb.cli.progress_bar import ProgressBar
    from fooocus_nb.engine.folders import resolved
    from fooocus_nb.experiment.run import open_run
    from fooocus_nb.experiment.verify import verify_run

    folder = resolved(options.folder, "RUN")
    try:
        verified = open_run(folder, readonly=True)
    except RunError as error:
        raise UsageError(str(error)) from None
    bar, began = ProgressBar(sys.stderr), time.monotonic()

    def tell(done: int, total: int) -> None:
        bar.show(done, total, time.monotonic() - began, "made again", "")

    with chosen_engine(options, output_dir=folder.parent / "fooocus-outputs") as engine:
        try:
            found = verify_run(
                verified, engine, open_run, sample=options.sample, keep=options.save, tell=tell
            )
        finally:
            bar.close()
    options.report.document = found.as_data()
    options.report.say(str(found))
    listed = [row for row in found.rows if row.level in ("different", "failed")]
    for row in listed[:MAX_LISTED]:
        options.report.note(f"{row.image.key}: {row.level}: {row.cause}")
    if len(listed) > MAX_LISTED:
        options.report.note(f"and {len(listed) - MAX_LISTED:,} more, which --json lists")
    return exit_code(found)


def exit_code(found: Verification) -> int:
    """Return the exit code: that of the first badge that is not earned."""
    badges = found.badges
    codes = {
        "available": NOT_AVAILABLE,
        "functional": NOT_FUNCTIONAL,
        "reproduced": NOT_REPRODUCED,
    }
    return next((code for name, code in codes.items() if not badges[name]), OK)


COMMAND = Command(
    "make the images of a run again, and compare them",
    "Makes the images of a run again, compares them (same bytes, same pixels, close, different), "
    "names what differs between both manifests, and says what was shown in the words of the ACM "
    "badges. Ends with 0 where the run is available, functional and reproduced; with 4 where an "
    "image came out different, 5 where one could not be made, and 6 where a file of the run is "
    "gone or was changed.",
    add_options,
    run,
)
