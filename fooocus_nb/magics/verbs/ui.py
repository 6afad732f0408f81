"""``%fooocus ui``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.verb import Parser, Verb
from fooocus_nb.options.values import positive

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def add_options(parser: Parser) -> None:
    """Add its options."""
    parser.add_argument(
        "--height", type=positive, default=800, metavar="PIXELS", help="its height; default 800"
    )


def run(session: Session, options: Namespace) -> object:
    """Show the engine's own page."""
    return session.engine(options.name).ui(height=options.height)


VERB = Verb("show Fooocus's own web page, through Jupyter: [--height PIXELS]", run, add_options)
