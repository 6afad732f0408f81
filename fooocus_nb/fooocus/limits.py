"""How much is taken from a server or a file at once; the environment can say otherwise."""

from __future__ import annotations

import os

from fooocus_nb.errors import ConfigurationError

__all__ = [
    "FILE_VARIABLE",
    "MAX_FILE_BYTES",
    "MAX_MESSAGE_BYTES",
    "MESSAGE_VARIABLE",
    "max_file_bytes",
    "max_message_bytes",
]

#: The largest answer or message of a server: a page with thousands of models has a few MB.
MAX_MESSAGE_BYTES = 32_000_000
#: No image or log page of Fooocus is larger, and a kernel can hold a few of them.
MAX_FILE_BYTES = 64_000_000
MESSAGE_VARIABLE = "FOOOCUS_NB_MAX_MESSAGE_BYTES"
FILE_VARIABLE = "FOOOCUS_NB_MAX_FILE_BYTES"


def max_message_bytes() -> int:
    """Return how many bytes a message of a server may have."""
    return _given(MESSAGE_VARIABLE, MAX_MESSAGE_BYTES)


def max_file_bytes() -> int:
    """Return how many bytes a file may have, a server's or one on the disk."""
    return _given(FILE_VARIABLE, MAX_FILE_BYTES)


def _given(name: str, default: int) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 15 or int(text) == 0:
        msg = f"{name}={text[:50]!r} in the environment is no number of bytes above 0."
        raise ConfigurationError(msg)
    return int(text)
