"""``%fooocus preset``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.verb import Parser, Verb

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def add_options(parser: Parser) -> None:
    """Add its options."""
    parser.add_argument("word", nargs="?", default="", metavar="NAME", help="which to load")


def run(session: Session, options: Namespace) -> object:
    """Load a preset, or list them."""
    engine = session.engine(options.name)
    if options.word:
        return engine.preset(options.word)
    session.write(f"The preset is {engine.current_preset}.")
    return engine.presets


VERB = Verb("load a preset, or show which there are: [NAME]", run, add_options)
