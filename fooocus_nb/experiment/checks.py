"""Cells checked against an engine before anything is sent."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

from fooocus_nb.engine.submission import check_request
from fooocus_nb.errors import ParameterError, UnsupportedParameter, nearest
from fooocus_nb.experiment.estimates import images_of, with_defaults
from fooocus_nb.experiment.identity import canonical_json, image_entries, parameters_of, value_text
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.requests.images import why_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.experiment.cells import Cell

__all__ = ["PORTABLE", "PRESET", "Checked", "check_cells", "request_parameters"]

PRESET, PORTABLE = "preset", "portable"
#: So many cells are checked one by one; of more, each value and each task once.
CHECKED_ONE_BY_ONE = 2000
MAX_PROBLEMS = 50
#: Stands for an image while a cell is checked: the files are looked at by themselves.
_BLANK_SIDE = 8
_SHORTHANDS = ("task", "loras", "image_prompts", "enhance")


class Checked:
    """What is wrong with cells, and what is worth knowing of them: each said once."""

    def __init__(self) -> None:
        self._problems: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()

    def problem(self, text: str) -> None:
        """Note why a cell cannot be made."""
        self._problems[text] += 1

    def note(self, text: str) -> None:
        """Note what a cell does not do."""
        self._notes[text] += 1

    @property
    def problems(self) -> tuple[str, ...]:
        """Why cells cannot be made."""
        return _told(self._problems)

    @property
    def notes(self) -> tuple[str, ...]:
        """What has no effect, or another one than one may think."""
        return _told(self._notes)


def _told(counted: Counter[str]) -> tuple[str, ...]:
    told = [
        text if count == 1 else f"{text} (in {count:,} cells)"
        for text, count in counted.most_common(MAX_PROBLEMS)
    ]
    more = len(counted) - len(told)
    return (*told, f"and {more:,} more") if more > 0 else tuple(told)


def request_parameters(
    cell: Cell, find: Callable[[Mapping[str, Any]], Any]
) -> tuple[str, dict[str, Any]]:
    """Return the prompt and the other parameters of a cell, as a request takes them."""
    values = {name: value for name, value in cell.values.items() if name not in (PRESET, PORTABLE)}
    given = parameters_of(values, find)
    return str(given.pop("prompt", "")), given


def check_cells(
    engine: Engine, cells: Sequence[Cell], find: Callable[[Mapping[str, Any]], Any]
) -> Checked:
    """Check cells as the engine does when they are submitted, and send nothing."""
    checked = Checked()
    blank = _blank()
    looked_at: set[str] = set()
    seen: set[str] = set()
    many = len(cells) > CHECKED_ONE_BY_ONE
    for cell in cells:
        new = [key for key in _keys(cell) if key not in seen]
        if many and not new:
            continue
        seen.update(new)
        masked = False
        for part, entry in image_entries(cell.values):
            masked = masked or part == "mask"
            if entry["sha256"] not in looked_at:
                looked_at.add(entry["sha256"])
                _check_image(entry, find, checked)
        try:
            _check_preset(engine, cell)
            _check_portable(cell)
            # The sizes of an image and its mask, and what is painted in it, are looked at for real.
            prompt, given = request_parameters(cell, find if masked else lambda _: blank)
            request = check_request(engine, prompt, given)
        except ParameterError as error:
            checked.problem(str(error))
        else:
            for text in request.warnings:
                checked.note(text)
    _note_seeds(engine, cells, checked)
    _note_portable(cells, checked)
    return checked


def _keys(cell: Cell) -> Iterator[str]:
    """Yield what is new in a cell: each value, and the shorthands together."""
    for name, value in cell.values.items():
        if name != "image_seed":
            yield f"{name}={canonical_json(value)}"
    together = {name: cell.values[name] for name in _SHORTHANDS if name in cell.values}
    yield canonical_json([sorted(cell.values), together])


def _blank() -> Any:
    import PIL.Image

    return PIL.Image.new("RGB", (_BLANK_SIDE, _BLANK_SIDE), "white")


def _check_image(
    entry: Mapping[str, Any], find: Callable[[Mapping[str, Any]], Any], checked: Checked
) -> None:
    """Look at the head of an input image."""
    import PIL.Image

    try:
        found: bytes | Path = find(entry)
        data = found if isinstance(found, bytes) else read_plain_file(found, max_file_bytes())
        with PIL.Image.open(io.BytesIO(data)) as image:
            image.verify()
    except ParameterError as error:  # the file has changed
        checked.problem(str(error))
    except (OSError, SyntaxError, ValueError, KeyError, PIL.Image.DecompressionBombError) as error:
        reason = why_unreadable(error)
        checked.problem(f"{value_text(entry)} is not an image that can be read: {reason}")


def _check_preset(engine: Engine, cell: Cell) -> None:
    preset = cell.values.get(PRESET)
    if preset is None:
        return
    there = engine.presets
    if not there:
        msg = f"preset={preset!r}: this server does not let one choose a preset."
        raise UnsupportedParameter(msg)
    if preset not in there:
        msg = (
            f"preset={preset!r} is not possible: it must be one of: {', '.join(there)}."
            f"{nearest(str(preset), there)}"
        )
        raise ParameterError(msg)


def _check_portable(cell: Cell) -> None:
    if not isinstance(wanted := cell.values.get(PORTABLE, False), bool):
        msg = f"portable={wanted!r} is not possible: give True or False."
        raise ParameterError(msg)


def _note_portable(cells: Sequence[Cell], checked: Checked) -> None:
    if any(cell.values.get(PORTABLE) for cell in cells):
        checked.note(
            "portable=True: samplers that draw their noise on the GPU are replaced by their twins, "
            "and wildcards and expanded prompts are stored, for which each cell first makes one "
            "small image of one step"
        )


def _note_seeds(engine: Engine, cells: Sequence[Cell], checked: Checked) -> None:
    """Note where one cell's second image is made from the seed of another cell's first."""
    defaults = engine.parameters.defaults
    spans: dict[str, list[tuple[int, int]]] = {}
    for cell in cells:
        full = with_defaults(cell.values, defaults)
        number = images_of(full)
        if number == 1 or full.get("disable_seed_increment"):
            continue
        others = {k: v for k, v in cell.values.items() if k not in ("image_seed", "image_number")}
        spans.setdefault(canonical_json(others), []).append(
            (int(cell.values["image_seed"]), number)
        )
    for found in spans.values():
        found.sort()
        for (seed, number), (following, _) in itertools.pairwise(found):
            if seed < following < seed + number:
                checked.note(
                    f"image_number={number} makes images of the seeds {seed} to "
                    f"{seed + number - 1}, and {following} is a cell of its own: the same image is "
                    f"made twice. Leave {number} between the seeds, or give image_number=1."
                )
                return
