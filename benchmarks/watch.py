"""What the background watch of an idle engine costs, beside the same engine without one.

Run it with ``python benchmarks/watch.py``; it takes about a minute. To be measured at all, it looks
much more often than every five seconds, and the cost is counted per look.
"""

from __future__ import annotations

import os
import tempfile
import time

import psutil

import fooocus_nb

SECONDS = 20.0
INTERVAL = 0.1
USUAL_INTERVAL = 5.0
NEVER = 1e6


def cpu(engine: fooocus_nb.Engine, interval: float) -> tuple[float, float, float]:
    """Return the CPU seconds of kernel, guardian and engine over some time."""
    engine.watch_interval = interval
    time.sleep(1)
    processes = [
        psutil.Process(pid) for pid in (os.getpid(), engine._process.child.guardian_pid, engine.pid)
    ]

    def now() -> list[float]:
        return [sum(process.cpu_times()[:2]) for process in processes]

    before = now()
    time.sleep(SECONDS)
    kernel, guardian, server = (
        after - earlier for after, earlier in zip(now(), before, strict=True)
    )
    return kernel, guardian, server


def main() -> None:
    """Print the table."""
    with (
        tempfile.TemporaryDirectory() as folder,
        fooocus_nb.start(demo=True, output_dir=folder) as engine,
    ):
        without = cpu(engine, NEVER)
        looking = cpu(engine, INTERVAL)
    looks = SECONDS / INTERVAL
    print("CPU of an idle engine's watch, ms per look")
    total = 0.0
    for name, idle, busy in zip(("kernel", "guardian", "engine"), without, looking, strict=True):
        look = (busy - idle) / looks
        total += look
        idle_share = idle / SECONDS
        print(
            f"  {name:<9}{look * 1e3:>7.2f} ms   {look / USUAL_INTERVAL:>8.3%} of a core at every "
            f"{USUAL_INTERVAL:g} s, beside {idle_share:.3%} without a watch"
        )
    print(f"  together {total / USUAL_INTERVAL:.3%} of a core")


if __name__ == "__main__":
    main()
