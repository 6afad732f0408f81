"""Pictures on their way into the engine, as the data URIs that Gradio takes."""

from __future__ import annotations

import base64
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.requests.urls import is_url, refuse_url

if TYPE_CHECKING:
    import PIL.Image

    from fooocus_nb.fooocus.requests.urls import Fetch

__all__ = [
    "check_sizes",
    "decode_data_uri",
    "encode_image",
    "encode_mask",
    "encode_masked",
    "halves",
    "is_empty_mask",
    "open_data_uri",
]

_DATA_URI = re.compile(r"data:(image/[\w.+-]+);base64,")
_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")
#: Brighter is painted, for the engine as for us.
PAINTED = 127
#: What has eight bits a channel and can be a PNG.
_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
_CONVERTIBLE = frozenset({"CMYK", "HSV", "LAB", "YCbCr", "La", "PA", "RGBX", "RGBa"})
#: The EXIF orientations that lay a picture on its side.
_ORIENTATION, _ON_ITS_SIDE = 0x0112, frozenset({5, 6, 7, 8})


def encode_image(name: str, value: Any, fetch: Fetch = refuse_url) -> str:
    """Return a picture as it is sent.

    Parameters
    ----------
    name : str
        The parameter it is for, for messages.
    value : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
        A file, its bytes, a picture in memory or one of our results. A data URI is sent as it is.
    fetch : callable
        Fetches what is behind a web address; by default it is refused.

    Returns
    -------
    str
        A data URI.

    Raises
    ------
    ParameterError
        When it is not a picture, or a file is not there.
    """
    if isinstance(value, str) and _DATA_URI.match(value):
        return value
    if isinstance(getattr(value, "path", None), Path):
        value = value.path
    if isinstance(value, str) and _FINGERPRINT.fullmatch(value):
        msg = f"{name}= was a picture in memory, of which only the hash was kept: give it again."
        raise ParameterError(msg)
    if is_url(value):
        value = fetch(name, value)
    if isinstance(value, (str, os.PathLike)):
        value = _read(name, value)
    if isinstance(value, (bytes, bytearray)):
        return _from_bytes(name, bytes(value))
    return _from_picture(name, value)


def encode_masked(name: str, value: Any, fetch: Fetch = refuse_url) -> dict[str, str]:
    """Return a picture and what is painted over it, as they are sent.

    Parameters
    ----------
    name : str
        The parameter it is for, for messages.
    value : mapping, pair or picture
        ``{"image": ..., "mask": ...}``, or ``(image, mask)``; white in the mask is painted. With a
        picture alone nothing is painted.
    fetch : callable
        Fetches what is behind a web address; by default it is refused.

    Returns
    -------
    dict
        The data URIs of both; the mask is black and white.

    Raises
    ------
    ParameterError
        When one is not a picture, their sizes differ or the mask's mode is none for a mask.
    """
    image, mask = halves(name, value)
    encoded = encode_image(name, image, fetch)
    if mask is None:
        # The engine's worker would crash without one.
        return {"image": encoded, "mask": _blank(_size(name, encoded))}
    painted = encode_mask(name, mask, fetch)
    check_sizes(name, encoded, painted)
    return {"image": encoded, "mask": painted}


def encode_mask(name: str, value: Any, fetch: Fetch = refuse_url) -> str:
    """Return a mask as it is sent.

    Parameters
    ----------
    name : str
        The parameter it is for, for messages.
    value : path-like, bytes, PIL.Image.Image, numpy.ndarray, Image or MaskEditor
        The mask: what is white and not transparent is painted.
    fetch : callable
        Fetches what is behind a web address; by default it is refused.

    Returns
    -------
    str
        The data URI of a picture in black and white.

    Raises
    ------
    ParameterError
        When it is not a picture, or of a mode that is none for a mask.
    """
    if hasattr(value, "mask_png"):
        value = value.mask  # a MaskEditor stands for what is painted in it
    mask = open_data_uri(name, encode_image(name, value, fetch))
    return _from_picture(name, _black_and_white(name, mask).convert("RGB"))


def check_sizes(name: str, picture: str, mask: str) -> None:
    """Refuse a mask of another size than its picture.

    Parameters
    ----------
    name : str
        The parameter they are for, for messages.
    picture, mask : str
        Data URIs.

    Raises
    ------
    ParameterError
        With both sizes.
    """
    size, other = _size(name, picture), _size(name, mask)
    if size != other:
        sizes = f"{other[0]}x{other[1]}, its picture {size[0]}x{size[1]}"
        msg = f"{name}= has a mask of another size than its picture: the mask is {sizes}."
        raise ParameterError(msg)


