"""``fooocus-nb install``."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from fooocus_nb.cli.command import Command
from fooocus_nb.cli.progress_bar import ProgressBar
from fooocus_nb.errors import InstallError

if TYPE_CHECKING:
    import argparse

    from fooocus_nb.cli.report import Report
    from fooocus_nb.install import Progress


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    add = parser.add_argument
    add("directory", nargs="?", metavar="DIR",
        help="a new or empty folder (default: $FOOOCUS_HOME, then ~/Fooocus)")  # fmt: skip
    add("--from", dest="source", metavar="PATH_OR_URL",
        help="another repository (https, ssh, a folder); shows the commit and asks")  # fmt: skip
    add("--ref", metavar="NAME", help="the branch, tag or commit (default: the released tag)")
    add("--yes", action="store_true", help="agree to the commit of another source unasked")
    add("--python", metavar="P", help="the Python 3.10 or 3.11 to make the environment with")
    add("--torch", default="auto", metavar="KIND",
        help="auto, nvidia, cpu, apple or none (default: auto, what is there)")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Install Fooocus, and print the doctor's report on it."""
    from fooocus_nb.install import install

    screen = _Screen(options.report, yes=options.yes)
    try:
        done = install(
            options.directory,
            screen,
            source=options.source,
            ref=options.ref,
            python=options.python,
            torch=options.torch,
        )
    finally:
        screen.close()
    report = done.report.in_words_of("shell")
    options.report.document = done.to_dict()
    options.report.say(report.to_text())
    options.report.say(f"\nTry it: fooocus-nb quickstart --path {done.path}")
    return report.exit_code


class _Screen:
    """Shows the steps as a bar, and what stays as lines above it."""

    def __init__(self, report: Report, *, yes: bool) -> None:
        self._report = report
        self._yes = yes
        self._bar = ProgressBar(sys.stderr)
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        self._bar.close()
        self._report.note(text)

    def update(self, progress: Progress) -> None:
        elapsed = time.monotonic() - self._began
        self._bar.show(progress.number, progress.steps, elapsed, progress.step, progress.text)

    def confirm(self, question: str) -> bool:
        self.say(question if not self._yes else f"{question} Yes, by --yes.")
        if self._yes:
            return True
        if sys.stdin is None or not sys.stdin.isatty():
            msg = "Nobody can answer here: --yes agrees to exactly what --from and --ref name."
            raise InstallError(msg)
        print("[y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().casefold() in ("y", "yes")

    def close(self) -> None:
        self._bar.close()


COMMAND = Command(
    "install Fooocus into a folder and an environment of its own",
    "Gets the released Fooocus, checked against the commit that is known here, makes it an "
    "environment of its own with a Python that it supports, and installs the PyTorch for this "
    "machine and packages in versions that work today. It can be interrupted and run again, never "
    "touches a folder with other content nor the environment that it runs in, and ends with the "
    "doctor's report. Fooocus and its models have licences of their own.",
    add_options,
    run,
)
