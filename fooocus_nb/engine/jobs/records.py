"""What is being generated, written into the engine's run folder for kernels that come later."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.fooocus.requests import Request
from fooocus_nb.supervisor.system import creation_time

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["JobRecord", "abandon", "forget", "records_in", "write"]

PREFIX = "job-"
MAX_BYTES = 4 << 20
#: Pictures are left out: they are large, and nothing is ever sent again from a record.
MAX_VALUE = 10_000
_SESSION = re.compile(r"[0-9a-zA-Z]{1,64}")


@dataclass(frozen=True)
class JobRecord:
    """One generation that a kernel has handed to an engine.

    Attributes
    ----------
    session : str
        The session hash; stop and skip need it.
    request : Request
        What was asked for, but for its pictures.
    started : float
        When, in seconds since the epoch.
    output_dir : Path
        Where its images were to go.
    kernel : int
        The process id of the kernel.
    kernel_created : str or None
        Its creation time.
    path : Path
        The file that says so.
    """

    session: str
    request: Request
    started: float
    output_dir: Path
    kernel: int
    kernel_created: str | None
    path: Path

    @property
    def orphaned(self) -> bool:
        """Whether its kernel has ended, so that nobody looks after it."""
        created = creation_time(self.kernel)
        return created is None or created != self.kernel_created


def write(run_dir: Path, request: Request, *, session: str, output_dir: Path) -> Path | None:
    """Write down what is about to be generated; nobody ever reads half of it.

    Parameters
    ----------
    run_dir : Path
        The run folder of the engine.
    request : Request
        What was asked for.
    session : str
        Its session hash.
    output_dir : Path
        Where its images are to go.

    Returns
    -------
    Path or None
        The file; None where it could not be written, which must not cost a generation.
    """
    path = run_dir / f"{PREFIX}{session}.json"
    content = {
        "session": session,
        "values": _small(request.values),
        "given": _small(request.given),
        "seed": str(request.seed),
        "started": time.time(),
        "output_dir": str(output_dir),
        "kernel": os.getpid(),
        "kernel_created": creation_time(os.getpid()),
    }
    try:
        _replace(path, content)
    except (OSError, TypeError, ValueError):
        return None
    return path


def _replace(path: Path, content: Mapping[str, Any]) -> None:
    draft = path.with_suffix(".draft")
    try:
        draft.write_text(json.dumps(content), encoding="utf-8")
        draft.replace(path)
    except BaseException:
        forget(draft)
        raise


def abandon(path: Path) -> None:
    """Leave a generation to whoever comes next: its kernel lets go of the engine."""
    with contextlib.suppress(OSError, ValueError):
        _replace(path, {**json.loads(path.read_bytes()), "kernel": 0, "kernel_created": None})


def _small(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if _size(value) <= MAX_VALUE}


def _size(value: Any) -> int:
    """Return about how long a value is as JSON, without making it."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, (list, tuple)) else 1


def forget(path: Path) -> None:
    """Remove a record. One that is gone is no error."""
    with contextlib.suppress(OSError):
        path.unlink()


def records_in(run_dir: Path) -> list[JobRecord]:
    """Return the records in a run folder, oldest first; damaged ones are left out.

    Parameters
    ----------
    run_dir : Path
        The run folder of an engine.
    """
    found = []
    for path in run_dir.glob(f"{PREFIX}*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found.append(_read(path))
    return sorted(found, key=lambda record: record.started)


def _read(path: Path) -> JobRecord:
    if path.stat().st_size > MAX_BYTES:
        msg = f"{path} is too large"
        raise ValueError(msg)
    known = json.loads(path.read_bytes())
    if not _SESSION.fullmatch(known["session"]):
        msg = f"{path} names no session"
        raise ValueError(msg)
    return JobRecord(
        session=known["session"],
        request=Request(dict(known["values"]), dict(known["given"]), int(known["seed"])),
        started=float(known["started"]),
        output_dir=Path(known["output_dir"]),
        kernel=int(known["kernel"]),
        kernel_created=known["kernel_created"],
        path=path,
    )
