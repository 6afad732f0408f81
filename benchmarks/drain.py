"""What a child can print, and how long it waits while a cell holds the interpreter.

The baselines are the usual way, a thread in the kernel that reads the child's pipe, and ``cat``,
which does nothing but read it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._kernel import kernel
from benchmarks._table import Bound, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = 3
HOLD_SECONDS = 10
QUICK_HOLD_SECONDS = 3
WRITE_SECONDS = 3
BOUND_MS = 100.0

#: Writes without a pause, and then tells the longest that one write took.
CHILD = """
import os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
line, worst, written, began = b"x" * 4095 + b"\\n", 0.0, 0, time.perf_counter()
(folder / "begun").touch()
while time.perf_counter() - began < float(sys.argv[2]):
    before = time.perf_counter()
    os.write(1, line)
    worst = max(worst, time.perf_counter() - before)
    written += len(line)
(folder / "new").write_text(f"{worst} {written}")
(folder / "new").replace(folder / "worst")
"""

COMMON = """
import ctypes, os, pathlib, subprocess, sys, threading, time
folder = pathlib.Path({folder!r})
command = [sys.executable, "-I", "-S", "-c", {child!r}, str(folder), str({writes})]
def await_file(name):
    while not (folder / name).exists():
        time.sleep(0.01)
def hold():
    await_file("begun")
    if {seconds}:
        ctypes.PyDLL(None).sleep({seconds})  # as any C code does that does not let go of the GIL
    await_file("worst")
"""

OURS = """
from fooocus_nb.supervisor import ChildSpec, Process
(folder / "run").mkdir(mode=0o700)
process = Process.start(ChildSpec(argv=tuple(command), env=dict(os.environ), name="writer",
                                  run_dir=folder / "run", log_path=folder / "engine.log"))
hold()
process.stop()
"""

THREAD = """
process = subprocess.Popen(command, stdout=subprocess.PIPE)
def drain():
    while os.read(process.stdout.fileno(), 1 << 18):
        pass
threading.Thread(target=drain, daemon=True).start()
hold()
process.wait(30)
process.stdout.close()
"""


def in_kernel(way: str, hold: int) -> tuple[float, float]:
    """Return the child's worst stall in ms, and how many MB it wrote in a second."""
    writes = hold + 1 if hold else WRITE_SECONDS
    with tempfile.TemporaryDirectory() as folder, kernel() as runner:
        common = COMMON.format(folder=folder, child=CHILD, seconds=hold, writes=writes)
        runner.run(common + way)
        worst, written = (Path(folder) / "worst").read_text().split()
    return float(worst) * 1e3, int(written) / 1e6 / writes


def cat() -> float:
    """Return how many MB the child writes in a second into a pipe that ``cat`` reads."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-I", "-S", "-c", CHILD, folder, str(WRITE_SECONDS)]
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE) as child,
            subprocess.Popen(["cat"], stdin=child.stdout, stdout=subprocess.DEVNULL),
        ):
            assert child.stdout is not None
            child.stdout.close()
        _, written = (Path(folder) / "worst").read_text().split()
    return int(written) / 1e6 / WRITE_SECONDS


def rows(quick: bool) -> Iterator[Row]:
    """Yield the stall of a busy kernel, and the throughput of an idle one."""
    hold, runs = (QUICK_HOLD_SECONDS, 1) if quick else (HOLD_SECONDS, RUNS)
    stalls = [(in_kernel(OURS, hold)[0], in_kernel(THREAD, hold)[0]) for _ in range(runs)]
    mine, thread = (statistics.median(times) for times in zip(*stalls, strict=True))
    yield Row(
        f"worst write of a child while a cell holds the interpreter for {hold} s", mine, "ms",
        "a thread in the kernel", thread, Bound("ours", BOUND_MS),
    )  # fmt: skip
    speeds = [(in_kernel(OURS, 0)[1], in_kernel(THREAD, 0)[1], cat()) for _ in range(runs)]
    mine, thread, plain = (statistics.median(found) for found in zip(*speeds, strict=True))
    what = "what a child can print, into a log of bounded size"
    yield Row(what, mine, "MB/s", "`cat` into nothing", plain)
    yield Row(what, mine, "MB/s", "a thread in an idle kernel", thread)
