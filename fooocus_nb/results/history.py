"""The images that an engine has made for this kernel, and who wants to hear of the next."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from fooocus_nb.results import Image

__all__ = ["Album"]

_log = logging.getLogger(__name__)

#: The newest are kept; all files stay where they are.
MAX_IMAGES = 10_000


class Album:
    """Images in the order in which they were made. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: dict[Path, Image] = {}
        self._listeners: list[Callable[[Image], None]] = []

    def add(self, images: Iterable[Image]) -> None:
        """Add images that are not in it yet.

        Parameters
        ----------
        images : iterable of Image
            One whose file is in it already takes that one's place if its seed is another: which
            image of a request a file is can become known only after it has come.
        """
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
                except Exception:  # noqa: BLE001 - a screen must not cost a generation
                    _log.exception("a listener for new images failed")

    def images(self) -> list[Image]:
        """Return the images, oldest first."""
        with self._lock:
            return list(self._images.values())

    def subscribe(self, listener: Callable[[Image], None]) -> Callable[[], None]:
        """Call `listener` with each further image.

        Parameters
        ----------
        listener : callable
            Gets an :class:`~fooocus_nb.results.Image`, on any thread; it must return at once.

        Returns
        -------
        callable
            Ends the subscription.
        """
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return unsubscribe
