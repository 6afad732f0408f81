"""The log: lines on the output, progress bars on the error output."""

from __future__ import annotations

import sys
import time

__all__ = ["Bar", "prepare", "say"]

#: A bar is drawn no more often, which is tqdm's default too.
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
    """A progress bar drawn as tqdm's, of so many steps; it counts bytes where a size is given."""

    def __init__(self, total: int, size: int = 0) -> None:
        self.total = total
        self._step_size = size / total if size else 0.0
        self._done = 0
        self._began = time.monotonic()
        self._drawn = 0.0
        self._draw()

    def advance(self) -> None:
        """Count one more step."""
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
        pace = elapsed / self._done if self._done else 0.0
        left = _clock(pace * (self.total - self._done)) if self._done else "?"
        done, total, rate = self._words(max(pace, 1e-6))
        if not self._done:
            rate = "?B/s" if self._step_size else "?it/s"
        counts = f"{done}/{total} [{_clock(elapsed)}<{left}, {rate}]"
        print(f"\r{share:4.0%}|{bar:<{WIDTH}}| {counts}", end="", file=sys.stderr, flush=True)

    def _words(self, pace: float) -> tuple[str, str, str]:
        """Return how much is done, how much there is, and how fast it goes at seconds per step."""
        if self._step_size:
            done, total = (_size(steps * self._step_size) for steps in (self._done, self.total))
            return done, total, f"{_size(self._step_size / pace)}B/s"
        rate = f"{pace:5.2f}s/it" if pace > 1 else f"{1 / pace:5.2f}it/s"
        return str(self._done), str(self.total), rate


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"


def _size(number: float) -> str:
    for unit in ("", "k", "M"):
        if number < 1000:
            return f"{number:.3g}{unit}"
        number /= 1024
    return f"{number:.3g}G"
