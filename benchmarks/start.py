"""From the call of ``start`` until an engine can generate, beside a bare Popen of the program."""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import httpx

import fooocus_nb
from benchmarks._table import Bound, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = 7
TIMEOUT = 60.0
#: Beside a program that is up in a second; Fooocus takes half a minute.
BOUND_SECONDS = 1.0


def ours() -> float:
    """Start a demo engine until it is ready to generate; return the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with fooocus_nb.start(demo=True, share=False, output_dir=folder):
            return time.perf_counter() - began


def popen() -> float:
    """Start the same program by itself until its page answers; return the seconds."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [sys.executable, "-m", "fooocus_nb.demo", "--port", str(port)]
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--temp-path", folder],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            with httpx.Client() as client:
                while time.perf_counter() - began < TIMEOUT:
                    try:
                        client.get(f"http://127.0.0.1:{port}/config").raise_for_status()
                    except httpx.TransportError:
                        time.sleep(0.01)
                    else:
                        return time.perf_counter() - began
            raise SystemExit("the demo engine has not answered")
        finally:
            process.terminate()
            process.wait(10)


def rows(quick: bool) -> Iterator[Row]:
    """Measure both in turn; the first of each warms up."""
    runs = [(ours(), popen()) for _ in range(3 if quick else RUNS)][1:]
    mine, bare = (statistics.median(times) for times in zip(*runs, strict=True))
    yield Row(
        "start of a demo engine until it can generate", mine, "s",
        "Popen until its page answers", bare, Bound("difference", BOUND_SECONDS),
    )  # fmt: skip
