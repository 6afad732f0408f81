"""Hashes: of bytes, of pixels, of what an image looks like, and of model files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import queue
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from fooocus_nb.fooocus.plain_files import read_plain_file

if TYPE_CHECKING:
    from collections.abc import Callable

    import PIL.Image

__all__ = [
    "FileHashes",
    "PixelFacts",
    "dhash",
    "dhash_distance",
    "file_hashes",
    "image_size",
    "is_whole",
    "pixel_facts",
    "pixels_sha256",
    "sha256",
]

_CHUNK = 4 << 20
#: The cache's lines; one that grew larger is begun anew.
MAX_CACHE_BYTES = 8 << 20


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class PixelFacts:
    """What the pixels of an image say.

    Attributes
    ----------
    width, height : int
        In pixels.
    format : str
        ``png``, ``jpeg`` or ``webp``.
    pixels_sha256 : str
        See :func:`pixels_sha256`.
    dhash : str
        See :func:`dhash`.
    """

    width: int
    height: int
    format: str
    pixels_sha256: str
    dhash: str


def pixels_sha256(image: PIL.Image.Image) -> str:
    """Return the SHA-256 of an image's pixels, whatever file they stand in.

    It is that of ``WIDTHxHEIGHT MODE``, a line feed, and the pixels row by row with 8 bits a
    channel: ``RGBA`` where the image has transparency, else ``RGB``.
    """
    mode = "RGBA" if image.has_transparency_data else "RGB"
    pixels = image if image.mode == mode else image.convert(mode)
    found = hashlib.sha256(f"{image.width}x{image.height} {mode}\n".encode())
    found.update(pixels.tobytes())
    return found.hexdigest()


def dhash(image: PIL.Image.Image) -> str:
    """Return the difference hash of an image: 64 bits in 16 hexadecimal digits.

    The image is shrunk to 9 by 8 levels of grey; each bit tells whether one is darker than the one
    right of it.
    """
    import PIL.Image

    small = image.convert("L").resize((9, 8), PIL.Image.Resampling.BILINEAR)
    levels = small.tobytes()
    bits = 0
    for row in range(8):
        for column in range(8):
            place = row * 9 + column
            bits = bits << 1 | (levels[place] < levels[place + 1])
    return f"{bits:016x}"


def dhash_distance(one: str, other: str) -> int:
    """Return in how many of 64 bits two difference hashes differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def pixel_facts(data: bytes) -> PixelFacts:
    """Return what the pixels of an image file say; an error of Pillow's where it is torn."""
    import PIL.Image

    with PIL.Image.open(io.BytesIO(data)) as image:
        kind = (image.format or "").lower()
        image.load()
        return PixelFacts(image.width, image.height, kind, pixels_sha256(image), dhash(image))


