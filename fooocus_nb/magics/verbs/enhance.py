"""``%fooocus enhance``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.fooocus.requests.tasks import Enhance, EnhanceImage
from fooocus_nb.magics.verb import GeneratingVerb, Parser

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.verb import FindImage


def add_options(parser: Parser) -> None:
    """Add its options."""
    add = parser.add_argument
    add("--detect", action="append", metavar="WORDS", help="what to improve, such as face")
    add("--upscale", metavar="FACTOR", help="make it larger as well")
    add("--vary", metavar="STRENGTH", help="vary it as well")


def task(image: object, options: Namespace, find: FindImage) -> EnhanceImage:
    """Return what to do with the image."""
    enhancements = [Enhance(words) for words in options.detect or ()]
    return EnhanceImage(image, enhancements, options.upscale, options.vary)


VERB = GeneratingVerb(
    "improve parts: IMAGE [--detect WORDS]... [options] [PROMPT]", add_options, task
)
