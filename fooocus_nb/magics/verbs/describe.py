"""``%fooocus describe``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.image_options import find_image
from fooocus_nb.magics.verb import Parser, Verb, add_output
from fooocus_nb.options.values import sides

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.engine.queries import Description
    from fooocus_nb.magics.session import Session


def add_options(parser: Parser) -> None:
    """Add its options."""
    parser.add_argument("image", help="a path or a variable")
    parser.add_argument("--as", dest="content", type=sides, default=("photo",),
        help="photo, anime or both")  # fmt: skip
    add_output(parser)


def run(session: Session, options: Namespace) -> Description:
    """Describe an image."""
    image = find_image(options.image, session.variables)
    described = session.engine(options.name).describe(image, options.content)
    session.keep(options.output, described)
    return described


VERB = Verb("say what an image shows: IMAGE [--as photo|anime] [-o NAME]", run, add_options)
