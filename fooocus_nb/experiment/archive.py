"""Runs that were shared as one file: a zip, or a page. What is in them is data of a stranger.

Nothing is unpacked to read them, names are checked before anything else, and sizes are bounded.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
import secrets
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb.errors import DiskFull, OutputError, RunError
from fooocus_nb.experiment.folder import (
    IMAGES,
    INPUTS,
    LINES,
    MANIFESTS,
    MAX_RECORD,
    RUN_FILE,
    THUMBNAILS,
    checked_header,
    parse_image_name,
    parse_manifest_name,
    parse_record,
    thumbnail_only,
)
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.plain_files import ANY_SIZE, open_plain_file, read_plain_file
from fooocus_nb.results.output_folder import FULL_DISK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fooocus_nb.experiment.folder import Position

__all__ = ["ArchiveStore", "MemorySource", "open_archive", "pack", "restore"]

#: An archive with more entries, or of more bytes, was not written by us.
MAX_ENTRIES = 1_000_000
MAX_PAGE_BYTES = 512 << 20
MAX_RECORDS_BYTES = 1 << 30
MAX_LINES_BYTES = 512 << 20
MAX_THUMBNAIL = 1 << 20
SPARE_DISK = 64 << 20
NOTEBOOK = "notebook.ipynb"
#: What a file manager adds to a zip.
_BESIDE = re.compile(r"(?:^|/)(?:__MACOSX/|\.DS_Store$|\._|Thumbs\.db$|desktop\.ini$)")
_INPUT = re.compile(r"[0-9a-f]{64}\.[a-z0-9]{1,8}")
_LINES = re.compile(rf"(?:{'|'.join(LINES)})(?:-\d{{6,12}})?\.jsonl")
_ARCHIVE = re.compile(
    rb'<script type="application/gzip" id="fnb-archive">([A-Za-z0-9+/=\n]*)</script>'
)
_THUMBNAIL = re.compile(
    rb'<script type="text/plain" id="fnb-thumbnail-([0-9a-z.-]{1,100})">([A-Za-z0-9+/=]*)</script>'
)


class Source(Protocol):
    """The files of an archive, by names that are relative to the run."""

    def sizes(self) -> Mapping[str, int]:
        """Return all names, with the size of each in bytes."""

    def read(self, name: str, limit: int) -> bytes:
        """Return what is in a file; an OSError where it is larger, or cannot be read."""


def is_ours(name: str) -> bool:
    """Whether a run has a file of that name."""
    folder, _, last = name.rpartition("/")
    match folder:
        case "":
            return last in (RUN_FILE, NOTEBOOK) or _LINES.fullmatch(last) is not None
        case "manifests":
            return parse_manifest_name(last) is not None
        case "images":
            return parse_image_name(last) is not None
        case "inputs":
            return _INPUT.fullmatch(last) is not None
        case "thumbnails":
            return parse_image_name(last.removesuffix(".webp")) is not None
    return False


class ArchiveStore:
    """A run in one file, which can only be read. Safe from any thread."""

    writable = False

    def __init__(self, path: Path, source: Source) -> None:
        self.path = path
        self._source = source
        self._sizes = {name: size for name, size in source.sizes().items() if is_ours(name)}
        self._folders: dict[str, dict[str, None]] = {"": {}}
        for name in self._sizes:
            folder, _, last = name.rpartition("/")
            self._folders.setdefault(folder, {})[last] = None

    @property
    def sizes(self) -> Mapping[str, int]:
        """All of its files, with the size of each in bytes."""
        return self._sizes

    def header(self) -> Mapping[str, Any]:
        """Return what ``run.json`` says; a RunError where it is no run that we can read."""
        try:
            found = json.loads(self.read(RUN_FILE))
        except (OSError, ValueError, RecursionError) as error:
            msg = f"{self.path} holds no run that can be read: {error}."
            raise RunError(msg) from error
        return checked_header(found, self.path)

    def names(self, folder: str) -> list[str]:
        """Return the names in one of its folders. An image counts that is a thumbnail only."""
        names = dict(self._folders.get(folder, ()))
        if folder == IMAGES:
            names |= {
                name.removesuffix(".webp"): None for name in self._folders.get(THUMBNAILS, ())
            }
        return list(names)

    def read(self, relative: str, limit: int = MAX_RECORD) -> bytes:
        """Return what is in a file of it."""
        if relative not in self._sizes:
            raise FileNotFoundError(2, "It is not in the archive", relative)
        if self._sizes[relative] > limit:
            msg = f"{relative} is too large: {self._sizes[relative]:,} bytes"
            raise OSError(msg)
        return self._source.read(relative, limit)

    def read_all(self, folder: str, names: Iterable[str]) -> Iterator[tuple[str, bytes | OSError]]:
        """Yield what is in files of a folder, by name, or why that cannot be read."""
        for name in names:
            try:
                yield name, self.read(f"{folder}/{name}")
            except OSError as error:
                yield name, error

    def lines(self, kind: str, position: Position) -> Iterator[dict[str, Any]]:
        """Yield the lines of a kind after a position; what is torn is left out."""
        for name in sorted(self._folders[""]):
            if name != f"{kind}.jsonl" and not name.startswith(f"{kind}-"):
                continue
            try:
                data = self.read(name, MAX_LINES_BYTES)
            except OSError as error:
                msg = f"{name} of {self.path} cannot be read: {error}."
                raise RunError(msg) from error
            start = position.read.get(name, 0)
            for line in data[start:].split(b"\n"):
                start += len(line) + 1
                position.read[name] = min(start, len(data))
                if not line.strip():
                    continue
                if len(line) <= MAX_RECORD and (record := parse_record(line)) is not None:
                    yield record
                else:
                    position.damaged += 1

    def image_path(self, relative: str) -> Path:
        """Raise a RunError: what is in an archive has no path."""
        if relative in self._sizes:
            msg = (
                f"{relative} is inside of {self.path.name}, so it has no path. Unpack the run: "
                f"fooocus_nb.open_run({self.path.name!r}).restore('folder')"
            )
            raise RunError(msg)
        raise thumbnail_only(relative, self.path)

    def thumbnail(self, relative: str) -> bytes | None:
        """Return the thumbnail that stands for an image; None where there is none."""
        name = f"{THUMBNAILS}/{relative.rpartition('/')[2]}.webp"
        try:
            return self.read(name, MAX_THUMBNAIL)
        except OSError:
            return None


class MemorySource:
    """Files in memory, and others that are read when they are asked for."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def sizes(self) -> Mapping[str, int]:
        """Return all names, with the size of each in bytes."""
        return {name: len(data) for name, data in self._files.items()}

    def read(self, name: str, limit: int) -> bytes:
        """Return what is in a file."""
        return self._files[name]


