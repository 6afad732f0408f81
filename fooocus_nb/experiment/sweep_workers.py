"""Find the workers of a sweep from what it was given: an engine, a pool, an executor."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Any

from fooocus_nb.engine.core import Engine
from fooocus_nb.errors import ConfigurationError
from fooocus_nb.experiment.workers import EngineWorker

if TYPE_CHECKING:
    from fooocus_nb.experiment.workers import Worker

__all__ = ["is_elsewhere", "workers_of"]


def workers_of(thing: Any) -> list[Worker]:
    """Return who makes cells: an engine, all of a pool, or workers elsewhere."""
    if isinstance(thing, Engine):
        return [EngineWorker(thing)]
    if is_elsewhere(thing):
        from fooocus_nb.experiment.executor import Workers

        thing = Workers(thing)
    own = getattr(thing, "sweep_workers", None)
    if callable(own):
        return list(own())
    engines = getattr(thing, "engines", None)
    if engines is not None and not isinstance(thing, (str, bytes)):
        found = list(engines.values() if hasattr(engines, "values") else engines)
        if found and all(isinstance(each, Engine) for each in found):
            return [EngineWorker(engine) for engine in found]
    if isinstance(thing, (list, tuple)) and thing:
        return [worker for each in thing for worker in workers_of(each)]
    msg = (
        f"A {type(thing).__name__} cannot make a sweep's cells: give an engine of "
        "fooocus_nb.start() or connect(), a Pool, Workers, an executor, or several in a list."
    )
    raise ConfigurationError(msg)


def is_elsewhere(thing: Any) -> bool:
    """Whether it is an executor or a Dask client, told without loading Dask."""
    if isinstance(thing, concurrent.futures.Executor):
        return True
    kind = type(thing)
    return kind.__module__.partition(".")[0] == "distributed" and kind.__name__ == "Client"
