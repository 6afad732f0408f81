"""Reading of files that somebody else may have put there: plain ones only, up to a size."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from fooocus_nb.errors import MetadataError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_FILE_BYTES", "read_plain_file"]

#: No image or log page of Fooocus is larger, and a kernel can hold a few of them.
MAX_FILE_BYTES = 64_000_000


def read_plain_file(path: Path, limit: int) -> bytes:
    """Return what is in a file; devices, pipes and files over `limit` bytes are refused unread."""
    # Without O_NONBLOCK, opening a pipe that nobody writes to would never return.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    try:
        # Of the open file, not of its name, which may be somebody else's by now.
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            msg = "It is no plain file."
            raise MetadataError(msg)
        if status.st_size > limit:
            raise _too_large(limit)
    except BaseException:
        os.close(handle)
        raise
    with os.fdopen(handle, "rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise _too_large(limit)
    return data


def _too_large(limit: int) -> MetadataError:
    size = f"{limit / 1_000_000:g} MB"
    return MetadataError(f"The file is too large: over {size}. max_bytes= lets it be larger.")
