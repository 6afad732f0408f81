"""The commands ``fooocus-nb ps``, ``stop`` and ``logs``."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING

from fooocus_nb.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from fooocus_nb.engine.listing import EngineInfo
    from fooocus_nb.supervisor import LineSplitter, LogReader

__all__ = ["add_commands"]

OK = 0
DEFAULT_LINES = 40
POLL_SECONDS = 0.2
READ_BYTES = 1 << 18
#: Longer than any grace: who has not ended by then is told of.
STOP_SECONDS = 120.0


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the three commands to those of ``fooocus-nb``."""
    parser = commands.add_parser(
        "ps",
        help="list your engines, whichever kernel has started them",
        description="Lists your engines on this machine, whichever kernel has started them.",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON array")
    parser.set_defaults(command=_ps)

    parser = commands.add_parser(
        "stop",
        help="stop an engine, whoever uses it",
        description="Stops an engine and all that it has started, whoever uses it.",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", metavar="NAME", help="its name or its process id")
    which.add_argument("--all", action="store_true", help="all of yours on this machine")
    parser.set_defaults(command=_stop)

    parser = commands.add_parser(
        "logs",
        help="show the log of an engine",
        description="Shows the last lines of an engine's log.",
    )
    parser.add_argument("name", metavar="NAME", help="its name or its process id")
    parser.add_argument(
        "-n", type=_count, default=DEFAULT_LINES, metavar="N", help="lines (default: %(default)s)"
    )
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on with new lines until the engine ends"
    )
    parser.set_defaults(command=_logs)


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _ps(options: argparse.Namespace) -> int:
    from fooocus_nb.engine.listing import engines

    found = engines()
    if options.json:
        print(json.dumps([info.as_dict() for info in found], indent=2))
    else:
        print(found)
    return OK


def _stop(options: argparse.Namespace) -> int:
    from fooocus_nb.engine.listing import engines, named

    found = engines()
    chosen = list(found) if options.all else [named(options.name, found)]
    elsewhere = [info for info in chosen if info.state == "elsewhere"]
    if elsewhere and not options.all:
        elsewhere[0].stop()  # which says why it cannot be done from here
    for info in elsewhere:
        print(f"{info.name} is left alone: it runs in another container or on another host.")
    chosen = [info for info in chosen if info not in elsewhere]
    # Each may take its grace, so they are asked together.
    threads = [threading.Thread(target=info.stop) for info in chosen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(STOP_SECONDS)
    left = {info.pid for info in engines()}
    for info in chosen:
        if info.pid in left:
            msg = f"Engine {info.name!r} (process {info.pid}) could not be stopped."
            raise ConfigurationError(msg)
        print(f"{info.name} ({info.pid}) is stopped.")
    if not found:
        print(found)
    return OK


def _logs(options: argparse.Namespace) -> int:
    from fooocus_nb.engine.listing import engines, named
    from fooocus_nb.supervisor import LineSplitter, LogReader, Tail

    info = named(options.name, engines())
    reader = LogReader(info.log_path)
    splitter, tail = LineSplitter(), Tail(max(options.n, 1))
    try:
        while data := reader.read(READ_BYTES):
            for line in splitter.feed(data):
                tail.append(line)
        for line in tail.lines()[-options.n :] if options.n else ():
            print(line.text)
        if options.follow:
            _follow(info, reader, splitter)
        for line in splitter.flush():
            print(line.text)
    finally:
        reader.close()
    return OK


def _follow(info: EngineInfo, reader: LogReader, splitter: LineSplitter) -> None:
    """Print what comes until the engine has ended, without being one of its users."""
    alive = True
    while alive:
        alive = info.runs()
        while data := reader.read(READ_BYTES):
            for line in splitter.feed(data):
                if not line.transient:
                    print(line.text)
        sys.stdout.flush()
        threading.Event().wait(POLL_SECONDS)
