"""A browser that was closed in the middle of a generation: the Lab entry shows what it missed."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHOWN = re.compile(r'data-sha256=\\?"([0-9a-f]{64})')
START = (
    "%load_ext fooocus_nb\n"
    "import os; os.environ['FOOOCUS_DEMO_STEP_SECONDS'] = '0.1'\n"
    "%fooocus start --demo --keep"
)
LAB_MS = 90_000


def saved_images(notebook: Any) -> list[str]:
    """The SHA-256 of the images in the saved notebook."""
    return SHOWN.findall((notebook.server.folder / notebook.name).read_text())


@pytest.mark.slow
def test_a_closed_browser_gets_what_it_missed(
    open_notebook: Callable[..., Any], jupyter_server: Any
) -> None:
    first = "%%fooocus -n 1 --size 64x64 --steps 6 --seed 1\na cat"
    second = "%%fooocus -n 2 --size 64x64 --steps 6 --seed 5\na dog"
    outputs: Path = jupyter_server.folder / "fooocus-outputs"
    others = set(outputs.glob("*.png"))  # of other notebooks of this server
    notebook = open_notebook([START, first, second, "%fooocus stop"])
    notebook.run(0)
    notebook.run(1)
    notebook.save()
    (before,) = saved_images(notebook)
    notebook.run(2, wait=False)
    while len({*outputs.glob("*.png")} - others) < 2:
        notebook.page.wait_for_timeout(20)
    page = notebook.page
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=LAB_MS)
    page.locator('[data-id="jp-running-sessions"]').click(timeout=LAB_MS)
    page.locator(".fnb-running-action").get_by_text("Resume", exact=True).first.click(
        timeout=LAB_MS
    )
    expect(notebook.output(4).locator("figure img")).to_have_count(2, timeout=LAB_MS)
    deadline = time.monotonic() + 30
    while len(saved_images(notebook)) < 3:
        assert time.monotonic() < deadline, "the notebook was not saved with them"
        page.wait_for_timeout(50)
    assert saved_images(notebook)[0] == before
    assert len(set(saved_images(notebook))) == 3
    assert len({*outputs.glob("*.png")} - others) == 3
    notebook.run(3)
