"""``/engines/NAME/images`` and ``/images/ID``: the images of an engine, whole and small."""

from __future__ import annotations

import asyncio
import email.utils
import os
from typing import IO, TYPE_CHECKING

from jupyter_server.auth.decorator import authorized
from tornado import iostream, web

from fooocus_nb.engine.grants import granted
from fooocus_nb.engine.names import outputs_in
from fooocus_nb.fooocus.plain_files import UnfitFileError, open_plain_file
from fooocus_nb.server.base import Handler, RefusedError
from fooocus_nb.server.byte_range import (
    UnsatisfiableRangeError,
    entity_tag,
    precondition,
    range_applies,
    requested_range,
)
from fooocus_nb.server.image_list import MAX_IMAGES, ImageFile, images_in, mime_of
from fooocus_nb.server.thumbnail_cache import SIZES, NoImageError, TooManyError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ImageHandler", "ImagesHandler", "ThumbnailHandler"]

PAGE = 100
MAX_PAGE = 500
CHUNK_BYTES = 1 << 18
HEAD_BYTES = 16
DEFAULT_SIZE = 320
NO_IMAGE = "There is no such image, or this server may not show it."
CHANGED = "The image is not the one that is asked for any more."


class ImagesHandler(Handler):
    """The images of an engine."""

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """List them, newest first, a page at a time."""
        limit = self.number("limit", PAGE, 1, MAX_PAGE)
        offset = self.number("offset", 0, 0, MAX_IMAGES)
        listed = await self.engine(name)
        if listed.entry.elsewhere is not None:
            raise RefusedError(409, f"Engine {listed.info.name!r} runs elsewhere.")
        found = await self.run(images_in, outputs_in(listed.entry.labels))
        page = found[offset : offset + limit]
        following = offset + limit
        told = await self.run(lambda: [ImageFile.as_dict(image) for image in page])
        await self.finish(
            {
                "total": len(found),
                "images": told,
                "next": following if following < len(found) else None,
            }
        )


class _FileHandler(Handler):
    """What the two ways to get an image have in common."""

    def path(self, identity: str) -> Path:
        """Return the path of an id, or refuse the request."""
        path = granted(identity)
        if path is None:
            raise RefusedError(404, NO_IMAGE)
        return path

    def unwanted(self, tag: str, modified: float) -> bool:
        """Whether who asks has it already; refuse who wants another version of it."""
        status = precondition(self.request.headers, tag, modified)
        if status == 412:
            raise RefusedError(412, CHANGED)
        return status is not None

    def describe(self, mime: str, tag: str, modified: float) -> None:
        """Set the headers of a file that this user alone may keep."""
        self.set_header("Content-Type", mime)
        self.set_header("ETag", tag)
        self.set_header("Last-Modified", email.utils.formatdate(modified, usegmt=True))
        # It may be kept, and is asked for with its tag: a path can get other bytes.
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Content-Disposition", "inline")

    def compute_etag(self) -> None:
        """Leave it to the handler: tags are of files."""


class ImageHandler(_FileHandler):
    """An image as it was made, byte by byte."""

    @web.authenticated
    @authorized
    async def get(self, identity: str) -> None:
        """Send it, or the part that is asked for."""
        await self._send(identity, body=True)

    @web.authenticated
    @authorized
    async def head(self, identity: str) -> None:
        """Send its headers."""
        await self._send(identity, body=False)

    async def _send(self, identity: str, *, body: bool) -> None:
        path = await self.run(self.path, identity)
        try:
            file = await self.run(open_plain_file, path, self.services.limits.max_image_bytes)
        except UnfitFileError as error:
            if error.too_large:
                limit = self.services.limits.max_image_bytes
                raise RefusedError(403, f"The image has more than {limit:,} bytes.") from error
            raise RefusedError(404, NO_IMAGE) from error
        except OSError as error:
            raise RefusedError(404, NO_IMAGE) from error
        try:
            await self._send_file(file, body=body)
        finally:
            file.close()

    async def _send_file(self, file: IO[bytes], *, body: bool) -> None:
        mime = mime_of(await self.run(file.read, HEAD_BYTES))
        if mime is None:
            raise RefusedError(404, NO_IMAGE)
        status = os.fstat(file.fileno())
        tag = entity_tag(status)
        unwanted = self.unwanted(tag, status.st_mtime)
        self.describe(mime, tag, status.st_mtime)
        self.set_header("Accept-Ranges", "bytes")
        if unwanted:
            self.set_status(304)
            await self._finish_empty(mime)
            return
        # Of parts only GET knows.
        begin, end = self._part(tag, status) if body else (0, status.st_size)
        self.set_header("Content-Length", str(end - begin))
        if not body:
            await self._finish_empty(mime)
            return
        await self.run(file.seek, begin)
        while begin < end:
            data = await self.run(file.read, min(CHUNK_BYTES, end - begin))
            if not data:  # it was cut meanwhile: the length was promised
                self.request.connection.close()  # type: ignore[union-attr]
                return
            begin += len(data)
            self.write(data)
            try:
                await self.flush()  # waits for who reads slowly, so that memory is bounded
            except iostream.StreamClosedError:
                return
        await self.finish(set_content_type=mime)

    def _part(self, tag: str, status: os.stat_result) -> tuple[int, int]:
        """Return where the part begins and ends that is asked for, and set its headers."""
        size = status.st_size
        header = self.request.headers.get("Range")
        if not range_applies(self.request.headers.get("If-Range"), tag, status.st_mtime):
            header = None
        try:
            part = requested_range(header, size)
        except UnsatisfiableRangeError as error:
            what = "The range lies beyond the end of the image."
            raise RefusedError(416, what, {"Content-Range": str(error)}) from error
        if part is None:
            return 0, size
        self.set_status(206)
        self.set_header("Content-Range", f"bytes {part[0]}-{part[1] - 1}/{size}")
        return part

    async def _finish_empty(self, mime: str) -> None:
        await self.finish(set_content_type=mime)


class ThumbnailHandler(_FileHandler):
    """A small copy of an image."""

    @web.authenticated
    @authorized
    async def get(self, identity: str) -> None:
        """Send it, made now where it is not kept."""
        size = self.number("size", DEFAULT_SIZE, SIZES[0], SIZES[-1])
        if size not in SIZES:
            sizes = ", ".join(map(str, SIZES))
            raise RefusedError(400, f"size={size} is not possible: there are {sizes}.")
        path = await self.run(self.path, identity)
        cache = self.services.thumbnails
        made = None
        try:
            tag = await cache.tag(path, size)
            modified = await asyncio.to_thread(_modified, path)
            if not self.unwanted(tag, modified):
                made = await cache.get(path, size)
                tag = made.tag
        except TooManyError as error:
            raise RefusedError(503, str(error), {"Retry-After": "1"}) from error
        except (NoImageError, OSError) as error:
            raise RefusedError(404, NO_IMAGE) from error
        self.describe("image/webp", tag, modified)
        if made is None:
            self.set_status(304)
            await self.finish(set_content_type="image/webp")
            return
        await self.finish(made.data, set_content_type="image/webp")

    #: Tornado leaves the body out.
    head = get


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
