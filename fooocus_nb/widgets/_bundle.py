"""What a live view leaves to those who cannot show it, beside the widget itself."""

from __future__ import annotations

from typing import Any

from fooocus_nb.widgets.surfaces import fitting

__all__ = ["bundle_of"]


def bundle_of(
    shown: tuple[dict[str, Any], dict[str, Any]] | dict[str, Any] | None, *, text: str, html: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the MIME bundle of a live view.

    Parameters
    ----------
    shown : tuple of (dict, dict), or dict, optional
        The widget's own bundle, with its metadata or without; if there is none, only the fallbacks
        are shown.
    text, html : str
        What stays where no widget can be shown, such as in a notebook on a code host.
    """
    data, metadata = shown if isinstance(shown, tuple) else (shown or {}, {})
    return {**data, **fitting({"text/plain": text, "text/html": html})}, metadata
