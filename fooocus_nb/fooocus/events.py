"""The events of a generation, as small immutable records."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Event", "Finished", "ImageFinished", "Preview", "Progress", "Queued", "Started"]


@dataclass(frozen=True, slots=True)
class Queued:
    """The request waits in the server's queue.

    Attributes
    ----------
    rank : int
        How many requests are before this one; 0 is the next to run.
    """

    rank: int


@dataclass(frozen=True, slots=True)
class Started:
    """The server has started the request."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The engine reports its progress.

    Attributes
    ----------
    percent : int
        The whole request's progress, 0 to 100, as the engine estimates it.
    text : str
        The engine's own text, such as ``Sampling step 3/30, image 1/2 ...``.
    step, steps : int or None
        The sampling step and how many there are, where the text says so.
    image, images : int or None
        The current image, from 1, and how many were asked for, where the text says so.
    """

    percent: int
    text: str
    step: int | None = None
    steps: int | None = None
    image: int | None = None
    images: int | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """A preview of the current image.

    Attributes
    ----------
    data : bytes
        The encoded image.
    mime : str
        Its media type, such as ``image/png``.
    """

    data: bytes = field(repr=False)
    mime: str


@dataclass(frozen=True, slots=True)
class ImageFinished:
    """One more image is finished.

    Attributes
    ----------
    path : str
        Where the server keeps it; served under ``/file=PATH``.
    """

    path: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The server has ended the request.

    Attributes
    ----------
    paths : tuple of str
        The final gallery, in the server's order.
    """

    paths: tuple[str, ...]


Event = Queued | Started | Progress | Preview | ImageFinished | Finished
