"""``%fooocus panel``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.verb import Verb

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def run(session: Session, options: Namespace) -> object:
    """Show the control panel."""
    return session.engine(options.name).panel()


VERB = Verb("show every setting as a form", run)
