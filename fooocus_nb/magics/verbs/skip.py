"""``%fooocus skip``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.magics.verb import Verb

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session


def run(session: Session, options: Namespace) -> None:
    """Skip the current image."""
    engine = session.engine(options.name)
    job = engine.current_job
    if job is None:
        session.write(f"Engine {engine.name!r} generates nothing at the moment.")
    else:
        job.skip()


VERB = Verb("skip the image that is being generated", run)
