"""A pool of engines: one queue, failures, GPUs, sweeps."""

from __future__ import annotations

import os
import signal
import sys
import threading

import numpy as np
import pytest

import fooocus_nb
from fooocus_nb import ConfigurationError, EngineStopped
from fooocus_nb.experiment.pool import visible_gpus

SMALL = {"width": 64, "height": 64, "steps": 2, "image_number": 1}


@pytest.fixture
def pool(tmp_path):
    with fooocus_nb.Pool(engines=2, demo=True, output_dir=tmp_path / "out") as pool:
        yield pool


def test_work_goes_to_all_engines_and_comes_back_in_order(pool):
    results = pool.map([{"prompt": "a cat", "seed": seed} for seed in range(6)], **SMALL)
    assert [result[0].seed for result in results] == list(range(6))
    assert all(result[0].path.exists() for result in results)
    used = [len(engine.tail(200)) for engine in pool.engines.values()]
    assert all(used)
    with pytest.raises(fooocus_nb.UnknownParameter):
        pool.generate("a cat", no_such=1)
    assert pool.generate("a cat", seed=9, **SMALL)[0].seed == 9  # and the pool goes on


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_dead_engine_s_work_goes_to_the_other(pool):
    long = {**SMALL, "steps": 60}
    first, second = pool.engines.values()
    busy = threading.Event()
    first.subscribe(lambda _: busy.set() if first.state == "busy" else None)
    futures = [pool.submit("a cat", seed=seed, **long) for seed in range(3)]
    assert busy.wait(60)
    os.kill(first.pid, signal.SIGKILL)
    results = [future.result(timeout=120) for future in futures]
    assert [result[0].seed for result in results] == [0, 1, 2]
    assert second.state == "ready"


def test_a_sweep_is_made_by_all(pool, tmp_path):
    sweep = fooocus_nb.Sweep(seed=range(4), base={"prompt": "a cat", **SMALL})
    with sweep.run(pool, tmp_path / "run") as run:
        assert sorted(image.seed for image in run.images) == [0, 1, 2, 3]
        assert not run.failures


def test_a_stopped_pool_takes_nothing(tmp_path):
    pool = fooocus_nb.Pool(engines=1, demo=True, output_dir=tmp_path)
    (engine,) = pool.engines.values()
    pool.stop()
    pool.stop()
    assert engine.state == "stopped"
    with pytest.raises(EngineStopped, match="pool was stopped"):
        pool.submit("a cat")


def test_engines_that_run_already_are_left_running(tmp_path):
    with fooocus_nb.start(demo=True, output_dir=tmp_path) as engine:
        with fooocus_nb.Pool([engine]) as pool:
            assert len(pool) == 1
            assert pool.generate("a cat", **SMALL)[0].path.exists()
        assert engine.state == "ready"
        with pytest.raises(ConfigurationError, match="demo: engines that run already"):
            fooocus_nb.Pool([engine], demo=True)


@pytest.mark.parametrize(
    ("setting", "count"),
    [("0,1", 2), ("", 0), ("-1", 0), ("2,-1,3", 1), ("GPU-8932f937-d72c,MIG-8932f937-d72c", 2)],
)
def test_visible_gpus_are_counted_as_cuda_reads_them(setting, count):
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": setting}) == tuple(range(count))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gpus": [0, 1, 2]}, "gpu 2 can't be had: this process sees 2 GPUs"),
        ({"gpus": [0, 0]}, "named twice"),
        ({"gpus": []}, "at least one"),
        ({"engines": 3}, "3 engines can't be had"),
        ({"engines": 2, "gpus": [0]}, "contradict"),
        ({"engines": 0}, "from 1 to 64"),
        ({"engines": True}, "from 1 to 64"),
        ({"gpus": ["nonsense"]}, "nvidia-smi -L"),
        ({"engines": []}, "it is empty"),
        ({"engines": ["a"]}, "'a' is no engine"),
        ({"engines": 2.5}, "2.5 is no engine"),
        ({"engines": np.int64(3)}, "3 engines can't be had"),
        ({"gpus": 2}, "gpu 2 can't be had"),
        ({"gpus": "nonsense"}, "gpu='nonsense'"),
        ({"gpus": np.array([0, 2])}, "gpu 2 can't be had"),
        ({"engines": 2, "demo": True, "port": 7865}, "port= has no meaning"),
    ],
)
def test_what_can_t_be_had_is_refused(given, said, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(ConfigurationError, match=said):
        fooocus_nb.Pool(**given)
