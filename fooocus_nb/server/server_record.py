"""What a server writes down for the case that it is killed: which kernels were its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import sys
from typing import TYPE_CHECKING

from fooocus_nb.engine.folders import runtime_folder, runtime_paths
from fooocus_nb.errors import EngineError
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.whole_files import writing_whole
from fooocus_nb.supervisor.system import creation_time, here, where

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

__all__ = ["ServerRecord", "records_of_dead"]

PREFIX = "server-"
#: What is larger was not written by us.
MAX_BYTES = 1 << 20
#: Of each server; more than any has in a month.
MAX_KERNELS = 10_000
MAX_ID = 100


class ServerRecord:
    """The record of this server, in the user's own runtime folder."""

    def __init__(self) -> None:
        self._name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}.json"
        self._path: Path | None = None
        self._written: frozenset[str] = frozenset()

    def write(self, kernels: Collection[str]) -> bool:
        """Write down the ids of its kernels, where they have changed; whether they stand there.

        A full disk is no error.
        """
        now = frozenset(sorted(kernels)[-MAX_KERNELS:])
        if now == self._written:
            return True
        content = {
            "pid": os.getpid(),
            "created": creation_time(os.getpid()),
            "place": here(),
            "kernels": sorted(now),
        }
        with contextlib.suppress(OSError, EngineError):
            path = runtime_folder() / self._name
            with writing_whole(path, private=True) as part:
                part.write_text(json.dumps(content), encoding="utf-8")
            self._path, self._written = path, now
        return now == self._written

    def remove(self) -> None:
        """Remove it: the server has ended in order."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._path, self._written = None, frozenset()


def records_of_dead() -> dict[Path, frozenset[str]]:
    """Return the records of servers that were killed, each with the ids of its kernels.

    Whoever takes them over removes the records once its own has the ids: it may be killed before.
    """
    found: dict[Path, frozenset[str]] = {}
    for path in _records():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            if (kernels := _kernels_of_dead(path)) is not None:
                found[path] = kernels
    return found


def _records() -> Iterator[Path]:
    for folder in runtime_paths():
        with contextlib.suppress(OSError):
            yield from sorted(folder.glob(f"{PREFIX}*.json"))


def _kernels_of_dead(path: Path) -> frozenset[str] | None:
    """Return the kernels of one that was killed; None of one that runs, or cannot be judged."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or (
        sys.platform != "win32" and status.st_uid != os.getuid()
    ):
        return None
    known = json.loads(read_plain_file(path, MAX_BYTES))
    pid, created = known["pid"], known["created"]
    if not isinstance(pid, int) or not isinstance(created, str) or where(known["place"]):
        return None
    if creation_time(pid) == created:
        return None
    return frozenset(
        each for each in known["kernels"] if isinstance(each, str) and len(each) <= MAX_ID
    )
