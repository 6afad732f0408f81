"""Where the logs of engines are kept, and for how long."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from pathlib import Path

import platformdirs

__all__ = ["new_log_folder"]

#: How many runs are remembered, those that go on not counted.
KEPT = 20
#: The file that tells which run a folder belongs to.
_RUN = "run"


def new_log_folder(name: str, run_dir: Path) -> Path:
    """Make and return the log folder of one run, and let go of the oldest ones.

    Parameters
    ----------
    name : str
        The engine's name.
    run_dir : Path
        The run's own folder, which its guardian removes at its end.

    Returns
    -------
    Path
        A new folder. The newest 20 of all runs are kept, and those of every run that goes on.
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
