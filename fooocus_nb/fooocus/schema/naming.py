"""Names for the nameless inputs of Fooocus's web app.

The web app's functions take well over a hundred values by position, and `/config` says of each
only what the page shows: a type, a label, a range, choices, now and then an ``elem_id``. Most
labels are unique and are a name by themselves. The rest ("Weight", "Enable", "Image", ...) belong
to repeated groups, and their neighbours decide; and all labels may be translated.

So the row of inputs is laid along a template of all that Fooocus is known to have
(:mod:`fooocus_nb.fooocus.schema._template`), at the lowest price. An input gets its name only
where every other reading of it is clearly dearer. What a fork added is named after its label.
Where nothing is clear we refuse: a value must never reach the wrong input.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import UnsupportedServer
from fooocus_nb.fooocus.schema._alignment import Lattice, Reading, read_row
from fooocus_nb.fooocus.schema._template import ADVANCED, ALIASES, TEMPLATE, Entry, Group
from fooocus_nb.fooocus.schema.plausible import check_plausible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fooocus_nb.fooocus.schema.component import Component

__all__ = ["ALIASES", "name_inputs"]

#: How much dearer every other reading must be before we believe the cheapest.
MARGIN = 2.0
#: So many labels that we do not know, each in its right place, are a translation.
TRANSLATED = 8
#: So far apart may the ids of three inputs be that stand together in the page.
CLOSE = 4

#: Words that turn a label into its opposite.
_NEGATIONS = frozenset({"disable", "don't", "ignore", "negative", "never", "no", "not", "without"})
_SIZE = re.compile(r"\s*\d+\s*[×x*]\s*\d+")


@dataclass(frozen=True)
class _Place:
    """One place of the template: an entry and the group it is in."""

    entry: Entry
    group: str = ""
    index: int = 0

    @property
    def name(self) -> tuple[str, str]:
        return self.group, self.entry.name


@dataclass(frozen=True)
class _Prices:
    """What the deviations from the template cost."""

    unknown_label: float
    renamed: float
    insert: float
    missing: float
    least_known: float
    outside_window: float = 4.0
    optional: float = 1.0
    displaced: float = 4.0
    strange_bound: float = 1.5


# Where most labels are known, one that is not is more likely a fork's; else it is translated.
_SPOKEN = _Prices(unknown_label=6.0, renamed=4.0, insert=3.0, missing=3.0, least_known=0.5)
# There the bounds have to say what the labels do not.
_TRANSLATED = _Prices(
    unknown_label=0.5,
    renamed=0.5,
    insert=4.0,
    missing=4.0,
    least_known=0.9,
    strange_bound=4.0,
)


def _places() -> list[_Place]:
    places = []
    for item in TEMPLATE:
        if isinstance(item, Group):
            places += [_Place(entry, item.name, i) for i, entry in enumerate(item.entries)]
        else:
            places.append(_Place(item))
    return places


def _number_of(name: str) -> int:
    return next(i for i, place in enumerate(_PLACES) if place.entry.name == name)


def _key(kind: str, label: str) -> tuple[str, str]:
    return kind, label.strip().casefold()


def _owners(component: Component) -> set[tuple[str, str]]:
    """Return what has a component's label in Fooocus; nothing where the label is unknown."""
    label = component.label
    if not label:
        return _BY_LABEL.get((component.kind, ""), set())
    numbered = re.sub(r"\d+$", "{n}", label.strip())
    return (
        _BY_LABEL.get(_key(component.kind, label))
        or _BY_LABEL.get(_key(component.kind, numbered))
        or set()
    )


_PLACES = _places()
_BY_ELEM_ID = {place.entry.elem_id: place.name for place in _PLACES if place.entry.elem_id}
_BY_LABEL: dict[tuple[str, str], set[tuple[str, str]]] = {}
for _place in _PLACES:
    for _label in _place.entry.labels:
        _BY_LABEL.setdefault(_key(_place.entry.kind, _label), set()).add(_place.name)


