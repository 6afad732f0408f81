"""The backstop: ends the engines of kernels that are gone, should their guardians ever fail.

A guardian ends its engine within moments of its last kernel's end. What is still there after a
while, and was used by nobody but kernels of this server that have ended, is ended from here, once
it proves to be what its guardian has published: never one that is detached, that anybody else uses,
or that runs where its process ids mean nothing to us.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from fooocus_nb.engine.names import users_in
from fooocus_nb.errors import FooocusError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from fooocus_nb.engine.listing import Listed

__all__ = ["Backstop", "end", "is_left_behind"]

_log = logging.getLogger(__name__)

#: How long an engine may take that its guardian is ending: its own grace, and for KILL.
ENDING_SECONDS = 60.0
#: So many kernels of this server, and of those before it, are remembered.
MAX_KERNELS = 10_000


class Backstop:
    """Remembers the kernels of this server, and finds the engines that they have left behind."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._kernels: dict[str, None] = {}
        self._since: dict[tuple[str, int], float] = {}

    @property
    def kernels(self) -> Collection[str]:
        """The ids of all kernels that this server has had, and those of servers that it follows."""
        return self._kernels.keys()

    def note_kernels(self, ids: Iterable[str]) -> None:
        """Remember kernels as this server's own."""
        for each in ids:
            self._kernels[each] = None
        while len(self._kernels) > MAX_KERNELS:
            del self._kernels[next(iter(self._kernels))]

    def overdue(self, found: Iterable[Listed], grace: float | None = None) -> list[Listed]:
        """Return the engines that should have been gone for so long; by default for its grace."""
        patience = self._grace if grace is None else grace
        now = time.monotonic()
        since = {
            (str(listed.entry.run_dir), listed.entry.pid): listed
            for listed in found
            if is_left_behind(listed, self._kernels)
        }
        self._since = {key: self._since.get(key, now) for key in since}
        return [
            listed
            for key, listed in since.items()
            if now - self._since[key] >= (ENDING_SECONDS if _is_ending(listed) else patience)
        ]


def is_left_behind(listed: Listed, kernels: Collection[str]) -> bool:
    """Whether an engine was used by kernels of these, and nobody uses it any more."""
    entry = listed.entry
    if entry.elsewhere is not None or entry.idle_timeout is not None:
        return False
    users = users_in(entry.labels)
    if not any(user.kernel in kernels for user in users) or any(user.runs() for user in users):
        return False
    # Those that have left no word count as well: a guardian that answers knows of them.
    return listed.said is None or listed.said.users == 0


def _is_ending(listed: Listed) -> bool:
    return listed.said is not None and listed.said.ending is not None


def end(listed: Listed) -> bool:
    """End an engine that was left behind, where it proves to be ours; whether it is gone."""
    info = listed.info
    if not listed.entry.genuine():
        _log.warning(
            "engine %r is left alone: process %d is not what its guardian has published",
            info.name,
            info.pid,
        )
        return not info.runs()
    _log.warning("engine %r is ended: its kernels are gone, and its guardian has failed", info.name)
    try:
        info.stop()
    except (FooocusError, OSError) as error:
        _log.warning("engine %r could not be ended: %s", info.name, error)
    return not info.runs()
