"""A kernel of its own, whose messages and CPU time are counted while cells run."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import zmq
from jupyter_client.manager import KernelManager

if TYPE_CHECKING:
    from collections.abc import Iterator

CELL_TIMEOUT = 300.0


@dataclass(frozen=True)
class Cost:
    """What one cell cost: messages to the frontend, their bytes, and the kernel's CPU seconds."""

    messages: int
    bytes: int
    cpu: float

    def __str__(self) -> str:
        return f"{self.messages:>7,} messages  {self.bytes / 1e6:>8.2f} MB  {self.cpu:>6.2f} s CPU"


class Kernel:
    """Runs cells and says what each cost."""

    def __init__(self, manager: KernelManager) -> None:
        self._manager = manager
        self._client = manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)
        self._process = psutil.Process(manager.provisioner.pid)
        self._counter = _Counter(manager)

    def close(self) -> None:
        """Let go of the channels."""
        self._counter.close()
        self._client.stop_channels()

    def run(self, code: str) -> Cost:
        """Run a cell that must succeed, and count until everything that it sent has come."""
        messages, size = self._counter.now()
        cpu = self._cpu()
        reply = self._client.execute_interactive(
            code, timeout=CELL_TIMEOUT, output_hook=lambda _: None
        )
        if reply["content"]["status"] != "ok":
            raise SystemExit("\n".join(reply["content"].get("traceback", [str(reply)])))
        self._counter.settle()
        after, grown = self._counter.now()
        return Cost(after - messages, grown - size, self._cpu() - cpu)

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system


class _Counter:
    """Counts what the kernel publishes, as every frontend gets it."""

    def __init__(self, manager: KernelManager) -> None:
        self._manager = manager
        self._socket = manager.connect_iopub()
        self._lock = threading.Lock()
        self._messages = self._bytes = 0
        self._quiet = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def _count(self) -> None:
        while not self._ended.is_set():
            if not self._socket.poll(200, zmq.POLLIN):
                self._quiet.set()
                continue
            frames = self._socket.recv_multipart()
            with self._lock:
                self._messages += 1
                self._bytes += sum(map(len, frames))

    def now(self) -> tuple[int, int]:
        with self._lock:
            return self._messages, self._bytes

    def settle(self) -> None:
        """Wait until nothing has come for a while."""
        self._quiet.clear()
        self._quiet.wait(30)

    def close(self) -> None:
        self._ended.set()
        self._thread.join(5)
        self._socket.close(0)


@contextlib.contextmanager
def kernel(**environment: str) -> Iterator[Kernel]:
    """Start a kernel, and end it with all that it started."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=os.environ | environment, stderr=subprocess.DEVNULL)
    opened = None
    try:
        opened = Kernel(manager)
        yield opened
    finally:
        if opened is not None:
            opened.close()
        manager.shutdown_kernel(now=False)
        manager.cleanup_resources()