#: How a page begins; a browser that saves one may put a comment before it.
_PAGE = re.compile(rb"(?is)(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)*<!doctype html")


def open_archive(path: Path) -> ArchiveStore:
    """Return the run in a file.

    Raises
    ------
    RunError
        When it is no shared run, is damaged, or holds names that lead out of it.
    """
    try:
        with open_plain_file(path, ANY_SIZE) as file:
            head = file.read(4096)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}."
        raise RunError(msg) from error
    if head.startswith(b"PK"):
        store = ArchiveStore(path, _ZipSource(path))
    elif _PAGE.match(head):
        store = ArchiveStore(path, _page_source(path))
    else:
        msg = (
            f"{path} is a file, and no run that was shared. A run is a folder, or a zip or a page "
            "that Run.share() has made: give another path."
        )
        raise RunError(msg)
    store.header()
    return store


class _ZipSource:
    """The files of a zip, whose names are checked first."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
            infos = self._zip.infolist()
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            msg = f"{path} is damaged: {error}."
            raise RunError(msg) from error
        if len(infos) > MAX_ENTRIES:
            msg = f"{path} has {len(infos):,} entries: that is no run. Nothing was read."
            raise RunError(msg)
        found: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            name = info.orig_filename
            if (why := _refusal(info, name)) is not None:
                msg = (
                    f"{path} is refused: the entry {name[:80]!r} {why}. Nothing was read or "
                    "written."
                )
                raise RunError(msg)
            if name.endswith("/") or _BESIDE.search(name):
                continue
            if name in found:
                msg = f"{path} is refused: the entry {name[:80]!r} is in it twice."
                raise RunError(msg)
            found[name] = info
        roots = [
            name.removesuffix(RUN_FILE)
            for name in found
            if name == RUN_FILE or (name.endswith(f"/{RUN_FILE}") and name.count("/") == 1)
        ]
        if len(roots) != 1:
            what = f"{len(roots)} runs" if roots else f"no run: no {RUN_FILE} is in it"
            msg = f"{path} holds {what}. Give a zip that Run.share() has made."
            raise RunError(msg)
        self._infos = {
            name.removeprefix(roots[0]): info
            for name, info in found.items()
            if name.startswith(roots[0])
        }

    def sizes(self) -> Mapping[str, int]:
        """Return all names, with the size of each in bytes."""
        return {name: info.file_size for name, info in self._infos.items()}

    def read(self, name: str, limit: int) -> bytes:
        """Return what is in a file. What it claims to be large is no proof, so it is counted."""
        try:
            with self._zip.open(self._infos[name]) as file:
                data = file.read(limit + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
            msg = f"{name} is damaged: {error}"
            raise OSError(msg) from error
        except NotImplementedError as error:
            msg = f"{name} is compressed in a way that is not known here"
            raise OSError(msg) from error
        if len(data) > limit:
            msg = f"{name} is too large: over {limit:,} bytes"
            raise OSError(msg)
        return data


def _refusal(info: zipfile.ZipInfo, name: str) -> str | None:
    """Return what is wrong with an entry's name or kind; None where nothing is."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or re.match(r"[A-Za-z]:", name):
        return "leads out of the archive"
    if not name or not name.isprintable() or len(name) > 1000:
        return "has no proper name"
    mode = info.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is no plain file but a link or a device"
    if info.flag_bits & 1:
        return "is encrypted"
    return None


