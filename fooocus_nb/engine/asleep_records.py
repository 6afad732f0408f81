"""Files that tell other kernels and the shell which engines sleep: those have no process."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from typing import TYPE_CHECKING, Any

from fooocus_nb.engine.folders import runtime_folder, runtime_paths
from fooocus_nb.engine.names import notebook_name
from fooocus_nb.errors import FooocusError
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.whole_files import writing_whole
from fooocus_nb.supervisor.protocol import parse_object
from fooocus_nb.supervisor.system import creation_time, here, where

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fooocus_nb.engine.child_process import EngineProcess

__all__ = ["AsleepMarker", "asleep_records"]

PREFIX, ENDING = "asleep-", ".json"
MAX_BYTES = 1 << 16


class AsleepMarker:
    """The file that says of one engine of this kernel that it sleeps."""

    def __init__(self) -> None:
        self._path: Path | None = None

    def write(self, name: str, process: EngineProcess) -> None:
        """Say that an engine sleeps; `process` is what ran until now."""
        labels = process.child.spec.labels
        content = {
            "name": name,
            "title": labels.get("title", ""),
            "since": time.time(),
            "kernel": os.getpid(),
            "kernel_created": creation_time(os.getpid()),
            "place": here(),
            "notebook": notebook_name(),
            "shared": labels.get("shared") is True,
            "idle_timeout": process.idle_timeout,
            "log_path": str(process.child.spec.log_path),
        }
        with contextlib.suppress(OSError, FooocusError):  # it is only told
            path = runtime_folder() / f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}{ENDING}"
            with writing_whole(path) as part:
                part.write_text(json.dumps(content), encoding="utf-8")
            self._path = path

    def remove(self) -> None:
        """Say no more."""
        path, self._path = self._path, None
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()


def asleep_records() -> Iterator[dict[str, Any]]:
    """Yield what is known of each engine that sleeps; those of kernels that ended are forgotten.

    Those of kernels in another container or on another host cannot be judged: they are left.
    """
    for folder in runtime_paths():
        with contextlib.suppress(OSError):
            for path in sorted(folder.glob(f"{PREFIX}*{ENDING}")):
                with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                    known = parse_object(read_plain_file(path, MAX_BYTES))
                    if creation_time(int(known["kernel"])) == known["kernel_created"]:
                        yield known
                    elif where(known["place"]) is None:
                        path.unlink()
