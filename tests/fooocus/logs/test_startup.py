from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fooocus_nb.fooocus.logs.startup import Stage, StartupTracker

if TYPE_CHECKING:
    import pytest

DOWNLOAD = 'Downloading: "https://example.org/m/big%20model.safetensors?x=1" to /models/big.st'


def fed(*lines: str) -> StartupTracker:
    tracker = StartupTracker()
    for line in lines:
        tracker.feed(line)
    return tracker


def test_a_whole_start() -> None:
    tracker = StartupTracker()
    seen = []
    for line in (
        "[System ARGV] ['launch.py', '--port', '7865']",
        "Fooocus version: 2.5.5",
        "Version mismatch for gradio: Installed version None does not meet requirement 3.41.2",
        "Collecting gradio==3.41.2",
        DOWNLOAD,
        "Total VRAM 24106 MB, total RAM 24106 MB",
        "Running on local URL:  http://127.0.0.1:7865",
        "Requested to load SDXLClipModel",
        "App started successful. Use the app with http://127.0.0.1:7865/ or 127.0.0.1:7865",
        "Fooocus version: 2.5.5",
        "Version mismatch for nothing: this must not take it back",
    ):
        tracker.feed(line)
        if not seen or seen[-1] is not tracker.stage:
            seen.append(tracker.stage)
    assert seen == [
        Stage.SPAWNED,
        Stage.LOADING,
        Stage.INSTALLING,
        Stage.DOWNLOADING,
        Stage.LOADING,
        Stage.HTTP_UP,
        Stage.READY,
    ]
    assert tracker.url == "http://127.0.0.1:7865"


def test_a_download_shows_size_and_speed() -> None:
    tracker = fed(DOWNLOAD)
    assert tracker.detail == "Downloading big model.safetensors"
    tracker.feed(" 12%|█▏        | 1.12G/6.17G [00:19<02:24, 43.2MB/s]", transient=True)
    assert tracker.download is not None
    assert tracker.download.total == int(6.17 * 2**30)
    assert tracker.download.path == "/models/big.st"
    assert tracker.detail == "Downloading big model.safetensors: 1.2 of 6.6 GB, 45.3 MB/s"
    tracker.feed("100%|██████████| 6.17G/6.17G [02:40<00:00, 43.2MB/s]")
    assert tracker.download is None


def test_small_downloads_and_unknown_speeds() -> None:
    tracker = fed(DOWNLOAD, "  0%|          | 0.00/1.50M [00:00<?, ?B/s]")
    assert tracker.detail == "Downloading big model.safetensors: 0.0 of 1.6 MB"


def test_only_what_moves_is_movement(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    tracker = fed(DOWNLOAD)
    now[0] = 200.0
    tracker.feed(" 12%|█▏  | 808M/6.62G [00:19<02:24, 43.2MB/s]", transient=True)
    assert tracker.last_movement == 200.0
    now[0] = 300.0
    tracker.feed(" 12%|█▏  | 808M/6.62G [01:59<02:24, 1.2MB/s]", transient=True)
    tracker.feed("   ")
    assert tracker.last_movement == 200.0
    tracker.feed("any other line")
    assert tracker.last_movement == 300.0
    now[0] = 400.0
    tracker.feed("spin", transient=True)
    now[0] = 500.0
    tracker.feed("spin", transient=True)
    assert tracker.last_movement == 400.0


def test_a_dead_worker() -> None:
    tracker = fed(
        "Running on local URL:  http://127.0.0.1:1", "Exception in thread Thread-2 (worker):"
    )
    assert tracker.worker_dead
    assert not fed("Exception in thread Thread-3 (reader):").worker_dead
    assert not fed("[Prompt Expansion] Exception in thread x (worker)").worker_dead


def test_a_dead_worker_without_its_name() -> None:
    """Python 3.9 does not say whose thread has ended; its traceback does."""
    nameless = "Exception in thread Thread-2:"
    beginning = (
        "Traceback (most recent call last):",
        '  File "/usr/lib/threading.py", line 973, in x',
    )
    worker = '  File "/opt/Fooocus/modules/async_worker.py", line 25, in worker'
    other = '  File "/env/site-packages/gradio/analytics.py", line 50, in x'
    assert not fed(nameless, *beginning).worker_dead
    assert fed(nameless, *beginning, worker).worker_dead
    joint = ("KeyError: 'x'", "", "During handling of the above exception, another one occurred:")
    assert fed(nameless, *beginning, *joint, "", *beginning, worker).worker_dead
    assert not fed(
        nameless, *beginning, other, "KeyError: 'x'", "Total time: 1", worker
    ).worker_dead
    assert not fed(*beginning, worker, "KeyError: 'a failed generation'").worker_dead


def test_a_lost_gpu() -> None:
    for error in (
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        "torch.AcceleratorError: HIP error: unspecified launch failure",
    ):
        assert fed(error).device_lost
        assert not fed(f"[Prompt Expansion] {error}").device_lost
    assert not fed("RuntimeError: CUDA error: out of memory").device_lost
    assert not fed("watercolour: a device is lost, an illegal address, device removed").device_lost


def test_a_download_after_the_start_does_not_take_readiness_back() -> None:
    tracker = fed("App started successful. Use the app with http://h:1/ or h:1", DOWNLOAD)
    assert tracker.stage is Stage.READY
    assert tracker.url == "http://h:1"


def test_floods_cost_nothing() -> None:
    tracker = fed(DOWNLOAD)
    begin = time.thread_time()
    for text in ("1" * 5_000_000, "|" * 5_000_000, "1%|" * 1_000_000, "[" * 5_000_000):
        tracker.feed(text, transient=True)
        tracker.feed(text)
    assert time.thread_time() - begin < 2
