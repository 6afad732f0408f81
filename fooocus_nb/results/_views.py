"""What an engine shows on the screen. Widgets are imported when one is asked for, not before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fooocus_nb.results import Result
    from fooocus_nb.widgets.engine_monitor import EngineMonitor
    from fooocus_nb.widgets.gallery import Gallery
    from fooocus_nb.widgets.log_view import LogView
    from fooocus_nb.widgets.panel import Panel

__all__ = ["Views", "open_gallery"]


class Views:
    """The methods of an Engine that open a widget."""

    _monitor: EngineMonitor | None = None

    def monitor(self) -> EngineMonitor:
        """Return a standing view of the engine: what it does, and Stop and Skip for it.

        Returns
        -------
        EngineMonitor
            The same one each time; show it as the last value of a cell.
        """
        from fooocus_nb.widgets.engine_monitor import EngineMonitor

        if self._monitor is None:
            self._monitor = EngineMonitor(self)  # type: ignore[arg-type]
        return self._monitor

    def panel(self, **values: Any) -> Panel:
        """Return a control panel: every parameter as a form, with the monitor and images below.

        Parameters
        ----------
        **values
            What is set in the beginning, by name, as :meth:`generate` takes it.

        Returns
        -------
        Panel
            Show it as the last value of a cell.

        Raises
        ------
        ParameterError
            When a name, type, choice or range is wrong.
        EngineStopped, EngineDied
            When the engine does not run.
        """
        from fooocus_nb.widgets.panel import Panel

        return Panel(self, lambda: self._client.schema, values)  # type: ignore[arg-type,attr-defined]

    def logs(self) -> LogView:
        """Show the engine's log live: it follows, searches, filters, and reaches into the past.

        Returns
        -------
        LogView
            A widget. Where widgets are not shown, and in a saved notebook, it is the last lines.
        """
        from fooocus_nb.widgets.log_view import LogView

        return LogView(self)  # type: ignore[arg-type]

    def gallery(self) -> Gallery:
        """Show the images that this engine has made for this kernel, and each further one.

        Returns
        -------
        Gallery
            A widget: newest first, to zoom into, compare, select, filter, and make again.
        """
        from fooocus_nb.widgets.gallery import engine_gallery

        return engine_gallery(self, self._album, lambda: self._client.schema)  # type: ignore[arg-type,attr-defined]


def open_gallery(result: Result) -> Gallery:
    """Return the images of a result as a widget."""
    from fooocus_nb.widgets.gallery import Gallery

    return Gallery(result, title=result.prompt or "Gallery")
