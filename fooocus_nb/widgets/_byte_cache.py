"""Thumbnails that were made, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["ByteCache"]

K = TypeVar("K")


class ByteCache(Generic[K]):
    """Keeps the bytes that were used last, `limit` of them in all. Safe from any thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._known: OrderedDict[K, bytes] = OrderedDict()
        self._held = 0

    def get(self, key: K) -> bytes | None:
        """Return what is kept under a key; None where nothing is."""
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
            return known

    def put(self, key: K, data: bytes) -> None:
        """Keep this, and drop what was not used for longest."""
        with self._lock:
            self._held += len(data) - len(self._known.pop(key, b""))
            self._known[key] = data
            while self._held > self._limit:
                _, old = self._known.popitem(last=False)
                self._held -= len(old)

    def clear(self) -> None:
        """Drop all."""
        with self._lock:
            self._known.clear()
            self._held = 0
