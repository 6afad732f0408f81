"""Record docs/run.webp, the moving image of the README: a real run in JupyterLab, on the demo.

Run it with ``python tests/tools/make_readme_image.py [CHROMIUM]``; it takes half a minute. It opens
a notebook in a real JupyterLab and a headless Chromium, runs its cells, and photographs the page
until the images are there. Frames that are alike become one that stays longer.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "run.webp"
NAME = "fooocus.ipynb"
MAX_BYTES = 400_000
VIEW = {"width": 900, "height": 640}
#: Slower than usual, so that there is something to watch.
STEP_SECONDS = "0.11"
QUALITY = 55
FRAME_MS = 160
#: How long the last frames stay, so that they can be looked at.
REST_MS = 2500
CELLS = (
    "%load_ext fooocus_nb\n%fooocus start --demo",
    "%%fooocus -n 3 --seed 7 --steps 20 -o balloons\n"
    "hot-air balloons over an autumn valley, (golden light:1.2)",
    "balloons.gallery()",
)
DONE = "node => /^\\[\\d+\\]:/.test(node.textContent)"


def browser_tools() -> Any:
    """Return the module that starts Jupyter for the browser tests."""
    path = ROOT / "tests" / "browser" / "conftest.py"
    spec = importlib.util.spec_from_file_location("browser_tools", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Film:
    """Frames, and how long each is seen."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._frames: list[PIL.Image.Image] = []
        self._milliseconds: list[int] = []
        self._last = b""

    def shoot(self, milliseconds: int = 0) -> None:
        """Take a frame, which is seen so long: by default as long as it was there."""
        began = time.monotonic()
        image = PIL.Image.open(io.BytesIO(self._page.screenshot())).convert("RGB")
        left = FRAME_MS - (time.monotonic() - began) * 1000
        self._page.wait_for_timeout(max(0.0, left))
        shown = milliseconds or int((time.monotonic() - began) * 1000)
        data = image.tobytes()
        if data == self._last:
            self._milliseconds[-1] += shown
        else:
            self._frames.append(image)
            self._milliseconds.append(shown)
            self._last = data

    def shoot_until(self, done: Callable[[], bool], seconds: float = 60) -> None:
        """Take frames until something has come about."""
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise SystemExit("the cell has not ended")
            self.shoot()

    def write(self, path: Path) -> None:
        """Write all as an animated WebP that begins again."""
        first, *others = self._frames
        first.save(
            path, "WEBP", save_all=True, append_images=others, duration=self._milliseconds,
            loop=0, quality=QUALITY, method=6, minimize_size=True,
        )  # fmt: skip


def notebook() -> dict[str, Any]:
    """Return the notebook that is run."""
    cells = [
        {
            "cell_type": "code", "id": f"cell-{number}", "source": source, "metadata": {},
            "outputs": [], "execution_count": None,
        }
        for number, source in enumerate(CELLS)
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    return {
        "cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip


def record(page: Page) -> Film:
    """Run the cells, and photograph what is seen."""
    film = Film(page)

    def begin(number: int) -> Callable[[], bool]:
        cell = page.locator(".jp-Notebook .jp-Cell").nth(number)
        cell.locator(".jp-InputArea-editor").click()
        page.keyboard.press("Control+Enter")
        prompt = cell.locator(".jp-InputPrompt").first
        return lambda: bool(prompt.evaluate(DONE))

    film.shoot(700)
    film.shoot_until(begin(0))
    film.shoot(700)
    film.shoot_until(begin(1))
    film.shoot(REST_MS)
    done = begin(2)
    film.shoot_until(done)
    view = page.locator(".fnb-grid")
    view.locator("img").nth(2).wait_for()
    view.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    film.shoot(1000)
    view.locator("img").nth(1).click()
    page.wait_for_timeout(700)
    film.shoot(REST_MS)
    return film


def main() -> None:
    """Record, and write the file."""
    chromium = sys.argv[1] if len(sys.argv) > 1 else shutil.which("chromium")
    tools = browser_tools()
    os.environ["FOOOCUS_DEMO_STEP_SECONDS"] = STEP_SECONDS
    with (
        tempfile.TemporaryDirectory(prefix="fooocus-nb-readme-") as folder,
        tools.serve_jupyter(Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        (server.folder / NAME).write_text(json.dumps(notebook()), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=chromium, args=list(tools.FLAGS))
        page = browser.new_page(viewport=VIEW)
        page.goto(f"{server.url}/doc/tree/{NAME}?token={server.token}")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell .cm-content", timeout=60_000)
        tools.await_kernel(tools.OpenNotebook(page, server, NAME))
        film = record(page)
        browser.close()
    film.write(TARGET)
    size = TARGET.stat().st_size
    print(f"{TARGET.relative_to(ROOT)}: {size:,} bytes")
    if size > MAX_BYTES:
        raise SystemExit(f"more than {MAX_BYTES:,}")


if __name__ == "__main__":
    main()
