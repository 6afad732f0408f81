"""Real children under real guardians; none of them outlives its test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from fooocus_nb.supervisor import ChildSpec, Process, _platform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# On a loaded machine any example may take longer than Hypothesis would have it.
settings.register_profile(
    "loaded",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("loaded")

#: What a test program gets to say what it has started, and to wait.
PRELUDE = "import os, signal, subprocess, sys, time\n"


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for a condition; a test that never sees it fails with its name."""

    def wait(condition: Callable[[], object], timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout} s: {condition}"
            time.sleep(0.002)

    return wait


@pytest.fixture
def gone() -> Callable[[int], bool]:
    """Whether a process has ended; a zombie has."""
    return lambda pid: _platform.creation_time(pid) is None


@pytest.fixture
def make_spec(tmp_path: Path) -> Callable[..., ChildSpec]:
    """Specify a child that runs a Python program."""

    def make(code: str, **options) -> ChildSpec:
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        folder.mkdir(mode=0o700)
        options.setdefault("argv", (sys.executable, "-u", "-I", "-S", "-c", PRELUDE + code))
        options.setdefault("env", dict(os.environ))
        options.setdefault("log_path", folder / "logs" / "engine.log")
        return ChildSpec(name="test", run_dir=folder, **options)

    return make


@pytest.fixture
def start(make_spec) -> Iterator[Callable[..., Process]]:
    """Start a child that is stopped after the test."""
    processes: list[Process] = []

    def begin(code: str, **options) -> Process:
        processes.append(Process.start(make_spec(code, **options)))
        return processes[-1]

    yield begin
    for process in processes:
        process.stop(grace=0.5)
        assert _platform.creation_time(process.pid) is None
        assert _platform.creation_time(process.guardian_pid) is None


KERNEL = """
import os, subprocess, sys, time
from pathlib import Path
from fooocus_nb.supervisor import ChildSpec, Process
folder = Path(sys.argv[1])
folder.mkdir(mode=0o700)
process = Process.start(ChildSpec(
    argv=(sys.executable, "-u", "-I", "-S", "-c", sys.argv[2]), env=dict(os.environ),
    name="test", run_dir=folder, log_path=folder / "logs" / "engine.log",
    grace=float(sys.argv[3]), cleanup=(folder,),
))
def say(line):
    os.write(1, f"{line.text}\\n".encode())
say(type("Line", (), {"text": f"pids {process.pid} {process.guardian_pid}"}))
process.add_listener(say)
exec(sys.argv[4])
time.sleep(120)
"""


class Kernel:
    """A process that holds an engine, as a Jupyter kernel does, and that a test can kill."""

    def __init__(self, folder: Path, child: str, grace: float, code: str) -> None:
        self.folder = folder
        arguments = [str(folder), PRELUDE + child, str(grace), code]
        self.popen = subprocess.Popen(
            [sys.executable, "-c", KERNEL, *arguments], stdout=subprocess.PIPE, text=True
        )
        self.child, self.shim = (int(word) for word in self.line().split()[1:])

    def line(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline()

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.popen.send_signal(signal.SIGCONT)
        self.popen.kill()
        self.popen.wait(timeout=10)
        assert self.popen.stdout is not None
        self.popen.stdout.close()


@pytest.fixture
def start_kernel(tmp_path: Path, until, gone) -> Iterator[Callable[..., Kernel]]:
    """Start kernels that are killed after the test, which then waits for their guardians."""
    kernels: list[Kernel] = []

    def begin(child: str, *, grace: float = 2.0, code: str = "") -> Kernel:
        kernels.append(Kernel(tmp_path / f"kernel-{len(kernels)}", child, grace, code))
        return kernels[-1]

    yield begin
    for kernel in kernels:
        kernel.close()
        until(lambda pid=kernel.shim: gone(pid))
