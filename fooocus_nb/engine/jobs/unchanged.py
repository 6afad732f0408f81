"""Recognise an image that was to be enhanced and came back unchanged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import PIL.Image
from PIL import ImageChops

from fooocus_nb.errors import FooocusError
from fooocus_nb.fooocus.requests.images import open_data_uri
from fooocus_nb.fooocus.transport.data_uris import is_data_uri
from fooocus_nb.results.thumbnails import MAX_PIXELS, require_pixels

if TYPE_CHECKING:
    from pathlib import Path

    from fooocus_nb.fooocus.requests import Request

__all__ = ["enhanced_image", "shows_the_same"]

_log = logging.getLogger(__name__)

#: The formats that keep every pixel as it is.
_EXACT = frozenset({"PNG"})
#: By how many of 255 levels the mean brightness of a block may differ where a format is lossy:
#: what was enhanced differs in some block by more, and what was only saved in none.
_LEVELS = 3
_BLOCK = 8


def enhanced_image(request: Request) -> str | None:
    """Return the given image that a request enhances, as a data URI; None where it generates."""
    values = request.values
    given = values.get("enhance_input_image") if values.get("current_tab") == "enhance" else None
    return given if isinstance(given, str) and is_data_uri(given) else None


def shows_the_same(path: Path, given: str) -> bool:
    """Whether a file shows just what an image, given as a data URI, does."""
    try:
        with PIL.Image.open(path) as image:
            require_pixels(image, MAX_PIXELS)
            exact, one = image.format in _EXACT, image.convert("RGB")
        other = open_data_uri("image", given).convert("RGB")
    except (OSError, ValueError, FooocusError, PIL.Image.DecompressionBombError) as error:
        _log.debug("%s cannot be compared: %s", path, error)
        return False
    if one.size != other.size:
        return False
    if exact:
        return ImageChops.difference(one, other).getbbox() is None
    blocks = (image.convert("L").reduce(_BLOCK) for image in (one, other))
    return ImageChops.difference(*blocks).point(lambda level: level > _LEVELS).getbbox() is None
