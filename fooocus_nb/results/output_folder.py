"""The folder that finished images are copied into, their bytes unchanged."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb.errors import DiskFull, OutputError
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.results.file_names import ImageFacts, folded, image_name, is_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fooocus_nb.results.file_names import NamePattern

__all__ = ["FULL_DISK", "OutputFolder"]

#: The errors of a full disk. A quota is one that is full for one user; not every platform has one.
FULL_DISK = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class OutputFolder:
    """Copies image files into a folder, which is made with the first one.

    Each keeps the name that it has at its source, unless `names` makes it another one.
    """

    def __init__(self, folder: Path, names: NamePattern | None = None) -> None:
        self.folder = folder
        self.names = names
        #: The names in each folder, by what a file system may take for the same.
        self._known: dict[Path, dict[str, str]] = {}
        #: The names of the files at their source.
        self.taken: set[str] = set()

    def same_as(self, other: OutputFolder) -> bool:
        """Whether both put an image into the same place."""
        mine, others = (each.names and each.names.text for each in (self, other))
        return self.folder == other.folder and mine == others

    def require_writable(self) -> None:
        """Raise an OutputError where no image could be copied here, before one is made."""
        there = next(place for place in (self.folder, *self.folder.parents) if _is_there(place))
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            return
        why = "may not be written to" if there.is_dir() else "is a file"
        msg = (
            f"The images could not be copied into {self.folder}: {there} {why}. Nothing has been "
            "generated. Give a folder that can be written to with output_dir=."
        )
        raise OutputError(msg)

    def copy(
        self,
        source: Path,
        facts: ImageFacts | None = None,
        before: Callable[[bytes], None] | None = None,
    ) -> Path:
        """Copy a file; equal bytes are copied once, and no file is ever overwritten.

        `before` is called with its bytes before they are written, and must not raise.
        """
        return self._place(source.name, lambda: _plain_bytes(source), str(source), facts, before)

    def write(
        self,
        name: str,
        data: bytes,
        facts: ImageFacts | None = None,
        before: Callable[[bytes], None] | None = None,
    ) -> Path:
        """Write a file, as :meth:`copy` does."""
        return self._place(Path(name).name, lambda: data, "the server", facts, before)

    def _place(
        self,
        name: str,
        read: Callable[[], bytes],
        origin: str,
        facts: ImageFacts | None,
        before: Callable[[bytes], None] | None,
    ) -> Path:
        try:
            data = read()
            if before is not None:
                before(data)
            self.folder.mkdir(parents=True, exist_ok=True)
            target = self._store(self._wanted(name, facts), data)
        except OSError as error:
            msg = (
                f"The image {name} could not be copied into {self.folder}: {error}. "
                f"It is not lost: the original is still at {origin}."
            )
            kind = DiskFull if error.errno in FULL_DISK else OutputError
            raise kind(msg) from error
        self.taken.add(name)
        return target

    def _wanted(self, name: str, facts: ImageFacts | None) -> Path:
        """Return where an image is to go; its folder is there then."""
        if self.names is None or facts is None:
            return self.folder / image_name(name)
        known = ImageFacts({"name": Path(name).stem, **facts.values}, facts.parameters)
        *folders, stem = self.names.path(known)
        parent = self.folder
        for part in folders:
            parent = self._subfolder(parent, part)
        if not is_inside(parent, self.folder):  # a link leads elsewhere
            parent = self.folder
        return parent / f"{stem}{Path(image_name(name)).suffix}"

    def _subfolder(self, parent: Path, name: str) -> Path:
        """Make and return a folder, or the one that a file system may take for it."""
        number, candidate = 1, name
        while True:
            folder = parent / (self._taken_as(parent, candidate) or candidate)
            if folder.is_dir():
                return folder
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                self._names_in(parent)[folded(folder.name)] = folder.name
                return folder
            number += 1
            candidate = f"{name}-{number}"

    def _names_in(self, folder: Path) -> dict[str, str]:
        if folder not in self._known:
            names: list[str] = []
            with contextlib.suppress(OSError):  # one may write into a folder that one cannot list
                names = os.listdir(folder)  # noqa: PTH208 - only the names are needed
            self._known[folder] = {folded(name): name for name in names}
        return self._known[folder]

    def _taken_as(self, folder: Path, name: str) -> str | None:
        """Return the name in the folder that a file system may take for this one."""
        names = self._names_in(folder)
        there = names.get(folded(name))
        if there is not None and not os.path.lexists(folder / there):
            del names[folded(name)]  # somebody has removed it
            return None
        return there

    def _store(self, wanted: Path, data: bytes) -> Path:
        try:
            with self._part(data) as part:
                return self._name(wanted, data, lambda target: _rename(part, target))
        except OSError as error:
            if error.errno in FULL_DISK:
                raise
            # A mounted bucket refuses much of this, and takes a new file all the same. That it may
            # be seen half written is better than no image.
            return self._name(wanted, data, lambda target: _create(target, data))

    @contextlib.contextmanager
    def _part(self, data: bytes) -> Iterator[Path]:
        """Yield a temporary file in the folder, so that no partial image is ever seen."""
        part = self.folder / f".part-{secrets.token_hex(8)}"
        # Not mkstemp: its files are their owner's alone, and here the umask decides.
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with open(handle, "wb") as file:  # noqa: PTH123 - it is open already
                file.write(data)
            yield part
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def _name(self, wanted: Path, data: bytes, claim: Callable[[Path], bool]) -> Path:
        """Give the image its name, with a number if another one has that name."""
        number, target = 1, wanted
        while True:
            there = self._taken_as(target.parent, target.name)
            if there is None and claim(target):
                self._names_in(target.parent)[folded(target.name)] = target.name
                return target
            target = target.with_name(there or target.name)
            if _holds(target, data):
                return target
            number += 1
            target = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")


def _plain_bytes(source: Path) -> bytes:
    return read_plain_file(source, max_file_bytes())


def _holds(path: Path, data: bytes) -> bool:
    """Whether a plain file has these bytes."""
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def _is_there(path: Path) -> bool:
    return os.access(path, os.F_OK)  # pathlib raises for a folder that may not be searched


def _rename(part: Path, target: Path) -> bool:
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


def _create(target: Path, data: bytes) -> bool:
    """Write a file under its own name unless that is taken."""
    try:
        file = target.open("xb")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(data)
    except BaseException:
        with contextlib.suppress(OSError):
            target.unlink()
        raise
    return True
