"""The mask editor without a browser: what goes in, and what comes out."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import PIL.Image
import pytest

import fooocus_nb
from fooocus_nb import MaskEditor
from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.requests.images import encode_masked
from fooocus_nb.fooocus.transport.data_uris import decode_data_uri


def dot(size=(90, 60), box=(10, 10, 20, 30)):
    mask = PIL.Image.new("L", size)
    mask.paste(255, box)
    return mask


def as_painted(mask):
    """Return a mask as the browser sends it: tinted, its alpha what is painted."""
    layer = PIL.Image.new("RGBA", mask.size, (255, 45, 85, 0))
    layer.putalpha(mask)
    buffer = io.BytesIO()
    layer.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def image():
    return PIL.Image.new("RGB", (90, 60), "navy")


def test_nothing_is_painted_at_first(image):
    editor = MaskEditor(image)
    assert (editor.mask.mode, editor.mask.size) == ("L", (90, 60))
    assert editor.mask.getbbox() is None
    assert "90" in repr(editor)


def test_what_the_browser_sends_is_the_mask(image):
    editor = MaskEditor(image)
    editor.mask_png = as_painted(dot())
    assert editor.mask.tobytes() == dot().tobytes()


def test_a_message_of_the_page_is_the_mask_and_goes_to_other_pages(image):
    sent = []

    class Sent(MaskEditor):
        def send(self, content, buffers=None):
            sent.append((content, buffers))

        def send_state(self, key=None):
            sent.append(key)

    editor = Sent(image)
    seen = []
    editor.observe(lambda change: seen.append(change["new"]), "mask_png")
    sent.clear()
    png = as_painted(dot())
    editor._handle_custom_msg({"kind": "mask", "page": "a"}, [memoryview(png)])
    assert editor.mask.tobytes() == dot().tobytes()
    editor._handle_custom_msg({"kind": "mask", "page": "b"}, [])
    assert editor.mask.getbbox() is None
    assert seen == [png, b""]
    # Never as a state of the widget: the page that painted it may have painted more since.
    assert sent == [
        ({"kind": "mask", "page": page}, [data]) for page, data in (("a", png), ("b", b""))
    ]
    editor._handle_custom_msg({"kind": "brush", "value": 9}, [])
    for odd in ({"kind": "brush", "value": 0}, {"kind": "brush", "value": "9"}, {}):
        editor._handle_custom_msg(odd, [])
    assert editor.brush == 9


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA"])
def test_a_mask_can_be_set_from_python(image, mode):
    editor = MaskEditor(image, dot().convert(mode))
    assert editor.mask.tobytes() == dot().tobytes()
    editor.mask = np.asarray(dot(box=(0, 0, 5, 5)))
    assert editor.mask.getbbox() == (0, 0, 5, 5)
    editor.mask = None
    assert editor.mask.getbbox() is None
    assert editor.mask_png == b""


def test_fill_invert_and_clear(image):
    editor = MaskEditor(image, dot())
    editor.invert()
    assert editor.mask.getpixel((10, 10)) == 0
    assert editor.mask.getpixel((0, 0)) == 255
    editor.fill()
    assert editor.mask.getextrema() == (255, 255)
    editor.clear()
    assert editor.mask.getextrema() == (0, 0)


def test_the_editor_itself_stands_for_its_mask(image):
    editor = MaskEditor(image, dot())
    sent = encode_masked("inpaint_input_image", (editor.image, editor))
    data, _mime = decode_data_uri(sent["mask"])
    assert PIL.Image.open(io.BytesIO(data)).convert("L").tobytes() == dot().tobytes()


def test_a_photo_taken_upright_is_painted_upright(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    editor = MaskEditor(tmp_path / "a.jpg")
    assert (editor.width, editor.height) == editor.image.size == editor.mask.size == (20, 40)


def test_a_huge_image_travels_small_and_is_painted_whole():
    noise = np.random.default_rng(1).integers(0, 255, (64, 4000, 3), dtype=np.uint8)
    editor = MaskEditor(noise)
    assert PIL.Image.open(io.BytesIO(editor.background)).size == (2048, 33)
    assert editor.mask.size == (4000, 64)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (b"nonsense", "cannot be read"),
        (as_painted(dot())[:60], "cannot be read"),
        (as_painted(dot((8, 8), (0, 0, 4, 4))), r"\(8, 8\)"),
    ],
)
def test_what_is_no_mask_of_the_image_is_refused(image, broken, message):
    editor = MaskEditor(image)
    editor.mask_png = broken
    with pytest.raises(ParameterError, match=message):
        _ = editor.mask


def test_bad_input_says_what_is_wrong(image):
    with pytest.raises(ParameterError, match="8x8, but the image is 90x60"):
        MaskEditor(image, PIL.Image.new("L", (8, 8)))
    with pytest.raises(ParameterError, match=r"image=.*cannot be read"):
        MaskEditor("no such file.png")
    assert "MaskEditor" in fooocus_nb.__all__


def test_the_static_fallback_shows_what_is_painted():
    editor = MaskEditor(PIL.Image.new("RGB", (640, 400), "blue"))
    painted = PIL.Image.new("L", (640, 400))
    painted.paste(255, (0, 0, 320, 400))
    editor.mask = painted
    data = re.search(r'src="data:image/webp;base64,([^"]+)"', editor.static_html())[1]
    with PIL.Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == (320, 200)
        left, right = image.getpixel((60, 100)), image.getpixel((260, 100))
    assert left[0] > 80 > right[0]
    editor.mask_png = b"nothing that a browser should send"
    assert "data:image/webp" in editor.static_html()
