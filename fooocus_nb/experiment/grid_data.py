"""A run as a grid: its axes, and where on them each image is."""

from __future__ import annotations

import contextlib
import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ParameterError, nearest
from fooocus_nb.experiment.identity import short_name
from fooocus_nb.experiment.labels import axis_text, shortened
from fooocus_nb.fooocus.schema.parameters import canonical_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fooocus_nb.experiment.protocols import RunView, ViewedCell, ViewedImage

__all__ = [
    "IMAGE_AXIS",
    "RUN_AXIS",
    "GridAxis",
    "GridData",
    "GridItem",
    "GridRow",
    "Roles",
    "arranged",
    "grid_data",
    "rows_of",
    "values_of",
]

#: The axis of the images of one request, where there are several.
IMAGE_AXIS = "image"
#: The axis of the runs, where two of them are compared.
RUN_AXIS = "run"
#: A run that nobody planned may differ in all that there is; more axes than this are no axes.
MAX_AXES = 8
#: A page holds no more than this; a table and an export hold all.
MAX_ITEMS = 20_000
#: What a grid with columns and rows shows of an axis by itself; longer ones become rows.
MAX_COLUMNS = 12
#: What images differ in that is no property of theirs, unless a sweep has it as an axis.
_NEVER = frozenset({"image_number", "current_tab"})
NOTHING = "–"
_LAST = {"image_seed": 1, IMAGE_AXIS: 2, RUN_AXIS: 3}


@dataclass(frozen=True)
class GridAxis:
    """One axis of a grid.

    Attributes
    ----------
    name : str
        The parameter's canonical name; ``image`` or ``run`` for what is no parameter.
    label : str
        What people read.
    texts : tuple of str
        Its values, in order.
    shorts : tuple of str
        The same, cut down to that in which they differ.
    """

    name: str
    label: str
    texts: tuple[str, ...]
    shorts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class GridItem:
    """One image, or a planned one that is not there, and its index on each axis."""

    key: str
    at: tuple[int, ...]
    image: ViewedImage | None = None
    state: str = "made"
    reason: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GridRow:
    """What a grid is made of: an image, or a planned one, and the values that may differ.

    `state` is ``made``, ``failed``, ``skipped`` or ``missing``, and `reason` why it failed; `axes`
    names the values that are on axes of its sweep, and `number` is its place in the plan.
    """

    key: str
    values: Mapping[str, Any]
    image: ViewedImage | None = None
    state: str = "made"
    reason: str = ""
    axes: tuple[str, ...] = ()
    number: int = 0


@dataclass(frozen=True)
class Roles:
    """Which axes are the columns, the rows and the blocks; by index, -1 for none.

    All others are side by side at each place.
    """

    x: int = -1
    y: int = -1
    z: int = -1

    def rest(self, count: int) -> list[int]:
        """Return the axes that have no other role."""
        return [index for index in range(count) if index not in (self.x, self.y, self.z)]