def name_inputs(
    calls: Sequence[Sequence[Component]], version: tuple[int, ...] = ()
) -> dict[int, str]:
    """Name the inputs of the functions behind "Generate".

    Parameters
    ----------
    calls : sequence of sequences of Component
        The inputs of each function, in the order in which it takes them, without states.
    version : tuple of int, optional
        The version that the server says it is. It only helps to weigh what else is seen.

    Returns
    -------
    dict
        The name of each component, by its id. A component that a fork added is named after its
        label.

    Raises
    ------
    UnsupportedServer
        When something cannot be placed with certainty. The message says what and where.
    """
    names: dict[int, str] = {}
    unknown: list[Component] = []
    for call in calls:
        _check_no_repeat(call)
        found = _read_call(call, version)
        for component, name in zip(call, found, strict=True):
            if name is None:
                unknown.append(component)
            elif names.setdefault(component.id, _flat(name)) != _flat(name):
                _refuse(f"{component.describe()} would be both {names[component.id]!r} and {name}")
    _name_unknown(unknown, names)
    _check_unique([component for call in calls for component in call], names)
    return names


Name = tuple[str, int, str]


def _flat(name: Name) -> str:
    group, number, member = name
    return f"{group}_{number}_{member}" if group else member


def _read_call(call: Sequence[Component], version: tuple[int, ...]) -> list[Name | None]:
    """Read one function's inputs, first as Fooocus speaks, then as if it were translated."""
    try:
        return _Reader(call, version, _SPOKEN).names()
    except UnsupportedServer:
        reader = _Reader(call, version, _TRANSLATED)
        speaking = sum(_is_spoken(component) for component in call)
        labelled = sum(bool(component.label) and not component.elem_id for component in call)
        if speaking >= labelled / 2 and not reader.is_translation():
            raise
        return reader.names()


def _is_spoken(component: Component) -> bool:
    """Whether it has a label that Fooocus uses for such a component."""
    return bool(component.label and _owners(component))


