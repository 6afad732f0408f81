"""What kernel and guardian hold over 3,000 generations of one engine, without faults."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks._kernel import kernel
from benchmarks._table import Bound, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

GENERATIONS = 3000
QUICK_GENERATIONS = 300
PARTS = 10
SMALL = {"image_number": 1, "width": 64, "height": 64, "steps": 1}
GUARDIAN_MB = 15.0
GROWTH_MB = 5.0


START = """
import json, pathlib, psutil
import fooocus_nb
engine = fooocus_nb.start(demo=True, share=False, output_dir={folder!r})
"""
GENERATE = """
for number in range({begin}, {end}):
    engine.generate("a cat", seed=number, **{small!r})
"""
TELL = """
pids = [None, engine._process.child.guardian_pid]
sizes = [psutil.Process(pid).memory_info().rss for pid in pids]
pathlib.Path({folder!r}, "sizes").write_text(json.dumps(sizes))
"""


def megabytes(pid: int) -> float:
    """Return the resident memory of a process."""
    return psutil.Process(pid).memory_info().rss / 1e6


def bare_python() -> float:
    """Return the resident memory of a Python that does nothing but wait for its input."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        found = megabytes(process.pid)
        process.stdin.write("\n")
        process.stdin.close()
        process.wait(10)
    return found


def rows(quick: bool) -> Iterator[Row]:
    """Yield the guardian beside a bare Python, and the kernel beside itself after a third."""
    generations = QUICK_GENERATIONS if quick else GENERATIONS
    with (
        tempfile.TemporaryDirectory() as folder,
        kernel(FOOOCUS_DEMO_STEP_SECONDS="0") as runner,
    ):
        runner.run(START.format(folder=folder))
        sizes = []
        for third in range(3):
            # Not in one cell, which may take five minutes at the most.
            for part in range(PARTS):
                count = generations // 3 // PARTS
                begin = (third * PARTS + part) * count
                runner.run(GENERATE.format(begin=begin, end=begin + count, small=SMALL))
            runner.run(TELL.format(folder=folder))
            sizes.append(json.loads((Path(folder) / "sizes").read_text()))
        runner.run("engine.stop()")
    (first, _), _, (last, guardian) = sizes
    yield Row(
        f"guardian's memory after {generations:,} generations", guardian / 1e6, "MB",
        "a Python that only waits", bare_python(), Bound("ours", GUARDIAN_MB),
    )  # fmt: skip
    yield Row(
        f"kernel's memory after {generations:,} generations", last / 1e6, "MB",
        f"the same after {generations // 3:,}", first / 1e6, Bound("difference", GROWTH_MB),
    )  # fmt: skip
