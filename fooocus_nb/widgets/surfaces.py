"""Where a monitor is drawn: a place in a notebook's output, or the last line of a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb.errors import ConfigurationError, nearest
from fooocus_nb.widgets._html import monitor_html, monitor_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.widgets._html import View
    from fooocus_nb.widgets.monitor_widget import LiveMonitor

__all__ = [
    "HtmlSurface",
    "Surface",
    "TerminalSurface",
    "TextSurface",
    "WidgetSurface",
    "display_mode",
    "fitting",
    "ignore_order",
    "in_kernel",
    "probe_frontend",
    "show",
    "surface",
    "widgets_wanted",
]

MODES = ("widget", "html", "text")
VARIABLE = "FOOOCUS_NB_DISPLAY"


class Surface(Protocol):
    """A place that shows one view after the other and, in the end, what remains."""

    def watch(self, job: Job, order: Callable[[str], None]) -> None:
        """Take orders for this job, and say each to `order`, where there are buttons."""

    def draw(self, view: View) -> None:
        """Show how things are now."""

    def finish(self, bundle: dict[str, Any] | None) -> None:
        """Show what remains in the same place; None leaves as little as possible."""


def display_mode() -> str:
    """Return how to show things: ``widget``, ``html``, ``text``, or ``auto`` by what is there.

    Returns
    -------
    str
        The value of ``FOOOCUS_NB_DISPLAY``, or ``auto``.

    Raises
    ------
    ConfigurationError
        When the variable holds something else.
    """
    given = os.environ.get(VARIABLE, "").strip().lower()
    if not given or given == "auto":
        return "auto"
    if given not in MODES:
        msg = f"{VARIABLE}={given!r} must be one of: {', '.join(MODES)}.{nearest(given, MODES)}"
        raise ConfigurationError(msg)
    return given


def in_kernel() -> bool:
    """Whether this runs in a Jupyter kernel, whose outputs can be updated in place."""
    from IPython.core.getipython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def surface(*, awaited: bool = False, buttons: bool = False) -> Surface:
    """Return the surface that fits this frontend and what the user asked for.

    Parameters
    ----------
    awaited : bool, optional
        Whether the cell awaits what is shown, so that the kernel listens meanwhile.
    buttons : bool, optional
        Whether there is something to stop or to skip.
    """
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.getipython import get_ipython

    mode = display_mode()
    shell = get_ipython()
    if shell is not None and isinstance(shell.display_pub, CapturingDisplayPublisher):
        return QuietSurface()  # under %%capture every update would be kept for ever
    if not in_kernel():
        return TerminalSurface() if mode in ("auto", "text") else HtmlSurface()
    if mode == "text":
        return TextSurface()
    if not buttons or mode == "html" or (mode == "auto" and not someone_watches()):
        return HtmlSurface()
    return WidgetSurface(awaited=awaited and _listens(), forced=mode == "widget")


def someone_watches() -> bool:
    """Whether a person may sit before the screen: programs that run notebooks take no input."""
    from IPython.core.getipython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", False))


def widgets_wanted() -> bool:
    """Whether what is shown may be a widget: only where a person may use it, or if that is forced.

    Returns
    -------
    bool
        The HTML beside it is for frontends that have no widgets.
    """
    mode = display_mode()
    return in_kernel() and (mode == "widget" or (mode == "auto" and someone_watches()))


def fitting(bundle: dict[str, Any]) -> dict[str, Any]:
    """Return what of a MIME bundle may be shown: only the text of it where text is forced."""
    return {"text/plain": bundle["text/plain"]} if display_mode() == "text" else bundle


def probe_frontend() -> None:
    """Ask, when the extension is loaded, whether the frontend has widgets."""
    if in_kernel() and display_mode() == "auto" and someone_watches():
        from fooocus_nb.widgets.monitor_widget import probe

        probe()


def ignore_order(verb: str) -> None:
    """Note nothing when a button is pressed."""


def _listens() -> bool:
    """Whether the kernel takes messages while a cell awaits, as ipykernel does from version 7."""
    return int(version("ipykernel").partition(".")[0]) >= 7


class QuietSurface:
    """Shows only what remains."""

    def watch(self, job: Job, order: Callable[[str], None]) -> None:
        """Take no orders."""

    def draw(self, view: View) -> None:
        """Show nothing."""

    def finish(self, bundle: dict[str, Any] | None) -> None:
        """Show what remains."""
        if bundle is not None:
            _publish(bundle)


class TextSurface:
    """Shows plain text in one output of a notebook."""

    def __init__(self) -> None:
        self._display_id = uuid.uuid4().hex
        self._shown = False

    def watch(self, job: Job, order: Callable[[str], None]) -> None:
        """Take no orders: there are no buttons."""

    def draw(self, view: View) -> None:
        """Show how things are now."""
        self._put({"text/plain": monitor_text(view)})

    def finish(self, bundle: dict[str, Any] | None) -> None:
        """Replace the text by what remains."""
        if bundle is not None:
            self._put(fitting(bundle))
        elif self._shown:
            self._put(fitting({"text/plain": "", "text/html": ""}))

    def _put(self, bundle: dict[str, Any]) -> None:
        _publish(bundle, display_id=self._display_id, update=self._shown)
        self._shown = True


class HtmlSurface(TextSurface):
    """Shows HTML in one output of a notebook, with plain text beside it."""

    def draw(self, view: View) -> None:
        """Show how things are now."""
        self._put({"text/html": monitor_html(view), "text/plain": monitor_text(view)})


class WidgetSurface(HtmlSurface):
    """Shows a widget with buttons, or HTML until a frontend with widgets has answered.

    Parameters
    ----------
    awaited : bool
        Whether the kernel listens while this shows.
    forced : bool
        Whether to show the widget without having heard of a frontend that has widgets.
    """

    def __init__(self, *, awaited: bool, forced: bool) -> None:
        super().__init__()
        self._awaited = awaited
        self._forced = forced
        self._widget: LiveMonitor | None = None
        self._job: Job | None = None
        self._order: Callable[[str], None] = ignore_order

    def watch(self, job: Job, order: Callable[[str], None]) -> None:
        """Take orders for this job from now on."""
        self._job, self._order = job, order
        if self._widget is not None:
            self._widget.watch(job, order)

    def draw(self, view: View) -> None:
        """Show how things are now."""
        from fooocus_nb.widgets.monitor_widget import frontend_answers

        if self._widget is None and (self._forced or frontend_answers()):
            self._open(view)
        elif self._widget is None:
            super().draw(view)
        else:
            self._widget.show(view)

    def finish(self, bundle: dict[str, Any] | None) -> None:
        """Put what remains into the widget's place, then close it."""
        super().finish(bundle)
        if self._widget is not None:
            self._widget.close()
            self._widget = None  # what is shown next in this place opens another one

    def _open(self, view: View) -> None:
        from fooocus_nb.widgets.monitor_widget import LiveMonitor

        widget = LiveMonitor(control="comm" if self._awaited else "interrupt")
        widget.watch(self._job, self._order)
        widget.show(view)
        self._widget = widget
        shown: Any = widget._repr_mimebundle_() or ({}, {})
        self._put({**shown[0], "text/plain": monitor_text(view)})


