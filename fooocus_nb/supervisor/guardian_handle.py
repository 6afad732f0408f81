"""A kernel's hold on the guardian process itself: to start it, and to end it when it fails."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from fooocus_nb.errors import StartError
from fooocus_nb.supervisor import _platform

__all__ = ["MARKER_VARIABLE", "GuardianHandle"]

#: Set in the child and inherited by all below it, so that leftovers can be told from others.
MARKER_VARIABLE = "FOOOCUS_NB_GUARD"

#: The guardian needs no site-packages; its own package is put on its path by name.
_BOOT = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from fooocus_nb.supervisor.guardian import main; main()"
)
_PACKAGE_PARENT = Path(__file__).parents[2]

END_TIMEOUT = 5.0
ABANDON_TIMEOUT = 2.0
POLL_SECONDS = 0.02

# Guardians that live on after we let go of them; they are collected when they have ended.
_released: list[subprocess.Popen[bytes]] = []
_released_lock = threading.Lock()


class GuardianHandle:
    """A guardian that this process has started, or found running.

    Attributes
    ----------
    pid : int
        Its process id.
    marker : str
        What all processes below it have in their environment, as ``NAME=value``.
    """

    def __init__(
        self, pid: int, created: str | None, marker: str, popen: subprocess.Popen[bytes] | None
    ) -> None:
        self.pid = pid
        self.marker = marker
        self._created = created
        self._popen = popen

    @classmethod
    def spawn(cls, marker: str) -> GuardianHandle:
        """Start one. It does nothing before :meth:`instruct`.

        Raises
        ------
        StartError
            When there is no process to be had.
        """
        _collect()
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
        """Return one that another process has started.

        Raises
        ------
        ProcessLookupError
            When it does not run any more.
        """
        if created is None or _platform.creation_time(pid) != created:
            msg = f"process {pid} is not there any more"
            raise ProcessLookupError(msg)
        return cls(pid, created, marker, None)

    def instruct(self, specification: bytes, timeout: float) -> dict[str, Any]:
        """Hand the specification over and return the guardian's answer.

        Parameters
        ----------
        specification : bytes
            One line of JSON.
        timeout : float
            Seconds to wait for the answer.

        Raises
        ------
        StartError
            When it does not answer, or not in JSON.
        """
        heard: list[bytes] = []
        # A thread, because a pipe cannot be waited for with a timeout on every platform.
        talker = threading.Thread(target=self._converse, args=(specification, heard), daemon=True)
        talker.start()
        talker.join(timeout)
        if talker.is_alive():
            self._kill()  # which ends the conversation
            talker.join(END_TIMEOUT)
            msg = f"The guardian process did not answer within {timeout:g} s."
            raise StartError(msg)
        answer = b"".join(heard).decode("utf-8", "replace")
        try:
            content: dict[str, Any] = json.loads(answer)
        except ValueError as error:
            msg = "The guardian process ended before the child was started."
            raise StartError(msg, log=answer.splitlines()[-20:]) from error
        return content

    def _converse(self, specification: bytes, heard: list[bytes]) -> None:
        popen = self._popen
        if popen is None or popen.stdin is None or popen.stdout is None:
            return
        with popen.stdin, popen.stdout:
            with contextlib.suppress(OSError):
                popen.stdin.write(specification)
                popen.stdin.flush()
            with contextlib.suppress(OSError):
                # Up to the end: it lets go of its standard output when it has answered.
                heard.append(popen.stdout.read())

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

    def overpower(self, child: int, created: str | None) -> None:
        """End a guardian that does not do its duty, with the child and all that has its marker.

        Parameters
        ----------
        child : int
            The child's process id.
        created : str or None
            The child's creation time: a later process may have its id.
        """
        self._kill()
        if created is not None and _platform.creation_time(child) == created:
            _platform.end([child], child, kill=True)
        self._sweep()

    def _sweep(self) -> None:
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

    def abandon(self) -> None:
        """End it, wherever in its start it is, and whatever it may have started."""
        if self._popen is not None:
            self._popen.terminate()
        if not self.wait(ABANDON_TIMEOUT):
            self._kill()
        self._sweep()

    def release(self) -> None:
        """Let go of it without ending it."""
        if self._popen is not None and self._popen.poll() is None:
            with _released_lock:
                _released.append(self._popen)
        _collect()


def _collect() -> None:
    """Reap the released guardians that have ended."""
    with _released_lock:
        _released[:] = [popen for popen in _released if popen.poll() is None]
