"""What the standing monitor shows of an engine in each of its states."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

import fooocus_nb
from fooocus_nb.widgets import engine_monitor
from fooocus_nb.widgets._html import monitor_html

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fooocus_nb import Engine
    from fooocus_nb.widgets._html import View

ASKED = {"width": 128, "height": 128, "steps": 40, "image_number": 2}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    env = {"FOOOCUS_DEMO_STEP_SECONDS": "0.05"}
    with fooocus_nb.start(demo=True, output_dir=tmp_path, env=env, timeout=60) as started:
        yield started


def await_view(engine: Engine, true: Callable[[View], bool]) -> View:
    deadline = time.monotonic() + 60
    while not true(view := engine.monitor().view()):
        assert time.monotonic() < deadline, view
        time.sleep(0.02)
    return view


def test_a_whole_life(engine: Engine) -> None:
    assert engine.monitor() is engine.monitor()
    idle = engine.monitor().view()
    assert (idle.stage, idle.mark, idle.still, idle.box) == ("Ready", "ok", True, None)
    assert "progressbar" not in monitor_html(idle)
    assert f"pid {engine.pid}" in idle.facts

    first = engine.submit("a <b>harbour</b>", **ASKED)
    second = engine.submit("a lighthouse", **ASKED)
    busy = await_view(engine, lambda view: bool(view.preview))
    assert busy.title == "a <b>harbour</b>"
    assert busy.box == (128, 128)
    assert "1 more waiting" in busy.facts
    assert any(fact.startswith("step ") for fact in busy.facts)
    assert "&lt;b&gt;harbour" in monitor_html(busy)
    second.stop()
    await_view(engine, lambda view: bool(view.thumbnails))
    first.stop()
    assert len(first.result()) >= 1

    after = await_view(engine, lambda view: view.still)
    assert after.box == (128, 128)  # the last image stays, so that nothing jumps
    assert after.preview
    assert len(after.thumbnails) == len(first.result())

    psutil.Process(engine.pid).kill()
    dead = await_view(engine, lambda view: view.mark == "bad")
    assert dead.stage.startswith("Dead: ")
    assert "engine.restart()" in dead.line
    engine.restart(timeout=60)
    assert engine.monitor().view().stage == "Ready"
    engine.stop()
    assert engine.monitor().view().stage == "Stopped"
    assert "Stopped" in repr(engine.monitor())


def test_what_was_closed_and_shown_again_is_polled_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def memory_of(_pid: int | None) -> None:
        asked.set()
        assert go_on.wait(60)

    monkeypatch.setattr(engine_monitor, "memory_of", memory_of)
    monkeypatch.setattr(engine_monitor, "MEMORY_SECONDS", 0.01)
    monitor = engine.monitor()
    assert monitor.widget is not None
    assert asked.wait(60)
    (first,) = (each for each in threading.enumerate() if each.name == "fooocus-nb-memory")
    monitor.close()
    assert monitor.widget is not None
    go_on.set()
    first.join(10)
    assert not first.is_alive()
    monitor.close()
