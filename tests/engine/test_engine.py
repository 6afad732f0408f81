"""Engines and jobs against the demo engine, end to end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import fooocus_nb
from fooocus_nb import EngineState
from fooocus_nb._background import run_sync
from fooocus_nb.errors import (
    ConfigurationError,
    ConnectionLost,
    EngineDied,
    EngineStopped,
    EngineTimeout,
    GenerationError,
    GenerationStopped,
    OutOfVRAM,
    StartError,
    StartTimeout,
    WorkerDead,
)
from fooocus_nb.fooocus.events import ImageFinished

SMALL = {"width": 64, "height": 64, "steps": 2}


def wait_for(condition, timeout=60.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def test_three_generations_in_a_row(start_demo, tmp_path):
    engine = start_demo()
    assert engine.state is EngineState.READY
    for seed in (1, 2, 3):
        result = engine.generate("a lighthouse at dusk", seed=seed, image_number=1, **SMALL)
        assert len(result) == 1
        image = result[0]
        assert image.seed == seed
        assert image.path.parent == tmp_path / "images"
        assert image.sha256 == hashlib.sha256(image.path.read_bytes()).hexdigest()
        assert any("Total time" in line for line in result.log)
        assert not any("Total time" in line for line in result.log[:-3])
    assert len(list((tmp_path / "images").iterdir())) == 3


def test_stop_keeps_what_is_done_and_leaves_the_engine_ready(start_demo):
    engine = start_demo(slow=True)
    job = engine.submit("a city", image_number=3, seed=5, steps=6, width=64, height=64)
    wait_for(lambda: len(job.snapshot().paths) == 1)
    job.stop()
    result = job.result(30)
    assert result.stopped
    assert 1 <= len(result) < 3
    assert result[0].path.is_file()
    assert len(engine.generate("a city", image_number=1, **SMALL)) == 1


def _stop_as_somebody_else(engine, job):
    """Press stop as another browser does: past the job, which has not asked for it."""
    run_sync(engine._lifecycle.client.stop(job._session), 10)


def test_a_stop_by_somebody_else_is_told_from_ours(start_demo):
    engine = start_demo(slow=True)
    job = engine.submit("a cat", steps=60, image_number=1, width=64, height=64)
    wait_for(lambda: job.snapshot().step)
    _stop_as_somebody_else(engine, job)
    with pytest.raises(GenerationStopped, match="by somebody else"):
        job.result(20)
    job = engine.submit("a cat", steps=4, image_number=32, width=64, height=64)
    wait_for(lambda: job.snapshot().paths)
    _stop_as_somebody_else(engine, job)
    result = job.result(20)
    assert result.stopped
    assert 0 < len(result) < 32
    assert engine.state is EngineState.READY


def test_skip_goes_on_with_the_next_image_and_knows_its_seed(start_demo, tmp_path):
    cue = tmp_path / "cue"
    engine = start_demo(f"cue={cue}")
    job = engine.submit("a city", image_number=2, seed=5, steps=8, width=64, height=64)
    wait_for(lambda: waits_for_its_cue(engine))  # in the middle of the first image
    job.skip()
    cue.touch()
    result = job.result(60)
    assert [image.seed for image in result] == [6]
    assert [notice.meaning for notice in engine.notices()] == ["An image was skipped."]


def test_a_job_that_waits_can_be_stopped(start_demo):
    engine = start_demo(slow=True)
    first = engine.submit("a", image_number=1, steps=10, width=64, height=64)
    second = engine.submit("b", image_number=1, **SMALL)
    wait_for(lambda: second.snapshot().rank == 1)
    second.stop()
    with pytest.raises(GenerationStopped):
        second.result(5)
    assert len(first.result(60)) == 1


def waits_for_its_cue(engine):
    return any("waits for its cue" in line for line in engine.tail(50))


@contextlib.contextmanager
def interrupt_when(condition):
    """Interrupt this thread once a condition holds."""

    def watch():
        wait_for(condition, 60)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    thread.join()


@contextlib.contextmanager
def interrupt_at(engine, kind):
    """Interrupt this thread when the engine's next generation has told an event of that kind."""

    def watch():
        wait_for(lambda: engine.current_job is not None, 60)
        if any(isinstance(event, kind) for event in engine.current_job.events(60)):
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    thread.join()


def test_an_interrupt_stops_the_generation_and_not_the_engine(start_demo):
    engine = start_demo(slow=True)
    with interrupt_at(engine, ImageFinished), pytest.raises(KeyboardInterrupt):
        engine.generate("a city", image_number=30, steps=4, width=64, height=64)
    assert engine.last_result.stopped
    assert engine.last_result[0].path.is_file()
    assert engine.state is EngineState.READY
    assert len(engine.generate("a", image_number=1, steps=1)) == 1


