"""A kernel's handle on the guardian process: what it is told to run, its start and its end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import PROCESS_LIMIT, StartError, is_process_limit
from fooocus_nb.supervisor import _platform
from fooocus_nb.supervisor._debugger import without_debugger
from fooocus_nb.supervisor.protocol import DEFAULT_GRACE, number, parse_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "MARKER_VARIABLE",
    "PUBLISHED",
    "ChildSpec",
    "GuardianHandle",
    "known_spec",
    "read_published",
    "require_own",
    "specification",
]

#: What a guardian publishes in its run folder.
PUBLISHED = "guardian.json"
#: Larger than anything that a guardian publishes.
MAX_BYTES = 1 << 20

#: Set in the child and inherited by all below it, so that leftovers can be told from others.
MARKER_VARIABLE = "FOOOCUS_NB_GUARD"
_MARKER = re.compile(rf"{MARKER_VARIABLE}=[0-9a-f]{{32}}")

#: The guardian needs no site-packages; its package is put on its path by name. Its watcher comes
#: first, as a fork of a process that has loaded nothing yet.
_BOOT = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from fooocus_nb.supervisor._watcher import Watcher; watcher = Watcher(); "
    "from fooocus_nb.supervisor.guardian import main; main(watcher)"
)
_PACKAGE_PARENT = Path(__file__).parents[2]

#: How long a process may take to be gone after KILL; more means that it hangs in a device.
END_TIMEOUT = 5.0
#: How long a guardian may take to end its child when a start is given up.
TERMINATE_TIMEOUT = 2.0
POLL_SECONDS = 0.02
#: How long its pipes may take to be closed; something that it has loaded may hold them open.
CLOSE_TIMEOUT = 1.0
#: What is kept of what is printed at a guardian's start: a traceback, and not a flood.
STDERR_BYTES = 1 << 16

# Guardians that go on after they were released; they are reaped when they have ended.
_released: list[subprocess.Popen[bytes]] = []
_released_lock = threading.Lock()


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
        None ends the child with its last client. A number keeps it running without one, until it
        has neither printed nor worked for so many seconds.
    cleanup : tuple of Path
        Folders that the guardian removes at the end.
    labels : mapping
        What others should know about it, fit for JSON. The guardian publishes it unread.
    fallbacks : tuple of Path
        Where the guardian makes the run folder anew when it was removed and cannot be made again
        where it was; each becomes a private folder.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    name: str
    run_dir: Path
    log_path: Path
    cwd: Path | None = None
    grace: float = DEFAULT_GRACE
    log_bytes: int = 10_000_000
    log_backups: int = 2
    idle_timeout: float | None = None
    cleanup: tuple[Path, ...] = ()
    labels: Mapping[str, Any] = field(default_factory=dict)
    fallbacks: tuple[Path, ...] = ()


def specification(spec: ChildSpec, token: str, marker: str) -> bytes:
    """Return the line of JSON that tells a guardian what to run, and what clients must know."""
    name, _, value = marker.partition("=")
    content = {
        "name": spec.name,
        "argv": list(spec.argv),
        # The guardian's own working directory is another one.
        "cwd": str(_working_folder(spec)),
        "env": {**spec.env, name: value},
        "run_dir": str(spec.run_dir.absolute()),
        "log_path": str(spec.log_path.absolute()),
        "grace": spec.grace,
        "log_bytes": spec.log_bytes,
        "log_backups": spec.log_backups,
        "idle_timeout": spec.idle_timeout,
        "cleanup": [str(path.absolute()) for path in spec.cleanup],
        "labels": dict(spec.labels),
        "fallbacks": [str(path.absolute()) for path in spec.fallbacks],
        "token": token,
        "marker": marker,
    }
    return json.dumps(content).encode() + b"\n"


def read_published(run_dir: Path) -> dict[str, Any]:
    """Read what a guardian has published in a run folder; a ValueError when it is damaged."""
    path = run_dir / PUBLISHED
    require_own(run_dir, stat.S_ISDIR)
    require_own(path, stat.S_ISREG)
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        msg = f"{path} is too large to be a guardian's"
        raise ValueError(msg)
    known = parse_object(data)
    # Processes are killed by the marker: one that fits too many must never get that far.
    if not _MARKER.fullmatch(str(known["marker"])):
        msg = f"what was published in {run_dir} is no guardian's"
        raise ValueError(msg)
    return known


def require_own(path: Path, is_kind: Callable[[int], bool]) -> None:
    """Raise where a path is a link, of another kind, or somebody else's."""
    status = path.lstat()
    ours = sys.platform == "win32" or status.st_uid == os.getuid()
    if not is_kind(status.st_mode) or not ours:
        msg = f"{path} is not this user's own"
        raise PermissionError(msg)


def known_spec(known: Mapping[str, Any], run_dir: Path) -> ChildSpec:
    """Return the specification that a guardian has published; the environment is not in it."""
    idle_timeout = known["idle_timeout"]
    return ChildSpec(
        argv=tuple(known["argv"]),
        env={},
        name=known["name"],
        run_dir=run_dir,
        log_path=Path(known["log_path"]),
        cwd=Path(known["cwd"]),
        grace=number(known["grace"]),
        log_bytes=int(number(known["log_bytes"])),
        log_backups=int(number(known["log_backups"])),
        idle_timeout=None if idle_timeout is None else number(idle_timeout),
        cleanup=tuple(Path(path) for path in known["cleanup"]),
        labels=dict(known["labels"]),
    )


def _working_folder(spec: ChildSpec) -> Path:
    try:
        return (spec.cwd or Path()).absolute()
    except FileNotFoundError:  # the caller's own was removed; the run's is there as long as it runs
        return spec.run_dir


