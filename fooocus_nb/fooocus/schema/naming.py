"""Names the inputs of Fooocus's web app, which have none of their own.

The web app's functions take well over a hundred values by position, and `/config` says of each
only what the page shows: type, label, a range, choices, now and then an ``elem_id``. Most
labels are unique and are a name by themselves. The rest ("Weight", "Enable", "Image", ...) belong
to repeated groups, and their neighbours decide; and all labels may be translated.

So the row of inputs is laid along a template of all that Fooocus is known to have
(:mod:`fooocus_nb.fooocus.schema._template`), at the lowest cost. An input gets its name only
where every other reading of it is clearly costlier. What a fork added is named after its label.
Where nothing is clear we refuse: a value must never reach the wrong input.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

from fooocus_nb.errors import UnsupportedServer
from fooocus_nb.fooocus.schema._alignment import Lattice, Reading, read_row
from fooocus_nb.fooocus.schema._template import ADVANCED, TEMPLATE, TWINS, Entry, Group
from fooocus_nb.fooocus.schema.parameters import ALIASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fooocus_nb.fooocus.schema.config import Component

__all__ = ["is_known_parameter", "name_inputs"]

#: How much more every other reading must cost before we accept the cheapest.
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
class _Costs:
    """What the deviations from the template cost."""

    unknown_label: float
    renamed: float
    insert: float
    missing: float
    least_known: float
    outside_window: float = 4.0
    optional: float = 1.0
    displaced: float = 4.0
    unusual_bound: float = 1.5


# Where most labels are known, one that is not is more likely a fork's; else it is translated.
_ORIGINAL = _Costs(unknown_label=6.0, renamed=4.0, insert=3.0, missing=3.0, least_known=0.5)
# In a translation the bounds have to tell what the labels do not.
_TRANSLATED = _Costs(
    unknown_label=0.5,
    renamed=0.5,
    insert=4.0,
    missing=4.0,
    least_known=0.9,
    unusual_bound=4.0,
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


#: Group, number and member of an input; the first two are empty for a single one.
Name = tuple[str, int, str]

_PLACES = _places()
_BY_ELEM_ID = {place.entry.elem_id: place.name for place in _PLACES if place.entry.elem_id}
_BY_LABEL: dict[tuple[str, str], set[tuple[str, str]]] = {}
for _place in _PLACES:
    for _label in _place.entry.labels:
        _BY_LABEL.setdefault(_key(_place.entry.kind, _label), set()).add(_place.name)


def name_inputs(
    calls: Sequence[Sequence[Component]], version: tuple[int, ...] = ()
) -> dict[int, str]:
    """Name the inputs of the functions behind "Generate"."""
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


def is_known_parameter(name: str) -> bool:
    """Whether some version of Fooocus has a parameter of this canonical name."""
    for item in TEMPLATE:
        if isinstance(item, Group):
            members = "|".join(entry.name for entry in item.entries)
            prefix = rf"{item.name}_\d+_" if item.name else ""
            if re.fullmatch(f"{prefix}({members})", name):
                return True
        elif item.name == name:
            return True
    return name in TWINS


def _flat(name: Name) -> str:
    group, number, member = name
    return f"{group}_{number}_{member}" if group else member


def _read_call(call: Sequence[Component], version: tuple[int, ...]) -> list[Name | None]:
    """Read one function's inputs, first with the original labels, then as a translation."""
    try:
        return _Reader(call, version, _ORIGINAL).names()
    except UnsupportedServer:
        reader = _Reader(call, version, _TRANSLATED)
        known = sum(_has_known_label(component) for component in call)
        labelled = sum(bool(component.label) and not component.elem_id for component in call)
        if known >= labelled / 2 and not reader.is_translation():
            raise
        return reader.names()


def _has_known_label(component: Component) -> bool:
    """Whether it has a label that Fooocus uses for such a component."""
    return bool(component.label and _owners(component))


