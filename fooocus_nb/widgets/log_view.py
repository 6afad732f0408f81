"""The engine's log as a widget: it follows, searches, filters, and loads earlier lines."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import traitlets

from fooocus_nb._html import clean, clip, escape, wrap
from fooocus_nb.engine.log_pages import (
    ROTATED,
    LostPlaceError,
    Page,
    batch_of,
    lines_of,
    page_before,
    place_at,
    text_of,
    whole,
)
from fooocus_nb.engine.state import EngineState
from fooocus_nb.fooocus.logs.levels import Classifier
from fooocus_nb.supervisor import LineSplitter, LogReader
from fooocus_nb.widgets._assets import joined
from fooocus_nb.widgets.base import LiveView
from fooocus_nb.widgets.monitor_widget import frontend_answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fooocus_nb.engine.core import Engine

__all__ = ["LogPump", "LogView"]

_log = logging.getLogger(__name__)

#: Ten messages a second, each of bounded size: every frontend keeps up with that.
INTERVAL = 0.1
BATCH_BYTES = 128 << 10
FIRST_BYTES = 64 << 10
EARLIER_BYTES = 512 << 10
#: A view that falls further behind than this continues near the end.
MAX_BEHIND = 4 << 20
MAX_LINE = 4000
MAX_PLACE = 100
#: How long the log is followed for a view that no browser has confirmed to show.
UNCONFIRMED_SECONDS = 10.0
_OVER = (EngineState.STOPPED, EngineState.DEAD)
_NOTE = "n"

STATIC_LINES = 60
STATIC_LINE = 300
_COLOURS = {
    "error": "var(--jp-error-color1,#c62828)",
    "warning": "var(--jp-warn-color0,#b55c00)",
}


class LogView(LiveView):
    """Shows an engine's log live. Returned by ``engine.logs()``.

    A saved notebook keeps the last lines as they were when the view was shown or closed.

    Parameters
    ----------
    engine : Engine
        The log's engine. An engine that was only connected to has no log that can be read; then
        the view says so.

    Attributes
    ----------
    engine : Engine
        The log's engine.
    widget : LogView
        The view itself, for layouts: ``VBox([engine.logs().widget])``.
    """

    _esm = joined("dom.js", "kernel.js", "server.js", "log_rows.js", "log_search.js", "log_view.js")
    _css = joined("base.css", "kernel.css", "log_view.css")
    label = traitlets.Unicode().tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)
    first = traitlets.Dict().tag(sync=True)
    #: By what the Jupyter server knows the engine: its process id. Empty for one it cannot know.
    pid = traitlets.Unicode().tag(sync=True)

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        super().__init__(
            label=clip(engine.name, 80),
            note="" if engine.owned else _no_log(engine),
        )
        self._pump = LogPump(engine, self.send)
        self.on_msg(self._handle)

    @property
    def following(self) -> bool:
        """Whether the log is being read: it is while the view is on a screen."""
        return self._pump.running

    def close(self) -> None:
        """Close the view, stop reading the log, and leave the last lines as static HTML."""
        self._pump.close()
        super().close()

    def _handle(self, _widget: object, content: Any, _buffers: object) -> None:
        """Handle a message of the browser. It may come on any thread and hold anything."""
        if not isinstance(content, dict) or self.note:
            return
        viewer = str(content.get("viewer", ""))[:64]
        match content.get("kind"):
            case "open":
                with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
                    self._pump.open(viewer, int(content["epoch"]), int(content["end"]))
            case "shut":
                self._pump.shut(viewer)
            case "earlier":
                self._pump.earlier(str(content.get("place", ""))[:MAX_PLACE])
            case "whole":
                self._pump.whole(viewer)

    def _begin(self) -> None:
        if not self.note:
            self.pid = str(self.engine.pid or "")
            # A busy kernel does not hear the browser: then the log is followed until it does.
            self.first = self._pump.begin(
                float("inf") if frontend_answers() else UNCONFIRMED_SECONDS
            )

    def _lines(self) -> list[str]:
        return [clip(line, STATIC_LINE) for line in self.engine.tail(STATIC_LINES)]

    def _text(self) -> str:
        return "\n".join([self._title(), *self._lines()])

    def _title(self) -> str:
        if self.note:
            return self.note
        return clean(
            f"The last lines of the log of {self.engine.name!r}, which is {self.engine.state}"
        )

    def _html(self) -> str:
        classifier = Classifier()
        rows = []
        for line in self._lines():
            colour = _COLOURS.get(classifier.level(line))
            style = f' style="color:{colour}"' if colour else ""
            rows.append(f"<span{style}>{escape(line, STATIC_LINE)}</span>")
        head = f'<div style="font-weight:600;margin:2px 0 4px">{escape(self._title(), 400)}</div>'
        lines = "\n".join(rows)
        # Laid out from its end, so that the newest lines show without a script that scrolls.
        body = (
            '<div style="display:flex;flex-direction:column-reverse;max-height:340px;'
            'overflow:auto">'
            '<pre class="fnb-mono" style="margin:0;font-family:monospace;font-size:12px;'
            f'line-height:1.4">{lines}</pre></div>'
        )
        return wrap(head, body if rows else "", label="Log of the engine")


class LogPump:
    """Reads an engine's log while a viewer is open, and sends it in batches; thread-safe."""

    def __init__(self, engine: Engine, send: Callable[[dict[str, Any], list[bytes]], None]) -> None:
        self._engine = engine
        self._send = send
        self._lock = threading.RLock()
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._viewers: set[str] = set()
        self._unconfirmed_until = 0.0
        self._thread: threading.Thread | None = None
        self._closed = False
        self._path: Path | None = None
        self._reader: LogReader | None = None
        self._splitter = LineSplitter()
        self._classifier = Classifier()
        self._epoch = 0
        self._next = 0
        self._lost = 0
        self._pending = ""
        self._sent_state = ""
        self._unsubscribe = engine.subscribe(lambda _change: self._start_or_wake())

    @property
    def running(self) -> bool:
        """Whether its thread runs."""
        with self._lock:
            return self._thread is not None

    # -- requests of the view ---------------------------------------------------------------

    def begin(self, seconds: float = UNCONFIRMED_SECONDS) -> dict[str, Any]:
        """Return the last lines, and follow from there for a view that is about to be shown."""
        with self._lock:
            first = self._start_over()
            self._unconfirmed_until = time.monotonic() + seconds
        self._start_or_wake()
        return first

    def open(self, viewer: str, epoch: int, end: int) -> None:
        """Start or continue for a viewer, which gets everything again if it is not up to date."""
        with self._lock:
            self._viewers.add(viewer)
            self._unconfirmed_until = 0.0
        self._enqueue(lambda: self._catch_up(epoch, end))

    def shut(self, viewer: str) -> None:
        """Remove a viewer that was closed."""
        with self._lock:
            self._viewers.discard(viewer)
        self._wake.set()

    def earlier(self, place: str = "") -> None:
        """Send the lines before a place, or before the first one that was sent."""
        self._enqueue(lambda: self._send_earlier(place))

    def whole(self, viewer: str) -> None:
        """Send the whole log file to one viewer."""
        self._enqueue(lambda: self._send_whole(viewer))

    def close(self) -> None:
        """Stop reading for good."""
        with self._lock:
            self._closed = True
            self._viewers.clear()
            if self._thread is None and self._reader is not None:  # else the thread does it
                self._reader.close()
        self._unsubscribe()
        self._wake.set()

    # -- the thread -------------------------------------------------------------------------

    def _enqueue(self, request: Callable[[], None]) -> None:
        self._requests.put(request)
        self._start_or_wake()

    def _start_or_wake(self) -> None:
        """Start the thread where it is needed, or wake it."""
        with self._lock:
            if self._thread is None and self._needed():
                self._thread = threading.Thread(
                    target=self._run, name="fooocus-nb-log-view", daemon=True
                )
                self._thread.start()
        self._wake.set()

    def _needed(self) -> bool:
        viewed = bool(self._viewers) or time.monotonic() < self._unconfirmed_until
        return viewed and not self._closed

    def _run(self) -> None:
        sent = 0.0
        while True:
            self._wake.clear()
            self._serve()
            due = sent + INTERVAL - time.monotonic()
            if due <= 0:
                sent = time.monotonic()
                moved = self._logged(self._pump)
                with self._lock:
                    over = not moved and self._engine.state in _OVER and self._requests.empty()
                    if over or not self._needed():
                        self._thread = None
                        if self._closed and self._reader is not None:
                            self._reader.close()
                        return
                due = INTERVAL
            self._wake.wait(due)

    def _serve(self) -> None:
        while True:
            try:
                request = self._requests.get_nowait()
            except queue.Empty:
                return
            self._logged(request)

    def _logged(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception:  # noqa: BLE001 - a failed message must not end the thread
            _log.debug("a log view failed", exc_info=True)
            return None

    # -- reading ----------------------------------------------------------------------------

    def _start_over(self) -> dict[str, Any]:
        """Return the last lines, numbered from 0 in a new epoch."""
        self._epoch += 1
        self._next = 0
        self._pending = ""
        self._open_log(FIRST_BYTES)
        batch = self._next_batch(BATCH_BYTES)
        return {"epoch": self._epoch, "more": self._before(), "place": self._head(), **batch}

    def _open_log(self, begin: int) -> None:
        if self._reader is not None:
            self._reader.close()
        self._path = self._engine.log_path
        self._reader = None if self._path is None else LogReader(self._path, begin)
        self._splitter, self._classifier, self._lost = LineSplitter(), Classifier(), 0

    def _next_batch(self, limit: int, note: str = "") -> dict[str, Any]:
        """Return the next lines with their number, after a note of ours."""
        data = self._reader.read(limit) if self._reader is not None else b""
        batch = batch_of(self._splitter.feed(data), self._classifier)
        if note:
            batch["text"] = f"{note}\n{batch['text']}" if batch["count"] else note
            batch["levels"] = _NOTE + batch["levels"]
            batch["count"] += 1
        # A progress bar's newest state has no line ending yet: that comes when it is redrawn.
        batch["pending"] = clip(self._splitter.rest, MAX_LINE) or batch["pending"]
        batch["at"] = self._next
        self._next += batch["count"]
        return batch

    def _head(self) -> str:
        """Return the place of the first line that was sent, by which the server has those before.

        Nothing where the names of the files change at this moment.
        """
        head = self._reader.head() if self._reader is not None else None
        place = "" if head is None else place_at(*head)
        return place if self._reader is not None and self._reader.head() == head else ""

    def _before(self) -> int:
        return self._reader.before() if self._reader is not None else 0

    def _pump(self) -> bool:
        """Send new lines and the state, and return whether there were lines."""
        with self._lock:
            batch = self._next_batch(BATCH_BYTES, self._switch())
            if batch["count"] or batch["pending"] != self._pending:
                self._pending = batch["pending"]
                self._send({"kind": "lines", "epoch": self._epoch, **batch}, [])
            state = str(self._engine.state)
            if state != self._sent_state:
                self._sent_state = state
                self._send({"kind": "state", "state": state}, [])
            return bool(batch["count"])

    def _switch(self) -> str:
        """Switch to another run's log or skip ahead in this one, and return a note of that."""
        if self._engine.log_path != self._path:
            self._open_log(FIRST_BYTES)
            return "[started again]"
        reader = self._reader
        if reader is None:
            return ""
        if reader.behind() > MAX_BEHIND:
            left_out = reader.skip(BATCH_BYTES)
            self._splitter = LineSplitter()
            return f"[{left_out:,} bytes left out here: the download has them]"
        if reader.lost > self._lost:
            self._lost = reader.lost
            return "[lines are missing here: they came faster than they could be read]"
        return ""

    # -- answers ----------------------------------------------------------------------------

    def _catch_up(self, epoch: int, end: int) -> None:
        with self._lock:
            self._sent_state = ""
            if self._reader is None or epoch != self._epoch or end != self._next:
                self._send({"kind": "reset", **self._start_over()}, [])

    def _send_earlier(self, place: str) -> None:
        with self._lock:
            # A viewer that has pages by the server is elsewhere than our own reader.
            if place and self._path is not None:
                try:
                    page = page_before(self._path, place, EARLIER_BYTES)
                except LostPlaceError:  # rotated away: there is nothing before it any more
                    page = Page(b"", "", "", 0, 0)
                data, more, begin = page.data, page.before, page.begin
            else:
                data = self._reader.earlier(EARLIER_BYTES) if self._reader is not None else b""
                more, begin = self._before(), self._head()
            batch = batch_of(lines_of(data), Classifier())
            where = {"epoch": self._epoch, "more": more, "place": begin}
            self._send({"kind": "earlier", **where, **batch}, [])

    def _send_whole(self, viewer: str) -> None:
        """Send all that is kept, in pieces. Without the lock, which a page's messages wait for."""
        path = self._path
        try:
            for piece in whole(path) if path is not None else ():
                self._send_part(viewer, text_of(piece))
        except LostPlaceError:
            self._send_part(viewer, f"{ROTATED}\n")
        self._send_part(viewer, "", last=True)

    def _send_part(self, viewer: str, text: str, *, last: bool = False) -> None:
        part = text.encode("utf-8", errors="replace")
        self._send({"kind": "part", "viewer": viewer, "last": last}, [part])


def _no_log(engine: Engine) -> str:
    return clip(f"Engine {engine.name!r} was not started here: its log cannot be read.", 300)
