"""A progress bar for a terminal, and plain lines where there is none."""

from __future__ import annotations

import itertools
import shutil
from typing import TYPE_CHECKING

from fooocus_nb._html import clean

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["ProgressBar", "format_seconds"]

BAR_WIDTH = 24
UNICODE_SHAPES = ("━", "─", "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
ASCII_SHAPES = ("#", "-", "|/-\\")
CLEAR_LINE = "\r\x1b[2K"


def format_seconds(seconds: float) -> str:
    """Return a duration as ``m:ss``, or ``h:mm:ss`` from an hour on, rounded down."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class ProgressBar:
    """One line that is redrawn in a terminal; elsewhere, one line for every new title."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._redraws = stream.isatty()
        self._full, self._empty, spinner = (
            UNICODE_SHAPES if _can_encode(stream, "".join(UNICODE_SHAPES)) else ASCII_SHAPES
        )
        self._spinner = itertools.cycle(spinner)
        self._drawn = False
        self._title: str | None = None

    def show(self, done: int, total: int, elapsed: float, title: str, detail: str = "") -> None:
        """Show how many steps are done and what runs now; only a terminal shows `detail`."""
        # One line each: what an engine, a server or a file's name says must not steer the terminal.
        title, detail = (" ".join(clean(text).split()) for text in (title, detail))
        if self._redraws:
            self._redraw(done, total, elapsed, f"{title}: {detail}" if detail else title)
        elif title != self._title:
            self._stream.write(f"[{done}/{total}] {format_seconds(elapsed)} {title}\n")
            self._stream.flush()
        self._title = title

    def close(self) -> None:
        """Remove the line, so that what is printed next begins at the margin."""
        if self._drawn:
            self._stream.write(CLEAR_LINE)
            self._stream.flush()
            self._drawn = False

    def _redraw(self, done: int, total: int, elapsed: float, title: str) -> None:
        filled = BAR_WIDTH * done // total if total else 0
        bar = self._full * filled + self._empty * (BAR_WIDTH - filled)
        mark = next(self._spinner) if done < total else " "
        line = f"{mark} {bar} {done}/{total}  {format_seconds(elapsed)}  {title}"
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(CLEAR_LINE + line[:width])
        self._stream.flush()
        self._drawn = True


def _can_encode(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
