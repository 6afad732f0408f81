"""Which engines run, and what has been left behind by those that should have gone."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from fooocus_nb.doctor.report import Check, Status, format_bytes
from fooocus_nb.engine.folders import runtime_paths
from fooocus_nb.engine.unmanaged import find_unmanaged
from fooocus_nb.supervisor.guardian_handle import MARKER_VARIABLE
from fooocus_nb.supervisor.registry import RUN_PREFIX, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["engines_check", "unmanaged_checks"]

#: What is in the command line of every guardian.
GUARDIAN = "fooocus_nb.supervisor.guardian"
TEMP_PREFIX = "fooocus-nb-"
#: A folder that is younger may belong to an engine that is being started.
YOUNG_SECONDS = 120.0
SHOWN = 5


def engines_check() -> Check:
    """Look at what guardians have published, at processes with their mark, and at temp folders.

    Returns
    -------
    Check
        ``engines``: a warning where something is left that nobody guards.
    """
    running, dead = _published()
    orphans = _orphans()
    used = {path for entry in running for path in entry.cleanup}
    folders = [*dead, *(path for path in _temporary() if path not in used)]
    told = {
        "running": [{"name": entry.name, "pid": entry.pid} for entry in running],
        "orphans": [{name: each[name] for name in ("pid", "memory")} for each in orphans],
        "folders": [str(folder) for folder in folders],
    }
    names = ", ".join(f"{entry.name} (process {entry.pid})" for entry in running)
    text = f"running: {names}" if names else "none runs"
    if not orphans and not folders:
        return Check("engines", "our engines", Status.OK, f"{text}, nothing is left over", "", told)
    advice = []
    if orphans:
        memory = format_bytes(sum(each["memory"] for each in orphans))
        pids = ", ".join(str(each["pid"]) for each in orphans[:SHOWN])
        text += f"; {len(orphans)} processes of engines that ended hold {memory}: {pids}"
        advice.append(f"End them: {_kill_command([each['pid'] for each in orphans])}.")
    if folders:
        shown = ", ".join(map(str, folders[:SHOWN]))
        text += f"; {len(folders)} folders are left over: {shown}"
        advice.append("They can be removed.")
    return Check("engines", "our engines", Status.WARNING, text, " ".join(advice), told)


def unmanaged_checks(checkout: Path) -> Iterator[Check]:
    """Yield a line ``running`` for each Fooocus of a checkout that runs without us."""
    for running in find_unmanaged(checkout):
        text = f"one of this checkout runs already without us (process {running.pid})"
        told = {"pid": running.pid, "url": running.url}
        yield Check("running", "another Fooocus", Status.WARNING, text, running.proposal, told)


def _kill_command(pids: list[int]) -> str:
    if os.name == "nt":
        return "taskkill /F " + " ".join(f"/PID {pid}" for pid in pids)
    return "kill -9 " + " ".join(map(str, pids))


def _published() -> tuple[list[Entry], list[Path]]:
    """Return what running guardians guard, and the run folders of those that have died.

    The registry would clean up on the way; a look changes nothing.
    """
    running, dead = [], []
    for folder in (each for parent in runtime_paths() for each in _folders(parent, RUN_PREFIX)):
        try:
            entry = Entry.read(folder)
        except (OSError, ValueError):
            if not _young(folder):
                dead.append(folder)
            continue
        if entry.dead():
            dead.append(folder)
        else:
            running.append(entry)
    return running, dead


def _orphans() -> list[dict[str, int]]:
    """Return this user's processes that a guardian has started, and that none guards any more."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if MARKER_VARIABLE not in process.environ():
                continue
            if process.status() != psutil.STATUS_ZOMBIE and not _is_guarded(process):
                found.append({"pid": process.pid, "memory": process.memory_info().rss})
    return found


def _is_guarded(process: psutil.Process) -> bool:
    """Whether a guardian is above it; one that the user started for another home is, too."""
    return any(GUARDIAN in word for parent in process.parents() for word in parent.cmdline())


def _temporary() -> list[Path]:
    runtime = runtime_paths()
    folders = _folders(Path(tempfile.gettempdir()), TEMP_PREFIX)
    return [folder for folder in folders if folder not in runtime and not _young(folder)]


def _folders(parent: Path, prefix: str) -> list[Path]:
    try:
        there = sorted(path for path in parent.iterdir() if path.name.startswith(prefix))
    except OSError:
        return []
    return [path for path in there if path.is_dir() and _is_ours(path)]


def _is_ours(path: Path) -> bool:
    try:
        return sys.platform == "win32" or path.stat().st_uid == os.getuid()
    except OSError:  # it has gone meanwhile, as an engine's does at its end
        return False


def _young(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime < YOUNG_SECONDS
    except OSError:
        return True
