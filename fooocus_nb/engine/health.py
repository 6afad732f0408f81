"""The health of an engine: what runs and answers, and the memory of it and of its machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from fooocus_nb._background import run_sync
from fooocus_nb.engine.state import EngineState
from fooocus_nb.fooocus.outputs import WAITING_FOR_WORKER

if TYPE_CHECKING:
    from collections.abc import Collection

    from fooocus_nb.engine.child_process import EngineProcess
    from fooocus_nb.fooocus.client import Client

__all__ = [
    "Gpu",
    "Health",
    "ResourceUsage",
    "ask_nvidia_smi",
    "check_health",
    "environment_of",
    "gpu_memory_of",
    "gpus",
    "measure_usage",
    "memory_of",
    "web_server_answers",
    "worker_alive",
]

#: How long the web server may take to answer one probe.
PROBE_TIMEOUT = 2.0
#: A driver that hangs makes nvidia-smi hang, too.
NVIDIA_SMI_TIMEOUT = 2.0
_QUERY = ("--query-gpu=index,name,memory.used,memory.total", "--format=csv,noheader,nounits")
_APPS_QUERY = ("--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")
_MEBIBYTE = 1 << 20
_CONTROL_GROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One graphics card, as ``nvidia-smi`` describes it.

    Attributes
    ----------
    index : int
        Its number, from 0.
    name : str
        Its name.
    used, total : int
        Its memory in bytes; what is used counts all programs.
    """

    index: int
    name: str
    used: int
    total: int

    def __str__(self) -> str:
        return f"GPU {self.index} {self.used / 1e9:.1f} of {self.total / 1e9:.1f} GB"


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """Memory at one moment.

    Attributes
    ----------
    memory : int or None
        Resident memory of the engine's process and all below it, in bytes.
    available, total : int
        What the machine, or the container that we are in, has left for programs, and has in all;
        bytes.
    """

    memory: int | None
    available: int
    total: int

    def __str__(self) -> str:
        machine = f"{self.available / 1e9:.1f} GB of {self.total / 1e9:.1f} GB available"
        return machine if self.memory is None else f"{self.memory / 1e9:.1f} GB in use, {machine}"


def measure_usage(pid: int | None) -> ResourceUsage:
    """Measure the memory of a process with its descendants, and of the machine: some ms."""
    machine = psutil.virtual_memory()
    available, total = machine.available, machine.total
    limit, left = _control_group()
    if limit is not None and left is not None and limit < total:
        available, total = min(available, left), limit
    return ResourceUsage(memory_of(pid), available, total)


def _control_group() -> tuple[int | None, int | None]:
    """Return the limit of the container that we are in, and what is left of it."""
    try:
        limit = int((_CONTROL_GROUP / "memory.max").read_text())
        used = int((_CONTROL_GROUP / "memory.current").read_text())
        lines = (_CONTROL_GROUP / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no limit is the word "max"
        return None, None
    # Cached files count as used, and make room when it is needed.
    reclaimable = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    return limit, max(limit - used + reclaimable, 0)


def memory_of(pid: int | None) -> int | None:
    """Return the resident bytes of a process and its descendants; None where there is none."""
    family = [] if pid is None else _with_descendants(pid)
    if not family:
        return None
    total = 0
    for process in family:
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            total += process.memory_info().rss
    return total


def environment_of(pid: int, names: Collection[str]) -> dict[str, str] | None:
    """Return variables that a process was started with; None where not all can be known."""
    try:
        known = psutil.Process(pid).environ()
    except (psutil.Error, OSError, NotImplementedError):
        return None
    found = {name: known[name] for name in names if name in known}
    return found if len(found) == len(set(names)) else None


def _with_descendants(pid: int) -> list[psutil.Process]:
    """Return a process and all below it; nothing where there is no such process."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def gpus(timeout: float = NVIDIA_SMI_TIMEOUT) -> tuple[Gpu, ...]:
    """Return the graphics cards of this machine; none where ``nvidia-smi`` does not answer."""
    lines = ask_nvidia_smi(_QUERY, timeout)
    return tuple(gpu for gpu in map(_gpu, lines) if gpu is not None)


def ask_nvidia_smi(query: tuple[str, ...], timeout: float) -> list[str]:
    """Return the lines of an answer; none where there is no such program, or it hangs."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        answer = subprocess.run(
            [program, *query],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=timeout,
            start_new_session=os.name == "posix",  # an interrupted cell is no concern of it
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return answer.stdout.decode("utf-8", "replace").splitlines()


def gpu_memory_of(pid: int, timeout: float = NVIDIA_SMI_TIMEOUT) -> int | None:
    """Return the bytes of GPU memory that a process and its descendants hold.

    None where ``nvidia-smi`` does not tell, as in most containers.
    """
    family = {process.pid for process in _with_descendants(pid)}
    if not family:
        return None
    held = ask_nvidia_smi(_APPS_QUERY, timeout)
    found = [
        int(size) * _MEBIBYTE
        for line in held
        for owner, _, size in [line.replace(" ", "").partition(",")]
        if owner.isdecimal() and size.isdecimal() and int(owner) in family
    ]
    return sum(found) if found else None


def _gpu(line: str) -> Gpu | None:
    """Read a line such as ``0, NVIDIA A100, 1024, 81920``; a name may hold a comma."""
    index, _, rest = line.partition(",")
    fields = [field.strip() for field in rest.rsplit(",", 2)]
    try:
        name, used, total = fields
        return Gpu(int(index), name, int(used) * _MEBIBYTE, int(total) * _MEBIBYTE)
    except ValueError:  # such as [N/A], and what a broken driver says in place of an answer
        return None


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
        """Whether the engine can generate, where it sleeps after a start."""
        if self.state is EngineState.ASLEEP:
            return True
        parts = (self.process, self.guardian, self.worker)
        return self.http and not any(part is False for part in parts)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        if self.state is EngineState.ASLEEP:
            return "asleep: its memory is free, and the next generation starts it again"

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


def web_server_answers(client: Client, timeout: float, *, unknown: bool) -> bool:
    """Whether a web server answers in time; `unknown` where our own event loop does not."""
    try:
        return run_sync(client.healthy(timeout=timeout), timeout + 1)
    except TimeoutError:
        return unknown


def check_health(
    state: EngineState,
    process: EngineProcess | None,
    client: Client | None,
    *,
    worker: bool | None,
    queued: int,
    silence: float | None,
) -> Health:
    """Look whether process, guardian and web server are well, and at the memory."""
    child = process.child if process is not None else None
    runs = None if child is None else child.alive() and child.exists()
    usage = measure_usage(child.pid) if child is not None else None
    return Health(
        state=state,
        process=runs,
        http=client is not None
        and runs is not False
        and web_server_answers(client, PROBE_TIMEOUT, unknown=False),
        worker=worker,
        queued=queued,
        memory=usage.memory if usage else None,
        guardian=not child.guardian_stopped() if child is not None and runs else None,
        silence=silence,
        available=usage.available if usage else None,
        total=usage.total if usage else None,
        gpus=gpus() if child is not None else (),
        lost=child.lost if child is not None else 0,
    )


def worker_alive(
    process: EngineProcess | None,
    stalled: bool,
    said: str,
    silence: float | None,
    stall_timeout: float,
) -> bool | None:
    """Tell from the log, and from whether the running generation has been taken up."""
    if stalled or (process is not None and process.tracker.worker_dead):
        return False
    if silence is not None and said.startswith(WAITING_FOR_WORKER):
        return None if silence < stall_timeout else False
    if silence is not None and said:
        return True
    return None if process is None else True
