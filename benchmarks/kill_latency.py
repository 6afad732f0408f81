"""From the kernel's SIGKILL until everything that its engine was made of has gone.

Run it with ``python benchmarks/kill_latency.py``; it takes about a minute. The engine has a child,
a grandchild and a daemon that left its session. The baseline is the usual way: the engine as a
plain subprocess with an ``atexit`` handler that ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
from jupyter_client.manager import KernelManager

RUNS = 5
GRACE = 1.0
MARGIN = 0.25
#: When to believe that something stays for ever.
PATIENCE = 5.0
POLL_SECONDS = 0.001

OURS = """
import fooocus_nb, psutil, re, time
faults = {faults!r}
engine = fooocus_nb.start(demo=True, grace={grace}, output_dir={folder!r},
                          args=[word for fault in faults for word in ("--fault", fault)])
found = []
while len(found) < 3:
    said = re.findall(r"Started (?:family|daemon) with PIDs? ([0-9 ]+)", "|".join(engine.tail(99)))
    found = [int(word) for words in said for word in words.split()]
    time.sleep(0.01)
pids = [engine.pid, engine._process.child.guardian_pid, *found]
"""

PLAIN = """
import atexit, subprocess, sys, time, psutil
command = [sys.executable, "-m", "fooocus_nb.demo", "--port", "0", "--temp-path", {folder!r}]
for fault in {faults!r}:
    command += ["--fault", fault]
process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
atexit.register(process.terminate)
while len(psutil.Process(process.pid).children(recursive=True)) < 2:
    time.sleep(0.01)
pids = [process.pid, *(p.pid for p in psutil.Process(process.pid).children(recursive=True))]
"""

TELL = """
import json, pathlib
pathlib.Path({folder!r}, "pids.new").write_text(json.dumps(pids))
pathlib.Path({folder!r}, "pids.new").replace(pathlib.Path({folder!r}, "pids"))
"""


def latency(way: str, *faults: str) -> float | None:
    """Return the seconds until all had gone; None when something stayed."""
    with tempfile.TemporaryDirectory() as folder:
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(
            env=os.environ | {"FOOOCUS_DEMO_STEP_SECONDS": "0"}, stderr=subprocess.DEVNULL
        )
        client = manager.blocking_client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=60)
            code = (way + TELL).format(faults=faults, grace=GRACE, folder=folder)
            reply = client.execute_interactive(code, timeout=60, output_hook=lambda _: None)
            if reply["content"]["status"] != "ok":
                raise SystemExit("\n".join(reply["content"]["traceback"]))
            pids = json.loads((Path(folder) / "pids").read_text())
            tree = [psutil.Process(pid) for pid in pids]
            began = time.perf_counter()
            os.kill(manager.provisioner.pid, 9)
            return wait_gone(tree, began)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
            manager.cleanup_resources()


def wait_gone(tree: list[psutil.Process], began: float) -> float | None:
    while any(map(alive, tree)):
        if time.perf_counter() - began > PATIENCE:
            for process in tree:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            return None
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - began


def alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def main() -> None:
    """Print the table."""
    family = ("family", "daemon")
    cases = (
        ("the engine honours TERM", OURS, family, MARGIN),
        (f"it ignores TERM, grace {GRACE:g} s", OURS, ("ignore-term", *family), GRACE + MARGIN),
        ("plain subprocess and atexit", PLAIN, family, None),
    )
    print("From the kernel's SIGKILL to the whole tree gone, in ms")
    missed = []
    for name, way, faults, bound in cases:
        runs = [latency(way, *faults) for _ in range(RUNS if bound else 1)]
        gone = [run for run in runs if run is not None]
        each = "  ".join("never" if run is None else f"{run * 1e3:.0f}" for run in runs)
        middle = f"median {statistics.median(gone) * 1e3:.0f}" if gone else "never"
        print(f"  {name:<30} {middle:<14} ({each})", flush=True)
        if bound is not None and (len(gone) < len(runs) or statistics.median(gone) > bound):
            missed.append(name)
    if missed:
        raise SystemExit(f"above the bound: {', '.join(missed)}")


if __name__ == "__main__":
    main()
