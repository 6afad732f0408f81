"""The gallery, as people look through it, compare, select and copy."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

START = (
    "import os; os.environ['FOOOCUS_DEMO_STEP_SECONDS'] = '0'\n"
    "%load_ext fooocus_nb\n%fooocus start --demo\n"
    "import fooocus_nb; engine = fooocus_nb.current()"
)
SMALL = "--steps 2 --size 576x448"
#: A thousand files as Fooocus writes them, and some that are broken.
FILES = """
import io, os, pathlib, PIL.Image, fooocus_nb
folder = pathlib.Path("many"); folder.mkdir()
for n in range(1000):
    path = folder / f"image-{n:04}.png"
    PIL.Image.new("RGB", (96, 64), (n % 256, n // 4, 120)).save(path, compress_level=1)
    fooocus_nb.write_metadata(path, {
        "prompt": f"picture number {n}", "image_seed": 2**60 + n, "sharpness": n / 10,
        "style_selections": ["SAI Anime"] if n % 10 == 0 else ["Fooocus V2"]})
    os.utime(path, (1_700_000_000 + n, 1_700_000_000 + n))
(folder / "broken.png").write_bytes(b"no picture at all")
(folder / "empty.jpg").write_bytes(b"")
"""
#: An image that comes while another one is open: after a press that reaches the kernel.
LATER = """
import PIL.Image
PIL.Image.new("RGB", (64, 48), "teal").save("later.png")
gallery.on_msg(lambda _, said, __: said.get("kind") == "select" and gallery.add("later.png"))
"""


def cards(grid):
    return grid.locator(".fnb-card")


def test_it_grows_opens_compares_and_selects(open_notebook, tmp_path):
    notebook = open_notebook(
        [
            START,
            "heard = []\ngallery = engine.gallery()\n"
            "gallery.observe(lambda change: heard.append(len(change.new)), 'selected')\ngallery",
            f"%fooocus -n 3 --seed 7 {SMALL} a lighthouse at dusk",
            "print([image.seed for image in gallery.selected], heard)",
            "gallery.selected = gallery.images[:2]",
            "print(open(gallery.images[1].path, 'rb').read().hex())",
            LATER,
        ]
    )
    notebook.run(0)
    notebook.run(1)
    grid = notebook.output(1).locator(".fnb-grid")
    expect(grid).to_contain_text("No images yet")
    notebook.run(2)
    expect(cards(grid)).to_have_count(3)
    expect(cards(grid).first).to_contain_text("seed 9")  # the newest first
    expect(cards(grid).locator("img").last).to_be_visible(timeout=30_000)
    notebook.shot("gallery-lab-light", notebook.cell(1))

    cards(grid).first.click()
    box = grid.locator("dialog.fnb-box[open]")
    expect(box).to_contain_text("1 of 3")
    expect(box).to_contain_text("a lighthouse at dusk")
    page = notebook.page
    page.keyboard.press("ArrowRight")
    expect(box).to_contain_text("2 of 3")
    image = box.locator(".fnb-box-image")
    page.wait_for_function("image => image.naturalWidth === 576", arg=image.element_handle())
    notebook.shot("gallery-lab-light-open")
    page.keyboard.press("+")
    expect(box).to_contain_text("150 %")
    page.evaluate("navigator.clipboard.writeText('mine')")
    downloads = []
    page.on("download", lambda download: downloads.append(download))
    page.keyboard.press("Control+d")  # these are the browser's own
    page.keyboard.press("Control+c")
    page.keyboard.press("-")
    expect(box).to_contain_text("100 %")
    assert page.evaluate("navigator.clipboard.readText()") == "mine"
    assert downloads == []
    page.keyboard.press("c")
    expect(box).to_contain_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("%%fooocus -n 1 --seed 8 ")
    assert copied.endswith("\na lighthouse at dusk")
    with page.expect_download() as saved:
        page.keyboard.press("d")
    saved.value.save_as(tmp_path / "original.png")
    page.keyboard.press("Space")
    expect(box.get_by_role("button", name="Selected")).to_be_visible()
    page.keyboard.press("Escape")
    expect(box).to_have_count(0)

    page.keyboard.press("Shift+ArrowRight")  # the grid has the focus again
    expect(grid).to_contain_text("2 selected")
    grid.get_by_role("button", name="Compare").click()
    compared = grid.locator("dialog.fnb-compare[open]")
    expect(compared.locator(".fnb-box-table")).to_contain_text("seed")
    before = compared.locator("img").first.evaluate("image => image.style.clipPath")
    page.keyboard.press("ArrowRight")
    assert compared.locator("img").first.evaluate("image => image.style.clipPath") != before
    expect(compared.locator(".fnb-box-busy")).to_have_text("")
    notebook.shot("gallery-lab-light-compare")
    page.keyboard.press("Escape")
    notebook.run_until(3, lambda text: "[8, 7] [1, 2]" in text)
    notebook.run(4)
    expect(cards(grid).nth(0)).to_have_attribute("aria-selected", "false")
    expect(cards(grid).nth(2)).to_have_attribute("aria-selected", "true")
    cards(grid).nth(0).click(modifiers=["Control"])
    expect(grid).to_contain_text("3 selected")
    original = (tmp_path / "original.png").read_bytes().hex()
    notebook.run_until(5, lambda text: text.strip() == original)

    # The grid is at the image that was open, also for a key that comes before the box has told of
    # its end.
    cards(grid).first.click()
    page.keyboard.press("ArrowRight")
    expect(box).to_contain_text("2 of 3")
    page.evaluate(
        "document.querySelector('dialog.fnb-box[open]').close();"
        "document.activeElement.dispatchEvent(new KeyboardEvent("
        "'keydown', {key: 'Enter', bubbles: true}))"
    )
    expect(box).to_contain_text("2 of 3")
    page.keyboard.press("Escape")

    # What is open stays, although its place in the grid has changed.
    notebook.run(6)
    cards(grid).first.click()
    expect(box).to_contain_text("1 of 3")
    page.keyboard.press("Space")
    expect(box).to_contain_text("2 of 4")
    page.keyboard.press("c")
    expect(box).to_contain_text("Copied")
    assert "--seed 9 " in page.evaluate("navigator.clipboard.readText()")


#: Scrolls at each frame, and returns the milliseconds of a frame: the median and the slowest of 20.
SCROLL = """async view => {
    const times = [];
    for (let last = performance.now(), n = 0; n < 120; n += 1) {
        view.scrollTop += 80;
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        times.push(now - last);
        last = now;
    }
    times.sort((a, b) => a - b);
    return [times[60], times[114]];
}"""


@pytest.mark.slow
def test_a_thousand_images_of_a_folder(open_notebook, capsys):
    notebook = open_notebook(
        [FILES, "gallery = fooocus_nb.gallery(folder); gallery", "print(gallery.selected)"],
        dark=True,
    )
    notebook.run(0)
    notebook.run(1)
    grid = notebook.output(1).locator(".fnb-grid")
    expect(grid).to_contain_text("1,002 images", timeout=30_000)
    filtered = grid.get_by_label("Filter the images")
    sort = grid.get_by_label("Sort by")
    expect(sort.locator("option[value=sharpness]")).to_have_count(1, timeout=30_000)
    assert cards(grid).count() < 80
    expect(cards(grid).filter(has_text="No image")).to_have_count(2)  # they are the newest
    view = grid.locator(".fnb-grid-view")
    expect(view).to_contain_text("96")  # its files have been looked at
    median, slow = view.evaluate(SCROLL)
    with capsys.disabled():
        print(f"\nscrolling 1,000 images: {median:.1f} ms a frame, 1 of 20 took {slow:.1f} ms")
    assert cards(grid).count() < 80
    view.focus()
    notebook.page.keyboard.press("End")
    expect(view).to_have_attribute("aria-activedescendant", re.compile("-1001$"))
    expect(cards(grid).last).to_be_in_viewport(timeout=30_000)
    assert cards(grid).count() < 80
    expect(cards(grid).locator("img").last).to_be_visible(timeout=30_000)
    filtered.fill("style:anime picture")
    expect(grid).to_contain_text("100 of 1,002 images", timeout=30_000)
    sort.select_option("sharpness")
    grid.get_by_role("button", name="Ascending").click()
    expect(cards(grid).first).to_have_attribute("aria-label", re.compile("picture number 990"))
    filtered.fill("sharpness>98.7 seed:1152921504606847")
    expect(grid).to_contain_text("12 of 1,002 images")
    grid.get_by_role("button", name="Select all").click()
    expect(grid).to_contain_text("12 selected")
    notebook.shot("gallery-lab-dark", notebook.cell(1))
    said = notebook.run_until(2, lambda text: text.count("<Image ") == 12)
    assert f"seed {2**60 + 999}>" in said
