"""What a look at an engine tells: its parts, its memory, and the graphics cards."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from fooocus_nb import EngineState
from fooocus_nb.engine.health import Gpu, gpus, measure_usage
from fooocus_nb.errors import ConfigurationError, EngineError, EngineTimeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

posix = pytest.mark.skipif(os.name == "nt", reason="the program is a script for sh")

LINES = """
echo '0, NVIDIA A100-SXM4-80GB, 1024, 81920'
echo '1, NVIDIA GeForce RTX 4090, Laptop GPU, 512, 16384'
echo '2, Broken card, [N/A], [N/A]'
"""


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a program of that name on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(body: str) -> Path:
        program = folder / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        return program

    return make


@posix
def test_graphics_cards(nvidia_smi):
    nvidia_smi(LINES)
    assert gpus() == (
        Gpu(0, "NVIDIA A100-SXM4-80GB", 1 << 30, 80 << 30),
        Gpu(1, "NVIDIA GeForce RTX 4090, Laptop GPU", 1 << 29, 16 << 30),
    )
    assert str(gpus()[0]) == "GPU 0 1.1 of 85.9 GB"


@posix
@pytest.mark.parametrize(
    "body", ["echo 'NVIDIA-SMI has failed'; exit 9", "printf '\\377\\n'", "exec sleep 60"]
)
def test_a_driver_that_does_not_answer_tells_nothing(nvidia_smi, body):
    nvidia_smi(body)
    assert gpus(timeout=0.5) == ()


def test_without_nvidia_there_are_none(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == ()


def test_memory_of_the_machine_and_of_a_family(tmp_path, monkeypatch):
    vitals = measure_usage(os.getpid())
    assert vitals.memory > 1e6
    assert 0 < vitals.available <= vitals.total
    assert measure_usage(None).memory is None
    # In a container, its own limit counts.
    for name, text in {
        "memory.max": "1000000000",
        "memory.current": "900000000",
        "memory.stat": "anon 1\ninactive_file 300000000\n",
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("fooocus_nb.engine.health._CONTROL_GROUP", tmp_path)
    assert measure_usage(None).total == 1_000_000_000
    assert measure_usage(None).available == 400_000_000
    (tmp_path / "memory.max").write_text("max")
    assert measure_usage(None).total == vitals.total


@posix
def test_health_tells_of_everything(start_demo, nvidia_smi):
    nvidia_smi(LINES)
    engine = start_demo("cue=/nonexistent")
    health = engine.health()
    assert health.ok
    assert health.guardian
    assert health.silence is None
    assert 0 < health.memory < health.available
    assert [gpu.index for gpu in health.gpus] == [0, 1]
    assert "GPU 1" in str(health)
    job = engine.submit("a cat", image_number=1, width=64, height=64)
    deadline = time.monotonic() + 20
    while (health := engine.health()).silence is None or health.silence < 0.1:
        assert time.monotonic() < deadline
    assert health.queued == 1
    assert health.worker
    assert health.state is EngineState.BUSY
    engine.stop()
    assert not engine.health().ok
    assert isinstance(job.exception(), EngineError)


def test_the_watch_ends_with_the_engine(start_demo):
    def watching():
        return [
            thread.name for thread in threading.enumerate() if thread.name.endswith("-watch-seen")
        ]

    engine = start_demo(name="seen")
    assert watching() == ["fooocus-nb-watch-seen"]
    engine.restart()
    assert watching() == ["fooocus-nb-watch-seen"]
    for name in ("watch_interval", "answer_timeout"):
        with pytest.raises(ConfigurationError, match=f"{name}=0"):
            setattr(engine, name, 0)
    engine.stop()
    assert watching() == []


def test_waiting_until_it_is_ready(start_demo):
    engine = start_demo()
    asyncio.run(engine.await_ready())
    heard = []
    unsubscribe = engine.subscribe(heard.append)
    restarting = threading.Thread(target=engine.restart)
    restarting.start()
    deadline = time.monotonic() + 20
    while not any(change.state is EngineState.STARTING for change in heard):
        assert time.monotonic() < deadline
    engine.wait_ready(20)
    restarting.join(20)
    unsubscribe()
    assert engine.state is EngineState.READY
    engine.stop()
    with pytest.raises(EngineError, match="was stopped"):
        engine.wait_ready(0.1)


def test_one_that_does_not_become_ready_in_time(start_demo, monkeypatch):
    engine = start_demo()
    monkeypatch.setattr(engine._lifecycle, "mark_recovered", lambda: None)
    engine._state.move(EngineState.UNRESPONSIVE, "for the test")
    with pytest.raises(EngineTimeout, match=r"unresponsive \(for the test\)"):
        engine.wait_ready(0.2)
