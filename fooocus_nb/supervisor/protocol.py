"""The frames that the guardian and its clients exchange.

A frame is one byte of kind, four bytes of length (big endian) and the payload.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LOG", "MESSAGE", "STOPPED", "FrameReader", "frame", "message"]

#: The payload is a piece of the child's output.
LOG = b"L"
#: The payload is a JSON object.
MESSAGE = b"M"
#: Why a child is ended, where a client has asked for it.
STOPPED = "stopped on request"

_HEADER = struct.Struct(">cI")
#: More than either side ever sends in one frame.
MAX_PAYLOAD = 4 << 20


def frame(kind: bytes, payload: bytes) -> bytes:
    """Return one frame."""
    return _HEADER.pack(kind, len(payload)) + payload


def message(**content: object) -> bytes:
    """Return a frame with a JSON object."""
    return frame(MESSAGE, json.dumps(content).encode())


class FrameReader:
    """Turns received bytes into frames, however they were cut on the way."""

    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        self._buffer = bytearray()
        # A longer payload is an error, not a reason to buffer.
        self._max_payload = max_payload

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Take received bytes and yield the kinds and payloads of the frames that they complete.

        A ValueError says that this is no stream of frames.
        """
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._buffer)
            if kind not in (LOG, MESSAGE) or length > self._max_payload:
                msg = f"a frame of kind {kind!r} and {length} bytes"
                raise ValueError(msg)
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield kind, payload
