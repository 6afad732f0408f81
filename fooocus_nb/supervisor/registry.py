"""Who runs what: the children of all of a user's kernels, proven alive before anybody uses them.

Every guardian publishes what it guards in the run folder of its child, and removes the folder at
the end. So the run folders of a user, which lie in one folder of mode 0700, are the registry: there
is nothing beside them that could disagree with them. What a killed guardian has left behind is
recognised by its process id and creation time, and removed by whoever looks next.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import EngineTimeout
from fooocus_nb.supervisor import _platform
from fooocus_nb.supervisor.guardian_handle import MARKER_VARIABLE, GuardianHandle
from fooocus_nb.supervisor.protocol import FrameReader, message

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

__all__ = ["RUN_PREFIX", "Entry", "Registry", "State"]

_log = logging.getLogger(__name__)

#: What the names of run folders begin with.
RUN_PREFIX = "run-"
PUBLISHED = "guardian.json"
#: A guardian publishes within a moment; a folder in which none has is removed after so long.
UNPUBLISHED_SECONDS = 120.0
#: Larger than anything that a guardian publishes.
MAX_BYTES = 1 << 20
LOCK_POLL_SECONDS = 0.02
#: How long a guardian may take to answer; it does so at once unless it is stopped.
LOOK_TIMEOUT = 2.0
#: How long processes may take to be gone after KILL; more means that they hang in a device.
KILL_TIMEOUT = 5.0
_MARKER = re.compile(rf"{MARKER_VARIABLE}=[0-9a-f]{{32}}")


@dataclass(frozen=True)
class State:
    """What a guardian says of its child."""

    #: How many clients use it.
    users: int
    #: Why it is being ended; None while it is not.
    ending: str | None
    #: How it ended; None while it runs.
    returncode: int | None
    #: Seconds since it last wrote anything.
    silence: float


@dataclass(frozen=True)
class Entry:
    """A child that somebody runs, as its guardian has published it."""

    #: Its run folder; :meth:`Process.attach` finds it by that.
    run_dir: Path
    name: str
    pid: int
    #: The creation times tell these processes from later ones with the same ids.
    created: str | None
    guardian: int
    guardian_created: str | None
    #: What all processes below the guardian have in their environment.
    marker: str
    #: In seconds since the epoch.
    started_at: float
    log_path: Path
    #: How long it may be idle without clients; None where it ends with its last one.
    idle_timeout: float | None
    labels: Mapping[str, Any]
    cleanup: tuple[Path, ...]
    address: _platform.Address
    token: str

    @classmethod
    def read(cls, run_dir: Path) -> Entry:
        """Read what was published in a run folder; a ValueError when it is damaged."""
        path = run_dir / PUBLISHED
        for place in (run_dir, path):
            _require_own(place)
        if path.stat().st_size > MAX_BYTES:
            msg = f"{path} is too large to be a guardian's"
            raise ValueError(msg)
        return cls._from(run_dir, json.loads(path.read_bytes()))

    @classmethod
    def _from(cls, run_dir: Path, known: Any) -> Entry:
        try:
            idle_timeout = known["idle_timeout"]
            kind, _ = known["address"]
            entry = cls(
                run_dir=run_dir,
                name=str(known["name"]),
                pid=_pid(known["pid"]),
                created=_text(known["created"]),
                guardian=_pid(known["guardian"]),
                guardian_created=_text(known["guardian_created"]),
                marker=str(known["marker"]),
                started_at=float(known["started_at"]),
                log_path=Path(known["log_path"]),
                idle_timeout=None if idle_timeout is None else float(idle_timeout),
                labels=dict(known["labels"]),
                cleanup=tuple(Path(path) for path in known["cleanup"]),
                address=list(known["address"]),
                token=str(known["token"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            msg = f"what was published in {run_dir} is damaged: {error!r}"
            raise ValueError(msg) from error
        # Processes are killed by the marker: one that fits too many must never get that far.
        if kind not in ("unix", "tcp") or not _MARKER.fullmatch(entry.marker):
            msg = f"what was published in {run_dir} is no guardian's"
            raise ValueError(msg)
        return entry

    def guarded(self) -> bool:
        """Whether its guardian still runs, and no later process with the same id."""
        return _runs(self.guardian, self.guardian_created)

    def proven(self) -> bool:
        """Whether both the child and its guardian still run."""
        return self.guarded() and _runs(self.pid, self.created)

    def look(self, timeout: float = LOOK_TIMEOUT) -> State | None:
        """Ask the guardian for its child's state, without counting as a client."""
        try:
            with _platform.connect(self.address, timeout) as connection:
                connection.settimeout(timeout)
                connection.sendall(message(op="look", token=self.token))
                return _state(connection, time.monotonic() + timeout)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def kill_tree(self) -> None:
        """Kill it without its guardian, which does not respond, and remove its folders."""
        with contextlib.suppress(ProcessLookupError):
            found = GuardianHandle.found(self.guardian, self.guardian_created, self.marker)
            found.kill_tree(self.pid, self.created)
        Registry(self.run_dir.parent).purge(self)


