"""``%fooocus detach``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.verb import Verb

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def run(session: Session, options: Namespace) -> None:
    """Detach from the engine."""
    engine = session.engine(options.name)
    kept = engine.lifetime == "detached"
    engine.detach()
    what = "goes on; a start in the same way finds it" if kept else "ends with its last user"
    session.write(f"{engine.name} is detached: it {what}.")


VERB = Verb("detach from the engine without stopping it", run)
