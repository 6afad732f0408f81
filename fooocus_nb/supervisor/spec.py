"""What a guardian is told to run, and how it is written down for it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ChildSpec", "known_spec", "specification"]


@dataclass(frozen=True)
class ChildSpec:
    """What to run, and how it is to be guarded.

    Attributes
    ----------
    argv : tuple of str
        The command line.
    env : mapping
        The child's complete environment.
    name : str
        What messages call it.
    run_dir : Path
        An existing folder of mode 0700 for the guardian's socket.
    log_path : Path
        The log file; older ones are beside it as ``.1``, ``.2``.
    cwd : Path or None
        The working directory.
    grace : float
        Seconds between asking the child to end and ending it. Default 10.
    log_bytes : int
        When a log file is full. Default 10 MB.
    log_backups : int
        How many older log files are kept. Default 2.
    idle_timeout : float or None
        None ends the child with its last client. A number lets it live on without one, until it
        has neither printed nor worked for so many seconds.
    cleanup : tuple of Path
        Folders that the guardian removes at the end.
    labels : mapping
        What others should know about it, fit for JSON. The guardian publishes it unread.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    name: str
    run_dir: Path
    log_path: Path
    cwd: Path | None = None
    grace: float = 10.0
    log_bytes: int = 10_000_000
    log_backups: int = 2
    idle_timeout: float | None = None
    cleanup: tuple[Path, ...] = ()
    labels: Mapping[str, Any] = field(default_factory=dict)


def specification(spec: ChildSpec, token: str, marker: str) -> bytes:
    """Return the line of JSON that tells a guardian what to do.

    Parameters
    ----------
    spec : ChildSpec
        What to run.
    token : str
        What clients have to know.
    marker : str
        What the child gets into its environment, as ``NAME=value``.
    """
    name, _, value = marker.partition("=")
    content = {
        "name": spec.name,
        "argv": list(spec.argv),
        # The guardian lives elsewhere in the file system.
        "cwd": str(Path(spec.cwd or ".").absolute()),
        "env": {**spec.env, name: value},
        "run_dir": str(spec.run_dir.absolute()),
        "log_path": str(spec.log_path.absolute()),
        "grace": spec.grace,
        "log_bytes": spec.log_bytes,
        "log_backups": spec.log_backups,
        "idle_timeout": spec.idle_timeout,
        "cleanup": [str(path.absolute()) for path in spec.cleanup],
        "labels": dict(spec.labels),
        "token": token,
        "marker": marker,
    }
    return json.dumps(content).encode() + b"\n"


def known_spec(known: Mapping[str, Any]) -> ChildSpec:
    """Return the specification that a guardian has published."""
    return ChildSpec(
        argv=tuple(known["argv"]),
        env={},
        name=known["name"],
        run_dir=Path(known["run_dir"]),
        log_path=Path(known["log_path"]),
        cwd=Path(known["cwd"]),
        grace=known["grace"],
        log_bytes=known["log_bytes"],
        log_backups=known["log_backups"],
        idle_timeout=known["idle_timeout"],
        cleanup=tuple(Path(path) for path in known["cleanup"]),
        labels=dict(known["labels"]),
    )
