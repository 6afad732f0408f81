"""How much memory an engine, its machine and its graphics cards have."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Gpu", "Vitals", "gpus", "memory_of", "take_vitals"]

#: A driver that hangs makes nvidia-smi hang, too.
NVIDIA_SMI_TIMEOUT = 2.0
_QUERY = ("--query-gpu=index,name,memory.used,memory.total", "--format=csv,noheader,nounits")
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
class Vitals:
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


def take_vitals(pid: int | None) -> Vitals:
    """Look at the memory of a process's family and of the machine.

    Parameters
    ----------
    pid : int or None
        The process.

    Returns
    -------
    Vitals
        Measured now; some milliseconds of work.
    """
    machine = psutil.virtual_memory()
    available, total = machine.available, machine.total
    limit, left = _control_group()
    if limit is not None and left is not None and limit < total:
        available, total = min(available, left), limit
    return Vitals(memory_of(pid), available, total)


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
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            total += process.memory_info().rss
    return total


def gpus(timeout: float = NVIDIA_SMI_TIMEOUT) -> tuple[Gpu, ...]:
    """Ask ``nvidia-smi`` for the graphics cards of this machine.

    Parameters
    ----------
    timeout : float
        Seconds that it may take. Default 2.

    Returns
    -------
    tuple of Gpu
        Empty where there is no such program, or where it does not answer.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        answer = subprocess.run(
            [program, *_QUERY],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=timeout,
            start_new_session=os.name == "posix",  # an interrupted cell is no concern of it
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    lines = answer.stdout.decode("utf-8", "replace").splitlines()
    return tuple(gpu for gpu in map(_gpu, lines) if gpu is not None)


def _gpu(line: str) -> Gpu | None:
    """Read a line such as ``0, NVIDIA A100, 1024, 81920``; a name may hold a comma."""
    index, _, rest = line.partition(",")
    fields = [field.strip() for field in rest.rsplit(",", 2)]
    try:
        name, used, total = fields
        return Gpu(int(index), name, int(used) * _MEBIBYTE, int(total) * _MEBIBYTE)
    except ValueError:  # such as [N/A], and what a broken driver says in place of an answer
        return None
