"""Monitors of generations: live progress, then the images in the same place."""

from __future__ import annotations

import asyncio
import contextlib
import re
import struct
import time
from typing import TYPE_CHECKING, Any

from fooocus_nb._html import duration
from fooocus_nb.results.thumbnails import MAX_PIXELS, MAX_PREVIEW_PIXELS, preview_jpeg
from fooocus_nb.widgets._html import View, images_text, note_html
from fooocus_nb.widgets.display_backends import choose_backend, own_bundle
from fooocus_nb.widgets.renderer import Renderer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.engine.jobs.stream import Snapshot
    from fooocus_nb.fooocus.events import Preview
    from fooocus_nb.results import Result
    from fooocus_nb.widgets.display_backends import DisplayBackend

__all__ = [
    "JobMonitor",
    "JobViewBuilder",
    "image_size",
    "note_bundle",
    "result_bundle",
    "small_jpeg",
    "small_preview",
]

#: Every update carries the preview again, so it is small and changes less often.
PREVIEW_INTERVAL = 0.4
PREVIEW_SIDE = 320
PREVIEW_BYTES = 14_000
THUMBNAIL_SIDE = 128
THUMBNAIL_BYTES = 4_000

#: The states of a generation, as they are shown.
STATE_TITLES = {
    "queued": "Waiting for its turn",
    "starting": "Starting",
    "running": "Generating",
    "done": "Done",
    "stopped": "Stopped",
    "failed": "Failed",
}
_SAMPLING = re.compile(r"^Sampling step \d+/\d+")
_SIZE = re.compile(r"(\d{2,5})\s*[×x*]\s*(\d{2,5})")


class JobMonitor:
    """Shows generations one after the other in one place, then their images or one line.

    `earlier` are jobs that were shown in the same place before: the line at the end counts them.
    `final` returns the images that stay, in place of all that its jobs have made.
    """

    def __init__(
        self,
        job: Job | None = None,
        *,
        total: int = 1,
        result: bool = True,
        awaited: bool = False,
        backend: DisplayBackend | None = None,
        earlier: Sequence[Job] = (),
        final: Callable[[], Result | None] | None = None,
    ) -> None:
        self._backend = backend or choose_backend(awaited=awaited, buttons=True)
        self._total = total
        self._show_result = result
        self._final = final or self.result
        self._first = job
        #: Whether Stop was pressed: then no further generation is started.
        self.stopped = False
        self._jobs: list[Job] = list(earlier)
        self._earlier = len(earlier)
        self._builder = JobViewBuilder()
        self._unsubscribe: Callable[[], None] = _nothing
        self._renderer = Renderer(self._backend, self._view)

    def __enter__(self) -> JobMonitor:
        if self._first is not None:
            self.watch(self._first)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._unsubscribe()
        self._renderer.end()
        self._backend.finish(self._final_bundle())

    async def __aenter__(self) -> JobMonitor:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Making thumbnails takes a moment, in which the event loop must not block.
        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    def watch(self, job: Job) -> None:
        """Show this generation from now on."""
        self._unsubscribe()
        with self._renderer.held():  # buttons act on what is drawn: never on the one after it
            self._jobs.append(job)
            self._builder.begin()
            self._backend.watch(job, self._note_command)
        self._unsubscribe = job.subscribe(lambda _event: self._renderer.wake())
        if len(self._jobs) == self._earlier + 1:
            self._renderer.start()

    def _note_command(self, verb: str) -> None:
        self.stopped = self.stopped or verb == "stop"

    def result(self) -> Result | None:
        """Return the finished images of all generations; None where there are none."""
        results = [result for job in self._jobs if (result := _result_of(job))]
        return type(results[0]).combined(results) if results else None

    @property
    def ended(self) -> bool:
        """Whether all generations have ended."""
        return all(job.done() for job in self._jobs)

    @property
    def count(self) -> int:
        """How many images are finished, also of a generation that has not ended."""
        return sum(len(job.snapshot().paths) for job in self._jobs)

    def _final_bundle(self) -> dict[str, Any] | None:
        """Return the bundle that stays: the images, or a line that says how it ended."""
        if not self._jobs:
            return None
        now = self._jobs[-1].snapshot()
        result = self._final()
        if self._show_result and result is not None:
            return result_bundle(result)
        count = len(result) if result is not None else 0
        images = images_text(count)
        mark = {"done": "ok", "failed": "bad"}.get(now.state, "warn")
        word = (
            images if now.state == "done" else f"{STATE_TITLES.get(now.state, now.state)}: {images}"
        )
        elapsed = sum(job.snapshot().elapsed for job in self._jobs)
        return note_bundle(mark, word, (duration(elapsed), self._jobs[-1].engine.name))

    def _view(self) -> View:
        facts = (f"generation {len(self._jobs)} of {self._total}",) if self._total > 1 else ()
        return self._builder.view(self._jobs[-1], facts, several=self._total > 1)


