"""However a kernel or its server ends, nothing is left; whatever interrupts it, all goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from ..lanes import slow_but
from ..websockets_direct import connect_directly
from .conftest import START, Household

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CELL_TIMEOUT = 60
GENERATE = "engine.generate('a cat', width=64, height=64, steps=1, image_number=1)"
posix = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")


class Kernel:
    """A kernel with an engine, and the client that started both."""

    def __init__(self, household: Household, start: str = START) -> None:
        self.household = household
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(
            env=household.environment, cwd=str(household.folder / "notebooks")
        )
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.run(start)
        household.meet()

    def run(self, code: str, status: str = "ok") -> None:
        reply = self.client.execute_interactive(
            code, timeout=CELL_TIMEOUT, output_hook=lambda _: None, stop_on_error=False
        )
        content = reply["content"]
        assert content["status"] == status, "\n".join(content.get("traceback", ["no error"]))

    def send(self, code: str) -> None:
        """Run a cell of which no reply is to come."""
        self.client.execute(code)

    def begin(self, code: str) -> str:
        """Begin a cell, and return once it says that it has begun.

        When it fails, the kernel must not drop the cell that the test sends next, which a kernel
        does with all that arrives for a moment after an error.
        """
        request = self.client.execute(code, stop_on_error=False)
        deadline = time.monotonic() + CELL_TIMEOUT
        while time.monotonic() < deadline:
            message = self.client.get_iopub_msg(timeout=CELL_TIMEOUT)
            if message["content"].get("text", "").startswith("begun"):
                return request
        pytest.fail("the cell did not begin")

    def reply_to(self, request: str) -> dict[str, Any]:
        deadline = time.monotonic() + CELL_TIMEOUT
        while time.monotonic() < deadline:
            message = self.client.get_shell_msg(timeout=CELL_TIMEOUT)
            if message["parent_header"]["msg_id"] == request:
                return message["content"]
        pytest.fail("no reply came")

    def kill(self, number: int) -> None:
        assert self.household.kernel is not None
        self.household.kernel.send_signal(number)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture
def kernel(household: Household) -> Iterator[Kernel]:
    started = Kernel(household)
    yield started
    started.close()


# -- by its own manager -----------------------------------------------------------------------

ENDS: dict[str, Callable[[Kernel], object]] = {
    "shutdown": lambda kernel: kernel.manager.shutdown_kernel(),
    "shutdown now": lambda kernel: kernel.manager.shutdown_kernel(now=True),
    "restart": lambda kernel: kernel.manager.restart_kernel(),
    "restart now": lambda kernel: kernel.manager.restart_kernel(now=True),
    "SIGTERM": lambda kernel: kernel.kill(signal.SIGTERM),
    "SIGKILL": lambda kernel: kernel.kill(signal.SIGKILL),
    "os._exit": lambda kernel: kernel.send("os._exit(3)"),
    "exit()": lambda kernel: kernel.send("exit()"),
    "abort": lambda kernel: kernel.send("os.abort()"),
    "segfault": lambda kernel: kernel.send("os.kill(os.getpid(), 11)"),
    "exec": lambda kernel: kernel.send("os.execv('/bin/true', ['true'])"),
    "shutdown while busy": lambda kernel: (
        kernel.begin(SLEEP),
        kernel.manager.shutdown_kernel(now=True),
    ),
}


@posix
@pytest.mark.parametrize(
    "end",
    slow_but(ENDS, "shutdown", "SIGKILL", "exit()"),
)
def test_nothing_is_left(kernel: Kernel, end: str) -> None:
    ENDS[end](kernel)
    kernel.household.assert_gone()


@posix
@pytest.mark.parametrize("first", slow_but(["kernel", "guardian"], "kernel"))
def test_nothing_is_left_running_where_the_guardian_is_killed_too(
    kernel: Kernel, first: str
) -> None:
    household = kernel.household
    both = [household.kernel, household.family[-1]]  # the last one is the guardian
    for process in both if first == "kernel" else reversed(both):
        process.kill()
    household.assert_nobody_runs()
    # Whoever lists the engines next removes the files.
    command = [sys.executable, "-m", "fooocus_nb.cli", "ps"]
    subprocess.run(command, env=household.environment, check=True, timeout=60)
    household.assert_gone()


# -- what interrupts it -----------------------------------------------------------------------

SLEEP = "import time; print('begun', flush=True); time.sleep(60)"
SWALLOW = """
try:
    print("begun", flush=True)
    __import__("time").sleep(60)
except KeyboardInterrupt:
    pass
