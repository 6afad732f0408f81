"""Who runs what: the children of all of a user's kernels, proven alive before anybody uses them.

Every guardian publishes what it guards in the run folder of its child, and removes the folder at
the end. So the run folders of a user, which lie in one folder of mode 0700, are the registry: there
is nothing beside them that could disagree with them. What a killed guardian has left behind is
recognised by its process id and creation time, and removed by whoever looks next.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import EngineTimeout
from fooocus_nb.supervisor import _platform
from fooocus_nb.supervisor._place import same_system, where
from fooocus_nb.supervisor.guardian_handle import GuardianHandle, read_published, require_own
from fooocus_nb.supervisor.protocol import FrameReader, message, number, parse_object

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

__all__ = ["RUN_PREFIX", "Entry", "Registry", "State"]

_log = logging.getLogger(__name__)

#: What the names of run folders begin with.
RUN_PREFIX = "run-"
#: A guardian publishes within a moment; a folder in which none has is removed after so long.
UNPUBLISHED_SECONDS = 120.0
#: How much of a run folder's name is random: what bears it was made for that run.
MIN_SUFFIX = 8
LOCK_POLL_SECONDS = 0.02
#: How long a guardian may take to answer; it does so at once unless it is stopped.
LOOK_TIMEOUT = 2.0
#: How long the system may take to say whether anybody listens.
CONNECT_TIMEOUT = 1.0
#: How long processes may take to be gone after KILL; more means that they hang in a device.
KILL_TIMEOUT = 5.0


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
    #: The folder that it was started in; None where that was not published.
    cwd: Path | None = None
    #: Where it runs, in words, if its process ids cannot be judged from here; else None.
    elsewhere: str | None = None
    #: Whether it runs, or ran, under the system that runs here, in whatever container.
    same_system: bool = True

    @classmethod
    def read(cls, run_dir: Path) -> Entry:
        """Read what was published in a run folder; a ValueError when it is damaged."""
        try:
            return cls._from(run_dir, read_published(run_dir))
        except (KeyError, TypeError, OverflowError) as error:
            msg = f"what was published in {run_dir} is damaged: {error!r}"
            raise ValueError(msg) from error

    @classmethod
    def _from(cls, run_dir: Path, known: Mapping[str, Any]) -> Entry:
        idle_timeout = known["idle_timeout"]
        return cls(
            run_dir=run_dir,
            name=str(known["name"]),
            pid=_pid(known["pid"]),
            created=_text(known["created"]),
            guardian=_pid(known["guardian"]),
            guardian_created=_text(known["guardian_created"]),
            marker=str(known["marker"]),
            started_at=number(known["started_at"]),
            log_path=_path(known["log_path"]),
            idle_timeout=None if idle_timeout is None else number(idle_timeout),
            labels=dict(known["labels"]),
            cleanup=tuple(map(_path, known["cleanup"])),
            address=_address(known["address"]),
            token=str(known["token"]),
            cwd=_path(known["cwd"]) if known.get("cwd") else None,
            # Versions up to 0.1.0 did not say.
            elsewhere=where(known["place"]) if known.get("place") else None,
            same_system=same_system(known["place"]) if known.get("place") else True,
        )

    def guarded(self) -> bool:
        """Whether its guardian still runs, and no later process with the same id."""
        return self.elsewhere is None and _runs(self.guardian, self.guardian_created)

    def proven(self) -> bool:
        """Whether both the child and its guardian still run."""
        return self.guarded() and _runs(self.pid, self.created)

    def genuine(self) -> bool:
        """Whether what runs is what was published: the marked child of that very guardian.

        What is published can be forged or damaged, and names processes that may be anybody's.
        """
        if _platform.WINDOWS:  # where neither is to be seen, what answers to the token is
            return self.look() is not None
        # The marker is the guardian's own secret, and it alone is the parent of what it starts.
        bears = self.pid in _platform.leftovers(self.marker)
        return bears and self.proven() and _platform.parent_of(self.pid) == self.guardian

    def dead(self) -> bool:
        """Whether it is certain that its guardian has ended."""
        if self.elsewhere is None:
            return not self.guarded() and not self._listens()
        # A process id says nothing here, but a socket does, where one system has both of us.
        return self.same_system and self._refuses()

    def _listens(self) -> bool:
        """Whether somebody listens on its socket, also one that is stopped."""
        return _listens(self.address)

    def _refuses(self) -> bool:
        """Whether its socket is there, and nobody listens on it any more."""
        try:
            _platform.connect(self.address, CONNECT_TIMEOUT).close()
        except ConnectionRefusedError:
            return bool(self.address[0] == "unix")
        except (OSError, ValueError):
            pass  # such as a full backlog, or a file that a guardian is about to make again
        return False

    def look(self, timeout: float = LOOK_TIMEOUT) -> State | None:
        """Ask the guardian for its child's state, without counting as a client."""
        try:
            said = self._ask({"op": "look"}, timeout)
            users, silence = int(number(said["users"])), number(said["silence"])
            return State(users, said["ending"], said["returncode"], silence)
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None

    def request(
        self,
        verb: str,
        session: str | None = None,
        *,
        one: bool = False,
        timeout: float = LOOK_TIMEOUT,
    ) -> int | None:
        """Ask those who use the child for something, without counting as one of them.

        Returns how many were told, only the one that has used it for longest where `one` is set;
        None where the guardian does not answer, as one of version 0.1.0 does not.
        """
        content = {"op": "request", "verb": verb, "session": session, "one": one}
        try:
            return int(number(self._ask(content, timeout)["users"]))
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None

    def _ask(self, content: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Ask the guardian something as a stranger, and return its answer."""
        with _platform.connect(self.address, timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(message(**content, token=self.token))
            return _answer(connection, time.monotonic() + timeout)

    def kill_tree(self) -> None:
        """Kill it without its guardian, which does not respond, and remove its folders."""
        with contextlib.suppress(ProcessLookupError):
            found = GuardianHandle.found(self.guardian, self.guardian_created, self.marker)
            found.kill_tree(self.pid, self.created)
        Registry(self.run_dir.parent).purge(self)


def _answer(connection: socket.socket, deadline: float) -> dict[str, Any]:
    reader = FrameReader()
    while time.monotonic() < deadline and (data := connection.recv(4096)):
        for _, payload in reader.feed(data):
            return parse_object(payload)
    msg = "the guardian has not answered"
    raise TimeoutError(msg)


class Registry:
    """The run folders of one user, in existing folders of mode 0700.

    New ones are made in the first folder. In the others are those of children that were started
    when the first one could not be used, or whose guardians had to move.
    """

    def __init__(self, folder: Path, *others: Path) -> None:
        self.folder = folder
        self._folders = (folder, *(other for other in others if other != folder))

    def entries(self) -> list[Entry]:
        """Return the children proven to run, oldest first; remove what others have left behind."""
        return [entry for entry in self.survey() if entry.elsewhere is None]

    def survey(self) -> list[Entry]:
        """Return also the children of which it cannot be judged from here whether they run."""
        found = [entry for run_dir in self._run_dirs() if (entry := self._read(run_dir))]
        dead = [entry for entry in found if entry.dead()]
        others = [entry for entry in found if entry not in dead]
        markers = {entry.marker for entry in others}
        for entry in dead:
            # A forged entry may bear the marker of somebody else's processes.
            self.purge(entry, kill=entry.marker not in markers)
        shown = [entry for entry in others if entry.elsewhere or entry.proven()]
        return sorted(shown, key=lambda entry: (entry.started_at, entry.pid))

    def _run_dirs(self) -> list[Path]:
        found = []
        for folder in self._folders:
            with contextlib.suppress(OSError):
                found += [path for path in folder.iterdir() if path.name.startswith(RUN_PREFIX)]
        return found

    def _read(self, run_dir: Path) -> Entry | None:
        try:
            return Entry.read(run_dir)
        except FileNotFoundError:
            self._remove_abandoned(run_dir)
        except ValueError as error:  # torn: nobody can use it any more
            _log.debug("%s", error)
            if not _somebody_listens(run_dir):
                shutil.rmtree(run_dir, ignore_errors=True)
        except OSError as error:
            _log.debug("%s is left alone: %s", run_dir, error)
        return None

    def _remove_abandoned(self, run_dir: Path) -> None:
        """Remove a run folder whose guardian never came to publish; it may be about to."""
        with contextlib.suppress(OSError):
            if time.time() - run_dir.stat().st_mtime > UNPUBLISHED_SECONDS:
                require_own(run_dir, stat.S_ISDIR)
                if not _somebody_listens(run_dir):
                    shutil.rmtree(run_dir, ignore_errors=True)

    def purge(self, entry: Entry, *, kill: bool = True) -> None:
        """Kill what a guardian that was killed has left running, and remove its folders."""
        if kill:
            _platform.kill_leftovers(entry.marker, KILL_TIMEOUT)
        kind, socket_path = entry.address
        # A path that was too long for a socket has given it a folder of its own.
        sockets = [Path(socket_path).parent] if kind == "unix" else []
        for folder in (*entry.cleanup, *sockets):
            if folder != entry.run_dir and _made_for(folder, entry.run_dir):
                shutil.rmtree(folder, ignore_errors=True)
        if entry.run_dir.name.startswith(RUN_PREFIX):
            shutil.rmtree(entry.run_dir, ignore_errors=True)

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


def _made_for(folder: Path, run_dir: Path) -> bool:
    """Whether a folder was made for a run: it bears its random name, so no other run's does."""
    suffix = run_dir.name.removeprefix(RUN_PREFIX)
    # What was published may be forged, or damaged: it is no proof that anything was a run's.
    if len(suffix) < MIN_SUFFIX or not folder.name.endswith(f"-{suffix}") or ".." in folder.parts:
        return False
    try:
        require_own(folder, stat.S_ISDIR)
    except OSError:
        return False
    return True


def _pid(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
        msg = f"{value!r} is no process id"
        raise ValueError(msg)
    return value


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _path(value: Any) -> Path:
    text = str(value)
    if not isinstance(value, str) or "\0" in text:
        msg = f"{text[:100]!r} is no path"
        raise ValueError(msg)
    return Path(text)


def _address(value: Any) -> _platform.Address:
    kind, where_to = value
    fine = (kind == "unix" and isinstance(where_to, str) and "\0" not in where_to) or (
        kind == "tcp" and isinstance(where_to, int) and 0 < where_to < 2**16
    )
    if not fine:
        msg = f"{str(value)[:100]!r} is no address"
        raise ValueError(msg)
    return [kind, where_to]


def _runs(pid: int, created: str | None) -> bool:
    return created is not None and _platform.creation_time(pid) == created


def _somebody_listens(run_dir: Path) -> bool:
    """Whether a guardian is there, though what it has published cannot be read."""
    return any(_listens(["unix", str(path)]) for path in run_dir.glob("*.sock"))


def _listens(address: _platform.Address) -> bool:
    """Whether somebody listens there; one that is stopped, or busy with many, does."""
    try:
        _platform.connect(address, CONNECT_TIMEOUT).close()
    except (BlockingIOError, TimeoutError, PermissionError):
        return bool(address[0] == "unix")  # elsewhere a refusal takes longer than we wait
    except (OSError, ValueError):
        return False
    return True
