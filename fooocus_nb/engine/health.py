"""What a look at an engine tells of its health."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fooocus_nb.engine.resource_usage import Gpu
    from fooocus_nb.engine.state import EngineState

__all__ = ["Health"]


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
        Whether the worker thread lives, by what the log and the running generation say; None
        where nothing tells.
    queued : int
        How many generations run or wait.
    memory : int or None
        Resident memory of the process and all its children, in bytes.
    guardian : bool or None
        Whether the guardian process reads what the engine prints; None where there is none.
    silence : float or None
        Seconds since the running generation last gave a sign of life; None when there is none.
    available, total : int or None
        Memory that the machine, or our container, has left for programs, and has in all; bytes.
        None for an engine that we only connected to.
    gpus : tuple of Gpu
        Graphics cards and their memory, where ``nvidia-smi`` answers; of this machine.
    lost : int
        Bytes of the log that never reached its file, such as on a full disk.
    """

    state: EngineState
    process: bool | None
    http: bool
    worker: bool | None
    queued: int
    memory: int | None
    guardian: bool | None = None
    silence: float | None = None
    available: int | None = None
    total: int | None = None
    gpus: tuple[Gpu, ...] = ()
    lost: int = 0

    @property
    def ok(self) -> bool:
        """Whether the engine can generate."""
        parts = (self.process, self.guardian, self.worker)
        return self.http and not any(part is False for part in parts)

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
        if self.guardian is False:
            parts.insert(2, "guardian stopped")
        if self.silence is not None and self.silence >= 1:
            parts.append(f"silent for {self.silence:.0f} s")
        if self.memory is not None:
            parts.append(f"{self.memory / 1e9:.1f} GB of memory")
        if self.available is not None and self.total is not None:
            parts.append(f"{self.available / 1e9:.1f} of {self.total / 1e9:.1f} GB available")
        parts += map(str, self.gpus)
        if self.lost:
            parts.append(f"{self.lost:,} bytes of the log lost")
        return ", ".join(parts)
