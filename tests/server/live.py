"""A Jupyter server of its own process, with the extension as the wheel enables it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from typing import TYPE_CHECKING, Any

from ..conftest import free_port
from ..websockets_direct import connect_directly

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: How long anything may take; far more than it needs on a machine with nothing else to do.
SECONDS = 90
#: What else is installed beside the tests takes its time to load, and is none of theirs.
OTHERS = ("jupyterlab", "jupyter_lsp", "jupyter_server_proxy", "notebook", "notebook_shim")
HEADER = {
    "msg_id": "m",
    "session": "s",
    "username": "",
    "msg_type": "execute_request",
    "version": "5.3",
    "date": "2026-01-01T00:00:00Z",
}


async def until(condition: Callable[[], Any]) -> Any:
    """Wait until something is so, with the server's own loop running."""
    deadline = time.monotonic() + SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)
    return value


class Server:
    """One such server, spoken to as a browser does."""

    def __init__(self, folder: Path, base: str = "/user/x%40y.org/") -> None:
        self._folder = folder
        self.token = uuid.uuid4().hex
        self.log_path = folder / f"server-{uuid.uuid4().hex[:8]}.log"
        self.port = free_port()
        self._base = base
        self.url = f"http://127.0.0.1:{self.port}{base}"

    def start(self, *flags: str) -> None:
        """Start it, and wait until it answers."""
        extensions = dict.fromkeys(OTHERS, False)
        options = [
            "--no-browser",
            "--allow-root",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={self.port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.base_url={self._base}",
            "--ServerApp.allow_unauthenticated_access=False",
            f"--ServerApp.root_dir={self._folder}",
            f"--ServerApp.jpserver_extensions={extensions}",
            f"--IdentityProvider.token={self.token}",
            "--FooocusExtension.watch_interval=0.2",
        ]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyter_server", *options, *flags],
                env=os.environ | {"JUPYTER_RUNTIME_DIR": str(self._folder / "jr")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + SECONDS
        while True:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            with contextlib.suppress(OSError):
                self.ask("fooocus-nb/api/status")
                return
            time.sleep(0.05)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            data = answer.read()
        return json.loads(data) if data else None

    def kernel(self, code: str) -> str:
        """Start a kernel, run something in it, and return its id."""
        identity = self.ask("api/kernels", "POST", {})["id"]
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        message = {"channel": "shell", "header": HEADER, "parent_header": {}, "metadata": {}}
        address = f"{self.url.replace('http', 'ws', 1)}api/kernels/{identity}/channels"
        with connect_directly(
            f"{address}?token={self.token}", open_timeout=SECONDS, max_size=None
        ) as socket:
            socket.send(json.dumps({**message, "content": content, "buffers": []}))
            while True:
                answer = json.loads(socket.recv(timeout=SECONDS))
                if answer["msg_type"] == "execute_reply":
                    assert answer["content"]["status"] == "ok", answer
                    return identity

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