def test_an_interrupt_in_a_long_step_says_so_and_the_state_stays_true(
    start_demo, tmp_path, monkeypatch
):
    monkeypatch.setattr("fooocus_nb.engine.interrupts.INTERRUPT_TIMEOUT", 1.0)
    cue = tmp_path / "cue"
    engine = start_demo(f"cue={cue}")
    interrupt = interrupt_when(lambda: waits_for_its_cue(engine))
    with interrupt, pytest.raises(KeyboardInterrupt, match="still busy"):
        engine.generate("a city", image_number=30, steps=1)
    job = engine.current_job
    assert engine.state is EngineState.BUSY
    assert not job.done()
    cue.touch()
    wait_for(job.done, 60)
    wait_for(lambda: engine.state is EngineState.READY)
    assert job.result().stopped
    assert len(engine.generate("a", image_number=1, steps=1)) == 1


def test_a_cancelled_wait_in_a_long_step_says_so(start_demo, tmp_path, monkeypatch):
    monkeypatch.setattr("fooocus_nb.engine.interrupts.INTERRUPT_TIMEOUT", 1.0)
    cue = tmp_path / "cue"
    engine = start_demo(f"cue={cue}")

    async def cancel():
        job = engine.submit("a city", image_number=30, steps=1)
        task = asyncio.ensure_future(job._wait())
        await asyncio.to_thread(wait_for, lambda: waits_for_its_cue(engine), 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError, match="still busy"):
            await task
        return job

    job = asyncio.run(cancel())
    assert engine.state is EngineState.BUSY
    cue.touch()
    wait_for(job.done, 60)


@pytest.mark.parametrize("moment", ["handed in", "shown"])
def test_an_interrupt_before_the_wait_stops_the_generation_too(start_demo, monkeypatch, moment):
    engine = start_demo(slow=True)
    hand_in = fooocus_nb.engine.jobs.job.submit

    def interrupt(coroutine):
        hand_in(coroutine)
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def present(_job):
        if moment == "shown":
            raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patched:
        patched.setattr("fooocus_nb.engine.presenters.presenters", [present])
        if moment == "handed in":
            patched.setattr("fooocus_nb.engine.jobs.job.submit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            engine.generate("a city", image_number=30, steps=4, width=64, height=64)
    assert engine.jobs == ()
    assert len(engine.generate("a", image_number=1, steps=1)) == 1


def test_awaiting_and_cancelling(start_demo):
    engine = start_demo(slow=True)

    async def run():
        assert len(await engine.agenerate("a", image_number=1, steps=1)) == 1
        task = asyncio.ensure_future(
            engine.agenerate("b", image_number=9, steps=10, width=64, height=64)
        )
        while (job := engine.current_job) is None or not job.snapshot().step:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(await engine.agenerate("c", image_number=1, steps=1)) == 1

    asyncio.run(run())


def test_a_result_that_is_not_there_in_time(start_demo):
    engine = start_demo(slow=True)
    job = engine.submit("a", image_number=1, steps=20, width=64, height=64)
    with pytest.raises(EngineTimeout):
        job.result(0.2)
    job.stop()
    job.result(30)


def test_what_was_not_handed_on_to_it_is_noticed(start_demo, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks://me:secret@127.0.0.1:1080/")
    engine = start_demo()
    notice = engine.notices()[0]
    assert notice.line == "ALL_PROXY"
    assert "env=" in notice.remedy
    assert "secret" not in f"{notice}"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("crash", EngineDied),
        ("segfault", EngineDied),
        ("oom", OutOfVRAM),
        ("empty-gallery", GenerationError),
        ("dead-worker", WorkerDead),
    ],
)
def test_a_fault_in_mid_run_is_a_typed_error(start_demo, fault, error):
    engine = start_demo(fault)
    with pytest.raises(error) as caught:
        engine.generate("x", image_number=1, **SMALL)
    assert engine.name in str(caught.value)
    engine.stop()
    assert engine.state is EngineState.STOPPED


def test_a_hang_is_found_by_its_silence(start_demo):
    engine = start_demo("hang")
    engine.stall_timeout = 1.0
    with pytest.raises(EngineTimeout, match="no sign of life"):
        engine.generate("x", image_number=1, **SMALL)


def test_a_killed_engine_is_dead_and_can_be_restarted(start_demo):
    engine = start_demo()
    os.kill(engine.pid, signal.SIGKILL)
    wait_for(lambda: engine.state is EngineState.DEAD)
    with pytest.raises(EngineDied):
        engine.generate("x")
    engine.restart()
    assert engine.state is EngineState.READY
    assert len(engine.generate("x", image_number=1, **SMALL)) == 1


