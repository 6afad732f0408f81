"""Misbehaviour on demand, so that tests can see that it is survived."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb.demo.console import DownloadBar, say

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FAULTS", "Faults"]

#: What can be made to go wrong, by ``--fault NAME`` or ``--fault NAME=ARGUMENT``.
FAULTS = {
    "bad-bytes": "print bytes that are no UTF-8 while generating",
    "clock-jump": "see the clock jump by so many seconds (default a day) while generating",
    "crash": "end with a traceback in the middle of a generation",
    "crash-start": "end with a traceback while starting",
    "cue": "let the faults of a generation wait until the file that is named here exists",
    "daemon": "start a grandchild that leaves the process's session, and print its id",
    "dead-worker": "let the worker die in a generation (=start: at once, =middle: between two "
    "steps) while the server lives",
    "deaf-worker": "let the worker take up no task",
    "empty-gallery": "end a generation without an image and without a word",
    "exit": "end with the given exit code (default 3) in the middle of a generation",
    "family": "start a child that has a child itself, and print their ids",
    "from-image": "let the faults of a generation strike from the image with this number on",
    "flood": "print so many MB (default 10) after each image",
    "gpu-lost": "find the GPU lost in the middle of a generation, and in each one after it",
    "hang": "fall silent in the middle of a generation",
    "http-dead": "let the server die in the middle of a generation while the process lives",
    "ignore-term": "ignore SIGTERM",
    "never-ready": "serve the page but never start the worker",
    "no-newline": "print so many MB (default 5) without a line ending while generating",
    "oom": "run out of GPU memory in the middle of a generation",
    "oom-killed": "be killed as the system does when memory runs out",
    "port-taken": "find every port taken",
    "segfault": "end by a segmentation fault in the middle of a generation",
    "slow-start": "download for so many seconds (default 3) before the server starts",
}
CUDA_MESSAGE = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 3.94 GiB of "
    "which 512.00 MiB is free."
)
GPU_LOST_MESSAGE = (
    "CUDA error: an illegal memory access was encountered\n"
    "CUDA kernel errors might be asynchronously reported at some other API call."
)
#: What a checkpoint for SDXL has.
DOWNLOAD_BYTES = 6_938_040_682
#: Nothing that a test forgets lives longer.
LONGEST_SECONDS = 600
LOOK_SECONDS = 0.005
DAY_SECONDS = 86_400
_DAEMON = f"""
import os, time
os.setsid()
if os.fork():
    os._exit(0)
os.write(1, f"Started daemon with PID {{os.getpid()}}\\n".encode())
null = os.open(os.devnull, os.O_RDWR)
for number in range(3):
    os.dup2(null, number)
time.sleep({LONGEST_SECONDS})
"""


_FAMILY = f"""
import os, subprocess, sys, time
rest = "import time; time.sleep({LONGEST_SECONDS})"
child = subprocess.Popen([sys.executable, "-c", rest])
os.write(1, f"Started family with PIDs {{os.getpid()}} {{child.pid}}\\n".encode())
time.sleep({LONGEST_SECONDS})
"""


class OutOfMemoryError(RuntimeError):
    """Prints as PyTorch's own."""


OutOfMemoryError.__module__ = "torch.cuda"


class _WorkerGone(BaseException):
    """Not caught where the errors of a task are."""


