"""Live views: widgets with a static fallback for places where no widget can be shown."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any, Self

import anywidget
import traitlets

from fooocus_nb.widgets._html import kept_html
from fooocus_nb.widgets.display_backends import (
    OWN_VIEW,
    VIEW_MIME,
    allowed_formats,
    publish,
    widgets_wanted,
)
from fooocus_nb.widgets.layouts import remember

if TYPE_CHECKING:
    from ipywidgets import DOMWidget

__all__ = ["LiveView", "StaticFallback", "bundle_of"]


class StaticFallback:
    """Shows something in outputs of a notebook, and replaces it by static HTML in the end."""

    _display_ids: tuple[str, ...] = ()
    #: A class of the widget's element in the page, by which the fallback knows it.
    _view_class = ""

    def _ipython_display_(self, **options: Any) -> None:
        display_id = uuid.uuid4().hex
        self._display_ids += (display_id,)
        data, metadata = self._repr_mimebundle_(**options)
        # Frontends that show widgets show nothing else of a bundle, also where the widget is gone
        # with its kernel. So the fallback is an output of its own, hidden while there is a widget.
        html = data.pop("text/html", None) if VIEW_MIME in data else None
        if html is not None:
            self._view_class = self._view_class or f"fnb-view-{display_id[:16]}"
            self.widget.add_class(self._view_class)  # a widget that was closed is made anew
        publish(data, display_id, metadata=metadata)
        if html is not None:
            kept = kept_html(html, self._view_class)
            publish({"text/html": kept}, _kept(display_id))

    def _show_fallback(self) -> None:
        """Replace what is shown by the static fallback, in each output."""
        display_ids, self._display_ids = self._display_ids, ()
        with contextlib.suppress(Exception):  # the kernel may be ending
            if display_ids:
                fallback, _ = bundle_of(None, text=self._text(), html=self._html())
            for display_id in display_ids:
                publish(fallback, display_id, update=True)
                nothing = {"text/html": "", "text/plain": ""}
                publish(nothing, _kept(display_id), update=True)

    def _renew_fallback(self) -> None:
        """Replace the static fallback that is hidden below the view by a newer one."""
        with contextlib.suppress(Exception):  # the kernel may be ending
            for display_id in self._display_ids:
                data = {"text/html": kept_html(self._html(), self._view_class), "text/plain": ""}
                publish(data, _kept(display_id), update=True)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what is shown, with its metadata."""
        raise NotImplementedError

    @property
    def widget(self) -> DOMWidget:
        """The widget that is shown where widgets can be."""
        raise NotImplementedError

    def static_html(self) -> str:
        """Return the static fallback as HTML."""
        return self._html()

    def _text(self) -> str:
        """Return what shows where HTML does not."""
        raise NotImplementedError

    def _html(self) -> str:
        """Return what shows where widgets do not."""
        raise NotImplementedError


class LiveView(StaticFallback, anywidget.AnyWidget):
    """A widget that has a static fallback beside it, and is replaced by that when it is closed."""

    uid = traitlets.Unicode().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(uid=uuid.uuid4().hex, **traits)
        remember(self, self.static_html)

    @property
    def widget(self) -> Self:
        """The view itself: every view has its widget here, for ``VBox`` and other layouts."""
        return self

    def close(self) -> None:
        """Close the widget, and leave the static fallback in its place."""
        self._show_fallback()
        super().close()

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        live = widgets_wanted()
        if live:
            self._begin()
        shown = anywidget.AnyWidget._repr_mimebundle_(self, **options) if live else None
        return bundle_of(shown, text=self._text(), html=self._html())

    def _begin(self) -> None:
        """Prepare what the view shows first: it is about to be displayed."""
        raise NotImplementedError


def bundle_of(
    shown: tuple[dict[str, Any], dict[str, Any]] | dict[str, Any] | None, *, text: str, html: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a widget's own bundle, if there is one, with the static fallback beside it."""
    data, metadata = shown if isinstance(shown, tuple) else (shown or {}, {})
    if VIEW_MIME in data:
        data = {**OWN_VIEW, **data}
    return {**data, **allowed_formats({"text/plain": text, "text/html": html})}, metadata


def _kept(display_id: str) -> str:
    """Return the display id of the fallback below a widget."""
    return f"{display_id}-kept"
