"""What generations have freed goes back to the system, once after each."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading

import pytest

import fooocus_nb
from fooocus_nb.engine.free_memory import FreeMemory

PROGRAM = """
import psutil
from fooocus_nb.engine.free_memory import FreeMemory

def resident():
    return psutil.Process().memory_info().rss

memory = FreeMemory()
kept = [bytes(1000) for _ in range(60_000)]
del kept[:-1]  # the last one keeps the heap from shrinking by itself
before = resident()
memory.release()
assert before - resident() < 1e6
memory.note()
memory.release()
assert before - resident() > 30e6
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"),
    reason="glibc's alone keeps it",
)
def test_it_goes_back_to_the_system_after_a_generation() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    memory = FreeMemory()
    memory.note()
    memory.release()


def test_a_look_after_a_generation_releases_it(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Event()
    monkeypatch.setattr(FreeMemory, "release", lambda self: looked.set() if self._some else None)
    with fooocus_nb.start(demo=True, share=False, output_dir=tmp_path, timeout=60) as engine:
        engine.generate("a cat", image_number=1, steps=1, width=64, height=64)
        engine.watch_interval = 0.01
        assert looked.wait(60)
