"""``%fooocus mask``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.image_options import find_image
from fooocus_nb.magics.verb import Parser, Verb, add_output

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def add_options(parser: Parser) -> None:
    """Add its options."""
    parser.add_argument("image", help="a path or a variable")
    parser.add_argument("--model", help="the model that finds it")
    parser.add_argument("--detect", metavar="WORDS", help="what to find, with the model sam")
    add_output(parser)


def run(session: Session, options: Namespace) -> object:
    """Make a mask from an image."""
    image = find_image(options.image, session.variables)
    engine = session.engine(options.name)
    mask = engine.make_mask(image, options.model, detect=options.detect)
    session.keep(options.output, mask)
    return mask


VERB = Verb("find what to paint: IMAGE [--model M] [--detect WORDS] [-o NAME]", run, add_options)
