"""``fooocus-nb logs``."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING

from fooocus_nb._html import clean
from fooocus_nb.cli.command import OK, Command, UsageError
from fooocus_nb.cli.engine_options import listed_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb.engine.listing import EngineInfo
    from fooocus_nb.supervisor import LineSplitter, LogReader

DEFAULT_LINES = 40
#: New lines are looked for this often: soon enough for a person who reads.
POLL_SECONDS = 0.2
READ_BYTES = 1 << 18


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("name", metavar="NAME", help="its name or its process id")
    parser.add_argument(
        "-n", type=_count, default=DEFAULT_LINES, metavar="N", help="lines (default: %(default)s)"
    )
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on with new lines until the engine ends"
    )


def _count(text: str) -> int:
    """Return a whole number that is not negative."""
    if not text.isdecimal():
        msg = f"{text!r} is no whole number from 0 up"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Print the last lines of a log, and go on with new ones where that is asked."""
    from fooocus_nb.supervisor import LineSplitter, LogReader, Tail

    if options.json and options.follow:
        msg = "--follow has no end, and --json prints one document at the end: give one of them"
        raise UsageError(msg)
    info = listed_engine(options.name)
    reader = LogReader(info.log_path)
    splitter, tail = LineSplitter(), Tail(max(options.n, 1))
    say = options.report.say
    try:
        while data := reader.read(READ_BYTES):
            for line in splitter.feed(data):
                tail.append(line)
        if not options.follow:
            for line in splitter.flush():
                tail.append(line)
        lines = [clean(line.text) for line in tail.lines()[-options.n :]] if options.n else []
        options.report.document = {
            "name": info.name,
            "log_path": str(info.log_path),
            "lines": lines,
        }
        for text in lines:
            say(text)
        if options.follow:
            _follow(info, reader, splitter, say)
            for line in splitter.flush():
                say(clean(line.text))
    finally:
        reader.close()
    return OK


def _follow(
    info: EngineInfo, reader: LogReader, splitter: LineSplitter, say: Callable[[str], None]
) -> None:
    """Tell what comes until the engine has ended, without being one of its users."""
    alive = True
    while alive:
        alive = info.runs()
        while data := reader.read(READ_BYTES):
            for line in splitter.feed(data):
                if not line.transient:
                    say(clean(line.text))
        threading.Event().wait(POLL_SECONDS)


COMMAND = Command(
    "show the log of an engine",
    "Shows the last lines of an engine's log.",
    add_options,
    run,
)
