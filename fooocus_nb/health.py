"""What a look at an engine tells of its health."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from fooocus_nb.lifecycle import EngineState


__all__ = ["Health", "memory_of"]


@dataclass(frozen=True, slots=True)
class Health:
    """The result of :meth:`Engine.health`.

    Attributes
    ----------
    state : EngineState
        Where the engine is in its life.
    process : bool or None
        Whether the process runs; None for an engine that we only connected to.
    http : bool
        Whether the web server answers.
    worker : bool or None
        Whether the worker thread lives, by what the log says; None where the log is not ours.
    queued : int
        How many generations run or wait.
    memory : int or None
        Resident memory of the process and all its children, in bytes.
    """

    state: EngineState
    process: bool | None
    http: bool
    worker: bool | None
    queued: int
    memory: int | None

    @property
    def ok(self) -> bool:
        """Whether the engine can generate."""
        return self.http and self.process is not False and self.worker is not False

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        def word(value: bool | None) -> str:
            return {True: "ok", False: "down", None: "unknown"}[value]

        parts = [
            f"{self.state}",
            f"process {word(self.process)}",
            f"web server {word(self.http)}",
            f"worker {word(self.worker)}",
            f"{self.queued} in the queue",
        ]
        if self.memory is not None:
            parts.append(f"{self.memory / 1e9:.1f} GB of memory")
        return ", ".join(parts)


def memory_of(pid: int | None) -> int | None:
    """Return the resident memory of a process and its descendants.

    Parameters
    ----------
    pid : int or None
        The process.

    Returns
    -------
    int or None
        Bytes; None when there is no such process.
    """
    if pid is None:
        return None
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return None
    total = 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.Error:  # it ended meanwhile
            continue
    return total
