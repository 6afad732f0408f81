"""``fooocus-nb ps``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.cli.command import OK, Command

if TYPE_CHECKING:
    import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options: it has none."""


def run(options: argparse.Namespace) -> int:
    """List the engines."""
    from fooocus_nb.engine.listing import engines

    found = engines()
    options.report.document = [info.as_dict() for info in found]
    for line in str(found).splitlines():
        options.report.say(line)
    return OK


COMMAND = Command(
    "list your engines, whichever kernel has started them",
    "Lists your engines on this machine, whichever kernel has started them.",
    add_options,
    run,
)
