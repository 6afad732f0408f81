"""Compare two runs: their cells side by side."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fooocus_nb import _html
from fooocus_nb.errors import ParameterError
from fooocus_nb.experiment.grid_data import (
    IMAGE_AXIS,
    RUN_AXIS,
    GridData,
    GridRow,
    arranged,
    rows_of,
)
from fooocus_nb.experiment.hashing import dhash_distance
from fooocus_nb.experiment.measures import measures_of
from fooocus_nb.experiment.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fooocus_nb.experiment.protocols import RunView, ViewedImage
    from fooocus_nb.results._views import RunGrid

    #: A row, and its values as the axes of both runs tell them.
    _Row = tuple[GridRow, Mapping[str, str]]

__all__ = ["Comparison", "Pair", "compared"]


@dataclass(frozen=True)
class Pair:
    """One cell of a comparison: its image in either run, None where that has none.

    Attributes
    ----------
    left, right : RunImage or None
        The images.
    same : str
        ``bytes``, ``pixels``, ``different``, ``only left`` or ``only right``; ``unknown`` while
        the pixels of two different files are still being hashed.
    distance : int or None
        In how many of their 64 bits the difference hashes of both differ; 0 to about 5 look alike.
    values : mapping
        What both were made of, as far as it differs within the runs.
    """

    left: ViewedImage | None
    right: ViewedImage | None
    same: str
    distance: int | None
    values: Mapping[str, str]


class Comparison:
    """Two runs side by side; made by :meth:`Run.compare`.

    Cells of the same sweep belong together; where the runs share none, images with the same
    values in all that both of them vary.

    Attributes
    ----------
    left, right : Run
        The runs.
    names : tuple of (str, str)
        What they are called here: the names of their folders, numbered where both are the same.
    """

    def __init__(self, left: RunView, right: RunView) -> None:
        self.left = left
        self.right = right
        names = (left.path.name, right.path.name)
        self.names = names if names[0] != names[1] else (f"{names[0]} (1)", f"{names[1]} (2)")

    def data(self) -> GridData:
        """Return both as one grid, with the runs as its last axis."""
        rows = [
            replace(row, key=f"{number}:{row.key}", values={**row.values, RUN_AXIS: name})
            for number, (run, name) in enumerate(zip(self.runs, self.names, strict=True))
            for row in rows_of(run)
        ]
        return arranged(rows)

    @property
    def runs(self) -> tuple[Any, Any]:
        """Both runs."""
        return self.left, self.right

    def image(self, key: str) -> Any:
        """Return an image by its key in :meth:`data`: ``0:`` or ``1:`` for the run, and its own."""
        number, _, name = key.partition(":")
        return self.runs[number == "1"].image(name)

    def pairs(self) -> list[Pair]:
        """Return all cells of both, those of the left run first."""
        sides = [[row for row in rows_of(run, None) if row.image] for run in self.runs]
        data = self._on_one_grid(sides)
        texts = [
            {axis.label: axis.texts[at] for axis, at in zip(data.axes, item.at, strict=True)}
            for item in data.items
        ]
        count = len(sides[0])  # the grid has the rows of the left side first
        labels, by_cell = _common_labels(data, sides), _share_cells(sides)
        left, right = (
            _keyed(rows, known, labels, by_cell=by_cell)
            for rows, known in zip(sides, (texts[:count], texts[count:]), strict=True)
        )
        return [_pair(left.get(key), right.get(key)) for key in dict.fromkeys((*left, *right))]

    def _on_one_grid(self, sides: Sequence[Sequence[GridRow]]) -> GridData:
        """Return the rows of both as one grid, with the runs as an axis."""
        return arranged(
            [
                replace(row, values={**row.values, RUN_AXIS: name})
                for rows, name in zip(sides, self.names, strict=True)
                for row in rows
            ]
        )

    @property
    def counts(self) -> dict[str, int]:
        """How many pairs there are of each kind; see :attr:`Pair.same`."""
        return dict(Counter(pair.same for pair in self.pairs()))

    def table(self) -> Table:
        """Return both as a table: one row for each cell.

        Returns
        -------
        Table
            The values, the images of both, their ratings and measures, and how much they differ.
        """
        pairs = self.pairs()
        measures = [measures_of(run) for run in self.runs]
        names = list(dict.fromkeys((*measures[0], *measures[1])))
        values = list(
            dict.fromkeys(name for pair in pairs for name in pair.values if name != RUN_AXIS)
        )
        sides = self.names
        columns = [*values, "same", "distance", *sides]
        columns += [f"rating, {side}" for side in sides]
        columns += [f"{name}, {side}" for name in names for side in sides]
        rows = []
        for pair in pairs:
            row: dict[str, Any] = {**pair.values, "same": pair.same, "distance": pair.distance}
            for side, image, measured in zip(sides, (pair.left, pair.right), measures, strict=True):
                if image is None:
                    continue
                row[side] = image.key
                row[f"rating, {side}"] = image.rating
                for name in names:
                    found = measured.get(name, {}).get(image.key)
                    row[f"{name}, {side}"] = found.value if found else None
            rows.append(row)
        return Table(columns, rows, title=f"{sides[0]} and {sides[1]}")

    def grid(self, x: str | None = None, y: str | None = None, z: str | None = None) -> RunGrid:
        """Show both as one grid: at each place the image of the left run and that of the right.

        Parameters
        ----------
        x, y, z : str, optional
            The axes that are columns, rows and blocks, as for :meth:`Run.grid`.

        Returns
        -------
        RunGrid
            Show it as the last value of a cell.

        Raises
        ------
        ParameterError
            When there is no such axis.
        """
        from fooocus_nb.results._views import open_run_grid

        return open_run_grid(self, x=x, y=y, z=z)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items())
        return f"<Comparison of {self.names[0]!r} and {self.names[1]!r}: {counts or 'no images'}>"

    def _repr_html_(self) -> str:
        counts = " · ".join(f"{count:,} {kind}" for kind, count in self.counts.items())
        line = f'<div class="fnb-dim" style="font-size:12px">{_html.escape(counts)}</div>'
        return _html.wrap(line) + str(self.table()._repr_html_())


def compared(left: RunView, right: Any) -> Comparison:
    """Compare a run with another one.

    Raises
    ------
    ParameterError
        When `right` is no run.
    """
    if not hasattr(right, "manifests") or not hasattr(right, "images"):
        msg = f"other={right!r}: it must be a run, as fooocus_nb.open_run(folder) returns it."
        raise ParameterError(msg)
    return Comparison(left, right)


def _names(rows: Iterable[GridRow]) -> set[str]:
    return {name for row in rows for name in row.values} | {IMAGE_AXIS}


def _common_labels(data: GridData, sides: Sequence[Sequence[GridRow]]) -> list[str]:
    """Return the axes in which both sides may differ from each other."""
    in_both = _names(sides[0]) & _names(sides[1])
    return [axis.label for axis in data.axes if axis.name != RUN_AXIS and axis.name in in_both]


def _share_cells(sides: Sequence[Sequence[GridRow]]) -> bool:
    """Whether both sides have images of the same planned cells."""
    left, right = ({row.image.cell for row in rows if row.image} - {None} for rows in sides)
    return bool(left & right)


def _keyed(
    rows: Sequence[GridRow],
    texts: Sequence[Mapping[str, str]],
    labels: Sequence[str],
    *,
    by_cell: bool,
) -> dict[tuple[Any, ...], _Row]:
    """Return the rows of a side, each by what the row of the other side has, too."""
    seen: Counter[tuple[Any, ...]] = Counter()
    found: dict[tuple[Any, ...], _Row] = {}
    for row, text in zip(rows, texts, strict=True):
        key = _key(row, text, labels, by_cell=by_cell)
        found[(*key, seen[key])] = row, text  # the second of equal ones is its own
        seen[key] += 1
    return found


def _key(
    row: GridRow, text: Mapping[str, str], labels: Sequence[str], *, by_cell: bool
) -> tuple[Any, ...]:
    image = row.image
    if by_cell and image is not None and image.cell is not None:
        return (image.cell, image.number_in_request)
    return tuple(text[label] for label in labels)


def _pair(left: _Row | None, right: _Row | None) -> Pair:
    one, other = (side[0].image if side else None for side in (left, right))
    known = left or right
    values = {} if known is None else {k: v for k, v in known[1].items() if k != RUN_AXIS}
    if one is None or other is None:
        return Pair(one, other, "only right" if one is None else "only left", None, values)
    distance = None
    if one.dhash and other.dhash:
        distance = dhash_distance(one.dhash, other.dhash)
    if one.sha256 == other.sha256:
        same, distance = "bytes", 0
    elif one.pixels_sha256 is None or other.pixels_sha256 is None:
        same = "unknown"
    else:
        same = "pixels" if one.pixels_sha256 == other.pixels_sha256 else "different"
    return Pair(one, other, same, distance, values)
