"""``%fooocus outpaint``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.fooocus.requests.tasks import Outpaint
from fooocus_nb.magics.verb import GeneratingVerb, Parser
from fooocus_nb.options.values import sides

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.verb import FindImage


def add_options(parser: Parser) -> None:
    """Add its options."""
    parser.add_argument(
        "--sides",
        type=sides,
        default=("left", "right", "top", "bottom"),
        help="such as left,top; by default all four",
    )


def task(image: object, options: Namespace, find: FindImage) -> Outpaint:
    """Return what to do with the image."""
    return Outpaint(image, options.sides)


VERB = GeneratingVerb(
    "extend an image: IMAGE [--sides left,top] [options] [PROMPT]", add_options, task
)
