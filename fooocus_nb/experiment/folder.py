"""The folder of a run: plain files, never half there, and read without what is torn.

Nothing here needs locks, links, permissions or an atomic rename, so a network share or a mounted
bucket will do. Paths inside are relative, POSIX and ASCII.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import stat
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb.errors import DiskFull, OutputError, ParameterError, RunError
from fooocus_nb.fooocus.given import path_of, shown
from fooocus_nb.fooocus.plain_files import ANY_SIZE, open_plain_file, read_plain_file
from fooocus_nb.results.output_folder import FULL_DISK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "FORMAT",
    "RUN_FILE",
    "VERSION",
    "Position",
    "RunFolder",
    "RunStore",
    "dump",
    "dump_spread",
    "finite",
    "image_name",
    "manifest_name",
    "now",
    "parse_image_name",
    "parse_manifest_name",
    "parse_record",
    "resolved",
    "safe_relative",
    "thumbnail_only",
]

FORMAT = "fooocus-nb run"
#: Of the layout. A newer one is refused: it may hold what must not be lost.
VERSION = 1
RUN_FILE = "run.json"
MANIFESTS, IMAGES, INPUTS = "manifests", "images", "inputs"
#: Small copies that stand for images, in a run that came from somebody without them.
THUMBNAILS = "thumbnails"
#: The files of lines, each only ever added to.
LINES = ("engines", "plan", "attempts", "ratings", "measures")
#: A line or a manifest that is larger was not written by us.
MAX_RECORD = 8 << 20
_READ_BYTES = 8 << 20
MAX_THUMBNAIL = 1 << 20
_PART = re.compile(r"\.part-[0-9a-f]{16}")
_MANIFEST = re.compile(r"(\d{6,12})-([0-9a-f]{8})\.json")
_IMAGE = re.compile(r"(\d{6,12})-([0-9a-f]{8})-(\d{1,6})\.([a-z0-9]{1,8})")
_SEGMENT = re.compile(r"([a-z]+)-(\d{6,12})\.jsonl")
#: Folders of a run, of which leftovers of a killed writer are removed.
_FOLDERS = ("", MANIFESTS, IMAGES, INPUTS)


def now() -> str:
    """Return the time in UTC, to the millisecond: ``2026-01-31T12:00:00.000Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def dump(value: Any) -> str:
    """Return a value as JSON in one line.

    Raises a ValueError for what is no number, such as the infinite PSNR of equal images: write
    None and a reason instead; see :func:`finite`.
    """
    return _in_utf8(value, _COMPACT, _COMPACT_ASCII)


def dump_spread(value: Any) -> str:
    """Return a value as JSON with each of its entries, and of theirs, on a line of its own."""
    return _in_utf8(value, _SPREAD, _SPREAD_ASCII)


def _in_utf8(value: Any, encoder: json.JSONEncoder, ascii_encoder: json.JSONEncoder) -> str:
    text = encoder.encode(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair, which no file in UTF-8 can hold
        return ascii_encoder.encode(value)
    return text


# Made once: to make one takes longer than most of what it encodes.
_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_COMPACT_ASCII = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_SPREAD = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",\n ", ":"))
_SPREAD_ASCII = json.JSONEncoder(allow_nan=False, separators=(",\n ", ":"))


def finite(value: float | None) -> tuple[float | None, str | None]:
    """Return a number as JSON can hold it, and in words why it is none."""
    if value is None or (value == value and abs(value) != float("inf")):
        return value, None
    return None, "not a number" if value != value else "infinite"


def manifest_name(number: int, attempt: str) -> str:
    """Return the file name of a manifest in its folder."""
    return f"{number:06d}-{attempt[:8]}.json"


def image_name(number: int, attempt: str, order: int, kind: str) -> str:
    """Return the file name of an image in its folder; `order` counts from 1."""
    return f"{number:06d}-{attempt[:8]}-{order}.{kind}"


