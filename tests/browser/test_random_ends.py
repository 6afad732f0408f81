"""Ends of browser, kernel and server at random moments of a generation, and what can be resumed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from fooocus_nb.engine.folders import RUNTIME_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEED = 20261127
ENDS = ("browser", "kernel SIGKILL", "kernel restart", "server SIGKILL", "server SIGTERM")
SHOWN = re.compile(r'data-sha256="([0-9a-f]{64})"')
START = "%load_ext fooocus_nb\n%fooocus start --demo --keep --output-dir "
LAB_MS = 120_000


class Place:
    """A Jupyter server that is started again in the same folders when it has ended."""

    def __init__(self, run_jupyter: Callable[..., Any], base: Path) -> None:
        self._run = run_jupyter
        self._base = base
        self._stack = contextlib.ExitStack()
        self.server: Any = None
        self.start()

    def start(self) -> None:
        self._stack.close()
        self.server = self._stack.enter_context(self._run(self._base))

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def place(
    run_jupyter: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    base = tmp_path_factory.mktemp("ends")
    with (
        tempfile.TemporaryDirectory(prefix="fnb-ends-") as runtime,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv(RUNTIME_VARIABLE, runtime)
        patch.setenv("FOOOCUS_DEMO_STEP_SECONDS", "0.08")
        opened = Place(run_jupyter, base / "jupyter")
        try:
            yield opened
        finally:
            opened.close()
            command = [sys.executable, "-m", "fooocus_nb.cli", "stop", "--all"]
            subprocess.run(command, check=True, timeout=60, stdout=subprocess.DEVNULL)


def open_in(browser: Browser, server: Any, name: str) -> Page:
    page = browser.new_context(viewport={"width": 1200, "height": 900}).new_page()
    page.goto(f"{server.url}/doc/tree/{name}?token={server.token}&reset")
    page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.wait_for(timeout=LAB_MS)
    deadline = time.monotonic() + LAB_MS / 1000
    while not any(
        session["path"] == name and session["kernel"] and session["kernel"]["connections"]
        for session in server.ask("api/sessions")
    ):
        assert time.monotonic() < deadline, "the notebook has got no kernel"
        page.wait_for_timeout(50)
    return page


def run_cell(page: Page, index: int) -> None:
    page.locator(".jp-Notebook .jp-Cell").nth(index).locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+Enter")


def wait_for_cell(page: Page, index: int) -> None:
    prompt = page.locator(".jp-Notebook .jp-Cell").nth(index).locator(".jp-InputPrompt").first
    prompt.wait_for(timeout=LAB_MS)
    page.wait_for_function(
        "node => /^\\[\\d+\\]:/.test(node.textContent)",
        arg=prompt.element_handle(),
        timeout=LAB_MS,
    )


def notebook_of(place: Place, name: str, cells: list[str]) -> Path:
    content = {
        "cells": [
            {"cell_type": "code", "id": f"c{index}", "source": source, "metadata": {},
             "outputs": [], "execution_count": None}
            for index, source in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }  # fmt: skip
    path = place.server.folder / name
    path.write_text(json.dumps(content))
    return path


def shown_in(path: Path) -> list[str]:
    """The SHA-256 of the images that a saved notebook shows; none while it is being written."""
    try:
        cells = json.loads(path.read_text())["cells"]
    except json.JSONDecodeError:
        return []
    return [
        found
        for cell in cells
        for output in cell["outputs"]
        for found in SHOWN.findall("".join(output.get("data", {}).get("text/html", "")))
    ]


def end_it(how: str, place: Place, page: Page, name: str) -> None:
    """End the browser's page, the kernel, or the server."""
    server = place.server
    (kernel,) = (
        session["kernel"]["id"] for session in server.ask("api/sessions") if session["path"] == name
    )
    if how == "browser":
        page.context.close()
    elif how == "kernel restart":
        server.ask(f"api/kernels/{kernel}/restart", "POST")
        page.context.close()
    elif how == "kernel SIGKILL":
        used = [
            user
            for engine in server.ask("fooocus-nb/api/engines")["engines"]
            for user in engine["kernels"]
        ]
        (pid,) = (user["pid"] for user in used if user["id"] == kernel)
        os.kill(pid, signal.SIGKILL)
        page.context.close()
    else:
        children = psutil.Process(server.process.pid).children(recursive=True)
        server.process.send_signal(getattr(signal, how.split()[1]))
        server.process.wait(60)
        page.context.close()
        # A kernel that has lost its server ends by itself, and must be gone before the next looks.
        psutil.wait_procs([child for child in children if "ipykernel" in str(child.cmdline)], 30)
        place.start()


@pytest.mark.parametrize("number", range(20))
def test_every_image_is_shown_once(place: Place, browser: Browser, number: int) -> None:
    chance = random.Random(SEED + number)
    how = ENDS[number % len(ENDS)]
    images, repeat = chance.choice([1, 2, 3]), chance.choice([1, 2])
    seeds = range(number * 100, number * 100 + images * repeat)
    line = f"%%fooocus -n {images} --repeat {repeat} --seed {seeds[0]} --size 64x64 --steps 6"
    name, outputs = f"n{number}.ipynb", f"out{number}"
    path = notebook_of(place, name, [START + outputs, f"{line}\na cat"])
    folder = path.parent / outputs
    page = open_in(browser, place.server, name)
    run_cell(page, 0)
    wait_for_cell(page, 0)
    # Somewhere from the first step to the end of the last image.
    wanted = chance.randrange(images * repeat)
    step = chance.randrange(1, 6)
    run_cell(page, 1)
    deadline = time.monotonic() + 60
    monitor = page.locator(".jp-Notebook .jp-Cell").nth(1).locator(".jp-OutputArea")
    while len(list(folder.glob("*.png"))) < wanted or f"{step} of 6" not in monitor.inner_text():
        assert time.monotonic() < deadline, monitor.inner_text()
        if len(list(folder.glob("*.png"))) > wanted:
            break  # that step was too quick to be seen
        page.wait_for_timeout(10)
    if chance.random() < 0.5:
        page.keyboard.press("Escape")
        page.keyboard.press("Control+s")
    end_it(how, place, page, name)

    page = open_in(browser, place.server, name)
    page.locator('[data-id="jp-running-sessions"]').click(timeout=LAB_MS)
    page.locator(".fnb-running-action").get_by_text("Resume", exact=True).click(timeout=LAB_MS)
    wait_for_cell(page, 2)
    deadline = time.monotonic() + 60
    made = {hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.png")}
    while len(shown_in(path)) < len(made):
        assert time.monotonic() < deadline, (how, shown_in(path), made, path.read_text()[-3000:])
        page.wait_for_timeout(50)
    page.context.close()
    for session in place.server.ask("api/sessions"):
        place.server.ask(f"api/sessions/{session['id']}", "DELETE")
    assert sorted(shown_in(path)) == sorted(made), how
    # A restart and a server that ends in good order interrupt the cell; the others stop nothing.
    if how not in ("kernel restart", "server SIGTERM"):
        assert len(made) == images * repeat, how
