"""Pictures on their way into the engine, as the data URIs that Gradio takes."""

from __future__ import annotations

import base64
import io
import os
import re
from pathlib import Path
from typing import Any

from fooocus_nb.errors import ParameterError

__all__ = ["decode_data_uri", "encode_image", "encode_masked"]

_DATA_URI = re.compile(r"data:(image/[\w.+-]+);base64,")


def encode_image(name: str, value: Any) -> str:
    """Return a picture as it is sent.

    Parameters
    ----------
    name : str
        The parameter it is for, for messages.
    value : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
        A file, its bytes, a picture in memory or one of our results. A data URI is sent as it is.

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
    if isinstance(value, (str, os.PathLike)):
        value = _read(name, Path(value).expanduser())
    if isinstance(value, (bytes, bytearray)):
        return _from_bytes(name, bytes(value))
    return _from_picture(name, value)


def encode_masked(name: str, value: Any) -> dict[str, str]:
    """Return a picture and what is painted over it, as they are sent.

    Parameters
    ----------
    name : str
        The parameter it is for, for messages.
    value : mapping, pair or picture
        ``{"image": ..., "mask": ...}``, or ``(image, mask)``; white in the mask is painted. With a
        picture alone nothing is painted.

    Returns
    -------
    dict
        The data URIs of both.

    Raises
    ------
    ParameterError
        When one is not a picture, or their sizes differ.
    """
    if isinstance(value, dict):
        if set(value) - {"mask"} != {"image"}:
            msg = f"{name}= must be a picture, or have an 'image' and a 'mask'."
            raise ParameterError(msg)
        image, mask = value["image"], value.get("mask")
    elif isinstance(value, (list, tuple)):
        if len(value) != 2:
            msg = f"{name}= must be a picture, or a pair of a picture and its mask."
            raise ParameterError(msg)
        image, mask = value
    else:
        image, mask = value, None
    encoded = encode_image(name, image)
    size = _size(name, encoded)
    if mask is None:
        # The engine's worker would crash without one.
        return {"image": encoded, "mask": _blank(size)}
    painted = encode_image(name, mask)
    mask_size = _size(name, painted)
    if mask_size != size:
        sizes = f"{mask_size[0]}x{mask_size[1]}, its picture {size[0]}x{size[1]}"
        msg = f"{name}= has a mask of another size than its picture: the mask is {sizes}."
        raise ParameterError(msg)
    return {"image": encoded, "mask": painted}


def _size(name: str, uri: str) -> tuple[int, int]:
    from PIL import Image

    decoded = decode_data_uri(uri)
    try:
        with Image.open(io.BytesIO(decoded[0] if decoded else b"")) as picture:
            width, height = picture.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        msg = f"{name}= is not a picture that can be read: {error}."
        raise ParameterError(msg) from error
    return width, height


def _blank(size: tuple[int, int]) -> str:
    from PIL import Image

    return _from_picture("mask", Image.new("RGB", size))


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        msg = f"{name}={str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}."
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
