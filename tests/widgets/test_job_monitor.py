"""What the monitor of a cell shows of a generation, while it runs and however it ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import fooocus_nb
from fooocus_nb.errors import EngineError
from fooocus_nb.fooocus.events import Progress
from fooocus_nb.widgets.job_monitor import JobMonitor, JobViewBuilder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fooocus_nb import Engine, Job
    from fooocus_nb.widgets._html import View

ASKED: dict[str, Any] = {"width": 128, "height": 128, "steps": 40, "image_number": 2}


class Screen:
    """A display backend that keeps what it is given."""

    def __init__(self) -> None:
        self.views: list[View] = []
        self.final: dict[str, Any] | None = None

    def watch(self, job: Job, on_command: object) -> None:
        pass

    def draw(self, view: View) -> None:
        self.views.append(view)

    def finish(self, bundle: dict[str, Any] | None) -> None:
        self.final = bundle


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    env = {"FOOOCUS_DEMO_STEP_SECONDS": "0.02"}
    with fooocus_nb.start(demo=True, output_dir=tmp_path, env=env, timeout=60) as started:
        yield started


def submit(engine: Engine, **asked: Any) -> Job:
    """Submit a generation, and return it when it has begun to sample."""
    sampling = threading.Event()
    job = engine.submit("a harbour", **{**ASKED, **asked})

    def listen(event: object) -> None:
        if isinstance(event, Progress) and event.step:
            sampling.set()

    job.subscribe(listen)
    assert sampling.wait(60)
    return job


def test_only_what_is_done_is_at_100_percent(engine: Engine) -> None:
    stopped = submit(engine)
    stopped.stop()
    stopped.result(timeout=60)
    view = JobViewBuilder().view(stopped)
    assert view.stage == "Stopped"
    assert view.percent is not None
    assert view.percent < 100

    done = submit(engine, steps=3, image_number=1)
    assert len(done.result(timeout=60)) == 1
    view = JobViewBuilder().view(done)
    assert (view.stage, view.percent) == ("Done", 100)

    failed = submit(engine)
    psutil.Process(engine.pid).kill()
    with pytest.raises(EngineError):
        failed.result(timeout=60)
    view = JobViewBuilder().view(failed)
    assert view.stage == "Failed"
    assert view.percent is not None
    assert view.percent < 100


def test_the_images_replace_the_monitor(engine: Engine) -> None:
    screen = Screen()
    job = engine.submit("a harbour", **{**ASKED, "steps": 3})
    with JobMonitor(job, backend=screen) as monitor:
        job.result(timeout=60)
    assert screen.views
    assert screen.final is not None
    assert {"text/html", "text/plain", "image/png"} <= set(screen.final)
    result = monitor.result()
    assert result is not None
    assert screen.final["text/plain"] == repr(result)
