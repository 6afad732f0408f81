"""Remote workers: the processes of an executor or a Dask cluster make the cells of a sweep."""

from __future__ import annotations

import concurrent.futures
import contextlib
import inspect
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from fooocus_nb._background import wait_future
from fooocus_nb.engine.manager import start
from fooocus_nb.errors import (
    ConfigurationError,
    ConnectionLost,
    EngineStopped,
    FooocusError,
    GenerationStopped,
    MissingDependency,
    nearest,
)
from fooocus_nb.experiment.identity import image_entries
from fooocus_nb.experiment.provenance import Provenance
from fooocus_nb.experiment.remote import Order, make_in_process
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.plain_files import read_plain_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.experiment.attempts import Attempt
    from fooocus_nb.experiment.dask import Cluster
    from fooocus_nb.experiment.remote import Answer
    from fooocus_nb.experiment.workers import Task, Worker

__all__ = ["Workers"]

MAX_COUNT = 1000
#: How often one that waits looks whether its cell is still wanted, in seconds.
POLL_SECONDS = 0.5
#: What decides which engine is meant on one machine, or would hold a part of this kernel.
_OWN = frozenset({"port", "share", "lifetime", "on_progress", "sleep_after"})


class _Place(Protocol):
    """Where orders go."""

    @property
    def name(self) -> str:
        """What it is called where it fails."""

    def asked(
        self, order: Order, key: str, wanted: Callable[[], bool]
    ) -> contextlib.AbstractContextManager[Answer | None]:
        """Send an order and wait for the answer; None where it is not wanted any more."""

    def recover(self, error: BaseException) -> None:
        """Recover after an error, or raise why that is not possible."""

    def finish(self) -> None:
        """Note that there is nothing more to send."""


