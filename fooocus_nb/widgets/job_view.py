"""What a monitor shows of one generation: its words and numbers, its preview, its images."""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING

from fooocus_nb.results.thumbnails import preview_jpeg
from fooocus_nb.widgets._html import View

if TYPE_CHECKING:
    from pathlib import Path

    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.engine.jobs.stream import Snapshot
    from fooocus_nb.fooocus.events import Preview

__all__ = ["WORDS", "JobDrawing", "image_size", "small_picture"]

#: Every update carries the preview again, so it is small, and a new one comes less often.
PREVIEW_INTERVAL = 0.4
PREVIEW_SIDE = 320
PREVIEW_BYTES = 14_000
THUMBNAIL_SIDE = 128
THUMBNAIL_BYTES = 4_000

#: The states of a generation, for people.
WORDS = {
    "queued": "Waiting for its turn",
    "starting": "Starting",
    "running": "Generating",
    "done": "Done",
    "stopped": "Stopped",
    "failed": "Failed",
}
_SAMPLING = re.compile(r"^Sampling step \d+/\d+")
_SIZE = re.compile(r"(\d{2,5})\s*[×x*]\s*(\d{2,5})")


class JobDrawing:
    """Draws one generation after the other; what is dear to make is kept between two views."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._preview: Preview | None = None
        self._jpeg = b""
        self._jpeg_time = 0.0
        self._thumbnails: dict[Path, bytes] = {}
        self._last_path: Path | None = None
        self._last_image = b""

    def begin(self) -> None:
        """Forget the last preview: another generation is to be drawn."""
        self._preview, self._jpeg = None, b""

    def view(self, job: Job, facts: tuple[str, ...] = (), *, several: bool = False) -> View:
        """Return what to show of a generation now.

        Parameters
        ----------
        job : Job
            The generation.
        facts : tuple of str, optional
            What stands before its own counts.
        several : bool, optional
            Whether room is kept for finished images even where this generation makes only one.

        Returns
        -------
        View
            Of bounded size.
        """
        now = job.snapshot()
        stage = WORDS.get(now.state, now.state)
        if now.state == "running" and now.text and not _SAMPLING.match(now.text):
            stage = now.text
        self._take_preview(now.preview)
        return View(
            title=str(job.request.given.get("prompt", "")),
            stage=stage,
            percent=None if now.state in ("queued", "starting") else now.percent,
            facts=(*facts, *self._counts(now)),
            elapsed=now.elapsed,
            remaining=now.remaining,
            line=now.last_line,
            box=image_size(job),
            preview=self._jpeg,
            thumbnails=self._finished(now.paths),
            # An only image is about to take the monitor's place, so it needs no room in it.
            several=several or job.request.values.get("image_number") != 1,
        )

    def last_image(self, job: Job) -> bytes:
        """Return the newest finished image as large as a preview; empty where there is none."""
        paths = job.snapshot().paths
        if paths and paths[-1] != self._last_path:
            self._last_path, self._last_image = paths[-1], b""
            with contextlib.suppress(OSError):
                self._last_image = small_picture(
                    paths[-1].read_bytes(), PREVIEW_SIDE, PREVIEW_BYTES
                )
        return self._last_image if paths else b""

    def _counts(self, now: Snapshot) -> tuple[str, ...]:
        counts = []
        if now.state == "queued" and now.rank:
            counts.append(f"{now.rank} before it")
        if now.images and now.images > 1:
            counts.append(f"image {now.image or 1} of {now.images}")
        if now.step and now.steps:
            counts.append(f"step {now.step} of {now.steps}")
        if (rate := self._pace.rate(now)) is not None:
            counts.append(f"{rate:.1f} steps/s")
        return tuple(counts)

    def _take_preview(self, preview: Preview | None) -> None:
        """Encode the newest preview, unless the last one is too young."""
        if preview is None or preview is self._preview:
            return
        if time.monotonic() - self._jpeg_time < PREVIEW_INTERVAL and self._jpeg:
            return
        self._preview = preview
        if jpeg := small_picture(preview.data, PREVIEW_SIDE, PREVIEW_BYTES):
            self._jpeg, self._jpeg_time = jpeg, time.monotonic()

    def _finished(self, paths: tuple[Path, ...]) -> tuple[bytes, ...]:
        """Return small copies of the images so far."""
        for path in paths:
            if path not in self._thumbnails:
                with contextlib.suppress(OSError):
                    data = path.read_bytes()
                    if jpeg := small_picture(data, THUMBNAIL_SIDE, THUMBNAIL_BYTES):
                        self._thumbnails[path] = jpeg
        return tuple(self._thumbnails.values())


class Pace:
    """Measures how fast the steps of an image go."""

    def __init__(self) -> None:
        self._image: int | None = None
        self._first = 0
        self._began = 0.0

    def rate(self, now: Snapshot) -> float | None:
        """Return the steps per second of the image in the making; None where too few are done."""
        if now.step is None or now.state != "running":
            return None
        if now.image != self._image or now.step < self._first:
            self._image, self._first, self._began = now.image, now.step, time.monotonic()
        elapsed = time.monotonic() - self._began
        steps = now.step - self._first
        return steps / elapsed if steps >= 2 and elapsed > 0.2 else None


def small_picture(data: bytes, side: int, limit: int) -> bytes:
    """Return a picture as a small JPEG; empty where it cannot be read.

    Parameters
    ----------
    data : bytes
        An encoded picture.
    side : int
        The longest side in pixels.
    limit : int
        How many bytes it may take.

    Returns
    -------
    bytes
        JPEG data.
    """
    with contextlib.suppress(OSError, ValueError, SyntaxError):
        jpeg, _, _ = preview_jpeg(data, side, limit)
        return jpeg
    return b""


def image_size(job: Job) -> tuple[int, int]:
    """Return the width and height of the images in the making, as far as the request tells."""
    values = job.request.values
    width, height = values.get("overwrite_width"), values.get("overwrite_height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    found = _SIZE.search(str(values.get("aspect_ratios_selection", "")))
    return (int(found[1]), int(found[2])) if found else (1024, 1024)
