"""Writing of files that nobody ever reads half of: aside first, then renamed."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["writing_whole"]


@contextlib.contextmanager
def writing_whole(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Give a path to write to; what is there after the block takes the place of `path`.

    A block that raises leaves what was there before. With `private`, only this user may read it.
    """
    # In the same folder, since a rename does not reach into another file system.
    part = path.with_name(f".part-{secrets.token_hex(8)}")
    try:
        part.touch(0o600 if private else 0o666, exist_ok=False)
        yield part
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
