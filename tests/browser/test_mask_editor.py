"""The mask editor as people use it: by mouse, by finger and by keyboard."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

MAKE = """
import PIL.Image, fooocus_nb
red = PIL.Image.linear_gradient("L").resize((384, 256))
picture = PIL.Image.merge("RGB", (red, red.rotate(180), red.point(lambda _: 150)))
editor = fooocus_nb.MaskEditor(picture, brush=32)
editor
"""
SAY = """
import json
mask = editor.mask
spots = {name: mask.getpixel(at) for name, at in
         {"left": (60, 60), "middle": (192, 128), "corner": (380, 250)}.items()}
print(json.dumps({"size": mask.size, "mode": mask.mode, "brush": editor.brush, **spots,
                  "empty": mask.getbbox() is None}))
"""
#: Awaits until something is painted.
AWAIT = """
import asyncio
print("awaiting", flush=True)
while not editor.mask_png:
    await asyncio.sleep(0.05)
print("painted")
"""


class Editor:
    """The editor in the page, in pixels of its image."""

    def __init__(self, notebook, index=0):
        self.notebook = notebook
        self.root = notebook.output(index).locator(".fnb-mask")
        self.canvas = self.root.locator("canvas")
        expect(self.canvas).to_be_visible(timeout=30_000)
        expect(self.root.locator("[role=status]")).to_contain_text("384 × 256")

    def press(self, name):
        self.root.get_by_role("button", name=name, exact=True).click()

    def at(self, x, y):
        box = self.canvas.bounding_box()
        return box["x"] + x * box["width"] / 384, box["y"] + y * box["height"] / 256

    def stroke(self, *points):
        mouse = self.notebook.page.mouse
        mouse.move(*self.at(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.at(*point), steps=4)
        mouse.up()

    def painted(self, text):
        expect(self.root.locator("[role=status]")).to_contain_text(text)

    def tell(self, cell=1, **awaited):
        """Return what the kernel has, once it has the awaited values."""

        def has(text):
            return awaited.items() <= json.loads(text).items()

        return json.loads(self.notebook.run_until(cell, has))


@pytest.fixture
def edit(open_notebook):
    def open_editor(**options):
        notebook = open_notebook([MAKE, SAY, AWAIT], **options)
        notebook.run(0)
        return Editor(notebook)

    return open_editor


@pytest.mark.parametrize(
    ("app", "dark"), [pytest.param("lab", False, marks=pytest.mark.slow), ("notebook", True)]
)
def test_painting_with_every_tool(edit, app, dark):
    editor = edit(app=app, dark=dark)
    editor.painted("Nothing is painted")
    editor.stroke((60, 60), (192, 128))
    editor.painted("% of the image is painted")
    editor.tell(size=[384, 256], mode="L", left=255, middle=255, corner=0)
    theme = "dark" if dark else "light"
    editor.stroke((250, 60), (330, 90), (280, 180))
    editor.notebook.shot(f"mask-editor-{app}-{theme}", editor.notebook.cell(0))

    editor.press("Undo")
    editor.press("Eraser")
    editor.stroke((192, 128))
    editor.tell(left=255, middle=0)
    editor.press("Undo")
    editor.tell(middle=255)
    editor.press("Redo")
    editor.tell(middle=0)
    editor.press("Undo")
    editor.press("Brush")  # painting after an undo goes on from there
    editor.stroke((380, 250))
    editor.tell(middle=255, corner=255)
    expect(editor.root.get_by_role("button", name="Redo")).to_be_disabled()
    editor.press("Undo")
    editor.tell(corner=0)
    editor.press("Eraser")
    editor.stroke((192, 128))
    editor.press("Invert")
    editor.tell(left=0, middle=255, corner=255)
    editor.press("Clear")
    editor.painted("Nothing is painted")
    editor.tell(empty=True)
    editor.press("Fill")
    editor.painted("100 % of the image is painted")
    editor.tell(corner=255)


@pytest.mark.slow
def test_the_keyboard_paints_and_the_notebook_hears_nothing_of_it(edit):
    editor = edit()
    page = editor.notebook.page
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    editor.canvas.focus()
    for key in ("b", "Space", "ArrowRight", "Shift+ArrowLeft", "Shift+ArrowLeft", "Space"):
        page.keyboard.press(key)
    editor.painted("% of the image is painted")
    for key in ("]", "]", "]"):
        page.keyboard.press(key)
    assert editor.tell(middle=255)["brush"] > 40
    editor.canvas.focus()
    for key in ("e", "Space", "Space", "i", "a", "x", "d", "d"):
        page.keyboard.press(key)
    editor.tell(middle=0)
    editor.canvas.focus()
    for _ in range(2):
        page.keyboard.press("Control+z")
    editor.tell(middle=255)
    editor.canvas.focus()
    page.keyboard.press("Control+z")
    editor.painted("Nothing is painted")
    page.keyboard.press("Control+Shift+z")
    editor.tell(middle=255)
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells


@pytest.mark.slow
def test_what_is_painted_while_a_cell_awaits_is_there_and_what_comes_after_it_too(edit):
    """The kernel does not say that it has taken a message while a cell awaits."""
    editor = edit()
    editor.notebook.run(2, wait=False)
    expect(editor.notebook.output(2)).to_contain_text("awaiting")
    editor.stroke((60, 60), (100, 60))
    expect(editor.notebook.output(2)).to_contain_text("painted")
    editor.notebook.wait(2)
    editor.tell(left=255, middle=0)
    editor.stroke((192, 128))
    editor.tell(left=255, middle=255)


@pytest.mark.slow
def test_a_finger_paints_and_python_changes_what_is_shown(edit):
    editor = edit()
    session = editor.notebook.page.context.new_cdp_session(editor.notebook.page)

    def touch(kind, *points):
        places = [dict(zip("xy", editor.at(*point), strict=True)) for point in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", (60, 60))
    touch("touchMove", (120, 90))
    touch("touchMove", (192, 128))
    touch("touchEnd")
    editor.painted("% of the image is painted")
    editor.tell(left=255, middle=255, corner=0)

    editor.press("Zoom in")
    editor.stroke((192, 128), (200, 140))
    assert editor.canvas.bounding_box()["width"] > 384
    editor.press("Fit")
    page = editor.notebook.page
    editor.notebook.cell(1).locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+a")
    page.keyboard.type("editor.invert(); editor.clear(); editor.fill()")
    editor.notebook.run(1)
    editor.painted("100 % of the image is painted")
    editor.press("Undo")
    expect(editor.root.locator("[role=status]")).not_to_contain_text("100 %")