def test_a_child_that_crashes_at_start_says_why(start_demo):
    with pytest.raises(StartError, match="exit code"):
        start_demo("crash-start")


def test_a_child_that_never_gets_ready_is_given_up(start_demo):
    with pytest.raises(StartTimeout, match="it printed nothing"):
        start_demo("never-ready", timeout=2)


def test_a_start_that_works_without_a_word_is_not_given_up(start_demo):
    engine = start_demo("silent-start=6", timeout=3)
    assert engine.state is EngineState.READY


def test_nothing_is_left_after_stop(start_demo):
    engine = start_demo("daemon")
    engine.generate("x", image_number=1, **SMALL)
    child = psutil.Process(engine.pid)
    guardian = child.parent()
    family = [guardian, *guardian.children(recursive=True)]
    temporary = list(engine._process.temporary)
    assert all(folder.exists() for folder in temporary)
    engine.stop()
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive
    assert not any(folder.exists() for folder in temporary)
    with pytest.raises(EngineStopped):
        engine.generate("x")


def test_health(start_demo):
    engine = start_demo()
    health = engine.health()
    assert health.ok
    assert health.process
    assert health.worker
    assert health.memory > 1e6
    engine.stop()
    assert not engine.health().ok


def test_an_engine_of_somebody_else_is_never_stopped(start_demo, tmp_path):
    owner = start_demo()
    guest = fooocus_nb.connect(owner.url, name="guest", output_dir=tmp_path / "guest")
    image = guest.generate("a lighthouse", image_number=1, seed=3, **SMALL)[0]
    assert image.path.parent == tmp_path / "guest"
    assert image.path.read_bytes()[:4] == b"\x89PNG"
    assert guest.pid is None
    guest.stop()
    assert owner.health().ok


def test_nobody_is_told_to_restart_what_is_somebody_elses(start_demo, tmp_path):
    owner = start_demo("deaf-worker")
    with fooocus_nb.connect(owner.url, name="guest", output_dir=tmp_path / "guest") as guest:
        guest.stall_timeout = 0.5
        with pytest.raises(WorkerDead, match="somebody else's") as caught:
            guest.generate("a lighthouse")
    assert "engine.restart()" not in str(caught.value)


def test_connecting_to_nothing(tmp_path):
    with pytest.raises(ConnectionLost):
        fooocus_nb.connect("http://127.0.0.1:9", output_dir=tmp_path)


def test_engines_have_names(start_demo):
    engine = start_demo(name="mine")
    assert fooocus_nb.get("mine") is engine
    assert fooocus_nb.current() is engine
    assert fooocus_nb.running()["mine"] is engine
    with pytest.raises(ConfigurationError, match="runs already"):
        start_demo(name="mine")
    with pytest.raises(ConfigurationError, match="Did you mean 'mine'"):
        fooocus_nb.get("mien")


def test_engines_that_start_at_once_have_names_of_their_own(start_demo):
    with ThreadPoolExecutor() as pool:
        engines = list(pool.map(lambda _: start_demo(share=False, timeout=60), range(4)))
    names = {engine.name for engine in engines}
    assert len(names) == 4
    assert names <= set(fooocus_nb.running())
    assert [fooocus_nb.get(engine.name) for engine in engines] == engines
    with ThreadPoolExecutor() as pool:
        twice = [pool.submit(start_demo, name="same", share=False) for _ in range(2)]
    errors = [future.exception() for future in twice]
    assert sorted(error is None for error in errors) == [False, True]
    assert any("named 'same' runs already" in str(error) for error in errors)


def test_without_a_path_the_ways_to_say_it_are_named(monkeypatch):
    monkeypatch.delenv("FOOOCUS_HOME", raising=False)
    with pytest.raises(ConfigurationError, match="FOOOCUS_HOME"):
        fooocus_nb.start()


def test_a_flood_between_the_images_blocks_nothing(start_demo):
    engine = start_demo("flood=20")
    for _ in range(3):
        assert len(engine.generate("x", image_number=1, steps=1)) == 1
    logs = sorted(engine.log_path.parent.glob("engine.log*"))
    assert len(logs) == 3
    assert sum(Path(log).stat().st_size for log in logs) <= 30_100_000


def test_a_stop_that_comes_early_is_not_lost(start_demo):
    engine = start_demo(slow=True)
    job = engine.submit("a cat", image_number=32, steps=200, width=64, height=64)
    while job.snapshot().state == "queued":
        time.sleep(0.001)
    job.stop()
    assert job.result(20).stopped
    assert len(job.result()) == 0
    assert len(engine.generate("a dog", steps=1, image_number=1, width=64, height=64)) == 1
