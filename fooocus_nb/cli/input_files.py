"""The image files that a command begins with: named one by one, or all of a folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb.cli.command import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["file_hash", "image_files", "is_list"]

#: What a folder is searched for: what Fooocus takes, by the endings of the names.
ENDINGS = frozenset({".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MAX_FILES = 100_000


def image_files(words: Sequence[str], output: str | None) -> list[Path]:
    """Return the files that are named, and the images in the folders that are named, sorted.

    `output` is where the command writes: it cannot be a folder that it reads.
    """
    if not words:
        msg = "the IMAGE is missing: give files or folders"
        raise UsageError(msg)
    found: list[Path] = []
    for word in words:
        path = _path(word)
        if path.is_dir():
            if output is not None and path.resolve() == _path(output).resolve():
                msg = f"-o {output}: {word} is read, so the output needs another folder"
                raise UsageError(msg)
            found += _images_in(path, word)
        elif path.exists():
            found.append(path)
        else:
            msg = f"there is no file and no folder {word!r}"
            raise UsageError(msg)
    if len(found) > MAX_FILES:
        msg = f"{len(found)} images are too many for one command: {MAX_FILES} are allowed"
        raise UsageError(msg)
    return found


def is_list(words: Iterable[str], files: Sequence[Path]) -> bool:
    """Whether there is more than one file to do, or a folder."""
    return len(files) > 1 or any(_path(word).is_dir() for word in words)


def _path(word: str) -> Path:
    try:
        return Path(word).expanduser()
    except RuntimeError:
        msg = f"{word}: nothing tells where that home is"
        raise UsageError(msg) from None


def _images_in(folder: Path, word: str) -> list[Path]:
    try:
        found = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in ENDINGS and path.name[:1] != "." and path.is_file()
        )
    except OSError as error:
        raise UsageError(f"{word}: {error.strerror or error}") from None
    if not found:
        msg = f"there is no image in {word}"
        raise UsageError(msg)
    return found


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file that is an input."""
    from fooocus_nb.fooocus.limits import max_file_bytes
    from fooocus_nb.fooocus.plain_files import read_plain_file

    try:
        return hashlib.sha256(read_plain_file(path, max_file_bytes())).hexdigest()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
