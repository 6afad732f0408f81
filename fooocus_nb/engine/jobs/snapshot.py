"""What a generation looks like at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fooocus_nb.fooocus.events import Preview

__all__ = ["Snapshot"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a generation looks like at one moment.

    Attributes
    ----------
    state : str
        ``queued``, ``starting``, ``running``, ``done``, ``stopped`` or ``failed``.
    percent : int
        The whole request's progress, 0 to 100.
    text : str
        The engine's own words.
    step, steps, image, images : int or None
        The sampling step and the image in the making, both from 1, and how many there are.
    preview : Preview or None
        The latest picture of the image in the making.
    paths : tuple of Path
        The images copied so far.
    elapsed : float
        Seconds since the request was handed in.
    remaining : float or None
        Seconds that are left, as far as the pace so far tells.
    last_line : str
        The engine's last log line.
    rank : int
        How many requests are before this one while it is queued.
    """

    state: str = "queued"
    percent: int = 0
    text: str = ""
    step: int | None = None
    steps: int | None = None
    image: int | None = None
    images: int | None = None
    preview: Preview | None = None
    paths: tuple[Path, ...] = ()
    elapsed: float = 0.0
    remaining: float | None = None
    last_line: str = ""
    rank: int = 0
