"""The views as parts of a page that somebody lays out by themselves."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

START = "%load_ext fooocus_nb\n%fooocus start --demo"
PAGE = """
import fooocus_nb, ipywidgets
engine = fooocus_nb.current()
views = [engine.monitor(), engine.panel(prompt="a cat"), engine.logs(), engine.gallery()]
ipywidgets.VBox([view.widget for view in views])
"""


@pytest.mark.slow
def test_all_views_in_one_box(open_notebook):
    notebook = open_notebook([START, PAGE])
    notebook.run(0)
    notebook.run(1)
    page = notebook.output(1)
    expect(page.locator(".fnb-live")).to_have_count(2)  # its own, and that of the panel
    expect(page.locator(".fnb-live").first).to_contain_text("Ready")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a cat")
    expect(page.locator(".fnb-log")).to_contain_text("App started successful")
    expect(page.locator(".fnb-grid").last).to_contain_text("No images yet")
