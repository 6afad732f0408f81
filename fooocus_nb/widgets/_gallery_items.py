"""What a gallery shows: images or files, each with what can be said of it. Nothing here raises."""

from __future__ import annotations

import os
import re
import struct
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb._html import clean, clip, parameter_rows
from fooocus_nb.errors import FooocusError, ParameterError
from fooocus_nb.fooocus.metadata import read_log, read_metadata
from fooocus_nb.results import Image, Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["MIME", "Entry", "Items", "entries_of", "unreadable"]

MIME = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
MAX_IMAGES = 10_000
#: What a card says of a parameter; the details say more.
MAX_CARD_VALUE = 120
MAX_CARD_PROMPT = 300

_SEED = re.compile(r"\d{1,20}", re.ASCII)
#: What Pillow raises at files that are no pictures, or hostile ones.
unreadable = (OSError, ValueError, SyntaxError, struct.error, MemoryError)


@dataclass
class Entry:
    """One image of a gallery.

    Attributes
    ----------
    number : int
        Its number in the gallery, which never changes.
    path : Path
        The file.
    image : Image or None
        The image, once what made it is known.
    facts : dict
        What its card says; empty until its file has been looked at.
    """

    number: int
    path: Path
    image: Image | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def entries_of(source: Any, *, recursive: bool = True) -> Iterator[Path | Image]:
    """Iterate what a source holds.

    Parameters
    ----------
    source : path-like, Image, Result, or an iterable of these
        A folder stands for the pictures in it, newest first.
    recursive : bool, optional
        Whether that includes the folders in it.

    Yields
    ------
    Path or Image
        In order.

    Raises
    ------
    ParameterError
        When there is nothing of that name, or it is none of these.
    """
    if isinstance(source, Image):
        yield source
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser()
        if path.is_dir():
            yield from _pictures_in(path, recursive=recursive)
        elif path.is_file():
            yield path
        else:
            msg = f"gallery(source={str(source)!r}): there is no folder and no file of that name."
            raise ParameterError(msg)
    elif isinstance(source, Result) or hasattr(source, "__iter__"):
        for part in source:
            # A file of a list may be gone: then its card says so, and the others show.
            if isinstance(part, (str, os.PathLike)) and not isinstance(part, Image):
                path = Path(part).expanduser()
                yield from entries_of(path, recursive=recursive) if path.is_dir() else (path,)
            else:
                yield from entries_of(part, recursive=recursive)
    else:
        msg = (
            f"gallery(source={clip(repr(source), 80)}): it must be a folder, a file, an Image, a "
            "Result, or a list of these."
        )
        raise ParameterError(msg)


def _pictures_in(folder: Path, *, recursive: bool) -> list[Path]:
    found: list[tuple[float, Path]] = []
    for place, folders, names in os.walk(folder, onerror=None):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and recursive)
        for name in names:
            if Path(name).suffix.lower() in MIME and not name.startswith("."):
                path = Path(place, name)
                found.append((_modified(path), path))
    found.sort(key=lambda pair: (-pair[0], str(pair[1])))
    return [path for _, path in found[:MAX_IMAGES]]


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


class Items:
    """The entries of a gallery. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._entries: list[Entry] = []
        self._by_path: dict[Path, Entry] = {}
        self._logs: dict[Path, Mapping[str, Mapping[str, Any]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries[:])

    def get(self, number: object) -> Entry | None:
        """Return the entry of that number; None where there is none."""
        entries = self._entries
        if isinstance(number, int) and 0 <= number < len(entries):
            return entries[number]
        return None

    def add(self, things: Iterable[Path | Image]) -> list[Entry]:
        """Add images and files, and return the entries that are new or changed.

        Parameters
        ----------
        things : iterable of Path or Image
            One that is in it already, by its file, is not added again.
        """
        changed: list[Entry] = []
        with self._lock:
            for thing in things:
                path = thing.path if isinstance(thing, Image) else thing
                image = thing if isinstance(thing, Image) else None
                entry = self._by_path.get(path)
                if entry is None:
                    if len(self._entries) >= MAX_IMAGES:
                        break
                    entry = Entry(len(self._entries), path, image)
                    self._entries.append(entry)
                    self._by_path[path] = entry
                elif image is not None and image is not entry.image:
                    entry.image, entry.facts = image, {}
                else:
                    continue
                changed.append(entry)
        return changed

    def entry_of(self, thing: object) -> Entry | None:
        """Return the entry of an image or a file; None where it is not in here."""
        if isinstance(thing, (Image, str, os.PathLike)):
            return self._by_path.get(Path(thing))
        return None

    def image(self, entry: Entry) -> Image:
        """Return the image of an entry, with what its file says about how it was made."""
        with self._lock:
            if entry.image is None:
                parameters = self._parameters(entry.path)
                seed = str(parameters.get("image_seed", ""))  # text in a file, as in JavaScript
                entry.image = Image(
                    entry.path,
                    seed=int(seed) if _SEED.fullmatch(seed) else None,
                    parameters=parameters,
                )
            return entry.image

    def _parameters(self, path: Path) -> Mapping[str, Any]:
        """Return what made a file: the file says it, or the log page beside it."""
        try:
            return read_metadata(path).parameters
        except FooocusError:
            pass
        folder = path.parent
        if folder not in self._logs:
            try:
                entries = read_log(folder / "log.html")
            except FooocusError:
                entries = []
            self._logs[folder] = {entry.path.name: entry.metadata.parameters for entry in entries}
        return self._logs[folder].get(path.name, {})

    def card(self, entry: Entry) -> dict[str, Any]:
        """Return what a card says of an entry, as far as that is known."""
        return {"id": entry.number, "name": clip(entry.path.name, 200), **entry.facts}

    def look(self, entry: Entry) -> None:
        """Look at an entry's file, and keep what its card says."""
        import PIL.Image

        try:
            status = entry.path.stat()
            with PIL.Image.open(entry.path) as picture:
                width, height = picture.size
        except (*unreadable, PIL.Image.DecompressionBombError) as error:
            entry.facts = {"error": _reason(error)}
            return
        image = self.image(entry)
        rows = parameter_rows(image.parameters)
        entry.facts = {
            "seed": "" if image.seed is None else str(image.seed),
            "width": width,
            "height": height,
            "bytes": status.st_size,
            "date": status.st_mtime,
            "prompt": clip(image.parameters.get("prompt", ""), MAX_CARD_PROMPT),
            "rows": [
                [clip(name, 60), clip(value, MAX_CARD_VALUE)]
                for name, value in rows
                if name not in ("prompt", "image_seed")
            ],
        }


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "The file is no longer there."
    if isinstance(error, PermissionError):
        return "The file may not be read."
    return clean(f"No picture that can be read ({type(error).__name__}).")
