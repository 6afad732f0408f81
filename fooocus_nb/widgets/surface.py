"""Where a monitor is drawn: a place in a notebook's output, or the last line of a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb.errors import ConfigurationError, nearest
from fooocus_nb.widgets._html import monitor_html, monitor_text

if TYPE_CHECKING:
    from fooocus_nb.widgets._html import View

__all__ = ["HtmlSurface", "Surface", "TerminalSurface", "TextSurface", "display_mode", "surface"]

MODES = ("widget", "html", "text")
VARIABLE = "FOOOCUS_NB_DISPLAY"


class Surface(Protocol):
    """A place that shows one view after the other and, in the end, what remains."""

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


def surface() -> Surface:
    """Return the surface that fits this frontend and what the user asked for."""
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.getipython import get_ipython

    mode = display_mode()
    shell = get_ipython()
    if shell is not None and isinstance(shell.display_pub, CapturingDisplayPublisher):
        return QuietSurface()  # under %%capture every update would be kept for ever
    if not in_kernel():
        return TerminalSurface() if mode in ("auto", "text") else HtmlSurface()
    return TextSurface() if mode == "text" else HtmlSurface()


class QuietSurface:
    """Shows only what remains."""

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

    def draw(self, view: View) -> None:
        """Show how things are now."""
        self._put({"text/plain": monitor_text(view)})

    def finish(self, bundle: dict[str, Any] | None) -> None:
        """Replace the text by what remains."""
        if bundle is not None:
            self._put(bundle)
        elif self._shown:
            self._put({"text/plain": "", "text/html": ""})

    def _put(self, bundle: dict[str, Any]) -> None:
        _publish(bundle, display_id=self._display_id, update=self._shown)
        self._shown = True


class HtmlSurface(TextSurface):
    """Shows HTML in one output of a notebook, with plain text beside it."""

    def draw(self, view: View) -> None:
        """Show how things are now."""
        self._put({"text/html": monitor_html(view), "text/plain": monitor_text(view)})


class TerminalSurface:
    """Redraws the last line of a terminal."""

    def __init__(self) -> None:
        self._width = 0
        self._live = sys.stdout.isatty()

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