@dataclass(frozen=True)
class GridData:
    """A run's axes, and all that is on them.

    Attributes
    ----------
    axes : tuple of GridAxis
        Those in which the images differ.
    items : tuple of GridItem
        All images, and what was planned and is not there.
    fixed : mapping
        What is the same in all of them, as texts by canonical name.
    """

    axes: tuple[GridAxis, ...]
    items: tuple[GridItem, ...]
    fixed: Mapping[str, str] = field(default_factory=dict)

    def axis(self, role: str, name: str) -> int:
        """Return the index of an axis by its canonical or short name.

        Raises
        ------
        ParameterError
            When the images do not differ in it; with the axes that there are.
        """
        canonical = canonical_name(name)
        names = [axis.name for axis in self.axes]
        if canonical in names:
            return names.index(canonical)
        labels = [axis.label for axis in self.axes]
        if canonical in self.fixed:
            why = f"it is the same in all images ({self.fixed[canonical][:80]})"
            hint = ""
        else:
            why = "the images do not differ in it"
            hint = nearest(str(name), [*names, *labels])
        there = ", ".join(labels) or "none: all images have the same parameters"
        msg = f"{role}={name!r}: {why}. Axes of this run: {there}.{hint}"
        raise ParameterError(msg)

    def roles(self, x: str | None = None, y: str | None = None, z: str | None = None) -> Roles:
        """Return which axes are columns, rows and blocks; what is not given is chosen.

        Raises
        ------
        ParameterError
            When there is no such axis, or one is named twice.
        """
        given = {
            role: self.axis(role, name)
            for role, name in (("x", x), ("y", y), ("z", z))
            if name is not None
        }
        if len(set(given.values())) < len(given):
            named = ", ".join(
                f"{role}={name!r}" for role, name in (("x", x), ("y", y), ("z", z)) if name
            )
            msg = f"{named}: each axis has one role; give another name for one of them."
            raise ParameterError(msg)
        free = [index for index in self._useful() if index not in given.values()]
        if "x" not in given and free:
            given["x"] = free.pop(0)
        if "y" not in given and free:
            given["y"] = free.pop(0)
        if "z" not in given and free and self._full(given.values(), free[0]):
            given["z"] = free.pop(0)
        if x is None and y is None and {"x", "y"} <= given.keys():
            across, down = len(self.axes[given["x"]]), len(self.axes[given["y"]])
            if across > MAX_COLUMNS and across > down:
                given["x"], given["y"] = given["y"], given["x"]
        return Roles(**given)

    def _useful(self) -> list[int]:
        """Return axes that can order a grid, in the order in which roles are given to them."""
        found = [
            index
            for index, axis in enumerate(self.axes)
            if axis.name not in (IMAGE_AXIS, RUN_AXIS)
            # What differs in every image, such as a seed drawn anew, orders nothing.
            and (len(self.axes) == 1 or len(axis) < len(self.items) or len(axis) <= 2)
        ]
        return found or list(range(len(self.axes)))[:1]

    def _full(self, used: Iterable[int], index: int) -> bool:
        """Whether a further axis leaves few places empty: those that follow another do."""
        places = math.prod(len(self.axes[axis]) for axis in (*used, index))
        return places <= 4 * len(self.items)


def grid_data(run: RunView, limit: int | None = MAX_ITEMS) -> GridData:
    """Return a run as a grid.

    Parameters
    ----------
    run : Run
        The run, as it is now.
    limit : int or None, optional
        How many images and planned ones there are at the most. Default 20,000; None for all.

    Returns
    -------
    GridData
        Its axes are those of its sweeps, or else the parameters in which its images differ.
    """
    return arranged(rows_of(run, limit))


def rows_of(run: RunView, limit: int | None = MAX_ITEMS) -> list[GridRow]:
    """Return what a run has, in the order of its plan: images, and what was planned without one."""
    cells = run.cells
    planned: dict[str, ViewedCell | None] = {}
    rows: list[GridRow] = []
    for image in itertools.islice(run.images, limit):
        name = image.cell
        if name is not None and name not in planned:
            planned[name] = cells.get(name)
        cell = planned.get(name) if name is not None else None
        values = dict(image.parameters) if cell is None else values_of(cell.values, cell.axes)
        values[IMAGE_AXIS] = image.number_in_request
        axes = () if cell is None else tuple(cell.axes)
        place = image.key.partition("-")[0]
        number = int(place) if place.isdecimal() else 0
        rows.append(GridRow(image.key, values, image, axes=axes, number=number))
    for name in itertools.islice(cells, limit):
        if name in planned:
            continue
        cell = cells[name]
        if cell.state != "made":
            reason = str((cell.error or {}).get("message", ""))
            values = values_of(cell.values, cell.axes)
            rows.append(
                GridRow(name, values, None, cell.state, reason, tuple(cell.axes), cell.number)
            )
    rows.sort(key=lambda row: row.number)
    return rows[:limit]


