"""How long a child that prints at full speed waits while a cell holds the interpreter for 10 s.

Run it with ``python benchmarks/stalls.py``; it takes about a minute and a half. The baseline is the
usual way: a thread in the kernel that reads the child's pipe. Both are run three times, in turn.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from _kernel import kernel

RUNS = 3
HOLD_SECONDS = 10
BOUND_SECONDS = 0.1

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
command = [sys.executable, "-I", "-S", "-c", {child!r}, str(folder), str({seconds} + 1)]
def await_file(name):
    while not (folder / name).exists():
        time.sleep(0.01)
def hold():
    await_file("begun")
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


def stall(way: str) -> tuple[float, float]:
    """Return the child's worst stall in seconds, and how many MB it wrote."""
    with tempfile.TemporaryDirectory() as folder, kernel() as runner:
        runner.run(COMMON.format(folder=folder, child=CHILD, seconds=HOLD_SECONDS) + way)
        worst, written = (Path(folder) / "worst").read_text().split()
    return float(worst), int(written) / 1e6


def main() -> None:
    """Print the table."""
    ours, thread = [], []
    for _ in range(RUNS):
        ours.append(stall(OURS))
        thread.append(stall(THREAD))
    print(f"The child's worst single write while a cell holds the interpreter for {HOLD_SECONDS} s")
    for name, runs in (("guardian", ours), ("thread in the kernel", thread)):
        each = "  ".join(f"{worst * 1e3:>8.1f}" for worst, _ in runs)
        written = statistics.median(written for _, written in runs)
        print(f"  {name:<22}{each} ms   {written:>9,.0f} MB written")
    medians = [statistics.median(worst for worst, _ in runs) for runs in (ours, thread)]
    print(f"  median {medians[0] * 1e3:.1f} ms, ratio {medians[0] / medians[1]:.4f}")
    if medians[0] > BOUND_SECONDS:
        raise SystemExit(f"more than {BOUND_SECONDS * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
