"""``%fooocus logs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.verb import Parser, Verb
from fooocus_nb.options.values import positive

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def add_options(parser: Parser) -> None:
    """Add its options."""
    parser.add_argument("-n", type=positive, default=40, metavar="N", help="lines; default 40")
    parser.add_argument("--live", action="store_true", help="show it as it is written")


def run(session: Session, options: Namespace) -> object:
    """Print the last lines of the log, or show it live."""
    engine = session.engine(options.name)
    if options.live:
        return engine.logs()
    if not engine.owned:
        session.write(f"Engine {engine.name!r} is somebody else's: its log is not ours.")
    for line in engine.tail(options.n):
        session.write(line)
    return None


VERB = Verb("show the engine's last log lines: [-n N], or --live", run, add_options)
