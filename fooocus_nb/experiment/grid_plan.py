"""How large the grid and the contact sheet of a sweep will be, before the first image is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ConfigurationError
from fooocus_nb.experiment.contact_sheet import plan_sheet, sheet_facts
from fooocus_nb.experiment.grid_data import IMAGE_AXIS, MAX_ITEMS, GridRow, arranged, values_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fooocus_nb.experiment.cells import Cell

__all__ = ["PlannedGrid", "planned_grid"]


@dataclass(frozen=True)
class PlannedGrid:
    """The grid of a sweep's cells, and their contact sheet as a PNG with nothing else asked for.

    Attributes
    ----------
    columns, rows, blocks : int
        How many there are.
    labels : tuple of str
        What the columns, the rows and the blocks are; empty where there is no such axis.
    images : int
        How many images are on it.
    sheets : tuple of (int, int)
        The width and height of each contact sheet, in pixels.
    note : str
        What to know about the sheets, such as why there are several; empty for nothing.
    """

    columns: int
    rows: int
    blocks: int
    labels: tuple[str, str, str]
    images: int
    sheets: tuple[tuple[int, int], ...]
    note: str

    @property
    def text(self) -> str:
        """The size of the grid, for people."""
        sizes = zip(
            (self.columns, self.rows, self.blocks), ("column", "row", "block"), self.labels,
            strict=True,
        )  # fmt: skip
        parts = [
            f"{count:,} {word}{'' if count == 1 else 's'} ({label})"
            for count, word, label in sizes
            if label
        ]
        images = f"{self.images:,} image{'' if self.images == 1 else 's'}"
        more = f"; it shows the first {MAX_ITEMS:,}" if self.images > MAX_ITEMS else ""
        return f"{' × '.join(parts) or 'no axis'}: {images}{more}"

    @property
    def sheet_text(self) -> str:
        """The size of the contact sheet, for people."""
        if not self.sheets:
            return self.note
        width, height = max(self.sheets)
        size = f"{width:,} × {height:,} pixels"
        if len(self.sheets) > 1:
            size = f"{len(self.sheets)} sheets of up to {size}"
        return f"{size}. {self.note}" if self.note else size

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data, as ``--json`` shows it."""
        return {
            "columns": self.columns,
            "rows": self.rows,
            "blocks": self.blocks,
            "images": self.images,
            "contact_sheets": [list(size) for size in self.sheets],
            "note": self.note,
        }


def planned_grid(cells: Sequence[Cell], counts: Sequence[int], title: str) -> PlannedGrid:
    """Return how large the grid of these cells will be; `counts` are the images of each."""
    rows = [
        GridRow(
            f"{cell.id}-{number}",
            {**values_of(cell.values, cell.axes), IMAGE_AXIS: number},
            axes=tuple(cell.axes),
        )
        for cell, count in zip(cells, counts, strict=True)
        for number in range(1, count + 1)
    ]
    data = arranged(rows)
    roles = data.roles()
    sizes, labels = [], []
    for role in (roles.x, roles.y, roles.z):
        sizes.append(len(data.axes[role]) if role >= 0 else 1)
        labels.append(data.axes[role].label if role >= 0 else "")
    try:
        sheet = plan_sheet(data, roles, title=title, facts=sheet_facts(data))
        sheets, note = sheet.sizes, sheet.note
    except ConfigurationError as error:  # a Pillow without fonts
        sheets, note = (), f"None can be made here: {error}"
    columns, down, blocks = sizes
    x, y, z = labels
    return PlannedGrid(columns, down, blocks, (x, y, z), len(rows), sheets, note)
