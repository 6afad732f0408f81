"""Small copies of images for notebooks and previews."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.plain_files import open_plain_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import PIL.Image

__all__ = [
    "is_image",
    "overview_png",
    "preview_jpeg",
    "require_pixels",
    "small_image",
    "webp_thumbnail",
]

#: A thumbnail in base64 must stay below 60 KB, so its bytes below three quarters of that.
MAX_THUMBNAIL_BYTES = 44_000
#: The PNG fallback stands beside the HTML in every saved notebook, so it is kept smaller still.
MAX_OVERVIEW_BYTES = 10_000
#: An image may unfold to a thousand times its file: more pixels than this are not decoded to be
#: shown small. Upscaled four times, the largest image of SDXL has half of it.
MAX_PIXELS = 64_000_000
#: A preview is as large as the image that is being made, or smaller.
MAX_PREVIEW_PIXELS = 16_000_000
#: What an image of a server may be.
_SERVED = frozenset({"AVIF", "BMP", "GIF", "HEIF", "JPEG", "JXL", "MPO", "PNG", "TIFF", "WEBP"})
_QUALITIES = (82, 70, 55, 40)
_OVERVIEW_SIDES = (224, 176, 128, 96)
_OVERVIEW_TILES = 9


def webp_thumbnail(
    path: Path, max_side: int, max_bytes: int = MAX_THUMBNAIL_BYTES, *, fast: bool = False
) -> bytes:
    """Return an image as a small WebP; `fast` is for what is not stored, and a little larger."""
    # Of a large PNG decoding takes 40 ms of one core, and cannot be had for less. A gap of 1.5 and
    # the least effort take 5 ms for the rest instead of 10, and only who looks for it sees that.
    image = small_image(path, max_side, gap=1.5 if fast else 3.0)
    effort = 0 if fast else 4
    while True:
        for quality in _QUALITIES:
            data = _encoded(image, "WEBP", quality=quality, method=effort)
            if len(data) <= max_bytes:
                return data
        image.thumbnail((image.width * 3 // 4 or 1, image.height * 3 // 4 or 1))


def preview_jpeg(
    data: bytes,
    max_side: int = 512,
    max_bytes: int = MAX_THUMBNAIL_BYTES,
    *,
    max_pixels: int = MAX_PIXELS,
) -> tuple[bytes, int, int]:
    """Return a preview from the engine as a small JPEG."""
    import PIL.Image

    with PIL.Image.open(io.BytesIO(data)) as opened:
        require_pixels(opened, max_pixels)
        # The bilinear filter at this size costs a tenth of the default and shows no difference.
        opened.draft("RGB", (max_side, max_side))
        image = opened.convert("RGB")
    image.thumbnail((max_side, max_side), PIL.Image.Resampling.BILINEAR, reducing_gap=2.0)
    for quality in (78, 60, 42, 25):
        jpeg = _encoded(image, "JPEG", quality=quality)
        if len(jpeg) <= max_bytes:
            break
    return jpeg, image.width, image.height


def is_image(data: bytes) -> bool:
    """Whether data begin as those of an image that can be read."""
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(data)) as opened:
            return opened.format in _SERVED and opened.width > 0 and opened.height > 0
    except PIL.Image.DecompressionBombError:
        return True  # whoever asked for one so large shall have its file
    except (OSError, SyntaxError, ValueError, struct.error):
        return False


def require_pixels(image: PIL.Image.Image, limit: int) -> None:
    """Raise Pillow's own error for an image that has more pixels than this, or is no pixels."""
    import PIL.Image

    if image.format == "EPS":  # a program, which Pillow lets Ghostscript run
        msg = "an EPS is not shown"
        raise PIL.UnidentifiedImageError(msg)
    if image.width * image.height > limit:
        msg = f"{image.width} x {image.height} pixels are more than {limit:,}"
        raise PIL.Image.DecompressionBombError(msg)


def overview_png(paths: Sequence[Path], max_bytes: int = MAX_OVERVIEW_BYTES) -> bytes:
    """Return one PNG that shows images side by side, nine at the most."""
    if not paths:
        return b""
    tiles = [small_image(path, _OVERVIEW_SIDES[0]) for path in paths[:_OVERVIEW_TILES]]
    sheet = _tiled(tiles)
    for side in _OVERVIEW_SIDES:
        sheet.thumbnail((side, side))
        for colours in (192, 64, 24):
            data = _encoded(sheet.quantize(colours), "PNG", optimize=True)
            if len(data) <= max_bytes:
                return data
    return data


def _tiled(tiles: Sequence[PIL.Image.Image]) -> PIL.Image.Image:
    import PIL.Image

    if len(tiles) == 1:
        return tiles[0]
    columns = 2 if len(tiles) <= 4 else 3
    rows = -(-len(tiles) // columns)
    gap = 4
    width = max(tile.width for tile in tiles) + gap
    height = max(tile.height for tile in tiles) + gap
    sheet = PIL.Image.new("RGB", (columns * width - gap, rows * height - gap), "white")
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * width, index // columns * height))
    return sheet


def small_image(path: Path, max_side: int, *, gap: float = 3.0) -> PIL.Image.Image:
    """Return an image that is no larger than this, without transparency."""
    import PIL.Image

    with open_plain_file(path, max_file_bytes()) as file, PIL.Image.open(file) as opened:
        require_pixels(opened, MAX_PIXELS)
        opened.draft("RGB", (max_side, max_side))
        image = _flattened(opened)
    image.thumbnail((max_side, max_side), PIL.Image.Resampling.LANCZOS, reducing_gap=gap)
    return image


def _flattened(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return the image without transparency, which would show as black in a JPEG."""
    import PIL.Image

    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = PIL.Image.new("RGBA", layer.size, "white")
    return PIL.Image.alpha_composite(white, layer).convert("RGB")


def _encoded(image: PIL.Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
