"""What is in the file of a notebook: which cells have ended, and which images it shows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.fooocus.limits import MAX_FILE_BYTES
from fooocus_nb.fooocus.plain_files import read_plain_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["SavedNotebook"]

_SHOWN = re.compile(r'data-sha256="([0-9a-f]{64})"')


@dataclass(frozen=True)
class SavedNotebook:
    """A notebook as it was saved last."""

    #: When, in seconds since the epoch.
    time: float
    #: The number beside each cell, by the cell's id: that of the last execution that was seen to
    #: end.
    counts: Mapping[str, int] = field(default_factory=dict)
    #: The SHA-256 of the images that it shows.
    images: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: str) -> SavedNotebook | None:
        """Read a notebook's file; None where it cannot be read from here."""
        try:
            file = Path(path)
            saved = file.stat().st_mtime
            cells = json.loads(read_plain_file(file, MAX_FILE_BYTES))["cells"]
            counts = {
                str(cell["id"]): int(cell["execution_count"])
                for cell in cells
                if cell.get("id") and cell.get("execution_count")
            }
            shown = frozenset(
                digest
                for cell in cells
                for html in _html_outputs(cell)
                for digest in _SHOWN.findall(html)
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return cls(saved, counts, shown)


def _html_outputs(cell: Mapping[str, Any]) -> Iterator[str]:
    for output in cell.get("outputs") or ():
        html = (output.get("data") or {}).get("text/html", "")
        yield html if isinstance(html, str) else "".join(html)
