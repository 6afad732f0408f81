"""``%fooocus ps``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.engine.listing import engines
from fooocus_nb.magics.verb import Verb

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.engine.listing import EngineList
    from fooocus_nb.magics.session import Session


def run(session: Session, options: Namespace) -> EngineList:
    """List all engines of this user."""
    return engines()


VERB = Verb("list all your engines, also those of other kernels", run)
