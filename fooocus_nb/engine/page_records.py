"""Records of engines that a kernel is only connected to, so that Jupyter can show their pages.

An engine of ours is found by what its guardian publishes. For another one, the kernel that uses it
writes a record into the user's own runtime folder when its page is asked for. It counts as long as
that kernel runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fooocus_nb.engine.folders import runtime_folder, runtime_paths
from fooocus_nb.engine.names import listed_name, unique_name
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.whole_files import writing_whole
from fooocus_nb.supervisor.guardian_handle import require_own
from fooocus_nb.supervisor.protocol import parse_object
from fooocus_nb.supervisor.registry import Registry
from fooocus_nb.supervisor.system import creation_time, here, where

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["PageRecord", "page_records", "record_page"]

PREFIX = "page-"
SUFFIX = ".json"
#: Far more than a record needs.
MAX_BYTES = 10_000
MAX_RECORDS = 1000


@dataclass(frozen=True)
class PageRecord:
    """An engine that a running kernel is connected to."""

    path: Path
    name: str
    url: str
    #: The kernel, told from later processes with the same id by its creation time.
    pid: int
    created: str
    #: Whether its process id can be judged from here.
    local: bool = True

    def runs(self) -> bool:
        """Whether the kernel that has written it still runs, and has not taken it back."""
        return self.local and creation_time(self.pid) == self.created and self.path.is_file()


def record_page(name: str, url: str) -> PageRecord:
    """Record that this kernel is connected to an engine; the same one is recorded once.

    The record's name has a number where another engine has that name already.
    """
    pid, created = os.getpid(), creation_time(os.getpid()) or ""
    records = page_records()
    for record in records:
        if (record.url, record.pid, record.created) == (url, pid, created):
            return record
    folder = runtime_folder()
    listed = Registry(folder, *runtime_paths()).entries()
    taken = {listed_name(entry.name, entry.labels) for entry in listed}
    name = unique_name(name, taken | {record.name for record in records})
    path = folder / f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}"
    known = {"name": name, "url": url, "pid": pid, "created": created, "place": here()}
    with writing_whole(path, private=True) as part:
        part.write_text(json.dumps(known), encoding="utf-8")
    return PageRecord(path, name, url, pid, created)


def page_records() -> list[PageRecord]:
    """Return the records of running kernels, and remove those that others have left behind.

    Those of kernels in another container or on another host cannot be judged: they are left.
    """
    found = []
    for path in _paths():
        try:
            record = _read(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not ours to judge
        if record.runs():
            found.append(record)
        elif record.local:
            with contextlib.suppress(OSError):
                path.unlink()
    return found


def _paths() -> Iterator[Path]:
    for folder in runtime_paths():
        with contextlib.suppress(OSError):
            names = sorted(folder.glob(f"{PREFIX}*{SUFFIX}"))
            yield from names[:MAX_RECORDS]


def _read(path: Path) -> PageRecord:
    require_own(path.parent, stat.S_ISDIR)
    require_own(path, stat.S_ISREG)
    known = parse_object(read_plain_file(path, MAX_BYTES))
    name, url, pid, created = known["name"], known["url"], known["pid"], known["created"]
    fine = isinstance(name, str) and isinstance(pid, int) and isinstance(created, str)
    if not fine or urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        msg = f"{path} is no record of a page"
        raise ValueError(msg)
    return PageRecord(path, name, url, pid, created, local=_is_local(known.get("place")))


def _is_local(place: object) -> bool:
    """Whether the kernel's process id means something here; versions up to 0.2.0 did not say."""
    return isinstance(place, dict) and where(place) is None
