"""What a start shows, from the lines of a log to the monitor."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import pytest

from fooocus_nb.fooocus.logs.startup import StartupTracker
from fooocus_nb.widgets._html import monitor_html, monitor_text
from fooocus_nb.widgets.start_monitor import StartMonitor, start_view

if TYPE_CHECKING:
    from fooocus_nb.widgets._html import View

DOWNLOAD = 'Downloading: "https://example.org/big.safetensors" to models/big.safetensors'
BAR = " 12%|█▏        | 1.12G/6.17G [00:19<02:24, 43.2MB/s]"


def engine_of(*lines: str) -> Any:
    tracker = StartupTracker()
    for line in lines:
        tracker.feed(line, transient="%|" in line)
    return types.SimpleNamespace(
        name="demo",
        startup=tracker.startup,
        stage_detail=tracker.detail,
        tail=lambda n: list(lines[-n:]),
    )


def stages(view: View) -> dict[str, str]:
    return dict(view.stages)


def test_a_download_shows_how_far_it_is_and_how_fast() -> None:
    view = start_view(engine_of("Fooocus version: 2.5.5", DOWNLOAD, BAR), 19.0)
    assert view.stage == "Downloading big.safetensors: 1.2 of 6.6 GB, 45.3 MB/s"
    assert view.percent == 18
    assert view.remaining == pytest.approx(119.7, abs=1)
    assert stages(view) == {
        "Process": "done",
        "Downloads": "now",
        "Engine": "next",
        "Models": "next",
        "Ready": "next",
    }
    assert "about 1:59 min left" in monitor_text(view)


def test_what_is_not_needed_is_no_stage() -> None:
    view = start_view(engine_of("Fooocus version: 2.5.5", "Running on local URL:  http://x:1"), 1.0)
    assert stages(view) == {
        "Process": "done",
        "Engine": "done",
        "Models": "now",
        "Ready": "next",
    }
    assert view.percent is None


def test_every_stage_is_marked_for_readers_of_the_screen() -> None:
    html = monitor_html(start_view(engine_of(DOWNLOAD, BAR), 1.0))
    assert html.count("<li") == 5
    assert html.count('aria-current="step"') == 1
    assert 'aria-valuenow="18"' in html


def test_an_engine_that_we_only_connect_to_has_no_stages() -> None:
    engine = types.SimpleNamespace(name="x", startup=None, stage_detail="", tail=lambda n: [])
    view = start_view(engine, 1.0)
    assert view.stages == ()
    assert view.stage == "Starting"


def test_a_start_draws_only_what_is_new() -> None:
    drawn: list[View] = []
    backend: Any = types.SimpleNamespace(draw=drawn.append, finish=lambda bundle: None)
    monitor = StartMonitor(backend=backend)
    engine = engine_of(DOWNLOAD, BAR)
    for _ in range(100):
        monitor(engine)
    assert len(drawn) == 1
