"""Frontends other than JupyterLab and Notebook, such as VS Code: they have none of our scripts."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

WIDGET = "application/vnd.jupyter.widget-view+json"
CELLS = [
    "import os; os.environ['FOOOCUS_DEMO_STEP_SECONDS'] = '0'\n"
    "%load_ext fooocus_nb\n%fooocus start --demo\n"
    "import fooocus_nb; engine = fooocus_nb.current()",
    "%%fooocus --seed 7 --steps 2 --size 256x256\na lighthouse",
    "monitor = engine.monitor(); display(monitor, engine.logs(), engine.panel())",
]
TEXTS = ("Ready", "The last lines of the log of 'demo'", "Control panel of demo")


@pytest.fixture
def outputs(open_notebook) -> list[dict]:
    """What the last cell sent, as the notebook that was saved in JupyterLab has it."""
    notebook = open_notebook(CELLS)
    for index in range(len(CELLS)):
        notebook.run(index)
    # The widgets' elements are told by their classes.
    notebook.page.wait_for_function(
        """(count) => {
          const found = [...document.querySelectorAll("[class*='fnb-view-']:not(.fnb-kept)")];
          const names = found.flatMap((node) => [...node.classList]);
          return new Set(names.filter((name) => name.startsWith("fnb-view-"))).size === count;
        }""",
        arg=len(TEXTS),
        timeout=30_000,
    )
    return [output["data"] for output in notebook.save()["cells"][2]["outputs"]]


@pytest.mark.slow
def test_where_a_widget_stays_raw_the_static_fallback_is_seen(outputs, browser, tmp_path) -> None:
    live = [data for data in outputs if WIDGET in data]
    static = ["".join(data["text/html"]) for data in outputs if WIDGET not in data]
    assert len(live) == len(static) == len(TEXTS)
    page = browser.new_page(viewport={"width": 900, "height": 1400})
    # As VS Code does when it asked too early: the JSON of the view, and the HTML below it.
    rows = [
        f"<div class='output'><pre>{json.dumps(view[WIDGET])}</pre></div>"
        f"<div class='output'>{html}</div>"
        for view, html in zip(live, static, strict=True)
    ]
    page.set_content("<body style='font-family:sans-serif'>" + "".join(rows))
    for text in TEXTS:
        expect(page.get_by_text(text).locator("visible=true").first).to_be_visible()
    page.screenshot(path=tmp_path / "raw.png")
    # Where a widget is shown after all, its own fallback hides, and no other one.
    kept = page.locator(".fnb-kept")
    expect(kept.locator("visible=true")).to_have_count(len(TEXTS))
    page.evaluate(
        """() => {
          const names = [...document.querySelector(".fnb-kept").classList];
          const view = names.find((name) => name.startsWith("fnb-view-")).replace("-kept", "");
          const widget = document.createElement("div");
          widget.className = view;
          document.querySelector(".output").append(widget);
        }"""
    )
    expect(kept.first).to_be_hidden()
    expect(kept.nth(1)).to_be_visible()
    page.close()
