"""Thumbnails: made on a few threads, each once, and kept in bounded memory."""

from __future__ import annotations

import asyncio
import importlib
import os
import struct
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.plain_files import open_plain_file
from fooocus_nb.results.thumbnails import webp_thumbnail
from fooocus_nb.server.byte_range import entity_tag

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SIZES", "NoImageError", "Thumbnail", "ThumbnailCache", "TooManyError"]

#: The longest sides that are made, in pixels: any number would fill the cache with copies.
SIZES = (96, 160, 320, 640)
#: Their bytes. Hardly any is larger at first, and each further attempt takes time.
MAX_BYTES = {96: 12_000, 160: 20_000, 320: 44_000, 640: 120_000}
#: More pixels are not decoded: each worker would hold them.
MAX_PIXELS = 64_000_000
#: So many may wait; a page asks for what is on its screen.
MAX_WAITING = 1000


class NoImageError(ValueError):
    """A file is no image that can be read, or it is too large."""


class TooManyError(RuntimeError):
    """Too many thumbnails are waited for."""


class Thumbnail(NamedTuple):
    """A thumbnail and the tag of what it was made from."""

    data: bytes
    tag: str


class ThumbnailCache:
    """Makes thumbnails on `workers` threads, and keeps `max_bytes` of them. On one event loop."""

    def __init__(self, max_bytes: int, workers: int | None = None) -> None:
        self._max_bytes = max_bytes
        self._pool = ThreadPoolExecutor(
            workers or min(4, os.cpu_count() or 1), thread_name_prefix="fooocus-nb-thumbnails"
        )
        self._known: OrderedDict[tuple[str, int], Thumbnail] = OrderedDict()
        self._making: dict[tuple[str, int], asyncio.Future[Thumbnail]] = {}
        self._warm = False
        #: How many bytes are kept.
        self.held = 0

    def warm_up(self) -> None:
        """Load what makes thumbnails, for somebody who is about to ask for some."""
        if not self._warm:
            self._warm = True
            self._pool.submit(importlib.import_module, "PIL.WebPImagePlugin")

    async def tag(self, path: Path, side: int) -> str:
        """Return the tag that the thumbnail of a file has now; an OSError where it is gone."""
        return entity_tag(await asyncio.to_thread(os.stat, path), f"-{side}")

    async def get(self, path: Path, side: int) -> Thumbnail:
        """Return the thumbnail of a file as it is now."""
        key = (str(path), side)
        tag = await self.tag(path, side)
        known = self._known.get(key)
        if known is not None and known.tag == tag:
            self._known.move_to_end(key)
            return known
        making = self._making.get(key)
        if making is None:
            if len(self._making) >= MAX_WAITING:
                msg = f"{MAX_WAITING} thumbnails are waited for already"
                raise TooManyError(msg)
            loop = asyncio.get_running_loop()
            making = asyncio.ensure_future(loop.run_in_executor(self._pool, _make, path, side))
            self._making[key] = making
            making.add_done_callback(lambda done: self._keep(key, done))
        # Who hangs up does not take it from the others who wait for it.
        return await asyncio.shield(making)

    def _keep(self, key: tuple[str, int], done: asyncio.Future[Thumbnail]) -> None:
        self._making.pop(key, None)
        if done.cancelled() or done.exception() is not None:
            return
        self._forget(key)
        self._known[key] = done.result()
        self.held += len(done.result().data)
        while self.held > self._max_bytes:
            self._forget(next(iter(self._known)))

    def _forget(self, key: tuple[str, int]) -> None:
        old = self._known.pop(key, None)
        if old is not None:
            self.held -= len(old.data)

    def close(self) -> None:
        """End the threads once they are through with what they make."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _make(path: Path, side: int) -> Thumbnail:
    import PIL.Image

    try:
        with open_plain_file(path, max_file_bytes()) as file:
            status = os.fstat(file.fileno())
            with PIL.Image.open(file) as opened:
                width, height = opened.size
        data = (
            b""
            if width * height > MAX_PIXELS
            else webp_thumbnail(path, side, MAX_BYTES[side], fast=True)
        )
    except FileNotFoundError:
        raise
    except (
        OSError,
        ValueError,
        SyntaxError,
        struct.error,
        MemoryError,
        PIL.Image.DecompressionBombError,
    ) as error:
        msg = f"no image that can be read ({type(error).__name__})"
        raise NoImageError(msg) from error
    if not data:
        msg = f"{width} x {height} pixels are too many"
        raise NoImageError(msg)
    return Thumbnail(data, entity_tag(status, f"-{side}"))
