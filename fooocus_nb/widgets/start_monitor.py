"""Show the start of an engine: its stages, its downloads and its current step."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from fooocus_nb._html import duration
from fooocus_nb.fooocus.logs.startup import Stage
from fooocus_nb.widgets._html import View
from fooocus_nb.widgets.display_backends import choose_backend
from fooocus_nb.widgets.job_monitor import note_bundle
from fooocus_nb.widgets.renderer import MAX_INTERVAL, MIN_INTERVAL

if TYPE_CHECKING:
    from fooocus_nb.engine.core import Engine
    from fooocus_nb.fooocus.logs.startup import Startup
    from fooocus_nb.widgets.display_backends import DisplayBackend

__all__ = ["StartMonitor", "start_view"]

_log = logging.getLogger(__name__)

#: The titles of the stages.
_STAGES = {
    Stage.SPAWNED: "Process",
    Stage.INSTALLING: "Packages",
    Stage.DOWNLOADING: "Downloads",
    Stage.LOADING: "Engine",
    Stage.HTTP_UP: "Models",
    Stage.READY: "Ready",
}
#: Shown only where something has to be installed or downloaded.
_OPTIONAL = (Stage.INSTALLING, Stage.DOWNLOADING)


class StartMonitor:
    """Shows an engine while it starts. Pass it as ``on_progress`` and call :meth:`done`."""

    def __init__(self, title: str = "Fooocus", backend: DisplayBackend | None = None) -> None:
        self._backend = backend or choose_backend()
        self._title = title
        self._began = time.monotonic()
        self._began_at = time.time()
        self._drawn = 0.0
        self._last: View | None = None

    def __call__(self, engine: Engine) -> None:
        """Draw the engine's stage, unless the last drawing is too recent."""
        now = time.monotonic()
        if now - self._drawn < MIN_INTERVAL:
            return
        view = start_view(engine, now - self._began, self._title)
        last = self._last and replace(self._last, elapsed=view.elapsed)
        if view == last and now - self._drawn < MAX_INTERVAL:
            return
        self._drawn, self._last = now, view
        try:
            self._backend.draw(view)
        except Exception:  # noqa: BLE001
            _log.debug("a monitor could not be drawn", exc_info=True)

    def failed(self) -> None:
        """Clear the monitor: an error is shown instead."""
        self._backend.finish(None)

    def done(self, engine: Engine) -> None:
        """Replace the monitor by a line that says that the engine is ready."""
        facts = [duration(time.monotonic() - self._began), engine.url or ""]
        facts += [f"pid {engine.pid}"] if engine.pid else []
        if engine.idle_timeout is not None:
            facts.append(f"kept until it idles for {duration(engine.idle_timeout)}")
        how = "runs already: attached" if self._ran_before(engine) else "is ready"
        title = f"{engine.title[0].upper()}{engine.title[1:]} {how} as {engine.name!r}"
        self._backend.finish(note_bundle("ok", title, tuple(facts)))

    def _ran_before(self, engine: Engine) -> bool:
        """Whether the engine ran before this start, so that it was only attached."""
        started = (change.time for change in engine.history if change.state == "starting")
        return engine.attached or max(started, default=0.0) < self._began_at


def start_view(engine: Engine, elapsed: float, title: str = "Fooocus") -> View:
    """Return what to show of an engine that starts."""
    startup = engine.startup
    lines = engine.tail(1)
    percent, remaining = _download(startup)
    return View(
        title=f"Starting {title} {engine.name!r}",
        stage=engine.stage_detail or "Starting",
        percent=percent,
        elapsed=elapsed,
        remaining=remaining,
        line=lines[-1] if lines else "",
        stages=_stages(startup),
    )


def _stages(startup: Startup | None) -> tuple[tuple[str, str], ...]:
    if startup is None:
        return ()
    now = startup.stage

    def word(stage: Stage) -> str:
        if stage is now and stage is not Stage.READY:
            return "now"
        return "done" if stage.order <= now.order else "next"

    return tuple(
        (title, word(stage))
        for stage, title in _STAGES.items()
        if stage not in _OPTIONAL or stage in startup.visited
    )


def _download(startup: Startup | None) -> tuple[int | None, float | None]:
    """Return the percent and the seconds left of the download that runs; None where unknown."""
    download = startup.download if startup else None
    if download is None or download.done is None or not download.total:
        return None, None
    remaining = (download.total - download.done) / download.speed if download.speed else None
    return int(100 * download.done / download.total), remaining
