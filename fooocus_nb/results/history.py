"""The history of images that an engine has made for this kernel."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fooocus_nb._background import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from fooocus_nb.results import Image

__all__ = ["ImageHistory"]

#: The newest are kept; all files stay where they are. As many as a gallery shows.
MAX_IMAGES = 10_000


class ImageHistory:
    """Keeps images in the order of their making, and notifies listeners. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: dict[Path, Image] = {}
        self._added: Signal[Image] = Signal("new images")

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
                if self._images:
                    newest = next(reversed(self._images.values()))
                    image.parameters = image.parameters.sharing(newest.parameters)
                self._images[image.path] = image
            while len(self._images) > MAX_IMAGES:
                del self._images[next(iter(self._images))]
            tell = self._added.prepare()
        for image in fresh:
            tell(image)

    def images(self) -> list[Image]:
        """Return the images, the oldest first."""
        with self._lock:
            return list(self._images.values())

    def subscribe(self, listener: Callable[[Image], None]) -> Callable[[], None]:
        """Call `listener` with each further image, on any thread; it must return at once."""
        return self._added.subscribe(listener)
