"""The scripts and style sheets of the widgets: files in ``static``, joined without a build."""

from __future__ import annotations

from pathlib import Path

__all__ = ["joined"]

_STATIC = Path(__file__).parent / "static"


def joined(*names: str) -> str:
    """Join files of ``static`` into one ES module: only the last one may export."""
    return "\n".join((_STATIC / name).read_text(encoding="utf-8") for name in names)
