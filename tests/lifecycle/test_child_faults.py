"""However the engine fails: a typed error in time, no image lost, a true state, and a restart."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

import fooocus_nb
import fooocus_nb.engine.child_process
from fooocus_nb import EngineState, errors

from ..lanes import slow_but

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fooocus_nb import Engine, Job

READY, DEAD, UNRESPONSIVE = EngineState.READY, EngineState.DEAD, EngineState.UNRESPONSIVE
#: No failure may take longer to be told; far more than any of them needs.
TOLD_SECONDS = 60
SMALL = {"width": 64, "height": 64, "steps": 2}
posix = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root mounts a small disk"
)


def until(condition: Callable[[], object], timeout: float = TOLD_SECONDS) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


class Bench:
    """Starts engines that look after themselves quickly."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cue = folder / "cue"
        self.images = folder / "images"
        self.engines: list[Engine] = []

    def start(self, *faults: str, flags: tuple[str, ...] = (), **options) -> Engine:
        args = [*flags, *(word for fault in faults for word in ("--fault", fault))]
        options.setdefault("timeout", TOLD_SECONDS)
        options.setdefault("grace", 2.0)
        options.setdefault("output_dir", self.images)
        env = {"FOOOCUS_DEMO_STEP_SECONDS": "0", **options.pop("env", {})}
        engine = fooocus_nb.start(demo=True, args=args, env=env, **options)
        self.engines.append(engine)
        engine.watch_interval = 0.05
        return engine

    def begin(self, *faults: str, **options) -> tuple[Engine, Job]:
        """Start one that fails in its second image, and return when the first one is home."""
        engine = self.start(f"cue={self.cue}", "from-image=2", *faults, **options)
        job = engine.submit("a cat", image_number=3, seed=1, **SMALL)
        until(lambda: job.snapshot().paths)
        return engine, job

    def strike(self) -> None:
        """Let it fail."""
        self.cue.touch()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    opened = Bench(tmp_path)
    yield opened
    for engine in opened.engines:
        engine.stop()
    assert not [thread for thread in threading.enumerate() if "-watch-" in thread.name]


def assert_told(engine: Engine, job: Job, error: type[Exception], said: str, state: str) -> None:
    """The job ends in that error, and keeps the images that are there; then the state is true."""
    with pytest.raises(error, match=said) as caught:
        job.result(TOLD_SECONDS)
    assert engine.name in str(caught.value)
    kept = engine.last_result
    assert kept is not None
    assert kept[0].seed == 1
    assert all(image.path.is_file() for image in kept)
    assert [image.path for image in caught.value.result] == [image.path for image in kept]
    assert engine.state is state
    assert engine.history[-1].reason


def assert_restarts(engine: Engine) -> None:
    """It can be restarted, and then generates."""
    before = _family(engine)
    # What was soon noticed on purpose would be on a busy machine that is merely slow.
    engine.stall_timeout = engine.answer_timeout = 300.0
    engine.restart(TOLD_SECONDS)
    _, alive = psutil.wait_procs(before, timeout=10)
    assert not alive
    assert engine.state is READY
    assert engine.health().ok
    assert len(engine.generate("a dog", image_number=1, **SMALL)) == 1


def _family(engine: Engine) -> list[psutil.Process]:
    found = []
    for pid in filter(None, (engine.pid, engine._process.child.guardian_pid)):
        with contextlib.suppress(psutil.NoSuchProcess):  # what has failed ends at any moment
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
    return found


# -- in the middle of a generation ------------------------------------------------------------

FAULTS = {
    "crash": (errors.EngineDied, "told to crash", DEAD),
    "exit=3": (errors.EngineDied, "exit code 3", DEAD),
    "segfault": (errors.EngineDied, "segmentation fault", DEAD),
    "oom-killed": (errors.EngineDied, r"SIGKILL.*memory runs out", DEAD),
    "oom": (errors.OutOfVRAM, "GPU ran out of memory", READY),
    "dead-worker=middle": (errors.WorkerDead, "worker .* has died", UNRESPONSIVE),
    "gpu-lost": (errors.GPUUnusable, r"illegal memory access(?s:.*)restart", UNRESPONSIVE),
    "http-dead": (errors.ConnectionLost, "web server .* does not answer", UNRESPONSIVE),
    "hang": (errors.EngineTimeout, "no sign of life for 1 s .*its last word", UNRESPONSIVE),
}


