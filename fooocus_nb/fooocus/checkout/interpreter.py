"""Finds the interpreter that a Fooocus is installed in. Nothing is run, only looked for."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fooocus_nb.errors import InstallError
from fooocus_nb.fooocus.checkout._source import is_there
from fooocus_nb.fooocus.plain_files import read_plain_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["find_python"]

WINDOWS = os.name == "nt"
#: Environments that people and installers put in a checkout or beside it.
ENVIRONMENTS = (
    "venv",
    ".venv",
    "env",
    "fooocus_env",
    "conda_env",
    "python_embeded",
    "python_embedded",
    "../python_embeded",
    "../python_embedded",
    "../venv",
    "../.venv",
    "../env",
    "../fooocus_env",
)
#: Where images of containers have theirs; another root only in tests.
IMAGE_ROOT = Path("/")
IMAGE_ENVIRONMENTS = (
    "venv",  # ashleykza/fooocus, and most that are made for RunPod
    "opt/environments/python/fooocus",  # ai-dock/fooocus
    "opt/micromamba/envs/fooocus",  # earlier ones of ai-dock
)
#: Images without an environment, such as Fooocus's own, install into the Python of the system: a
#: folder of interpreters, and where the packages of a version are.
SYSTEM_PYTHONS = (
    ("usr/bin", "usr/local/lib/{}/dist-packages"),
    ("usr/local/bin", "usr/local/lib/{}/site-packages"),
    ("opt/conda/bin", "opt/conda/lib/{}/site-packages"),
)
#: What tells that Fooocus was installed there, and not only looked at.
INSTALLED = ("gradio", "torch")
#: Conda notes here each environment that it makes, wherever that is.
CONDA_LIST = "~/.conda/environments.txt"
MAX_LIST_BYTES = 1_000_000
#: What tells that a folder is an environment, whatever its name.
ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta")
WINDOWS_INTERPRETERS = ("python.exe", "Scripts/python.exe", "bin/python.exe")
INTERPRETERS = WINDOWS_INTERPRETERS if WINDOWS else ("bin/python3", "bin/python")
_VERSIONED = re.compile(r"python3\.\d+")
ADVICE = (
    "Name the interpreter that Fooocus is installed in with python=, such as "
    "/opt/fooocus-env/bin/python; if it really is the notebook's own, name that one."
)


class _Look(NamedTuple):
    """What was found in a folder: an interpreter, or why none of it can be used."""

    python: Path | None
    reason: str = ""


def find_python(checkout: Path, python: str | os.PathLike[str] | None = None) -> Path:
    """Return the given interpreter, else that of an environment in or beside the checkout.

    Else that of an environment of the checkout under another name, of a container's image, or of a
    conda environment that is named after Fooocus. Beside a checkout that is a link counts, too.
    """
    # Never the interpreter that runs this: Fooocus needs packages of its own.
    return _named_python(python) if python else _own_python(checkout)


def _named_python(python: str | os.PathLike[str]) -> Path:
    given = Path(os.path.expanduser(python))  # noqa: PTH111 - pathlib raises without a home
    if given.is_dir():
        found = _look_in(given)
        if found.python is None and given.name in {"bin", "Scripts"}:
            found = _look_in(given.parent)
        if found.python is None:
            because = f": {found.reason}" if found.reason else ""
            msg = f"python={str(python)!r} is a folder that holds no Python interpreter{because}."
            raise InstallError(msg)
        return found.python
    if given.parent == Path() and not given.is_file():
        command = shutil.which(str(given))
        if command is None:
            msg = f"python={str(python)!r}: there is no such command on the PATH."
            raise InstallError(msg)
        return Path(command)
    if WINDOWS and not given.suffix:
        given = given.with_suffix(".exe")
    if not given.is_file():
        msg = f"python={str(python)!r}: there is no such file{_dangling(given)}."
        raise InstallError(msg)
    if (obstacle := _obstacle(given)) is not None:
        msg = f"python={str(python)!r} {obstacle}."
        raise InstallError(msg)
    return given.absolute()  # not resolved: a venv's python is a link, and must stay one


def _own_python(checkout: Path) -> Path:
    reasons = []
    # Where the checkout is a link, an environment may stand beside either.
    checkouts = list(dict.fromkeys((checkout.resolve(), checkout.absolute())))
    usual = [Path(os.path.normpath(folder / name)) for folder in checkouts for name in ENVIRONMENTS]
    for folder in usual:
        found = _look_in(folder)
        if found.python is not None:
            return found.python
        reasons += [found.reason] if found.reason else []
    for looks in (
        map(_look_in, _marked(checkouts[0])),
        map(_look_in, _image()),
        map(_look_in, _conda()),
        map(_Look, _system()),
    ):
        pythons = [found for found in looks if found.python or found.reason]
        usable = [found.python for found in pythons if found.python is not None]
        if len(usable) > 1:
            msg = (
                f"Several Python environments may be that of the Fooocus in {str(checkout)!r}: "
                f"{', '.join(map(str, usable))}. Name the right one with python=."
            )
            raise InstallError(msg)
        if usable:
            return usable[0]
        reasons += [found.reason for found in pythons]
    because = "".join(f" {reason}." for reason in dict.fromkeys(reasons))
    msg = (
        f"No Python interpreter was found for the Fooocus in {str(checkout)!r}.{because} Looked "
        f"for the environments {', '.join(ENVIRONMENTS)}, any other in the checkout, those of "
        "containers' images, and those of conda that are named after Fooocus. To make one: "
        f"fooocus-nb install. {ADVICE}"
    )
    raise InstallError(msg)


def _marked(checkout: Path) -> Iterator[Path]:
    """Yield the environments in the checkout, whatever their names."""
    for folder in _listed(checkout):
        if folder.name not in ENVIRONMENTS and _is_environment(folder):
            yield folder


def _image() -> Iterator[Path]:
    if not WINDOWS:
        yield from (IMAGE_ROOT / name for name in IMAGE_ENVIRONMENTS)


def _system() -> Iterator[Path]:
    """Yield the system's interpreters that Fooocus was installed in; never the one that runs us."""
    for folder, packages in () if WINDOWS else SYSTEM_PYTHONS:
        for python in sorted((IMAGE_ROOT / folder).glob("python3.[0-9]*")):
            if not _VERSIONED.fullmatch(python.name) or python.parent.parent == Path(sys.prefix):
                continue
            home = IMAGE_ROOT / packages.format(python.name)
            if all(is_there(home / name) for name in INSTALLED) and _obstacle(python) is None:
                yield python


