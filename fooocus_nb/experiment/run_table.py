"""The table of a run: one row for each image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fooocus_nb.experiment.grid_data import IMAGE_AXIS, GridItem, grid_data
from fooocus_nb.experiment.identity import short_name
from fooocus_nb.experiment.measures import measures_of
from fooocus_nb.experiment.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fooocus_nb.experiment.measures import Measured
    from fooocus_nb.experiment.protocols import RunView

__all__ = ["run_table"]

_SEED = "image_seed"


def run_table(run: RunView, *, every: bool = False, planned: bool = False) -> Table:
    """Return a run as a table.

    Parameters
    ----------
    run : Run
        The run.
    every : bool, optional
        Whether there is a column for every parameter, not only for those that differ. Default
        False.
    planned : bool, optional
        Whether there are rows for planned cells without an image, too. Default False.

    Returns
    -------
    Table
        In the order of the images.
    """
    data = grid_data(run, limit=None)
    varied = [axis.name for axis in data.axes if axis.name != IMAGE_AXIS]
    several = any(axis.name == IMAGE_AXIS for axis in data.axes)
    measures = measures_of(run)
    made = [item for item in data.items if item.image is not None]
    names = list(varied)
    if every:
        names += list(
            dict.fromkeys(name for item in made if item.image for name in item.image.parameters)
        )
    names = [
        name
        for name in dict.fromkeys(names)
        if name != _SEED and (name in varied or name != "image_number")
    ]
    columns = ["image", *(["state", "reason"] if planned else []), *map(short_name, names), "seed"]
    columns += ["image_of_request"] if several else []
    columns += ["rating", "note", *measures, "width", "height", "file", "sha256"]
    items = data.items if planned else made
    rows = [_row(item, names, measures) for item in items]
    return Table(columns, rows, title=run.path.name)


def _row(
    item: GridItem, names: list[str], measures: Mapping[str, Mapping[str, Measured]]
) -> dict[str, Any]:
    image = item.image
    known = {} if image is None else image.parameters
    row: dict[str, Any] = {
        short_name(name): item.values.get(name, known.get(name)) for name in names
    }
    row |= {"state": item.state, "seed": item.values.get(_SEED), "reason": item.reason or None}
    if image is None:
        return row
    row |= {
        "image": image.key,
        "seed": image.seed,
        "image_of_request": image.number_in_request,
        "rating": image.rating,
        "note": image.note or None,
        "width": image.width,
        "height": image.height,
        "file": image.file,
        "sha256": image.sha256,
    }
    for name, values in measures.items():
        row[name] = values[image.key].value if image.key in values else None
    return row
