"""The log: lines on the output, progress bars on the error output."""

from __future__ import annotations

import sys
import time

__all__ = ["Bar", "prepare", "say"]

#: A bar is drawn no more often, as tqdm does.
REDRAW_SECONDS = 0.1
WIDTH = 10
_PARTS = " ▏▎▍▌▋▊▉█"


def prepare() -> None:
    """Let every character be printed, whatever the terminal's or the log's encoding."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="backslashreplace")


def say(text: str = "") -> None:
    """Print a line at once."""
    print(text, flush=True)


class Bar:
    """A progress bar that is drawn again and again in its line.

    Parameters
    ----------
    total : int
        The number of steps.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._done = 0
        self._began = time.monotonic()
        self._drawn = 0.0
        self._draw()

    def advance(self) -> None:
        """Note that a step is done."""
        self._done += 1
        if time.monotonic() - self._drawn >= REDRAW_SECONDS or self._done == self.total:
            self._draw()

    def close(self) -> None:
        """Draw it for the last time and end the line."""
        self._draw()
        print(file=sys.stderr, flush=True)

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        elapsed = self._drawn - self._began
        share = self._done / max(self.total, 1)
        eighths = int(share * WIDTH * 8)
        bar = "█" * (eighths // 8) + (_PARTS[eighths % 8] if eighths < WIDTH * 8 else "")
        left, rate = "?", "?it/s"
        if self._done:
            pace = elapsed / self._done
            left = _clock(pace * (self.total - self._done))
            rate = f"{pace:5.2f}s/it" if pace > 1 else f"{1 / max(pace, 1e-6):5.2f}it/s"
        counts = f"{self._done}/{self.total} [{_clock(elapsed)}<{left}, {rate}]"
        print(f"\r{share:4.0%}|{bar:<{WIDTH}}| {counts}", end="", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"
