"""What ``%load_ext fooocus_nb`` costs, beside ``import gradio_client`` in a fresh process each.

Run it with ``python benchmarks/load_ext.py [RUNS]``. It ends by itself in half a minute.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = 9
LIMIT = 1 / 3

SHELL = """
import time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
began = time.perf_counter()
shell.run_line_magic("load_ext", "fooocus_nb")
print(time.perf_counter() - began)
"""
BASELINE = """
import time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
began = time.perf_counter()
import gradio_client
print(time.perf_counter() - began)
"""


def seconds(code: str) -> float:
    """Return what a fresh process measured."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> int:
    """Measure both in turn, so that a busy machine is equally busy for both."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    ours, baseline = [], []
    for _ in range(runs + 1):
        ours.append(seconds(SHELL))
        baseline.append(seconds(BASELINE))
    # The first run of each reads from the disk what the others find in memory.
    load, client = statistics.median(ours[1:]), statistics.median(baseline[1:])
    print(f"%load_ext fooocus_nb   {load * 1e3:8.1f} ms")
    print(f"import gradio_client   {client * 1e3:8.1f} ms")
    print(f"ratio                  {load / client:8.3f}  (at most {LIMIT:.3f})")
    return int(load > LIMIT * client)


if __name__ == "__main__":
    sys.exit(main())
