"""What the background watch of an idle engine costs, beside the same engine without one.

To be measured at all, it looks much more often than every five seconds, and the cost is counted per
look.
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

import psutil

import fooocus_nb
from benchmarks._table import Bound, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 20.0
QUICK_SECONDS = 5.0
INTERVAL = 0.1
USUAL_INTERVAL = 5.0
NEVER = 1e6
BOUND_PERCENT = 0.25


def cpu(engine: fooocus_nb.Engine, interval: float, seconds: float) -> float:
    """Return the CPU seconds of kernel, guardian and engine together over some time."""
    engine.watch_interval = interval
    time.sleep(1)
    processes = [
        psutil.Process(pid) for pid in (os.getpid(), engine._process.child.guardian_pid, engine.pid)
    ]

    def now() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    before = now()
    time.sleep(seconds)
    return now() - before


def rows(quick: bool) -> Iterator[Row]:
    """Yield the share of a core at the usual interval, beside the engine without a watch."""
    seconds = QUICK_SECONDS if quick else SECONDS
    with (
        tempfile.TemporaryDirectory() as folder,
        fooocus_nb.start(demo=True, share=False, output_dir=folder) as engine,
    ):
        without = cpu(engine, NEVER, seconds)
        looking = cpu(engine, INTERVAL, seconds)
    look = (looking - without) / (seconds / INTERVAL)
    idle = without / seconds * 100
    yield Row(
        f"CPU of an idle engine that is looked at every {USUAL_INTERVAL:g} s",
        idle + look / USUAL_INTERVAL * 100, "% of a core", "the same without a watch", idle,
        Bound("difference", BOUND_PERCENT),
    )  # fmt: skip
