"""From the kernel's SIGKILL until everything that its engine was made of has gone.

The engine has a child, a grandchild and a daemon that left its session. The baseline is the usual
way: the engine as a plain subprocess with an ``atexit`` handler that ends it.
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
from typing import TYPE_CHECKING

import psutil
from jupyter_client.manager import KernelManager

from benchmarks._table import Bound, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

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
            tree = []
            for pid in pids:
                # A child that only forks the daemon may have ended.
                with contextlib.suppress(psutil.NoSuchProcess):
                    tree.append(psutil.Process(pid))
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


def rows(quick: bool) -> Iterator[Row]:
    """Yield an engine that ends when it is asked to, and one that doesn't."""
    family = ("family", "daemon")
    plain = latency(PLAIN, *family)
    for name, faults, bound in (
        ("an engine that honours TERM", family, MARGIN),
        (f"one that ignores TERM, grace {GRACE:g} s", ("ignore-term", *family), GRACE + MARGIN),
    ):
        runs = [latency(OURS, *faults) for _ in range(1 if quick else RUNS)]
        gone = [PATIENCE if run is None else run for run in runs]
        yield Row(
            f"from the kernel's SIGKILL until all has gone: {name}", statistics.median(gone) * 1e3,
            "ms", "plain subprocess and `atexit`", None if plain is None else plain * 1e3,
            Bound("ours", bound * 1e3),
        )  # fmt: skip