def values_of(values: Mapping[str, Any], axes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a cell is made of, its axes first: in their order they get their roles."""
    return {**axes, **{name: value for name, value in values.items() if name not in axes}}


def _names_of_axes(rows: Sequence[GridRow], texts: Sequence[Mapping[str, str]]) -> list[str]:
    """Return in what the rows differ: the axes of their sweeps, and what does not follow from them.

    A prompt that an axis fills in follows from that axis.
    """
    names = list(dict.fromkeys(name for text in texts for name in text))
    varied = [name for name in names if len({text.get(name) for text in texts}) > 1]
    given = {canonical_name(name) for row in rows for name in row.axes}
    leading = [name for name in varied if name in given]
    if not leading:
        return varied
    keys = [tuple(text.get(name) for name in leading) for text in texts]

    def follows(name: str) -> bool:
        seen: dict[tuple[str | None, ...], str | None] = {}
        return all(
            seen.setdefault(key, text.get(name)) == text.get(name)
            for key, text in zip(keys, texts, strict=True)
        )

    ours = (IMAGE_AXIS, RUN_AXIS)
    return [name for name in varied if name in given or name in ours or not follows(name)]


def arranged(rows: Sequence[GridRow]) -> GridData:
    """Return the grid on which rows are, with those axes in which they differ."""
    texts = [_texts_of(row) for row in rows]
    distinct = _distinct(texts)
    axes = _axes(_names_of_axes(rows, texts), distinct)
    fixed = {name: values[0] for name, values in distinct.items() if len(values) == 1}
    return GridData(axes, _placed(rows, texts, axes), fixed)


def _texts_of(row: GridRow) -> dict[str, str]:
    """Return what a row may differ in from others, as people read it, by canonical name."""
    return {
        canonical_name(name): axis_text(value)
        for name, value in row.values.items()
        if name not in _NEVER or name in row.axes
    }


def _distinct(texts: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the different values of each name, in the order in which they came."""
    names = dict.fromkeys(name for text in texts for name in text)
    found = {name: list(dict.fromkeys(text.get(name, NOTHING) for text in texts)) for name in names}
    # An image that is not there yet has no number in its request.
    if IMAGE_AXIS in found:
        found[IMAGE_AXIS] = [text for text in found[IMAGE_AXIS] if text != NOTHING]
    return found


def _axes(names: Sequence[str], distinct: Mapping[str, Sequence[str]]) -> tuple[GridAxis, ...]:
    """Return the axes of those names that have more than one value."""
    varied = [name for name in names if len(distinct[name]) > 1]
    # Seeds come behind the other parameters, so that they are rows rather than columns.
    varied.sort(key=lambda name: _LAST.get(name, 0))
    axes = []
    for name in varied[:MAX_AXES]:
        values = _in_order(distinct[name])
        axes.append(GridAxis(name, short_name(name), tuple(values), tuple(shortened(values))))
    return tuple(axes)


def _placed(
    rows: Sequence[GridRow], texts: Sequence[Mapping[str, str]], axes: Sequence[GridAxis]
) -> tuple[GridItem, ...]:
    """Return the rows, each with its index on every axis."""
    indexes = [{text: index for index, text in enumerate(axis.texts)} for axis in axes]
    return tuple(
        GridItem(
            row.key,
            tuple(
                index.get(text.get(axis.name, NOTHING), 0)
                for axis, index in zip(axes, indexes, strict=True)
            ),
            row.image,
            row.state,
            row.reason,
            row.values,
        )
        for row, text in zip(rows, texts, strict=True)
    )


def _in_order(texts: Sequence[str]) -> list[str]:
    """Return numbers by their size, and everything else in the order in which it came."""

    def number(text: str) -> tuple[float, int]:
        return float(text), int(text) if text.lstrip("-").isdigit() else 0

    known = [text for text in texts if text != NOTHING]
    with contextlib.suppress(ValueError):
        known.sort(key=number)
    return [*known, *(text for text in texts if text == NOTHING)]