"""


def _interrupt_busy(kernel: Kernel) -> None:
    request = kernel.begin(SLEEP)
    kernel.manager.interrupt_kernel()
    assert kernel.reply_to(request)["status"] == "error"


def _interrupt_swallowed(kernel: Kernel) -> None:
    request = kernel.begin(SWALLOW)
    kernel.manager.interrupt_kernel()
    assert kernel.reply_to(request)["status"] == "ok"


def _interrupt_generation(kernel: Kernel) -> None:
    request = kernel.begin(
        "print('begun', flush=True); engine.generate('a cat', steps=200, image_number=32)"
    )
    kernel.manager.interrupt_kernel()
    assert kernel.reply_to(request)["status"] == "error"


INTERRUPTS: dict[str, Callable[[Kernel], object]] = {
    "idle": lambda kernel: kernel.manager.interrupt_kernel(),
    "SIGINT": lambda kernel: kernel.kill(signal.SIGINT),
    "busy": _interrupt_busy,
    "swallowed": _interrupt_swallowed,
    "generating": _interrupt_generation,
    "sys.exit": lambda kernel: kernel.run("import sys; sys.exit(3)", status="error"),
}


@posix
@pytest.mark.parametrize("interrupt", slow_but(INTERRUPTS, "generating"))
def test_all_go_on(kernel: Kernel, interrupt: str) -> None:
    INTERRUPTS[interrupt](kernel)
    kernel.run(GENERATE)
    assert kernel.household.all_alive()
    kernel.manager.shutdown_kernel()
    kernel.household.assert_gone()


# -- by what runs a notebook ------------------------------------------------------------------


@posix
@pytest.mark.parametrize("last", slow_but(["1", "1 / 0"], "1 / 0"))
def test_nbclient_leaves_nothing(household: Household, last: str) -> None:
    def meet(cell: Any, cell_index: int, execute_reply: Any) -> None:
        if cell_index == 0:
            household.meet()

    cells = [nbformat.v4.new_code_cell(source) for source in (START, last)]
    client = NotebookClient(
        nbformat.v4.new_notebook(cells=cells),
        timeout=CELL_TIMEOUT,
        resources={"metadata": {"path": str(household.folder / "notebooks")}},
        on_cell_executed=meet,
    )
    expected = pytest.raises(CellExecutionError) if "/" in last else contextlib.nullcontext()
    with expected:
        client.execute(env=household.environment)
    household.assert_gone()


MANAGER = """
import os, sys, time
from jupyter_client.manager import KernelManager
manager = KernelManager(kernel_name="python3")
manager.start_kernel()
client = manager.blocking_client()
client.start_channels()
client.wait_for_ready(timeout=60)
client.execute_interactive(sys.argv[1], timeout=60)
print("started", flush=True)
time.sleep(120)
"""


@posix
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_killed_manager_leaves_nothing(household: Household, number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MANAGER, START],
        env=household.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as manager:
        try:
            assert manager.stdout is not None
            assert any(b"started" in line for line in manager.stdout)
            household.meet()
        finally:
            manager.send_signal(number)
            manager.wait(10)
        household.assert_gone()


# -- by a jupyter server ----------------------------------------------------------------------


class Server:
    """A jupyter server, spoken to as a browser does."""

    def __init__(self, household: Household, *flags: str) -> None:
        self.household = household
        self.token = uuid.uuid4().hex
        self._log = (household.folder / "server.log").open("wb")
        command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"]
        options = [
            "--ServerApp.port=0",
            "--ServerApp.ip=127.0.0.1",
            f"--IdentityProvider.token={self.token}",
            f"--ServerApp.root_dir={household.folder / 'notebooks'}",
            # The guardian is tried alone here; tests/server has what the extension adds.
            "--ServerApp.jpserver_extensions={'fooocus_nb.server': False}",
        ]
        self.process = subprocess.Popen(
            [*command, *options, *flags],
            env=household.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.url = self._await()

    def _await(self) -> str:
        runtime = self.household.folder / "jupyter"
        deadline = time.monotonic() + CELL_TIMEOUT
        while time.monotonic() < deadline:
            assert self.process.poll() is None
            for path in runtime.glob(f"jpserver-{self.process.pid}.json"):
                with contextlib.suppress(OSError, ValueError, httpx.TransportError):
                    url = str(json.loads(path.read_text())["url"])
                    if httpx.get(f"{url}api", timeout=5).is_success:
                        return url
            time.sleep(0.05)
        pytest.fail("the server does not answer")

    def ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            body = answer.read()
            return json.loads(body) if body else None

    def start(self, code: str = START) -> str:
        """Start a kernel with an engine, over the websocket, and leave it."""
        identity = self.ask("api/kernels", "POST")["id"]
        address = f"{self.url.replace('http', 'ws', 1)}api/kernels/{identity}/channels"
        header = {
            "msg_id": uuid.uuid4().hex,
            "session": uuid.uuid4().hex,
            "username": "test",
            "msg_type": "execute_request",
            "version": "5.3",
            "date": "2026-01-01T00:00:00Z",
        }
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}}
        with connect_directly(
            f"{address}?token={self.token}", open_timeout=30, max_size=None
        ) as socket:
            socket.send(json.dumps({**message, "content": content, "buffers": []}))
            while True:
                answer = json.loads(socket.recv(timeout=CELL_TIMEOUT))
                if answer["msg_type"] == "execute_reply":
                    assert answer["content"]["status"] == "ok", answer
                    break
        self.household.meet()
        return identity

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self._log.close()


SERVER_ENDS: dict[str, Callable[[Server, str], object]] = {
    "DELETE": lambda server, kernel: server.ask(f"api/kernels/{kernel}", "DELETE"),
    "RESTART": lambda server, kernel: server.ask(f"api/kernels/{kernel}/restart", "POST"),
    "culling": lambda _server, _kernel: None,
    "/api/shutdown": lambda server, _kernel: server.ask("api/shutdown", "POST"),
    "SIGTERM": lambda server, _kernel: server.process.send_signal(signal.SIGTERM),
    "SIGKILL": lambda server, _kernel: server.process.send_signal(signal.SIGKILL),
    "SIGHUP": lambda server, _kernel: server.process.send_signal(signal.SIGHUP),
}
#: Longer than the way from a kernel's start to the connection that keeps it.
CULLING = (
    "--MappingKernelManager.cull_idle_timeout=8",
    "--MappingKernelManager.cull_interval=1",
)


@posix
@pytest.mark.parametrize("end", slow_but(SERVER_ENDS, "SIGKILL"))
def test_a_server_leaves_nothing(household: Household, end: str) -> None:
    server = Server(household, *(CULLING if end == "culling" else ()))
    try:
        kernel = server.start()
        SERVER_ENDS[end](server, kernel)
        household.assert_gone()
    finally:
        server.close()
