"""The plan of a sweep: what would be made, whether it can be, and what it takes."""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fooocus_nb import _html
from fooocus_nb.errors import ParameterError, RunError
from fooocus_nb.experiment.checks import Checked, check_cells
from fooocus_nb.experiment.estimates import Made, estimate, images_of, with_defaults
from fooocus_nb.experiment.grid_plan import PlannedGrid, planned_grid
from fooocus_nb.experiment.identity import short_name, value_text
from fooocus_nb.experiment.order import CHECKPOINT, LOADS, Loaded, in_order, swaps
from fooocus_nb.experiment.resume import drawn_seed_of, refuse_another_sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.experiment.cells import Cell
    from fooocus_nb.experiment.order import Key
    from fooocus_nb.experiment.sweep_protocols import OpenRun, PlannedSweep

__all__ = ["Plan", "make_plan"]

#: So many manifests tell how long an image takes.
HISTORY = 200
SHOWN_VALUES = 40
#: The images lie in the run, and once more in the engine's output folder.
COPIES = 2


@dataclass(frozen=True)
class Plan:
    """What a sweep would make, found out without sending anything.

    Attributes
    ----------
    cells : tuple of Cell
        What is to be made now, in this order.
    planned : tuple of Cell
        All cells, in the order of the axes.
    combinations : int
        How many combinations the axes have; equal cells are one, and conditions leave fewer.
    made, failed, skipped : int
        Cells of the run's folder that are not made again.
    later : int
        Cells that are left for later.
    images : int
        How many images are to be made now.
    problems : tuple of str
        Why it cannot be run; empty where it can.
    notes : tuple of str
        What has no effect, or another one than one may think.
    swaps : mapping
        How often a preset, a checkpoint and LoRAs are loaded anew.
    seconds : float or None
        How long it takes; None where nothing was made yet that tells.
    basis : str
        What the time is taken from.
    disk_needed, disk_free : int or None
        Bytes; None where it is not known.
    seed : int or None
        The seed that was drawn, where the sweep gives none.
    image_counts : tuple of int
        How many images each of `planned` has.
    name : str
        The name of the run's folder, where one is given.
    """

    title: str
    axes: Mapping[str, tuple[Any, ...]] = field(repr=False)
    base: Mapping[str, Any] = field(repr=False)
    cells: tuple[Cell, ...] = field(repr=False)
    planned: tuple[Cell, ...] = field(repr=False)
    combinations: int
    made: int
    failed: int
    skipped: int
    later: int
    images: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    swaps: Mapping[str, int]
    seconds: float | None
    basis: str
    disk_needed: int | None
    disk_free: int | None
    seed: int | None
    image_counts: tuple[int, ...] = field(default=(), repr=False)
    name: str = ""

    @functools.cached_property
    def grid(self) -> PlannedGrid | None:
        """How large the grid of all cells will be, and their contact sheet; None without cells."""
        return planned_grid(self.planned, self.image_counts, self.name) if self.planned else None

    @property
    def ok(self) -> bool:
        """Whether it can be run."""
        return not self.problems

    def require_ok(self) -> None:
        """Raise what is wrong.

        Raises
        ------
        ParameterError
            With every problem, where there is one. Nothing has been sent.
        """
        if self.problems:
            told = "\n".join(f"  - {problem}" for problem in self.problems)
            msg = f"The sweep cannot be run, and nothing has been sent:\n{told}"
            raise ParameterError(msg)

    def _rows(self) -> Iterator[tuple[str, str]]:
        yield "combinations", f"{self.combinations:,}"
        if self.planned:
            yield "cells", self._cells()
            yield "images", f"{self.images:,} to be made"
        if self.seed is not None:
            yield "seed", f"{self.seed}, drawn"
        changed = [f"{_times(self.swaps[name])} {name}" for name in LOADS if self.swaps.get(name)]
        if self.cells:
            yield "loads anew", ", ".join(changed) or "nothing"
            told = self.basis
            if self.seconds is not None:
                told = f"about {_html.duration(self.seconds)} ({self.basis})"
            yield "time", told
        if self.disk_needed is not None:
            free = "" if self.disk_free is None else f", {_size(self.disk_free)} are free"
            yield "disk", f"about {_size(self.disk_needed)}{free}"
        if self.grid is not None:
            yield "grid", self.grid.text
            yield "contact sheet", self.grid.sheet_text

    def _cells(self) -> str:
        parts = [f"{len(self.planned):,}"]
        parts += [f"{self.made:,} made"] if self.made else []
        parts += [f"{self.failed:,} failed (run.retry() lets them be made)"] if self.failed else []
        parts += [f"{self.skipped:,} skipped"] if self.skipped else []
        parts += [f"{self.later:,} left for later"] if self.later else []
        return ", ".join([*parts, f"{len(self.cells):,} to be made"])

    def __str__(self) -> str:
        lines = [f"Plan: {self.title}"]
        lines += [f"  {name:<13} {text}" for name, text in self._rows()]
        for name, values in self.axes.items():
            lines.append(f"  {short_name(name)}:")
            lines += [f"    {text}" for text in _listed(values)]
        for name, value in self.base.items():
            lines.append(f"  {short_name(name)} = {value_text(value, 100)}")
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  problem: {problem}" for problem in self.problems]
        return "\n".join(lines)

    __repr__ = __str__

    def as_data(self) -> dict[str, Any]:
        """Return the plan as plain data, as ``--json`` shows it.

        Returns
        -------
        dict
            Numbers, problems and notes; seeds as strings.
        """
        return {
            "combinations": self.combinations,
            "planned": len(self.planned),
            "made": self.made,
            "failed": self.failed,
            "skipped": self.skipped,
            "later": self.later,
            "to_make": len(self.cells),
            "images": self.images,
            "seconds": self.seconds,
            "disk_needed": self.disk_needed,
            "disk_free": self.disk_free,
            "seed": None if self.seed is None else str(self.seed),
            "swaps": dict(self.swaps),
            "grid": None if self.grid is None else self.grid.as_data(),
            "problems": list(self.problems),
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        parts = [_html.data_table(("", ""), list(self._rows()), title=f"Plan: {self.title}")]
        rows = [
            (short_name(name) if place == 0 else "", text)
            for name, values in self.axes.items()
            for place, text in enumerate(_listed(values))
        ]
        rows += [(short_name(name), value_text(value, 200)) for name, value in self.base.items()]
        parts.append('<div style="height:8px"></div>')
        parts.append(_html.data_table(("parameter", "values"), rows))
        for word, texts in (("Problem", self.problems), ("Note", self.notes)):
            for text in texts:
                colour = "var(--jp-error-color1,#d84a3a)" if word == "Problem" else "inherit"
                parts.append(
                    f'<div style="margin-top:6px"><span style="font-weight:600;color:{colour}">'
                    f"{word}</span> {_html.escape(text, 600)}</div>"
                )
        return _html.wrap(*parts, label="Plan of a sweep")


def _times(count: int) -> str:
    return f"{count:,} ×"


def _size(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _listed(values: Sequence[Any]) -> list[str]:
    shown = [_line(value) for value in values[:SHOWN_VALUES]]
    more = len(values) - len(shown)
    return [*shown, f"… {more:,} more"] if more > 0 else shown


def _line(value: Any) -> str:
    text = getattr(value, "text", None)
    count = getattr(value, "count", 1)
    if isinstance(text, str):
        return value_text(text, 100) + (f"   ({count:,} prompts)" if count > 1 else "")
    return "the server's default" if value is None else value_text(value, 100)


# -- how it is made -----------------------------------------------------------------------------


def make_plan(
    sweep: PlannedSweep, engine: Engine | None, run: OpenRun | None, folder: Path | None
) -> Plan:
    """Return what a sweep would make with an engine, in the folder of a run."""
    checked = Checked()
    seed, cells = _cells(sweep, run, checked)
    if run is not None and cells:
        try:
            refuse_another_sweep(run, cells)
        except RunError as error:
            checked.problem(str(error))
    states = _states(run, cells)
    left = [cell for cell in cells if states.get(cell.id) is None]
    now = [cell for cell in left if not cell.later]
    defaults: Mapping[str, Any] = {}
    if engine is not None:
        found = check_cells(engine, now, sweep.find_image)
        for text in found.problems:
            checked.problem(text)
        for text in found.notes:
            checked.note(text)
        defaults = engine.parameters.defaults
    key, loaded = _loading(engine)
    ordered = in_order(now, key, loaded)
    needed = estimate([cell.values for cell in now], defaults, _past(engine, run))
    free = _free(folder)
    disk = needed.bytes * COPIES if engine is not None and now else None
    _note_space(disk, free, folder, checked)
    counts = [*states.values()]
    return Plan(
        title=sweep.title,
        axes=sweep.axes,
        base=sweep.base,
        cells=tuple(ordered),
        planned=tuple(cells),
        combinations=sweep.count,
        made=counts.count("made"),
        failed=counts.count("failed"),
        skipped=counts.count("skipped"),
        later=len(left) - len(now),
        images=sum(images_of(with_defaults(cell.values, defaults)) for cell in now),
        problems=checked.problems,
        notes=checked.notes,
        swaps=swaps(ordered, key),
        seconds=needed.seconds if now else 0.0,
        basis=needed.basis,
        disk_needed=disk,
        disk_free=free,
        seed=seed if sweep.draws_seed else None,
        image_counts=tuple(images_of(with_defaults(cell.values, defaults)) for cell in cells),
        name="" if folder is None else folder.name,
    )


def _loading(engine: Engine | None) -> tuple[Callable[[Mapping[str, Any]], Key], Key | None]:
    """Return what tells what a cell needs loaded, and what the engine has loaded, if that is known.

    After a start nobody knows the latter.
    """
    if engine is None:
        return Loaded().key, None
    key = Loaded({**engine.parameters.defaults, "preset": engine.current_preset}).key
    last = engine.last_result
    return key, None if last is None else key(_checkpoint_of(last.parameters))


def _note_space(
    needed: int | None, free: int | None, folder: Path | None, checked: Checked
) -> None:
    """Note where the disk has less space than what is made will take."""
    if needed is not None and free is not None and needed > free:
        checked.note(
            f"It needs about {_size(needed)} of disk space, and {_size(free)} are free in "
            f"{folder}: it may stop in the middle, and can go on once there is room."
        )


def _cells(sweep: PlannedSweep, run: OpenRun | None, checked: Checked) -> tuple[int, list[Cell]]:
    drawn = drawn_seed_of(run) if run is not None else None
    seed = sweep.drawn_seed if drawn is None else drawn
    try:
        return seed, sweep.cells(seed)
    except ParameterError as error:
        checked.problem(str(error))
        return seed, []


def _states(run: OpenRun | None, cells: Sequence[Cell]) -> dict[str, str]:
    """Return the states of the cells that are not missing."""
    if run is None:
        return {}
    made, events = run.made_cells(), run.index.cell_events()
    found = {}
    for cell in cells:
        event = events.get(cell.id, "")
        if cell.id in made:
            found[cell.id] = "made"
        elif event in ("failed", "skipped"):
            found[cell.id] = event
    return found


def _checkpoint_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a generation tells its checkpoint; its LoRAs are spread over slots there."""
    return {name: parameters[name] for name in CHECKPOINT if name in parameters}


def _past(engine: Engine | None, run: OpenRun | None) -> Iterator[Made]:
    """Yield what was made before: in the run, and last by the engine."""
    if run is not None:
        for name in run.index.manifest_names()[-HISTORY:]:
            try:
                manifest = run.manifest(name)
            except RunError:
                continue
            elapsed = manifest.timings.get("elapsed")
            if manifest.complete and not manifest.adopted and isinstance(elapsed, (int, float)):
                size = sum(image.bytes for image in manifest.images)
                yield Made(dict(manifest.parameters), float(elapsed), size, len(manifest.images))
    last = None if engine is None else engine.last_result
    if last is not None and len(last) and not last.stopped:
        size = 0
        for path in last.paths:
            try:
                size += path.stat().st_size
            except OSError:
                return
        yield Made(dict(last.parameters), last.elapsed, size, len(last))


def _free(folder: Path | None) -> int | None:
    if folder is None:
        return None
    there = next((place for place in (folder, *folder.parents) if place.exists()), None)
    try:
        return None if there is None else shutil.disk_usage(there).free
    except OSError:
        return None
