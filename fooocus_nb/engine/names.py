"""What other kernels know of an engine: a name that no other one has, and who uses it."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.supervisor.system import creation_time

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "NAME_LABEL",
    "listed_name",
    "notebook_name",
    "notebooks_in",
    "unique_name",
    "user_label",
    "users_in",
]

#: The label that holds the unique name, and the beginning of those that hold the users.
NAME_LABEL = "listed"
USER_LABEL = "user:"
#: All labels together must fit into one message of the guardian's.
MAX_NOTEBOOK = 200

_KERNEL_FILE = re.compile(r"kernel-([\w-]{8})[\w-]*\.json$")


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
    return {f"{USER_LABEL}{pid}": said}


def notebooks_in(labels: Mapping[str, Any], *, elsewhere: bool) -> tuple[str, ...]:
    """Return the notebooks and scripts that use an engine, without those that have ended."""
    found = []
    for key, value in labels.items():
        # Process ids of another container or host cannot be judged.
        if key.startswith(USER_LABEL) and isinstance(value, str):
            try:
                created, notebook = json.loads(value)
                runs = elsewhere or creation_time(int(key.removeprefix(USER_LABEL))) == created
            except (ValueError, TypeError, OverflowError):
                continue  # whoever wrote it, it was no version of us
            if runs and isinstance(notebook, str) and notebook:
                found.append(notebook)
    return tuple(found)


def users_in(labels: Mapping[str, Any]) -> set[int]:
    """Return the process ids of those that use an engine, or have used it."""
    numbers = (key.removeprefix(USER_LABEL) for key in labels if key.startswith(USER_LABEL))
    return {int(number) for number in numbers if number.isdigit()}


def notebook_name() -> str:
    """Return the path of this notebook or script, or the kernel's id; nothing where unknown."""
    if path := os.environ.get("JPY_SESSION_NAME") or _notebook_of_vs_code():
        return path
    connect: Any = sys.modules.get("ipykernel.connect")
    if connect is not None:
        try:
            found = _KERNEL_FILE.search(connect.get_connection_file())
        except RuntimeError:  # IPython in a terminal
            found = None
        return f"kernel {found[1]}" if found else ""
    script = sys.argv[0] if sys.argv else ""
    return script if Path(script).is_file() else ""


def _notebook_of_vs_code() -> str:
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return str(shell.user_ns.get("__vsc_ipynb_file__", "")) if shell else ""
