"""The thread behind a gallery: it looks at files and makes thumbnails, the newest wishes first."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

from fooocus_nb.results.thumbnails import webp_thumbnail
from fooocus_nb.widgets._gallery_items import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fooocus_nb.widgets._gallery_items import Entry, Items

__all__ = ["Worker"]

_log = logging.getLogger(__name__)

THUMBNAIL_SIDE = 320
THUMBNAIL_BYTES = 16_000
CACHE_BYTES = 32 << 20
#: So many cards or thumbnails go into one message.
CARDS_AT_ONCE = 100
THUMBNAILS_AT_ONCE = 6
#: A page shows no more at once; wishes beyond that are old ones.
MAX_WANTED = 200


class Worker:
    """Does what a gallery asks for, on a thread that lives only while there is something to do.

    All public methods return at once and are safe from any thread.

    Parameters
    ----------
    items : Items
        What the gallery shows.
    send : callable
        Sends one message, with buffers; called on the worker's thread.
    """

    def __init__(self, items: Items, send: Callable[[dict[str, Any], list[bytes]], None]) -> None:
        self._items = items
        self._send = send
        self._lock = threading.Lock()
        self._orders: deque[Callable[[], None]] = deque()
        self._wanted: deque[Entry] = deque()
        self._unseen: deque[Entry] = deque()
        self._thumbnails: OrderedDict[int, bytes] = OrderedDict()
        self._cached = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def order(self, work: Callable[[], None]) -> None:
        """Do this next."""
        with self._lock:
            self._orders.append(work)
        self._rouse()

    def want(self, entries: Iterable[Entry]) -> None:
        """Make and send these thumbnails, in place of those that were wanted before."""
        with self._lock:
            self._wanted = deque(list(entries)[:MAX_WANTED])
        self._rouse()

    def look(self, entries: Iterable[Entry]) -> None:
        """Look at these files, and send what their cards say, when nothing else is wanted."""
        seen = list(entries)
        with self._lock:
            self._unseen.extend(seen)
        if len(seen) > CARDS_AT_ONCE:  # their names come at once, so that each has its place
            self.order(lambda: self._send_cards(seen))
        self._rouse()

    def close(self) -> None:
        """Do nothing more."""
        with self._lock:
            self._closed = True
            for waiting in (self._orders, self._wanted, self._unseen):
                waiting.clear()

    def _rouse(self) -> None:
        with self._lock:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=self._run, name="fooocus-nb-gallery", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except Exception:  # noqa: BLE001 - a file must not cost the thread that serves all
                _log.debug("a gallery could not do what was asked of it", exc_info=True)

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            if self._orders:
                return self._orders.popleft()
            if self._wanted:
                batch = _take(self._wanted, THUMBNAILS_AT_ONCE)
                return lambda: self._send_thumbnails(batch)
            if self._unseen:
                batch = _take(self._unseen, CARDS_AT_ONCE)
                return lambda: self._look_and_send(batch)
            self._thread = None
            return None

    def _look_and_send(self, entries: list[Entry]) -> None:
        for entry in entries:
            if not entry.facts:
                self._items.look(entry)
        self._send_cards(entries)

    def _send_cards(self, entries: list[Entry]) -> None:
        cards = [self._items.card(entry) for entry in entries]
        self._send({"kind": "cards", "total": len(self._items), "cards": cards}, [])

    def _send_thumbnails(self, entries: list[Entry]) -> None:
        made = [(entry.number, data) for entry in entries if (data := self.thumbnail(entry))]
        if made:
            numbers = [number for number, _ in made]
            self._send({"kind": "thumbs", "ids": numbers}, [data for _, data in made])

    def thumbnail(self, entry: Entry) -> bytes:
        """Return a small WebP of an entry; empty where its file cannot be read."""
        import PIL.Image

        with self._lock:
            known = self._thumbnails.get(entry.number)
            if known is not None:
                self._thumbnails.move_to_end(entry.number)
                return known
        try:
            data = webp_thumbnail(entry.path, THUMBNAIL_SIDE, THUMBNAIL_BYTES)
        except (*unreadable, PIL.Image.DecompressionBombError):
            self._items.look(entry)
            entry.facts.setdefault("error", "No picture that can be read.")
            self._send_cards([entry])
            return b""
        with self._lock:
            self._thumbnails[entry.number] = data
            self._cached += len(data)
            while self._cached > CACHE_BYTES:
                _, old = self._thumbnails.popitem(last=False)
                self._cached -= len(old)
        return data


def _take(waiting: deque[Entry], count: int) -> list[Entry]:
    return [waiting.popleft() for _ in range(min(count, len(waiting)))]
