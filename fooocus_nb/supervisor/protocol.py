"""The frames that the guardian and its clients exchange.

A frame is one byte of kind, four bytes of length (big endian) and the payload.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ASLEEP",
    "DEFAULT_GRACE",
    "LOG",
    "MESSAGE",
    "STOPPED",
    "FrameReader",
    "frame",
    "message",
    "number",
    "parse_object",
]

#: The payload is a piece of the child's output.
LOG = b"L"
#: The payload is a JSON object.
MESSAGE = b"M"
#: Seconds between asking a child to end and killing it, where nobody says otherwise.
DEFAULT_GRACE = 10.0
#: Why a child is ended, where a client has asked for it.
STOPPED = "stopped on request"
#: Why it is ended where all clients have said that they can do without it for now.
ASLEEP = "all that use it let it sleep"

_HEADER = struct.Struct(">cI")
#: More than either side ever sends in one frame.
MAX_PAYLOAD = 4 << 20
#: Far deeper than anything that is ever published, far below what any reader or writer refuses.
MAX_DEPTH = 50
#: No number of seconds or bytes is larger; an integer beyond every float would be an OverflowError.
MAX_NUMBER = 1e15


def frame(kind: bytes, payload: bytes) -> bytes:
    """Return one frame."""
    return _HEADER.pack(kind, len(payload)) + payload


def message(**content: object) -> bytes:
    """Return a frame with a JSON object."""
    return frame(MESSAGE, json.dumps(content).encode())


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object of unknown origin; a ValueError when it is none, or nested too deep."""
    try:
        content = json.loads(data)
    except RecursionError as error:
        msg = "JSON that is nested too deep"
        raise ValueError(msg) from error
    if not isinstance(content, dict):
        msg = f"no JSON object, but {type(content).__name__}"
        raise ValueError(msg)
    level: list[Any] = [content]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return content
    msg = f"JSON that is nested deeper than {MAX_DEPTH} levels"
    raise ValueError(msg)


def number(value: object) -> float:
    """Return a number from 0 up, bounded; a ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        msg = f"{str(value)[:50]!r} is not a number from 0 up"
        raise ValueError(msg)
    return float(min(value, MAX_NUMBER))


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
