"""Pictures as Gradio 4 and later take and give them: files that are uploaded and fetched."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.requests.images import decode_data_uri

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["EDITORS", "as_data_uri", "file_path", "to_wire"]

#: Components that take a picture and what is painted over it.
EDITORS = frozenset({"imageeditor", "imagemask", "sketchpad"})


async def to_wire(
    kind: str, value: Any, upload: Callable[[bytes, str], Awaitable[dict[str, Any]]]
) -> Any:
    """Return an input as the server takes it.

    Parameters
    ----------
    kind : str
        The type of the component that it is for.
    value : object
        As the request has it: pictures are data URIs, alone or with a mask.
    upload : callable
        Hands bytes of a media type to the server and returns how it calls the file.

    Returns
    -------
    object
        The same, with files in the place of pictures.
    """
    if isinstance(value, dict) and set(value) == {"image", "mask"}:
        if kind not in EDITORS:
            msg = f"This server's {kind} takes a picture without a mask; give the mask by itself."
            raise ParameterError(msg)
        return await _layered(value["image"], value["mask"], upload)
    if not isinstance(value, str) or (decoded := decode_data_uri(value)) is None:
        return value
    if kind in EDITORS:
        return await _layered(value, None, upload)
    return await upload(*decoded)


async def _layered(
    image: str, mask: str | None, upload: Callable[[bytes, str], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    """Return a picture and its mask as an editor has them: what is painted is a layer above."""
    decoded = decode_data_uri(image)
    if decoded is None:
        msg = "The picture is no data URI that can be read."
        raise ParameterError(msg)
    background = await upload(*decoded)
    if mask is None:
        return {"background": background, "layers": [], "composite": background}
    painted = decode_data_uri(mask)
    layer, composite = _painted(decoded[0], painted[0] if painted else b"")
    return {
        "background": background,
        "layers": [await upload(layer, "image/png")],
        "composite": await upload(composite, "image/png"),
    }


def _painted(image: bytes, mask: bytes) -> tuple[bytes, bytes]:
    """Return white paint where the mask is, and the picture with that paint on it."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image)) as picture, Image.open(io.BytesIO(mask)) as drawn:
            alpha = drawn.convert("L").resize(picture.size)
            layer = Image.new("RGBA", picture.size, (255, 255, 255, 0))
            layer.putalpha(alpha)
            composite = Image.alpha_composite(picture.convert("RGBA"), layer)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        msg = f"The picture or its mask cannot be read: {error}."
        raise ParameterError(msg) from error
    return _png(layer), _png(composite)


def _png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def file_path(value: Any) -> str | None:
    """Return the server's path of a file that it names; None for anything else.

    Parameters
    ----------
    value : object
        An output, or what an update sets.

    Returns
    -------
    str or None
    """
    if not isinstance(value, dict) or value.get("__type__") == "update":
        return None
    path = value.get("path")
    return path if isinstance(path, str) and path else None


def as_data_uri(data: bytes) -> str:
    """Return a picture's bytes as Gradio 3 would have sent them.

    Parameters
    ----------
    data : bytes
        An encoded picture.

    Returns
    -------
    str
    """
    heads = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp", b"GIF8": "gif"}
    kind = next((name for head, name in heads.items() if data.startswith(head)), "png")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
