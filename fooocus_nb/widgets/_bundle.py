"""What a live view leaves to those who cannot show it, beside the widget itself."""

from __future__ import annotations

from typing import Any

from fooocus_nb.widgets.surface import display_mode

__all__ = ["bundle_of"]


def bundle_of(
    shown: tuple[dict[str, Any], dict[str, Any]] | None, *, text: str, html: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the MIME bundle of a live view.

    Parameters
    ----------
    shown : tuple of (dict, dict), optional
        The widget's own bundle and metadata; without it only the fallbacks are shown.
    text, html : str
        What stays where no widget can be shown, such as in a notebook on a code host.
    """
    data, metadata = shown or ({}, {})
    static = (
        {"text/plain": text}
        if display_mode() == "text"
        else {
            "text/plain": text,
            "text/html": html,
        }
    )
    return {**data, **static}, metadata
