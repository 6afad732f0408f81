"""The folder that finished images are copied into, their bytes unchanged."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb._limits import max_file_bytes
from fooocus_nb._plain_files import open_plain_file
from fooocus_nb.errors import DiskFull, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["OutputFolder"]

#: A quota is a disk that is full for one user; not every platform has one.
FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class OutputFolder:
    """Copies image files into a folder, which is made with the first one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        #: The names of the files at their source.
        self.taken: set[str] = set()

    def copy(self, source: Path) -> Path:
        """Copy a file; equal bytes are copied once, and no file is ever overwritten."""
        return self._place(source.name, lambda part: _copy_plain(source, part), str(source))

    def write(self, name: str, data: bytes) -> Path:
        """Write a file, as :meth:`copy` does."""
        return self._place(Path(name).name, lambda part: part.write_bytes(data), "the server")

    def _place(self, name: str, fill: Callable[[Path], object], origin: str) -> Path:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._part() as part:
                fill(part)
                target = self._rename(part, name)
        except OSError as error:
            msg = (
                f"The image {name} could not be copied into {self.folder}: {error}. "
                f"It is not lost: the original is still at {origin}."
            )
            kind = DiskFull if error.errno in FULL else OutputError
            raise kind(msg) from error
        self.taken.add(name)
        return target

    @contextlib.contextmanager
    def _part(self) -> Iterator[Path]:
        """Yield a temporary file in the folder, so that no partial image is ever seen."""
        part = self.folder / f".part-{secrets.token_hex(8)}"
        # Not mkstemp: its files are their owner's alone, and here the umask decides.
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)

    def _rename(self, part: Path, name: str) -> Path:
        """Rename the file to its name, with a number if another image has that name."""
        wanted = Path(name)
        number = 1
        target = self.folder / wanted.name
        while not _claim(part, target):
            if target.is_file() and filecmp.cmp(part, target, shallow=False):
                return target
            number += 1
            target = self.folder / f"{wanted.stem}-{number}{wanted.suffix}"
        return target


def _copy_plain(source: Path, part: Path) -> None:
    with open_plain_file(source, max_file_bytes()) as stream, part.open("wb") as copy:
        shutil.copyfileobj(stream, copy)


def _claim(part: Path, target: Path) -> bool:
    """Rename a finished file unless the name is taken, also by another kernel right now."""
    try:
        os.link(part, target)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links, such as a mounted cloud drive
        if os.path.lexists(target):
            return False
        part.replace(target)
    return True
