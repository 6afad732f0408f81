"""The cells of a sweep: the product of its axes, counted first, then made one by one."""

from __future__ import annotations

import functools
import hashlib
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ParameterError
from fooocus_nb.experiment.axes import DRAWN, EACH, TEMPLATES, Axis
from fooocus_nb.experiment.identity import canonical_json, cell_id, value_text
from fooocus_nb.fooocus.schema.named_values import NamedValues
from fooocus_nb.fooocus.schema.naming import is_known_parameter
from fooocus_nb.fooocus.schema.parameters import ALIASES, MAX_SEED, canonical_name

if TYPE_CHECKING:
    from fooocus_nb.experiment.conditions import Condition

__all__ = ["MAX_CELLS", "Cell", "CellMaker", "derived_seed"]

#: What a sweep holds at most: a month of a fast GPU.
MAX_CELLS = 100_000
#: How many places of a product are looked at where conditions or a sample leave fewer cells.
MAX_LOOKED_AT = 1_000_000
#: How many places are tried for each cell of a sample that conditions may refuse.
TRIES = 200
SEED = "image_seed"
#: What a task gets from an axis of its own.
OF_TASK = ("image", "mask")
#: Not parameters of the server, but of ``generate`` or of the sweep.
OURS = frozenset({"preset", "portable", "task", "loras", "image_prompts", "enhance", *OF_TASK})


@dataclass(frozen=True)
class Cell:
    """One cell of a sweep: what is made once, whatever else the sweep holds.

    Attributes
    ----------
    id : str
        The SHA-256 of its values.
    values : mapping
        What is given to ``generate``, by canonical name, in one form; see
        :mod:`fooocus_nb.experiment.identity`.
    axes : mapping
        Where it is on each axis, by the axis's name. An axis that fills in a prompt or gives a
        task its image is no value of its own.
    later : bool
        Whether it is left for later: planned, and not made now.
    """

    id: str
    values: Mapping[str, Any] = field(repr=False)
    axes: Mapping[str, Any]
    later: bool = False


@dataclass(frozen=True)
class _Place:
    """One place of the product: what is given there by name, and where it is on each axis."""

    raw: dict[str, Any]
    axes: dict[str, Any]


