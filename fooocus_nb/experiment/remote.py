"""The remote side of a sweep: a process whose engines make the cells that are sent to it.

An :class:`Order` goes there and an :class:`Answer` comes back. Both are plain data: nothing that is
sent holds an engine.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.engine.manager import start
from fooocus_nb.engine.state import EngineState
from fooocus_nb.engine.submission import check_request, submit_request
from fooocus_nb.errors import EngineError, EngineTimeout, FooocusError, OutOfMemory
from fooocus_nb.experiment.attempts import watching_as
from fooocus_nb.experiment.cells import Cell
from fooocus_nb.experiment.checks import PRESET, request_parameters
from fooocus_nb.experiment.hashing import file_hashes
from fooocus_nb.experiment.provenance import (
    Provenance,
    complete_models,
    find_models,
    provenance,
    software,
)
from fooocus_nb.experiment.recorder import observe_jobs
from fooocus_nb.experiment.workers import NEEDS_RESTART, EngineWorker
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.requests import NO_SEED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.facts import EngineFacts
    from fooocus_nb.engine.jobs.observers import JobFacts, Outcome
    from fooocus_nb.experiment.manifest import ModelRecord

__all__ = ["Answer", "Engines", "Order", "make_in_process"]

#: How long an order waits for the engine that makes another one.
FREE_SECONDS = 3600.0
#: How long the hash of a model is waited for: some 7 GB from a slow disk.
HASH_SECONDS = 180.0


@dataclass(frozen=True)
class Order:
    """A cell to make elsewhere.

    Attributes
    ----------
    settings : mapping
        What :func:`fooocus_nb.start` takes.
    values : mapping
        The values of the cell.
    images : mapping of str to bytes
        Its input images, by their SHA-256.
    manifest : str
        Where the attempt's manifest will lie. Where that can be seen from there and is there, the
        attempt was made already.
    restart : bool
        Whether the engine is to be restarted before, because it does not get its memory back.
    """

    settings: Mapping[str, Any]
    cell: str
    values: Mapping[str, Any]
    images: Mapping[str, bytes] = field(repr=False)
    manifest: str
    restart: bool = False

    def find(self, entry: Mapping[str, Any]) -> Any:
        """Return an input image by its entry in the values."""
        return entry["url"] if "url" in entry else self.images[entry["sha256"]]


@dataclass(frozen=True)
class Answer:
    """What became of an order.

    Attributes
    ----------
    known : bool
        Whether the attempt was in the run already; then there is nothing else.
    values : mapping
        The wire values of the request, resolved.
    given : mapping
        What was given, for the names of files.
    images : mapping of str to bytes
        The files, by their names at the server.
    numbers : mapping of str to int
        Which image of the request each is, from 0.
    stopped : bool
        Whether somebody stopped it.
    unusable : bool
        Whether no engine could be had there.
    """

    known: bool = False
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    given: Mapping[str, Any] = field(default_factory=dict, repr=False)
    seed: int | None = None
    images: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    numbers: Mapping[str, int] = field(default_factory=dict)
    log: tuple[str, ...] = field(default=(), repr=False)
    elapsed: float | None = None
    engine: Provenance = field(default_factory=Provenance, repr=False)
    models: tuple[ModelRecord, ...] = ()
    software: Mapping[str, Any] = field(default_factory=dict, repr=False)
    stopped: bool = False
    unusable: bool = False
    error: BaseException | None = None


class Engines:
    """The engines of one process elsewhere: started when they are needed, ended with it.

    Parameters
    ----------
    limit : int, optional
        How many there may be; an order waits for a free one. By default as many as there are
        orders at a time.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._changed = threading.Condition()
        self._free: list[tuple[bytes, EngineWorker]] = []
        self._all: list[EngineWorker] = []
        self._starting = 0
        self._to_restart: set[EngineWorker] = set()
        self._ending: set[bytes] = set()
        self._closed = False

    def make(self, order: Order) -> Answer:
        """Make a cell with a free engine; what goes wrong is in the answer."""
        if Path(order.manifest).exists():
            return Answer(known=True)
        try:
            key, worker = self._take(order.settings)
        except Exception as refusal:  # noqa: BLE001 - it is told to who waits
            return Answer(unusable=True, error=_portable(refusal))
        watching = _Watching()
        error: BaseException | None = None
        try:
            self._prepare(worker, order)
            _generate(worker.engine, order, watching)
        except Exception as failure:  # noqa: BLE001 - the same
            error = failure
        try:
            answer = watching.answer(error)
            if isinstance(error, OutOfMemory):
                with contextlib.suppress(FooocusError):
                    worker.free_memory(restart=False)
        finally:
            with self._changed:
                if isinstance(error, NEEDS_RESTART):
                    self._to_restart.add(worker)
                self._free.append((key, worker))
                ending = key in self._ending
                self._changed.notify_all()
            if ending:
                self._end(key)
        return answer

    def end(self, settings: Mapping[str, Any]) -> None:
        """Stop those that were started with these settings, each once it is free."""
        key = pickle.dumps(sorted(settings.items()))
        with self._changed:
            self._ending.add(key)
        self._end(key)

    def _end(self, key: bytes) -> None:
        with self._changed:
            found = [worker for with_key, worker in self._free if with_key == key]
            self._free = [one for one in self._free if one[0] != key]
            self._all = [worker for worker in self._all if worker not in found]
            self._changed.notify_all()
        for worker in found:
            with contextlib.suppress(FooocusError):
                worker.engine.stop()

    def stop(self) -> None:
        """Stop all of them, and start no other. Harmless twice."""
        with self._changed:
            self._closed = True
            engines = [worker.engine for worker in self._all]
            self._all.clear()
            self._free.clear()
            self._changed.notify_all()
        for engine in engines:
            with contextlib.suppress(FooocusError):
                engine.stop()

    def _take(self, settings: Mapping[str, Any]) -> tuple[bytes, EngineWorker]:
        """Return a free engine that was started with these settings, or start one."""
        key = pickle.dumps(sorted(settings.items()))
        with self._changed:
            self._ending.discard(key)
            if not self._changed.wait_for(lambda: self._may_take(key), FREE_SECONDS):
                msg = f"The engine of this worker was not free within {FREE_SECONDS:g} s."
                raise EngineTimeout(msg)
            if self._closed:
                msg = "The engines of this worker were stopped."
                raise EngineError(msg)
            for place, (with_key, worker) in enumerate(self._free):
                if with_key == key:
                    del self._free[place]
                    return key, worker
            other = self._free.pop()[1] if self._is_full() else None
            if other is not None:
                self._all.remove(other)
            self._starting += 1
        made: EngineWorker | None = None
        try:
            if other is not None:
                other.engine.stop()  # it has the memory that the new one needs
            made = EngineWorker(_start(settings))
        finally:
            with self._changed:
                self._starting -= 1
                closed = self._closed
                if made is not None and not closed:
                    self._all.append(made)
                self._changed.notify_all()
        if closed:
            made.engine.stop()
            msg = "The engines of this worker were stopped."
            raise EngineError(msg)
        return key, made

    def _is_full(self) -> bool:
        return self._limit is not None and len(self._all) + self._starting >= self._limit

    def _may_take(self, key: bytes) -> bool:
        return self._closed or bool(self._free) or not self._is_full()

    def _prepare(self, worker: EngineWorker, order: Order) -> None:
        """Restart an engine that needs it, and load the preset that the order means."""
        engine = worker.engine
        if order.restart or worker in self._to_restart or engine.state is not EngineState.READY:
            engine.restart()
            self._to_restart.discard(worker)
        preset = order.values.get(PRESET)
        if preset is None:
            worker.finish()
        elif preset != engine.current_preset:
            engine.preset(preset)


