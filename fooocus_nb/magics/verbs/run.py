"""``%fooocus run``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from fooocus_nb.errors import nearest
from fooocus_nb.experiment.run import Run, current_run, open_run
from fooocus_nb.magics.verb import Parser, Verb

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session

ACTIONS = ("open", "close", "status")


def add_options(parser: Parser) -> None:
    """Add its options."""
    parser.add_argument("action", nargs="?", default="status", help="open, close or status")
    parser.add_argument("folder", nargs="?", help="the run's folder; a new one is made")
    parser.add_argument("-o", "--output", help="bind the run to this name")
    parser.add_argument(
        "--force",
        action="store_true",
        help="take it over from a holder that can't be judged from here and has ended",
    )


def run(session: Session, options: Namespace) -> object:
    """Open or close the run that generations are recorded in, or say which one it is."""
    action, folder = options.action, options.folder
    if action not in ACTIONS:
        words = " ".join(filter(None, (action, folder)))
        msg = (
            f"%fooocus run: {action!r} is none of {', '.join(ACTIONS)}.{nearest(action, ACTIONS)} "
            f"To generate it, write: %fooocus generate run {words}"
        )
        raise UsageError(msg)
    if action == "open":
        _open(session, options)
        return None
    if folder is not None:
        msg = f"%fooocus run {action} takes no folder."
        raise UsageError(msg)
    current = current_run()
    if current is None:
        session.write("No run is open: %fooocus run open FOLDER records what is generated there.")
        return None
    if action == "status":
        session.keep(options.output, current)
        return current
    current.close()
    session.write(_said(current))
    return None


def _open(session: Session, options: Namespace) -> None:
    if options.folder is None:
        msg = "%fooocus run open needs a folder, such as runs/lighthouse; a new one is made."
        raise UsageError(msg)
    opened = open_run(options.folder, force=options.force)
    session.keep(options.output, opened)
    if opened.readonly:
        session.write(f"{_said(opened)} What is generated does not become part of it.")
        return
    before = current_run()
    if before is not None and before is not opened:
        before.close()
        session.write(_said(before))
    opened.record()
    session.write(_said(opened))


def _said(one: Run) -> str:
    return f"Run {one.path}: {', '.join(one.facts())}."


VERB = Verb("record what is generated: open FOLDER, close, status", run, add_options)