class _Reader:
    """Reads one row of components, with given costs."""

    def __init__(self, call: Sequence[Component], version: tuple[int, ...], costs: _Costs) -> None:
        self._call = call
        self._version = version
        self._costs = costs
        self._anchors = [_anchor(component) for component in call]
        self._choosing: dict[int, bool] = {}
        self._anchored = {anchor for anchor in self._anchors if anchor is not None}
        self._readings = read_row(
            self._lattice(), len(call), self._match, self._insert, self._outcome
        )

    def is_translation(self) -> bool:
        """Whether many unknown labels stand each where a known input is missing, and none else."""
        readings = [] if isinstance(self._readings, int) else self._readings
        unusual = [
            reading
            for component, reading in zip(self._call, readings, strict=False)
            if component.label and not component.elem_id and not _has_known_label(component)
        ]
        placed = sum(reading.outcome is not None for reading in unusual)
        return placed >= TRANSLATED and placed >= 4 * (len(unusual) - placed)

    def names(self) -> list[Name | None]:
        readings = self._readings
        if isinstance(readings, int):
            _refuse(f"{self._call[readings].describe()} is known, but not in this place")
        for component, reading in zip(self._call, readings, strict=True):
            if reading.margin < MARGIN:
                _refuse(f"{component.describe()} could be {_either(reading)}")
        known = sum(reading.outcome is not None for reading in readings)
        if known < self._costs.least_known * len(readings):
            _refuse(f"only {known} of {len(readings)} inputs are known")
        found = _number_groups([reading.outcome for reading in readings])
        _check_plausible(self._call, found)
        return found

    # -- the template and its costs -----------------------------------------------------------

    def _lattice(self) -> Lattice:
        lattice = Lattice()
        number = 0
        for item in TEMPLATE:
            if isinstance(item, Group):
                count = len(item.entries)
                places = [(number + i, self._skip(number + i)) for i in range(count)]
                skip = 0.0 if item.name else self._costs.optional
                lattice.add_group(places, skip, repeats=bool(item.name))
                number += count
            else:
                lattice.add(number, self._skip(number))
                number += 1
        first, last = (_number_of(name) for name in ADVANCED)
        apart = not self._version or self._version < (2, 2)
        lattice.add_leap(first, last, self._costs.optional if apart else 2 * self._costs.missing)
        return lattice

    def _skip(self, number: int) -> float:
        entry = _PLACES[number].entry
        if not self._in_window(entry):
            return 0.0
        if entry.optional:
            return self._costs.optional
        windowed = entry.since or entry.until
        if windowed and not (entry.sure and self._version >= entry.sure):
            return self._costs.missing if self._is_early(entry) else self._costs.optional
        return self._costs.missing

    def _is_early(self, entry: Entry) -> bool:
        """Whether the version is certainly before the one in which the entry went away."""
        return bool(entry.until and self._version and self._version < (2, 2))

    def _in_window(self, entry: Entry) -> bool:
        if not self._version:
            return True
        return self._version >= entry.since and not (entry.until and self._version >= entry.until)

    def _insert(self, row: int) -> float:
        if self._anchors[row] is not None:
            return self._costs.displaced
        # Something known never passes for something new: its place must be found.
        return math.inf if _has_known_label(self._call[row]) else self._costs.insert

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

    def _is_in_page_order(self, row: int) -> bool:
        """Whether the page has it right between the inputs that it stands between in the call."""
        # Then it was not added as an afterthought: it may be a known input by another label.
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
        cost = self._costs.unknown_label
        if cost > MARGIN and (
            (entry.choices and component.choices) or _is_alike(component.label, entry)
        ):
            cost = MARGIN
        elif self._is_in_page_order(row):
            cost = min(cost, self._costs.renamed)
        if not entry.choices and self._is_known_choice(component):
            cost += self._costs.missing
        if not self._in_window(entry):
            cost += self._costs.outside_window
        return cost + self._unusual_bounds(component, entry)

    def _unusual_bounds(self, component: Component, entry: Entry) -> float:
        if entry.bounds is None:
            return 0.0
        given = [component.props.get(key) for key in ("minimum", "maximum", "step")]
        unusual = sum(ours != theirs for ours, theirs in zip(entry.bounds, given, strict=True))
        return (0.0, self._costs.unusual_bound, math.inf, math.inf)[unusual]


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


def _refuse(what: str) -> NoReturn:
    raise UnsupportedServer(what)


# -- plausibility -----------------------------------------------------------------------------

# A second look at the names: what repeats must repeat alike. Where a group lost a member, the rest
# of two groups can look like one whole group. The page still tells: it builds all groups by one
# recipe, so the ids within each are equally far apart. Where labels say nothing, it also tells in
# which order things alike belong.

