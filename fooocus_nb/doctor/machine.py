"""Whether there is room, memory, a GPU and a port."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from fooocus_nb.doctor._run import ask
from fooocus_nb.doctor.report import Check, Status, format_bytes
from fooocus_nb.fooocus.checkout.command import HOST

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["disk_check", "existing", "gpu_check", "memory_check", "port_check"]

GB = 1_000_000_000
#: What Fooocus's readme asks for at the least.
WANTED_MEMORY = 8 * GB
WANTED_VRAM = 4 * GB
#: A system never has quite what it says on the box.
TOLERANCE = 0.9
FULL, NEARLY_FULL = 1 * GB, 5 * GB
NVIDIA_SMI_SECONDS = 10.0
NVIDIA_QUERY = "name,driver_version,memory.total,memory.free"
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that is there."""
    for candidate in (path, *path.parents):
        # Not by `exists()`: before Python 3.14 that raises where a folder may not be looked into.
        if os.path.exists(candidate):  # noqa: PTH110
            return candidate
    return Path(path.anchor or ".")


def disk_check(folders: Iterable[Path], models: Path | None, needed: int) -> Check:
    """Compare the room on each disk with what is wanted there.

    Parameters
    ----------
    folders : iterable of Path
        Where something will be written.
    models : Path or None
        Where models are downloaded to.
    needed : int
        Bytes that the downloads will take, as far as known.

    Returns
    -------
    Check
        ``disk``, with the free bytes by folder.
    """
    places: dict[int, tuple[Path, int]] = {}
    wanted: dict[int, int] = {}
    for folder in [Path(tempfile.gettempdir()), *folders, *([models] if models else [])]:
        place = existing(folder)
        try:
            disk, free = place.stat().st_dev, shutil.disk_usage(place).free
        except OSError:
            continue
        places.setdefault(disk, (folder, free))
        if folder is models:
            wanted[disk] = needed
    told = {"free": {str(folder): free for folder, free in places.values()}, "needed": needed}
    text = ", ".join(f"{format_bytes(free)} free in {folder}" for folder, free in places.values())
    short = [disk for disk, (_, free) in places.items() if free < wanted.get(disk, 0) + FULL]
    tight = [disk for disk, (_, free) in places.items() if free < wanted.get(disk, 0) + NEARLY_FULL]
    if short:
        more = f" for {format_bytes(needed)} of models" if needed else ""
        advice = f"Make room{more} on the disk of {places[short[0]][0]}."
        return Check("disk", "disk", Status.FAILURE, text, advice, told)
    if tight:
        advice = f"It will soon be full: make room on the disk of {places[tight[0]][0]}."
        return Check("disk", "disk", Status.WARNING, text, advice, told)
    return Check("disk", "disk", Status.OK, text, "", told)


def memory_check() -> Check:
    """Look at the memory and the swap, and at a container's limit."""
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    limit = _container_limit()
    total = min(memory.total, limit) if limit else memory.total
    told = {
        "total": memory.total,
        "available": memory.available,
        "swap_total": swap.total,
        "swap_free": swap.free,
        "limit": limit,
    }
    text = (
        f"{format_bytes(memory.available)} of {format_bytes(memory.total)} free, "
        f"{format_bytes(swap.free)} of {format_bytes(swap.total)} swap free"
    )
    if limit and limit < memory.total:
        text += f"; this container may use {format_bytes(limit)}"
    check = ("memory", "memory")
    if total < WANTED_MEMORY * TOLERANCE:
        advice = f"Fooocus wants {format_bytes(WANTED_MEMORY)} of memory and as much swap."
        return Check(*check, Status.WARNING, text, advice, told)
    if min(memory.available, total) + swap.free < WANTED_MEMORY:
        advice = "Loading the models may end in the system killing the engine: end other programs."
        return Check(*check, Status.WARNING, text, advice, told)
    return Check(*check, Status.OK, text, "", told)


