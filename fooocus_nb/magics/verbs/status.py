"""``%fooocus status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.engine import manager
from fooocus_nb.magics.verb import Verb
from fooocus_nb.widgets.display_backends import show
from fooocus_nb.widgets.status import status_bundle

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def run(session: Session, options: Namespace) -> None:
    """Show the engines and their health."""
    if options.name:
        show(status_bundle([manager.get(options.name)]))
    elif running := manager.running():
        show(status_bundle(running.values()))
    else:
        session.write("No engine runs. %fooocus start starts one.")


VERB = Verb("show the engines and their health", run)
