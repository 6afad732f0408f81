"""What kernel and guardian hold over 3,000 generations of one engine, without faults."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import psutil

import fooocus_nb
from benchmarks._table import Bound, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

GENERATIONS = 3000
QUICK_GENERATIONS = 300
SMALL = {"image_number": 1, "width": 64, "height": 64, "steps": 1}
GUARDIAN_MB = 15.0
GROWTH_MB = 5.0


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
        fooocus_nb.start(
            demo=True, share=False, env={"FOOOCUS_DEMO_STEP_SECONDS": "0"}, output_dir=folder
        ) as engine,
    ):
        kernel = [0.0, 0.0, 0.0]
        for third in range(3):
            for number in range(generations // 3):
                engine.generate("a cat", seed=third * generations + number, **SMALL)
            kernel[third] = megabytes(os.getpid())
        guardian = megabytes(engine._process.child.guardian_pid)
    yield Row(
        f"guardian's memory after {generations:,} generations", guardian, "MB",
        "a Python that only waits", bare_python(), Bound("ours", GUARDIAN_MB),
    )  # fmt: skip
    yield Row(
        f"kernel's memory after {generations:,} generations", kernel[2], "MB",
        f"the same after {generations // 3:,}", kernel[0], Bound("difference", GROWTH_MB),
    )  # fmt: skip
