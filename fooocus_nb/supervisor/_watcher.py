"""A second watcher, which kills what the guardian has started when the guardian is killed.

The kernel does that, too; but both may be killed at once. It is a fork of the guardian from before
that has loaded anything, so that it costs no start of its own and little memory. It waits for the
guardian's end, and ends with it.
"""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["Watcher"]

#: How long it looks for what was started: processes may start others while they are killed.
KILL_TIMEOUT = 10.0
#: Above every descriptor that a guardian has when it starts its watcher.
MAX_DESCRIPTORS = 256
#: What the guardian sends at its proper end; no marker and no name of a pipe has it.
_DISMISSED = b"."


class Watcher:
    """The guardian's end of the pipe to it."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self._pipe = -1
        if sys.platform == "win32":
            return  # a job object does it
        reading, self._pipe = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            return  # no process to be had: there is still the kernel
        if self.pid == 0:
            try:
                _watch(reading)
            finally:
                os._exit(0)
        os.close(reading)

    def arm(self, marker: str) -> None:
        """Tell it what to kill if we end without dismissing it."""
        self._send(marker.encode())

    def add_output(self, pipe: str) -> None:
        """Tell it the pipe that what was started writes to: it kills also what holds that."""
        self._send(f" {pipe}".encode())

    def dismiss(self) -> None:
        """Let it end without killing anything."""
        self._send(_DISMISSED)

    def _send(self, data: bytes) -> None:
        try:
            if self._pipe >= 0:
                os.write(self._pipe, data)
        except OSError:
            pass  # somebody has ended it


def _watch(pipe: int) -> None:
    if sys.platform == "win32":
        return
    os.setsid()  # whoever signals the guardian's session does not reach it
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    devnull = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(devnull, standard)
    # The guardian's end of the pipe is among them, else its end would not be seen.
    os.closerange(3, pipe)
    os.closerange(pipe + 1, MAX_DESCRIPTORS)
    heard = b""
    while not heard.endswith(_DISMISSED) and (data := os.read(pipe, 256)):
        heard += data
    if heard and not heard.endswith(_DISMISSED):
        from fooocus_nb.supervisor._platform import kill_leftovers

        marker, _, output = heard.decode().partition(" ")
        kill_leftovers(marker, KILL_TIMEOUT, output or None)
