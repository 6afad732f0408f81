"""``%fooocus refresh``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.verb import Verb

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def run(session: Session, options: Namespace) -> object:
    """List the model files again."""
    return session.engine(options.name).refresh()


VERB = Verb("look for new model files", run)