@dataclass(frozen=True)
class CellMaker:
    """Makes the cells of a sweep from its axes, and from its base, which is the same in all."""

    axes: tuple[Axis, ...]
    base: Mapping[str, Any]
    where: tuple[Condition, ...] = ()
    exclude: tuple[Condition, ...] = ()
    later: tuple[Condition, ...] = ()
    sample: int | None = None
    sample_seed: int = 0

    @property
    def count(self) -> int:
        """How many places the product has, before conditions and a sample."""
        return math.prod(axis.count for axis in self.axes)

    @property
    def names(self) -> list[str]:
        """All names that are given, canonical."""
        given = [name for axis in self.axes for name in axis.names]
        return list(dict.fromkeys([*given, *self.base]))

    @functools.cached_property
    def _fields(self) -> frozenset[str]:
        """The names, canonical, that a prompt is filled in with."""
        return frozenset(
            canonical_name(field)
            for axis in self.axes
            for part in axis.parts
            for template in part.templates
            for field in template.fields
        )

    @functools.cached_property
    def _variables(self) -> frozenset[str]:
        """The names that only fill in a prompt, and are no parameters."""
        return frozenset(
            name for name in self._fields if name not in OURS and not is_known_parameter(name)
        )

    def check(self) -> None:
        """Raise where a prompt names what nobody gives, or an image has no task."""
        known = [name for name in self.names if name not in (*TEMPLATES, SEED)]
        known += [short for short, name in ALIASES.items() if name in known]
        for axis in self.axes:
            for part in axis.parts:
                for template in part.templates:
                    _refuse_seed(template.fields)
                    template.check(known)
        given = [name for name in OF_TASK if name in self.names]
        if given and "task" not in self.names:
            msg = (
                f"{given[0]}= needs a task that begins with it, such as task=Upscale('1.5x'), "
                "Vary(), Inpaint(), Outpaint() or EnhanceImage(). For an image that guides, give "
                "image_prompts=[ImagePrompt(...), ...]."
            )
            raise ParameterError(msg)

    def cells(self, root: int) -> list[Cell]:
        """Return the cells in the order of the axes, equal ones once; `root` is the drawn seed."""
        made: dict[str, Cell] = {}
        for place in self._chosen():
            cell = self._cell(place, root)
            made.setdefault(cell.id, cell)
            if len(made) > MAX_CELLS:
                raise ParameterError(self._too_many(f"more than {MAX_CELLS:,}"))
        return list(made.values())

    def _too_many(self, count: str) -> str:
        return (
            f"This sweep has {count} cells, but {MAX_CELLS:,} are the most: give sample=1000, "
            "shorter axes, or where= and exclude=."
        )

    def _chosen(self) -> Iterator[_Place]:
        """Yield the places that conditions and sample leave."""
        count = self.count
        fewer = bool(self.where or self.exclude or self.sample)
        if count > (MAX_LOOKED_AT if fewer else MAX_CELLS):
            if self.sample is None:
                raise ParameterError(self._too_many(f"{count:,}"))
            yield from self._drawn_sample(self.sample, count)
            return
        every = (self._at(index) for index in range(count))
        kept = (place for place in every if self._is_kept(place.raw))
        if self.sample is None:
            yield from kept
        else:
            yield from self._ranked_sample(self.sample, list(kept))

    def _ranked_sample(self, number: int, kept: list[_Place]) -> list[_Place]:
        """Return a sample that stays the same when axes are put into another order."""

        def rank(index: int) -> bytes:
            key = canonical_json({k: v for k, v in kept[index].raw.items() if v is not None})
            return hashlib.sha256(f"{self.sample_seed}:{key}".encode()).digest()

        chosen = sorted(sorted(range(len(kept)), key=rank)[:number])
        return [kept[index] for index in chosen]

    def _drawn_sample(self, number: int, count: int) -> list[_Place]:
        """Return a sample of a product that is too large to be looked at."""
        rng = random.Random(self.sample_seed)  # noqa: S311 - a sample that can be drawn again
        chosen: dict[int, _Place] = {}
        for _ in range(number * TRIES):
            index = rng.randrange(count)
            if index not in chosen and self._is_kept((place := self._at(index)).raw):
                chosen[index] = place
            if len(chosen) == number:
                break
        return [chosen[index] for index in sorted(chosen)]

    def _at(self, index: int) -> _Place:
        """Return what is given at one place of the product; the first axis moves last."""
        steps = []
        for axis in reversed(self.axes):
            index, step = divmod(index, axis.count)
            steps.append(step)
        parts = [
            (part, step)
            for axis, step in zip(self.axes, reversed(steps), strict=True)
            for part in axis.parts
        ]
        raw = dict(self.base)
        raw.update((part.name, part.at(step, {})) for part, step in parts if not part.templates)
        axes = {part.name: raw.get(part.name) for part, _ in parts}
        filled = [(part, step) for part, step in parts if part.templates]
        if filled:
            fill = {name: _fill_text(raw[name]) for name in self._fields if name in raw}
            fill |= {short: fill[name] for short, name in ALIASES.items() if name in fill}
            for part, step in filled:
                raw[part.name] = part.at(step, fill)
                axes[part.name] = part.label(step, fill)
        return _Place(raw, axes)

    def _is_kept(self, raw: Mapping[str, Any]) -> bool:
        if not (self.where or self.exclude):
            return True
        seen = _seen(raw)
        return all(holds(seen) for holds in self.where) and not any(
            holds(seen) for holds in self.exclude
        )

    def _cell(self, place: _Place, root: int) -> Cell:
        variables, raw = self._variables, place.raw
        values = {
            name: value
            for name, value in raw.items()
            if value is not None and name not in variables and name not in OF_TASK
        }
        if "task" in values:
            own = {name: raw[name] for name in OF_TASK if raw.get(name) is not None}
            values["task"] = {**values["task"], **own}
        values[SEED] = _seed(values, root)
        axes = dict(place.axes)
        if SEED in axes:
            axes[SEED] = values[SEED]
        later = bool(self.later) and any(
            holds(_seen({**raw, SEED: values[SEED]})) for holds in self.later
        )
        return Cell(cell_id(values), values, axes, later)


def _refuse_seed(names: Iterable[str]) -> None:
    for name in names:
        if canonical_name(name) == SEED:
            msg = (
                f"The prompt has {{{name}}}, but a seed can't be filled in, since it may be drawn "
                f"later. Give an axis of another name, or write {{{{{name}}}}} for the text."
            )
            raise ParameterError(msg)


def _fill_text(value: Any) -> str:
    """Return what a value is in a prompt; nothing for the server's default."""
    return "" if value is None else value if isinstance(value, str) else value_text(value, 1000)


def _seen(raw: Mapping[str, Any]) -> NamedValues:
    """Return what a condition sees: both names of everything, and a seed as a number."""
    seen = dict(raw)
    seed = seen.get(SEED)
    if isinstance(seed, str):
        seen[SEED] = int(seed)
    elif seed is not None:
        del seen[SEED]
    return NamedValues(seen)


def _seed(values: Mapping[str, Any], root: int) -> str:
    """Return the seed of a cell: what is given, or what follows from the seed that was drawn."""
    seed = values.get(SEED)
    if isinstance(seed, str):
        return seed
    if isinstance(seed, Mapping) and EACH in seed:
        others = {name: value for name, value in values.items() if name != SEED}
        return str(derived_seed(root, cell_id(others)))
    number = seed[DRAWN] if isinstance(seed, Mapping) else 0
    return str(derived_seed(root, str(number)) if number else root)


def derived_seed(root: int, word: str) -> int:
    """Return a seed that follows from another one and a word."""
    digest = hashlib.sha256(f"{root}:{word}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (MAX_SEED + 1)
