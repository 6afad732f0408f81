"""Images as Gradio 3 takes and gives them: data URIs."""

from __future__ import annotations

import base64
import re

__all__ = ["decode_data_uri", "encode_data_uri", "is_data_uri"]

_DATA_URI = re.compile(r"data:(image/[\w.+-]+);base64,")
#: How the files of an image format begin.
_SIGNATURES = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"RIFF": "image/webp",
    b"GIF8": "image/gif",
}


def is_data_uri(text: str) -> bool:
    """Whether a text begins as the data URI of an image does."""
    return _DATA_URI.match(text) is not None


def decode_data_uri(uri: str) -> tuple[bytes, str] | None:
    """Return the bytes and the media type of an image's data URI; None for any other text."""
    head = _DATA_URI.match(uri)
    if head is None:
        return None
    try:
        return base64.b64decode(uri[head.end() :], validate=True), head[1]
    except ValueError:
        return None


def encode_data_uri(data: bytes, mime: str = "") -> str:
    """Return an encoded image as a data URI; its media type is read from it where none is given."""
    if not mime:
        found = (kind for head, kind in _SIGNATURES.items() if data.startswith(head))
        mime = next(found, "image/png")
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"
