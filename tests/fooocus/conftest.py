"""Servers to speak to: a real Gradio 3.41.2 in an environment of its own, and a scripted one."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
import warnings
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
#: Recordings of real servers, beside the checkout where there are any.
RECORDED = ROOT.parent / "shared" / "fooocus"
APP = HERE.parent / "servers" / "gradio3_app.py"
MODERN_APP = APP.with_name("gradio4_app.py")

START_SECONDS = 180.0
TINY_PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module", autouse=True)
def _collected_before() -> None:
    """Blame no test here for what those of other modules have left.

    And look no more at what is there by now: of all tests and modules together, each look of
    `_collected` would take a quarter of a second, for more than a thousand tests.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    gc.freeze()


#: Thousands of tests, for which looking each time would take longer than the tests do.
WITHOUT_SOCKETS = frozenset({"checkout", "logs", "metadata", "schema"})


@pytest.fixture(autouse=True)
def _collected(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a forgotten socket warn in the test that forgot it."""
    yield
    if request.path.parent.name not in WITHOUT_SOCKETS:
        gc.collect()


# -- a real Gradio 3.41.2 ---------------------------------------------------------------------


@dataclass
class Gradio3Server:
    """The app of ours, served by a real Gradio."""

    url: str
    record: Path
    temp_path: Path
    process: subprocess.Popen[bytes]

    def calls(self) -> list[dict[str, Any]]:
        """Return all that has arrived, oldest first; the server may be about to write another."""
        text = self.record.read_text(encoding="utf-8") if self.record.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def last(self, call: str) -> dict[str, Any]:
        """Return what the latest call of that name brought."""
        return next(entry for entry in reversed(self.calls()) if entry["call"] == call)

    def stop(self) -> None:
        """End the server, politely and then not."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        if self.process.stdin is not None:
            self.process.stdin.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_http(server: Gradio3Server, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.process.poll() is None, log.read_text(errors="replace")
        try:
            with opener.open(f"{server.url}/config", timeout=5):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 401:  # it wants a login
                return
        except OSError:
            pass
        time.sleep(0.1)
    server.stop()
    pytest.fail(f"Gradio did not start:\n{log.read_text(errors='replace')}")


@contextlib.contextmanager
def _serving(python: Path, folder: Path, *flags: str, app: Path = APP) -> Iterator[Gradio3Server]:
    port = _free_port()
    temp, record, log = folder / "temp", folder / "record.jsonl", folder / "server.log"
    temp.mkdir()
    kept = ("PATH", "HOME", "SYSTEMROOT", "LANG", "TMPDIR", "TEMP", "TMP", "USERPROFILE")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    env |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(folder / "gradio")}
    # Matplotlib's list of fonts takes seconds to make: once for an environment is enough.
    env |= {"PYTHONUNBUFFERED": "1", "MPLCONFIGDIR": str(python.parents[1] / "matplotlib")}
    options = {"--port": str(port), "--record": str(record), "--temp-path": str(temp)}
    argv = [str(python), str(app), *(part for pair in options.items() for part in pair), *flags]
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=env
        )
    server = Gradio3Server(f"http://127.0.0.1:{port}", record, temp, process)
    try:
        _await_http(server, log)
        yield server
    finally:
        server.stop()


@pytest.fixture
def start_gradio3(
    gradio3_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Gradio3Server]]:
    """Return a function that starts a server with flags of its own."""
    with contextlib.ExitStack() as stack:

        def start(*flags: str) -> Gradio3Server:
            folder = tmp_path_factory.mktemp("gradio3")
            return stack.enter_context(_serving(gradio3_python, folder, *flags))

        yield start


@pytest.fixture(scope="session")
def gradio3_server(
    gradio3_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gradio3Server]:
    """Run one server for all tests that only speak to it."""
    with _serving(gradio3_python, tmp_path_factory.mktemp("gradio3")) as server:
        yield server


@pytest.fixture(scope="session")
def modern_server(
    later_gradio: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gradio3Server]:
    """Run the same app on a Gradio of today, one server for all tests that only speak to it."""
    folder = tmp_path_factory.mktemp("modern")
    with _serving(later_gradio, folder, app=MODERN_APP) as server:
        yield server


@pytest.fixture
def start_modern(
    later_gradio: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Gradio3Server]]:
    """Return a function that starts such a server with flags of its own."""
    with contextlib.ExitStack() as stack:

        def start(*flags: str) -> Gradio3Server:
            folder = tmp_path_factory.mktemp("modern")
            return stack.enter_context(_serving(later_gradio, folder, *flags, app=MODERN_APP))

        yield start


# -- a scripted server ------------------------------------------------------------------------


@dataclass
class ScriptedServer:
    """A server that says what a test tells it to."""

    url: str
    joins: int = 0
    requested: list[str] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)
    closed: int = 0


class Wire:
    """Makes scripted servers, and knows the recordings."""

    def recorded(self, case: str) -> dict[int, list[dict[str, Any]]]:
        """Return the messages of a recording by function, its shortened pictures made whole."""
        calls: dict[int, list[dict[str, Any]]] = {}
        for line in (RECORDED / "wire" / f"{case}.jsonl").read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if entry["kind"] == "recv":
                calls.setdefault(entry["fn"], []).append(_whole(entry["msg"]))
        return calls

    def replaying(
        self, calls: dict[int, list[dict[str, Any]]]
    ) -> Callable[[ServerConnection, ScriptedServer], Awaitable[None]]:
        """Return a handler that says what was recorded, and listens where the server did."""

        async def handle(connection: ServerConnection, server: ScriptedServer) -> None:
            await connection.send(json.dumps({"msg": "send_hash"}))
            identity = json.loads(await connection.recv())
            server.received.append(identity)
            for message in calls[identity["fn_index"]][1:]:
                await connection.send(json.dumps(message))
                if message["msg"] == "send_data":
                    server.received.append(json.loads(await connection.recv()))

        return handle

    @contextlib.asynccontextmanager
    async def serving(
        self,
        handler: Callable[[ServerConnection, ScriptedServer], Awaitable[None]] | None = None,
        *,
        prefix: str = "",
        answers: dict[str, tuple[int, str, dict[str, str]]] | None = None,
    ) -> AsyncIterator[ScriptedServer]:
        """Run a server whose queue is `handler`, and whose pages are `answers` (by path)."""
        server = ScriptedServer("")
        pages = answers or {}

        def page(_connection: ServerConnection, request: Request) -> Response | None:
            server.requested.append(request.path)
            if request.path == f"{prefix}/queue/join" and handler is not None:
                return None
            status, body, headers = pages.get(request.path, (404, "", {}))
            data = body.encode()
            more = {"Content-Length": str(len(data)), "Connection": "close"}
            return Response(status, HTTPStatus(status).phrase, Headers({**more, **headers}), data)

        async def join(connection: ServerConnection) -> None:
            server.joins += 1
            assert handler is not None
            try:
                await handler(connection, server)
            finally:
                server.closed += 1

        async with serve(join, "127.0.0.1", 0, process_request=page, max_size=None) as listening:
            port = next(iter(listening.sockets)).getsockname()[1]
            server.url = f"http://127.0.0.1:{port}{prefix}"
            yield server


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, str) and value.startswith("data:image/png;base64,") and " chars>" in value:
        return TINY_PNG
    return value


@pytest.fixture(scope="session")
def wire() -> Wire:
    """Return the maker of scripted servers."""
    return Wire()
