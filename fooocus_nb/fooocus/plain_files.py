"""Reading of files that somebody else may have put there: plain ones only, up to a size."""

from __future__ import annotations

import os
import stat
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ANY_SIZE", "UnfitFileError", "open_plain_file", "read_plain_file"]


#: For who reads no more of a file than it needs.
ANY_SIZE = 1 << 62


class UnfitFileError(OSError):
    """A file is a device, a pipe or a folder, or it is too large; it was not read."""

    def __init__(self, message: str, *, too_large: bool = False) -> None:
        super().__init__(message)
        self.too_large = too_large


def open_plain_file(path: Path, limit: int) -> IO[bytes]:
    """Open a file; devices, pipes and files over `limit` bytes are refused unread."""
    # Without O_NONBLOCK, opening a pipe that nobody writes to would never return.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    except ValueError as error:  # a NUL or half a character in its name
        raise UnfitFileError(str(error)) from error
    try:
        # Of the open file, not of its name, which may be somebody else's by now.
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            msg = "It is no plain file"
            raise UnfitFileError(msg)
        if status.st_size > limit:
            raise _too_large(limit)
    except BaseException:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def read_plain_file(path: Path, limit: int) -> bytes:
    """Return what is in a file; devices, pipes and files over `limit` bytes are refused unread."""
    with open_plain_file(path, limit) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise _too_large(limit)
    return data


def _too_large(limit: int) -> UnfitFileError:
    return UnfitFileError(f"The file is too large: over {limit / 1_000_000:g} MB", too_large=True)
