"""``fooocus-nb stop``."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from fooocus_nb.cli.command import OK, Command
from fooocus_nb.cli.engine_options import listed_engine
from fooocus_nb.errors import ConfigurationError, FooocusError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from fooocus_nb.engine.listing import EngineInfo

_WHY = {
    "elsewhere": "it runs in another container or on another host",
    "asleep": "it sleeps, so nothing of it runs",
}
#: Longer than any grace: an engine that has not ended by then is an error.
STOP_SECONDS = 120.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", metavar="NAME", help="its name or its process id")
    which.add_argument("--all", action="store_true", help="all of yours on this machine")


def run(options: argparse.Namespace) -> int:
    """Stop one engine or all."""
    from fooocus_nb.engine.listing import engines

    found = engines()
    chosen = list(found) if options.all else [listed_engine(options.name, found)]
    elsewhere = [info for info in chosen if info.state in ("elsewhere", "asleep")]
    if elsewhere and not options.all:
        elsewhere[0].stop()  # which says why it cannot be done from here
    report = options.report
    stopped: list[dict[str, object]] = []
    report.document = {"stopped": stopped, "left_alone": [info.name for info in elsewhere]}
    for info in elsewhere:
        report.say(f"{info.name} is left alone: {_WHY[info.state]}.")
    chosen = [info for info in chosen if info not in elsewhere]
    reasons = _stop(chosen)
    running = {info.pid for info in engines()}
    for info in chosen:
        if info.pid not in running:
            stopped.append({"name": info.name, "pid": info.pid})
            report.say(f"{info.name} ({info.pid}) is stopped.")
    left = [
        f"Engine {info.name!r} (process {info.pid}) could not be stopped. {reasons[info.pid]}"
        for info in chosen
        if info.pid in running
    ]
    if left:
        raise ConfigurationError("\n".join(left))
    if not found:
        report.say(str(found))
    return OK


def _stop(chosen: Sequence[EngineInfo]) -> dict[int, str]:
    """Stop engines; return why one may go on, by its process id."""
    reasons = {info.pid: f"It was given {STOP_SECONDS:g} s to end." for info in chosen}

    def stop(info: EngineInfo) -> None:
        try:
            info.stop()
        except (FooocusError, OSError) as error:
            reasons[info.pid] = str(error)

    # Each may take its grace, so they are asked together. Daemons, so that one that never answers
    # does not hold the command.
    threads = [threading.Thread(target=stop, args=(info,), daemon=True) for info in chosen]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + STOP_SECONDS
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    return reasons


COMMAND = Command(
    "stop an engine, whoever uses it",
    "Stops an engine and all that it has started, whoever uses it.",
    add_options,
    run,
)
