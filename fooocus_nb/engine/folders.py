"""The user's own folders for engines: where their sockets are, and where their logs are kept."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from fooocus_nb.engine.old_logs import describe_run, remove_old_logs
from fooocus_nb.errors import ConfigurationError, StartError
from fooocus_nb.supervisor.system import make_private

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "RUNTIME_VARIABLE",
    "new_log_folder",
    "resolved",
    "runtime_folder",
    "runtime_paths",
    "state_folder",
]

#: Names another folder for what tells kernels of each other's engines.
RUNTIME_VARIABLE = "FOOOCUS_NB_RUNTIME_DIR"


def new_log_folder(name: str, run_dir: Path) -> Path:
    """Make and return the log folder of one run, and remove those that are too old.

    `run_dir` is the run's own folder, which its guardian removes at its end. Where the user has no
    home that can be written to, it is in the runtime folder.
    """
    failures: list[OSError] = []
    for root in filter(None, (_user_path(platformdirs.user_log_path), run_dir.parent / "logs")):
        try:
            return _log_folder_in(root, name, run_dir)
        except OSError as error:
            failures.append(error)
    raise failures[0]


def _log_folder_in(root: Path, name: str, run_dir: Path) -> Path:
    safe = re.sub(r"[^\w.-]+", "_", name)
    folder = root / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{safe}_{os.getpid()}_{time.time_ns()}"
    folder.mkdir(mode=0o700, parents=True)
    describe_run(folder, run_dir)
    remove_old_logs(root, folder, runtime_paths())
    return folder


def _user_path(find: Callable[..., Path]) -> Path | None:
    """Return a folder of the user's home; None for a user without one."""
    try:
        path = find("fooocus-nb", appauthor=False)
    except RuntimeError:  # no HOME, and no entry for the user, as in containers of OpenShift
        return None
    return path if path.is_absolute() else None  # platformdirs before 4.5 returns "~/..."


def resolved(path: str | os.PathLike[str], name: str) -> Path:
    """Return the absolute path of a folder that was given as the parameter `name`."""
    try:
        folder = Path(path).expanduser().resolve()
        os.fsencode(folder)
        _refuse_long_names(folder)
    except RuntimeError as error:
        msg = f"{name}={os.fspath(path)!r}: nothing tells where your home is. Give the whole path."
        raise ConfigurationError(msg) from error
    except FileNotFoundError as error:
        msg = (
            f"{name}={os.fspath(path)!r} is relative to the kernel's working folder, which was "
            "removed. Change to another one (%cd ~), or give the whole path."
        )
        raise ConfigurationError(msg) from error
    except (OSError, TypeError, ValueError) as error:
        msg = f"{name}={path!r} is no folder that can be used: {error}."
        raise ConfigurationError(msg) from error
    return folder


def _refuse_long_names(path: Path) -> None:
    """Raise where a path has a name that no file system takes, whether it is there or not."""
    try:
        path.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OSError(error.errno, error.strerror) from None


def runtime_paths() -> tuple[Path, ...]:
    """Return where the user's own folder for sockets and the like can be, the best first."""
    if given := os.environ.get(RUNTIME_VARIABLE):
        return (resolved(given, RUNTIME_VARIABLE),)
    if sys.platform == "win32":
        return (platformdirs.user_runtime_path("fooocus-nb", appauthor=False),)
    found = []
    if (runtime := os.environ.get("XDG_RUNTIME_DIR")) and not _is_foreign(Path(runtime)):
        # Not by platformdirs, which knows fallbacks of its own, other ones in each version.
        found.append(Path(runtime).absolute() / "fooocus-nb")
    # Containers and macOS seldom have one; what the system empties at its start is next best. There
    # anybody may have taken the name, so the last resort is the user's cache.
    found.append(Path(tempfile.gettempdir()) / f"fooocus-nb-{os.getuid()}")
    if (cache := _user_path(platformdirs.user_cache_path)) is not None:
        found.append(cache / "run")
    return tuple(found)


def state_folder(name: str) -> Path:
    """Return the user's own folder for what outlives engines; it need not exist.

    Where the user has no home, it is beside the sockets.
    """
    return (_user_path(platformdirs.user_state_path) or runtime_paths()[-1]) / name


def _is_foreign(folder: Path) -> bool:
    """Whether a folder is somebody else's, as after a change of the user."""
    with contextlib.suppress(OSError):
        return sys.platform != "win32" and folder.stat().st_uid != os.getuid()
    return False


def runtime_folder() -> Path:
    """Make and return the first folder for sockets that can be used, of mode 0700.

    A StartError says when none can be: each is somebody else's, or others can write into it.
    """
    failures: list[OSError] = []
    for folder in runtime_paths():
        try:
            make_private(str(folder))
        except OSError as error:
            failures.append(error)
        else:
            return folder
    first = failures[0]
    if not isinstance(first, PermissionError) or first.errno is not None:
        raise first
    msg = f"The folder {runtime_paths()[0]} cannot hold an engine's socket: {first}."
    raise StartError(msg, remedy=f"Set {RUNTIME_VARIABLE} to a folder of your own.")
