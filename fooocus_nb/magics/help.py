"""What ``%fooocus help`` shows."""

from __future__ import annotations

from typing import Any

from fooocus_nb._html import data_table, escape, wrap
from fooocus_nb.magics.options import USAGE, VERBS, help_text, option_rows

__all__ = ["help_bundle"]


def help_bundle() -> dict[str, Any]:
    """Return the verbs and the options of a generation as a MIME bundle."""
    verbs = [(f"%fooocus {verb}", text) for verb, text in VERBS.items()]
    html = wrap(
        f'<div style="margin-bottom:10px">{escape(USAGE)}</div>',
        data_table(("", ""), verbs, title="Verbs"),
        '<div style="height:12px"></div>',
        data_table(("", ""), option_rows(), title="Options of a generation"),
        label="Help for %fooocus",
    )
    return {"text/html": html, "text/plain": help_text()}
