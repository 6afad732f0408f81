"""Display backends: where a monitor is drawn, in a notebook's output or in a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb.errors import ConfigurationError, nearest
from fooocus_nb.widgets._html import kept_html, monitor_html, monitor_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipywidgets import Widget

    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.widgets._html import View

    MakeWidget = Callable[[str], "DrawnWidget"]

__all__ = [
    "OWN_VIEW",
    "VIEW_MIME",
    "DisplayBackend",
    "DrawnWidget",
    "HtmlBackend",
    "TerminalBackend",
    "TextBackend",
    "WidgetBackend",
    "allowed_formats",
    "choose_backend",
    "display_mode",
    "ignore_command",
    "in_kernel",
    "own_bundle",
    "probe_frontend",
    "publish",
    "show",
    "widget_bundle",
    "widgets_wanted",
]

MODES = ("widget", "html", "text")
VARIABLE = "FOOOCUS_NB_DISPLAY"
VIEW_MIME = "application/vnd.jupyter.widget-view+json"
#: Our own display type, for a bundle with a widget: JupyterLab's extension of ours shows the widget
#: for it, and the HTML beside it once the widget is gone. Who does not know it ignores it.
OWN_VIEW = {"application/vnd.fooocus-nb.view+json": {"version_major": 1, "version_minor": 0}}


class DrawnWidget(Protocol):
    """A widget that draws views and sends commands."""

    @property
    def model_id(self) -> str:
        """Its id in the browser."""

    def watch(self, job: Job | None, on_command: Callable[[str], None]) -> None:
        """Send the buttons' commands to this job, and report each to `on_command` first."""

    def show(self, view: View) -> None:
        """Draw the view."""

    def close(self) -> None:
        """Remove it."""


class DisplayBackend(Protocol):
    """Draws one view after the other in one place, and a final bundle at the end."""

    def watch(self, job: Job, on_command: Callable[[str], None]) -> None:
        """Send the buttons' commands to this job, and report each to `on_command` first."""

    def draw(self, view: View) -> None:
        """Draw the view."""

    def finish(self, bundle: dict[str, Any] | None) -> None:
        """Replace what was drawn by a final bundle; None clears it as far as possible."""


def display_mode() -> str:
    """Return the value of ``FOOOCUS_NB_DISPLAY``, checked: one of `MODES`, or ``auto``."""
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


def choose_backend(
    *, awaited: bool = False, buttons: bool = False, widget: MakeWidget | None = None
) -> DisplayBackend:
    """Return the display backend for this frontend and the user's display mode.

    `widget` makes the widget where widgets are shown; by default it is the monitor of a generation.
    """
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.getipython import get_ipython

    mode = display_mode()
    shell = get_ipython()
    if shell is not None and isinstance(shell.display_pub, CapturingDisplayPublisher):
        return QuietBackend()  # under %%capture every update would be kept for ever
    if not in_kernel():
        return TerminalBackend() if mode in ("auto", "text") else HtmlBackend()
    if mode == "text":
        return TextBackend()
    if not buttons or mode == "html" or (mode == "auto" and not interactive()):
        return HtmlBackend()
    return WidgetBackend(
        awaited=awaited and _handles_messages_while_awaiting(),
        forced=mode == "widget",
        make=widget or _live_monitor,
    )


def _live_monitor(control: str) -> DrawnWidget:
    """Make the monitor of a generation."""
    from fooocus_nb.widgets.monitor_widget import LiveMonitor

    return LiveMonitor(control=control)


def interactive() -> bool:
    """Whether a person may use the frontend: programs that run notebooks take no input."""
    from IPython.core.getipython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", False))


def widgets_wanted() -> bool:
    """Whether widgets may be shown: where a person can use them, or if they are forced."""
    mode = display_mode()
    return in_kernel() and (mode == "widget" or (mode == "auto" and interactive()))


def allowed_formats(bundle: dict[str, Any]) -> dict[str, Any]:
    """Filter a MIME bundle by the display mode: only its text where text is forced."""
    return {"text/plain": bundle["text/plain"]} if display_mode() == "text" else bundle


def probe_frontend() -> None:
    """Probe, when the extension is loaded, whether the frontend has widgets."""
    if in_kernel() and display_mode() == "auto" and interactive():
        from fooocus_nb.widgets.monitor_widget import probe

        probe()


def ignore_command(verb: str) -> None:
    """Do nothing when a button is pressed."""


def _handles_messages_while_awaiting() -> bool:
    """Whether the kernel handles messages while a cell awaits: ipykernel 7 and later does."""
    return int(version("ipykernel").partition(".")[0]) >= 7


class QuietBackend:
    """Shows only the final bundle."""

    def watch(self, job: Job, on_command: Callable[[str], None]) -> None:
        """Ignore the job: there are no buttons."""

    def draw(self, view: View) -> None:
        """Show nothing."""

    def finish(self, bundle: dict[str, Any] | None) -> None:
        """Show the final bundle."""
        if bundle is not None:
            publish(bundle)


