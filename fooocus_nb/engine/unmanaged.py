"""Finds a Fooocus of a checkout that runs without us, such as one that a container has started."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from fooocus_nb.supervisor.guardian_handle import MARKER_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Unmanaged", "find_unmanaged"]

#: What people and containers start Fooocus by.
SCRIPTS = {"launch.py", "entry_with_update.py", "webui.py"}
#: Where it listens if it is not told otherwise, or may not be asked.
DEFAULT_PORT = 7865


class Unmanaged(NamedTuple):
    """A Fooocus that runs, and that no guardian of ours has started."""

    pid: int
    #: Where its web page is, as far as can be seen.
    url: str

    @property
    def proposal(self) -> str:
        """What to do instead of starting a second one."""
        return (
            f"To use it, connect: fooocus_nb.connect({self.url!r}), or %fooocus connect "
            f"{self.url}. A second one may not fit into the GPU's memory beside it."
        )


def find_unmanaged(checkout: Path) -> list[Unmanaged]:
    """Return what runs of a checkout without us; nothing of what this user may not look at."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            words = process.cmdline()
            if _is_of(process, words, checkout) and not _is_ours(process):
                found.append(Unmanaged(process.pid, f"http://127.0.0.1:{_port(process, words)}"))
    return found


def _is_of(process: psutil.Process, words: Sequence[str], checkout: Path) -> bool:
    scripts = [word for word in words[1:] if os.path.basename(word) in SCRIPTS]  # noqa: PTH119
    if not scripts or process.status() == psutil.STATUS_ZOMBIE:
        return False
    # It changes to its checkout when it begins; what started it may have named it from above.
    try:
        folder = Path(process.cwd())
    except psutil.AccessDenied:  # somebody else's, such as a container's own: its words are enough
        return Path(scripts[0]).parent == checkout
    return checkout in (folder, (folder / scripts[0]).resolve().parent)


def _is_ours(process: psutil.Process) -> bool:
    try:
        return MARKER_VARIABLE in process.environ()
    except psutil.AccessDenied:
        return False


def _port(process: psutil.Process, words: Sequence[str]) -> int:
    """Return where a process listens, else where its command line says that it will."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            listens = connection.pid == process.pid and connection.status == psutil.CONN_LISTEN
            if listens and connection.laddr:
                return int(connection.laddr.port)
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, _, value = word.partition("=")
        if name == "--port" and (value or following).isdecimal():
            return int(value or following)
    return DEFAULT_PORT
