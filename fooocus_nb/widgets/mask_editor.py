"""A mask drawn over an image, in the notebook."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.requests.images import PAINTED, encode_image, open_data_uri
from fooocus_nb.widgets._assets import joined

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["MaskEditor"]

#: What is sent to be looked at while painting; the mask keeps the image's own size.
MAX_SHOWN_SIDE = 2048
SHOWN_QUALITY = 85
#: Larger than any mask of a real image, and small enough for any kernel.
MAX_MASK_BYTES = 64_000_000


class MaskEditor(anywidget.AnyWidget):
    """Paints a mask over an image: with a brush and an eraser, by mouse, pen, finger or keyboard.

    Show it as the last value of a cell, paint, and use its mask in the next one::

        editor = fooocus_nb.MaskEditor("portrait.png")
        editor

        engine.inpaint(editor.image, editor.mask)  # or just editor, for the mask

    What is painted reaches the kernel after each stroke. :attr:`mask` may be set from Python, too,
    and undone in the editor.

    Parameters
    ----------
    image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
        What to paint over.
    mask : path-like, bytes, PIL.Image.Image or numpy.ndarray, optional
        What is painted at the beginning, of the image's size; by default nothing.
    brush : int, optional
        The brush's diameter in pixels of the image. Default: an eighth of the shorter side.

    Attributes
    ----------
    brush : int
        The brush's diameter in pixels of the image; observe it as any trait.
    mask_png : bytes
        The mask as it travels: a PNG whose alpha is what is painted, empty where nothing is. It
        changes after each stroke: ``editor.observe(react, "mask_png")``.

    Raises
    ------
    ParameterError
        When the image or the mask is not a picture, or their sizes differ.
    """

    _esm = joined("dom.js", "mask_editor.js")
    _css = joined("mask_editor.css")
    picture = traitlets.Bytes().tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    height = traitlets.Int().tag(sync=True)
    brush = traitlets.Int(1, min=1).tag(sync=True)
    mask_png = traitlets.Bytes().tag(sync=True, from_json=lambda value, _widget: bytes(value))

    def __init__(self, image: Any, mask: Any = None, *, brush: int | None = None) -> None:
        self._image = _open("image", image)
        width, height = self._image.size
        if brush is None:
            brush = max(1, min(width, height) // 8)
        super().__init__(picture=_shown(self._image), width=width, height=height, brush=brush)
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

        It can be set to whatever `image` can be; what is brighter than grey counts as painted,
        and None takes all paint away.
        """
        import PIL.Image

        size = self._size
        if not self.mask_png:
            return PIL.Image.new("L", size)
        if len(self.mask_png) > MAX_MASK_BYTES:
            msg = f"The browser sent a mask of {len(self.mask_png)} bytes, which is none."
            raise ParameterError(msg)
        try:
            with PIL.Image.open(io.BytesIO(self.mask_png), formats=["PNG"]) as picture:
                if picture.size == size:  # looked at before anything is decoded
                    return _hard(picture.convert("RGBA").getchannel("A"))
        except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
            msg = f"The browser sent a mask that cannot be read: {error}."
            raise ParameterError(msg) from error
        msg = f"The browser sent a mask of {picture.size}, but the image is of {size}."
        raise ParameterError(msg)

    @mask.setter
    def mask(self, value: Any) -> None:
        import PIL.Image

        if value is None:
            self.mask_png = b""
            return
        picture = _open("mask", value)
        if picture.size != self._size:
            found, wanted = (f"{width}x{height}" for width, height in (picture.size, self._size))
            msg = f"mask= is {found}, but the image is {wanted}: they must be of one size."
            raise ParameterError(msg)
        layer = picture.convert("RGBA")
        ground = PIL.Image.new("RGBA", layer.size, (0, 0, 0, 255))
        painted = _hard(PIL.Image.alpha_composite(ground, layer).convert("L"))
        if painted.getbbox() is None:
            self.mask_png = b""
            return
        buffer = io.BytesIO()
        PIL.Image.merge("LA", (painted, painted)).save(buffer, "PNG")
        self.mask_png = buffer.getvalue()

    @property
    def _size(self) -> tuple[int, int]:
        return self.width, self.height

    def clear(self) -> None:
        """Take all paint away."""
        self.mask_png = b""

    def fill(self) -> None:
        """Paint everything."""
        import PIL.Image

        self.mask = PIL.Image.new("L", self._size, 255)

    def invert(self) -> None:
        """Swap what is painted and what is not."""
        import PIL.ImageChops

        self.mask = PIL.ImageChops.invert(self.mask)


def _open(name: str, value: Any) -> PIL.Image.Image:
    """Return a picture as it is seen, its orientation applied."""
    import PIL.ImageOps

    picture = open_data_uri(name, encode_image(name, value))
    return PIL.ImageOps.exif_transpose(picture)


def _hard(mask: PIL.Image.Image) -> PIL.Image.Image:
    return mask.point([0] * (PAINTED + 1) + [255] * (255 - PAINTED))


def _shown(image: PIL.Image.Image) -> bytes:
    """Return what the browser shows: no more pixels than a screen has."""
    small = image.convert("RGBA" if "A" in image.getbands() or image.mode == "P" else "RGB")
    small.thumbnail((MAX_SHOWN_SIDE, MAX_SHOWN_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=SHOWN_QUALITY, method=2)
    return buffer.getvalue()
