"""``%fooocus doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.doctor import doctor, restore_all
from fooocus_nb.magics.verb import Parser, Verb

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.doctor import Report
    from fooocus_nb.magics.session import Session


def add_options(parser: Parser) -> None:
    """Add its options."""
    parser.add_argument("--path", help="the folder of the Fooocus checkout")
    parser.add_argument("--python", help="the interpreter that Fooocus is installed in")
    parser.add_argument("--port", type=int, help="the port that will be asked for")
    parser.add_argument("--restore", action="store_true",
        help="first rename back the *.corrupted model files that are whole")  # fmt: skip


def run(session: Session, options: Namespace) -> Report:
    """Check whether Fooocus can be started here."""
    if options.restore:
        restored, refused = restore_all(options.path)
        for line in [*(f"restored {path}" for path in restored), *refused]:
            session.write(line)
    report = doctor(options.path, python=options.python, port=options.port)
    return report.in_words_of("magic")


VERB = Verb(
    "check whether Fooocus can be started here: [--path P] [--python P] [--port N]",
    run,
    add_options,
)
