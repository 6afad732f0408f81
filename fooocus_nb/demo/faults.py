"""The one place where the demo engine is made to differ, so that tests see that we cope.

A row in `FAULTS` is something to switch on by ``--fault``. Where it acts at a `Moment`, the row
names the function that acts. Where the engine has to be asked instead, the question is a property
of `Faults`, so that no other module knows a fault's name.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb.demo.console import Bar, say
from fooocus_nb.demo.differences import Differences

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FAULTS", "Faults", "Moment", "is_fault"]

CUDA_MESSAGE = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 3.94 GiB of "
    "which 512.00 MiB is free."
)
GPU_LOST_MESSAGE = (
    "CUDA error: an illegal memory access was encountered\n"
    "CUDA kernel errors might be asynchronously reported at some other API call."
)
#: The size of a checkpoint for SDXL.
DOWNLOAD_BYTES = 6_938_040_682
#: Whatever a test forgets ends by itself after this time.
LONGEST_SECONDS = 600
#: How often to look for the file of a cue: tests wait for what follows it.
CUE_SECONDS = 0.005
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


class Moment(Enum):
    """When a fault acts."""

    #: Before the server starts.
    START = auto()
    #: On the worker's thread, before its first task.
    WORKER_START = auto()
    #: On the worker's thread, as it takes a task.
    TASK = auto()
    #: On the worker's thread, between two sampling steps in the middle of an image.
    GENERATION = auto()
    #: After each image.
    IMAGE = auto()
    #: On the worker's thread, when an image was not enhanced.
    ENHANCEMENT = auto()


#: What a fault does; it is given what follows the ``=``, or nothing.
Act = Callable[[str], None]


@dataclass(frozen=True)
class Fault:
    """One fault; without a moment it does not act by itself, but the engine asks for it."""

    text: str
    moment: Moment | None = None
    act: Act | None = None


class Faults:
    """The faults that were asked for, as ``NAME`` or ``NAME=ARGUMENT``, and `differences`."""

    def __init__(self, wanted: Sequence[str] = (), differences: str = "") -> None:
        self.differences = Differences(differences)
        self._wanted = dict(map(_parse, wanted))
        self._images = 0
        self._struck = False

    # -- what the engine asks -----------------------------------------------------------------

    @property
    def ports_are_taken(self) -> bool:
        """Whether no port is free."""
        return "port-taken" in self._wanted

    @property
    def worker_starts(self) -> bool:
        """Whether the engine becomes ready."""
        return "never-ready" not in self._wanted

    @property
    def worker_is_deaf(self) -> bool:
        """Whether the worker takes no task."""
        return "deaf-worker" in self._wanted

    @property
    def images_get_lost(self) -> bool:
        """Whether no image is saved."""
        return "empty-gallery" in self._wanted

    @property
    def enhancing_fails(self) -> bool:
        """Whether an image that is to be enhanced is handed back as it is."""
        return "enhance-fails" in self._wanted

    @property
    def server_is_dead(self) -> bool:
        """Whether the server has to end while the process lives."""
        return "http-dead" in self._wanted and self._struck

    # -- what acts by itself ------------------------------------------------------------------

    def strike(self, moment: Moment) -> None:
        """Let the faults of a moment act, in the order of their rows."""
        if moment is Moment.GENERATION:
            self._images += 1
            if self._images < float(self._wanted.get("from-image") or 1):
                return
            self._await_cue()
            self._struck = True
        for name, fault in FAULTS.items():
            if fault.moment is moment and fault.act is not None and name in self._wanted:
                fault.act(self._wanted[name])

    def _await_cue(self) -> None:
        if "cue" not in self._wanted:
            return
        path, deadline = Path(self._wanted["cue"]), time.monotonic() + LONGEST_SECONDS
        if not path.exists():
            say("[Demo] waits for its cue")
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(CUE_SECONDS)


def is_fault(text: str) -> bool:
    """Return whether there is such a fault, whatever its argument."""
    return _parse(text)[0] in FAULTS


def _parse(text: str) -> tuple[str, str]:
    """Split a fault into its row's name and its argument; a row may be for one argument only."""
    name, _, argument = text.partition("=")
    return (text, "") if text in FAULTS else (name, argument)


