"""Hostile prompts, log lines, styles and file names: text everywhere, and never more."""

from __future__ import annotations

from playwright.sync_api import expect

EVIL = (
    "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"
    '</pre></style></textarea><a href="javascript:window.pwned=1">go</a>'
)
SHOWN = "<script>window.pwned=1</script><img src=x onerror="
#: What steers terminals and the direction of text must not get through.
STEERING = "\x1b[31m\u202e\u2066\x07"
START = f"""
import os; os.environ["FOOOCUS_DEMO_STEP_SECONDS"] = "0"
%load_ext fooocus_nb
%fooocus start --demo
import pathlib, PIL.Image, fooocus_nb
engine = fooocus_nb.current()
EVIL, STEERING = {EVIL!r}, {STEERING!r}
LONG = EVIL + "x" * 10_000_000
folder = pathlib.Path("<img src=x onerror=window.pwned=1>"); folder.mkdir()
file = folder / "<svg onload=window.pwned=1>.png"
PIL.Image.new("RGB", (64, 48), "teal").save(file)
broken = folder / "<img src=x onerror=window.pwned=1>.png"
broken.write_text(EVIL)
with engine.log_path.open("ab") as log:
    log.write(f"{{LONG}}\\n{{STEERING}}{{EVIL}}\\nValueError: {{EVIL}}\\n45%{{EVIL}}\\r".encode())
"""
RESULT = """
result = engine.generate(STEERING + EVIL, image_number=1, steps=2,
                         styles=["Fooocus V2"], negative_prompt=EVIL)
result
"""
GALLERY = """
parameters = {"prompt": STEERING + LONG, "style_selections": [EVIL], EVIL: EVIL, "base_model": LONG}
image = fooocus_nb.Image(file, seed=7, parameters=parameters)
gallery = fooocus_nb.gallery([image, result, broken, folder])
gallery
"""
CELLS = [START, "engine.logs()", RESULT, GALLERY, "engine.panel(prompt=EVIL)", "engine.monitor()"]


def test_hostile_content_shows_as_text(open_notebook):
    notebook = open_notebook(CELLS)
    page = notebook.page
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for index in range(len(CELLS)):
        notebook.run(index)

    log = notebook.output(1).locator(".fnb-log")
    expect(log).to_contain_text(SHOWN, timeout=30_000)
    log.get_by_label("Search the log").fill("<script>")
    expect(log.locator("mark").first).to_have_text("<script>")
    # What is before a match, and behind it, is as hostile as the match.
    log.get_by_label("Search the log").fill("go</a>")
    expect(log.locator(".fnb-log-row:has(mark)").last).to_contain_text(EVIL)
    expect(log.locator(".fnb-log-row :not(mark)")).to_have_count(0)
    expect(log.locator(".fnb-log-e").first).to_contain_text(f"ValueError: {SHOWN}")
    log.get_by_role("button", name="Wrap").click()
    notebook.shot("hostile-log", notebook.cell(1))

    expect(notebook.output(2).last).to_contain_text(SHOWN)

    grid = notebook.output(3).locator(".fnb-grid")
    expect(grid.locator(".fnb-card")).to_have_count(3, timeout=30_000)
    expect(grid).to_contain_text("No image that can be read")
    expect(grid.locator(".fnb-card img").first).to_be_visible(timeout=30_000)
    grid.locator(".fnb-card").first.click()
    box = grid.locator("dialog[open]")
    expect(box.locator(".fnb-box-prompt")).to_contain_text(SHOWN)
    expect(box.locator(".fnb-box-table")).to_contain_text(SHOWN)
    notebook.shot("hostile-gallery")
    page.keyboard.press("Escape")
    grid.get_by_label("Filter the images").fill(EVIL)
    expect(grid).to_contain_text("of 3 images")
    grid.get_by_label("Filter the images").fill("")
    for number in (0, 1):
        grid.locator(".fnb-card").nth(number).click(modifiers=["Control"])
    grid.get_by_role("button", name="Compare").click()
    expect(grid.locator("dialog[open] .fnb-box-table")).to_contain_text(SHOWN)
    page.keyboard.press("Escape")

    for index in (1, 2, 3, 4, 5):
        text = notebook.output(index).last.inner_text()
        assert not set(STEERING) & (set(text) - set("[31m")), f"cell {index}"
    assert page.evaluate("document.querySelectorAll('a[href^=\"javascript:\"]').length") == 0
    assert page.evaluate("window.pwned") is None
    assert dialogs == []
