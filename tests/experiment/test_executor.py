"""Sweeps on an executor's processes: each has an engine of its own, and the run is one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

import psutil
import pytest

import fooocus_nb
from fooocus_nb import ConfigurationError, EngineStopped, InstallError

BASE = {"prompt": "a cat", "width": 64, "height": 64, "steps": 2, "image_number": 1}
FAST = {"FOOOCUS_DEMO_STEP_SECONDS": "0"}


@pytest.fixture
def executor():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


def wait_gone(processes):
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive


@pytest.mark.slow
def test_a_sweep_is_made_by_the_processes_of_an_executor(executor, demo, tmp_path):
    image = demo.generate(**BASE, seed=5)[0]
    sweep = fooocus_nb.Sweep(
        seed=range(4),
        image=[image.path],
        task=fooocus_nb.Vary("subtle"),
        base=BASE,
    )
    workers = fooocus_nb.Workers(executor, demo=True, env=FAST, output_dir=tmp_path / "out")
    with sweep.run(workers, tmp_path / "run") as run:
        assert [image.seed for image in run.images] == [0, 1, 2, 3]
        manifests = list(run.manifests)
        assert run.counts["made"] == 4
    here = sweep.run(demo, tmp_path / "here")
    with here:
        assert [one.pixels_sha256 for one in here.images] == [
            one.pixels_sha256 for one in run.images
        ]
        other = next(iter(here.manifests))
    assert len({manifest.engine["name"] for manifest in manifests}) == 2  # both took part
    for manifest in manifests:
        assert manifest.complete
        assert not manifest.pending
        assert set(manifest.parameters) == set(other.parameters)
        assert manifest.fooocus == other.fooocus
        assert [one.sha256 for one in manifest.inputs] == [one.sha256 for one in other.inputs]
        assert manifest.engine["demo"]
    engines = [
        each
        for process in multiprocessing.active_children()
        for each in psutil.Process(process.pid).children(recursive=True)
    ]
    assert len(engines) >= 2
    executor.shutdown()
    wait_gone(engines)


def test_what_cannot_be_made_is_a_failed_cell_and_the_others_are_made(tmp_path):
    sweep = fooocus_nb.Sweep(guidance_scale=[3, 500], base={**BASE, "seed": 1})
    with ThreadPoolExecutor(1) as executor:
        workers = fooocus_nb.Workers(executor, demo=True, env=FAST, output_dir=tmp_path / "out")
        try:
            with sweep.run(workers, tmp_path / "run") as run:
                assert run.counts["made"] == 1
                (failure,) = run.failures
                assert "guidance_scale=500" in str(failure)
        finally:
            for name, engine in fooocus_nb.running().items():
                if name.startswith("worker-"):
                    engine.stop()


def test_workers_without_fooocus_say_so_and_no_cell_has_failed(tmp_path):
    sweep = fooocus_nb.Sweep(seed=[1, 2], base=BASE)
    with ThreadPoolExecutor(2) as executor:
        workers = fooocus_nb.Workers(executor, path=str(tmp_path / "nowhere"))
        with pytest.raises(InstallError, match="nowhere"):
            sweep.run(workers, tmp_path / "run")
    with fooocus_nb.open_run(tmp_path / "run") as run:
        assert run.counts["missing"] == 2
        assert not run.failures


class _Broken(Executor):
    """One whose processes can't be started."""

    def submit(self, function, /, *args, **kwargs):
        raise RuntimeError("cannot schedule new futures after shutdown")


def test_an_executor_that_was_shut_down_is_told(tmp_path):
    sweep = fooocus_nb.Sweep(seed=[1, 2], base=BASE)
    with pytest.raises(EngineStopped, match="of no use any more: cannot schedule"):
        sweep.run(fooocus_nb.Workers(_Broken(), count=1, demo=True), tmp_path / "run")
    with fooocus_nb.open_run(tmp_path / "run") as run:
        assert run.counts["missing"] == 2
        assert not run.failures


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_killed_process_loses_only_its_cell(executor, tmp_path):
    sweep = fooocus_nb.Sweep(seed=range(12), base={**BASE, "steps": 10})
    workers = fooocus_nb.Workers(executor, demo=True, output_dir=tmp_path / "out")
    made = threading.Event()

    def kill():
        made.wait(120)
        first = multiprocessing.active_children()[0]
        os.kill(first.pid, signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    with fooocus_nb.open_run(tmp_path / "run") as run:
        run.recorder.recorded.subscribe(lambda _: made.set())
        with pytest.raises(EngineStopped, match="Run the sweep again with a new one"):
            sweep.run(workers, tmp_path / "run")
        before = run.counts["made"]
    assert 0 < before < 12
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
        workers = fooocus_nb.Workers(other, demo=True, env=FAST, output_dir=tmp_path / "out")
        with sweep.run(workers, tmp_path / "run") as run:
            assert run.counts["made"] == 12
            assert len(run.images) == 12


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"executor": 3}, "A int can't be given cells"),
        ({"count": 0}, "from 1 to 1000"),
        ({"port": 7865}, "port= has no meaning"),
        ({"dmeo": True}, "takes no 'dmeo'. Did you mean 'demo'"),
        ({"names": lambda: None}, "names= can't be sent to a worker"),
    ],
)
def test_what_can_t_be_had_is_refused(given, said):
    executor = given.pop("executor", _Broken())
    with pytest.raises(ConfigurationError, match=said):
        fooocus_nb.Workers(executor, **given)


def test_an_engine_can_t_be_sent(demo):
    with pytest.raises(ConfigurationError, match="path= can't be sent to a worker: Engine"):
        fooocus_nb.Workers(_Broken(), path=demo)


def test_an_executor_that_does_not_tell_its_workers_is_asked_for_a_count():
    workers = fooocus_nb.Workers(_Broken(), demo=True)
    with pytest.raises(ConfigurationError, match="count=4"):
        workers.sweep_workers()
