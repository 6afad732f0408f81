"""The list of runs that a kernel has opened to write, for who executes its notebook."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

__all__ = ["OPENED_VARIABLE", "opened_runs", "tell_opened"]

#: Names a file, to which a line is added for each run.
OPENED_VARIABLE = "FOOOCUS_NB_OPENED_RUNS"
MAX_BYTES = 1 << 20


def tell_opened(path: Path) -> None:
    """Add a run to the list, where somebody wants one."""
    if listed := os.environ.get(OPENED_VARIABLE):
        with contextlib.suppress(OSError), Path(listed).open("a", encoding="utf-8") as file:
            file.write(json.dumps(os.fspath(path)) + "\n")


def opened_runs(listed: Path) -> list[Path]:
    """Return the runs in such a list, each once."""
    try:
        with listed.open("rb") as file:
            lines = file.read(MAX_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):
            if isinstance(path := json.loads(line), str):
                found.append(Path(path))
    return list(dict.fromkeys(found))
