"""Which PyTorch fits the machine.

Only where Fooocus's own launch.py would install one. What it pins, 2.1.0, is taken wherever it runs
on the GPU; it was built for NVIDIA GPUs up to Hopper (compute capability 9.0).
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fooocus_nb.errors import InstallError

__all__ = ["KINDS", "Torch", "choose_torch"]

#: What may be chosen with ``--torch``.
KINDS = ("auto", "nvidia", "cpu", "apple", "none")
INDEX = "https://download.pytorch.org/whl/"
QUERY_SECONDS = 20.0
QUERY = ("--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader")
#: Drivers before 510 do not know compute_cap and then answer nothing; no such driver knows a GPU
#: that is newer than what PyTorch 2.1.0 was built for.
OLD_QUERY = ("--query-gpu=name,driver_version", "--format=csv,noheader")
#: The oldest drivers for the CUDA that a build brings along (NVIDIA's table of minor versions).
DRIVER_CUDA_12, DRIVER_CUDA_11, DRIVER_CUDA_128 = 525, 450, 570
#: The first compute capability that PyTorch 2.1.0 was not built for: Blackwell.
BLACKWELL = (10, 0)
VENDORS = {"0x1002": "amd", "0x10de": "nvidia", "0x8086": "intel"}
GB = 1_000_000_000

#: As Fooocus's readme says for AMD; for Intel as PyTorch's own page does. Neither was tried.
AMD_LINUX = f"{{python}} -m pip install torch torchvision torchaudio --index-url {INDEX}rocm5.6"
DIRECTML = "{python} -m pip install torch-directml"
INTEL_LINUX = f"{{python}} -m pip install torch torchvision --index-url {INDEX}xpu"


@dataclass(frozen=True)
class Torch:
    """What to install.

    Attributes
    ----------
    requirements : tuple of str
        As pip takes them; empty where nothing is installed.
    index : str
        Where they are to be had beside PyPI; empty for PyPI alone.
    why : str
        What was found, for people.
    way : str
        The command that the user has to run, with ``{python}`` for the environment's interpreter,
        where we don't choose.
    disk : int
        Bytes that the environment takes with it, without pip's cache.
    download : int
        Bytes to download.
    """

    requirements: tuple[str, ...] = ()
    index: str = ""
    why: str = ""
    way: str = ""
    disk: int = 0
    download: int = 0


def choose_torch(kind: str = "auto") -> Torch:
    """Return which PyTorch is to be installed.

    Parameters
    ----------
    kind : str
        One of :data:`KINDS`. ``auto`` looks what there is.

    Raises
    ------
    InstallError
        When an NVIDIA GPU was asked for and there is none, or its driver is too old.
    """
    if kind == "none":
        return Torch(why="no PyTorch, as you asked")
    if kind == "cpu":
        return _cpu("as you asked")
    if kind == "apple" or (kind == "auto" and sys.platform == "darwin"):
        return _apple()
    gpus = _nvidia()
    if gpus:
        return _for_nvidia(gpus)
    vendors = _vendors()
    if kind == "nvidia" or "nvidia" in vendors:
        seen = "there is an NVIDIA GPU, but" if "nvidia" in vendors else "--torch nvidia:"
        msg = (
            f"{seen} nvidia-smi does not answer: install NVIDIA's driver first (nvidia-smi has to "
            "list the GPU), or go without it: --torch cpu"
        )
        raise InstallError(msg)
    if "amd" in vendors:
        way = DIRECTML if sys.platform == "win32" else AMD_LINUX
        return Torch(why="an AMD GPU", way=way)
    if "intel" in vendors:
        way = DIRECTML if sys.platform == "win32" else INTEL_LINUX
        return Torch(why="an Intel GPU and no NVIDIA one", way=way)
    return _cpu("no GPU was found")


def _pinned(label: str, *, index: str, why: str, disk: float, download: float) -> Torch:
    """Return Fooocus's own pins, in the build of a label."""
    versions = (f"torch==2.1.0{label}", f"torchvision==0.16.0{label}")
    # launch.py takes this variable, too; there are mirrors, and builds of others.
    if mirror := os.environ.get("TORCH_INDEX_URL", "").strip():
        index, versions = mirror, ("torch==2.1.0", "torchvision==0.16.0")
    return Torch(versions, index, why, disk=int(disk * GB), download=int(download * GB))


