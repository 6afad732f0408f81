"""What an engine shows on the screen. Widgets are imported when one is asked for, not before."""

from __future__ import annotations

__all__ = ["Views"]


class Views:
    """The methods of an Engine that open a widget."""
