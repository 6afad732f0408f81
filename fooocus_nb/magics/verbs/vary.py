"""``%fooocus vary``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.fooocus.requests.tasks import Vary
from fooocus_nb.magics.verb import GeneratingVerb, Parser

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.verb import FindImage


def add_options(parser: Parser) -> None:
    """Add its options."""
    parser.add_argument("--strength", default="subtle", help="subtle or strong")


def task(image: object, options: Namespace, find: FindImage) -> Vary:
    """Return what to do with the image."""
    return Vary(image, options.strength)


VERB = GeneratingVerb(
    "generate an image anew: IMAGE [--strength subtle|strong] [options] [PROMPT]",
    add_options,
    task,
)
