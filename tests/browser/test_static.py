"""What remains of finished cells: shown without the kernel, without scripts, and without styles."""

from __future__ import annotations

import json
import re

import nbformat
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import expect

CELLS = [
    "import os; os.environ['FOOOCUS_DEMO_STEP_SECONDS'] = '0'\n"
    "%load_ext fooocus_nb\n%fooocus start --demo\n"
    "import fooocus_nb; engine = fooocus_nb.current()",
    "%%fooocus -n 3 --seed 7 --steps 2 --size 576x448\na lighthouse <b>at dusk</b>",
    "engine.last_result[0]",
    "view = engine.logs(); gallery = engine.gallery()\ndisplay(view, gallery)",
    "view.close(); gallery.close()",
]
SHEETS_AND_SCRIPTS = re.compile(r"<(script|style)\b.*?</\1>", re.DOTALL)
STYLES = re.compile(r'\s(?:style|class)="[^"]*"')


@pytest.fixture
def finished(open_notebook):
    """A notebook whose cells have run, as it was saved; its kernel knows nothing of the others."""
    notebook = open_notebook(CELLS)
    for index in range(len(CELLS)):
        notebook.run(index)
    expect(notebook.output(3).locator(".fnb-log, .fnb-grid")).to_have_count(0)
    return notebook.save()


def look_at(page):
    """Check what people must see, whatever shows it."""
    body = page.locator("body")
    expect(body).to_contain_text("a lighthouse <b>at dusk</b>", timeout=30_000)
    expect(body).to_contain_text("seed 7")
    expect(body).to_contain_text("The last lines of the log of 'demo'", timeout=30_000)
    images = page.locator("img[alt^='Image made with seed']")
    expect(images).to_have_count(3 + 1 + 3)
    for index in range(images.count()):
        box = images.nth(index).bounding_box()
        assert box["width"] <= 460, "an image must not fill the page"
        assert images.nth(index).evaluate("image => image.complete && image.naturalWidth > 100")


@pytest.mark.slow
def test_what_remains_shows_everywhere(open_notebook, finished, tmp_path):
    kinds = [set(output["data"]) for cell in finished["cells"] for output in cell["outputs"]]
    assert all(kind <= {"text/html", "text/plain", "image/png"} for kind in kinds)
    for app in ("lab", "notebook"):
        reopened = open_notebook(finished, app=app, dark=app == "lab", size=(1000, 3000))
        look_at(reopened.page)
        reopened.output(1).locator("summary").click()
        expect(reopened.output(1)).to_contain_text("guidance_scale")
        kept = reopened.shot(f"static-{app}")
    page = reopened.page.context.new_page()
    whole = nbformat.reads(json.dumps(finished), as_version=4)
    exported, _ = HTMLExporter().from_notebook_node(whole)
    bare = SHEETS_AND_SCRIPTS.sub("", exported[exported.index("<body") :])
    for name, content in {
        "exported": exported,
        "sanitised": f"<meta charset=utf-8>{bare}",
        "plain": f"<meta charset=utf-8>{STYLES.sub('', bare)}",
    }.items():
        path = tmp_path / f"{name}.html"
        path.write_text(content, encoding="utf-8")
        page.goto(path.as_uri())
        look_at(page)
        page.screenshot(path=str(kept.with_name(f"static-{name}.png")), full_page=True)