def parse_manifest_name(name: str) -> tuple[int, str] | None:
    """Return number and attempt (8 digits) of a manifest's file name; None for another file."""
    found = _MANIFEST.fullmatch(name)
    return (int(found[1]), found[2]) if found else None


def parse_image_name(name: str) -> tuple[int, str, int] | None:
    """Return number, attempt (8 digits) and order of an image's file name; None for another."""
    found = _IMAGE.fullmatch(name)
    return (int(found[1]), found[2], int(found[3])) if found else None


def parse_record(line: bytes) -> dict[str, Any] | None:
    """Return what a line of a journal holds; None where it is torn."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def resolved(path: str | os.PathLike[str], name: str) -> Path:
    """Return the absolute path that was given as the parameter `name`, or raise a RunError."""
    try:
        place = path_of(name, path, RunError).expanduser().resolve()
        place.is_file()  # raises for a name that no system takes
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        msg = f"{name}={shown(path)} is no path that can be used: {error}."
        raise RunError(msg) from error
    return place


def given_path(path: str | os.PathLike[str], name: str) -> Path:
    """Return a path that was given as the parameter `name`, or raise a ParameterError."""
    given = path_of(name, path, ParameterError)
    try:
        return given.expanduser()
    except RuntimeError as error:  # an unknown user's home
        msg = f"{name}={shown(path)} is no path that can be used: {error}"
        raise ParameterError(msg.removesuffix(".") + ".") from error


def safe_relative(path: object) -> str:
    """Return a path that stays inside of the run; raise a ValueError for any other."""
    if not isinstance(path, str) or not path or len(path) > 500 or not path.isascii():
        msg = f"{str(path)[:80]!r} is no path inside of a run"
        raise ValueError(msg)
    pure = PurePosixPath(path)
    odd = any(sign in path for sign in '\\:*?"<>|\0') or not path.isprintable()
    if odd or pure.is_absolute() or ".." in pure.parts or str(pure) != path or path == ".":
        msg = f"{path[:80]!r} is no path inside of a run"
        raise ValueError(msg)
    return path


@dataclass
class Position:
    """How far the lines of a kind have been read: bytes by file name."""

    read: dict[str, int] = field(default_factory=dict)
    #: Whole lines that could not be understood.
    damaged: int = 0


@dataclass(frozen=True)
class Appended:
    """Lines that were just added: the file, where in it they begin, and their bytes."""

    name: str
    start: int
    data: bytes


class RunStore(Protocol):
    """What a run is read from: a folder, or an archive of one."""

    @property
    def path(self) -> Path:
        """Where it is."""

    @property
    def writable(self) -> bool:
        """Whether it can be written to at all; an archive cannot."""

    def header(self) -> Mapping[str, Any]:
        """Return what ``run.json`` says."""

    def names(self, folder: str) -> list[str]:
        """Return the names in one of its folders, such as ``manifests``; none where it is not."""

    def read(self, relative: str, limit: int = MAX_RECORD) -> bytes:
        """Return what is in a file of it; an OSError where it cannot be read."""

    def read_all(self, folder: str, names: Iterable[str]) -> Iterator[tuple[str, bytes | OSError]]:
        """Yield what is in files of a folder, by name, or why that cannot be read."""

    def lines(self, kind: str, position: Position) -> Iterator[dict[str, Any]]:
        """Yield the lines of a kind that come after a position, and move that on."""

    def image_path(self, relative: str) -> Path:
        """Return the file of an image; a RunError where only a thumbnail is there."""

    def thumbnail(self, relative: str) -> bytes | None:
        """Return the thumbnail that stands for an image; None where there is none."""


class RunFolder:
    """A run in a folder. Safe from any thread; it is for the lease to keep other writers out."""

    writable = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        #: The kinds of which a file cannot be appended to, with the number of the next segment.
        self._segments: dict[str, int] = {}
        self._mended: set[str] = set()

    # -- what it is -------------------------------------------------------------------------

    def create(self) -> None:
        """Make a new run of an empty folder, or of one that is not there."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for name in (MANIFESTS, IMAGES, INPUTS):
                (self.path / name).mkdir(exist_ok=True)
        except OSError as error:
            raise self._failed("made", error) from error
        header = {
            "format": FORMAT,
            "version": VERSION,
            "id": secrets.token_hex(16),
            "created": now(),
            "sweep": None,
        }
        self.write(RUN_FILE, (json.dumps(header, indent=1) + "\n").encode())

    def exists(self) -> bool:
        """Whether there is a run here.

        Raises a RunError where something else is, which is never mixed with a run.
        """
        try:
            if (self.path / RUN_FILE).is_file():
                return True
            if not self.path.exists():
                return False
            if not self.path.is_dir():
                msg = f"{self.path} is a file. A run is a folder: give another path."
                raise RunError(msg)
            there = sorted(name for name in self.names("") if not _PART.fullmatch(name))
        except OSError as error:
            msg = f"The run {self.path} cannot be read: {error.strerror or error}."
            raise RunError(msg) from error
        # A run whose making was cut short is made again; hidden files, such as those of file
        # managers, count as nothing.
        ours = {MANIFESTS, IMAGES, INPUTS, "lease", "index.sqlite"}
        others = [name for name in there if name not in ours and not name.startswith(".")]
        if others or any(self.names(name) for name in (MANIFESTS, IMAGES)):
            named = ", ".join(repr(name) for name in others[:3]) or "files without a run.json"
            msg = (
                f"{self.path} is no run: it has no {RUN_FILE}, and it holds {named}. "
                "Give a folder of its own, which is made where there is none."
            )
            raise RunError(msg)
        return False

    def header(self) -> Mapping[str, Any]:
        """Return what ``run.json`` says; a RunError where it is no run that we can read."""
        try:
            found = json.loads(self.read(RUN_FILE))
        except OSError as error:
            msg = f"The run {self.path} cannot be read: {error.strerror or error}."
            raise RunError(msg) from error
        except (ValueError, RecursionError) as error:
            msg = (
                f"{self.path / RUN_FILE} is damaged: {error}. Everything else of the run is "
                "there: restore this one file from a copy."
            )
            raise RunError(msg) from error
        return checked_header(found, self.path)

    # -- reading ----------------------------------------------------------------------------

    def names(self, folder: str) -> list[str]:
        """Return the names in one of its folders; none where there is no such folder."""
        try:
            found = os.listdir(self.path / folder if folder else self.path)  # noqa: PTH208 - names
            if folder == IMAGES:
                found += self._only_thumbnails(found)
            return found
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            msg = f"The run {self.path} cannot be read: {error.strerror or error}."
            raise RunError(msg) from error

    def _only_thumbnails(self, originals: list[str]) -> list[str]:
        """Return the names of images for which only thumbnails are there."""
        small = [name.removesuffix(".webp") for name in self.names(THUMBNAILS)]
        known = set(originals)
        return [name for name in small if name not in known and _IMAGE.fullmatch(name)]

    def read(self, relative: str, limit: int = MAX_RECORD) -> bytes:
        """Return what is in a file; an OSError where it cannot be read or lies elsewhere."""
        return read_plain_file(self._place(relative), limit)

    def read_all(self, folder: str, names: Iterable[str]) -> Iterator[tuple[str, bytes | OSError]]:
        """Yield what is in files of a folder, by name, or why that cannot be read."""
        # As read(), with a third of its calls: of 100,000 manifests that is seconds.
        place = os.fspath(self.path / folder)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        nofollow = getattr(os, "O_NOFOLLOW", None)
        for name in names:
            try:
                if nofollow is None:
                    yield name, self.read(f"{folder}/{name}")
                    continue
                handle = os.open(f"{place}/{name}", flags | nofollow | getattr(os, "O_CLOEXEC", 0))
                try:
                    status = os.fstat(handle)
                    if stat.S_ISREG(status.st_mode) and status.st_size <= _READ_BYTES:
                        data = os.read(handle, status.st_size + 1)
                        if len(data) == status.st_size:
                            yield name, data
                            continue
                finally:
                    os.close(handle)
            except OSError:
                pass  # a link, perhaps
            try:
                yield name, self.read(f"{folder}/{name}")
            except (OSError, ValueError) as error:
                yield name, error if isinstance(error, OSError) else OSError(str(error))

    def image_path(self, relative: str) -> Path:
        """Return the file at a path of the run; an OSError where a link leads out of it.

        Raises a RunError where only a thumbnail is there, in a run that came from somebody else.
        """
        path = self._place(relative)
        if not path.exists() and self.thumbnail(relative) is not None:
            raise thumbnail_only(relative, self.path)
        return path

    def thumbnail(self, relative: str) -> bytes | None:
        """Return the thumbnail that stands for an image; None where there is none."""
        name = f"{THUMBNAILS}/{relative.rpartition('/')[2]}.webp"
        try:
            return read_plain_file(self._place(name), MAX_THUMBNAIL)
        except (OSError, ValueError):
            return None

    def _place(self, relative: str) -> Path:
        path = self.path / safe_relative(relative)
        if path.is_symlink():
            target = Path(os.path.realpath(path))
            # git-annex keeps the files of a folder beside it, behind links.
            annexed = "/.git/annex/objects/" in target.as_posix()
            if not annexed and not target.is_relative_to(os.path.realpath(self.path)):
                msg = f"{relative} leads out of the run"
                raise PermissionError(errno.EPERM, msg)
        return path

    def lines(self, kind: str, position: Position) -> Iterator[dict[str, Any]]:
        """Yield the lines of a kind after a position; what is torn is left out."""
        for name in self._line_files(kind):
            yield from self._lines_of(name, position)

    def _line_files(self, kind: str) -> list[str]:
        segments = []
        for name in self.names(""):
            found = _SEGMENT.fullmatch(name)
            if found and found[1] == kind:
                segments.append((int(found[2]), name))
        return [f"{kind}.jsonl", *(name for _, name in sorted(segments))]

    def _lines_of(self, name: str, position: Position) -> Iterator[dict[str, Any]]:
        try:
            file = open_plain_file(self.path / name, ANY_SIZE)
        except FileNotFoundError:
            return
        except OSError as error:
            msg = f"{self.path / name} cannot be read: {error.strerror or error}."
            raise RunError(msg) from error
        with file:
            start = position.read.get(name, 0)
            file.seek(start)
            rest = b""
            while data := file.read(_READ_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    start += len(line) + 1
                    # Before it is yielded: whoever stops here has had it.
                    position.read[name] = start
                    if line.strip():
                        if (record := parse_record(line)) is not None:
                            yield record
                        else:
                            position.damaged += 1
                if len(rest) > MAX_RECORD:
                    return

    # -- writing ----------------------------------------------------------------------------

    def write(self, relative: str, data: bytes) -> None:
        """Write a file aside and give it its name, in place of one that has it."""
        target = self.path / relative
        part = target.with_name(f".part-{secrets.token_hex(8)}")
        try:
            try:
                _create(part, data)
                part.replace(target)
            except OSError as error:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
                if error.errno in FULL_DISK or isinstance(error, FileNotFoundError):
                    raise
                # A mounted bucket may refuse to rename. What is cut short here is told by its own
                # checksum, or by the one in the manifest.
                with target.open("wb") as file:
                    file.write(data)
        except OSError as error:
            raise self._failed(f"written ({relative})", error) from error

    def append(self, kind: str, *records: Mapping[str, Any]) -> Appended | None:
        """Add lines; each is either there as a whole or torn, which is noticed.

        Returns where they are in the kind's own file; None where they are elsewhere.
        """
        if not records:
            return None
        data = b"".join(dump(record).encode() + b"\n" for record in records)
        with self._lock:
            try:
                if kind not in self._segments:
                    try:
                        name = f"{kind}.jsonl"
                        return Appended(name, self._append(name, data), data)
                    except OSError as error:
                        if error.errno in FULL_DISK or isinstance(error, FileNotFoundError):
                            raise
                        self._segments[kind] = self._next_segment(kind)
                number = self._segments[kind]
                _create(self.path / f"{kind}-{number:06d}.jsonl", data)
                self._segments[kind] = number + 1
            except OSError as error:
                raise self._failed(f"written ({kind})", error) from error
        return None

    def _append(self, name: str, data: bytes) -> int:
        """Add bytes to a file, and return where in it they begin."""
        path = self.path / name
        torn = b"\n" if name not in self._mended and _ends_torn(path) else b""
        length, data = len(data), torn + data
        if not data:
            return 0
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        handle = os.open(path, flags, 0o666)
        try:
            self._mended.discard(name)  # until all of it is there, its end may be torn
            written = 0
            while written < len(data):
                written += os.write(handle, data[written:])
            self._mended.add(name)
            return os.lseek(handle, 0, os.SEEK_CUR) - length
        finally:
            os.close(handle)

    def _next_segment(self, kind: str) -> int:
        numbers = [
            int(found[2])
            for name in self.names("")
            if (found := _SEGMENT.fullmatch(name)) and found[1] == kind
        ]
        return max(numbers, default=0) + 1

    def end_torn_lines(self) -> None:
        """End what a killed writer has begun, so that it is told from what follows."""
        for kind in LINES:
            with self._lock, contextlib.suppress(OSError):
                self._append(f"{kind}.jsonl", b"")

    def remove_parts(self) -> None:
        """Remove what a killed writer has left unnamed. Only for who holds the lease."""
        for folder in _FOLDERS:
            for name in self.names(folder):
                if name.startswith(".part-") and _PART.fullmatch(name):
                    part = self.path / folder / name
                    with contextlib.suppress(OSError):
                        if part.is_dir() and not part.is_symlink():  # a lease that was broken
                            shutil.rmtree(part)
                        else:
                            part.unlink()

    def remove(self, relative: str) -> None:
        """Remove a file of the run that we have just written; one that is gone is no error."""
        with contextlib.suppress(OSError):
            (self.path / safe_relative(relative)).unlink()

    def _failed(self, what: str, error: OSError) -> OutputError | DiskFull:
        kind = DiskFull if error.errno in FULL_DISK else OutputError
        msg = f"The run {self.path} could not be {what}: {error.strerror or error}."
        return kind(msg)


def checked_header(found: object, path: Path) -> Mapping[str, Any]:
    """Return the content of a ``run.json``, or raise a RunError that says what is wrong with it."""
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        msg = f"{path} is no run of fooocus-nb: its {RUN_FILE} says something else."
        raise RunError(msg)
    version = found.get("version")
    if isinstance(version, int) and version > VERSION:
        msg = (
            f"The run {path} was made by a newer fooocus-nb (its format is {version}, and this one "
            f"knows {VERSION}). Nothing was changed. Update it: pip install -U fooocus-nb"
        )
        raise RunError(msg)
    if version != VERSION or not isinstance(found.get("id"), str):
        msg = f"{path / RUN_FILE} is damaged: it names no version and id."
        raise RunError(msg)
    return found


def thumbnail_only(relative: str, path: Path) -> RunError:
    """Return the error for an image of which a shared run has no original."""
    return RunError(
        f"thumbnail only: the original of {relative} is not in {path.name}. .thumbnail() has the "
        "small one, and fooocus_nb.replay(image, engine) makes the image again."
    )


def _create(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with open(handle, "wb") as file:  # noqa: PTH123 - it is open already
        file.write(data)


def _ends_torn(path: Path) -> bool:
    """Whether the last line of a file has no end."""
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except FileNotFoundError:
        return False