class _PageSource:
    """The files of a page: records in memory, thumbnails where they are."""

    def __init__(self, page: bytes, records: Mapping[str, bytes]) -> None:
        self._page = page
        self._records = records
        self._places = {
            f"{THUMBNAILS}/{found[1].decode('ascii')}.webp": found.span(2)
            for found in _THUMBNAIL.finditer(page)
        }

    def sizes(self) -> Mapping[str, int]:
        """Return all names, with the size of each in bytes."""
        sizes = {name: len(data) for name, data in self._records.items()}
        return sizes | {name: (end - start) * 3 // 4 for name, (start, end) in self._places.items()}

    def read(self, name: str, limit: int) -> bytes:
        """Return what is in a file."""
        if name in self._records:
            return self._records[name]
        start, end = self._places[name]
        try:
            return base64.b64decode(self._page[start:end], validate=True)
        except binascii.Error as error:
            msg = f"{name} is damaged: {error}"
            raise OSError(msg) from error


def _page_source(path: Path) -> _PageSource:
    try:
        page = read_plain_file(path, MAX_PAGE_BYTES)
    except OSError as error:
        msg = f"{path} cannot be read: {error}."
        raise RunError(msg) from error
    found = _ARCHIVE.findall(page)
    if len(found) != 1:
        msg = (
            f"{path} is a page, and holds no run. Was it saved by a browser? Take the file that "
            "Run.share() has made."
        )
        raise RunError(msg)
    try:
        records = unpack(base64.b64decode(found[0]))
    except (binascii.Error, zlib.error, ValueError, RecursionError) as error:
        msg = f"{path} is damaged: {error}."
        raise RunError(msg) from error
    return _PageSource(page, records)


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return text files as one compressed block: a line of JSON for each, so that alike ones pay.

    A file that is no text is in base64.
    """
    compressor = zlib.compressobj(9, wbits=31)
    parts = []
    for name, data in files.items():
        try:
            line = {"name": name, "text": data.decode()}
        except UnicodeDecodeError:
            line = {"name": name, "base64": base64.b64encode(data).decode()}
        parts.append(compressor.compress(json.dumps(line).encode() + b"\n"))
    return b"".join([*parts, compressor.flush()])


def unpack(data: bytes) -> dict[str, bytes]:
    """Return the files in such a block; a ValueError for what is too much."""
    decompressor = zlib.decompressobj(wbits=31)
    text = decompressor.decompress(data, MAX_RECORDS_BYTES)
    if decompressor.unconsumed_tail or not decompressor.eof:
        msg = "it is cut short, or holds more than a run does"
        raise ValueError(msg)
    files: dict[str, bytes] = {}
    for line in text.split(b"\n"):
        if not line:
            continue
        record = json.loads(line)
        name = record["name"] if isinstance(record, dict) else None
        if not isinstance(name, str) or len(files) >= MAX_ENTRIES:
            msg = "it holds something else than files"
            raise ValueError(msg)
        if not is_ours(name):
            continue
        if isinstance(text_ := record.get("text"), str):
            files[name] = text_.encode("utf-8", "surrogatepass")
        else:
            files[name] = base64.b64decode(str(record.get("base64", "")))
    return files


def restore(store: ArchiveStore, folder: Path) -> Path:
    """Unpack a run into a new folder, where it can go on.

    Raises
    ------
    OutputError
        When something is there already, or it cannot be written.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            msg = f"There is something at {folder} already: give a new folder."
            raise OutputError(msg)
        parent = folder.parent
        parent.mkdir(parents=True, exist_ok=True)
        needed, free = sum(store.sizes.values()), shutil.disk_usage(parent).free
        if needed + SPARE_DISK > free:
            msg = f"{store.path.name} unpacks to {needed:,} bytes, and {parent} has {free:,}."
            raise DiskFull(msg)
        part = parent / f".part-{secrets.token_hex(8)}"
        part.mkdir()
        try:
            _write_all(store, part)
            if folder.exists():
                folder.rmdir()  # it is empty
            part.rename(folder)
        except BaseException:
            with contextlib.suppress(OSError):
                shutil.rmtree(part)
            raise
    except OSError as error:
        kind = DiskFull if error.errno in FULL_DISK else OutputError
        msg = f"{store.path} could not be unpacked to {folder}: {error.strerror or error}."
        raise kind(msg) from error
    return folder


def _write_all(store: ArchiveStore, place: Path) -> None:
    for name in (MANIFESTS, IMAGES, INPUTS):
        (place / name).mkdir()
    limit = max(max_file_bytes(), MAX_LINES_BYTES)
    for name in store.sizes:  # each one is a name of ours, so it stays inside
        target = place.joinpath(*name.split("/"))
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(store.read(name, limit))