def is_whole(data: bytes) -> bool:
    """Whether an image file has its end: some that lack it can be decoded all the same."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" in data[-1024:]
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in data[-1024:]
    if data.startswith(b"RIFF"):
        return len(data) >= int.from_bytes(data[4:8], "little") + 8
    return True


def image_size(data: bytes) -> tuple[int, int, str]:
    """Return width, height and format of an image file without decoding its pixels.

    Zeros and an empty text for what is no image.
    """
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            return image.width, image.height, (image.format or "").lower()
    except (OSError, SyntaxError, ValueError, struct.error, PIL.Image.DecompressionBombError):
        return 0, 0, ""


class FileHashes:
    """The SHA-256 of large files, each read once and in the background.

    A file counts as the same while its path, size and time of change are. What is known is kept in
    a file of the user's cache, so that a checkpoint is read once and not once a kernel.

    Parameters
    ----------
    cache : Path or None
        The file; None keeps nothing.
    """

    def __init__(self, cache: Path | None) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int, int], str] | None = None
        self._waiting: dict[tuple[str, int, int], list[Callable[[str | None], None]]] = {}
        self._queue: queue.SimpleQueue[tuple[str, int, int]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def find(self, path: Path) -> tuple[str | None, int, int]:
        """Return a file's hash as far as it is known, its size, and its time of change in ns.

        Where it is not known, the file is read in the background. An OSError where there is none.
        """
        key = self._key(path)
        with self._lock:
            found = self._all().get(key)
            if found is None and key not in self._waiting:
                self._waiting[key] = []
                self._queue.put(key)
                self._start()
        return found, key[1], key[2]

    def known(self, name: str, size: int, mtime_ns: int) -> str | None:
        """Return the hash of a file by its name without folder or ending, its size and its time."""
        with self._lock:
            for (path, bytes_, time_ns), digest in self._all().items():
                if (bytes_, time_ns) == (size, mtime_ns) and Path(path).name.startswith(name):
                    return digest
        return None

    def when_known(self, path: Path, tell: Callable[[str | None], None]) -> None:
        """Call `tell` with a file's hash as soon as it is known, or with None where it fails."""
        key = self._key(path)
        with self._lock:
            found = self._all().get(key)
            if found is None:
                if key not in self._waiting:
                    self._waiting[key] = []
                    self._queue.put(key)
                    self._start()
                self._waiting[key].append(tell)
                return
        tell(found)

    def wait(self, path: Path, timeout: float) -> str | None:
        """Return a file's hash; None where it is not known in time or the file is gone."""
        done = threading.Event()
        found: list[str | None] = []

        def tell(value: str | None) -> None:
            found.append(value)
            done.set()

        try:
            self.when_known(path, tell)
        except OSError:
            return None
        done.wait(timeout)
        return found[0] if found else None

    @staticmethod
    def _key(path: Path) -> tuple[str, int, int]:
        status = path.stat()
        return str(path), status.st_size, status.st_mtime_ns

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._work, name="fooocus-nb-model-hashes", daemon=True
            )
            self._thread.start()

    def _work(self) -> None:
        while True:
            try:
                key = self._queue.get(timeout=60.0)
            except queue.Empty:
                with self._lock:
                    if self._queue.empty():
                        self._thread = None
                        return
                continue
            found = self._hashed(key)
            with self._lock:
                if found is not None:
                    self._all()[key] = found
                listeners = self._waiting.pop(key, [])
            if found is not None:
                self._keep(key, found)
            for tell in listeners:
                with contextlib.suppress(Exception):
                    tell(found)

    def _hashed(self, key: tuple[str, int, int]) -> str | None:
        digest = hashlib.sha256()
        try:
            with Path(key[0]).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    time.sleep(0)  # large buffers are hashed without the GIL; a turn for others
            # One that is just being downloaded has no hash that would mean anything.
            return digest.hexdigest() if self._key(Path(key[0])) == key else None
        except OSError:
            return None

    def _all(self) -> dict[tuple[str, int, int], str]:
        if self._known is None:
            self._known = {}
            if self._cache is not None:
                with contextlib.suppress(OSError):
                    for line in read_plain_file(self._cache, MAX_CACHE_BYTES).splitlines():
                        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                            self._take(json.loads(line))
        return self._known

    def _take(self, record: Any) -> None:
        digest = record["sha256"]
        if isinstance(digest, str) and len(digest) == 64 and self._known is not None:
            key = (str(record["path"]), int(record["size"]), int(record["mtime_ns"]))
            self._known[key] = digest

    def _keep(self, key: tuple[str, int, int], digest: str) -> None:
        """Write a hash down; losing it only costs reading the file again."""
        if self._cache is None:
            return
        record = {"path": key[0], "size": key[1], "mtime_ns": str(key[2]), "sha256": digest}
        with contextlib.suppress(OSError):
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            large = self._cache.exists() and self._cache.stat().st_size > MAX_CACHE_BYTES
            with self._cache.open("ab" if not large else "wb") as file:
                file.write(json.dumps(record).encode() + b"\n")


_shared: FileHashes | None = None
_shared_pid = 0
_shared_lock = threading.Lock()


def file_hashes() -> FileHashes:
    """Return the hashes of this user; a forked process gets its own."""
    global _shared, _shared_pid
    with _shared_lock:
        if _shared is None or _shared_pid != os.getpid():
            try:
                folder: Path | None = platformdirs.user_cache_path("fooocus-nb", appauthor=False)
            except RuntimeError:  # a user without a home
                folder = None
            _shared = FileHashes(folder / "model-hashes.jsonl" if folder is not None else None)
            _shared_pid = os.getpid()
        return _shared
