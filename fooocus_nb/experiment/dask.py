"""Dask: a plugin that gives each worker its engine, and how cells are sent there."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import threading
import time
from typing import TYPE_CHECKING, Any

from distributed import Client, get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from fooocus_nb.errors import ConfigurationError, ConnectionLost
from fooocus_nb.experiment.remote import Engines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from distributed import Future, Worker

    from fooocus_nb.experiment.remote import Answer, Order

__all__ = ["Cluster", "DaskPlace", "EnginePlugin", "client_of"]

PLUGIN = "fooocus-nb"
#: What a worker has one of for each engine that it may have.
RESOURCE = "GPU"
#: How often one that waits looks whether its worker is still there, in seconds.
POLL_SECONDS = 1.0
#: How long a worker that has gone is waited for: a nanny takes a few seconds.
RECOVER_SECONDS = 30.0
#: The same where none is left: a busy machine takes longer to start one.
NONE_SECONDS = 180.0
#: How long the first worker is waited for.
FIRST_SECONDS = 60.0
#: How long a result may take that is there.
FETCH_SECONDS = 60.0


class EnginePlugin(WorkerPlugin):
    """Gives a Dask worker its engine, which starts with the first cell and ends with the worker.

    Parameters
    ----------
    give_resource : bool
        Whether to give the worker the resource `GPU`, because no worker of the cluster has it.
    """

    name = PLUGIN
    #: Registered once more it is left alone: another notebook may be using its engine.
    idempotent = True

    def __init__(self, *, give_resource: bool) -> None:
        self._give_resource = give_resource
        self._engines: Engines | None = None

    async def setup(self, worker: Worker) -> None:
        """Take a place on a worker; its engine starts later."""
        self._engines = Engines(limit=1)
        if self._give_resource:
            await worker.set_resources(**{RESOURCE: 1})

    async def teardown(self, worker: Worker) -> None:
        """Stop the engine before its worker ends."""
        if self._engines is not None:
            await asyncio.to_thread(self._engines.stop)

    @property
    def engines(self) -> Engines:
        """The engine of this worker."""
        if self._engines is None:
            msg = "This worker was not set up."
            raise ConfigurationError(msg)
        return self._engines


def make_on_worker(order: bytes) -> Answer:
    """Make a cell with the engine of the worker that this runs on; this is the task."""
    plugin = get_worker().plugins[PLUGIN]
    if not isinstance(plugin, EnginePlugin):
        msg = f"The plugin {PLUGIN!r} of this worker is another one."
        raise ConfigurationError(msg)
    return plugin.engines.make(pickle.loads(order))  # noqa: S301 - our own notebook's


async def _end_on_worker(settings: Mapping[str, Any], dask_worker: Worker) -> None:
    plugin = dask_worker.plugins.get(PLUGIN)
    if isinstance(plugin, EnginePlugin):
        await asyncio.to_thread(plugin.engines.end, settings)


def client_of(thing: Any) -> Client | None:
    """Return the client that a thing is, or that is behind its executor; None for others."""
    # The executor of a client has no public way back to it.
    found = getattr(thing, "_client", None) if type(thing).__name__ == "ClientExecutor" else thing
    return found if isinstance(found, Client) else None


class Cluster:
    """The workers of a Dask cluster that have a GPU, or that stand in for one."""

    def __init__(self, client: Client) -> None:
        if client.asynchronous:
            msg = "A client with asynchronous=True can't be used here: make one without."
            raise ConfigurationError(msg)
        self.client = client
        self._lock = threading.Lock()
        self._claimed: set[str] = set()
        self._seen: tuple[float, frozenset[str]] = (0.0, frozenset())

    def prepare(self) -> None:
        """Give every worker the plugin, also those to come."""
        try:
            if not self._resources():
                self.client.wait_for_workers(1, timeout=FIRST_SECONDS)
            self.client.register_plugin(
                EnginePlugin(give_resource=not any(self._resources().values()))
            )
        except ImportError as error:
            msg = f"The workers can't use fooocus-nb: {error}. Install it on each of them."
            raise ConfigurationError(msg) from error
        except (OSError, TimeoutError) as error:
            msg = f"The Dask cluster has no worker, or its scheduler does not answer: {error}."
            raise ConfigurationError(msg) from error
        deadline = time.monotonic() + FIRST_SECONDS
        while not self.addresses(0.0):
            if time.monotonic() > deadline:
                msg = f"No worker of the Dask cluster has the resource {RESOURCE}."
                raise ConfigurationError(msg)
            time.sleep(POLL_SECONDS / 10)

    def _resources(self) -> dict[str, float]:
        """Return how many GPUs each worker has."""
        try:
            info = self.client.scheduler_info(n_workers=-1)
        except TypeError:  # before 2025.4, which always tells of all
            info = self.client.scheduler_info()
        return {
            address: worker.get("resources", {}).get(RESOURCE, 0)
            for address, worker in info["workers"].items()
        }

    def addresses(self, max_age: float = POLL_SECONDS) -> frozenset[str]:
        """Return the workers that make cells, as they were so many seconds ago at the most."""
        with self._lock:
            when, seen = self._seen
            if time.monotonic() - when <= max_age:
                return seen
        found = frozenset(address for address, count in self._resources().items() if count >= 1)
        with self._lock:
            self._seen = (time.monotonic(), found)
        return found

    def claim(self, timeout: float) -> str:
        """Return a worker that nobody has, and take it; wait longer where there is none at all."""
        since = time.monotonic()
        while True:
            found = self.addresses(0.0)
            with self._lock:
                if free := sorted(found - self._claimed):
                    self._claimed.add(free[0])
                    return free[0]
            # While others go on, the cell of a worker that does not come back soon is theirs.
            patience = timeout if found else max(timeout, NONE_SECONDS)
            if time.monotonic() - since > patience:
                msg = f"No other worker came within {patience:g} s."
                raise ConnectionLost(msg)
            time.sleep(POLL_SECONDS / 4)

    def leave(self, address: str) -> None:
        """Give a worker back."""
        with self._lock:
            self._claimed.discard(address)

    def end(self, settings: Mapping[str, Any]) -> None:
        """Stop the engines that were started with these settings."""
        with contextlib.suppress(OSError, TimeoutError, RuntimeError):  # they end with the cluster
            self.client.run(_end_on_worker, dict(settings), on_error="ignore")


class DaskPlace:
    """A worker of a cluster; another one after it has gone."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._address = ""

    @property
    def name(self) -> str:
        """The address of the worker, once it has one."""
        return self._address or "a Dask worker"

    @contextlib.contextmanager
    def asked(self, order: Order, key: str, wanted: Callable[[], bool]) -> Iterator[Answer | None]:
        """Send an order and wait for the answer, which Dask forgets after the block.

        A task that is done is done again by Dask where its worker dies before that.
        """
        if not self._address:
            self._address = self._cluster.claim(RECOVER_SECONDS)
        try:
            future = self._cluster.client.submit(
                make_on_worker,
                pickle.dumps(order),
                key=key,
                pure=False,
                workers=[self._address],
                allow_other_workers=False,  # a cell that begins elsewhere is another attempt
                resources={RESOURCE: 1},
            )
        except (OSError, RuntimeError, ValueError) as error:
            msg = f"The Dask cluster does not take a cell: {error}."
            raise ConnectionLost(msg) from error
        try:
            yield self._wait(future, wanted)
        finally:
            with contextlib.suppress(Exception):  # what can't be told to it has gone with it
                if not future.done():
                    future.cancel()
                future.release()

    def _wait(self, future: Future[Answer], wanted: Callable[[], bool]) -> Answer | None:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        while wanted():
            if done.wait(POLL_SECONDS / 4):
                return self._fetch(future)
            if self._address not in self._known():
                break
        else:
            return None
        raise self._gone()

    def _fetch(self, future: Future[Answer]) -> Answer:
        try:
            return future.result(timeout=FETCH_SECONDS)
        except ImportError as error:
            msg = f"The worker {self._address} can't use fooocus-nb: {error}. Install it there."
            raise ConfigurationError(msg) from error
        except Exception as error:
            # Errors of the engine are in the answer: this one is of the cluster.
            raise self._gone(error) from error

    def _known(self) -> frozenset[str]:
        try:
            return self._cluster.addresses()
        except (OSError, TimeoutError, RuntimeError) as error:
            raise self._gone(error) from error

    def _gone(self, error: BaseException | None = None) -> ConnectionLost:
        said = f": {type(error).__name__}: {error}" if error is not None else ""
        return ConnectionLost(f"The Dask worker {self._address} is gone, with its engine{said}.")

    def recover(self, error: BaseException) -> None:
        """Use another worker where this one has gone."""
        if self._address in self._known():
            return
        self.finish()
        self._address = self._cluster.claim(RECOVER_SECONDS)

    def finish(self) -> None:
        """Let others use the worker."""
        self._cluster.leave(self._address)
        self._address = ""
