"""The history of images that an engine has made for this kernel."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from fooocus_nb.results import Image

__all__ = ["ImageHistory"]

_log = logging.getLogger(__name__)

#: How many of the newest are kept; the files of all stay.
MAX_IMAGES = 10_000


class ImageHistory:
    """Keeps images in the order of their making, and notifies listeners. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: dict[Path, Image] = {}
        self._listeners: list[Callable[[Image], None]] = []

    def add(self, images: Iterable[Image]) -> None:
        """Add images that are new, or whose seed has changed, and notify the listeners."""
        # Which image of a request a file is, and so its seed, may be known only after it has come.
        with self._lock:
            fresh = [
                image
                for image in images
                if (known := self._images.get(image.path)) is None or known.seed != image.seed
            ]
            for image in fresh:
                self._images[image.path] = image
            while len(self._images) > MAX_IMAGES:
                del self._images[next(iter(self._images))]
            listeners = list(self._listeners)
        for image in fresh:
            for listener in listeners:
                try:
                    listener(image)
                except Exception:  # noqa: BLE001 - a listener must not fail a generation
                    _log.exception("a listener for new images failed")

    def images(self) -> list[Image]:
        """Return the images, the oldest first."""
        with self._lock:
            return list(self._images.values())

    def subscribe(self, listener: Callable[[Image], None]) -> Callable[[], None]:
        """Call `listener` with each further image, on any thread; return a way to unsubscribe."""
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return unsubscribe
