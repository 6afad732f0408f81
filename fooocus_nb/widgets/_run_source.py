"""What a grid shows: a run, or two that are compared; with the cells that go on from an image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb import _html
from fooocus_nb.experiment.compare import Comparison
from fooocus_nb.experiment.grid_data import GridData, grid_data
from fooocus_nb.experiment.measures import measures_of
from fooocus_nb.results.cell import cell_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fooocus_nb.experiment.run import Run, RunImage

__all__ = ["HAND_ON", "HAND_ON_PAGE", "NAMES", "RunSource", "source_of"]

#: What can be done with an image elsewhere: the buttons, with the verbs that they stand for.
HAND_ON = (
    {
        "kind": "settings",
        "label": "Use these settings",
        "title": "Insert or copy the cell that generates this image again (S)",
    },
    {
        "kind": "vary",
        "label": "Vary",
        "title": "Insert or copy a cell that varies this image (V)",
    },
    {
        "kind": "upscale",
        "label": "Upscale",
        "title": "Insert or copy a cell that upscales this image (U)",
    },
)
#: The same on a page without a notebook.
HAND_ON_PAGE = {
    "kind": "settings",
    "label": "Copy as cell",
    "title": "Copy the cell that generates this image again (S)",
}
#: What a row holds, in order; as ``NAMES`` in ``run_grid_widget.js``.
NAMES = (
    *("key", "number", "at", "state", "reason", "seed", "rating", "note", "width", "height"),
    *("name", "measures"),
)


class RunSource(Protocol):
    """What a grid shows, and where ratings go."""

    @property
    def title(self) -> str:
        """The heading."""

    @property
    def where(self) -> str:
        """A line that says where all images are."""

    @property
    def writable(self) -> bool:
        """Whether images can be rated."""

    def data(self) -> GridData:
        """Return the axes and all that is on them, as it is now."""

    def measures(self) -> dict[str, dict[str, Any]]:
        """Return the values of all measures: by the key of an image, then by name."""

    def find(self, key: str) -> tuple[Run, RunImage]:
        """Return an image by its key, with its run."""


class _OneRun:
    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def title(self) -> str:
        return self._run.path.name

    @property
    def where(self) -> str:
        return f"All images are in {shown_path(self._run.path)}"

    @property
    def writable(self) -> bool:
        return not self._run.readonly

    def data(self) -> GridData:
        return grid_data(self._run)

    def measures(self) -> dict[str, dict[str, Any]]:
        return _by_key(self._run, "")

    def find(self, key: str) -> tuple[Run, RunImage]:
        return self._run, self._run.image(key)


class _TwoRuns:
    def __init__(self, comparison: Comparison, left: Run, right: Run) -> None:
        self._comparison = comparison
        self._runs = (left, right)

    @property
    def title(self) -> str:
        return " and ".join(self._comparison.names)

    @property
    def where(self) -> str:
        places = " and ".join(shown_path(run.path) for run in self._runs)
        return f"All images are in {places}"

    @property
    def writable(self) -> bool:
        return not any(run.readonly for run in self._runs)

    def data(self) -> GridData:
        return self._comparison.data()

    def measures(self) -> dict[str, dict[str, Any]]:
        return {**_by_key(self._runs[0], "0:"), **_by_key(self._runs[1], "1:")}

    def find(self, key: str) -> tuple[Run, RunImage]:
        number, _, name = key.partition(":")
        run = self._runs[number == "1"]
        return run, run.image(name)


def _by_key(run: Run, prefix: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, values in measures_of(run).items():
        for key, measured in values.items():
            found.setdefault(prefix + key, {})[name] = measured.value
    return found


def source_of(shown: Run | Comparison) -> RunSource:
    """Return what a grid of a run or a comparison shows."""
    if isinstance(shown, Comparison):
        left, right = shown.runs
        return _TwoRuns(shown, left, right)
    return _OneRun(shown)


def shown_path(path: Path) -> str:
    """Return a path as it is seen from the notebook, where it is below that."""
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except (OSError, ValueError):
        return os.fspath(path)


def row_of(item: Any, measures: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """Return an image as the page has it; see ``NAMES`` in ``run_grid_widget.js``."""
    image: RunImage | None = item.image
    seed = item.values.get("image_seed")
    if image is None:
        number, name, size, rating, note = 0, "", (0, 0), None, ""
    else:
        number, name = image.number_in_request, image.file.rpartition("/")[2]
        size, seed = (image.width, image.height), image.seed if image.seed is not None else seed
        rating, note = image.rating, image.note
    return [
        item.key, number, list(item.at), item.state, _html.clip(item.reason, 300),
        "" if seed is None else str(seed), rating, _html.clip(note, 2000), *size, name,
        dict(measures.get(item.key, {})),
    ]  # fmt: skip


def axis_of(axis: Any) -> dict[str, Any]:
    """Return an axis as the page has it."""
    return {
        "name": axis.name,
        "label": axis.label,
        "texts": [_html.clip(text, 1000) for text in axis.texts],
        "shorts": [_html.clip(text, 200) for text in axis.shorts],
    }


def hand_on_cell(kind: str, run: Run, image: RunImage) -> str:
    """Return a cell that goes on from an image."""
    if kind == "settings":
        return cell_of(image.parameters)
    call = {"vary": "vary(image)", "upscale": 'upscale(image, by="2x")'}[kind]
    return (
        "import fooocus_nb\n\n"
        f"image = fooocus_nb.open_run({shown_path(run.path)!r}).image({image.key!r})\n"
        f"fooocus_nb.current().{call}"
    )
