"""A widget to paint a mask over an image."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import traitlets

from fooocus_nb._html import data_uri, wrap
from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.requests.images import PAINTED, encode_image, open_data_uri
from fooocus_nb.widgets._assets import joined
from fooocus_nb.widgets.base import LiveView

if TYPE_CHECKING:
    from collections.abc import Sequence

    import PIL.Image

__all__ = ["MaskEditor"]

#: The size of the copy that is shown while painting; the mask keeps the image's own size.
MAX_SHOWN_SIDE = 2048
SHOWN_QUALITY = 85
#: Larger than any mask of a real image, and small enough for any kernel.
MAX_MASK_BYTES = 64_000_000
#: The size of what a notebook shows without its kernel.
STATIC_SIDE = 320


class MaskEditor(LiveView):
    """Paints a mask over an image: with a brush and an eraser, by mouse, pen, finger or keyboard.

    Show it as the last value of a cell, paint, and use its mask in the next one::

        editor = fooocus_nb.MaskEditor("portrait.png")
        editor

        engine.inpaint(editor.image, editor.mask)  # or just editor, for the mask

    The mask is sent to the kernel after each stroke. :attr:`mask` can be set from Python, too, and
    that can be undone in the editor.

    Parameters
    ----------
    image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
        The image to paint over.
    mask : path-like, bytes, PIL.Image.Image or numpy.ndarray, optional
        The initial mask, of the image's size; by default nothing is painted.
    brush : int, optional
        The brush's diameter in pixels of the image. Default: an eighth of the shorter side.

    Attributes
    ----------
    brush : int
        The brush's diameter in pixels of the image; observe it as any trait.
    mask_png : bytes
        The mask as it is transferred: a PNG whose alpha channel is the mask, empty where nothing
        is painted. It changes after each stroke: ``editor.observe(react, "mask_png")``.

    Raises
    ------
    ParameterError
        When `image` or `mask` is not an image, or their sizes differ.
    """

    _esm = joined("dom.js", "kernel.js", "mask_history.js", "mask_editor.js")
    _css = joined("kernel.css", "mask_editor.css")
    background = traitlets.Bytes().tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    height = traitlets.Int().tag(sync=True)
    brush = traitlets.Int(1, min=1).tag(sync=True, echo_update=False)
    mask_png = traitlets.Bytes().tag(sync=True, echo_update=False)

    def __init__(self, image: Any, mask: Any = None, *, brush: int | None = None) -> None:
        self._image = _open("image", image)
        width, height = self._image.size
        if brush is None:
            brush = max(1, min(width, height) // 8)
        super().__init__(background=_shown(self._image), width=width, height=height, brush=brush)
        self.on_msg(self._handle)
        if mask is not None:
            self.mask = mask

    def __repr__(self) -> str:
        return f"<MaskEditor {self.width} × {self.height}>"

    @property
    def image(self) -> PIL.Image.Image:
        """The image, upright as it is shown: the mask fits it."""
        return self._image.copy()

    @property
    def mask(self) -> PIL.Image.Image:
        """The mask: of the image's size, mode ``L``, white where it is painted and black elsewhere.

        It can be set to all that `image` can be; pixels brighter than grey count as painted, and
        None clears the mask.
        """
        import PIL.Image

        size = self._size
        if not self.mask_png:
            return PIL.Image.new("L", size)
        if len(self.mask_png) > MAX_MASK_BYTES:
            msg = f"The browser sent a mask of {len(self.mask_png)} bytes, which is too large."
            raise ParameterError(msg)
        try:
            with PIL.Image.open(io.BytesIO(self.mask_png), formats=["PNG"]) as opened:
                if opened.size == size:  # checked before anything is decoded
                    return _hard(opened.convert("RGBA").getchannel("A"))
        except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
            msg = f"The browser sent a mask that cannot be read: {error}."
            raise ParameterError(msg) from error
        msg = f"The browser sent a mask of {opened.size}, but the image is of {size}."
        raise ParameterError(msg)

    @mask.setter
    def mask(self, value: Any) -> None:
        import PIL.Image

        if value is None:
            self.mask_png = b""
            return
        image = _open("mask", value)
        if image.size != self._size:
            found, wanted = (f"{width}x{height}" for width, height in (image.size, self._size))
            msg = f"mask= is {found}, but the image is {wanted}: they must be of one size."
            raise ParameterError(msg)
        layer = image.convert("RGBA")
        ground = PIL.Image.new("RGBA", layer.size, (0, 0, 0, 255))
        painted = _hard(PIL.Image.alpha_composite(ground, layer).convert("L"))
        if painted.getbbox() is None:
            self.mask_png = b""
            return
        buffer = io.BytesIO()
        PIL.Image.merge("LA", (painted, painted)).save(buffer, "PNG")
        self.mask_png = buffer.getvalue()

    def _begin(self) -> None:
        """Do nothing: the widget has all that it shows."""

    def _text(self) -> str:
        return repr(self)

    def _html(self) -> str:
        import PIL.Image

        small = self._image.convert("RGB")
        small.thumbnail((STATIC_SIDE, STATIC_SIDE))
        with contextlib.suppress(ParameterError):  # the browser may have sent anything
            half = self.mask.resize(small.size).point(lambda value: value // 2)
            small = PIL.Image.composite(PIL.Image.new("RGB", small.size, "red"), small, half)
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=SHOWN_QUALITY)
        width, height = small.size
        return wrap(
            f'<img src="{data_uri(buffer.getvalue(), "image/webp")}" width="{width}" '
            f'height="{height}" alt="The image, with what is painted in red">',
            '<div class="fnb-dim">The mask editor needs a running kernel and a notebook that shows '
            "widgets.</div>",
            label="Mask editor",
        )

    def _handle(self, _widget: object, content: Any, buffers: Sequence[Any]) -> None:
        """Take what was painted, and tell other pages. It may come on any thread, be anything."""
        if not isinstance(content, dict):
            return
        kind, brush = content.get("kind"), content.get("value")
        # The page that painted it is not told again: it may have painted more since.
        if kind == "mask":
            png = bytes(buffers[0]) if buffers else b""
            self.set_state({"mask_png": png})
            self.send({"kind": "mask", "page": content.get("page")}, [png])
        elif kind == "brush" and isinstance(brush, int) and brush >= 1:
            self.set_state({"brush": brush})

    @property
    def _size(self) -> tuple[int, int]:
        return self.width, self.height

    def clear(self) -> None:
        """Clear the mask."""
        self.mask_png = b""

    def fill(self) -> None:
        """Paint the whole mask."""
        import PIL.Image

        self.mask = PIL.Image.new("L", self._size, 255)

    def invert(self) -> None:
        """Swap painted and unpainted pixels."""
        import PIL.ImageChops

        self.mask = PIL.ImageChops.invert(self.mask)


def _open(name: str, value: Any) -> PIL.Image.Image:
    """Decode an image, with its orientation applied."""
    import PIL.ImageOps

    image = open_data_uri(name, encode_image(name, value))
    return PIL.ImageOps.exif_transpose(image)


def _hard(mask: PIL.Image.Image) -> PIL.Image.Image:
    return mask.point([0] * (PAINTED + 1) + [255] * (255 - PAINTED))


def _shown(image: PIL.Image.Image) -> bytes:
    """Return the copy that the browser shows, with no more pixels than a screen has."""
    small = image.convert("RGBA" if "A" in image.getbands() or image.mode == "P" else "RGB")
    small.thumbnail((MAX_SHOWN_SIDE, MAX_SHOWN_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=SHOWN_QUALITY, method=2)
    return buffer.getvalue()