class GuardianHandle:
    """A guardian that this process has started, or found running."""

    def __init__(
        self, pid: int, created: str | None, marker: str, popen: subprocess.Popen[bytes] | None
    ) -> None:
        self.pid = pid
        #: What all processes below it have in their environment, as ``NAME=value``.
        self.marker = marker
        self._created = created
        self._popen = popen

    @classmethod
    def spawn(cls, marker: str) -> GuardianHandle:
        """Start one, which waits for :meth:`handshake`; a StartError when that is impossible."""
        _reap_released()
        if not sys.executable:
            msg = (
                "The guardian process could not be started: Python is embedded in another program "
                "here and does not know its own interpreter (sys.executable is empty)."
            )
            remedy = "Set it first, such as: import sys; sys.executable = '/usr/bin/python3'"
            raise StartError(msg, remedy=remedy)
        # It has to spell the names of files as this process does, and with -I heeds no variable.
        encoding = ("-X", f"utf8={sys.flags.utf8_mode}")
        command = [_platform.interpreter(), "-I", "-S", *encoding, "-c", _BOOT]
        command.append(str(_PACKAGE_PARENT))
        try:
            with without_debugger():
                popen = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    **_platform.detached_popen_options(),
                )
        except OSError as error:
            msg = f"The guardian process could not be started: {error}"
            limited = is_process_limit(error)
            remedy = PROCESS_LIMIT if limited else f"The command was: {command[0]} ..."
            raise StartError(msg, remedy=remedy) from error
        return cls(popen.pid, _platform.creation_time(popen.pid), marker, popen)

    @classmethod
    def found(cls, pid: int, created: str | None, marker: str) -> GuardianHandle:
        """Return one that another process has started; a ProcessLookupError when it has ended."""
        if created is None or _platform.creation_time(pid) != created:
            msg = f"process {pid} is not there any more"
            raise ProcessLookupError(msg)
        return cls(pid, created, marker, None)

    def handshake(self, specification: bytes, timeout: float) -> dict[str, Any]:
        """Send the specification and return the guardian's answer; a StartError without one."""
        answers: list[dict[str, Any]] = []
        printed = bytearray()
        # Threads, because a pipe cannot be waited for with a timeout on every platform. The errors
        # are read apart: a preloaded library or a debugger may print there at every start.
        threads = [
            threading.Thread(target=self._exchange, args=(specification, answers), daemon=True),
            threading.Thread(target=self._drain_stderr, args=(printed,), daemon=True),
        ]
        for thread in threads:
            thread.start()
        threads[0].join(timeout)
        late = threads[0].is_alive()
        if late:
            self._kill()  # which closes its pipes
        for thread in threads:
            thread.join(CLOSE_TIMEOUT)
        if late or not answers:
            what = (
                f"did not answer within {timeout:g} s"
                if late
                else "ended before the child was started"
            )
            msg = f"The guardian process {what}."
            raise StartError(msg, log=printed.decode("utf-8", "replace").splitlines()[-20:])
        return answers[0]

    def _exchange(self, specification: bytes, answers: list[dict[str, Any]]) -> None:
        popen = self._popen
        if popen is None or popen.stdin is None or popen.stdout is None:
            return
        with popen.stdin, popen.stdout:
            with contextlib.suppress(OSError):
                popen.stdin.write(specification)
                popen.stdin.flush()
            with contextlib.suppress(OSError):
                for line in popen.stdout:
                    # What else is printed there, by whatever is loaded into every process, is not.
                    with contextlib.suppress(ValueError):
                        answer = parse_object(line)
                        if "error" in answer or "guardian" in answer:
                            answers.append(answer)
                            return

    def _drain_stderr(self, printed: bytearray) -> None:
        popen = self._popen
        if popen is None or popen.stderr is None:
            return
        with popen.stderr, contextlib.suppress(OSError):
            while data := os.read(popen.stderr.fileno(), STDERR_BYTES):
                printed += data
                del printed[:-STDERR_BYTES]

    def wait(self, timeout: float) -> bool:
        """Wait for its end, and return whether it came."""
        if self._popen is not None:
            try:
                self._popen.wait(timeout)
            except subprocess.TimeoutExpired:
                return False
            return True
        deadline = time.monotonic() + timeout
        while self._runs():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _runs(self) -> bool:
        return _platform.creation_time(self.pid) == self._created

    def stopped(self) -> bool:
        """Whether it is there, but stopped by a signal."""
        return self._runs() and _platform.is_stopped(self.pid)

    def kill_tree(self, child: int, created: str | None) -> None:
        """Kill a guardian that does not respond, its child, and all that has its marker."""
        self._kill()
        # By now another process may have the child's id.
        if created is not None and _platform.creation_time(child) == created:
            _platform.end([child], child, kill=True)
        _platform.kill_leftovers(self.marker, END_TIMEOUT)

    def _kill(self) -> None:
        if self._popen is not None:
            self._popen.kill()
        elif self._runs():
            _platform.end([self.pid], None, kill=True)
        self.wait(END_TIMEOUT)

    def terminate(self) -> None:
        """End it, wherever in its start it is, and whatever it may have started."""
        if self._popen is not None:
            self._popen.terminate()
        if not self.wait(TERMINATE_TIMEOUT):
            self._kill()
        _platform.kill_leftovers(self.marker, END_TIMEOUT)

    def release(self) -> None:
        """Release it without ending it."""
        if self._popen is not None and self._popen.poll() is None:
            with _released_lock:
                _released.append(self._popen)
        _reap_released()


def _reap_released() -> None:
    """Reap the released guardians that have ended."""
    with _released_lock:
        _released[:] = [popen for popen in _released if popen.poll() is None]