class TerminalSurface:
    """Redraws the last line of a terminal."""

    def __init__(self) -> None:
        self._width = 0
        self._live = sys.stdout.isatty()

    def watch(self, job: Job, order: Callable[[str], None]) -> None:
        """Take no orders: Ctrl-C stops."""

    def draw(self, view: View) -> None:
        """Show how things are now. Where nothing can be redrawn, show nothing."""
        if not self._live:
            return
        columns = shutil.get_terminal_size().columns - 1
        text = monitor_text(view, width=max(columns, 20))
        sys.stdout.write("\r" + text.ljust(self._width)[:columns])
        sys.stdout.flush()
        self._width = len(text)

    def finish(self, bundle: dict[str, Any] | None) -> None:
        """Clear the line and write what remains."""
        if self._live and self._width:
            sys.stdout.write("\r" + " " * self._width + "\r")
            sys.stdout.flush()
        if bundle is not None:
            _publish(bundle)


def show(bundle: dict[str, Any]) -> None:
    """Show a MIME bundle in the cell that runs, or as text in a terminal."""
    _publish(fitting(bundle))


def _publish(
    bundle: dict[str, Any], display_id: str | None = None, *, update: bool = False
) -> None:
    from IPython.display import display

    if display_id is None:
        display(bundle, raw=True)  # type: ignore[no-untyped-call]
    else:
        from IPython.display import publish_display_data

        publish_display_data(  # type: ignore[no-untyped-call]
            bundle, transient={"display_id": display_id}, update=update
        )
