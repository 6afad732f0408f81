"""Finds a Python that Fooocus supports, to make its environment with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fooocus_nb.errors import InstallError
from fooocus_nb.install.programs import clean_environment
from fooocus_nb.install.release import PYTHONS
from fooocus_nb.supervisor.system import without_debugger

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Base", "find_base", "find_uv"]

WINDOWS = os.name == "nt"
ASK_SECONDS = 30.0
#: The Python that runs this, and where the programs of its environment are.
OWN_VERSION = sys.version_info[:2]
OWN_FOLDER = Path(sys.prefix) / ("Scripts" if WINDOWS else "bin")
#: What a candidate is asked. It runs on any Python 3.
QUESTION = (
    "import importlib.util as u, json, struct, sys; print(json.dumps({"
    "'version': list(sys.version_info[:3]), 'bits': struct.calcsize('P') * 8, "
    "'program': getattr(sys, '_base_executable', None) or sys.executable, "
    "'venv': all(u.find_spec(name) is not None for name in ('venv', 'ensurepip'))}))"
)
WANTED = " or ".join(f"{major}.{minor}" for major, minor in PYTHONS)
NEWEST = f"{PYTHONS[-1][0]}.{PYTHONS[-1][1]}"
ADVICE = {
    "linux": (
        "The easiest is uv, which brings one along: curl -LsSf https://astral.sh/uv/install.sh | sh"
        f" (or pip install uv). Else: apt install python{NEWEST} python{NEWEST}-venv, or conda "
        f"create -n fooocus python={NEWEST}, and name it with --python."
    ),
    "darwin": (
        "The easiest is uv, which brings one along: brew install uv. Else: brew install "
        f"python@{NEWEST}, or the installer from https://www.python.org."
    ),
    "win32": (
        "The easiest is uv, which brings one along: winget install astral-sh.uv. Else: winget "
        f"install Python.Python.{NEWEST}"
    ),
}


@dataclass(frozen=True)
class Base:
    """What an environment is made from.

    Attributes
    ----------
    python : str
        The interpreter, or for uv also the version that it is to bring.
    version : str
        Its version, such as ``3.10.13``; only ``3.10`` where uv is yet to bring it.
    uv : str or None
        The path of uv, which then makes the environment.
    """

    python: str
    version: str
    uv: str | None = None


def find_base(given: str | os.PathLike[str] | None = None) -> Base:
    """Return an interpreter that Fooocus supports: the given one, one that is there, or uv's.

    Raises
    ------
    InstallError
        When there is none, or the given one can't be used.
    """
    uv = find_uv()
    if given is not None:
        return _given(os.fspath(given), uv)
    unfit: list[str] = []
    for wanted in PYTHONS:
        for candidate in _candidates(wanted):
            found = _ask(candidate)
            if found is None or found.version[:2] != wanted or found.bits != 64:
                continue
            if uv is None and not found.venv:
                name = f"python{wanted[0]}.{wanted[1]}"
                unfit.append(
                    f" {candidate} is a Python {found} without its module venv: apt install "
                    f"{name}-venv brings it."
                )
                continue
            return Base(found.program, str(found), uv)
    if uv is not None:
        major, minor = PYTHONS[0]
        return Base(f"{major}.{minor}", f"{major}.{minor}", uv)
    own = f"{OWN_VERSION[0]}.{OWN_VERSION[1]}"
    unfit_own = f" (this one is {own}, for which its pinned packages don't exist)"
    this = "" if OWN_VERSION in PYTHONS else unfit_own
    msg = (
        f"Fooocus needs a Python {WANTED} of its own, and none was found{this}.{''.join(unfit)} "
        f"{ADVICE.get(sys.platform, ADVICE['linux'])}"
    )
    raise InstallError(msg)


def find_uv() -> str | None:
    """Return the path of uv: on the PATH, where its installer puts it, or from this Python."""
    places = [shutil.which("uv")]
    name = "uv.exe" if WINDOWS else "uv"
    folders = [OWN_FOLDER]
    try:
        home = Path.home()
        folders += [home / ".local" / "bin", home / ".cargo" / "bin"]
    except RuntimeError:  # no home
        pass
    places += [str(folder / name) for folder in folders]
    for place in filter(None, places):
        if os.access(place, os.X_OK) and _runs([place, "--version"]):
            return place
    return None


def _runs(argv: list[str]) -> bool:
    return _output(argv) is not None


def _given(given: str, uv: str | None) -> Base:
    path = shutil.which(os.path.expanduser(given))  # noqa: PTH111 - pathlib raises without a home
    found = None if path is None else _ask(path)
    if path is None or found is None:
        msg = f"--python {given!r}: there is no such interpreter, or it does not run."
        raise InstallError(msg)
    if found.version[:2] not in PYTHONS:
        msg = (
            f"--python {given!r} is a Python {found}; Fooocus needs {WANTED}: for others its "
            "pinned packages don't exist."
        )
        raise InstallError(msg)
    if found.bits != 64:
        msg = f"--python {given!r} is a 32-bit one; PyTorch needs a 64-bit one."
        raise InstallError(msg)
    if uv is None and not found.venv:
        major, minor = found.version[:2]
        msg = (
            f"--python {given!r} lacks its module venv: apt install python{major}.{minor}-venv, or "
            "install uv."
        )
        raise InstallError(msg)
    return Base(found.program, str(found), uv)


def _candidates(wanted: tuple[int, int]) -> Iterator[str]:
    """Yield what may be an interpreter of a version; it is asked before it is believed."""
    name = f"python{wanted[0]}.{wanted[1]}"
    if wanted == OWN_VERSION:
        yield sys.executable
    named = [shutil.which(each) for each in (name, "python3", "python")]
    yield from dict.fromkeys(filter(None, named))
    for folder in _folders():
        candidate = folder / name
        if os.access(candidate, os.X_OK):
            yield str(candidate)
    for root in _version_roots():
        for found in sorted(root.glob(f"*{wanted[0]}.{wanted[1]}.*"), reverse=True):
            yield from (str(path) for path in (found / "bin" / name, found / "python.exe")
                        if os.access(path, os.X_OK))  # fmt: skip
    if WINDOWS and (launcher := shutil.which("py")) is not None:
        told = _output([launcher, f"-{wanted[0]}.{wanted[1]}", "-c", _WHERE])
        if told:
            yield told.strip()


_WHERE = "import sys; print(sys.executable)"


def _folders() -> tuple[Path, ...]:
    return () if WINDOWS else tuple(map(Path, ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")))


def _version_roots() -> Iterator[Path]:
    """Yield where pyenv and uv keep interpreters, each in a folder named after its version."""
    try:
        home = Path.home()
    except RuntimeError:
        return
    yield Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    yield Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or home / ".local/share/uv/python")


class _Answer(NamedTuple):
    """What an interpreter says of itself."""

    version: tuple[int, ...]
    bits: int
    #: Itself, where the candidate belongs to an environment or is a shim.
    program: str
    venv: bool

    def __str__(self) -> str:
        return ".".join(map(str, self.version))


def _ask(candidate: str) -> _Answer | None:
    """Return what a candidate says of itself; None for what is no Python, or does not run."""
    told = _output([candidate, "-I", "-B", "-c", QUESTION])
    try:
        found = json.loads(told or "")
        version, program = tuple(map(int, found["version"])), str(found["program"] or "")
        usable = program if os.access(program, os.X_OK) else candidate
        return _Answer(version, int(found["bits"]), usable, bool(found["venv"]))
    except (ValueError, KeyError, TypeError):
        return None


def _output(argv: list[str]) -> str | None:
    """Return what a program prints; None when it fails. It gets no standard input."""
    try:
        with without_debugger():
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=ASK_SECONDS,
                check=False,
                env=clean_environment(os.environ),
            )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
