"""Job records: what is being generated, written into the run folder for later kernels."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.requests import Request
from fooocus_nb.fooocus.whole_files import writing_whole
from fooocus_nb.supervisor.protocol import parse_object
from fooocus_nb.supervisor.system import creation_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "PREFIX",
    "SESSION",
    "JobRecord",
    "JobRecords",
    "kernel_has_ended",
    "mark_orphaned",
    "record_path",
    "records_in",
    "remove",
    "replace_file",
    "small",
    "write",
]

#: How the names of the records begin.
PREFIX = "job-"
#: What is larger was not written by us.
MAX_BYTES = 4 << 20
#: Images are left out: they are large, and nothing is ever sent again from a record.
MAX_VALUE = 10_000
#: A session hash, as files name one: nothing else becomes part of a path.
SESSION = re.compile(r"[0-9a-zA-Z]{1,64}")


@dataclass(frozen=True)
class JobRecord:
    """One generation that a kernel has submitted to an engine; its images are left out."""

    #: The session hash; stop and skip need it.
    session_hash: str
    request: Request
    #: In seconds since the epoch.
    started: float
    #: Where its images were to go.
    output_dir: Path
    #: The process id of the kernel.
    kernel: int
    kernel_created: str | None
    path: Path

    @property
    def orphaned(self) -> bool:
        """Whether its kernel has ended, so that nobody looks after it."""
        return kernel_has_ended(self.kernel, self.kernel_created)


def kernel_has_ended(pid: int, created: str | None) -> bool:
    """Whether the kernel of that process id, which began at that time, does not run any more."""
    now = creation_time(pid)
    return now is None or now != created


def record_path(run_dir: Path, session_hash: str) -> Path:
    """Return where the record of a job is."""
    return run_dir / f"{PREFIX}{session_hash}.json"


class JobRecords:
    """The records that this kernel has written for what an engine generates for it.

    `run_dir` is where other kernels find the engine; None for one that is none of ours.
    """

    def __init__(self, run_dir: Callable[[], Path | None]) -> None:
        self._run_dir = run_dir
        self._written: set[Path] = set()

    def write(
        self, request: Request, *, session_hash: str, output_dir: Path
    ) -> Callable[[Callable[[], None]], None]:
        """Write the record of a job that is about to be sent; return what :meth:`adopt` does."""
        run_dir = self._run_dir()
        if run_dir is None:
            return self.adopt(None)
        return self.adopt(write(run_dir, request, session_hash=session_hash, output_dir=output_dir))

    def adopt(self, path: Path | None) -> Callable[[Callable[[], None]], None]:
        """Look after a record that is there already; return what is called at its end.

        That calls what notes the end, and removes the record then; neither where the record has
        been left to a later kernel.
        """
        if path is not None:
            self._written.add(path)

        def ended(note: Callable[[], None]) -> None:
            if path is None:
                note()
            elif path in self._written:
                note()
                self._written.discard(path)
                remove(path)

        return ended

    def orphan_all(self) -> Callable[[], None]:
        """Keep the records at the end of their jobs; return what leaves them to later kernels."""
        paths = tuple(self._written)
        self._written.clear()  # so that the jobs, which end for us, do not remove them

        def leave() -> None:
            for path in paths:
                mark_orphaned(path)

        return leave

    def others_generate(self) -> bool:
        """Whether kernels other than this one wait for what the engine generates for them."""
        run_dir = self._run_dir()
        known = [] if run_dir is None else records_in(run_dir)
        return any(not one.orphaned and one.path not in self._written for one in known)

    def orphaned(self) -> list[JobRecord]:
        """Return the records of jobs whose kernels have ended, oldest first."""
        run_dir = self._run_dir()
        return [] if run_dir is None else [one for one in records_in(run_dir) if one.orphaned]


def write(run_dir: Path, request: Request, *, session_hash: str, output_dir: Path) -> Path | None:
    """Write a job's record; nobody ever reads half of it.

    Returns None where it could not be written, which must not cost a generation.
    """
    path = record_path(run_dir, session_hash)
    content = {
        "session": session_hash,
        "values": small(request.values),
        "given": small(request.given),
        "seed": str(request.seed),
        "started": time.time(),
        "output_dir": str(output_dir),
        "kernel": os.getpid(),
        "kernel_created": creation_time(os.getpid()),
    }
    try:
        replace_file(path, content)
    except (OSError, TypeError, ValueError):
        return None
    return path


def replace_file(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file of JSON; nobody ever reads half of it."""
    with writing_whole(path) as part:
        part.write_text(json.dumps(content), encoding="utf-8")


def mark_orphaned(path: Path) -> None:
    """Mark a record as one that no kernel looks after any more."""
    with contextlib.suppress(OSError, ValueError):
        replace_file(path, {**_content(path), "kernel": 0, "kernel_created": None})


def small(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values without those that are too large for a record."""
    return {name: value for name, value in values.items() if _size(value) <= MAX_VALUE}


def _size(value: Any) -> int:
    """Return about how long a value is as JSON, without making it."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, (list, tuple)) else 1


def remove(path: Path) -> None:
    """Remove a record. One that is gone is no error."""
    with contextlib.suppress(OSError):
        path.unlink()


def records_in(run_dir: Path) -> list[JobRecord]:
    """Return the records in a run folder, oldest first; damaged ones are left out."""
    found = []
    for path in run_dir.glob(f"{PREFIX}*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found.append(_read(path))
    return sorted(found, key=lambda record: record.started)


def _content(path: Path) -> dict[str, Any]:
    return parse_object(read_plain_file(path, MAX_BYTES))


def _read(path: Path) -> JobRecord:
    known = _content(path)
    if not SESSION.fullmatch(known["session"]):
        msg = f"{path} names no session hash"
        raise ValueError(msg)
    return JobRecord(
        session_hash=known["session"],
        request=Request(dict(known["values"]), dict(known["given"]), int(known["seed"])),
        started=float(known["started"]),
        output_dir=Path(known["output_dir"]),
        kernel=int(known["kernel"]),
        kernel_created=known["kernel_created"],
        path=path,
    )
