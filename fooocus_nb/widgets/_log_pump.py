"""Follows an engine's log file for a view: what was there, what comes, and what came before."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from fooocus_nb._html import clip
from fooocus_nb.engine.state import EngineState
from fooocus_nb.fooocus.logs.levels import Classifier
from fooocus_nb.supervisor import Line, LineSplitter, LogReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fooocus_nb.engine.core import Engine

__all__ = ["LogPump", "batch_of"]

_log = logging.getLogger(__name__)

#: Ten messages a second, each of bounded size: what every frontend takes in.
INTERVAL = 0.1
BATCH_BYTES = 128 << 10
FIRST_BYTES = 64 << 10
EARLIER_BYTES = 512 << 10
PART_BYTES = 1 << 20
#: Who falls further behind than this goes on near the end.
MAX_BEHIND = 4 << 20
MAX_LINE = 4000
#: How long the log is followed for a view of which no browser has told yet.
UNHEARD_SECONDS = 10.0
_OVER = (EngineState.STOPPED, EngineState.DEAD)
_SHORT = {"info": "i", "warning": "w", "error": "e", "note": "n"}


def batch_of(lines: Sequence[Line], classifier: Classifier) -> dict[str, Any]:
    r"""Return lines as a message has them, as a terminal would show them.

    Parameters
    ----------
    lines : sequence of Line
        A line that was redrawn (``transient``) gives way to the next one.
    classifier : Classifier
        Tells the level of each.

    Returns
    -------
    dict
        ``text``, the lines joined by ``\n``; ``levels``, a letter for each; ``count``, how many;
        and ``pending``, the line that will be redrawn, or nothing.
    """
    kept = [line.text for line in lines if not line.transient]
    pending = lines[-1].text if lines and lines[-1].transient else ""
    return {
        "text": "\n".join(clip(text, MAX_LINE) for text in kept),
        "levels": "".join(_SHORT[classifier.level(text)] for text in kept),
        "count": len(kept),
        "pending": clip(pending, MAX_LINE),
    }


class LogPump:
    """Reads an engine's log for as long as somebody looks, and sends it in batches.

    All public methods return at once and are safe from any thread. Nothing runs while nobody
    looks, after the engine's end, or after :meth:`close`.

    Parameters
    ----------
    engine : Engine
        Whose log.
    send : callable
        Sends one message, with buffers; called on the pump's thread.
    """

    def __init__(self, engine: Engine, send: Callable[[dict[str, Any], list[bytes]], None]) -> None:
        self._engine = engine
        self._send = send
        self._lock = threading.RLock()
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._viewers: set[str] = set()
        self._unheard_until = 0.0
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
        self._told = ""
        self._unsubscribe = engine.subscribe(lambda _change: self._rouse())

    @property
    def running(self) -> bool:
        """Whether its thread runs."""
        with self._lock:
            return self._thread is not None

    # -- what the view asks for -------------------------------------------------------------

    def begin(self, patience: float = UNHEARD_SECONDS) -> dict[str, Any]:
        """Return the last lines, and go on from there for a view that is about to be shown.

        Parameters
        ----------
        patience : float
            Seconds for a browser to say that it shows the view.
        """
        with self._lock:
            first = self._start_over()
            self._unheard_until = time.monotonic() + patience
        self._rouse()
        return first

    def open(self, viewer: str, epoch: int, end: int) -> None:
        """Begin, or go on, for a viewer.

        Parameters
        ----------
        viewer : str
            What it calls itself.
        epoch, end : int
            How far it has come; if that is not where we are, it gets everything anew.
        """
        with self._lock:
            self._viewers.add(viewer)
            self._unheard_until = 0.0
        self._ask(lambda: self._catch_up(epoch, end))

    def shut(self, viewer: str) -> None:
        """Note that a viewer looks no more."""
        with self._lock:
            self._viewers.discard(viewer)
        self._wake.set()

    def earlier(self) -> None:
        """Send what came before the first line that was sent."""
        self._ask(self._send_earlier)

    def whole(self, viewer: str) -> None:
        """Send the whole log as it is on the disk, to one viewer."""
        self._ask(lambda: self._send_whole(viewer))

    def close(self) -> None:
        """End for good."""
        with self._lock:
            self._closed = True
            self._viewers.clear()
        self._unsubscribe()
        self._wake.set()

    # -- the thread -------------------------------------------------------------------------

    def _ask(self, request: Callable[[], None]) -> None:
        self._requests.put(request)
        self._rouse()

    def _rouse(self) -> None:
        """See that the thread runs, if it should."""
        with self._lock:
            if self._thread is None and self._wanted():
                self._thread = threading.Thread(
                    target=self._run, name="fooocus-nb-log-view", daemon=True
                )
                self._thread.start()
        self._wake.set()

    def _wanted(self) -> bool:
        looked_at = bool(self._viewers) or time.monotonic() < self._unheard_until
        return looked_at and not self._closed

    def _run(self) -> None:
        sent = 0.0
        while True:
            self._wake.clear()
            self._serve()
            due = sent + INTERVAL - time.monotonic()
            if due <= 0:
                sent = time.monotonic()
                moved = self._guarded(self._pump)
                with self._lock:
                    over = not moved and self._engine.state in _OVER and self._requests.empty()
                    if over or not self._wanted():
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
            self._guarded(request)

    def _guarded(self, work: Callable[[], Any]) -> Any:
        try:
            with self._lock:
                return work()
        except Exception:  # noqa: BLE001 - a screen must not cost the thread that serves it
            _log.debug("a log view failed", exc_info=True)
            return None

    # -- reading ----------------------------------------------------------------------------

    def _start_over(self) -> dict[str, Any]:
        """Return the last lines as the beginning of a new count."""
        self._epoch += 1
        self._next = 0
        self._pending = ""
        self._open_log(FIRST_BYTES)
        batch = self._take(BATCH_BYTES)
        return {"epoch": self._epoch, "more": self._before(), **batch}

    def _open_log(self, begin: int) -> None:
        if self._reader is not None:
            self._reader.close()
        self._path = self._engine.log_path
        self._reader = None if self._path is None else LogReader(self._path, begin)
        self._splitter, self._classifier, self._lost = LineSplitter(), Classifier(), 0

    def _take(self, limit: int, note: str = "") -> dict[str, Any]:
        """Return the next lines with their place in the count, behind a note of ours."""
        data = self._reader.read(limit) if self._reader is not None else b""
        batch = batch_of(self._splitter.feed(data), self._classifier)
        if note:
            batch["text"] = f"{note}\n{batch['text']}" if batch["count"] else note
            batch["levels"] = _SHORT["note"] + batch["levels"]
            batch["count"] += 1
        # A bar's newest state has no ending yet: that comes when it is redrawn.
        batch["pending"] = clip(self._splitter.rest, MAX_LINE) or batch["pending"]
        batch["at"] = self._next
        self._next += batch["count"]
        return batch

    def _before(self) -> int:
        return self._reader.before() if self._reader is not None else 0

    def _pump(self) -> bool:
        """Send what is new, and say whether there was anything."""
        batch = self._take(BATCH_BYTES, self._turn())
        if batch["count"] or batch["pending"] != self._pending:
            self._pending = batch["pending"]
            self._send({"kind": "lines", "epoch": self._epoch, **batch}, [])
        state = str(self._engine.state)
        if state != self._told:
            self._told = state
            self._send({"kind": "state", "state": state}, [])
        return bool(batch["count"])

    def _turn(self) -> str:
        """Turn to another run's log, or to the end of this one, and return a note of that."""
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

    # -- answering --------------------------------------------------------------------------

    def _catch_up(self, epoch: int, end: int) -> None:
        self._told = ""
        if self._reader is None or epoch != self._epoch or end != self._next:
            self._send({"kind": "reset", **self._start_over()}, [])

    def _send_earlier(self) -> None:
        data = self._reader.earlier(EARLIER_BYTES) if self._reader is not None else b""
        splitter = LineSplitter()
        batch = batch_of([*splitter.feed(data), *splitter.flush()], Classifier())
        self._send({"kind": "earlier", "epoch": self._epoch, "more": self._before(), **batch}, [])

    def _send_whole(self, viewer: str) -> None:
        parts: list[bytes] = []
        if self._path is not None:
            reader = LogReader(self._path, 0)
            while part := reader.earlier(PART_BYTES):
                parts.append(part)
            reader.close()
        for number, part in enumerate(reversed(parts), 1):
            last = number == len(parts)
            self._send({"kind": "part", "viewer": viewer, "last": last}, [part])
        if not parts:
            self._send({"kind": "part", "viewer": viewer, "last": True}, [b""])
