"""Views inside of other widgets, such as ``VBox([view.widget])``: their static fallbacks."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from fooocus_nb.widgets._html import kept_html
from fooocus_nb.widgets.display_backends import OWN_VIEW, allowed_formats, own_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipywidgets import Widget

__all__ = ["bundle_in_layout", "register", "remember"]

#: Layouts within layouts are followed so far.
MAX_DEPTH = 10
MAX_VIEWS = 50
_BOX = ("ipywidgets.widgets.widget_box", "Box")

_static: weakref.WeakKeyDictionary[Widget, Callable[[], str]] = weakref.WeakKeyDictionary()


def remember(widget: Widget, static_html: Callable[[], str]) -> None:
    """Remember what stands for a widget where it is gone."""
    # Only weakly: it is a method of what holds the widget.
    method = weakref.WeakMethod(static_html)
    _static[widget] = lambda: found() if (found := method()) is not None else ""
    register()


def register() -> None:
    """Let IPython show the static fallbacks of the views in a layout beside the layout.

    That is a bundle with one more display type and HTML; widgets of version 7 show themselves, and
    have no bundle.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None or shell.display_formatter is None:
        return
    shell.display_formatter.mimebundle_formatter.for_type_by_name(*_BOX, bundle_in_layout)


def bundle_in_layout(box: Any) -> Any:
    """Return the bundle of a layout, with the static fallbacks of the views in it."""
    data, metadata = own_bundle(box)
    fallbacks = [html for html in _fallbacks(box, 0) if html][:MAX_VIEWS]
    if not fallbacks or not data:
        return data, metadata
    html = kept_html("".join(f'<div style="margin-bottom:10px">{html}</div>' for html in fallbacks))
    shown = allowed_formats({"text/plain": data.get("text/plain", repr(box)), "text/html": html})
    return {**OWN_VIEW, **data, **shown}, metadata


def _fallbacks(widget: Any, depth: int) -> Iterator[str]:
    if (static_html := _static.get(widget)) is not None:
        yield static_html()
    elif depth < MAX_DEPTH:
        for child in getattr(widget, "children", ()):
            yield from _fallbacks(child, depth + 1)
