"""``%fooocus connect``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.engine import manager
from fooocus_nb.magics.verb import Parser, Verb

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def add_options(parser: Parser) -> None:
    """Add its options."""
    parser.add_argument("url", help="the address of its web server")
    parser.add_argument("--output-dir", help="where images are copied to")
    parser.add_argument("--auth", metavar="USER:SECRET", help="where the server wants a login")


def run(session: Session, options: Namespace) -> None:
    """Connect to a server."""
    with session.starting() as monitor:
        monitor.done(
            manager.connect(
                options.url,
                name=options.name,
                output_dir=options.output_dir,
                auth=options.auth,
            )
        )


VERB = Verb("use an engine that somebody else runs: URL", run, add_options)
