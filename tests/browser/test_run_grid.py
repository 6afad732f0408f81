"""The grid of a run, driven as people do: with the keyboard, the mouse and its drop-downs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

MADE_RUN = Path(__file__).parents[1] / "experiment" / "made_run.py"
OPEN = (
    "import fooocus_nb\nrun = fooocus_nb.open_run('lighthouse')\n"
    "grid = run.grid(x='guidance_scale', y='seed')\ngrid"
)


@pytest.fixture(scope="module")
def make_run():
    spec = importlib.util.spec_from_file_location("made_run", MADE_RUN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_run


def labels(grid, part):
    return grid.locator(f".fnb-rg-{part} .fnb-rg-label").all_inner_texts()


@pytest.mark.slow
def test_it_is_looked_through_rated_and_gone_on_from(open_notebook, make_run, jupyter_server):
    make_run(
        jupyter_server.folder / "lighthouse",
        guidance_scale=[3, 5, 7, 9],
        image_seed=[6687881544318117707, 6687881544318117708, 12],
        size=(576, 448),
        left_out=1,
        failed=1,
    )
    notebook = open_notebook(
        [
            OPEN,
            "print([(image.rating, image.note, str(image.seed)) for image in run.images])",
            "grid.close()",
        ]
    )
    page = notebook.page
    notebook.run(0)
    grid = notebook.output(0).locator(".fnb-rg")
    tiles = grid.locator(".fnb-rg-tile")
    expect(tiles).to_have_count(12)
    expect(grid).to_contain_text("10 images · 1 failed · 1 not made yet")
    expect(grid).to_contain_text("All images are in lighthouse")
    expect(tiles.nth(4).locator("img")).to_be_visible()
    assert labels(grid, "columns") == ["3", "5", "7", "9"]
    assert labels(grid, "rows") == ["12", "6687881544318117707", "6687881544318117708"]
    notebook.shot("run-grid-light", notebook.cell(0))

    # Rate and note by the keyboard.
    tiles.nth(0).click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("4")
    page.keyboard.press("n")
    page.keyboard.type("fine light")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("2")
    page.keyboard.press("2")  # the same once more takes it away
    page.keyboard.press("0")
    expect(grid).to_contain_text("2 rated")
    said = notebook.run_until(1, lambda text: "(0, '', '6687881544318117707')" in text)
    assert "(4, 'fine light', '12')" in said

    # Swap the axes by a drop-down: the one that was there gets the other's place.
    grid.get_by_role("combobox", name="Columns").select_option(label="seed")
    assert labels(grid, "columns") == ["12", "6687881544318117707", "6687881544318117708"]
    assert labels(grid, "rows") == ["3", "5", "7", "9"]
    tiles.nth(0).click()
    page.keyboard.press("x")
    assert labels(grid, "columns") == ["3", "5", "7", "9"]

    # Zoom and move in all images together.
    tiles.nth(0).click()
    page.keyboard.press("+")
    expect(grid.locator(".fnb-rg-level")).to_have_text("150 %")
    scales = tiles.locator("img:visible").evaluate_all(
        "images => images.map(image => getComputedStyle(image).transform.split(',')[0])"
    )
    assert set(scales) == {"matrix(1.5"}
    box = tiles.nth(0).bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    expect(grid.locator(".fnb-rg-level")).not_to_have_text("150 %")
    before = tiles.nth(5).locator("img").evaluate("image => getComputedStyle(image).transform")
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 60, steps=3)
    page.mouse.up()
    after = tiles.nth(5).locator("img").evaluate("image => getComputedStyle(image).transform")
    assert before != after
    notebook.shot("run-grid-zoomed", notebook.cell(0))
    page.keyboard.press("f")
    expect(grid.locator(".fnb-rg-level")).to_have_text("100 %")

    # Compare two with a slider.
    tiles.nth(0).click()
    tiles.nth(1).click(modifiers=["Control"])
    tiles.nth(0).click(modifiers=["Control"])
    page.keyboard.press("c")
    compared = grid.locator("dialog.fnb-rg-compare[open]")
    expect(compared.locator(".fnb-box-table")).to_contain_text("guidance_scale")
    expect(compared.locator(".fnb-box-busy")).to_have_text("")
    clip = compared.locator(".fnb-rg-clip")
    before = clip.evaluate("node => node.style.clipPath")
    page.keyboard.press("ArrowRight")
    assert clip.evaluate("node => node.style.clipPath") != before
    notebook.shot("run-grid-compare")
    page.keyboard.press("Escape")

    # Hand on: a cell below that generates it again, and one that varies it.
    tiles.nth(1).click()
    page.keyboard.press("s")
    expect(grid.locator(".fnb-rg-about .fnb-rg-cell")).to_contain_text("Inserted below")
    expect(notebook.cell(1)).to_contain_text("%%fooocus -n 1 --seed 12 ")
    expect(notebook.cell(1)).to_contain_text("a lighthouse at dusk")
    page.keyboard.press("v")  # the grid has the keys still
    expect(notebook.cell(1)).to_contain_text("open_run('lighthouse').image('0000")
    grid.get_by_role("button", name="Copy", exact=True).first.click()
    expect(grid.locator(".fnb-rg-about .fnb-rg-cell")).to_contain_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "open_run('lighthouse').image('0000" in copied

    # The open image: rate there, too.
    page.keyboard.press("Escape")
    tiles.nth(1).dblclick()
    opened = grid.locator("dialog.fnb-rg-box[open]")
    image = opened.locator(".fnb-box-image")
    page.wait_for_function("image => image.naturalWidth === 576", arg=image.element_handle())
    page.keyboard.press("ArrowRight")
    expect(opened).to_contain_text("3 of 12")
    page.keyboard.press("5")
    expect(opened.locator(".fnb-rg-lit")).to_have_count(5)
    notebook.shot("run-grid-open")
    page.keyboard.press("Escape")

    # Filter by words, by rating and by state.
    field = grid.get_by_placeholder("Filter")
    field.fill("seed:6687881544318117707 rating>=0")
    expect(tiles).to_have_count(1)
    field.fill("fine")
    expect(tiles).to_have_count(1)
    field.fill("is:failed")
    expect(tiles).to_have_count(1)
    expect(tiles.first).to_contain_text("failed")
    expect(grid.locator(".fnb-rg-about")).to_contain_text("too little memory")
    field.fill("nothing of that kind")
    expect(grid).to_contain_text("No image matches the filter.")
    field.fill("")
    grid.get_by_label("Show images by their rating").select_option(label="4 stars or more")
    expect(tiles).to_have_count(2)

    # What remains is one contact sheet with a line that says where all are.
    notebook.run(4)  # two cells have come between
    expect(notebook.output(0).locator("img[alt='Contact sheet']")).to_be_visible()
    kept = json.dumps(notebook.save()["cells"][0]["outputs"])
    assert "All images are in lighthouse" in kept
    assert kept.count("Contact sheet") == 1
    notebook.shot("run-grid-kept", notebook.cell(0))


@pytest.mark.slow
def test_in_notebook_7(open_notebook, make_run, jupyter_server):
    """The grid takes the keys, and inserts its cells there, too."""
    make_run(
        jupyter_server.folder / "seven", guidance_scale=[3, 5], image_seed=[1, 2], size=(96, 64)
    )
    cells = [OPEN.replace("lighthouse", "seven"), "print([one.rating for one in run.images])"]
    notebook = open_notebook(cells, app="notebook")
    page = notebook.page
    notebook.run(0)
    grid = notebook.output(0).locator(".fnb-rg")
    tiles = grid.locator(".fnb-rg-tile")
    expect(tiles).to_have_count(4)
    expect(tiles.first.locator("img")).to_be_visible()
    assert labels(grid, "columns") == ["3", "5"]
    tiles.nth(1).click()
    page.keyboard.press("4")
    expect(grid).to_contain_text("1 rated")
    grid.get_by_role("combobox", name="Columns").select_option(label="seed")
    assert labels(grid, "rows") == ["3", "5"]
    tiles.nth(0).dblclick()
    expect(grid.locator("dialog.fnb-rg-box[open]")).to_contain_text("1 of 4")
    page.keyboard.press("Escape")
    tiles.nth(0).click()
    page.keyboard.press("s")
    expect(grid.locator(".fnb-rg-about .fnb-rg-cell")).to_contain_text("Inserted below")
    expect(notebook.cell(1)).to_contain_text("%%fooocus -n 1 --seed 1 ")
    notebook.shot("run-grid-notebook-7", notebook.cell(0))
    notebook.run(2)
    assert notebook.text(2).strip() == "[None, None, 4, None]"


@pytest.mark.slow
def test_a_thousand_images_in_the_dark(open_notebook, make_run, jupyter_server):
    """Only what is on the screen is in the page and asked for, with its labels."""
    make_run(
        jupyter_server.folder / "thousand",
        guidance_scale=list(range(2, 12)),
        image_seed=list(range(20)),
        base_model=[f"juggernautXL_v{number}_Rundiffusion.safetensors" for number in range(5)],
        size=(48, 36),
    )
    notebook = open_notebook(
        [
            "import fooocus_nb\nrun = fooocus_nb.open_run('thousand')\ngrid = run.grid(y='seed')\n"
            "asked = set()\ngrid.on_msg(lambda _, said, __: asked.update("
            "key for key, _ in said.get('wants', ())))\ngrid",
            "print(len(asked))",
        ],
        dark=True,
    )
    notebook.run(0)
    grid = notebook.output(0).locator(".fnb-rg")
    tiles = grid.locator(".fnb-rg-tile")
    expect(grid).to_contain_text("1,000 images")
    expect(tiles.first.locator("img")).to_be_visible()
    assert tiles.count() < 260
    expect(grid.locator(".fnb-rg-heading").first).to_have_text("base_model …v0…")
    assert labels(grid, "columns")[:10] == [str(number) for number in range(2, 12)]
    notebook.shot("run-grid-dark", notebook.cell(0))
    view = grid.locator(".fnb-rg-view")
    view.focus()
    notebook.page.keyboard.press("End")
    expect(grid.locator(".fnb-rg-active")).to_have_attribute("aria-posinset", "1000")
    expect(grid.locator(".fnb-rg-active img")).to_be_visible()
    assert tiles.count() < 260
    notebook.run(1)
    assert int(notebook.text(1)) < 600