def _conda() -> Iterator[Path]:
    """Yield the conda environments whose name says that they are Fooocus's, the best alone."""
    try:
        listed = Path(os.path.expanduser(CONDA_LIST))  # noqa: PTH111 - pathlib raises without a home
        text = read_plain_file(listed, MAX_LIST_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return
    lines = text.replace("\0", "").splitlines()
    folders = dict.fromkeys(Path(line.strip()) for line in lines if line.strip())
    named = [
        folder
        for folder in folders
        if "fooocus" in folder.name.casefold()
        and is_there(folder / "conda-meta")
        and folder != Path(sys.prefix)
    ]
    exact = [folder for folder in named if folder.name.casefold() == "fooocus"]
    yield from exact or named


def _listed(folder: Path) -> Iterable[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return ()


def _is_environment(folder: Path) -> bool:
    return any(is_there(folder / mark) for mark in ENVIRONMENT_MARKS)


def _look_in(folder: Path) -> _Look:
    """Look for an interpreter in an environment's folder."""
    reason = ""
    names = [*INTERPRETERS, *_versioned(folder)]
    for candidate in (folder / name for name in names):
        if not is_there(candidate):
            dangling = _dangling(candidate)
            reason = reason or (f"{candidate} is there{dangling}" if dangling else "")
        elif (obstacle := _obstacle(candidate)) is None:
            return _Look(candidate.absolute())
        else:
            reason = reason or f"{candidate} {obstacle}"
    if not WINDOWS and not reason:
        foreign = next(
            (folder / name for name in WINDOWS_INTERPRETERS if is_there(folder / name)), None
        )
        reason = f"{foreign} {_obstacle(foreign)}" if foreign is not None else ""
    return _Look(None, reason)


def _versioned(folder: Path) -> list[str]:
    """Return the interpreters that are named by their version alone, the newest last."""
    if WINDOWS:
        return []
    names = [path.name for path in _listed(folder / "bin") if _VERSIONED.fullmatch(path.name)]
    return [f"bin/{name}" for name in sorted(names, key=lambda name: int(name.split(".")[1]))]


def _obstacle(python: Path) -> str | None:
    """Say why a file cannot be started as an interpreter; None where it can."""
    if not WINDOWS and python.suffix.casefold() == ".exe":
        return (
            "is a Python of Windows, which cannot run the engine here: in WSL, make an environment "
            "of its own for Fooocus, or run the notebook in Windows"
        )
    if not os.access(python, os.X_OK):
        return (
            f"may not be executed: chmod +x {python} lets it, unless its disk is mounted with "
            "noexec; an environment that was copied is best made anew"
        )
    return None


def _dangling(path: Path) -> str:
    try:
        return f", but it is a link to {path.readlink()}, which is gone"
    except OSError:  # no link, or nothing that we may look at
        return ""
