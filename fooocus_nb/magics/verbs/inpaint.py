"""``%fooocus inpaint``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.fooocus.requests.tasks import Inpaint
from fooocus_nb.magics.verb import GeneratingVerb, Parser
from fooocus_nb.options.values import sides

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.verb import FindImage


def add_options(parser: Parser) -> None:
    """Add its options."""
    add = parser.add_argument
    add("--mask", required=True, help="an image, white where to paint anew")
    add("--mode", default="inpaint", help="inpaint, detail or modify")
    add("--sides", type=sides, help="such as left,top: extend it there as well")
    add("--invert", action="store_true", help="paint anew what is black")


def task(image: object, options: Namespace, find: FindImage) -> Inpaint:
    """Return what to do with the image."""
    mask = find(options.mask)
    return Inpaint(image, mask, options.mode, options.sides or (), options.invert)


VERB = GeneratingVerb(
    "paint a part anew: IMAGE --mask IMAGE [--mode MODE] [options] [PROMPT]", add_options, task
)