def _cpu(why: str) -> Torch:
    why = f"for the CPU, since {why}" if why.startswith("no ") else f"for the CPU, {why}"
    if sys.platform == "darwin" or platform.machine().lower() not in ("x86_64", "amd64"):
        return _pinned("", index="", why=why, disk=0.7, download=0.2)
    return _pinned("+cpu", index=f"{INDEX}cpu", why=why, disk=0.8, download=0.2)


def _apple() -> Torch:
    if platform.machine() != "arm64":
        return _cpu("no GPU of Intel Macs is supported")
    return _pinned("", index="", why="for Apple's GPU", disk=0.5, download=0.1)


def _for_nvidia(gpus: list[tuple[str, int, tuple[int, int]]]) -> Torch:
    name, driver, capability = gpus[0]
    why = f"for NVIDIA {name.removeprefix('NVIDIA ')} (driver {driver})"
    if capability >= BLACKWELL:
        if driver < DRIVER_CUDA_128:
            raise InstallError(_old_driver(name, driver, DRIVER_CUDA_128))
        why += (
            "; a newer PyTorch than Fooocus pins, which has no code for this GPU. Users say that "
            "it works"
        )
        versions = ("torch==2.7.1+cu128", "torchvision==0.22.1+cu128")
        return Torch(versions, f"{INDEX}cu128", why, disk=8 * GB, download=4 * GB)
    if driver >= DRIVER_CUDA_12:
        return _pinned("+cu121", index=f"{INDEX}cu121", why=why, disk=4.7, download=2.3)
    if driver >= DRIVER_CUDA_11:
        return _pinned("+cu118", index=f"{INDEX}cu118", why=why, disk=4.9, download=2.4)
    raise InstallError(_old_driver(name, driver, DRIVER_CUDA_11))


def _old_driver(name: str, driver: int, wanted: int) -> str:
    return (
        f"{name}: its driver {driver} is too old for any PyTorch that Fooocus runs with; version "
        f"{wanted} or later is needed. Update NVIDIA's driver, or go without the GPU: --torch cpu"
    )


def _nvidia() -> list[tuple[str, int, tuple[int, int]]]:
    """Return name, driver and compute capability of each NVIDIA GPU that nvidia-smi lists."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    found = []
    told = _output([program, *QUERY]) or _output([program, *OLD_QUERY])
    for line in told.splitlines():
        match = re.fullmatch(r"\s*(.+?),\s*(\d+)[\d.]*(?:,\s*(?:(\d+)\.(\d+)|.*))?\s*", line)
        if match is not None:
            capability = (int(match[3] or 0), int(match[4] or 0))
            found.append((match[1], int(match[2]), capability))
    return found


def _vendors() -> set[str]:
    """Return whose GPUs the system sees."""
    if sys.platform == "win32":
        shell = shutil.which("powershell") or ""
        command = "(Get-CimInstance Win32_VideoController).Name"
        told = _output([shell, "-NoProfile", "-Command", command]).casefold() if shell else ""
        words = {"radeon": "amd", "amd ": "amd", "nvidia": "nvidia", "intel": "intel"}
        return {vendor for word, vendor in words.items() if word in told}
    found = set()
    for file in Path("/sys/class/drm").glob("card[0-9]*/device/vendor"):
        try:
            found.add(VENDORS.get(file.read_text(encoding="ascii").strip(), ""))
        except (OSError, ValueError):
            continue
    return found - {""}


def _output(argv: list[str]) -> str:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=QUERY_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
