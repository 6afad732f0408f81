"""``%fooocus ui`` and ``engine.ui()``: the engine's own page below a cell, and in a tab."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

CELLS = [
    "%load_ext fooocus_nb\n%fooocus start --demo --name 'a b'",
    "%fooocus ui",
    "import fooocus_nb\nfooocus_nb.current().ui(height=420)",
]
PAGE_MS = 60_000


def frame_of(output: Any) -> Any:
    frame = output.locator("iframe.fnb-page-frame")
    expect(frame).to_be_visible(timeout=PAGE_MS)
    inside = output.frame_locator("iframe.fnb-page-frame")
    expect(inside.locator("body")).to_contain_text("demo engine", timeout=PAGE_MS)
    return frame


@pytest.mark.parametrize("app", ["lab", pytest.param("notebook", marks=pytest.mark.slow)])
def test_the_page_is_below_the_cell(open_notebook: Callable[..., Any], app: str) -> None:
    notebook = open_notebook(CELLS, app=app)
    for index in range(len(CELLS)):
        notebook.run(index)
    first = frame_of(notebook.output(1))
    assert first.bounding_box()["height"] == 800
    second = frame_of(notebook.output(2))
    assert second.bounding_box()["height"] == 420
    # The page is in a frame without an origin: it can't reach what is around it.
    (inside,) = [frame for frame in notebook.page.frames if frame.parent_frame is not None][:1]
    assert inside.evaluate("location.origin === 'null' || self.origin === 'null'")
    notebook.shot(f"page-view-{app}", notebook.cell(2))
    # Where no page is served it says why, and shows none.
    said = json.dumps({"version": "1", "page": False, "reason": "It needs jupyter-server-proxy."})
    notebook.page.route(
        "**/fooocus-nb/api/status",
        lambda route: route.fulfill(body=said, content_type="application/json"),
    )
    notebook.output(2).get_by_role("button", name="Reload").click()
    expect(notebook.output(2)).to_contain_text("It needs jupyter-server-proxy.")
    expect(second).to_be_hidden()
    saved = notebook.save()
    shown = [output.get("data", {}) for output in saved["cells"][1]["outputs"]]
    html = "".join(text for data in shown for text in data.get("text/html", ""))
    assert "The page of a b" in html, [sorted(data) for data in shown]
    if app == "lab":
        notebook.output(1).get_by_role("button", name="Open in a tab").click()
        panel = notebook.page.frame_locator(".fnb-page-panel iframe")
        expect(panel.locator("body")).to_contain_text("demo engine", timeout=PAGE_MS)