class Faults:
    """The faults that were asked for.

    Parameters
    ----------
    wanted : sequence of str
        ``NAME`` or ``NAME=ARGUMENT``.

    Attributes
    ----------
    struck : bool
        Whether those of a generation have struck.
    """

    def __init__(self, wanted: Sequence[str] = ()) -> None:
        self._wanted = dict(text.partition("=")[::2] for text in wanted)
        self._images = 0
        self.struck = False

    def __contains__(self, name: str) -> bool:
        return name in self._wanted

    def argument(self, name: str) -> str:
        """Return a fault's argument; empty where there is none."""
        return self._wanted.get(name, "")

    def number(self, name: str, default: float) -> float:
        """Return a fault's argument as a number."""
        return float(self.argument(name) or default)

    def while_starting(self) -> None:
        """Misbehave before the server starts."""
        if "ignore-term" in self:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if "slow-start" in self:
            _download(self.number("slow-start", 3))
        if "crash-start" in self:
            msg = "No module named 'torch'"
            raise ModuleNotFoundError(msg)
        if "family" in self:
            subprocess.Popen([sys.executable, "-c", _FAMILY], stdin=subprocess.DEVNULL)
        if "daemon" in self:
            _start_daemon()

    def in_mid_generation(self) -> None:
        """Misbehave between two steps, on the worker's thread."""
        self._images += 1
        if self._images < self.number("from-image", 1):
            return
        self._await_cue()
        self.struck = True
        self._die()
        if "clock-jump" in self:
            _jump(self.number("clock-jump", DAY_SECONDS))
        if self.argument("dead-worker") == "middle":
            msg = "the worker was told to die"
            raise _WorkerGone(msg)
        if "hang" in self:
            threading.Event().wait(LONGEST_SECONDS)
        if "oom" in self:
            raise OutOfMemoryError(CUDA_MESSAGE)
        if "gpu-lost" in self:
            raise RuntimeError(GPU_LOST_MESSAGE)
        if "bad-bytes" in self:
            _write(b"\xff\xfe broken \x80 bytes \xc3\n")
        if "no-newline" in self:
            _pour(b"x" * 100_000, self.number("no-newline", 5))

    def _await_cue(self) -> None:
        deadline = time.monotonic() + LONGEST_SECONDS
        while "cue" in self and not Path(self.argument("cue")).exists():
            if time.monotonic() > deadline:
                return
            time.sleep(LOOK_SECONDS)

    def _die(self) -> None:
        if "crash" in self:
            say("Traceback (most recent call last):")
            say("RuntimeError: the demo engine was told to crash")
            os._exit(1)
        if "exit" in self:
            os._exit(int(self.number("exit", 3)))
        if "segfault" in self:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "oom-killed" in self:
            # Windows has no SIGKILL; there every such end looks the same.
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    def after_image(self) -> None:
        """Misbehave after an image."""
        if "flood" in self:
            _pour((b"flood " * 20 + b"\n") * 1000, self.number("flood", 10))


def _jump(seconds: float) -> None:
    """Let this process see what an administrator's change of the clock looks like."""
    true_time, true_localtime = time.time, time.localtime
    true_strftime = time.strftime
    time.time = lambda: true_time() + seconds
    time.localtime = lambda moment=None: true_localtime(
        true_time() + seconds if moment is None else moment
    )
    time.strftime = lambda form, moment=None: true_strftime(form, moment or time.localtime())


def _write(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _pour(block: bytes, megabytes: float) -> None:
    left = int(megabytes * 1e6)
    while left > 0:
        _write(block[:left])
        left -= len(block)


def _download(seconds: float) -> None:
    """Look as a download does for some seconds."""
    name = "demo-model.safetensors"
    say(f'Downloading: "https://example.org/{name}" to models/checkpoints/{name}\n')
    bar = DownloadBar(max(int(seconds * 10), 1), DOWNLOAD_BYTES)
    for _ in range(bar.total):
        time.sleep(0.1)
        bar.advance()
    bar.close()


def _start_daemon() -> None:
    if os.name == "posix":
        subprocess.run([sys.executable, "-c", _DAEMON], check=True, timeout=10)
        return
    code = f"import time; time.sleep({LONGEST_SECONDS})"
    flags = getattr(subprocess, "DETACHED_PROCESS", 0)
    child = subprocess.Popen(
        [sys.executable, "-c", code], creationflags=flags, stdin=subprocess.DEVNULL
    )
    say(f"Started daemon with PID {child.pid}")