@posix
@pytest.mark.parametrize(
    "fault",
    slow_but(FAULTS, "http-dead"),
)
def test_a_fault_in_a_generation(bench: Bench, fault: str) -> None:
    error, said, state = FAULTS[fault]
    engine, job = bench.begin(fault)
    engine.stall_timeout = 1.0 if fault == "hang" else 300.0
    if fault == "http-dead":
        engine.answer_timeout = 1.0
    bench.strike()
    assert_told(engine, job, error, said, state)
    assert engine.health().ok is (state is READY)
    if state is not READY:
        # Nothing is sent to an engine that cannot take it, and the reason is still told.
        with pytest.raises(errors.EngineError, match=engine.name):
            engine.generate("x")
    assert_restarts(engine)


def _kill_guardian(engine: Engine) -> None:
    os.kill(engine._process.child.guardian_pid, signal.SIGKILL)


def _stop_guardian(engine: Engine) -> None:
    engine.answer_timeout = 0.3
    os.kill(engine._process.child.guardian_pid, signal.SIGSTOP)


GUARDIAN = {
    "killed": (_kill_guardian, errors.EngineDied, r"guardian \(process \d+\) was killed", DEAD),
    "stopped": (
        _stop_guardian,
        errors.EngineUnresponsive,
        r"guardian .*\(process \d+\) is stopped(?s:.*)kill -CONT",
        UNRESPONSIVE,
    ),
}


@posix
@pytest.mark.parametrize("fate", slow_but(GUARDIAN, "stopped"))
def test_the_guardian_fails_in_a_generation(bench: Bench, fate: str) -> None:
    act, error, said, state = GUARDIAN[fate]
    engine, job = bench.begin("hang")
    bench.strike()
    act(engine)
    assert_told(engine, job, error, said, state)
    assert_restarts(engine)


@posix
def test_it_is_stopped_in_a_generation(bench: Bench) -> None:
    engine, job = bench.begin("hang")
    engine.answer_timeout = 0.5
    os.kill(engine.pid, signal.SIGSTOP)
    assert_told(engine, job, errors.ConnectionLost, "does not answer any more", UNRESPONSIVE)
    os.kill(engine.pid, signal.SIGCONT)
    until(lambda: engine.state is READY)
    assert_restarts(engine)


def test_a_worker_that_takes_up_nothing(bench: Bench) -> None:
    engine = bench.start("deaf-worker")
    engine.stall_timeout = 1.0
    with pytest.raises(errors.WorkerDead, match="has not taken up the generation in 1 s"):
        engine.generate("a cat", **SMALL)
    assert engine.state is UNRESPONSIVE
    engine.restart()
    assert engine.state is READY


