"""``%fooocus params``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.verb import Parser, Verb

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def add_options(parser: Parser) -> None:
    """Add its options."""
    parser.add_argument("filter", nargs="*", help="a part of the name")


def run(session: Session, options: Namespace) -> object:
    """List the parameters."""
    parameters = session.engine(options.name).parameters
    return parameters.filter(" ".join(options.filter)) if options.filter else parameters


VERB = Verb("show what can be set: [FILTER]", run, add_options)
