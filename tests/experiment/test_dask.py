"""Sweeps on a Dask cluster of processes: an engine in each worker, one run, nothing doubled."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

import pytest

import fooocus_nb
from fooocus_nb import ConfigurationError
from fooocus_nb.errors import ConnectionLost

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
Cluster = pytest.importorskip("fooocus_nb.experiment.dask").Cluster

BASE = {"prompt": "a cat", "width": 64, "height": 64, "steps": 2, "image_number": 1}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    # A worker that is not back in 15 s is given up with its nanny, which a busy machine exceeds.
    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "240s"})
    with (
        patient,
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            dashboard_address=None,
            local_directory=str(tmp_path_factory.mktemp("dask")),
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def engines_of(client):
    """The processes that the workers have started."""

    def children():
        import psutil

        return [each.pid for each in psutil.Process().children(recursive=True)]

    return [pid for found in client.run(children).values() for pid in found]


def test_a_sweep_is_made_by_the_workers_of_a_cluster(client, tmp_path):
    sweep = fooocus_nb.Sweep(seed=range(4), base=BASE)
    settings = {"demo": True, "output_dir": str(tmp_path / "out")}
    with fooocus_nb.Workers(client, **settings) as workers:
        with sweep.run(workers, tmp_path / "run") as run:
            assert [image.seed for image in run.images] == [0, 1, 2, 3]
            assert len({manifest.engine["name"] for manifest in run.manifests}) == 2
            assert {manifest.tries for manifest in run.manifests} == {1}
        assert engines_of(client)
        longer = fooocus_nb.Sweep(seed=range(5), base=BASE)
        executor = fooocus_nb.Workers(client.get_executor(), **settings)
        with longer.run(executor, tmp_path / "run") as run:
            assert run.counts["made"] == 5
    assert not engines_of(client)
    assert not client.futures  # Dask was let forget all of them


def test_an_asynchronous_client_is_refused(client):
    async def ask():
        address = client.scheduler.address
        async with distributed.Client(address, asynchronous=True, set_as_default=False) as other:
            with pytest.raises(ConfigurationError, match="asynchronous=True"):
                fooocus_nb.Workers(other)

    asyncio.run(ask())


def test_a_cluster_without_any_worker_is_waited_for_longer(client, monkeypatch):
    cluster = Cluster(client)
    seen = iter([frozenset(), frozenset(), frozenset({"tcp://a"})])
    monkeypatch.setattr(cluster, "addresses", lambda max_age: next(seen))
    assert cluster.claim(0.0) == "tcp://a"
    # Where others go on it is not.
    monkeypatch.setattr(cluster, "addresses", lambda max_age: frozenset({"tcp://a"}))
    with pytest.raises(ConnectionLost, match="No other worker came"):
        cluster.claim(0.0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_killed_worker_loses_and_doubles_nothing(client, tmp_path):
    sweep = fooocus_nb.Sweep(seed=range(60), base=BASE)
    workers = fooocus_nb.Workers(client, demo=True, output_dir=str(tmp_path / "out"))
    pids = iter(client.run(os.getpid).values())
    five, thirty = threading.Event(), threading.Event()
    made = []

    def count(manifest):
        if manifest.attempt not in made:
            made.append(manifest.attempt)
        if len(made) >= 5:
            five.set()
        if len(made) >= 30:
            thirty.set()

    def kill():
        for moment in (five, thirty):
            if moment.wait(200):
                os.kill(next(pids), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    with fooocus_nb.open_run(tmp_path / "run") as run:
        run.recorder.recorded.subscribe(count)
        killer.start()
        sweep.run(workers, tmp_path / "run")
        killer.join(10)
        assert run.counts["made"] == 60
        assert not run.failures
        assert sorted(image.seed for image in run.images) == list(range(60))
        cells = [manifest.cell for manifest in run.manifests if manifest.complete]
        assert len(cells) == len(set(cells)) == 60
        # What was in the hands of a killed worker was tried once more, and nothing else.
        again = [manifest for manifest in run.manifests if manifest.tries > 1]
        assert 1 <= len(again) <= 2
        assert len(list((tmp_path / "run" / "images").iterdir())) == 60
    assert thirty.is_set()
    workers.stop()