class Workers:
    """The workers of an executor or a Dask cluster, each with an engine of its own.

    ``sweep.run(workers, folder)`` makes a sweep with all of them. An engine starts with the first
    cell that its worker gets, is used again by the next sweep, and ends with its worker at the
    latest.

    Parameters
    ----------
    executor : concurrent.futures.Executor, or distributed.Client
        Who makes the cells. fooocus-nb must be installed where its workers run. A Dask client needs
        the extra ``dask``.
    count : int, optional
        How many cells to make at a time. By default as many as an executor has workers, or as a
        cluster has workers with the resource ``GPU``.
    **settings
        What :func:`fooocus_nb.start` takes for each engine: ``path=``, ``demo=``, ``args=`` and so
        on; they count on the machine of the worker.

    Raises
    ------
    ConfigurationError
        When it is neither, its number of workers can't be told, or a setting can't be sent.
    MissingDependency
        When the extra ``dask`` is missing.

    Examples
    --------
    >>> with fooocus_nb.Workers(client, path="/opt/Fooocus") as workers:  # doctest: +SKIP
    ...     run = sweep.run(workers, "runs/lighthouse")
    """

    def __init__(self, executor: Any, *, count: int | None = None, **settings: Any) -> None:
        self._settings = _checked(settings)
        self._executor = executor
        self._cluster = _cluster_of(executor)
        if self._cluster is None and not isinstance(executor, concurrent.futures.Executor):
            msg = (
                f"A {type(executor).__name__} can't be given cells: it must be an executor of "
                "concurrent.futures, or the client of a Dask cluster."
            )
            raise ConfigurationError(msg)
        if count is not None and (
            isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_COUNT
        ):
            msg = f"count={count!r} is not possible: give a number from 1 to {MAX_COUNT}."
            raise ConfigurationError(msg)
        self._count = count

    def sweep_workers(self) -> list[Worker]:
        """Return who makes cells, one for each that is made at a time."""
        if self._cluster is not None:
            return self._on_dask(self._cluster)
        count = self._count or _workers_of(self._executor)
        return [
            _RemoteWorker(_ExecutorPlace(self._executor, f"worker {number}"), self._settings)
            for number in range(1, count + 1)
        ]

    def _on_dask(self, cluster: Cluster) -> list[Worker]:
        from fooocus_nb.experiment.dask import DaskPlace

        cluster.prepare()
        there = len(cluster.addresses())
        count = there if self._count is None else min(self._count, there)
        return [_RemoteWorker(DaskPlace(cluster), self._settings) for _ in range(count)]

    def stop(self) -> None:
        """Stop the engines on the workers of a Dask cluster. Harmless twice.

        Those of an executor end with its processes.
        """
        if self._cluster is not None:
            self._cluster.end(self._settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Workers of {self._executor!r}>"


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    if wrong := sorted(_OWN & settings.keys()):
        msg = f"{wrong[0]}= has no meaning for workers, each of which has an engine of its own."
        raise ConfigurationError(msg)
    known = [name for name in inspect.signature(start).parameters if name not in _OWN]
    for name, value in settings.items():
        if name not in known:
            msg = f"{name}={value!r}: fooocus_nb.start() takes no {name!r}.{nearest(name, known)}"
            raise ConfigurationError(msg)
        try:
            pickle.dumps(value)
        except Exception as error:
            msg = (
                f"{name}= can't be sent to a worker: {error} Give plain values; each worker "
                "starts an engine of its own."
            )
            raise ConfigurationError(msg) from error
    return dict(settings)


def _cluster_of(executor: Any) -> Cluster | None:
    if type(executor).__module__.partition(".")[0] != "distributed":
        return None
    try:
        from fooocus_nb.experiment.dask import Cluster, client_of
    except ImportError as error:
        msg = 'A Dask cluster needs the extra dask: python -m pip install "fooocus-nb[dask]"'
        raise MissingDependency(msg) from error
    client = client_of(executor)
    return None if client is None else Cluster(client)


def _workers_of(executor: concurrent.futures.Executor) -> int:
    """Return how many workers an executor has."""
    # MPI's executor has the first; the standard library's and loky's tell it nowhere else.
    for name in ("num_workers", "_max_workers"):
        count = getattr(executor, name, None)
        if isinstance(count, int) and count >= 1:
            return min(count, MAX_COUNT)
    msg = (
        f"How many workers a {type(executor).__name__} has can't be told: say it with "
        "Workers(executor, count=4)."
    )
    raise ConfigurationError(msg)


class _ExecutorPlace:
    """One of the workers of an executor: which one makes an order is the executor's choice."""

    def __init__(self, executor: concurrent.futures.Executor, name: str) -> None:
        self._executor = executor
        self.name = name

    @contextlib.contextmanager
    def asked(self, order: Order, key: str, wanted: Callable[[], bool]) -> Iterator[Answer | None]:
        """Send an order and wait for the answer."""
        try:
            future = self._executor.submit(make_in_process, order)
        except RuntimeError as error:  # it was shut down, or is broken
            raise _no_use(error) from error
        try:
            yield self._wait(future, wanted)
        finally:
            future.cancel()

    def _wait(
        self, future: concurrent.futures.Future[Answer], wanted: Callable[[], bool]
    ) -> Answer | None:
        while wanted():
            try:
                return wait_future(future, POLL_SECONDS)
            except TimeoutError:
                continue
            except (concurrent.futures.BrokenExecutor, concurrent.futures.CancelledError) as error:
                raise _no_use(error) from error
        return None

    def recover(self, error: BaseException) -> None:
        """Do nothing: an engine that needs a restart gets it there, by the next order."""

    def finish(self) -> None:
        """Do nothing: the executor is somebody else's."""


def _no_use(error: BaseException) -> EngineStopped:
    told = str(error).rstrip(".") or type(error).__name__
    return EngineStopped(
        f"The executor is of no use any more: {told}. Run the sweep again with a new one: it makes "
        "what is missing."
    )


class _RemoteWorker:
    """A worker elsewhere, as a sweep's runner sees it."""

    def __init__(self, place: _Place, settings: Mapping[str, Any]) -> None:
        self._place = place
        self._settings = settings
        self._known = Provenance(engine={"name": place.name})
        self._restart = False
        self._unusable: BaseException | None = None

    @property
    def name(self) -> str:
        """What it is called where it fails."""
        return self._place.name

    def make(self, task: Task, attempt: Attempt, begun: Callable[[Job | None], None]) -> None:
        """Make a cell and record it; raise what went wrong."""
        order = self._order(task, attempt)
        cell = task.cell
        seed = cell.values.get("image_seed")
        attempt.sent(
            _told(cell.values),
            given=tuple(cell.values),
            seed=None if seed is None else int(seed),
            known=self._known,
        )
        begun(None)
        key = f"fooocus-nb-{cell.id[:16]}-{attempt.tries}-{attempt.id}"  # each attempt is one task
        try:
            with self._place.asked(order, key, lambda: attempt.event == "sent") as answer:
                # Within the block: only what is recorded may be forgotten there.
                if answer is not None and not answer.known:
                    self._restart = False
                    self._record(answer, attempt)
        except FooocusError as error:
            if attempt.event == "sent":
                self._end(attempt, error)
            raise

    def _order(self, task: Task, attempt: Attempt) -> Order:
        images = {
            entry["sha256"]: _data(task.find(entry)) for _, entry in image_entries(task.cell.values)
        }
        return Order(
            settings=self._settings,
            cell=task.cell.id,
            values=dict(task.cell.values),
            images=images,
            manifest=str(attempt.manifest_path),
            restart=self._restart,
        )

    def _record(self, answer: Answer, attempt: Attempt) -> None:
        if answer.unusable:
            self._unusable = answer.error
            told = str(answer.error).partition("\n")[0]
            msg = f"No engine could be started on {self.name}: {told}"
            raise ConnectionLost(msg) from answer.error
        if answer.values:
            self._known = answer.engine
            attempt.learned(
                answer.values,
                given=answer.given,
                seed=answer.seed,
                known=answer.engine,
                models=answer.models,
                software=answer.software,
            )
        numbers = answer.numbers
        for name in sorted(answer.images, key=lambda name: numbers.get(name, len(numbers))):
            attempt.add_image(name, answer.images[name])
        if answer.error is not None:
            raise answer.error
        if answer.stopped:
            attempt.interrupted()
            return
        timings = {} if answer.elapsed is None else {"elapsed": round(answer.elapsed, 3)}
        attempt.made(numbers=numbers, timings=timings, log=answer.log)

    @staticmethod
    def _end(attempt: Attempt, error: FooocusError) -> None:
        again: tuple[type[BaseException], ...] = (
            GenerationStopped,
            EngineStopped,
            ConnectionLost,
            *attempt.forgiven,
        )
        if isinstance(error, again):
            attempt.interrupted()
        else:
            attempt.failed(error)

    def free_memory(self, *, restart: bool) -> None:
        """Restart the engine before the next cell; the waiting is done there."""
        self._restart = restart

    def recover(self, error: BaseException) -> None:
        """Recover after an error; the engine is restarted there."""
        if self._unusable is not None:
            raise self._unusable
        self._place.recover(error)

    def finish(self) -> None:
        """Give the place back; the engine stays for the next sweep."""
        self._place.finish()


def _data(found: Any) -> bytes:
    return found if isinstance(found, bytes) else read_plain_file(Path(found), max_file_bytes())


def _told(value: Any) -> Any:
    """Return values as an attempt's line holds them: input images by their hashes."""
    if isinstance(value, dict):
        if "sha256" in value:
            return f"sha256:{value['sha256']}"
        return {name: _told(item) for name, item in value.items()}
    return [_told(item) for item in value] if isinstance(value, list) else value