def _start(settings: Mapping[str, Any]) -> Engine:
    # Never somebody else's engine: it ends with this process, and makes one image at a time.
    return start(**{"name": f"worker-{os.getpid()}", **settings, "share": False})


_in_process = Engines()
_pid = os.getpid()


def make_in_process(order: Order) -> Answer:
    """Make a cell with an engine of this process; this is what executors are given."""
    global _in_process, _pid
    if _pid != os.getpid():  # a fork has none of the engines of its parent
        _in_process, _pid = Engines(), os.getpid()
    return _in_process.make(order)


def _generate(engine: Engine, order: Order, watching: _Watching) -> None:
    cell = Cell(order.cell, order.values, {})
    prompt, given = request_parameters(cell, order.find)
    request = check_request(engine, prompt, given)
    observe_jobs()
    with watching_as(watching):
        job = submit_request(engine, request)
    job.result()


class _Watching:
    """Observes a job, and keeps what the answer tells of it."""

    def __init__(self) -> None:
        self._job: JobFacts | None = None
        self._facts: EngineFacts | None = None
        self._images: dict[str, bytes] = {}
        self._outcome: Outcome | None = None

    def bind(self, job: JobFacts) -> None:
        """Take the job that it observes."""
        self._job = job
        self._facts = job.engine()

    def sending(self) -> None:
        """Nothing is written down here: that was done before the order was sent."""

    def image(self, server_path: str, data: bytes) -> None:
        """Keep a finished image."""
        self._images[server_path] = data

    def ended(self, outcome: Outcome) -> None:
        """Keep the outcome."""
        self._outcome = outcome

    def answer(self, error: BaseException | None) -> Answer:
        """Return what is to be told."""
        told = None if error is None else _portable(error)
        job, facts, outcome = self._job, self._facts, self._outcome
        if job is None or facts is None:
            return Answer(error=told)
        numbers: dict[str, int] = {}
        images = dict(self._images)
        log: tuple[str, ...] = ()
        elapsed, stopped = None, False
        if outcome is not None:
            images = {k: v for k, v in images.items() if k not in outcome.dropped}
            for file in outcome.files:
                numbers[file.server_path] = file.number
                if file.server_path not in images:
                    images[file.server_path] = read_plain_file(file.path, max_file_bytes())
            if outcome.result is not None:
                log, elapsed = tuple(outcome.result.log), outcome.result.elapsed
                stopped = outcome.result.stopped
        request = job.request
        return Answer(
            values=dict(request.values),
            given=_plain(request.given),
            seed=None if request.seed == NO_SEED else request.seed,
            images=images,
            numbers=numbers,
            log=log,
            elapsed=elapsed,
            engine=provenance(facts),
            models=_models(request.values, facts.checkout) if images else (),
            software=software(),
            stopped=stopped,
            error=told,
        )


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given as far as it is data; the names are all there."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        try:
            pickle.dumps(value)
        except Exception:  # noqa: BLE001 - pickle raises all sorts
            found[name] = None
        else:
            found[name] = value
    return found


def _models(values: Mapping[str, Any], checkout: Path | None) -> tuple[ModelRecord, ...]:
    """Return the models with their hashes: nobody else can read their files."""
    models, waiting = complete_models(find_models(values, checkout), checkout)
    for path in waiting:
        file_hashes().wait(path, HASH_SECONDS)
    if waiting:
        models, waiting = complete_models(models, checkout)
    reason = f"its hash was not known within {HASH_SECONDS:g} s"
    return tuple(
        replace(model, reason=reason) if model.sha256 is None and model.reason is None else model
        for model in models
    )


def _portable(error: BaseException) -> BaseException:
    """Return an error as it can be sent: with its message, and without a result or an engine."""
    if isinstance(error, EngineError):
        error.result = None
    error = error.with_traceback(None)
    error.__cause__ = error.__context__ = None
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made here, a moment ago
    except Exception:  # noqa: BLE001 - whatever it holds
        return EngineError(f"{type(error).__name__}: {error}")
    if isinstance(error, FooocusError):
        return error
    return EngineError(f"A worker could not make a cell: {type(error).__name__}: {error}")
