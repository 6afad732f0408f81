"""A kernel's handle on the guardian process: what it is told to run, its start and its end."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import StartError
from fooocus_nb.supervisor import _platform

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MARKER_VARIABLE", "ChildSpec", "GuardianHandle", "known_spec", "specification"]

#: Set in the child and inherited by all below it, so that leftovers can be told from others.
MARKER_VARIABLE = "FOOOCUS_NB_GUARD"

#: The guardian needs no site-packages; its own package is put on its path by name.
_BOOT = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from fooocus_nb.supervisor.guardian import main; main()"
)
_PACKAGE_PARENT = Path(__file__).parents[2]

#: How long a process may take to be gone after KILL; more means that it hangs in a device.
END_TIMEOUT = 5.0
#: How long a guardian may take to end its child when a start is given up.
TERMINATE_TIMEOUT = 2.0
POLL_SECONDS = 0.02

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
    """Return the line of JSON that tells a guardian what to run, and what clients must know."""
    name, _, value = marker.partition("=")
    content = {
        "name": spec.name,
        "argv": list(spec.argv),
        # The guardian's own working directory is another one.
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
    """Return the specification that a guardian has published; the environment is not in it."""
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
        command = [_platform.interpreter(), "-I", "-S", "-c", _BOOT, str(_PACKAGE_PARENT)]
        try:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                **_platform.detached_popen_options(),
            )
        except OSError as error:
            msg = f"The guardian process could not be started: {error}"
            raise StartError(msg, remedy=f"The command was: {command[0]} ...") from error
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
        received: list[bytes] = []
        # A thread, because a pipe cannot be waited for with a timeout on every platform.
        exchange = threading.Thread(
            target=self._exchange, args=(specification, received), daemon=True
        )
        exchange.start()
        exchange.join(timeout)
        if exchange.is_alive():
            self._kill()  # which closes its pipes
            exchange.join(END_TIMEOUT)
            msg = f"The guardian process did not answer within {timeout:g} s."
            raise StartError(msg)
        answer = b"".join(received).decode("utf-8", "replace")
        try:
            content: dict[str, Any] = json.loads(answer)
        except ValueError as error:
            msg = "The guardian process ended before the child was started."
            raise StartError(msg, log=answer.splitlines()[-20:]) from error
        return content

    def _exchange(self, specification: bytes, received: list[bytes]) -> None:
        popen = self._popen
        if popen is None or popen.stdin is None or popen.stdout is None:
            return
        with popen.stdin, popen.stdout:
            with contextlib.suppress(OSError):
                popen.stdin.write(specification)
                popen.stdin.flush()
            with contextlib.suppress(OSError):
                # Up to the end: it closes its standard output when it has answered.
                received.append(popen.stdout.read())

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
        self._kill_leftovers()

    def _kill_leftovers(self) -> None:
        deadline = time.monotonic() + END_TIMEOUT
        while left := _platform.leftovers(self.marker):
            _platform.end(left, None, kill=True)
            if time.monotonic() > deadline:
                return
            time.sleep(POLL_SECONDS)

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
        self._kill_leftovers()

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
