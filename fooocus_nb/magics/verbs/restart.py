"""``%fooocus restart``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.verb import Verb

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def run(session: Session, options: Namespace) -> None:
    """Restart the engine, and show how far it is."""
    engine = session.engine(options.name)
    with session.starting() as monitor:
        engine.restart(on_progress=monitor)
        monitor.done(engine)


VERB = Verb("restart the engine", run)
