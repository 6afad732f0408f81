"""``%fooocus resume``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.verb import Parser, Verb, add_output

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def add_options(parser: Parser) -> None:
    """Add its options."""
    add_output(parser)
    parser.add_argument("--notebook", metavar="PATH", help="the notebook, where it is not this one")
    parser.add_argument(
        "--all", action="store_true", help="also what the saved notebook shows already"
    )


def run(session: Session, options: Namespace) -> object:
    """Show what the notebook had asked for, and go on with the rest."""
    from fooocus_nb.magics.resuming import resume

    resume(session, options)
    return None


async def arun(session: Session, options: Namespace) -> object:
    """Do the same with the kernel listening meanwhile."""
    from fooocus_nb.magics.resuming import aresume

    await aresume(session, options)
    return None


VERB = Verb(
    "go on with what this notebook had asked for: [--all] [--notebook PATH]",
    run,
    add_options,
    arun=arun,
)
