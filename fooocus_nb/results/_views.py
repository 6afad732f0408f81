"""The one door to the widgets: opens every view, and names their types for those below.

Widgets are imported when one is asked for, not before. They know the engine, which this room does
not: each call has the signature of the widget that it opens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb.widgets.engine_monitor import EngineMonitor as EngineMonitor
    from fooocus_nb.widgets.gallery import Gallery as Gallery
    from fooocus_nb.widgets.log_view import LogView as LogView
    from fooocus_nb.widgets.page import PageView as PageView
    from fooocus_nb.widgets.panel import Panel as Panel
    from fooocus_nb.widgets.run_grid import RunGrid as RunGrid
    from fooocus_nb.widgets.sweep_monitor import SweepMonitor as SweepMonitor

__all__ = [
    "open_gallery",
    "open_log",
    "open_monitor",
    "open_page",
    "open_panel",
    "open_run_grid",
    "open_sweep",
    "run_grid_assets",
    "run_grid_data",
]

P = ParamSpec("P")
T = TypeVar("T")


def _opens(load: Callable[[], Callable[P, T]]) -> Callable[P, T]:
    """Return a call that imports a widget when it is made, and opens it."""

    def open_view(*args: P.args, **kwargs: P.kwargs) -> T:
        return load()(*args, **kwargs)

    open_view.__doc__ = load.__doc__
    return open_view


@_opens
def open_monitor() -> type[EngineMonitor]:
    """Open the standing view of an engine."""
    from fooocus_nb.widgets.engine_monitor import EngineMonitor

    return EngineMonitor


@_opens
def open_panel() -> type[Panel]:
    """Open the control panel of an engine."""
    from fooocus_nb.widgets.panel import Panel

    return Panel


@_opens
def open_log() -> type[LogView]:
    """Open the log of an engine."""
    from fooocus_nb.widgets.log_view import LogView

    return LogView


@_opens
def open_page() -> type[PageView]:
    """Open an engine's own web page."""
    from fooocus_nb.widgets.page import PageView

    return PageView


@_opens
def open_gallery() -> type[Gallery]:
    """Open images as a gallery."""
    from fooocus_nb.widgets.gallery import Gallery

    return Gallery


@_opens
def open_run_grid() -> type[RunGrid]:
    """Open the images of a run as a grid."""
    from fooocus_nb.widgets.run_grid import RunGrid

    return RunGrid


@_opens
def open_sweep() -> type[SweepMonitor]:
    """Open the grid of a sweep, which fills as images come."""
    from fooocus_nb.widgets.sweep_monitor import SweepMonitor

    return SweepMonitor


def run_grid_assets() -> tuple[str, str]:
    """Return the script and the style sheet of a run's grid, for a page without Jupyter.

    The script defines ``mountRunGrid(host, source)``; ``static/run_grid.js`` says what it takes.
    """
    from fooocus_nb.widgets.run_grid import page_assets

    return page_assets()


def run_grid_data(run: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what such a page shows: the grid, and by key what is known of each image."""
    from fooocus_nb.widgets.run_grid import page_data

    return page_data(run)
