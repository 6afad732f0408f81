"""Installs Fooocus step by step; each is done once, so that a run goes on where one was ended."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb.doctor import doctor
from fooocus_nb.doctor.report import format_bytes
from fooocus_nb.errors import FooocusError, InstallError, nearest
from fooocus_nb.fooocus.checkout.config_txt import read_settings
from fooocus_nb.fooocus.checkout.downloads import find_downloads
from fooocus_nb.fooocus.checkout.installation import LAUNCHER, read_version
from fooocus_nb.install import release
from fooocus_nb.install.hardware import KINDS, Torch, choose_torch
from fooocus_nb.install.packages import Environment, needs_torch
from fooocus_nb.install.programs import Programs
from fooocus_nb.install.progress import Progress
from fooocus_nb.install.room import check_room
from fooocus_nb.install.source import fetch, source_of
from fooocus_nb.install.target import Target, resolve_target

if TYPE_CHECKING:
    from pathlib import Path

    from fooocus_nb.doctor import Report
    from fooocus_nb.install.progress import Observer

__all__ = ["DEFAULT_FOLDER", "Installed", "install"]

DEFAULT_FOLDER = "~/Fooocus"
MB = 1_000_000
#: The source alone; the web packages; and with PyTorch all that Fooocus 2.5.5 requires. Measured
#: in November 2026 on Linux with Python 3.10, rounded up.
SOURCE_ROOM, WEB_ROOM, ALL_ROOM = 60 * MB, 500 * MB, 1_600 * MB
WEB_DOWNLOAD, ALL_DOWNLOAD = 150 * MB, 800 * MB


@dataclass(frozen=True)
class Installed:
    """What was installed, and what the doctor says of it.

    Attributes
    ----------
    path : Path
        The checkout.
    version : str
        Its version.
    commit : str
        Its commit.
    python : Path
        The interpreter of its environment.
    report : Report
        The doctor's.
    """

    path: Path
    version: str
    commit: str
    python: Path
    report: Report

    def to_dict(self) -> dict[str, Any]:
        """Return the same for programs, as ``fooocus-nb install --json`` prints it."""
        return {
            "format": 1,
            "path": str(self.path),
            "version": self.version,
            "commit": self.commit,
            "python": str(self.python),
            "doctor": self.report.to_dict(),
        }


def install(
    directory: str | os.PathLike[str] | None,
    observer: Observer,
    *,
    source: str | None = None,
    ref: str | None = None,
    python: str | os.PathLike[str] | None = None,
    torch: str = "auto",
) -> Installed:
    """Install Fooocus into a folder of its own, or go on where an earlier run was ended.

    Parameters
    ----------
    directory : path-like or None
        The folder: a new or an empty one, or that of an earlier run. By default ``FOOOCUS_HOME``,
        then ``~/Fooocus``.
    observer : Observer
        Who is told, and asked before somebody else's code is installed.
    source : str, optional
        Another repository: an https or ssh address, or a folder. By default Fooocus's own.
    ref : str, optional
        The branch, tag or commit; by default the released tag, or the source's own branch.
    python : path-like, optional
        The Python to make the environment with, 3.10 or 3.11. An environment that has another
        version is made anew.
    torch : str
        ``auto``, ``nvidia``, ``cpu``, ``apple`` or ``none``. Default ``auto``: what is there.

    Raises
    ------
    InstallError
        When it can't be done; what was done so far stays, and the next run goes on from there.
    """
    if torch not in KINDS:
        msg = f"--torch {torch!r}: give one of {', '.join(KINDS)}.{nearest(torch, KINDS)}"
        raise InstallError(msg)
    wanted = source_of(source, ref)
    target = Target(resolve_target(directory or os.environ.get("FOOOCUS_HOME") or DEFAULT_FOLDER))
    with target.locked():
        target.tidy()
        programs = Programs(target)
        environment = Environment(target, programs, observer)
        # All that can be found out beforehand comes before anything is downloaded.
        base = environment.base_for(python)
        if target.step("Source") is None:
            observer.say(check_room(target.path, SOURCE_ROOM, SOURCE_ROOM))
        commit = fetch(wanted, target, programs, observer)
        version = _checked(target.path)
        observer.say(f"Fooocus {version}, commit {commit[:12]}, in {target.path}")
        observer.say(_licences(target.path, commit))
        chosen = choose_torch(torch) if needs_torch(target.path) else Torch(why="none is wanted")
        if target.step("Packages") is None:
            observer.say(_room(target, chosen, needed=needs_torch(target.path)))
        if base is not None:
            environment.make(base)
        environment.install_torch(chosen)
        environment.install_packages()
        observer.update(Progress("Check", "The doctor looks at it"))
        report = doctor(target.path, python=environment.python)
    return Installed(target.path, version, commit, environment.python, report)


def _checked(path: Path) -> str:
    """Return the version of what was fetched; something else than a Fooocus is refused."""
    if not (path / LAUNCHER).is_file():
        msg = f"What was fetched into {str(path)!r} is no Fooocus: it has no {LAUNCHER}."
        raise InstallError(msg)
    return read_version(path)


def _licences(path: Path, commit: str) -> str:
    names = ("LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING")
    file = next((path / name for name in names if (path / name).is_file()), None)
    where = f" (its licence is in {file})" if file else ""
    other = "" if commit == release.COMMIT else "; whoever changed this one says what holds for it"
    return f"{release.LICENCE}{other}{where}. {release.MODEL_LICENCES}"


def _room(target: Target, torch: Torch, *, needed: bool) -> str:
    room, download = (ALL_ROOM, ALL_DOWNLOAD) if needed else (WEB_ROOM, WEB_DOWNLOAD)
    if target.step("PyTorch") is None:
        room, download = room + torch.disk, download + torch.download
    told = check_room(target.path, room, download)
    try:
        missing = [each for each in find_downloads(read_settings(target.path)) if not each.present]
    except (FooocusError, OSError):
        return told
    models = sum(each.size or 0 for each in missing)
    return f"{told}, and {format_bytes(models)} for models at the first start" if models else told
