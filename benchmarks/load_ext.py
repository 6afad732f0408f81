"""What ``%load_ext fooocus_nb`` costs, beside ``import gradio_client`` in a fresh process each."""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks._table import Bound, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = 9
LIMIT = 0.33

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


def rows(quick: bool) -> Iterator[Row]:
    """Measure both in turn, so that a busy machine is equally busy for both."""
    # The first run of each reads from the disk what the others find in memory.
    pairs = [(seconds(SHELL), seconds(BASELINE)) for _ in range(1 + (3 if quick else RUNS))][1:]
    load, client = (statistics.median(times) * 1e3 for times in zip(*pairs, strict=True))
    yield Row(
        "`%load_ext fooocus_nb`", load, "ms", "`import gradio_client`", client,
        Bound("ratio", LIMIT),
    )  # fmt: skip
