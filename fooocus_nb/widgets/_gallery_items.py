"""The entries of a gallery, and the thread that reads their files and makes thumbnails."""

from __future__ import annotations

import os
import re
import struct
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb._html import clean, clip, parameter_rows
from fooocus_nb.engine.grants import grant
from fooocus_nb.errors import FooocusError, ParameterError
from fooocus_nb.fooocus.given import path_of, shown
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.metadata import read_log, read_metadata
from fooocus_nb.fooocus.plain_files import UnfitFileError, open_plain_file
from fooocus_nb.results import Image, Result
from fooocus_nb.results.thumbnails import webp_thumbnail
from fooocus_nb.widgets._byte_cache import ByteCache
from fooocus_nb.widgets._requests import RequestThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["MIME", "GalleryItem", "Items", "Worker", "items_of"]

MIME = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
MAX_IMAGES = 10_000
#: The length of a parameter's value on a card; the details show all of it.
MAX_CARD_VALUE = 120
MAX_CARD_PROMPT = 300

_SEED = re.compile(r"\d{1,20}", re.ASCII)
#: What Pillow raises at files that are no images, or hostile ones.
_UNREADABLE = (OSError, ValueError, SyntaxError, struct.error, MemoryError)

THUMBNAIL_SIDE = 320
THUMBNAIL_BYTES = 16_000
CACHE_BYTES = 32 << 20
#: How many cards or thumbnails go into one message.
CARDS_AT_ONCE = 100
THUMBNAILS_AT_ONCE = 6
#: A page shows no more at once; requests beyond that are outdated.
MAX_REQUESTED = 200


@dataclass
class GalleryItem:
    """One image of a gallery, with a number that never changes."""

    number: int
    path: Path
    #: None until somebody asks how the file was made.
    image: Image | None = None
    #: What the card shows; empty until the file has been read.
    facts: dict[str, Any] = field(default_factory=dict)


def items_of(source: Any, *, recursive: bool = True) -> Iterator[Path | Image]:
    """Iterate the images of a source; those of a folder come newest first."""
    if isinstance(source, Image):
        yield source
    elif isinstance(source, (str, os.PathLike)):
        path = _expanded(source)
        kind = _kind(path)
        if kind == "folder":
            yield from _images_in(path, recursive=recursive)
        elif kind == "file":
            yield path
        else:
            msg = (
                f"gallery(source={shown(str(path))}): there is no folder and no file of that name."
            )
            raise ParameterError(msg)
    elif isinstance(source, Result) or hasattr(source, "__iter__"):
        for part in source:
            # A file of a list may be missing: then its card says so, and the others show.
            if isinstance(part, (str, os.PathLike)) and not isinstance(part, Image):
                path = _expanded(part)
                folder = _kind(path) == "folder"
                yield from items_of(path, recursive=recursive) if folder else (path,)
            else:
                yield from items_of(part, recursive=recursive)
    else:
        msg = (
            f"gallery(source={shown(source)}): it must be a folder, a file, an Image, a "
            "Result, or a list of these."
        )
        raise ParameterError(msg)


def _kind(path: Path) -> str:
    try:
        return "folder" if path.is_dir() else "file" if path.is_file() else ""
    except OSError:  # a name that is too long
        return ""


def _expanded(path: str | os.PathLike[str]) -> Path:
    plain = path_of("gallery(source)", path, ParameterError)
    try:
        return plain.expanduser()
    except RuntimeError as error:
        where = os.fspath(plain)
        msg = f"gallery(source={where!r}): nothing tells where that home is. Give the whole path."
        raise ParameterError(msg) from error


