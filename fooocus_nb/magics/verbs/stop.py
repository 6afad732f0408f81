"""``%fooocus stop``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.engine import manager
from fooocus_nb.engine.listing import engines
from fooocus_nb.engine.state import EngineState
from fooocus_nb.magics.verb import Parser, Verb

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.magics.session import Session


def add_options(parser: Parser) -> None:
    """Add its options."""
    parser.add_argument("--all", action="store_true", help="all engines of this kernel")


def run(session: Session, options: Namespace) -> None:
    """Stop an engine, or all of this kernel."""
    if not options.all:
        session.write(_stop(session.engine(options.name)))
        return
    chosen = list(manager.running().values())
    for engine in chosen:
        session.write(_stop(engine))
    if not chosen:
        session.write("No engine runs.")


def _stop(engine: Engine) -> str:
    """Stop an engine and return what to tell."""
    pid = engine.pid
    if engine.state is EngineState.STOPPED:
        return f"{engine.name} is not running here: it was stopped or detached before."
    engine.stop()
    if not engine.owned:
        return "Disconnected."
    if pid in {info.pid for info in engines()}:
        return f"{engine.name} is detached: it goes on for its other users."
    return f"{engine.name} is stopped."


VERB = Verb("stop the engine: [--all]", run, add_options)
