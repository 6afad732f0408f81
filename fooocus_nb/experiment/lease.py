"""The lease of a run: a folder made with mkdir that says who writes to the run.

No file is locked, so it works on network shares. A lease is only ever broken where its holder is
proven to have ended, which takes the same machine, start of the system and container; of any other
holder nothing can be told from here, and then it takes ``force=True``.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import OutputError
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.supervisor.system import creation_time, here, where

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Holder", "Lease"]

FOLDER, OWNER, HEARTBEAT = "lease", "owner.json", "heartbeat"
HEARTBEAT_SECONDS = 5.0
#: A holder that lives here beats far more often; a copy of its lease never does.
STALE_SECONDS = 30.0
#: How long a lease may be without its owner's name: between mkdir and the writing of that file.
UNNAMED_SECONDS = 2.0
MAX_BYTES = 100_000


@dataclass(frozen=True)
class Holder:
    """Who holds the lease of a run, as far as it says.

    Attributes
    ----------
    host : str
        The name of the machine; empty where the lease doesn't say.
    pid : int
        The process; 0 where it doesn't say.
    since : str
        Since when, in UTC.
    ended : bool
        Whether the holder is proven to have ended.
    judged : bool
        Whether it can be told from here at all.
    place : str
        Where it is, in words; empty for a process that can be seen from here.
    beat : float or None
        Seconds since its last heartbeat, by the file's time.
    """

    host: str
    pid: int
    since: str
    ended: bool
    judged: bool
    place: str
    beat: float | None

    def __str__(self) -> str:
        """Say who it is, for people."""
        if not self.pid:
            return "somebody whose lease says no name"
        who = f"process {self.pid}"
        if self.pid == os.getpid() and not self.place:
            who = f"this kernel (process {self.pid})"
        parts = [who, self.place] if self.place else [who]
        text = " ".join(parts)
        if self.since:
            text += f", since {self.since}"
        if self.beat is not None and not self.judged:
            text += f"; last sign of life {_ago(self.beat)} ago"
        return text


class Lease:
    """The right to write to one run, while it is held.

    `on_lost` is called where somebody has taken it by force, or its folder has gone.
    """

    def __init__(self, run: Path, on_lost: Callable[[str], None] = lambda _why: None) -> None:
        self._folder = run / FOLDER
        self._on_lost = on_lost
        self._token = secrets.token_hex(16)
        #: Whether it was taken from a holder that can't be judged.
        self.forced = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._count = 0

    @property
    def held(self) -> bool:
        """Whether we hold it; a forked process doesn't."""
        return self._pid == os.getpid() and not self._ended.is_set()

    def acquire(self, *, force: bool = False) -> Holder | None:
        """Take the lease, and return None; or return who holds it.

        A lease whose holder has ended is taken over; with `force` also one that can't be judged.
        Raises an OutputError where the folder cannot be written to.
        """
        for _ in range(5):  # somebody else may take or release it just then
            try:
                self._folder.mkdir()
            except FileExistsError:
                token = self._token_there()
                holder = self.holder()
                if holder is None:
                    continue
                if not (holder.ended or (force and not holder.judged)):
                    return holder
                self.forced = self.forced or not holder.ended
                self._break(token)
            except OSError as error:
                msg = f"The run {self._folder.parent} can only be read: {error.strerror or error}."
                raise OutputError(msg) from error
            else:
                self._claim()
                return None
        return self.holder() or Holder("", 0, "", ended=False, judged=False, place="", beat=None)

    def release(self) -> None:
        """Give it back. Harmless where it isn't held, or is somebody else's by now."""
        if self._pid != os.getpid() or self._ended.is_set():
            return
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(HEARTBEAT_SECONDS)
        if self._ours():
            with contextlib.suppress(OSError):
                shutil.rmtree(self._folder)

    def check(self) -> bool:
        """Look whether it is still ours, and return that."""
        if self.held and not self._ours():
            self._lose()
        return self.held

    # -- who holds it -----------------------------------------------------------------------

    def holder(self) -> Holder | None:
        """Return who holds it now; None where nobody does."""
        deadline = time.monotonic() + UNNAMED_SECONDS
        while True:
            if not self._folder.exists():
                return None
            owner = self._owner()
            if owner is not None or time.monotonic() > deadline:
                break
            time.sleep(0.05)  # it is being made just now
        if owner is None:
            return Holder("", 0, "", ended=False, judged=False, place="", beat=self._beat())
        return self._judged(owner)

    def _judged(self, owner: Mapping[str, Any]) -> Holder:
        place, beat = owner.get("place"), self._beat()
        place = place if isinstance(place, dict) else {}
        pid = owner.get("pid")
        pid = pid if isinstance(pid, int) and 0 < pid < 2**31 else 0
        elsewhere = where(place)
        ended = judged = False
        if elsewhere is None and pid:
            judged = True
            created = creation_time(pid)
            ended = created is None or created != owner.get("created")
            if not ended and beat is not None and beat > STALE_SECONDS:
                # Its process lives, but it may hold the run that this one was copied from.
                ended = owner.get("folder") != self._identity()
        return Holder(
            host=str(place.get("host") or "")[:100],
            pid=pid,
            since=str(owner.get("since") or "")[:40],
            ended=ended,
            judged=judged,
            place=elsewhere or "",
            beat=beat,
        )

    def _owner(self) -> Mapping[str, Any] | None:
        return self._read(self._folder)

    @staticmethod
    def _read(folder: Path) -> Mapping[str, Any] | None:
        """Return what a lease says of its owner; None where it says nothing."""
        try:
            path = folder / OWNER
            found = json.loads(read_plain_file(path, MAX_BYTES))
        except (OSError, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def _beat(self) -> float | None:
        for name in (HEARTBEAT, OWNER):
            with contextlib.suppress(OSError):
                return max(time.time() - (self._folder / name).stat().st_mtime, 0.0)
        return None

    def _identity(self) -> str:
        """Return what a copy of the lease's folder does not share with it."""
        try:
            status = self._folder.stat()
        except OSError:
            return ""
        return f"{status.st_dev}:{status.st_ino}"

    def _ours(self) -> bool:
        owner = self._owner()
        return owner is not None and owner.get("token") == self._token

    # -- taking it --------------------------------------------------------------------------

    def _token_there(self) -> object:
        owner = self._owner()
        return None if owner is None else owner.get("token")

    def _break(self, token: object) -> None:
        """Remove the lease that was judged, by a name of its own first: once, whoever tries.

        A folder that cannot be renamed is emptied where it is.
        """
        aside = self._folder.with_name(f".part-{secrets.token_hex(8)}")
        try:
            self._folder.rename(aside)
        except FileNotFoundError:
            return
        except OSError:
            aside = self._folder
        else:
            found = self._read(aside)
            if (None if found is None else found.get("token")) != token:
                # Somebody else was faster, and this is already theirs.
                with contextlib.suppress(OSError):
                    aside.rename(self._folder)
                return
        with contextlib.suppress(OSError):
            shutil.rmtree(aside)

    def _claim(self) -> None:
        owner = {
            "token": self._token,
            "place": dict(here()),
            "pid": os.getpid(),
            "created": creation_time(os.getpid()),
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "folder": self._identity(),
        }
        try:
            (self._folder / OWNER).write_text(json.dumps(owner, indent=1), encoding="utf-8")
        except OSError as error:
            with contextlib.suppress(OSError):
                shutil.rmtree(self._folder)
            msg = f"The run {self._folder.parent} can only be read: {error.strerror or error}."
            raise OutputError(msg) from error
        self._pid = os.getpid()
        self._ended.clear()
        self._thread = threading.Thread(
            target=self._keep_beating, name="fooocus-nb-lease", daemon=True
        )
        self._thread.start()

    def _keep_beating(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            if self._ours():
                self._count += 1
                with contextlib.suppress(OSError):
                    (self._folder / HEARTBEAT).write_text(f"{self._count}\n", encoding="ascii")
            elif self._is_lost():
                self._lose()
                return

    def _is_lost(self) -> bool:
        """Whether the lease is gone or another's; a share that is away for a moment tells none."""
        if not self._folder.parent.exists():
            return False
        return self._owner() is not None or not self._folder.exists()

    def _lose(self) -> None:
        self._ended.set()
        self._on_lost("the lease of the run was taken by somebody else, or its folder is gone")


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