def halves(name: str, value: Any) -> tuple[Any, Any]:
    """Return a picture and its mask.

    Parameters
    ----------
    name : str
        The parameter they are for, for messages.
    value : mapping, pair or picture
        As :func:`encode_masked` takes it.

    Returns
    -------
    tuple of (object, object)
        The mask is None for a picture alone.

    Raises
    ------
    ParameterError
        When it is neither.
    """
    if isinstance(value, dict):
        if set(value) - {"mask"} != {"image"}:
            msg = f"{name}= must be a picture, or have an 'image' and a 'mask'."
            raise ParameterError(msg)
        return value["image"], value.get("mask")
    if isinstance(value, (list, tuple)):
        if len(value) != 2:
            msg = f"{name}= must be a picture, or a pair of a picture and its mask."
            raise ParameterError(msg)
        return value[0], value[1]
    return value, None


def _black_and_white(name: str, mask: PIL.Image.Image) -> PIL.Image.Image:
    """Return a mask of two colours; what is transparent is not painted."""
    from PIL import Image

    if mask.mode not in _MODES:
        msg = f"{name}= has a mask of mode {mask.mode}, but it must be of 8 bits: 1, L, RGB, RGBA."
        raise ParameterError(msg)
    if mask.mode in ("LA", "P", "RGBA"):
        layer = mask.convert("RGBA")
        mask = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
    return mask.convert("L").point([0] * (PAINTED + 1) + [255] * (255 - PAINTED))


def is_empty_mask(uri: str, *, inverted: bool = False) -> bool:
    """Return whether a mask, as it is sent, leaves nothing to paint.

    Parameters
    ----------
    uri : str
        A data URI.
    inverted : bool
        Whether black is painted.

    Returns
    -------
    bool
    """
    low, high = open_data_uri("mask", uri).convert("L").getextrema()
    return bool(low > PAINTED) if inverted else bool(high <= PAINTED)  # type: ignore[operator]


def open_data_uri(name: str, uri: str) -> PIL.Image.Image:
    """Return the picture in a data URI, its pixels loaded.

    Parameters
    ----------
    name : str
        What it is for, for messages.
    uri : str
        A data URI.

    Returns
    -------
    PIL.Image.Image

    Raises
    ------
    ParameterError
        When there is none in it.
    """
    from PIL import Image

    decoded = decode_data_uri(uri)
    try:
        with Image.open(io.BytesIO(decoded[0] if decoded else b"")) as picture:
            picture.load()
            return picture
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        msg = f"{name}= is not a picture that can be read: {error}."
        raise ParameterError(msg) from error


def _size(name: str, uri: str) -> tuple[int, int]:
    """Return width and height as the engine sees them: it turns photographs the right way up."""
    from PIL import Image

    decoded = decode_data_uri(uri)
    try:
        with Image.open(io.BytesIO(decoded[0] if decoded else b"")) as picture:
            width, height = picture.size
            turned = picture.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        msg = f"{name}= is not a picture that can be read: {error}."
        raise ParameterError(msg) from error
    return (height, width) if turned else (width, height)


def _blank(size: tuple[int, int]) -> str:
    from PIL import Image

    return _from_picture("mask", Image.new("RGB", size))


def _read(name: str, path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except (OSError, RuntimeError, ValueError) as error:  # nobody's home, a null byte
        reason = getattr(error, "strerror", None) or error
        msg = f"{name}={os.fspath(path)!r} cannot be read: {reason}."
        raise ParameterError(msg) from error


def _from_bytes(name: str, data: bytes) -> str:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.verify()
            mime = Image.MIME.get(picture.format or "", "image/png")
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:
        msg = f"{name}= is not a picture that can be read: {error}."
        raise ParameterError(msg) from error
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def _from_picture(name: str, value: Any) -> str:
    from PIL import Image

    try:
        picture = value if isinstance(value, Image.Image) else Image.fromarray(value)
    except (TypeError, ValueError, AttributeError) as error:
        msg = (
            f"{name}= is a {type(value).__name__}, but must be a path, bytes, a PIL image or an "
            "array of 8-bit pixels."
        )
        raise ParameterError(msg) from error
    if picture.mode in _CONVERTIBLE:
        picture = picture.convert("RGB")
    if picture.mode not in _MODES:
        msg = f"{name}= has pixels of mode {picture.mode}, but they must have 8 bits a channel."
        raise ParameterError(msg)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def decode_data_uri(uri: str) -> tuple[bytes, str] | None:
    """Return the bytes and the media type of a data URI with a picture.

    Parameters
    ----------
    uri : str
        Any text.

    Returns
    -------
    tuple of (bytes, str) or None
        None where the text is no such data URI.
    """
    head = _DATA_URI.match(uri)
    if head is None:
        return None
    try:
        return base64.b64decode(uri[head.end() :], validate=True), head[1]
    except ValueError:
        return None
