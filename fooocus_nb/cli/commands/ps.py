"""``fooocus-nb ps``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fooocus_nb.cli.command import OK, Command

if TYPE_CHECKING:
    import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("--json", action="store_true", help="print a JSON array")


def run(options: argparse.Namespace) -> int:
    """List the engines."""
    from fooocus_nb.engine.listing import engines

    found = engines()
    if options.json:
        print(json.dumps([info.as_dict() for info in found], indent=2))
    else:
        print(found)
    return OK


COMMAND = Command(
    "list your engines, whichever kernel has started them",
    "Lists your engines on this machine, whichever kernel has started them.",
    add_options,
    run,
)
