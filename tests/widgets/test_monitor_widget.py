"""What a press on a monitor's button acts on: what was seen, whatever runs by then."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from fooocus_nb.widgets import monitor_widget
from fooocus_nb.widgets._html import View
from fooocus_nb.widgets.job_monitor import JobMonitor
from fooocus_nb.widgets.monitor_widget import LiveMonitor
from fooocus_nb.widgets.renderer import Renderer

if TYPE_CHECKING:
    from collections.abc import Callable

VIEW = View(title="a harbour", stage="Generating")


def job(name: str, told: list[str]) -> Any:
    return SimpleNamespace(
        session=name,
        engine=SimpleNamespace(pid=7),
        log=[],
        stop=lambda: told.append(f"stop {name}"),
        skip=lambda: told.append(f"skip {name}"),
        subscribe=lambda _: lambda: None,
    )


@pytest.fixture(autouse=True)
def sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_widget, "session_hash_of", lambda job: job.session)


def press(monitor: LiveMonitor, content: object) -> None:
    monitor._handle(monitor, content, [])


def test_what_is_seen_and_what_the_server_is_told_come_together() -> None:
    monitor = LiveMonitor()
    monitor.watch(job("first", []), lambda _: None)
    monitor.show(VIEW)
    assert monitor.view["generation"] == {"pid": "7", "session": "first"}
    number = monitor.view["job"]
    monitor.watch(job("second", []), lambda _: None)
    assert (monitor.view["job"], monitor.view["generation"]["session"]) == (number, "first")
    monitor.show(VIEW)
    assert (monitor.view["job"], monitor.view["generation"]["session"]) == (number + 1, "second")
    monitor.watch(None, lambda _: None)
    monitor.show(VIEW)
    assert monitor.view["generation"] == {}


def test_a_press_acts_on_the_generation_that_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monitor = LiveMonitor()
    monitor.watch(job("first", told), lambda verb: told.append(verb))
    monitor.show(VIEW)
    seen = monitor.view["job"]

    class Late:
        """A thread that runs when the next generation has begun."""

        def __init__(
            self, target: Callable[..., None], args: tuple[Any, ...], daemon: bool
        ) -> None:
            self.work = lambda: target(*args)

        def start(self) -> None:
            monitor.watch(job("second", told), lambda verb: told.append(f"second {verb}"))
            self.work()

    monkeypatch.setattr(monitor_widget, "threading", SimpleNamespace(Thread=Late))
    press(monitor, {"kind": "stop", "job": seen})
    assert told == ["stop", "stop first"]
    press(monitor, {"kind": "skip", "job": seen})  # it is seen no more
    assert told == ["stop", "stop first"]


@pytest.mark.parametrize("content", [None, [], "stop", 7])
def test_what_is_no_message_of_ours_is_ignored(content: object) -> None:
    press(LiveMonitor(), content)


def test_no_view_of_before_is_drawn_for_the_next_generation() -> None:
    order: list[str] = []
    drawing, go_on = threading.Event(), threading.Event()

    class Screen:
        def watch(self, job: Any, _on_command: object) -> None:
            order.append(f"watch {job.session}")

        def draw(self, view: View) -> None:
            order.append("draw")
            if len(order) > 2:
                drawing.set()
                assert go_on.wait(30)
                order.append("drawn")

        def finish(self, _bundle: object) -> None:
            pass

    screen = Screen()
    monitor = JobMonitor(backend=screen)
    monitor._renderer = Renderer(screen, lambda: VIEW)
    monitor.watch(job("first", []))
    monitor._renderer.wake()
    assert drawing.wait(30)
    next_one = threading.Thread(target=monitor.watch, args=(job("second", []),))
    next_one.start()
    next_one.join(0.2)
    go_on.set()
    next_one.join(30)
    monitor._renderer.end()
    assert order[:5] == ["watch first", "draw", "draw", "drawn", "watch second"]
