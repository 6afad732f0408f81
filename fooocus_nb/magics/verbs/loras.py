"""``%fooocus loras``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.verb import Verb, add_filter

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.fooocus.schema.parameters import Catalogue
    from fooocus_nb.magics.session import Session


def run(session: Session, options: Namespace) -> Catalogue:
    """List the LoRAs."""
    return session.engine(options.name).loras.filter(options.word)


VERB = Verb("list the LoRAs: [FILTER]", run, add_filter)