def _container_limit() -> int | None:
    for path in CGROUP_LIMITS:
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if text.isdigit() and int(text) < 1 << 60:
            return int(text)
    return None


def gpu_check() -> Check:
    """Ask ``nvidia-smi``; where there is none, PyTorch's word counts."""
    check = ("gpu", "GPU")
    program = shutil.which("nvidia-smi")
    if program is None:
        if sys.platform == "darwin":
            return Check(*check, Status.OK, "Apple's; see PyTorch", "", {"gpus": []})
        text = "no nvidia-smi, so no NVIDIA GPU or no driver for it; see PyTorch for other GPUs"
        advice = "Install the driver if there is an NVIDIA GPU."
        return Check(*check, Status.WARNING, text, advice, {"gpus": []})
    query = [program, f"--query-gpu={NVIDIA_QUERY}", "--format=csv,noheader,nounits"]
    try:
        answer = ask(query, NVIDIA_SMI_SECONDS)
    except OSError as error:
        text = f"{program} cannot be run: {error.strerror or error}."
        return Check(*check, Status.FAILURE, text, "Reinstall the driver.", {"gpus": []})
    gpus = [gpu for line in answer.output.splitlines() if (gpu := _gpu(line))]
    if answer.returncode != 0 or not gpus:
        said = (answer.output + answer.errors).strip().splitlines()
        reason = said[0][:200] if said else f"exit code {answer.returncode}"
        if answer.returncode is None:
            reason = f"it did not answer within {NVIDIA_SMI_SECONDS:g} s"
        text = f"nvidia-smi finds none: {reason}"
        advice = "The driver does not work: restart the machine, or reinstall it."
        return Check(*check, Status.FAILURE, text, advice, {"gpus": []})
    status, text, advice = _gpu_verdict(gpus)
    return Check(*check, status, text, advice, {"gpus": gpus})


def _gpu(line: str) -> dict[str, Any] | None:
    parts = [part.strip() for part in line.rsplit(",", 3)]
    if len(parts) != 4:
        return None
    memory = [int(part) * 1024 * 1024 if part.isdigit() else None for part in parts[2:]]
    return {"name": parts[0], "driver": parts[1], "total": memory[0], "free": memory[1]}


def _gpu_verdict(gpus: list[dict[str, Any]]) -> tuple[Status, str, str]:
    text = "; ".join(f"{gpu['name']} (driver {gpu['driver']}){_free_memory(gpu)}" for gpu in gpus)
    best = max(gpus, key=lambda gpu: gpu["free"] or 0)
    if best["total"] is None or best["free"] is None:  # memory shared with the processor
        return Status.OK, text, ""
    if all((gpu["total"] or 0) < WANTED_VRAM * TOLERANCE for gpu in gpus):
        advice = (
            f"Fooocus wants {format_bytes(WANTED_VRAM)}: start with args=['--always-low-vram']."
        )
        return Status.WARNING, text, advice
    if best["free"] < WANTED_VRAM:
        return Status.WARNING, text, "Other programs hold its memory: nvidia-smi names them."
    return Status.OK, text, ""


def _free_memory(gpu: dict[str, Any]) -> str:
    if not gpu["total"]:
        return ""
    return f", {format_bytes(gpu['free'])} of {format_bytes(gpu['total'])} free"


def port_check(port: int | None) -> Check:
    """Look whether the engine can listen on its port; it listens on this machine only.

    Parameters
    ----------
    port : int or None
        The port that will be asked for; None for one that is chosen at each start.
    """
    check = ("port", "port")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # as servers do: what has just been closed does not count
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port or 0))
        except (OSError, OverflowError, TypeError) as error:
            text = f"{HOST}:{port} cannot be had: {getattr(error, 'strerror', None) or error}"
            advice = "Choose another one, or none: then a free one is found at each start."
            return Check(*check, Status.FAILURE, text, advice, {"port": port})
    text = f"{HOST}:{port} is free" if port else "a free one is found at each start"
    return Check(*check, Status.OK, text, "", {"port": port})
