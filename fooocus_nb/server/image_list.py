"""The images in the folders of an engine, and the bytes that tell an image from other files."""

from __future__ import annotations

import os
from heapq import nlargest
from typing import TYPE_CHECKING, NamedTuple

from fooocus_nb.engine.grants import grant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["ImageFile", "images_in", "mime_of"]

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp"))
#: The newest of each engine; a folder may hold anything else beside them.
MAX_IMAGES = 10_000
MAX_ENTRIES = 200_000


class ImageFile(NamedTuple):
    """One image of an engine."""

    modified: float
    path: str
    size: int

    def as_dict(self) -> dict[str, object]:
        """Return what is told of it; its `id` is what the other routes ask for."""
        from pathlib import Path

        path = Path(self.path)
        return {
            "id": grant(path),
            "name": path.name,
            "folder": str(path.parent),
            "bytes": self.size,
            "modified": self.modified,
        }


def images_in(folders: Iterable[Path]) -> list[ImageFile]:
    """Return the images of some folders, newest first; one that cannot be read has none."""
    found = (image for folder in folders for image in _images_in(folder))
    return nlargest(MAX_IMAGES, found)


def _images_in(folder: Path) -> Iterator[ImageFile]:
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number >= MAX_ENTRIES:
                    return
                suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
                if suffix not in SUFFIXES or entry.name.startswith("."):
                    continue
                try:
                    # Not through a link: what it leads to is in no folder of the engine's.
                    if entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        yield ImageFile(status.st_mtime, entry.path, status.st_size)
                except OSError:  # gone meanwhile
                    continue
    except OSError:
        return


def mime_of(head: bytes) -> str | None:
    """Return the type of an image by its first bytes; None for what is none of ours."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return None
