"""``fooocus-nb doctor``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from fooocus_nb.cli.command import Command, add_installation

if TYPE_CHECKING:
    import argparse
    from typing import TextIO


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    add_installation(parser)
    parser.add_argument("--port", type=int, help="the port that it will be asked to listen on")
    parser.add_argument(
        "--restore",
        action="store_true",
        help="first rename back the *.corrupted model files that are whole",
    )


def run(options: argparse.Namespace) -> int:
    """Print the doctor's report."""
    from fooocus_nb.doctor import doctor, restore_all

    if options.restore:
        restored, refused = restore_all(options.path)
        for line in [*(f"restored {path}" for path in restored), *refused]:
            options.report.note(line)
    found = doctor(options.path, python=options.python, port=options.port)
    report = found.in_words_of("shell")
    options.report.document = report.to_dict()
    if not options.json:
        print(report.to_text(colour=_has_colours(sys.stdout)))
    return report.exit_code


def _has_colours(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.name != "nt"


COMMAND = Command(
    "check whether Fooocus can be started here, and say what to do where it can't",
    "Checks the checkout, its interpreter and packages, the models that are missing, disk, memory, "
    "GPU, port, config.txt, permissions and leftovers. It starts no engine, and downloads and "
    "writes nothing. Exits with 1 where something failed.",
    add_options,
    run,
)
