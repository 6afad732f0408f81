"""Show an installation: its steps, the download that runs, and the lines that stay."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from fooocus_nb._html import duration
from fooocus_nb.widgets._html import View
from fooocus_nb.widgets.display_backends import choose_backend
from fooocus_nb.widgets.job_monitor import note_bundle
from fooocus_nb.widgets.renderer import MIN_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fooocus_nb.widgets.display_backends import DisplayBackend

__all__ = ["InstallMonitor"]

_log = logging.getLogger(__name__)


class InstallMonitor:
    """Draws how far an installation is, ten times a second at most.

    Parameters
    ----------
    steps : sequence of str
        The steps, in their order.
    """

    def __init__(self, steps: Sequence[str], backend: DisplayBackend | None = None) -> None:
        self._steps = tuple(steps)
        self._backend = backend or choose_backend()
        self._began = time.monotonic()
        self._drawn = 0.0

    def draw(self, step: str, text: str, percent: int | None) -> None:
        """Draw the step that is done now, unless the last drawing is too recent."""
        now = time.monotonic()
        if now - self._drawn < MIN_INTERVAL:
            return
        self._drawn = now
        at = self._steps.index(step)
        words = ["done"] * at + ["now"] + ["next"] * (len(self._steps) - at - 1)
        view = View(
            title="Installing Fooocus",
            stage=text or step,
            percent=percent,
            elapsed=now - self._began,
            stages=tuple(zip(self._steps, words, strict=True)),
        )
        try:
            self._backend.draw(view)
        except Exception:  # noqa: BLE001 - what shows it must not end it
            _log.debug("a monitor could not be drawn", exc_info=True)

    def failed(self) -> None:
        """Clear it: an error is shown instead."""
        self._backend.finish(None)

    def done(self, title: str) -> None:
        """Replace it by a line that says what is there now."""
        self._backend.finish(note_bundle("ok", title, (duration(time.monotonic() - self._began),)))
