"""``%fooocus start``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fooocus_nb.engine import manager
from fooocus_nb.magics.verb import Parser, Verb

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.magics.session import Session

__all__ = ["VERB", "start_arguments"]


def add_options(parser: Parser) -> None:
    """Add its options."""
    add = parser.add_argument
    add("--path", help="the folder of the Fooocus checkout")
    add("--python", help="the interpreter that Fooocus is installed in")
    add("--demo", action="store_true", help="the demo engine, which draws without AI")
    add("--gpu", help="the index of the GPU among the visible ones, or its name")
    add("--port", type=int, help="the port of its web server")
    add("--output-dir", help="where images are copied to")
    add("--restart", nargs="?", const="on-failure", choices=("never", "on-failure"),
        help="restart it when it fails by itself")  # fmt: skip
    add("--auth", metavar="USER:SECRET", help="where the checkout's server wants a login")
    add("--timeout", type=float, help="seconds without progress after which to give up")
    add("--keep", dest="lifetime", action="store_const", const="detached", default="kernel",
        help="keep it through restarts of the kernel, until it idles for 30 minutes")  # fmt: skip
    add("--idle-timeout", type=float, help="seconds, with --keep")
    add("--sleep-after", type=float, help="seconds of idleness after which it gives memory back")
    add("--names", metavar="PATTERN", help="how images are called, such as '{date}/{seed}'")
    sharing = parser.add_mutually_exclusive_group()
    parser.listed(
        sharing.add_argument(
            "--new",
            dest="share",
            action="store_false",
            default=None,
            help="start a new one, though one like it runs",
        )
    )
    parser.listed(
        sharing.add_argument(
            "--share",
            action="store_true",
            default=None,
            help="share it with other kernels, also a demo engine",
        )
    )


def start_arguments(options: Namespace) -> dict[str, Any]:
    """Return the arguments of :func:`fooocus_nb.start`."""
    given = {name: value for name, value in vars(options).items() if value is not None}
    given["args"] = given.pop("flags")
    return given


def run(session: Session, options: Namespace) -> None:
    """Start an engine, and show how far it is."""
    with session.starting() as monitor:
        monitor.done(manager.start(**start_arguments(options), on_progress=monitor))


VERB = Verb(
    "start an engine: [--path P] [--demo] [--gpu N] [--restart] [--keep] [-- FLAGS]",
    run,
    add_options,
    flags=True,
)
