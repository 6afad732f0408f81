"""``%fooocus gallery``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.verb import Parser, Verb
from fooocus_nb.widgets.gallery import gallery

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def add_options(parser: Parser) -> None:
    """Add its options."""
    parser.add_argument("folder", nargs="*", help="a folder of images")


def run(session: Session, options: Namespace) -> object:
    """Show images as a grid."""
    if options.folder:
        return gallery(" ".join(options.folder))
    return session.engine(options.name).gallery()


VERB = Verb("show the engine's images, or those of a folder, as a grid: [FOLDER]", run, add_options)
