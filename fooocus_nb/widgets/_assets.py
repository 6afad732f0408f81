"""The scripts and style sheets of the widgets: files in ``static``, joined without a build."""

from __future__ import annotations

from pathlib import Path

__all__ = ["joined"]

_STATIC = Path(__file__).parent / "static"


def joined(*names: str) -> str:
    """Return several files as one.

    A widget is one ES module, which has no place to import from; so what widgets share is put
    before what is their own.

    Parameters
    ----------
    *names : str
        Files in ``static``, of which only the last may export.
    """
    return "\n".join((_STATIC / name).read_text(encoding="utf-8") for name in names)
