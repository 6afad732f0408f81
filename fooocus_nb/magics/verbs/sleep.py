"""``%fooocus sleep``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.verb import Verb

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def run(session: Session, options: Namespace) -> None:
    """Let the engine sleep, and say whether it does."""
    engine = session.engine(options.name)
    if engine.sleep():
        session.write(f"{engine.name} is asleep: its memory is free. A generation starts it again.")
    else:
        session.write(f"{engine.name} is used by others: it sleeps once they let it, too.")


VERB = Verb("let the engine sleep until the next generation: its memory is free meanwhile", run)
