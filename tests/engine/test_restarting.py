"""When an engine that failed is restarted by itself, and when not."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import pytest
from IPython.core.error import UsageError

from fooocus_nb import EngineState, RestartPolicy
from fooocus_nb.engine.watchdog import Restarts, restart_policy
from fooocus_nb.errors import (
    ConfigurationError,
    EngineDied,
    EngineError,
    EngineStopped,
    GPUUnusable,
    WorkerDead,
)
from fooocus_nb.magics.parsing import parse_verb_line
from fooocus_nb.magics.verbs.start import start_arguments

FAST = RestartPolicy(limit=2, first_delay=0.05)


def wait_for(condition, timeout=60.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def test_each_restart_waits_longer_up_to_a_bound():
    policy = RestartPolicy(limit=9, first_delay=1, longest_delay=60)
    assert [policy.delay(before) for before in range(10)] == [1, 2, 4, 8, 16, 32, 60, 60, 60, None]
    assert RestartPolicy(limit=10**6).delay(10**5) == 60


def test_restarts_are_counted_within_a_window():
    restarts = Restarts(RestartPolicy(limit=1, window=0.05))
    restarts.add()
    assert restarts.next_delay() is None
    wait_for(lambda: restarts.next_delay() == 1.0)
    assert restarts.count == 0


def test_the_ways_to_say_it():
    assert restart_policy(None) is None
    assert restart_policy("never") is None
    assert restart_policy("on-failure") == RestartPolicy()
    assert restart_policy(FAST) is FAST
    with pytest.raises(ConfigurationError, match="Did you mean 'on-failure'"):
        restart_policy("on_failure")
    with pytest.raises(ConfigurationError, match="limit=0"):
        RestartPolicy(limit=0)
    with pytest.raises(ConfigurationError, match="window=-1"):
        RestartPolicy(window=-1)
    with pytest.raises(ConfigurationError, match="first_delay=nan"):
        RestartPolicy(first_delay=float("nan"))


def kill(engine):
    os.kill(engine.pid, signal.SIGKILL)


def states(engine):
    return [change.state for change in engine.history]


def test_an_engine_comes_back_until_it_failed_too_often(start_demo):
    engine = start_demo(restart=FAST)
    for number in (1, 2):
        before = engine.pid
        kill(engine)
        wait_for(lambda: engine.state is not EngineState.READY)
        engine.wait_ready(20)
        assert engine.pid != before
        assert len(engine.generate("x", image_number=1, steps=1, width=64, height=64)) == 1
        reasons = [change.reason for change in engine.history]
        assert (
            f"restart {number} of at most 2 within 600 s follows in {number * 0.05:g} s" in reasons
        )
    kill(engine)
    wait_for(lambda: engine.state is EngineState.DEAD)
    with pytest.raises(EngineDied):
        engine.wait_ready(20)
    assert engine.state is EngineState.DEAD
    assert "not restarted again" in engine.history[-1].reason
    engine.restart()  # by hand it always works, and begins to count anew
    assert engine.health().ok


def test_a_generation_in_flight_raises_and_is_not_sent_again(start_demo):
    engine = start_demo("crash", restart=FAST)
    with pytest.raises(EngineDied, match="restarted by itself"):
        engine.generate("x", image_number=1, steps=2, width=64, height=64)
    engine.wait_ready(20)
    assert not engine._queue.jobs
    assert not any("Seed" in line for line in engine.tail(200))  # the new one was asked nothing
    assert states(engine).count(EngineState.DEAD) == 1 + 1  # the death, and the plan that follows


def test_a_dead_worker_is_a_failure_too(start_demo):
    engine = start_demo("dead-worker", restart=FAST)
    with pytest.raises(EngineError):
        engine.generate("x", image_number=1, width=64, height=64, steps=2)
    before = engine.pid
    engine.wait_ready(20)
    assert engine.pid != before


def test_a_lost_gpu_is_a_failure_too(start_demo):
    engine = start_demo("gpu-lost", restart=FAST)
    before = engine.pid
    with pytest.raises(GPUUnusable, match="illegal memory access") as caught:
        engine.generate("x", image_number=1, width=64, height=64, steps=2)
    assert "restart" in str(caught.value)
    wait_for(lambda: engine.pid != before)
    engine.wait_ready(20)
    assert EngineState.UNRESPONSIVE in states(engine)


def test_a_lost_gpu_stays_lost_until_somebody_restarts(start_demo):
    engine = start_demo("gpu-lost")
    with pytest.raises(GPUUnusable):
        engine.generate("x", image_number=1, width=64, height=64, steps=2)
    assert engine.state is EngineState.UNRESPONSIVE
    engine._lifecycle.watchdog._look()  # the web server answers, which is no recovery
    assert engine.state is EngineState.UNRESPONSIVE
    with pytest.raises(GPUUnusable, match=r"engine\.restart\(\)"):
        engine.wait_ready(5)
    engine.restart()
    assert engine.health().ok


def test_a_dead_worker_is_told_with_what_ended_it(start_demo):
    engine = start_demo("dead-worker")
    with pytest.raises(WorkerDead, match="told to die") as caught:
        engine.generate("x", image_number=1, width=64, height=64, steps=2)
    assert "told to die" in (caught.value.remedy or "")
    assert "engine.restart()" in (caught.value.remedy or "")


def test_stopping_ends_what_is_about_to_restart(start_demo):
    engine = start_demo(restart=RestartPolicy(first_delay=60))
    kill(engine)
    wait_for(lambda: any("follows in" in change.reason for change in engine.history))
    engine.stop()
    assert engine.state is EngineState.STOPPED
    assert not [thread for thread in threading.enumerate() if "watch" in thread.name]


def test_a_start_that_fails_is_tried_again_and_then_given_up(start_demo, monkeypatch):
    engine = start_demo(restart=FAST)
    # The settings are the same at every restart, so what they rest on has to fail.
    monkeypatch.setattr("fooocus_nb.fooocus.checkout.command.DEMO_MODULE", "fooocus_nb.nonsense")
    kill(engine)
    wait_for(lambda: "not restarted again" in engine.history[-1].reason)
    assert engine.state is EngineState.DEAD
    assert sum("failed: Engine" in change.reason for change in engine.history) == 2
    monkeypatch.undo()
    engine.restart()
    assert engine.state is EngineState.READY


def test_a_restart_while_another_one_is_under_way(start_demo):
    engine = start_demo()

    def restart():
        with contextlib.suppress(EngineStopped):  # where it has come too early
            engine.restart(30)

    for delay in (0.0, 0.1):
        other = threading.Thread(target=restart)
        other.start()
        wait_for(lambda: engine.state is EngineState.STARTING)
        time.sleep(delay)  # into different moments of the start
        engine.restart(30)
        other.join(30)
        assert not other.is_alive()
        assert engine.health().ok
    engine.stop()
    assert not [thread for thread in threading.enumerate() if "-follow-" in thread.name]


@pytest.mark.parametrize(
    ("line", "restart"),
    [
        ("--demo --restart", "on-failure"),
        ("--demo --restart never", "never"),
        ("--restart --demo", "on-failure"),
        ("--demo", None),
    ],
)
def test_the_magic_takes_the_same_words(line, restart):
    assert start_arguments(parse_verb_line("start", line)).get("restart") == restart


def test_the_magic_refuses_another_word():
    with pytest.raises(UsageError, match="on-failure"):
        parse_verb_line("start", "--restart always")
