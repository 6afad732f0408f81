"""Lists of words that are easy to read."""

from __future__ import annotations

__all__ = ["words"]


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return text.split()