class JobViewBuilder:
    """Builds the views of generations; encoded images are kept from one view to the next."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._preview: Preview | None = None
        self._jpeg = b""
        self._jpeg_time = 0.0
        self._thumbnails: dict[Path, bytes] = {}
        self._last_path: Path | None = None
        self._last_image = b""

    def begin(self) -> None:
        """Drop the last preview, before another generation is shown."""
        self._preview, self._jpeg = None, b""

    def view(self, job: Job, facts: tuple[str, ...] = (), *, several: bool = False) -> View:
        """Return the present view of a generation."""
        now = job.snapshot()
        stage = STATE_TITLES.get(now.state, now.state)
        if now.state in ("queued", "running") and now.text and not _SAMPLING.match(now.text):
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
            # A single image is about to replace the monitor, so it needs no thumbnail in it.
            several=several or job.request.values.get("image_number") != 1,
        )

    def last_image(self, job: Job) -> bytes:
        """Return the newest finished image as large as a preview; empty where there is none."""
        paths = job.snapshot().paths
        if paths and paths[-1] != self._last_path:
            self._last_path, self._last_image = paths[-1], b""
            with contextlib.suppress(OSError):
                self._last_image = small_jpeg(paths[-1].read_bytes(), PREVIEW_SIDE, PREVIEW_BYTES)
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
        """Encode the newest preview, unless the last one is too recent."""
        if preview is None or preview is self._preview:
            return
        if time.monotonic() - self._jpeg_time < PREVIEW_INTERVAL and self._jpeg:
            return
        self._preview = preview
        if jpeg := small_preview(preview):
            self._jpeg, self._jpeg_time = jpeg, time.monotonic()

    def _finished(self, paths: tuple[Path, ...]) -> tuple[bytes, ...]:
        """Return thumbnails of the finished images."""
        for path in paths:
            if path not in self._thumbnails:
                with contextlib.suppress(OSError):
                    data = path.read_bytes()
                    if jpeg := small_jpeg(data, THUMBNAIL_SIDE, THUMBNAIL_BYTES):
                        self._thumbnails[path] = jpeg
        return tuple(self._thumbnails.values())


class Pace:
    """Measures the speed of an image's sampling steps."""

    def __init__(self) -> None:
        self._image: int | None = None
        self._first = 0
        self._began = 0.0

    def rate(self, now: Snapshot) -> float | None:
        """Return the steps per second of the current image; None where too few are done."""
        if now.step is None or now.state != "running":
            return None
        if now.image != self._image or now.step < self._first:
            self._image, self._first, self._began = now.image, now.step, time.monotonic()
        elapsed = time.monotonic() - self._began
        steps = now.step - self._first
        return steps / elapsed if steps >= 2 and elapsed > 0.2 else None


def small_preview(preview: Preview, side: int = PREVIEW_SIDE) -> bytes:
    """Return a preview as a small JPEG; empty where it cannot be read."""
    return small_jpeg(preview.data, side, PREVIEW_BYTES, max_pixels=MAX_PREVIEW_PIXELS)


def small_jpeg(data: bytes, side: int, limit: int, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """Return an image as a small JPEG; empty where it cannot be read, or is too large for that."""
    import PIL.Image

    bomb = PIL.Image.DecompressionBombError
    with contextlib.suppress(OSError, ValueError, SyntaxError, MemoryError, struct.error, bomb):
        jpeg, _, _ = preview_jpeg(data, side, limit, max_pixels=max_pixels)
        return jpeg
    return b""


def image_size(job: Job) -> tuple[int, int]:
    """Return the width and height of the images that are made; 1024 where not known."""
    values = job.request.values
    width, height = values.get("overwrite_width"), values.get("overwrite_height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    found = _SIZE.search(str(values.get("aspect_ratios_selection", "")))
    return (int(found[1]), int(found[2])) if found else (1024, 1024)


def note_bundle(mark: str, title: str, facts: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a MIME bundle with one line that says how something ended."""
    return {
        "text/html": note_html(mark, title, facts),
        "text/plain": f"{title} ({', '.join(facts)})" if facts else title,
    }


def result_bundle(result: Result) -> dict[str, Any]:
    """Return the MIME bundle of a result."""
    return own_bundle(result)[0]


def _result_of(job: Job) -> Result | None:
    """Return the images of a job, however it ended; None where there are none."""
    result: Result | None = None
    if job.done():
        error = job.exception()
        if error is None:
            with contextlib.suppress(Exception):
                result = job.result(timeout=0)
        else:
            result = getattr(error, "result", None)
    return result if result is not None and len(result) else None


def _nothing() -> None:
    pass