def _state(connection: socket.socket, deadline: float) -> State | None:
    reader = FrameReader()
    while time.monotonic() < deadline and (data := connection.recv(4096)):
        for _, payload in reader.feed(data):
            said = json.loads(payload)
            return State(
                int(said["users"]), said["ending"], said["returncode"], float(said["silence"])
            )
    return None


class Registry:
    """The run folders of one user, in an existing folder of mode 0700."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entries(self) -> list[Entry]:
        """Return the children proven to run, oldest first; remove what others have left behind."""
        found = []
        for run_dir in self._run_dirs():
            entry = self._proven(run_dir)
            if entry is not None:
                found.append(entry)
        return sorted(found, key=lambda entry: (entry.started_at, entry.pid))

    def _run_dirs(self) -> list[Path]:
        try:
            return [path for path in self.folder.iterdir() if path.name.startswith(RUN_PREFIX)]
        except FileNotFoundError:
            return []

    def _proven(self, run_dir: Path) -> Entry | None:
        try:
            entry = Entry.read(run_dir)
        except FileNotFoundError:
            self._remove_abandoned(run_dir)
        except ValueError as error:  # torn: nobody can use it any more
            _log.debug("%s", error)
            if not _somebody_listens(run_dir):
                shutil.rmtree(run_dir, ignore_errors=True)
        except OSError as error:
            _log.debug("%s is left alone: %s", run_dir, error)
        else:
            if entry.proven():
                return entry
            if not entry.guarded():
                self.purge(entry)
        return None

    def _remove_abandoned(self, run_dir: Path) -> None:
        """Remove a run folder whose guardian never came to publish; it may be about to."""
        with contextlib.suppress(OSError):
            if time.time() - run_dir.stat().st_mtime > UNPUBLISHED_SECONDS:
                _require_own(run_dir)
                if not _somebody_listens(run_dir):
                    shutil.rmtree(run_dir, ignore_errors=True)

    def purge(self, entry: Entry) -> None:
        """Kill what a guardian that was killed has left running, and remove its folders."""
        deadline = time.monotonic() + KILL_TIMEOUT
        while left := _platform.leftovers(entry.marker):
            _platform.end(left, None, kill=True)
            if time.monotonic() > deadline:
                break
            time.sleep(LOCK_POLL_SECONDS)
        for folder in (*entry.cleanup, entry.run_dir):
            # A guardian has published this; a root or a home it never was.
            if len(folder.parts) > 2 and folder not in (Path.home(), self.folder):
                shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self, timeout: float) -> Iterator[None]:
        """Keep others from starting something at the same time, or raise EngineTimeout.

        The lock ends with its holder, however that ends. On a file system without locks there is
        none: then two that start at the same instant may both start something.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                held = _platform.try_lock(str(self.folder))
            except OSError as error:
                _log.warning("no lock can be had in %s: %s", self.folder, error)
                yield
                return
            if held is not None:
                break
            if time.monotonic() > deadline:
                msg = (
                    f"Another kernel has been starting an engine for {timeout:g} s, and this one "
                    f"waited for it: it holds the lock on {self.folder}."
                )
                raise EngineTimeout(msg, remedy="share=False starts one without waiting.")
            threading.Event().wait(LOCK_POLL_SECONDS)
        try:
            yield
        finally:
            _platform.unlock(held)


def _require_own(path: Path) -> None:
    """Raise where a path is a link, or somebody else's."""
    status = path.lstat()
    if path.is_symlink() or (sys.platform != "win32" and status.st_uid != os.getuid()):
        msg = f"{path} is not this user's own"
        raise PermissionError(msg)


def _pid(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
        msg = f"{value!r} is no process id"
        raise ValueError(msg)
    return value


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _runs(pid: int, created: str | None) -> bool:
    return created is not None and _platform.creation_time(pid) == created


def _somebody_listens(run_dir: Path) -> bool:
    """Whether a guardian is there, though what it has published cannot be read."""
    for path in run_dir.glob("*.sock"):
        with contextlib.suppress(OSError), _platform.connect(["unix", str(path)], 1.0):
            return True
    return False