@pytest.mark.parametrize("seconds", [pytest.param(86_400, marks=pytest.mark.slow), -86_400])
def test_the_clock_jumps(bench: Bench, monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Nothing waits by the clock on the wall, so a jump of it is no fault at all."""
    engine, job = bench.begin(f"clock-jump={seconds}")
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + seconds)
    bench.strike()
    assert len(job.result(TOLD_SECONDS)) == 3
    assert engine.state is READY
    assert_restarts(engine)


# -- while it starts --------------------------------------------------------------------------


def test_it_crashes_at_start(bench: Bench) -> None:
    with pytest.raises(errors.StartError, match="No module named 'torch'"):
        bench.start("crash-start", name="crashing")
    assert "crashing" not in fooocus_nb.running()


def test_its_worker_dies_at_start(bench: Bench) -> None:
    """Its log may say that it is ready first; it is noticed at once all the same."""

    def use() -> None:
        engine = bench.start("dead-worker=start")
        until(lambda: engine.state is UNRESPONSIVE)
        engine.generate("a cat")

    with pytest.raises(errors.EngineError, match="worker"):
        use()


def test_its_port_is_taken_meanwhile(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        choose, chosen = fooocus_nb.engine.child_process.free_port, iter([taken])
        monkeypatch.setattr(
            fooocus_nb.engine.child_process, "free_port", lambda: next(chosen, None) or choose()
        )
        engine = bench.start()
    assert engine.state is READY
    assert not engine.url.endswith(f":{taken}")
    assert any("port was taken" in change.reason for change in engine.history)
    assert_restarts(engine)


def test_the_port_that_was_asked_for_is_taken(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(errors.PortTaken, match=str(port)):
            bench.start(port=port)


# -- between two generations ------------------------------------------------------------------


@posix
@pytest.mark.parametrize(
    ("number", "said"),
    [
        pytest.param(11, "segmentation fault", marks=pytest.mark.slow),
        (9, "SIGKILL"),
        pytest.param(15, "SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_it_ends_between_generations(bench: Bench, number: int, said: str) -> None:
    engine = bench.start()
    kept = engine.generate("a cat", image_number=1, **SMALL)
    os.kill(engine.pid, number)
    until(lambda: engine.state is DEAD)  # unasked
    with pytest.raises(errors.EngineDied, match=said):
        engine.generate("a dog")
    assert kept[0].path.is_file()
    assert_restarts(engine)


@posix
def test_what_does_not_answer_is_noticed_unasked_and_so_is_its_recovery(bench: Bench) -> None:
    engine = bench.start()
    engine.answer_timeout = 0.3
    for pid, error in (
        (engine._process.child.guardian_pid, errors.EngineUnresponsive),
        (engine.pid, errors.ConnectionLost),
    ):
        os.kill(pid, signal.SIGSTOP)
        until(lambda: engine.state is UNRESPONSIVE)
        with pytest.raises(error):
            engine.generate("a cat")
        os.kill(pid, signal.SIGCONT)
        engine.wait_ready(TOLD_SECONDS)
    assert len(engine.generate("a cat", image_number=1, **SMALL)) == 1
    os.kill(engine.pid, signal.SIGSTOP)
    until(lambda: engine.state is UNRESPONSIVE)
    assert_restarts(engine)


@posix
def test_it_ignores_term(bench: Bench) -> None:
    engine = bench.start("ignore-term", "family", "daemon", grace=0.3)
    family = _family(engine)
    engine.stop()
    assert engine.state is EngineState.STOPPED
    assert not psutil.wait_procs(family, timeout=5)[1]
    assert_restarts(engine)


# -- disks ------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False, timeout=20).returncode:
        pytest.skip("this sandbox lets nobody mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=20)


def fill(folder: Path) -> Path:
    path = folder / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return path


@root
def test_the_output_folders_disk_is_full(bench: Bench, small_disk: Path) -> None:
    engine, job = bench.begin(output_dir=small_disk)
    filler = fill(small_disk)
    bench.strike()
    with pytest.raises(errors.DiskFull, match=r"No space left.*original is still at"):
        job.result(TOLD_SECONDS)
    assert [image.path.is_file() for image in engine.last_result] == [True]
    assert engine.state is READY
    filler.unlink()
    assert len(engine.generate("a dog", image_number=1, **SMALL)) == 1
    assert_restarts(engine)


@root
@pytest.mark.parametrize("what", slow_but(["temp", "output"], "output"))
def test_the_engines_disk_is_full(bench: Bench, small_disk: Path, what: str) -> None:
    places = {
        "temp": {"temp_dir": small_disk, "flags": ("--output-path", str(bench.folder / "outputs"))},
        "output": {"flags": ("--output-path", str(small_disk))},
    }
    engine, job = bench.begin(**places[what])
    filler = fill(small_disk)
    bench.strike()
    assert_told(engine, job, errors.DiskFull, "disk is full", READY)
    filler.unlink()
    assert_restarts(engine)


@pytest.mark.slow
@posix
def test_the_logs_disk_is_full(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the log: what is lost is counted, and the rest goes on."""

    def folder(*_: object) -> Path:
        made = bench.folder / f"logs-{time.monotonic_ns()}"
        made.mkdir()
        (made / "engine.log").symlink_to("/dev/full")
        return made

    monkeypatch.setattr(fooocus_nb.engine.child_process, "new_log_folder", folder)
    engine = bench.start("flood=2")
    assert len(engine.generate("a cat", image_number=2, **SMALL)) == 2
    assert engine.state is READY
    until(lambda: engine.health().lost > 2_000_000)
    assert "bytes of the log lost" in str(engine.health())
    assert_restarts(engine)


def test_the_output_folder_is_removed(bench: Bench) -> None:
    """It is made again; what cannot be made is an error that names it."""
    engine, job = bench.begin()
    shutil.rmtree(bench.images)
    bench.strike()
    result = job.result(TOLD_SECONDS)
    assert [image.path.is_file() for image in result] == [False, True, True]
    shutil.rmtree(bench.images)
    bench.images.write_text("in the way")
    with pytest.raises(errors.OutputError, match="could not be copied into"):
        engine.generate("a dog", image_number=1, **SMALL)
    assert engine.state is READY
    bench.images.unlink()
    assert_restarts(engine)


def test_the_engines_own_output_folder_is_removed(bench: Bench) -> None:
    outputs = bench.folder / "outputs"
    engine, job = bench.begin(flags=("--output-path", str(outputs)))
    assert outputs.is_dir()
    shutil.rmtree(outputs)
    bench.strike()
    assert_told(engine, job, errors.GenerationError, "does not find .*outputs", READY)
    assert_restarts(engine)
