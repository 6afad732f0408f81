"""Unique names of engines, labels that tell who uses them, and what this kernel's notebook is."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fooocus_nb.supervisor.system import creation_time

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "NAME_LABEL",
    "User",
    "kernel_id",
    "listed_name",
    "notebook_name",
    "notebook_path",
    "notebook_paths",
    "notebooks_in",
    "output_label",
    "outputs_in",
    "running_shell",
    "unique_name",
    "user_label",
    "users_in",
]

#: The label that holds the unique name, and the beginning of those that hold the users.
NAME_LABEL = "listed"
USER_LABEL = "user:"
#: The beginning of those that hold the Jupyter server's ids of the kernels that use it.
KERNEL_LABEL = "kernel:"
#: The beginning of those that hold the folders into which its images are copied.
OUTPUT_LABEL = "output:"
#: A path of a system that has longer ones is not told.
MAX_FOLDER = 4096
MAX_PID = 2**31
#: All labels together must fit into one message of the guardian's.
MAX_NOTEBOOK = 200

_KERNEL_FILE = re.compile(r"kernel-([\w-]{8,64})\.json$")
#: So much of a kernel's id is shown to people.
SHOWN_ID = 8


class User(NamedTuple):
    """A process that uses an engine, or has used it and was killed."""

    pid: int
    #: The creation time, which tells the process from later ones with the same id.
    created: str | None
    #: The Jupyter server's id of the kernel; empty for a script.
    kernel: str
    #: The path of the notebook or script, as far as it is known.
    notebook: str

    def runs(self) -> bool:
        """Whether it still runs; only where its process id can be judged."""
        return self.created is not None and creation_time(self.pid) == self.created


def unique_name(name: str, taken: Collection[str]) -> str:
    """Return the name, with a number where it is taken."""
    number = 1
    while (candidate := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return candidate


def listed_name(name: str, labels: Mapping[str, Any]) -> str:
    """Return the name by which an engine is listed. Versions up to 0.1.0 gave it no other."""
    listed = labels.get(NAME_LABEL)
    return listed if isinstance(listed, str) and listed else name


def user_label(*, uses: bool = True) -> dict[str, str | None]:
    """Return the label by which an engine says that this process uses it, or no longer does."""
    pid = os.getpid()
    # With the creation time: a user that was killed takes no label away, and process ids return.
    said = json.dumps([creation_time(pid), notebook_name()[:MAX_NOTEBOOK]]) if uses else None
    return {f"{USER_LABEL}{pid}": said, f"{KERNEL_LABEL}{pid}": kernel_id() if uses else None}


def output_label(folder: Path) -> dict[str, str]:
    """Return the label by which an engine says where its images are copied to."""
    path = str(folder)
    if len(path) > MAX_FOLDER:
        return {}
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]
    return {f"{OUTPUT_LABEL}{digest}": path}


def outputs_in(labels: Mapping[str, Any]) -> tuple[Path, ...]:
    """Return the folders into which an engine's images are copied; they may be gone by now."""
    found = [
        Path(value)
        for key, value in labels.items()
        if key.startswith(OUTPUT_LABEL) and isinstance(value, str) and "\0" not in value
    ]
    return tuple(path for path in found if path.is_absolute())


def notebooks_in(labels: Mapping[str, Any], *, elsewhere: bool) -> tuple[str, ...]:
    """Return the notebooks and scripts that use an engine, without those that have ended."""
    # Process ids of another container or host cannot be judged.
    users = [user for user in users_in(labels) if elsewhere or user.runs()]
    return tuple(user.notebook for user in users if user.notebook)


def users_in(labels: Mapping[str, Any]) -> tuple[User, ...]:
    """Return who uses an engine, and who has used it until it was killed."""
    found = []
    for key, value in labels.items():
        if key.startswith(USER_LABEL) and isinstance(value, str):
            try:
                pid = int(key.removeprefix(USER_LABEL))
                created, notebook = json.loads(value)
            except (ValueError, TypeError, OverflowError, RecursionError):
                continue  # whoever wrote it, it was no version of us
            kernel = labels.get(f"{KERNEL_LABEL}{pid}")
            if 0 < pid < MAX_PID:
                found.append(
                    User(
                        pid,
                        created if isinstance(created, str) else None,
                        kernel if isinstance(kernel, str) else "",
                        notebook if isinstance(notebook, str) else "",
                    )
                )
    return tuple(found)


def notebook_name() -> str:
    """Return the path of this notebook or script, or the kernel's id; nothing where unknown."""
    if path := notebook_path():
        return path
    if kernel := kernel_id():
        return f"kernel {kernel[:SHOWN_ID]}"
    if _kernel_app() is not None:
        return ""
    script = sys.argv[0] if sys.argv else ""
    return script if Path(script).is_file() else ""


def notebook_path() -> str:
    """Return the path of this notebook; nothing where the frontend does not tell it."""
    return next(iter(notebook_paths()), "")


def notebook_paths() -> list[str]:
    """Return what a Jupyter server and VS Code say that this notebook's path is, as far as told."""
    shell = running_shell()
    by_vs_code = shell.user_ns.get("__vsc_ipynb_file__", "") if shell is not None else ""
    return [path for path in (os.environ.get("JPY_SESSION_NAME"), str(by_vs_code)) if path]


def running_shell() -> Any:
    """Return IPython's shell in this process; None without one. Nothing is imported for that."""
    ipython: Any = sys.modules.get("IPython")  # where IPython runs, it is imported
    return ipython.get_ipython() if ipython is not None else None


def kernel_id() -> str:
    """Return the Jupyter server's id of this kernel; nothing where it is none, or not known."""
    app = _kernel_app()
    found = _KERNEL_FILE.search(str(app.connection_file)) if app is not None else None
    return found[1] if found else ""


def _kernel_app() -> Any:
    """Return the application of this kernel; None in a script, a terminal or another application.

    :func:`ipykernel.connect.get_connection_file` would make one where there is none, and fails in
    the process of another application, such as a Jupyter server.
    """
    module: Any = sys.modules.get("ipykernel.kernelapp")
    if module is None or not module.IPKernelApp.initialized():
        return None
    from traitlets.config.configurable import MultipleInstanceError

    try:
        return module.IPKernelApp.instance()
    except MultipleInstanceError:  # that of another application
        return None