def _images_in(folder: Path, *, recursive: bool) -> list[Path]:
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
        self._entries: list[GalleryItem] = []
        self._by_path: dict[Path, GalleryItem] = {}
        self._logs: dict[Path, Mapping[str, Mapping[str, Any]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[GalleryItem]:
        return iter(self._entries[:])

    def get(self, number: object) -> GalleryItem | None:
        """Return the entry of that number; None where there is none."""
        entries = self._entries
        if isinstance(number, int) and 0 <= number < len(entries):
            return entries[number]
        return None

    def add(self, things: Iterable[Path | Image]) -> list[GalleryItem]:
        """Add images and files, and return the new and changed entries."""
        changed: list[GalleryItem] = []
        with self._lock:
            for thing in things:
                path = thing.path if isinstance(thing, Image) else thing
                image = thing if isinstance(thing, Image) else None
                entry = self._by_path.get(path)
                if entry is None:
                    if len(self._entries) >= MAX_IMAGES:
                        break
                    entry = GalleryItem(len(self._entries), path, image)
                    self._entries.append(entry)
                    self._by_path[path] = entry
                elif image is not None and image is not entry.image:
                    entry.image, entry.facts = image, {}
                else:
                    continue
                changed.append(entry)
        return changed

    def entry_of(self, thing: object) -> GalleryItem | None:
        """Return the entry of an image or a file; None where there is none."""
        if isinstance(thing, (Image, str, os.PathLike)):
            return self._by_path.get(Path(thing))
        return None

    def image(self, entry: GalleryItem) -> Image:
        """Return the image of an entry, with the parameters that its file records."""
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
        """Return the parameters of a file, from its metadata or the log page beside it."""
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

    def card(self, entry: GalleryItem) -> dict[str, Any]:
        """Return the content of an entry's card, as far as it is known."""
        return {"id": entry.number, "name": clip(entry.path.name, 200), **entry.facts}

    def read(self, entry: GalleryItem) -> None:
        """Read an entry's file, and store the content of its card."""
        import PIL.Image

        try:
            with open_plain_file(entry.path, max_file_bytes()) as file:
                status = os.fstat(file.fileno())
                with PIL.Image.open(file) as opened:
                    width, height = opened.size
        except (*_UNREADABLE, PIL.Image.DecompressionBombError) as error:
            entry.facts = {"error": _reason(error)}
            return
        image = self.image(entry)
        rows = parameter_rows(image.parameters)
        entry.facts = {
            "grant": grant(entry.path),
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


class Worker:
    """Reads a gallery's files and makes its thumbnails; safe from any thread."""

    def __init__(self, items: Items, send: Callable[[dict[str, Any], list[bytes]], None]) -> None:
        self._items = items
        self._send = send
        self._thumbnails: ByteCache[int] = ByteCache(CACHE_BYTES)
        self._requests: RequestThread[GalleryItem] = RequestThread(
            "fooocus-nb-gallery",
            self._send_thumbnails,
            THUMBNAILS_AT_ONCE,
            serve_rest=self._read_and_send,
            rest_at_once=CARDS_AT_ONCE,
        )

    def submit(self, work: Callable[[], None]) -> None:
        """Run this next."""
        self._requests.submit(work)

    def request_thumbnails(self, entries: Iterable[GalleryItem]) -> None:
        """Make and send these thumbnails, instead of those that were requested before."""
        self._requests.request(list(entries)[:MAX_REQUESTED])

    def read(self, entries: Iterable[GalleryItem]) -> None:
        """Read these files and send their cards, when nothing else is requested."""
        unread = list(entries)
        if len(unread) > CARDS_AT_ONCE:  # names first, so that each has its place
            self.submit(lambda: self._send_cards(unread))
        self._requests.add_rest(unread)

    def close(self) -> None:
        """Drop all requests, and accept no more."""
        self._requests.close()

    def _read_and_send(self, entries: list[GalleryItem]) -> None:
        for entry in entries:
            if not entry.facts:
                self._items.read(entry)
        self._send_cards(entries)

    def _send_cards(self, entries: list[GalleryItem]) -> None:
        cards = [self._items.card(entry) for entry in entries]
        self._send({"kind": "cards", "total": len(self._items), "cards": cards}, [])

    def _send_thumbnails(self, entries: list[GalleryItem]) -> None:
        made = [(entry.number, data) for entry in entries if (data := self.thumbnail(entry))]
        if made:
            numbers = [number for number, _ in made]
            self._send({"kind": "thumbs", "ids": numbers}, [data for _, data in made])

    def thumbnail(self, entry: GalleryItem) -> bytes:
        """Return a small WebP of an entry; empty where its file cannot be read."""
        import PIL.Image

        known = self._thumbnails.get(entry.number)
        if known is not None:
            return known
        try:
            data = webp_thumbnail(entry.path, THUMBNAIL_SIDE, THUMBNAIL_BYTES)
        except (*_UNREADABLE, PIL.Image.DecompressionBombError):
            self._items.read(entry)
            entry.facts.setdefault("error", "No image that can be read.")
            self._send_cards([entry])
            return b""
        self._thumbnails.put(entry.number, data)
        return data


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "The file is no longer there."
    if isinstance(error, PermissionError):
        return "The file may not be read."
    if isinstance(error, UnfitFileError):
        return clean(f"{error}.")
    return clean(f"No image that can be read ({type(error).__name__}).")