# -- while starting ---------------------------------------------------------------------------


def _ignore_term(_: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _download(seconds: str) -> None:
    """Log what a download logs for some seconds."""
    name = "demo-model.safetensors"
    say(f'Downloading: "https://example.org/{name}" to models/checkpoints/{name}\n')
    bar = Bar(max(int(float(seconds or 3) * 10), 1), DOWNLOAD_BYTES)
    for _ in range(bar.total):
        time.sleep(0.1)
        bar.advance()
    bar.close()


def _compute(seconds: str) -> None:
    """Keep a processor busy without a word."""
    until = time.monotonic() + float(seconds or 3)
    while time.monotonic() < until:
        pass


def _miss_a_module(_: str) -> None:
    msg = "No module named 'torch'"
    raise ModuleNotFoundError(msg)


def _start_family(_: str) -> None:
    subprocess.Popen([sys.executable, "-c", _FAMILY], stdin=subprocess.DEVNULL)


def _start_daemon(_: str) -> None:
    if os.name == "posix":
        subprocess.run([sys.executable, "-c", _DAEMON], check=True, timeout=10)
        return
    code = f"import time; time.sleep({LONGEST_SECONDS})"
    flags = getattr(subprocess, "DETACHED_PROCESS", 0)
    child = subprocess.Popen(
        [sys.executable, "-c", code], creationflags=flags, stdin=subprocess.DEVNULL
    )
    say(f"Started daemon with PID {child.pid}")


# -- the worker -------------------------------------------------------------------------------


class _WorkerGone(BaseException):
    """Not caught where the errors of a task are, so that the thread ends."""


_GONE = "the worker was told to die"


def _end_worker(_: str) -> None:
    raise RuntimeError(_GONE)


def _end_worker_in_a_task(_: str) -> None:
    raise _WorkerGone(_GONE)


# -- a generation -----------------------------------------------------------------------------


class OutOfMemoryError(RuntimeError):
    """Prints as PyTorch's own."""


OutOfMemoryError.__module__ = "torch.cuda"


def _crash(_: str) -> None:
    say("Traceback (most recent call last):")
    say("RuntimeError: the demo engine was told to crash")
    os._exit(1)


def _exit(code: str) -> None:
    os._exit(int(float(code or 3)))


def _segfault(_: str) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _kill(_: str) -> None:
    # Windows has no SIGKILL; there every such end looks the same.
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def _jump_clock(seconds: str) -> None:
    """Let this process see what an administrator's change of the clock looks like."""
    jump = float(seconds or DAY_SECONDS)
    true_time, true_localtime = time.time, time.localtime
    true_strftime = time.strftime
    time.time = lambda: true_time() + jump
    time.localtime = lambda moment=None: true_localtime(
        true_time() + jump if moment is None else moment
    )
    time.strftime = lambda form, moment=None: true_strftime(form, moment or time.localtime())


def _hang(_: str) -> None:
    threading.Event().wait(LONGEST_SECONDS)


def _lose_gpu(_: str) -> None:
    raise RuntimeError(GPU_LOST_MESSAGE)


#: How often the memory has run out in this process.
_shortages = itertools.count(1)


def _run_out_of_memory(times: str) -> None:
    if not times or next(_shortages) <= int(times):
        raise OutOfMemoryError(CUDA_MESSAGE)


def _fail_to_enhance(how: str) -> None:
    if how != "quietly":
        raise OutOfMemoryError(CUDA_MESSAGE)
    say("[Enhance] No mask found, skipping")


def _print_bad_bytes(_: str) -> None:
    _write(b"\xff\xfe broken \x80 bytes \xc3\n")


def _print_endless_line(megabytes: str) -> None:
    _write_much(b"x" * 100_000, float(megabytes or 5))


def _flood(megabytes: str) -> None:
    _write_much((b"flood " * 20 + b"\n") * 1000, float(megabytes or 10))


def _write_much(block: bytes, megabytes: float) -> None:
    left = int(megabytes * 1e6)
    while left > 0:
        _write(block[:left])
        left -= len(block)


def _write(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


# -- the table --------------------------------------------------------------------------------

#: By name, or by ``NAME=ARGUMENT`` where only this argument means it. Those of one moment act in
#: this order: what ends the process comes before what raises an error.
FAULTS = {
    "ignore-term": Fault("ignore SIGTERM", Moment.START, _ignore_term),
    "slow-start": Fault(
        "download for so many seconds (default 3) before the server starts",
        Moment.START,
        _download,
    ),
    "silent-start": Fault(
        "compute for so many seconds (default 3) without a word before the server starts",
        Moment.START,
        _compute,
    ),
    "crash-start": Fault("end with a traceback while starting", Moment.START, _miss_a_module),
    "family": Fault(
        "start a child that has a child itself, and print their ids", Moment.START, _start_family
    ),
    "daemon": Fault(
        "start a grandchild that leaves the process's session, and print its id",
        Moment.START,
        _start_daemon,
    ),
    "port-taken": Fault("find every port taken"),
    "never-ready": Fault("serve the page but never start the worker"),
    "dead-worker": Fault(
        "let the worker die in a generation while the server lives", Moment.TASK, _end_worker
    ),
    "dead-worker=start": Fault(
        "let the worker die before its first task", Moment.WORKER_START, _end_worker
    ),
    "deaf-worker": Fault("let the worker take up no task"),
    "cue": Fault("let the faults of a generation wait until the file that is named here exists"),
    "from-image": Fault("let the faults of a generation strike from the image with this number on"),
    "http-dead": Fault("let the server die in the middle of a generation while the process lives"),
    "crash": Fault("end with a traceback in the middle of a generation", Moment.GENERATION, _crash),
    "exit": Fault(
        "end with the given exit code (default 3) in the middle of a generation",
        Moment.GENERATION,
        _exit,
    ),
    "segfault": Fault(
        "end by a segmentation fault in the middle of a generation", Moment.GENERATION, _segfault
    ),
    "oom-killed": Fault(
        "be killed as the system does when memory runs out", Moment.GENERATION, _kill
    ),
    "clock-jump": Fault(
        "see the clock jump by so many seconds (default a day) while generating",
        Moment.GENERATION,
        _jump_clock,
    ),
    "dead-worker=middle": Fault(
        "let the worker die between two steps", Moment.GENERATION, _end_worker_in_a_task
    ),
    "hang": Fault("fall silent in the middle of a generation", Moment.GENERATION, _hang),
    "gpu-lost": Fault(
        "find the GPU lost in the middle of a generation, and in each one after it",
        Moment.GENERATION,
        _lose_gpu,
    ),
    "oom": Fault(
        "run out of GPU memory in the middle of a generation, so many times (default always)",
        Moment.GENERATION,
        _run_out_of_memory,
    ),
    "bad-bytes": Fault(
        "print bytes that are no UTF-8 while generating", Moment.GENERATION, _print_bad_bytes
    ),
    "no-newline": Fault(
        "print so many MB (default 5) without a line ending while generating",
        Moment.GENERATION,
        _print_endless_line,
    ),
    "empty-gallery": Fault("end a generation without an image and without a word"),
    "enhance-fails": Fault(
        "run out of memory before an image is enhanced, or find nothing (quietly)",
        Moment.ENHANCEMENT,
        _fail_to_enhance,
    ),
    "flood": Fault("print so many MB (default 10) after each image", Moment.IMAGE, _flood),
}
