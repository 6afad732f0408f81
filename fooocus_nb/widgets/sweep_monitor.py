"""What shows a sweep while it is made: a grid that fills, then a bounded summary in its place."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from fooocus_nb._html import data_uri, duration, escape
from fooocus_nb.results.thumbnails import webp_thumbnail
from fooocus_nb.widgets._html import View, images_text, note, page
from fooocus_nb.widgets.display_backends import WidgetBackend, choose_backend
from fooocus_nb.widgets.job_monitor import small_jpeg, small_preview
from fooocus_nb.widgets.renderer import Renderer
from fooocus_nb.widgets.sweep_widget import SweepWidget, grid_shape

if TYPE_CHECKING:
    from types import TracebackType

    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.experiment.progress import SweepProgress
    from fooocus_nb.widgets.display_backends import DrawnWidget

__all__ = ["SweepMonitor"]

#: Tiles are small, and each image is sent once.
TILE_SIDE, TILE_BYTES = 160, 6_000
PREVIEW_SIDE = 160
#: What stays in the notebook, whatever the number of cells: below 400 kB in base64.
KEPT, KEPT_SIDE, KEPT_BYTES = 60, 112, 4_000
KEPT_FAILURES = 10


class SweepMonitor:
    """Shows a sweep in one place while the block runs, and leaves a summary there.

    After a stop in a place with buttons the grid stays, so that Continue can be pressed.
    """

    def __init__(self, progress: SweepProgress, *, awaited: bool = False) -> None:
        self._progress = progress
        self._thumbnails: dict[int, bytes] = {}
        self._previews: tuple[object, bytes] = (None, b"")
        self._backend = choose_backend(awaited=awaited, buttons=True, widget=self._widget)
        self._renderer = Renderer(self._backend, self._view)
        self._unsubscribe = progress.subscribe(self._changed)
        self._left = False

    def __enter__(self) -> SweepMonitor:
        self._renderer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._renderer.end()
        backend, now = self._backend, self._progress.snapshot()
        waits = now.state == "stopped" and now.missing and isinstance(backend, WidgetBackend)
        if waits and isinstance(backend, WidgetBackend) and backend.is_widget:
            self._left = True
            backend.draw(self._view())
            return
        self._finish()

    def _finish(self) -> None:
        self._unsubscribe()
        self._backend.finish(self._final_bundle())

    def _changed(self, place: int) -> None:
        """Draw what has changed; after a Continue, begin and end by itself."""
        if not self._left:
            self._renderer.wake()
            return
        if place != -1:
            self._renderer.wake()
            return
        state = self._progress.snapshot().state
        if state == "running":
            self._renderer = Renderer(self._backend, self._view)
            self._renderer.start()
        elif state in ("done", "failed"):
            self._renderer.end()
            self._finish()
        elif state == "stopped":
            self._renderer.end()
            self._backend.draw(self._view())

    def _widget(self, control: str) -> DrawnWidget:
        return SweepWidget(self._progress, self._tile, self._preview, control=control)

    # -- images -----------------------------------------------------------------------------

    def _tile(self, place: int) -> bytes:
        """Return a cell's image for its tile; empty where there is none."""
        path = self._progress.cell(place).path
        if path is None:
            return b""
        with contextlib.suppress(OSError):
            return small_jpeg(path.read_bytes(), TILE_SIDE, TILE_BYTES)
        return b""

    def _preview(self, job: Job) -> bytes:
        """Return the newest preview of a generation; empty where it is the one before."""
        preview = job.snapshot().preview
        if preview is None or preview is self._previews[0]:
            return b""
        self._previews = preview, small_preview(preview, PREVIEW_SIDE)
        return self._previews[1]

    # -- without widgets --------------------------------------------------------------------

    def _view(self) -> View:
        now = self._progress.snapshot()
        ended = now.planned - now.missing
        images = []
        for place in self._progress.newest(8):
            if place not in self._thumbnails:
                self._thumbnails[place] = self._tile(place)
            if self._thumbnails[place]:
                images.append(self._thumbnails[place])
        return View(
            title=self._progress.title,
            stage={"stopping": "Stopping", "stopped": "Stopped"}.get(now.state, "Making cells"),
            percent=100 * ended // max(now.planned, 1),
            facts=(now.counts,),
            elapsed=now.elapsed,
            remaining=now.remaining,
            line=self._progress.where,
            thumbnails=tuple(images),
            several=True,
        )

    # -- what stays -------------------------------------------------------------------------

    def _final_bundle(self) -> dict[str, Any]:
        now = self._progress.snapshot()
        mark = "bad" if now.failed or now.state == "failed" else "ok"
        mark = "warn" if now.state == "stopped" else mark
        images = images_text(now.images)
        earlier = f"{now.earlier} were there" if now.earlier else ""
        facts = [fact for fact in (f"{images} in {duration(now.elapsed)}", earlier) if fact]
        parts = [note(mark, now.counts, (*facts, self._progress.where))]
        parts += [self._failures(), self._kept_grid()]
        text = f"{now.counts}; {', '.join(facts)}: {self._progress.where}"
        return {"text/html": page(*parts), "text/plain": text}

    def _failures(self) -> str:
        """Return the cells that have failed, with their causes."""
        states = self._progress.states()
        failed = [place for place, state in enumerate(states) if state == "failed"]
        rows = "".join(
            f"<li style='margin:0'>{escape(cell.label, 120)}: {escape(cell.reason, 200)}</li>"
            for cell in map(self._progress.cell, failed[:KEPT_FAILURES])
        )
        more = len(failed) - KEPT_FAILURES
        rows += f"<li style='margin:0'>and {more} more</li>" if more > 0 else ""
        style = "margin:6px 0 0;padding-left:18px;font-size:12px"
        return f"<ul class='fnb-dim' style='{style}'>{rows}</ul>" if rows else ""

    def _kept_grid(self) -> str:
        """Return the images, at most sixty, in the columns of the live grid."""
        made = [
            place
            for place, state in enumerate(self._progress.states())
            if state == "made" and self._progress.cell(place).path is not None
        ][:KEPT]
        if not made:
            return ""
        _, columns, _ = grid_shape(self._progress)
        fixed = f"repeat({len(columns)},minmax(0,104px))" if columns else ""
        style = (
            f"display:grid;gap:6px;margin-top:8px;max-width:760px;grid-template-columns:"
            f"{fixed or 'repeat(auto-fill,minmax(84px,104px))'}"
        )
        tiles = "".join(self._kept_tile(place) for place in made)
        now = self._progress.snapshot()
        more = now.made - len(made)
        line = (
            f'<div class="fnb-dim" style="margin-top:6px;font-size:12px">{more} more are in '
            f"{escape(self._progress.where)}</div>"
            if more > 0
            else ""
        )
        return f'<div style="{style}">{tiles}</div>{line}'

    def _kept_tile(self, place: int) -> str:
        cell = self._progress.cell(place)
        data = b""
        if cell.path is not None:
            with contextlib.suppress(OSError, ValueError, SyntaxError):
                data = webp_thumbnail(cell.path, KEPT_SIDE, KEPT_BYTES)
        label = escape(cell.label, 160)
        image = (
            f'<img src="{data_uri(data, "image/webp")}" alt="{label}" title="{label}" '
            'style="display:block;width:100%;height:auto;border-radius:4px;margin:0">'
            if data
            else ""
        )
        return f"<div>{image}</div>"