# The page builds these one after the other. If their ids do not rise, ids tell nothing here.
_RISING = (
    ("adm_scaler_positive", "adm_scaler_negative", "adm_scaler_end"),
    ("overwrite_step", "overwrite_switch", "overwrite_width", "overwrite_height"),
    ("overwrite_vary_strength", "overwrite_upscale_strength"),
    ("mixing_image_prompt_and_vary_upscale", "mixing_image_prompt_and_inpaint"),
    ("debugging_cn_preprocessor", "skipping_cn_preprocessor"),
    ("canny_low_threshold", "canny_high_threshold"),
    ("freeu_enabled", "freeu_b1", "freeu_b2", "freeu_s1", "freeu_s2"),
    ("image_number", "negative_prompt", "image_seed"),
    ("base_model", "refiner_model", "refiner_switch"),
    ("uov_method", "inpaint_input_image", "inpaint_additional_prompt"),
    (
        "disable_preview",
        "disable_intermediate_results",
        "disable_seed_increment",
        "black_out_nsfw",
    ),
)
#: So many pairs must be in order before the order tells anything.
_ENOUGH = 4
#: The share of pairs that may be out of order all the same.
_FEW = 0.2
_GROUPS = {item.name: item for item in TEMPLATE if isinstance(item, Group) and item.name}


def _check_plausible(
    call: Sequence[Component],
    names: Sequence[Name | None],
) -> None:
    """Refuse names of which the groups are not alike, or that the page contradicts."""
    groups: dict[str, dict[int, dict[str, Component]]] = {}
    for component, name in zip(call, names, strict=True):
        if name is not None and name[0]:
            group, number, member = name
            groups.setdefault(group, {}).setdefault(number, {})[member] = component
    singles = {
        name[2]: component
        for component, name in zip(call, names, strict=True)
        if name is not None and not name[0]
    }
    for order in (_BY_ID, _BY_POSITION):
        _check_twins(singles, order)
    orders = [order for order in (_BY_ID, _BY_POSITION) if _tells(order, singles)]
    for group, members in groups.items():
        _check_members(group, members)
        _check_numbers(group, members)
        for order in orders:
            _check_distances(group, members, order)


_BY_ID: Callable[[Component], int] = attrgetter("id")
_BY_POSITION: Callable[[Component], int] = attrgetter("position")


def _tells(order: Callable[[Component], int], singles: Mapping[str, Component]) -> bool:
    """Whether the components are still in the order in which the page was built."""
    pairs = [
        order(singles[before]) < order(singles[after])
        for row in _RISING
        for before, after in itertools.pairwise(name for name in row if name in singles)
    ]
    return len(pairs) >= _ENOUGH and all(pairs)


def _check_twins(
    singles: Mapping[str, Component],
    order: Callable[[Component], int],
) -> None:
    pairs = [
        (singles[before], singles[after])
        for row in _RISING
        for before, after in itertools.combinations([n for n in row if n in singles], 2)
    ]
    falling = [(one, other) for one, other in pairs if order(one) > order(other)]
    if len(pairs) < _ENOUGH or len(falling) > _FEW * len(pairs):
        return
    for one, other in falling:
        if _are_twins(one, other) and not (_has_known_label(one) or _has_known_label(other)):
            msg = f"{one.describe()} and {other.describe()} may each be the other"
            raise UnsupportedServer(msg)


def _are_twins(one: Component, other: Component) -> bool:
    """Whether nothing but label and default tells two components apart."""
    bounds = ("minimum", "maximum", "step")
    return (
        one.kind == other.kind
        and one.choices == other.choices
        and all(one.props.get(key) == other.props.get(key) for key in bounds)
    )


def _check_members(group: str, members: Mapping[int, Mapping[str, Component]]) -> None:
    whole = max(members.values(), key=len)
    needed = {entry.name for entry in _GROUPS[group].entries if not entry.since}
    if len(members) == 1 and not needed <= set(whole):
        # Several that all lack the same are a version's or fork's way; a single one is incomplete.
        msg = f"{group}_1 has no {', '.join(sorted(needed - set(whole)))}"
        raise UnsupportedServer(msg)
    for number, found in members.items():
        missing = ", ".join(sorted(set(whole) - set(found)))
        if missing:
            msg = f"{group}_{number} has no {missing}, though another {group}_... has"
            raise UnsupportedServer(msg)


def _check_numbers(group: str, members: Mapping[int, Mapping[str, Component]]) -> None:
    """Compare with the numbers in the labels, which only models of LoRAs have."""
    for number, found in members.items():
        component = found.get("model")
        written = re.search(r"(\d+)\D*$", component.label) if component is not None else None
        if component is not None and written is not None and int(written[1]) != number:
            msg = f"{component.describe()} stands where {group}_{number} is"
            raise UnsupportedServer(msg)


def _check_distances(
    group: str,
    members: Mapping[int, Mapping[str, Component]],
    order: Callable[[Component], int],
) -> None:
    distances = set()
    for found in members.values():
        places = [order(found[member]) for member in sorted(found)]
        distances.add(tuple(place - places[0] for place in places))
    if len(distances) > 1:
        msg = f"the inputs of the groups {group}_... do not belong together"
        raise UnsupportedServer(msg)
