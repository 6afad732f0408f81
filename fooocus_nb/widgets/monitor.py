"""Show a starting engine or a generation live, then what remains of it in the same place."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import re
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fooocus_nb._html import duration
from fooocus_nb._thumbnails import preview_jpeg
from fooocus_nb.widgets._html import View, note_html
from fooocus_nb.widgets.surface import surface as choose_surface

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from fooocus_nb.engine import Engine
    from fooocus_nb.fooocus.events import Preview
    from fooocus_nb.job import Job
    from fooocus_nb.results import Result
    from fooocus_nb.snapshot import Snapshot
    from fooocus_nb.widgets.surface import Surface

__all__ = ["JobMonitor", "StartMonitor"]

_log = logging.getLogger(__name__)

#: Ten updates a second are what every frontend takes in without falling behind.
MIN_INTERVAL = 0.1
#: Without news the clock still moves.
MAX_INTERVAL = 1.0
#: Every update carries the preview again, so it is small, and a new one comes less often.
PREVIEW_INTERVAL = 0.4
PREVIEW_SIDE = 320
PREVIEW_BYTES = 14_000
THUMBNAIL_SIDE = 128
THUMBNAIL_BYTES = 4_000
JOIN_TIMEOUT = 5.0

_WORDS = {
    "queued": "Waiting for its turn",
    "starting": "Starting",
    "running": "Generating",
    "done": "Done",
    "stopped": "Stopped",
    "failed": "Failed",
}
_SAMPLING = re.compile(r"^Sampling step \d+/\d+")
_SIZE = re.compile(r"(\d{2,5})\s*[×x*]\s*(\d{2,5})")


class Renderer:
    """One thread that draws at most ten times a second, and at least once.

    Parameters
    ----------
    surface : Surface
        Where to draw.
    read : callable
        Returns what to show now. Called on the renderer's thread.
    """

    def __init__(self, surface: Surface, read: Callable[[], View]) -> None:
        self._surface = surface
        self._read = read
        self._news = threading.Event()
        self._ended = threading.Event()
        self._drawing = threading.Lock()
        # With the caller's context, what is drawn goes to the cell that is running now.
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._run,), name="fooocus-nb-monitor", daemon=True
        )

    def start(self) -> None:
        """Draw once, then go on in the background."""
        self._draw()
        self._thread.start()

    def wake(self) -> None:
        """Say that there is news. Returns at once, from any thread."""
        self._news.set()

    def end(self) -> None:
        """Draw no more. When this returns, no update comes after what the caller shows next."""
        self._ended.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_TIMEOUT)

    def _run(self) -> None:
        while not self._ended.wait(MIN_INTERVAL):
            self._news.wait(MAX_INTERVAL - MIN_INTERVAL)
            self._news.clear()
            if not self._ended.is_set():
                self._draw()

    def _draw(self) -> None:
        with self._drawing:
            try:
                self._surface.draw(self._read())
            except Exception:  # noqa: BLE001
                # A screen that cannot be drawn on must not cost a generation.
                _log.debug("a monitor could not be drawn", exc_info=True)


class JobMonitor:
    """Shows one generation after the other in one place, then what remains of them.

    Parameters
    ----------
    job : Job, optional
        What to show from the beginning of the block.
    total : int, optional
        How many generations there will be.
    result : bool, optional
        Whether the images take the monitor's place at the end; else only a line does.
    awaited : bool, optional
        Whether the cell awaits the generations, so that the kernel listens meanwhile.
    surface : Surface, optional
        Where to draw; by default what fits the frontend.

    Attributes
    ----------
    stopped : bool
        Whether Stop was pressed: then no further generation shall begin.
    """

    def __init__(
        self,
        job: Job | None = None,
        *,
        total: int = 1,
        result: bool = True,
        awaited: bool = False,
        surface: Surface | None = None,
    ) -> None:
        self.surface = surface or choose_surface(awaited=awaited, buttons=True)
        self._total = total
        self._show_result = result
        self._first = job
        self.stopped = False
        self._jobs: list[Job] = []
        self._pace = Pace()
        self._unsubscribe: Callable[[], None] = _nothing
        self._preview: Preview | None = None
        self._jpeg = b""
        self._jpeg_time = 0.0
        self._thumbnails: dict[Path, bytes] = {}
        self._renderer = Renderer(self.surface, self._view)

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
        self.surface.finish(self._remains())

    async def __aenter__(self) -> JobMonitor:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Making thumbnails takes a moment, in which the event loop shall not stand still.
        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    def watch(self, job: Job) -> None:
        """Show this generation from now on.

        Parameters
        ----------
        job : Job
            A generation that was just submitted.
        """
        self._unsubscribe()
        self._jobs.append(job)
        self._preview, self._jpeg = None, b""
        self.surface.watch(job, self._ordered)
        self._unsubscribe = job.subscribe(lambda _event: self._renderer.wake())
        if len(self._jobs) == 1:
            self._renderer.start()

    def _ordered(self, verb: str) -> None:
        self.stopped = self.stopped or verb == "stop"

    def result(self) -> Result | None:
        """Return the images that are done so far, of all generations; None before the first one."""
        results = [result for job in self._jobs if (result := _result_of(job))]
        return type(results[0]).combined(results) if results else None

    def _remains(self) -> dict[str, Any] | None:
        """Return what stays on the screen: the images, or a line that says how it ended."""
        if not self._jobs:
            return None
        now = self._jobs[-1].snapshot()
        result = self.result()
        if self._show_result and result is not None:
            return result_bundle(result)
        count = len(result) if result is not None else 0
        images = "1 image" if count == 1 else f"{count} images"
        mark = {"done": "ok", "failed": "bad"}.get(now.state, "warn")
        word = images if now.state == "done" else f"{_WORDS.get(now.state, now.state)}: {images}"
        return note_bundle(mark, word, (duration(now.elapsed), self._jobs[-1].engine.name))

    def _view(self) -> View:
        job = self._jobs[-1]
        now = job.snapshot()
        facts = []
        if self._total > 1:
            facts.append(f"generation {len(self._jobs)} of {self._total}")
        if now.images and now.images > 1:
            facts.append(f"image {now.image or 1} of {now.images}")
        if now.step and now.steps:
            facts.append(f"step {now.step} of {now.steps}")
        if (rate := self._pace.rate(now)) is not None:
            facts.append(f"{rate:.1f} steps/s")
        stage = _WORDS.get(now.state, now.state)
        if now.state == "queued" and now.rank:
            facts.append(f"{now.rank} before it")
        elif now.state == "running" and now.text and not _SAMPLING.match(now.text):
            stage = now.text
        self._take_preview(now.preview)
        return View(
            title=str(job.request.given.get("prompt", "")),
            stage=stage,
            percent=None if now.state in ("queued", "starting") else now.percent,
            facts=tuple(facts),
            elapsed=now.elapsed,
            remaining=now.remaining,
            line=now.last_line,
            box=_image_size(job),
            preview=self._jpeg,
            thumbnails=self._finished_images(now.paths),
            several=self._several(job),
        )

    def _take_preview(self, preview: Preview | None) -> None:
        """Encode the newest preview, unless the last one is too young."""
        if preview is None or preview is self._preview:
            return
        if time.monotonic() - self._jpeg_time < PREVIEW_INTERVAL and self._jpeg:
            return
        self._preview = preview
        with contextlib.suppress(OSError, ValueError, SyntaxError):
            self._jpeg, _, _ = preview_jpeg(preview.data, PREVIEW_SIDE, PREVIEW_BYTES)
            self._jpeg_time = time.monotonic()

    def _several(self, job: Job) -> bool:
        """Whether more than one image is to come: an only one is about to take this place."""
        return self._total > 1 or job.request.values.get("image_number") != 1

    def _finished_images(self, paths: tuple[Path, ...]) -> tuple[bytes, ...]:
        """Return small copies of the images so far."""
        for path in paths:
            if path not in self._thumbnails:
                with contextlib.suppress(OSError, ValueError, SyntaxError):
                    self._thumbnails[path], _, _ = preview_jpeg(
                        path.read_bytes(), THUMBNAIL_SIDE, THUMBNAIL_BYTES
                    )
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


class StartMonitor:
    """Shows an engine while it starts. Pass it as ``on_progress`` and call :meth:`done`.

    Parameters
    ----------
    title : str
        What starts, until the engine has said its name.
    surface : Surface, optional
        Where to draw; by default what fits the frontend.
    """

    def __init__(self, title: str = "Fooocus", surface: Surface | None = None) -> None:
        self.surface = surface or choose_surface()
        self._title = title
        self._began = time.monotonic()
        self._drawn = 0.0
        self._last: View | None = None

    def __call__(self, engine: Engine) -> None:
        """Draw the engine's stage, if it is time to."""
        now = time.monotonic()
        if now - self._drawn < MIN_INTERVAL:
            return
        lines = engine.tail(1)
        view = View(
            title=f"Starting {self._title} {engine.name!r}",
            stage=engine.stage_detail or "Starting",
            elapsed=now - self._began,
            line=lines[-1] if lines else "",
        )
        last = self._last and replace(self._last, elapsed=view.elapsed)
        if view == last and now - self._drawn < MAX_INTERVAL:
            return
        self._drawn, self._last = now, view
        try:
            self.surface.draw(view)
        except Exception:  # noqa: BLE001
            _log.debug("a monitor could not be drawn", exc_info=True)

    def failed(self) -> None:
        """Take the monitor away, for an error to speak."""
        self.surface.finish(None)

    def done(self, engine: Engine) -> None:
        """Say that the engine is ready, in the same place."""
        facts = [duration(time.monotonic() - self._began), engine.url or ""]
        facts += [f"pid {engine.pid}"] if engine.pid else []
        title = f"{engine.title[0].upper()}{engine.title[1:]} is ready as {engine.name!r}"
        self.surface.finish(note_bundle("ok", title, tuple(facts)))


def note_bundle(mark: str, title: str, facts: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a MIME bundle with one line that says how something ended."""
    return {
        "text/html": note_html(mark, title, facts),
        "text/plain": f"{title} ({', '.join(facts)})" if facts else title,
    }


def result_bundle(result: Result) -> dict[str, Any]:
    """Return the MIME bundle of a result."""
    return result._repr_mimebundle_()


def _result_of(job: Job) -> Result | None:
    """Return the images that a job has brought, however it ended; None where there are none."""
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


def _image_size(job: Job) -> tuple[int, int]:
    """Return the size of the images in the making, as far as the request tells."""
    values = job.request.values
    width, height = values.get("overwrite_width"), values.get("overwrite_height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    found = _SIZE.search(str(values.get("aspect_ratios_selection", "")))
    return (int(found[1]), int(found[2])) if found else (1024, 1024)
