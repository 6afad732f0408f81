"""The grid of a sweep as a widget: it fills as images come, with Skip, Stop and Continue."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from fooocus_nb._html import clip, duration
from fooocus_nb.engine.names import kernel_id
from fooocus_nb.widgets._assets import joined
from fooocus_nb.widgets.monitor_widget import note_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.experiment.progress import SweepProgress, SweepSnapshot
    from fooocus_nb.widgets._html import View

__all__ = ["MAX_TILES", "SweepWidget", "grid_shape"]

#: More cells are squares without images, with the last images in a strip below.
MAX_TILES = 240
MAX_SQUARES = 4000
STRIP = 24
#: A row with more columns would not fit the notebook.
MAX_COLUMNS = 12
MAX_LABEL, MAX_REASON, MAX_FAILED = 120, 300, 20
#: The states of a cell as one sign each, so that thousands are one short message.
SIGNS = {
    "waiting": "w",
    "running": "r",
    "made": "m",
    "failed": "f",
    "skipped": "s",
    "later": "l",
}
PREVIEW_SECONDS = 0.4


def grid_shape(progress: SweepProgress) -> tuple[str, list[str], list[str]]:
    """Return the name and the labels of the columns, and the labels of the rows.

    Nothing where the cells are no whole rows of an axis that is short enough.
    """
    axes, columns, rows = progress.table()
    if not (1 < len(columns) <= MAX_COLUMNS) or len(progress.cells) > MAX_TILES:
        return "", [], []
    return (
        clip(axes, MAX_LABEL),
        [clip(text, MAX_LABEL) for text in columns],
        [clip(text, MAX_LABEL) for text in rows],
    )


class SweepWidget(anywidget.AnyWidget):
    """Shows a sweep and takes what people ask of it."""

    _esm = joined("dom.js", "kernel.js", "server.js", "busy.js", "sweep.js")
    _css = joined("base.css", "kernel.css", "live_head.css", "sweep.css")
    view = traitlets.Dict().tag(sync=True)
    states = traitlets.Unicode().tag(sync=True)
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    shape = traitlets.Dict().tag(sync=True)
    control = traitlets.Unicode("comm").tag(sync=True)
    kernel_id = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        progress: SweepProgress,
        image_of: Callable[[int], bytes],
        preview_of: Callable[[Job], bytes],
        **traits: Any,
    ) -> None:
        self._progress = progress
        self._image_of = image_of
        self._preview_of = preview_of
        self._sent: dict[int, bytes] = {}
        self._preview_at = 0.0
        self._lock = threading.Lock()
        count = min(len(progress.cells), MAX_SQUARES)
        name, columns, rows = grid_shape(progress)
        super().__init__(
            kernel_id=kernel_id(),
            labels=[clip(progress.cell(place).label, MAX_LABEL) for place in range(count)],
            shape={
                "tiles": len(progress.cells) <= MAX_TILES,
                "axis": name,
                "columns": columns,
                "rows": rows,
                "more": len(progress.cells) - count,
            },
            **traits,
        )
        self.on_msg(self._handle)

    def watch(self, job: Job | None, on_command: Callable[[str], None]) -> None:
        """Ignore the job: the sweep has one after the other."""

    def show(self, view: View) -> None:
        """Update the widget. Only what has changed is sent."""
        with self._lock:
            self._show()

    def _show(self) -> None:
        progress = self._progress
        now = progress.snapshot()
        states = now.states
        self._send_images(states)
        self._send_previews(now)
        failed = itertools.islice(
            (place for place, state in enumerate(states) if state == "failed"), MAX_FAILED
        )
        # In one message: what Skip is told to skip is what the tiles show to run.
        with self.hold_sync():
            self.states = "".join(SIGNS.get(state, "w") for state in states[:MAX_SQUARES])
            self.view = {
                "title": clip(progress.title, MAX_LABEL),
                "where": clip(progress.where, MAX_REASON),
                "state": now.state,
                "planned": now.planned,
                "made": now.made,
                "failed": now.failed,
                "skipped": now.skipped,
                "counts": now.counts,
                "times": times_text(now),
                "running": [
                    [place, 0 if job is None else min(max(job.snapshot().percent, 0), 100)]
                    for place, job in now.running
                ],
                "reasons": {
                    str(place): clip(progress.cell(place).reason, MAX_REASON) for place in failed
                },
                "resumable": now.state == "stopped" and progress.resume is not None,
            }

    def _send_images(self, states: tuple[str, ...]) -> None:
        """Send the images of cells that were made since."""
        made = [place for place, state in enumerate(states) if state == "made"]
        if len(states) > MAX_TILES:
            made = self._progress.newest(STRIP)
        for place in made:
            if place not in self._sent:
                self._sent[place] = data = self._image_of(place)
                if data:
                    self.send({"kind": "image", "place": place}, [data])
        while len(self._sent) > MAX_TILES:  # of a strip only the last are kept
            del self._sent[next(iter(self._sent))]

    def _send_previews(self, now: SweepSnapshot) -> None:
        if time.monotonic() - self._preview_at < PREVIEW_SECONDS:
            return
        self._preview_at = time.monotonic()
        for place, job in now.running:
            if job is not None and place < MAX_SQUARES and (data := self._preview_of(job)):
                self.send({"kind": "preview", "place": place}, [data])

    def _handle(self, _widget: object, content: Any, _buffers: object) -> None:
        """Handle a message of the browser. It may come on any thread and hold anything."""
        if not isinstance(content, dict):
            return
        kind = content.get("kind")
        if kind == "hello":
            note_answer()
            with self._lock:
                for place, data in self._sent.items():
                    if data:
                        self.send({"kind": "image", "place": place}, [data])
        elif kind == "stop":
            self._progress.stop()
        elif kind == "skip":
            chosen, seen = content.get("place"), content.get("running")
            if isinstance(chosen, int) and 0 <= chosen < len(self._progress.cells):
                self._progress.skip(chosen)
            elif isinstance(seen, list):  # what ran where the button was pressed, maybe no more
                self._progress.skip_running(each for each in seen if isinstance(each, int))
        elif kind == "continue" and self._progress.resume is not None:
            threading.Thread(target=self._progress.resume, daemon=True).start()


def times_text(now: SweepSnapshot) -> str:
    """Return the elapsed and the remaining time, for people."""
    text = f"{duration(now.elapsed)} elapsed"
    return text if now.remaining is None else f"{text}, about {duration(now.remaining)} left"
