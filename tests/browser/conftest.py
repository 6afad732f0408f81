"""A real jupyter server and a real Chromium, and notebooks that are opened and run in them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import secrets
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    Playwright,
    expect,
    sync_playwright,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

expect.set_options(timeout=30_000)  # a busy machine is no failure

HERE = Path(__file__).parent
ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = ROOT / "test-artifacts"
SERVER_SECONDS = 180.0
CELL_MS = 60_000
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
QUIET = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs every day here: it has a lane of its own."""
    for item in items:
        if item.path.parent == HERE and not item.get_closest_marker("slow"):
            item.add_marker("browser")


@dataclass
class JupyterServer:
    """A running jupyter server."""

    url: str
    token: str
    folder: Path
    config: Path
    log: Path
    process: subprocess.Popen[bytes]

    def ask(self, path: str, method: str = "GET") -> Any:
        """Call its REST interface."""
        request = urllib.request.Request(
            f"{self.url}/{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"null")


class OpenNotebook:
    """A notebook in the browser.

    Attributes
    ----------
    page : Page
        Playwright's page.
    name : str
        The notebook's file name.
    """

    def __init__(self, page: Page, server: JupyterServer, name: str) -> None:
        self.page = page
        self.server = server
        self.name = name

    def cell(self, index: int) -> Locator:
        """Return a cell."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def output(self, index: int) -> Locator:
        """Return what a code cell shows."""
        return self.cell(index).locator(".jp-OutputArea")

    def run(self, index: int, *, wait: bool = True) -> None:
        """Run a cell, and wait until it is done if that is wanted."""
        self.cell(index).locator(".jp-InputArea-editor").click()
        self.page.keyboard.press("Control+Enter")
        if wait:
            self.wait(index)

    def wait(self, index: int) -> None:
        """Wait until a cell has run."""
        prompt = self.cell(index).locator(".jp-InputPrompt").first
        self.page.wait_for_function(
            "node => /^\\[\\d+\\]:/.test(node.textContent)",
            arg=prompt.element_handle(),
            timeout=CELL_MS,
        )

    def text(self, index: int) -> str:
        """Return the text that a code cell shows."""
        return self.output(index).first.inner_text()

    def run_until(self, index: int, said: Callable[[str], bool]) -> str:
        """Run a cell until it says what is awaited, and return its text.

        The kernel takes what a page sends on a thread of its own: a cell that is run right after
        it may see what was before.
        """
        deadline = time.monotonic() + 30
        while True:
            self.run(index)
            text = self.text(index)
            if said(text):
                return text
            assert time.monotonic() < deadline, text

    def save(self) -> dict[str, Any]:
        """Save the notebook and return what is in the file."""
        path = self.server.folder / self.name
        before = path.stat().st_mtime_ns
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("Control+s")
        deadline = time.monotonic() + 20
        while True:
            # The file may be seen while it is being written.
            with contextlib.suppress(json.JSONDecodeError):
                if path.stat().st_mtime_ns != before or time.monotonic() > deadline:
                    return json.loads(path.read_text())
            assert time.monotonic() < deadline + 10, "the notebook was not saved"
            self.page.wait_for_timeout(50)

    def shot(self, name: str, target: Locator | None = None) -> Path:
        """Keep a screenshot as an artifact."""
        ARTIFACTS.mkdir(exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        (target or self.page).screenshot(path=str(path))
        return path


@contextlib.contextmanager
def serve_jupyter(
    base: Path, *options: str, python: Path | str = sys.executable, base_url: str = "/"
) -> Iterator[JupyterServer]:
    """Run a jupyter server with JupyterLab and Notebook 7, all that it writes in a folder."""
    folder, config = base / "notebooks", base / "config"
    folder.mkdir(parents=True, exist_ok=True)  # a further server may go on where one has ended
    for plugin, settings in QUIET.items():
        _set(config, plugin, settings)
    token = secrets.token_hex(8)
    env = os.environ | {
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTER_RUNTIME_DIR": str(base / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(config / "lab" / "user-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(base / "workspaces"),
        "IPYTHONDIR": str(base / "ipython"),
    }
    command = [
        *(str(python), "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"),
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={folder}",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.base_url={base_url}",
        *options,
    ]
    log = base / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        url = _await_server(process, log, base_url)
        yield JupyterServer(url, token, folder, config, log, process)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@pytest.fixture(scope="session")
def run_jupyter() -> Callable[..., contextlib.AbstractContextManager[JupyterServer]]:
    """Run further jupyter servers, each as long as a block."""
    return serve_jupyter


@pytest.fixture(scope="session")
def jupyter_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """Run one jupyter server with JupyterLab and Notebook 7."""
    with serve_jupyter(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


def _await_server(process: subprocess.Popen[bytes], log: Path, base_url: str) -> str:
    deadline = time.monotonic() + SERVER_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text(errors="replace"))
        if found:
            url = found[0] + base_url.rstrip("/")
            try:
                if httpx.get(f"{url}/api", timeout=5).is_success:
                    return url
            except httpx.TransportError:
                pass
        time.sleep(0.1)
    pytest.fail(f"the jupyter server does not answer:\n{log.read_text(errors='replace')}")


def _set(config: Path, plugin: str, settings: dict[str, Any]) -> None:
    package, name = plugin.split(":")
    path = config / "lab" / "user-settings" / package / f"{name}.jupyterlab-settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings))


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Run Playwright for a module.

    Not for the session: while its loop runs, no later test could run one of its own.
    """
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """Run one Chromium for a module, in which each context knows nothing."""
    launched = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
    yield launched
    launched.close()


@pytest.fixture(scope="session")
def user_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Chromium that has JupyterLab's scripts compiled already."""
    return tmp_path_factory.mktemp("chromium")


@pytest.fixture(scope="module")
def user(playwright: Playwright, chromium: str, user_data: Path) -> Iterator[BrowserContext]:
    """Run one Chromium for a module, as a user has it: with what it keeps between two pages.

    A page of JupyterLab is there in two thirds of the time.
    """
    context = playwright.chromium.launch_persistent_context(
        user_data,
        executable_path=chromium,
        args=list(FLAGS),
        permissions=["clipboard-read", "clipboard-write"],
    )
    yield context
    context.close()


@pytest.fixture
def open_notebook(
    jupyter_server: JupyterServer, user: BrowserContext, request: pytest.FixtureRequest
) -> Iterator[Callable[..., OpenNotebook]]:
    """Open notebooks of the given cells; their kernels end with the test.

    ``app`` is ``lab`` or ``notebook`` (version 7); ``dark`` chooses the theme; ``cells`` may be a
    whole notebook, too.
    """
    pages = len(user.pages)
    opened = itertools.count()
    before = {session["id"] for session in jupyter_server.ask("api/sessions")}

    def open_one(
        cells: list[str] | dict[str, Any],
        *,
        app: str = "lab",
        dark: bool = False,
        size: tuple[int, int] = (1100, 900),
    ) -> OpenNotebook:
        theme = "JupyterLab Dark" if dark else "JupyterLab Light"
        _set(jupyter_server.config, "@jupyterlab/apputils-extension:themes", {"theme": theme})
        safe = re.sub(r"\W+", "_", request.node.name)[:60]
        name = f"{safe}_{next(opened)}.ipynb"
        content = cells if isinstance(cells, dict) else _notebook(cells)
        (jupyter_server.folder / name).write_text(json.dumps(content))
        page = user.new_page()
        page.set_viewport_size({"width": size[0], "height": size[1]})
        place = "doc/tree" if app == "lab" else "notebooks"
        page.goto(f"{jupyter_server.url}/{place}/{name}?token={jupyter_server.token}")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell .cm-content", timeout=CELL_MS)
        notebook = OpenNotebook(page, jupyter_server, name)
        await_kernel(notebook)
        return notebook

    yield open_one
    for page in user.pages[pages:]:  # also those that a test has opened beside them
        page.close()
    for session in jupyter_server.ask("api/sessions"):
        if session["id"] not in before:
            jupyter_server.ask(f"api/sessions/{session['id']}", "DELETE")


def await_kernel(notebook: OpenNotebook) -> None:
    """Wait until a cell that is run now reaches its kernel."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for session in notebook.server.ask("api/sessions"):
            if session["path"] == notebook.name and session["kernel"]:
                state = session["kernel"]["execution_state"]
                if state == "idle" and session["kernel"]["connections"]:
                    return
        notebook.page.wait_for_timeout(100)
    pytest.fail("the kernel did not become idle")


def _notebook(cells: list[str]) -> dict[str, Any]:
    return {
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{index}",
                "source": source,
                "metadata": {},
                "outputs": [],
                "execution_count": None,
            }
            for index, source in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
