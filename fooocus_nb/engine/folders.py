"""The user's own folders for engines: where their sockets are, and where their logs are kept."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from pathlib import Path

import platformdirs

from fooocus_nb.errors import StartError

__all__ = ["RUNTIME_VARIABLE", "new_log_folder", "runtime_folder", "runtime_path"]

#: Names another folder for what tells kernels of each other's engines.
RUNTIME_VARIABLE = "FOOOCUS_NB_RUNTIME_DIR"

#: How many runs are remembered, those that go on not counted.
KEPT = 20
#: The file that tells which run a folder belongs to.
_RUN = "run"


def new_log_folder(name: str, run_dir: Path) -> Path:
    """Make and return the log folder of one run, and remove the oldest ones.

    The newest 20 of all runs are kept, and those of every run that goes on: `run_dir` is the run's
    own folder, which its guardian removes at its end.
    """
    root = platformdirs.user_log_path("fooocus-nb", appauthor=False)
    safe = re.sub(r"[^\w.-]+", "_", name)
    folder = root / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{safe}_{os.getpid()}_{time.time_ns()}"
    folder.mkdir(mode=0o700, parents=True)
    (folder / _RUN).write_text(str(run_dir), encoding="utf-8")
    for old in sorted(root.iterdir())[:-KEPT]:
        if not _goes_on(old):
            shutil.rmtree(old, ignore_errors=True)
    return folder


def _goes_on(folder: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return Path((folder / _RUN).read_text(encoding="utf-8")).is_dir()
    return False


def runtime_path() -> Path:
    """Return where the user's own folder for sockets and the like is, made or not."""
    if given := os.environ.get(RUNTIME_VARIABLE):
        return Path(given).expanduser().absolute()
    if sys.platform != "win32" and not os.environ.get("XDG_RUNTIME_DIR"):
        # Containers and macOS seldom have one; what the system empties at its start is next best.
        return Path(tempfile.gettempdir()) / f"fooocus-nb-{os.getuid()}"
    return platformdirs.user_runtime_path("fooocus-nb", appauthor=False)


def runtime_folder() -> Path:
    """Make and return the user's own folder for sockets and the like, of mode 0700."""
    folder = runtime_path()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_private(folder):
        msg = f"The folder {folder} is open to others, so no engine's socket can be in it."
        raise StartError(msg, remedy=f"Set {RUNTIME_VARIABLE} to a folder of your own.")
    return folder


def _is_private(folder: Path) -> bool:
    if sys.platform == "win32":
        return True  # it is in the user's own profile
    status = folder.lstat()
    ours = status.st_uid == os.getuid()
    open_to_others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return ours and stat.S_ISDIR(status.st_mode) and not open_to_others