class TextBackend:
    """Shows plain text in one output of a notebook."""

    def __init__(self) -> None:
        self._display_id = uuid.uuid4().hex
        self._shown = False

    def watch(self, job: Job, on_command: Callable[[str], None]) -> None:
        """Ignore the job: there are no buttons."""

    def draw(self, view: View) -> None:
        """Draw the view."""
        self._put({"text/plain": monitor_text(view)})

    def finish(self, bundle: dict[str, Any] | None) -> None:
        """Replace the text by the final bundle."""
        if bundle is not None:
            self._put(allowed_formats(bundle))
        elif self._shown:
            self._put(allowed_formats({"text/plain": "", "text/html": ""}))

    def _put(self, bundle: dict[str, Any]) -> None:
        publish(bundle, display_id=self._display_id, update=self._shown)
        self._shown = True


class HtmlBackend(TextBackend):
    """Shows HTML in one output of a notebook, with plain text beside it."""

    def draw(self, view: View) -> None:
        """Draw the view."""
        self._put({"text/html": monitor_html(view), "text/plain": monitor_text(view)})


class WidgetBackend(HtmlBackend):
    """Shows a widget with buttons, or HTML until a frontend with widgets has answered."""

    def __init__(self, *, awaited: bool, forced: bool, make: MakeWidget) -> None:
        super().__init__()
        self._awaited = awaited
        self._forced = forced
        self._make = make
        self._widget: DrawnWidget | None = None
        self._job: Job | None = None
        self._on_command: Callable[[str], None] = ignore_command

    def watch(self, job: Job, on_command: Callable[[str], None]) -> None:
        """Send the buttons' commands to this job from now on."""
        self._job, self._on_command = job, on_command
        if self._widget is not None:
            self._widget.watch(job, on_command)

    def draw(self, view: View) -> None:
        """Draw the view."""
        from fooocus_nb.widgets.monitor_widget import frontend_answers

        if self._widget is None and (self._forced or frontend_answers()):
            self._open(view)
        elif self._widget is None:
            super().draw(view)
        else:
            self._widget.show(view)

    def finish(self, bundle: dict[str, Any] | None) -> None:
        """Replace the widget by the final bundle, then close it."""
        super().finish(bundle)
        if self._widget is not None:
            self._widget.close()
            self._widget = None  # what is shown next in this place opens another one

    @property
    def is_widget(self) -> bool:
        """Whether the widget is shown by now."""
        return self._widget is not None

    def _open(self, view: View) -> None:
        widget = self._make("comm" if self._awaited else "interrupt")
        widget.watch(self._job, self._on_command)
        widget.show(view)
        self._widget = widget
        shown, _ = widget_bundle(widget)
        text = {"text/plain": monitor_text(view), "text/html": kept_html(monitor_html(view))}
        self._put({**OWN_VIEW, **shown, **text})


class TerminalBackend:
    """Redraws the last line of a terminal."""

    def __init__(self) -> None:
        self._width = 0
        self._live = sys.stdout.isatty()

    def watch(self, job: Job, on_command: Callable[[str], None]) -> None:
        """Ignore the job: Ctrl-C stops it."""

    def draw(self, view: View) -> None:
        """Draw the view, unless the terminal cannot redraw a line."""
        if not self._live:
            return
        columns = shutil.get_terminal_size().columns - 1
        text = monitor_text(view, width=max(columns, 20))
        sys.stdout.write("\r" + text.ljust(self._width)[:columns])
        sys.stdout.flush()
        self._width = len(text)

    def finish(self, bundle: dict[str, Any] | None) -> None:
        """Clear the line and write the final bundle."""
        if self._live and self._width:
            sys.stdout.write("\r" + " " * self._width + "\r")
            sys.stdout.flush()
        if bundle is not None:
            publish(bundle)


def own_bundle(thing: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an object's own MIME bundle and its metadata, as IPython would ask for them."""
    from IPython.core.formatters import MimeBundleFormatter

    found: tuple[dict[str, Any], dict[str, Any]] | None = MimeBundleFormatter()(thing)
    return found or ({}, {})


def widget_bundle(widget: Widget | DrawnWidget) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a widget's own MIME bundle and its metadata."""
    data, metadata = own_bundle(widget)
    # ipywidgets 7 displays its widgets by itself and has no bundle of them.
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return {VIEW_MIME: view, **data}, metadata


def show(bundle: dict[str, Any]) -> None:
    """Show a MIME bundle in the cell that runs, or as text in a terminal."""
    publish(allowed_formats(bundle))


def publish(
    bundle: dict[str, Any],
    display_id: str | None = None,
    *,
    metadata: dict[str, Any] | None = None,
    update: bool = False,
) -> None:
    """Show a MIME bundle, or replace what was shown under this display id."""
    from IPython.display import display, publish_display_data

    if display_id is None:
        display(bundle, raw=True)  # type: ignore[no-untyped-call]
    else:
        publish_display_data(  # type: ignore[no-untyped-call]
            bundle, metadata, transient={"display_id": display_id}, update=update
        )
