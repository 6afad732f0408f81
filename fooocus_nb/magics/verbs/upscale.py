"""``%fooocus upscale``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.fooocus.requests.tasks import Upscale
from fooocus_nb.magics.verb import GeneratingVerb, Parser

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.verb import FindImage


def add_options(parser: Parser) -> None:
    """Add its options."""
    parser.add_argument("--by", default="2x", help="1.5x, 2x or fast 2x")


def task(image: object, options: Namespace, find: FindImage) -> Upscale:
    """Return what to do with the image."""
    return Upscale(image, options.by)


VERB = GeneratingVerb(
    "make an image larger: IMAGE [--by 1.5x|2x|'fast 2x'] [options] [PROMPT]", add_options, task
)
