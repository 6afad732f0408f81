"""An idle engine sleeps: its process ends, and the next use of it starts it again."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING

import psutil
import pytest

import fooocus_nb
from fooocus_nb import EngineState, cli
from fooocus_nb.errors import ConfigurationError, EngineError
from fooocus_nb.widgets._html import monitor_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb import Engine

SMALL = {"steps": 1, "image_number": 1, "width": 64, "height": 64}
SHARE = (
    "import time\n"
    "e = fooocus_nb.start(demo=True, share=True, timeout=30)\n"
    "e.watch_interval = 0.2\n"
    "value = e.pid"
)


def until(condition: Callable[[], object], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def ps(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    assert cli.main(["ps", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_idle_engine_sleeps_and_a_generation_wakes_it(start_demo, registry, capsys) -> None:
    engine = start_demo(sleep_after=0.5)
    engine.watch_interval = 0.2
    process = psutil.Process(engine.pid)
    engine.generate("one", **SMALL)
    until(lambda: engine.state is EngineState.ASLEEP)
    assert not process.is_running()
    assert (engine.pid, engine.url) == (None, None)
    assert "asleep" in repr(engine)
    assert "its memory is free" in engine.history[-1].reason
    assert "Asleep" in monitor_text(engine.monitor().view())
    # It is known without being woken.
    assert engine.health()
    assert "sampler_name" in engine.parameters
    assert engine.models
    assert [(info["name"], info["state"], info["pid"]) for info in ps(capsys)] == [
        ("demo", "asleep", 0)
    ]
    engine.sleep_after = None
    job = engine.submit("two", **SMALL)
    texts = []
    job.subscribe(lambda _: texts.append(job.snapshot().text))
    assert len(job.result(60)) == 1
    reasons = [change.reason for change in engine.history]
    assert "it was asleep, and is started again" in reasons
    assert engine.pid not in (None, process.pid)
    assert [info["state"] for info in ps(capsys)] == ["ready"]


@pytest.mark.slow
def test_it_says_to_who_waits_that_it_is_started_again(start_demo) -> None:
    engine = start_demo()
    assert engine.sleep()
    job = engine.submit("a cat", **SMALL)
    until(lambda: "started again" in job.snapshot().text or job.done())
    assert not job.done()
    assert job.result(60)
    assert job.snapshot().state == "done"


@pytest.mark.slow
def test_every_call_wakes_it(start_demo, capsys) -> None:
    from fooocus_nb.magics import dispatch

    engine = start_demo()
    dispatch.run(None, f"sleep --name {engine.name}", None)
    assert "is asleep" in capsys.readouterr().out
    assert engine.state is EngineState.ASLEEP
    image = engine.generate("a cat", **SMALL)[0]
    assert engine.sleep()
    assert engine.state is EngineState.ASLEEP
    assert engine.sleep()  # it is already
    assert engine.describe(image)
    assert engine.state is EngineState.READY
    engine.sleep()
    engine.wait_ready(60)
    assert engine.state is EngineState.READY
    engine.sleep()
    engine.restart()
    assert engine.state is EngineState.READY


@pytest.mark.slow
def test_stopping_one_that_sleeps(start_demo, registry, capsys) -> None:
    engine = start_demo()
    engine.sleep()
    assert cli.main(["stop", "--all"]) == 0
    assert "it sleeps" in capsys.readouterr().out
    (info,) = fooocus_nb.engines()
    with pytest.raises(EngineError, match="asleep"):
        info.stop()
    engine.stop()
    assert engine.state is EngineState.STOPPED
    assert ps(capsys) == []
    engine.restart()
    assert engine.generate("again", **SMALL)


def test_a_generation_keeps_it_awake(start_demo) -> None:
    engine = start_demo(slow=True)
    job = engine.submit("a cat", **{**SMALL, "steps": 30})
    until(lambda: engine.state is EngineState.BUSY)
    with pytest.raises(EngineError, match="busy"):
        engine.sleep()
    assert job.result(60)


def test_whoever_is_connected_to_its_page_keeps_it_awake(start_demo) -> None:
    engine = start_demo()
    looks = []
    well = engine._lifecycle.watchdog.well
    port = int(engine.url.rpartition(":")[2])
    page = socket.create_connection(("127.0.0.1", port), 5)
    # A process of ours is a kernel that uses it; a page is anybody else's.
    from fooocus_nb.engine import sleeping

    mine, sleeping._users = sleeping._users, lambda process: set()
    try:
        engine.sleep_after = 0.1
        engine.watch_interval = 0.1
        well.subscribe(looks.append)
        until(lambda: len(looks) > 10)
        assert engine.state is EngineState.READY
    finally:
        sleeping._users = mine
    page.close()
    until(lambda: engine.state is EngineState.ASLEEP)


def test_one_that_others_use_sleeps_when_all_agree(peer, registry) -> None:
    tired, working = peer(), peer()
    pid = tired.run(SHARE)
    assert working.run(SHARE) == pid
    tired.run("e.sleep_after = 0.3\nwhile not e._lifecycle.sleep.offered: time.sleep(0.02)")
    assert tired.value("str(e.state)") == "ready"
    assert tired.value("e.sleep()") is False
    # It takes it back while it generates itself.
    small = ", ".join(f"{name}={value}" for name, value in SMALL.items())
    assert tired.value(f"len(e.generate('a', {small}))") == 1
    assert working.value(f"len(e.generate('a', {small}))") == 1
    assert psutil.pid_exists(pid)
    working.run("e.sleep_after = 0.3")
    for each in (tired, working):
        each.run("while str(e.state) != 'asleep': time.sleep(0.02)")
    assert not psutil.pid_exists(pid)
    (info,) = fooocus_nb.engines()
    assert (info.state, info.users) == ("asleep", 2)
    # Whoever wakes it has it; the other one attaches to the same.
    tired.run("e.sleep_after = None")
    working.run("e.sleep_after = None")
    assert tired.value(f"len(e.generate('a', {small}))") == 1
    assert working.value(f"len(e.generate('a', {small}))") == 1
    assert tired.value("e.pid") == working.value("e.pid")


@pytest.mark.slow
def test_it_sleeps_when_the_one_leaves_who_kept_it_awake(peer, registry) -> None:
    tired, working = peer(), peer()
    pid = tired.run(SHARE)
    working.run(SHARE)
    tired.run("e.sleep_after = 0.3\nwhile not e._lifecycle.sleep.offered: time.sleep(0.02)")
    assert psutil.pid_exists(pid)
    working.run("e.stop()")
    tired.run("while str(e.state) != 'asleep': time.sleep(0.02)")
    assert not psutil.pid_exists(pid)


@pytest.mark.slow
def test_a_generation_on_the_way_to_sleep_is_not_lost(start_demo) -> None:
    """Whichever comes first: each is generated, by the engine that was there or a new one."""
    engine = start_demo(sleep_after=0.01)
    engine.watch_interval = 0.01
    for number in range(6):
        time.sleep(0.05 * number)  # another moment of falling asleep each time
        assert len(engine.generate(f"{number}", **SMALL)) == 1


@pytest.mark.parametrize("value", [0, -1, True, float("nan"), float("inf")])
def test_what_is_no_number_of_seconds_is_refused(value, start_demo) -> None:
    with pytest.raises(ConfigurationError, match="sleep_after"):
        start_demo(sleep_after=value)


def test_one_that_is_somebody_elses_is_not_put_to_sleep(demo_server) -> None:
    engine: Engine = fooocus_nb.connect(demo_server().url)
    with pytest.raises(ConfigurationError, match="somebody else"):
        engine.sleep()
    engine.stop()
