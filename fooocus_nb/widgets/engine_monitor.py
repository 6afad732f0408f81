"""The permanent monitor of one engine: idle, starting, busy or dead."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fooocus_nb.engine.health import memory_of
from fooocus_nb.engine.state import EngineState
from fooocus_nb.widgets._html import View, monitor_html, monitor_text
from fooocus_nb.widgets.base import StaticFallback, bundle_of
from fooocus_nb.widgets.display_backends import ignore_command, widget_bundle, widgets_wanted
from fooocus_nb.widgets.job_monitor import JobViewBuilder, image_size
from fooocus_nb.widgets.layouts import remember
from fooocus_nb.widgets.renderer import Renderer
from fooocus_nb.widgets.start_monitor import start_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.widgets.monitor_widget import LiveMonitor

__all__ = ["EngineMonitor"]

#: How often an open monitor reads the memory use of an idle engine.
MEMORY_SECONDS = 5.0

_STATES = {
    EngineState.STARTING: ("", "Starting"),
    EngineState.READY: ("ok", "Ready"),
    EngineState.BUSY: ("ok", "Generating"),
    EngineState.UNRESPONSIVE: ("bad", "Unresponsive"),
    EngineState.ASLEEP: ("", "Asleep"),
    EngineState.STOPPING: ("warn", "Stopping"),
    EngineState.STOPPED: ("warn", "Stopped"),
    EngineState.DEAD: ("bad", "Dead"),
}
_ASLEEP = "Its memory is free. The next generation starts it again"
_RESTART = "engine.restart() starts it again"


class EngineMonitor(StaticFallback):
    """Monitors an engine, with Stop and Skip for each of its generations.

    Show it as the last value of a cell, as often as you like. Without widgets it shows the
    engine's state at that moment. In a layout of other widgets, use its :attr:`widget`::

        ipywidgets.VBox([engine.monitor().widget, ...])

    Parameters
    ----------
    engine : Engine
        The engine to monitor.

    Attributes
    ----------
    engine : Engine
        The monitored engine.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        #: Taken before the other one, where both are.
        self._lock = threading.RLock()
        #: Held while a view is built: by the renderer, and by who asks for one.
        self._building = threading.RLock()
        self._widget: LiveMonitor | None = None
        self._renderer: Renderer | None = None
        #: How many panels show the same widget.
        self._panels = 0
        self._ended = threading.Event()
        self._memory: int | None = None
        self._job: Job | None = None
        #: The generation of the view that is being drawn; somebody else may look at a newer one.
        self._drawn: Job | None = None
        self._builder = JobViewBuilder()
        self._last: View | None = None
        self._subscriptions: list[Callable[[], None]] = []
        self._unsubscribe_job: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"<EngineMonitor of {self.engine.name!r}: {monitor_text(self.view())}>"

    # -- showing ----------------------------------------------------------------------------

    def view(self) -> View:
        """Return the present view of the engine."""
        job = self.engine.current_job
        state = self.engine.state
        with self._building:
            if job is not None and state is EngineState.BUSY:
                return self._busy(job)
            if state is EngineState.STARTING:
                began = self.engine.history[-1].time
                return start_view(self.engine, _seconds_since(began), self.engine.title)
            return self._idle(state)

    def _view_to_draw(self) -> View:
        """Return the present view, and remember whose it is; the renderer calls this."""
        with self._building:
            view = self.view()
            self._drawn = self._job
        return view

    @property
    def widget(self) -> LiveMonitor:
        """The widget, for ``VBox`` and other layouts; the same one until it is closed.

        It is made, and follows the engine, from the first use on.
        """
        from fooocus_nb.widgets.monitor_widget import LiveMonitor

        with self._lock:
            if self._widget is None:
                self._ended = threading.Event()  # the thread of a widget before has its own
                self._last = None  # a new widget has drawn nothing yet
                self._widget = LiveMonitor()
                remember(self._widget, self.static_html)
                self._renderer = Renderer(self, self._view_to_draw)
                self._subscriptions = [self.engine.subscribe(lambda _: self._wake())]
                self._renderer.start()
                threading.Thread(
                    target=self._poll_memory,
                    args=(self._ended,),
                    name="fooocus-nb-memory",
                    daemon=True,
                ).start()
            return self._widget

    def hold(self) -> LiveMonitor:
        """Return the widget for a panel, which calls :meth:`release` when it is closed."""
        with self._lock:
            self._panels += 1
            return self.widget

    def release(self) -> None:
        """Close the widget if neither a panel nor a cell shows it any more."""
        with self._lock:
            self._panels -= 1
            shown = self._panels or self._display_ids
        if not shown:
            self.close()

    def close(self) -> None:
        """Replace the view by static HTML, and stop monitoring unless a panel shows the widget."""
        self._show_fallback()
        with self._lock:
            if self._panels:
                return
            widget, renderer = self._widget, self._renderer
            self._widget = self._renderer = None
            self._ended.set()
            for unsubscribe in self._subscriptions:
                unsubscribe()
            self._subscriptions = []
            self._follow(None)
        if renderer is not None:
            renderer.end()
        if widget is not None:
            widget.close()

    def draw(self, view: View) -> None:
        """Update the widget; the renderer calls this."""
        widget = self._widget
        if widget is None or view == self._last:
            return
        self._last = view
        widget.watch(self._drawn, ignore_command)
        widget.show(view, active=not view.still and not view.stages)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        shown = widget_bundle(self.widget) if widgets_wanted() else None
        return bundle_of(shown, text=self._text(), html=self._html())

    def _text(self) -> str:
        return monitor_text(self.view())

    def _html(self) -> str:
        return monitor_html(self.view())

    # -- states of the engine ---------------------------------------------------------------

    def _busy(self, job: Job) -> View:
        if job is not self._job:
            self._builder = JobViewBuilder()
            self._follow(job)
        waiting = len(self.engine.jobs) - 1
        view = self._builder.view(job)
        facts = (*view.facts, f"{waiting} more waiting") if waiting > 0 else view.facts
        return replace(view, facts=facts)

    def _idle(self, state: EngineState) -> View:
        engine = self.engine
        mark, stage = _STATES[state]
        view = View(
            title=f"{engine.title[0].upper()}{engine.title[1:]} {engine.name!r}",
            stage=stage,
            mark=mark,
            still=True,
            facts=self._facts(state),
        )
        if state in (EngineState.DEAD, EngineState.UNRESPONSIVE):
            view = replace(view, stage=f"{stage}: {engine.history[-1].reason}")
        if state in (EngineState.DEAD, EngineState.STOPPED, EngineState.UNRESPONSIVE):
            return replace(view, line=_RESTART if engine.owned else "")
        if state is EngineState.ASLEEP:
            return replace(view, line=_ASLEEP)
        return self._with_last_images(view)

    def _facts(self, state: EngineState) -> tuple[str, ...]:
        """Return memory use, process and address, as far as known."""
        facts = []
        if state is EngineState.READY and self._memory is not None:
            facts.append(_memory_text(self._memory))
        if self.engine.pid is not None and state is not EngineState.STOPPED:
            facts.append(f"pid {self.engine.pid}")
        if self.engine.url and state is EngineState.READY:
            facts.append(self.engine.url)
        return tuple(facts)

    def _with_last_images(self, view: View) -> View:
        """Keep showing the images of the last generation, so that nothing jumps when it ends."""
        job = self._job
        if job is None or not job.done():
            return view
        done = self._builder.view(job)
        return replace(
            view,
            box=image_size(job),
            preview=self._builder.last_image(job) or done.preview,
            thumbnails=done.thumbnails,
            several=done.several,
            line=done.line,
        )

    def _follow(self, job: Job | None) -> None:
        """Subscribe to the events of this generation instead of the last one."""
        with self._building:
            if self._unsubscribe_job is not None:
                self._unsubscribe_job()
            self._unsubscribe_job = None
            self._job = job
            if job is not None and self._renderer is not None:
                self._unsubscribe_job = job.subscribe(lambda _: self._wake())

    def _wake(self) -> None:
        renderer = self._renderer
        if renderer is not None:
            renderer.wake()

    def _poll_memory(self, ended: threading.Event) -> None:
        """Poll the engine's memory use; its state comes by subscription."""
        while not ended.is_set():
            if self.engine.state is EngineState.READY:
                self._memory = memory_of(self.engine.pid)
                self._wake()
            ended.wait(MEMORY_SECONDS)


def _seconds_since(timestamp: float) -> float:
    return max(time.time() - timestamp, 0.0)


def _memory_text(size: int) -> str:
    return f"{size / 1e9:.1f} GB of memory" if size >= 1e9 else f"{size / 1e6:.0f} MB of memory"
