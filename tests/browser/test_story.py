"""The whole story in a browser: the quickstart, Stop, gallery and panel, and a reopened page."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image
import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "01-quickstart.ipynb"
SPEED = "import os; os.environ['FOOOCUS_DEMO_STEP_SECONDS'] = '0.05'\n"
LONG = "%%fooocus -n 3 --steps 40 --seed 7 -o stopped\nhot-air balloons over an autumn valley"
GALLERY = "import fooocus_nb; engine = fooocus_nb.current(); view = engine.gallery(); view"
PANEL = "panel = engine.panel(image_number=1, steps=5); panel"
SAID = (
    "print([len(r) for r in panel.results], panel.results[0].prompt, panel.values['sharpness'],"
    " len(view.selected), engine.state)"
)
HOSTILE = (
    "<script>window.pwned = 1</script><img src=x onerror='window.pwned=1'> javascript:alert(1)"
)
WIDE, NARROW = (1100, 1000), (400, 900)


def quickstart(*more: str) -> dict[str, Any]:
    """The quickstart with further cells before its end, which stops the engine."""
    content = json.loads(QUICKSTART.read_text(encoding="utf-8"))
    cells = content["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    code[0]["source"] = [SPEED, *code[0]["source"]]
    last = cells.index(code[-1])
    cells[last:last] = [
        {**code[-1], "id": f"more-{number}", "source": source, "outputs": []}
        for number, source in enumerate(more)
    ]
    return content


def code_cells(content: dict[str, Any]) -> list[int]:
    return [n for n, cell in enumerate(content["cells"]) if cell["cell_type"] == "code"]


def png() -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (576, 448), "teal").save(buffer, "PNG")
    return buffer.getvalue()


def percent_of(live: Any) -> Callable[[], int]:
    bar = live.get_by_role("progressbar")
    return lambda: int(bar.get_attribute("aria-valuenow") or 0)


@pytest.mark.slow  # its parts are tried every day, each where it belongs
@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_from_the_quickstart_to_a_reopened_notebook(open_notebook, app):
    content = quickstart(LONG, GALLERY, PANEL, SAID)
    notebook = open_notebook(content, app=app, size=WIDE)
    *before, long, gallery, panel, said, _ = code_cells(content)
    for index in before if app == "lab" else before[:4]:
        notebook.run(index)
    assert notebook.output(before[2]).locator("img").count() == 1
    assert notebook.output(before[3]).locator("img").count() == 2

    # Progress moves, and Stop acts in mid-run.
    notebook.run(long, wait=False)
    live = notebook.output(long).locator(".fnb-live")
    expect(live).to_contain_text("image 2 of 3", timeout=30_000)
    percent = percent_of(live)
    first = percent()
    expect(live).to_contain_text(re.compile(r"step [2-9]\d of 40"), timeout=30_000)
    assert percent() > first > 0
    notebook.shot(f"story-{app}-running", notebook.cell(long))
    live.get_by_role("button", name="Stop").click()
    notebook.wait(long)
    expect(notebook.output(long)).to_contain_text("stopped early")

    # The gallery, with keys.
    notebook.run(gallery)
    view = notebook.output(gallery).locator(".fnb-grid")
    expect(view.locator("img").first).to_be_visible()
    notebook.shot(f"story-{app}-gallery", view)

    # The panel, to a generation.
    notebook.run(panel)
    form = notebook.output(panel).locator(".fnb-panel")
    form.get_by_label("Prompt", exact=True).fill(f"a lighthouse {HOSTILE}")
    form.get_by_label("Find a setting").fill("sharpness")
    form.get_by_label("Image Sharpness").fill("99")
    expect(form.get_by_role("alert").filter(has_text="must be")).to_be_visible()
    form.get_by_role("button", name="Generate").click()
    expect(form).to_contain_text("1 field needs another value")
    form.get_by_label("Image Sharpness").fill("4")
    expect(form.get_by_role("alert").filter(has_text="must be")).to_have_count(0)
    form.get_by_label("Find a setting").fill("")
    form.get_by_label("Prompt", exact=True).press("Control+Enter")
    made = notebook.output(panel).locator(".fnb-grid")
    expect(made).to_contain_text("1 image", timeout=30_000)
    notebook.shot(f"story-{app}-panel", notebook.cell(panel))
    notebook.run(said)
    assert notebook.text(said).startswith(f"[1] a lighthouse {HOSTILE} 4")
    assert notebook.text(said).strip().endswith(" 0 ready")
    assert notebook.page.evaluate("window.pwned") is None

    # Reopened where there is no kernel, the images are still there.
    saved = notebook.save()
    saved["metadata"]["kernelspec"] = {"name": "absent", "display_name": "absent"}
    name = f"reopened_{app}.ipynb"
    (notebook.server.folder / name).write_text(json.dumps(saved))
    page = notebook.page.context.new_page()
    place = "doc/tree" if app == "lab" else "notebooks"
    page.goto(f"{notebook.server.url}/{place}/{name}")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    picture = page.locator(".jp-OutputArea img").first
    expect(picture).to_be_attached(timeout=30_000)
    page.wait_for_function("image => image.naturalWidth > 0", arg=picture.element_handle())
    assert page.locator(".fnb-live").count() == 0


@pytest.mark.slow
def test_the_panel_with_keys_in_a_narrow_dark_page(open_notebook):
    """What people type, press and paste; and texts that are no texts but traps."""
    traps = (
        "from fooocus_nb.demo.page import Page\n"
        "from fooocus_nb.fooocus.schema import Schema\n"
        "from fooocus_nb.widgets.panel_form import form_of\n"
        "from fooocus_nb.widgets.panel_form import PanelForm\n"
        "config = Page().config\n"
        f"trap = {HOSTILE!r}\n"
        "for item in config['components']:\n"
        "    props = item['props']\n"
        "    if props.get('label') in ('Selected Styles', 'Sampler'):\n"
        "        props['label'] = trap if props['label'] == 'Sampler' else props['label']\n"
        "        props['choices'] = [*props['choices'], trap]\n"
        "form = form_of(Schema.from_config(config))\n"
        "PanelForm(lambda content, buffers: None, form=form, values={'prompt': trap * 100_000},\n"
        "    errors={'sharpness': trap}, state={'note': trap, 'detail': trap})"
    )
    start = f"{SPEED}%load_ext fooocus_nb\n%fooocus start --demo"
    show = "import fooocus_nb\npanel = fooocus_nb.current().panel(prompt='a cat'); panel"
    notebook = open_notebook([start, show, traps], dark=True, size=NARROW)
    for index in range(3):
        notebook.run(index)
    page, form = notebook.page, notebook.output(1).locator(".fnb-panel")
    form.wait_for(timeout=120_000)  # a prompt of megabytes keeps the page busy
    assert form.evaluate("node => node.scrollWidth <= node.clientWidth")

    form.get_by_role("button", name="Styles").focus()
    page.keyboard.press("Enter")
    form.get_by_placeholder("Search 279 choices").fill("anime")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # neither scrolls the notebook nor runs a command of it
    expect(form.get_by_role("list").get_by_text("Anime")).to_be_visible()
    form.get_by_label("Images", exact=True).focus()
    page.keyboard.press("ArrowUp")
    expect(form.get_by_label("Images", exact=True)).to_have_value("3")
    assert page.locator(".jp-Notebook .jp-Cell").count() == 3
    form.get_by_role("button", name="Copy as cell").click()
    expect(form.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith("%%fooocus -n 3 --style ")
    notebook.shot("panel-narrow-dark", form)

    form.get_by_label("Preset").select_option("lightning")
    expect(form.get_by_role("radio", name="Lightning")).to_be_checked()
    expect(form.get_by_label("Prompt", exact=True)).to_have_value("a cat")
    form.get_by_role("button", name="Inpaint or outpaint").click()
    drawn = {"name": "a.png", "mimeType": "image/png", "buffer": png()}
    field = form.get_by_role("group", name="Image to inpaint")
    field.locator("input[type=file]").first.set_input_files(drawn)
    expect(field.locator("img").first).to_be_visible()
    field.get_by_role("button", name="Paint it").click()
    expect(notebook.output(1).locator(".fnb-mask")).to_be_visible()
    notebook.shot("panel-narrow-dark-paint", notebook.cell(1))
    field.get_by_role("button", name="Done painting").click()
    expect(notebook.output(1).locator(".fnb-mask")).to_have_count(0)

    form.get_by_role("button", name="Upscale or vary").click()
    picture = {"name": f"{HOSTILE[:40]}.png", "mimeType": "image/png", "buffer": b"no picture"}
    form.get_by_label("Image to upscale or vary").set_input_files(picture)
    expect(form.get_by_role("alert").filter(has_text="that can be read")).to_be_visible()

    trapped = notebook.output(2).locator(".fnb-panel")
    expect(trapped.get_by_role("alert").filter(has_text="<script>").first).to_be_visible()
    trapped.get_by_role("button", name="Sampling").click()
    expect(trapped.get_by_text(HOSTILE, exact=True).first).to_be_visible()
    assert page.evaluate("window.pwned") is None
    assert trapped.locator("script, img[src='x']").count() == 0
