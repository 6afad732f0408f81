"""``%fooocus monitor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.verb import Verb

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def run(session: Session, options: Namespace) -> object:
    """Show what the engine does."""
    return session.engine(options.name).monitor()


VERB = Verb("show what the engine does, with Stop and Skip", run)