class _Reader:
    """Reads one row of components, at given prices."""

    def __init__(
        self, call: Sequence[Component], version: tuple[int, ...], prices: _Prices
    ) -> None:
        self._call = call
        self._version = version
        self._prices = prices
        self._anchors = [_anchor(component) for component in call]
        self._choosing: dict[int, bool] = {}
        self._anchored = {anchor for anchor in self._anchors if anchor is not None}
        self._readings = read_row(
            self._lattice(), len(call), self._match, self._insert, self._outcome
        )

    def is_translation(self) -> bool:
        """Whether many unknown labels stand each where a known input is missing, and none else."""
        readings = [] if isinstance(self._readings, int) else self._readings
        strange = [
            reading
            for component, reading in zip(self._call, readings, strict=False)
            if component.label and not component.elem_id and not _is_spoken(component)
        ]
        placed = sum(reading.outcome is not None for reading in strange)
        return placed >= TRANSLATED and placed >= 4 * (len(strange) - placed)

    def names(self) -> list[Name | None]:
        readings = self._readings
        if isinstance(readings, int):
            _refuse(f"{self._call[readings].describe()} is known, but not in this place")
            return []
        for component, reading in zip(self._call, readings, strict=True):
            if reading.margin < MARGIN:
                _refuse(f"{component.describe()} could be {_either(reading)}")
        known = sum(reading.outcome is not None for reading in readings)
        if known < self._prices.least_known * len(readings):
            _refuse(f"only {known} of {len(readings)} inputs are known")
        found = _number_groups([reading.outcome for reading in readings])
        check_plausible(self._call, found, _is_spoken)
        return found

    # -- the template and its prices ---------------------------------------------------------

    def _lattice(self) -> Lattice:
        lattice = Lattice()
        number = 0
        for item in TEMPLATE:
            if isinstance(item, Group):
                count = len(item.entries)
                places = [(number + i, self._skip(number + i)) for i in range(count)]
                skip = 0.0 if item.name else self._prices.optional
                lattice.add_group(places, skip, repeats=bool(item.name))
                number += count
            else:
                lattice.add(number, self._skip(number))
                number += 1
        first, last = (_number_of(name) for name in ADVANCED)
        apart = not self._version or self._version < (2, 2)
        lattice.add_leap(first, last, self._prices.optional if apart else 2 * self._prices.missing)
        return lattice

    def _skip(self, number: int) -> float:
        entry = _PLACES[number].entry
        if not self._in_window(entry):
            return 0.0
        if entry.optional:
            return self._prices.optional
        windowed = entry.since or entry.until
        if windowed and not (entry.sure and self._version >= entry.sure):
            return self._prices.missing if self._is_early(entry) else self._prices.optional
        return self._prices.missing

    def _is_early(self, entry: Entry) -> bool:
        """Whether the version is certainly before the one in which the entry went away."""
        return bool(entry.until and self._version and self._version < (2, 2))

    def _in_window(self, entry: Entry) -> bool:
        if not self._version:
            return True
        return self._version >= entry.since and not (entry.until and self._version >= entry.until)

    def _insert(self, row: int) -> float:
        if self._anchors[row] is not None:
            return self._prices.displaced
        # Something known never passes for something new: its place must be found.
        return math.inf if _is_spoken(self._call[row]) else self._prices.insert

    def _outcome(self, row: int, number: int | None) -> tuple[str, str, int] | None:
        if number is not None:
            place = _PLACES[number]
            return (*place.name, place.index)
        anchor = self._anchors[row]
        return None if anchor is None else (*anchor, 0)

    def _match(self, row: int, number: int) -> float:
        component, place = self._call[row], _PLACES[number]
        if component.kind != place.entry.kind and not _is_seed(component, place):
            return math.inf
        owner = _BY_ELEM_ID.get(component.elem_id)
        if owner is not None:
            return 0.0 if owner == place.name else math.inf
        owners = _owners(component)
        if owners:
            return self._known_label(component, place) if place.name in owners else math.inf
        if not component.label or (not place.group and place.name in self._anchored):
            return math.inf
        return self._unknown_label(row, place.entry)

    def _is_known_choice(self, component: Component) -> bool:
        """Whether it offers what is some entry's own."""
        if component.id not in self._choosing:
            self._choosing[component.id] = any(
                _chooses(component, place.entry) for place in _PLACES
            )
        return self._choosing[component.id]

    def _is_at_home(self, row: int) -> bool:
        """Whether the page shows it right between the inputs between which the function takes it.

        Then it was not added as an afterthought: it may be a known input by another label.
        """
        if not 0 < row < len(self._call) - 1:
            return False
        before, here, after = (self._call[i] for i in (row - 1, row, row + 1))
        return before.id < here.id < after.id <= before.id + CLOSE

    def _known_label(self, component: Component, place: _Place) -> float:
        value = place.entry.value
        return 2.0 if value and component.props.get("value") != value else 0.0

    def _unknown_label(self, row: int, entry: Entry) -> float:
        component = self._call[row]
        if entry.choices and component.choices and not _chooses(component, entry):
            return math.inf
        if any(choice in entry.never for choice in component.choices):
            return math.inf
        cost = self._prices.unknown_label
        if cost > MARGIN and (
            (entry.choices and component.choices) or _is_alike(component.label, entry)
        ):
            cost = MARGIN
        elif self._is_at_home(row):
            cost = min(cost, self._prices.renamed)
        if not entry.choices and self._is_known_choice(component):
            cost += self._prices.missing
        if not self._in_window(entry):
            cost += self._prices.outside_window
        return cost + self._strange_bounds(component, entry)

    def _strange_bounds(self, component: Component, entry: Entry) -> float:
        if entry.bounds is None:
            return 0.0
        given = [component.props.get(key) for key in ("minimum", "maximum", "step")]
        strange = sum(ours != theirs for ours, theirs in zip(entry.bounds, given, strict=True))
        return (0.0, self._prices.strange_bound, math.inf, math.inf)[strange]


