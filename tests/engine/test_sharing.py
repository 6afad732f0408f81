"""Engines that several kernels use, and engines that outlive theirs."""

from __future__ import annotations

import json
import os
import stat
import time
from typing import TYPE_CHECKING

import psutil
import pytest

import fooocus_nb
from fooocus_nb import EngineState
from fooocus_nb.engine.folders import RUNTIME_VARIABLE
from fooocus_nb.errors import ConfigurationError, EngineStopped, StartError, WorkerDead
from fooocus_nb.supervisor.system import creation_time

if TYPE_CHECKING:
    from collections.abc import Callable

START = "e = fooocus_nb.start(demo=True, share=True, timeout=30)\nvalue = e.pid"
KEEP = "e = fooocus_nb.start(demo=True, lifetime='detached', timeout=30)\nvalue = e.pid"
FAILED = "try:\n    {}\nexcept Exception as error:\n    value = repr(error)"
SMALL = "steps=2, image_number=1, width=64, height=64"


def until(condition: Callable[[], object], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


# -- one engine for all -----------------------------------------------------------------------


def test_two_kernels_that_start_at_the_same_instant_have_one_engine(peer, registry):
    peers = [peer(), peer(), peer()]
    for _ in range(3):
        for each in peers:
            each.tell(START)
        assert len({each.hear() for each in peers}) == 1
        assert sorted(each.value("e.attached") for each in peers) == [False, True, True]
        (entry,) = registry.entries()
        assert entry.look().users == 3
        for each in peers:
            each.tell("e.stop()")
        for each in peers:
            each.hear()
        assert registry.entries() == []
        assert list(registry.folder.iterdir()) == []


def test_the_engine_stays_until_its_last_user_is_gone(peer, registry):
    first, second, third = peer(), peer(), peer()
    pids = {each.run(START) for each in (first, second, third)}
    engine = psutil.Process(*pids)
    first.run("e.stop()")
    assert first.value("str(e.state)") == "stopped"
    second.kill()
    assert third.value(f"len(e.generate('a cat', {SMALL}))") == 1
    assert third.value("e.attached, e.lifetime, e.idle_timeout") == [True, "kernel", None]
    third.kill()
    engine.wait(15)
    until(lambda: list(registry.folder.iterdir()) == [])


@pytest.mark.slow
def test_each_has_its_own_images_and_log_and_stop(peer):
    first, second = peer(FOOOCUS_DEMO_STEP_SECONDS="0.1"), peer(FOOOCUS_DEMO_STEP_SECONDS="0.1")
    assert first.run(START) == second.run(START)
    first.run("job = e.submit('one', seed=100, image_number=2, steps=8, width=64, height=64)")
    first.run("for event in job.events(30):\n    if getattr(event, 'step', None): break")
    second.run("job = e.submit('two', seed=200, image_number=2, steps=8, width=64, height=64)")
    first.run("job.stop(); result = job.result(30)")
    assert first.value("result.stopped") is True
    second.run("result = job.result(60)")
    assert second.value("[image.seed for image in result]") == [200, 201]
    assert second.value("result.stopped") is False
    for each, own, other in ((first, 100, 200), (second, 200, 100)):
        log = each.value("list(result.log)")
        assert f"[Parameters] Seed = {own}" in log
        assert f"[Parameters] Seed = {other}" not in log
        assert sum(line.startswith("Total time") for line in log) == 1
    assert first.value("any('User stopped' in line for line in result.log)")
    assert not second.value("any('User stopped' in line for line in result.log)")


def test_who_leaves_takes_its_generation_along(peer):
    first, second = peer(FOOOCUS_DEMO_STEP_SECONDS="0.1"), peer(FOOOCUS_DEMO_STEP_SECONDS="0.1")
    assert first.run(START) == second.run(START)
    first.run("job = e.submit('one', image_number=32, steps=200, width=64, height=64)")
    first.run("for event in job.events(30):\n    if getattr(event, 'step', None): break")
    first.run("e.stop()")
    assert first.value("str(e.state)") == "stopped"
    second.run(f"result = e.submit('two', {SMALL}).result(30)")
    assert second.value("len(result)") == 1
    assert second.value("any('User stopped' in line for line in e.tail(500))")


def test_who_restarts_it_stops_it_for_the_others_who_say_so(peer):
    first, second = peer(), peer()
    before = first.run(START)
    assert second.run(START) == before
    first.run("e.restart(30)")
    until(lambda: second.value("str(e.state)") == "stopped")
    assert second.value("e.history[-1].reason") == "stopped by another of its users"
    second.run("e.restart(30)")
    assert second.value("e.pid") == first.value("e.pid") != before
    assert second.value("e.attached") is True


def test_one_that_is_slow_to_answer_is_not_restarted_while_another_generates(peer, tmp_path):
    """A server that loads a model leaves requests waiting: an idle kernel takes it for hung."""
    cue = tmp_path / "cue"
    start = START.replace("timeout", f"args=('--fault', 'cue={cue}'), timeout")
    first, second = peer(), peer()
    assert first.run(start.replace("share", "restart='on-failure', share")) == second.run(start)
    second.run(f"job = e.submit('a cat', {SMALL})")
    until(lambda: second.value("any('waits for its cue' in line for line in e.tail(50))"))
    first.run(
        "looks = []\n"
        "from fooocus_nb.engine import watchdog\n"
        "watchdog.web_server_answers = lambda *_, **__: bool(looks.append(1))\n"
        "e.answer_timeout, e.watch_interval = 0.1, 0.02"
    )
    until(lambda: first.value("len(looks)") > 20)
    assert first.value("str(e.state)") == "ready"
    cue.touch()
    assert second.value("len(job.result(30))") == 1
    # Nobody generates any more: now it is what it looks like.
    until(lambda: first.value("any('restart 1' in change.reason for change in e.history)"))


@pytest.mark.slow
def test_what_was_started_differently_is_another_engine(peer):
    first, second = peer(), peer()
    pid = first.run(START)
    second.run("from fooocus_nb.fooocus.checkout.command import free_port; p = free_port()")
    for options in ("gpu=1", "env={'X': '1'}", "port=p"):
        second.run(f"e = fooocus_nb.start(demo=True, share=True, timeout=30, {options})")
        assert second.value("e.pid") != pid, options
        second.run("e.stop()")
    assert second.run("e = fooocus_nb.start(demo=True, share=False)\nvalue = e.pid") != pid
    first.run("e.stop(); e = fooocus_nb.start(demo=True)")
    assert second.run(START) != first.value("e.pid")  # that one is the other's own


@pytest.mark.slow
def test_another_gpu_in_the_environment_is_another_engine(peer):
    first, second = peer(CUDA_VISIBLE_DEVICES="0"), peer(CUDA_VISIBLE_DEVICES="1")
    assert first.run(START) != second.run(START)


def test_in_one_kernel_the_same_start_gives_the_same_engine(registry, tmp_path):
    options = {"demo": True, "share": True, "output_dir": tmp_path, "timeout": 30}
    with fooocus_nb.start(**options) as engine:
        assert fooocus_nb.start(**options) is engine
        assert fooocus_nb.start(**options, name=engine.name) is engine
        with fooocus_nb.start(**options, name="other") as other:
            assert other.pid != engine.pid
        with fooocus_nb.start(**{**options, "share": False}) as new:
            assert new.pid != engine.pid
        with fooocus_nb.start(demo=True, output_dir=tmp_path) as private:
            assert private.pid != engine.pid
        assert fooocus_nb.start(**options, lifetime="detached").lifetime == "detached"
    assert registry.entries() == []


def test_a_broken_engine_that_nobody_uses_gives_way(peer, registry):
    first, second = peer(), peer()
    options = "demo=True, lifetime='detached', args=['--fault', 'dead-worker'], timeout=30"
    before = first.run(f"e = fooocus_nb.start({options})\nvalue = e.pid")
    assert first.run(FAILED.format("e.generate('x')")).startswith(WorkerDead.__name__)
    first.kill()
    after = second.run(f"e = fooocus_nb.start({options})\nvalue = e.pid")
    assert after != before
    assert not creation_time(before)
    assert [entry.pid for entry in registry.entries()] == [after]


def test_a_start_that_fails_fails_for_all_who_wait_for_it(peer, registry):
    peers = [peer(), peer()]
    for each in peers:
        options = "demo=True, share=True, args=['--fault', 'crash-start']"
        each.tell(FAILED.format(f"fooocus_nb.start({options})"))
    assert all("ended while it started" in each.hear() for each in peers)
    until(lambda: list(registry.folder.iterdir()) == [])


# -- kept engines -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_kept_engine_outlives_its_kernel_and_is_found_again(peer, registry):
    first = peer()
    pid = first.run(KEEP)
    first.kill()
    (entry,) = registry.entries()
    until(lambda: entry.look().users == 0)
    second = peer()
    assert second.run("e = fooocus_nb.start(demo=True)\nvalue = e.pid") == pid
    assert second.value("e.attached, e.lifetime, e.idle_timeout") == [True, "detached", 1800.0]
    assert second.value(f"len(e.generate('a cat', {SMALL}))") == 1
    second.run("e.detach()")
    assert second.value("str(e.state)") == "stopped"
    assert creation_time(pid)
    second.run("e.restart(30)")  # of what was let go of, it takes hold again
    assert second.value("e.pid") == pid
    second.run("e.stop()")
    until(lambda: not creation_time(pid))
    assert list(registry.folder.iterdir()) == []


def test_stopping_a_kept_engine_ends_it_for_everybody(peer):
    first, second = peer(), peer()
    assert first.run(KEEP) == second.run(KEEP)
    first.run("e.stop()")
    until(lambda: second.value("str(e.state)") == "stopped")
    told = second.run(
        "try:\n    e.generate('x')\nexcept Exception as error:\n    value = repr(error)"
    )
    assert EngineStopped.__name__ in told


@pytest.mark.slow
def test_a_kept_engine_ends_when_it_was_idle_for_long_enough(peer, registry):
    first = peer()
    pid = first.run(KEEP.replace("timeout=30", "timeout=30, idle_timeout=1.0"))
    (entry,) = registry.entries()
    until(lambda: entry.look().silence > 1.5)
    assert creation_time(pid)  # while a kernel uses it, it may idle
    first.kill()
    until(lambda: not creation_time(pid))
    until(lambda: list(registry.folder.iterdir()) == [])


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"lifetime": "detach"}, "Did you mean 'detached'"),
        ({"idle_timeout": 0, "lifetime": "detached"}, "above 0"),
        ({"share": False, "lifetime": "detached"}, "contradict"),
    ],
)
def test_options_that_make_no_sense(options, told):
    with pytest.raises(ConfigurationError, match=told):
        fooocus_nb.start(demo=True, **options)


def test_the_twin_has_the_same_parameters():
    import inspect

    assert inspect.signature(fooocus_nb.astart) == inspect.signature(fooocus_nb.start)
    assert inspect.iscoroutinefunction(fooocus_nb.astart)
    assert fooocus_nb.aconnect.__name__ == "aconnect"


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_the_registry_is_private(registry, tmp_path, monkeypatch):
    with fooocus_nb.start(demo=True, output_dir=tmp_path) as engine:
        (entry,) = registry.entries()
        assert (entry.pid, entry.name) == (engine.pid, engine.name)
        published = entry.run_dir / "guardian.json"
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (entry.run_dir, registry.folder)]
        assert modes == [0o700, 0o700]
        assert stat.S_IMODE(published.stat().st_mode) == 0o600
        assert "FOOOCUS_DEMO_STEP_SECONDS" not in json.dumps(json.loads(published.read_text()))
        assert engine.state is EngineState.READY
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv(RUNTIME_VARIABLE, str(shared))
    with pytest.raises(StartError, match="open to others"):
        fooocus_nb.start(demo=True)
