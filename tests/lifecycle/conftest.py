"""Kernels with an engine that has a family, and whether all of it is alive or gone."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

GONE_SECONDS = 20.0

#: Starts the engine, and writes down who it is made of.
START = """
import json, os, pathlib, psutil, re, time, fooocus_nb
engine = fooocus_nb.start(demo=True, args=["--fault", "family", "--fault", "daemon"])
pids, deadline = [], time.monotonic() + 20
while len(pids) < 4 and time.monotonic() < deadline:
    # Anywhere in a line: several processes write at once.
    found = re.findall(r"Started [a-z]+ with PIDs? ([0-9 ]+)", "|".join(engine.tail(200)))
    pids = [int(word) for words in found for word in words.split()]
    time.sleep(0.01)
pids += [engine.pid, psutil.Process(engine.pid).ppid()]
told = {"kernel": os.getpid(), "engine": engine.pid, "family": pids, "url": engine.url}
path = pathlib.Path(os.environ["TOLD"])
path.with_suffix(".new").write_text(json.dumps(told))
path.with_suffix(".new").replace(path)
"""


@dataclass
class Household:
    """Where a kernel keeps things, and who belongs to its engine."""

    folder: Path
    environment: dict[str, str]
    url: str = ""
    kernel: psutil.Process | None = None
    family: list[psutil.Process] = field(default_factory=list)
    marker: str = ""
    places: list[Path] = field(default_factory=list)

    def meet(self) -> Household:
        """Read who has been started, once the kernel has told."""
        told = json.loads((self.folder / "told.json").read_text())
        self.url = told["url"]
        self.kernel = psutil.Process(told["kernel"])
        self.family = [psutil.Process(pid) for pid in dict.fromkeys(told["family"])]
        assert len(self.family) == 5, told  # guardian, engine, child, grandchild, daemon
        assert self.all_alive()
        self._learn_places()
        return self

    def _learn_places(self) -> None:
        """Read what the guardian has left word of: an end is only clean when all of it is gone."""
        (word,) = (self.folder / "runtime").rglob("guardian.json")
        known = json.loads(word.read_text())
        kind, socket = known["address"]
        assert kind == "unix"
        self.marker = known["marker"]
        # The socket is elsewhere where the path would be too long for one.
        self.places = [word, Path(socket), *map(Path, known["cleanup"])]
        assert all(place.exists() for place in self.places), self.places
        assert len(self._bearers()) >= 4, "the marker should tell the engine's family"

    def all_alive(self) -> bool:
        """Whether nobody is missing."""
        return all(map(_alive, self.family))

    def assert_gone(self) -> None:
        """Wait until nobody and nothing is left."""
        deadline = time.monotonic() + GONE_SECONDS
        while time.monotonic() < deadline and (any(map(_alive, self.family)) or self._left()):
            time.sleep(0.02)
        self.assert_nobody_runs()
        assert not self._left()

    def assert_nobody_runs(self) -> None:
        """Wait until nobody is left, whatever is left in files."""
        deadline = time.monotonic() + GONE_SECONDS
        while time.monotonic() < deadline and any(map(_alive, self.family)):
            time.sleep(0.02)
        assert not [process for process in self.family if _alive(process)]
        assert not self._bearers()

    def _left(self) -> list[Path]:
        """Return every file, folder and socket of the engine's that is still there."""
        runtime, tmp = self.folder / "runtime", self.folder / "tmp"
        ours = [path for path in runtime.rglob("*") if path.is_socket() or "run-" in path.name]
        ours += [path for path in runtime.glob("fooocus-nb*/**/*") if path.is_file()]
        ours += [path for path in tmp.iterdir() if path.name.startswith("fooocus-nb-")]
        return ours + [path for path in self.places if path.exists()]

    def _bearers(self) -> list[psutil.Process]:
        """Return the processes that have inherited the guardian's marker."""
        name, _, value = self.marker.partition("=")
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if _alive(process) and process.environ().get(name) == value:
                    found.append(process)
        return found


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@pytest.fixture
def household(tmp_path: Path) -> Household:
    """Return places of its own for a kernel."""
    for name in ("runtime", "tmp", "state", "notebooks"):
        (tmp_path / name).mkdir(mode=0o700)
    environment = os.environ | {
        "FOOOCUS_DEMO_STEP_SECONDS": "0",
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "jupyter"),
        "TMPDIR": str(tmp_path / "tmp"),
        "TOLD": str(tmp_path / "told.json"),
        "XDG_RUNTIME_DIR": str(tmp_path / "runtime"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    return Household(tmp_path, environment)