def _anchor(component: Component) -> tuple[str, str] | None:
    """Return the name that a component has by itself, wherever it stands."""
    owner = _BY_ELEM_ID.get(component.elem_id)
    if owner is None and not component.elem_id and (component.label or _is_known_value(component)):
        owners = _owners(component)
        owner = next(iter(owners)) if len(owners) == 1 else None
    return owner if owner is not None and not owner[0] else None


def _is_known_value(component: Component) -> bool:
    """Whether a component without a label has a default that tells what it is."""
    value = component.props.get("value")
    return bool(value) and any(value == place.entry.value for place in _PLACES)


def _is_seed(component: Component, place: _Place) -> bool:
    # A slider has a range, and none has that of a seed.
    kinds = ("textbox", "text", "number")
    return place.entry.name == "image_seed" and component.type in kinds


def _chooses(component: Component, entry: Entry) -> bool:
    """Whether a component offers what is an entry's own."""
    if "W×H" in entry.choices:
        return any(_SIZE.match(choice) for choice in component.choices)
    return any(choice in component.choices for choice in entry.choices)


def _is_alike(label: str, entry: Entry) -> bool:
    """Whether a label is a known one with some words more or less."""
    words = set(label.casefold().split())
    for known in entry.labels:
        shorter, longer = sorted((words, set(known.casefold().split())), key=len)
        if (
            shorter <= longer
            and len(shorter) > 1
            and len(longer) <= 2 * len(shorter)
            and not (longer - shorter) & _NEGATIONS
        ):
            return True
    return False


def _number_groups(outcomes: Iterable[Any]) -> list[Name | None]:
    """Count the repetitions of the groups: each begins where the order of members starts anew."""
    names: list[Name | None] = []
    last: dict[str, int] = {}
    counts: dict[str, int] = {}
    for outcome in outcomes:
        if outcome is None:
            names.append(None)
            continue
        group, member, index = outcome
        if group and index <= last.get(group, math.inf):
            counts[group] = counts.get(group, 0) + 1
        if group:
            last[group] = index
        names.append((group, counts.get(group, 0), member))
    return names


def _either(reading: Reading) -> str:
    return " or ".join(
        "something new" if outcome is None else repr("_".join(filter(None, outcome[:2])))  # type: ignore[index]
        for outcome in (reading.outcome, reading.rival)
    )


def _name_unknown(components: Iterable[Component], names: dict[int, str]) -> None:
    """Name what a fork added after its label, so that it too can be set."""
    known = {*names.values(), *ALIASES, *(place.entry.name for place in _PLACES), "loras"}
    for component in components:
        if component.id in names:
            continue
        words = re.findall(r"\w+", (component.label or component.elem_id).casefold())
        slug = "_".join(words).strip("_") or component.type
        slug = slug if slug.isidentifier() else f"{component.type}_{slug}"
        name, number = slug, 1
        while name in known:
            number += 1
            name = f"{slug}_{number}"
        known.add(name)
        names[component.id] = name


def _check_no_repeat(call: Sequence[Component]) -> None:
    seen: set[int] = set()
    for component in call:
        if component.id in seen:
            _refuse(f"{component.describe()} is taken twice")
        seen.add(component.id)


def _check_unique(components: Iterable[Component], names: Mapping[int, str]) -> None:
    owners: dict[str, Component] = {}
    for component in components:
        owner = owners.setdefault(names[component.id], component)
        if owner.id != component.id:
            _refuse(
                f"{component.describe()} and {owner.describe()} would both be "
                f"{names[component.id]!r}"
            )


def _refuse(what: str) -> None:
    raise UnsupportedServer(what)
