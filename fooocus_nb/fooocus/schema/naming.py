"""Names the inputs of Fooocus's web app, which have none of their own.

The web app's functions take well over a hundred values by position, and `/config` says of each
only what the page shows: type, label, a range, choices, now and then an ``elem_id``. Most
labels are unique and are a name by themselves. The rest ("Weight", "Enable", "Image", ...) belong
to repeated groups, and their neighbours decide; and all labels may be translated.

So the row of inputs is laid along a template of all that Fooocus is known to have
(:mod:`fooocus_nb.fooocus.schema._template`), at the lowest cost. An input gets its name only
where every other alignment of it is clearly costlier. What a fork added is named after its label.
What is not clear is doubtful: it is named after its label, too, and stays at the server's default.
A value must never reach the wrong input.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, cast

from fooocus_nb.errors import UnsupportedServer
from fooocus_nb.fooocus.schema._alignment import Alignment, RowAlignment, TemplateGraph
from fooocus_nb.fooocus.schema._template import (
    ADVANCED,
    OTHER_NAMES,
    TEMPLATE,
    Group,
    Input,
)
from fooocus_nb.fooocus.schema.parameters import ALIASES

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Hashable,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from fooocus_nb.fooocus.schema.config import Component

__all__ = ["Doubt", "Naming", "candidate_of", "is_known_parameter", "name_inputs"]

#: How much more every other alignment must cost before we accept the cheapest.
MARGIN = 2.0
#: A version is excluded where the page would have to deviate so much more from its template.
EXCLUDED = 8.0
#: So many labels that we do not know, each in its right place, are a translation.
TRANSLATED = 8
#: So many known inputs make a page Fooocus's, whatever else a fork added.
MANY_KNOWN = 12
#: Where more of those that have one place are elsewhere, places tell nothing.
SHUFFLED = 0.1
#: The id in the page that no other app has.
_PROMPT_ID = "positive_prompt"
#: So far from one that is not in its place, a place alone tells nothing.
NEAR = 3
#: So far apart may the ids of three inputs be that stand together in the page.
CLOSE = 4

#: Words that turn a label into its opposite.
_NEGATIONS = frozenset({"disable", "don't", "ignore", "negative", "never", "no", "not", "without"})
#: The kinds of which the values are alike, so that a fork may have one in the place of the other.
_INTERCHANGEABLE: Mapping[str, tuple[str, ...]] = {"choice": ("text",), "text": ("choice",)}
_SIZE = re.compile(r"\s*\d+\s*[×x*]\s*\d+")


@dataclass(frozen=True)
class _Place:
    """One place of the template: an entry and the group it is in."""

    entry: Input
    group: str = ""
    index: int = 0

    @cached_property
    def name(self) -> tuple[str, str]:
        return self.group, self.entry.name


@dataclass(frozen=True)
class _Costs:
    """What the deviations from the template cost."""

    unknown_label: float
    renamed: float
    insert: float
    # A fork may repeat what is known, but a place for it is far more likely to be found.
    repeated: float
    missing: float
    least_known: float
    outside_window: float = 4.0
    optional: float = 1.0
    displaced: float = 4.0
    unusual_bound: float = 1.5


# Where most labels are known, one that is not is more likely a fork's; else it is translated.
_ORIGINAL = _Costs(
    unknown_label=6.0, renamed=4.0, insert=3.0, repeated=7.0, missing=3.0, least_known=0.5
)
# In a translation the bounds have to tell what the labels do not.
_TRANSLATED = _Costs(
    unknown_label=0.5,
    renamed=0.5,
    insert=4.0,
    repeated=9.0,
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


def _bounds_of(entry: Input) -> tuple[tuple[int, ...], ...]:
    return entry.since, entry.sure, entry.until


def _number_of(name: str) -> int:
    return next(i for i, place in enumerate(_PLACES) if place.entry.name == name)


def _key(kind: str, label: str) -> tuple[str, str]:
    return kind, label.strip().casefold()


def _owners(component: Component) -> set[tuple[str, str]]:
    """Return what has a component's label in Fooocus; nothing where the label is unknown."""
    label = component.label
    if not label:
        owners = _BY_LABEL.get((component.kind, ""), set())
        value = component.props.get("value")
        return {owner for owner in owners if value and _VALUES.get(owner) == value} or owners
    # Until 2.1.774 the seed was a number.
    if component.type == "number" and _key("text", label) in _BY_LABEL:
        return _BY_LABEL[_key("text", label)] & {("", "image_seed")}
    # What is chosen may be kept in a text, and a text be offered as a list; but a list to choose a
    # seed from takes no number.
    others = _INTERCHANGEABLE.get(component.kind, ())
    alike = set().union(*(_owners_of_label(kind, label) for kind in others))
    return _owners_of_label(component.kind, label) or alike - {("", "image_seed")}


def _owners_of_label(kind: str, label: str) -> set[tuple[str, str]]:
    """Return what has a label, as it is written or with a number in the place of its own."""
    numbered = re.sub(r"\d+$", "{n}", label.strip())
    return _BY_LABEL.get(_key(kind, label)) or _BY_LABEL.get(_key(kind, numbered)) or set()


#: Group, number and member of an input; the first two are empty for a single one.
Name = tuple[str, int, str]

_PLACES = _places()
_BY_ELEM_ID = {place.entry.elem_id: place.name for place in _PLACES if place.entry.elem_id}
_VALUES = {place.name: place.entry.value for place in _PLACES if place.entry.value}
_BY_LABEL: dict[tuple[str, str], set[tuple[str, str]]] = {}
for _place in _PLACES:
    for _label in _place.entry.labels:
        _BY_LABEL.setdefault(_key(_place.entry.kind, _label), set()).add(_place.name)


#: The first version of each kind of page that there is.
_VERSIONS = sorted(
    {(2, 0), *(bound for place in _PLACES for bound in _bounds_of(place.entry) if bound)}
)


@dataclass(frozen=True)
class Doubt:
    """Why an input has no certain name."""

    #: A part of a sentence.
    reason: str
    #: What it may be; the number of a group is given as ``...``.
    candidates: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Naming:
    """The names of inputs by the number of their component, and what is doubtful among them."""

    names: dict[int, str] = field(default_factory=dict)
    doubts: dict[int, Doubt] = field(default_factory=dict)


def name_inputs(calls: Sequence[Sequence[Component]], version: tuple[int, ...] = ()) -> Naming:
    """Name the inputs of the functions behind "Generate"."""
    # A component that is taken twice has one name, and both places get its value.
    rows = [list({component.id: component for component in call}.values()) for call in calls]
    naming = Naming()
    components: dict[int, Component] = {}
    read = _read_rows([row for row in rows if row], version)
    _check_known(read)
    for row in read:
        for component, name, doubt in row.entries():
            components[component.id] = component
            _note(naming, component.id, name, doubt)
    _doubt_shared(naming)
    unnamed = [item for item in components.values() if item.id not in naming.names]
    _name_unknown(unnamed, naming.names)
    return naming


def _note(naming: Naming, number: int, name: Name | None, doubt: Doubt | None) -> None:
    """Keep what one call tells of a component, which another call may take too."""
    before = naming.names.get(number)
    if doubt is not None:
        if before is None or candidate_of(before) not in doubt.candidates:
            naming.names.pop(number, None)
            naming.doubts[number] = doubt
        return
    if name is None:
        return
    flat, general = _flat(name), candidate_of(_flat(name))
    if before is not None and before != flat:
        del naming.names[number]
        candidates = frozenset({general, candidate_of(before)})
        naming.doubts[number] = Doubt(f"could be {before!r} or {flat!r}", candidates)
    elif number not in naming.doubts or general in naming.doubts[number].candidates:
        naming.names[number] = flat
        naming.doubts.pop(number, None)


def _doubt_shared(naming: Naming) -> None:
    """Take a name away that more than one component would have."""
    owners: dict[str, list[int]] = {}
    for number, name in naming.names.items():
        owners.setdefault(name, []).append(number)
    for name, numbers in owners.items():
        for number in numbers if len(numbers) > 1 else ():
            del naming.names[number]
            reason = f"is one of {len(numbers)} that could be {name!r}"
            naming.doubts[number] = Doubt(reason, frozenset({candidate_of(name)}))


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
    return name in OTHER_NAMES


def candidate_of(name: str) -> str:
    """Return a name as :class:`Doubt` has it, without the number of its group."""
    return re.sub(r"^([a-z]+)_\d+_", r"\1_..._", name)


def _flat(name: Name) -> str:
    group, number, member = name
    return f"{group}_{number}_{member}" if group else member


def _general(name: Name) -> str:
    group, _, member = name
    return f"{group}_..._{member}" if group else member


def _read_rows(calls: Sequence[Sequence[Component]], version: tuple[int, ...]) -> list[_Row]:
    """Read the functions' inputs, first with the original labels, then as a translation."""
    rows = _read_all(_readers(calls, version, _ORIGINAL))
    if all(row.is_certain() for row in rows) and _known_share(rows) >= _ORIGINAL.least_known:
        return rows
    translated = _readers(calls, version, _TRANSLATED)
    components = [component for call in calls for component in call]
    known = sum(_has_known_label(component) for component in components)
    labelled = sum(bool(item.label) and not item.elem_id for item in components)
    foreign = known < labelled / 2 or _is_translation(translated)
    if foreign:
        again = [
            row if row.is_certain() and row.known() else other
            for row, other in zip(rows, _read_all(translated), strict=True)
        ]
        if _known_share(again) >= _TRANSLATED.least_known:
            return again
    found = sum(row.known() for row in rows)
    if (found < MANY_KNOWN or foreign) and _known_share(rows) < _ORIGINAL.least_known:
        for row in rows:
            row.keep_told()
    return rows


def _readers(
    calls: Sequence[Sequence[Component]], version: tuple[int, ...], costs: _Costs
) -> list[_Reader]:
    return [_Reader(_Evidence(call, costs), version) for call in calls]


def _read_all(readers: Sequence[_Reader]) -> list[_Row]:
    """Read the rows, and hold the names against every version that the page may be of."""
    # A fork may write a version of its own into the title, or none. What the title says holds only
    # where the page deviates less from its template than from that of another version.
    if not all(reader.is_told() for reader in readers):
        others = [[reader.as_of(version) for reader in readers] for version in _VERSIONS]
        totals = [sum(reader.row.cost for reader in other) for other in others]
        most = min(totals) + EXCLUDED
        if any(reader.has_version() for reader in readers):
            most = min(most, sum(reader.row.cost for reader in readers) + MARGIN)
        for other, total in zip(others, totals, strict=True):
            if total < most:
                for reader, rival in zip(readers, other, strict=True):
                    reader.hold_against(rival)
    return [reader.names() for reader in readers]


def _check_known(rows: Sequence[_Row]) -> None:
    """Refuse another app's page: any may have a prompt and a seed."""
    found = sum(row.known() for row in rows)
    components = [component for row in rows for component in row.call]
    if found < MANY_KNOWN and not any(item.elem_id == _PROMPT_ID for item in components):
        msg = f"only {found} of {len(components)} inputs are known"
        raise UnsupportedServer(msg)


def _known_share(rows: Sequence[_Row]) -> float:
    return sum(row.known() for row in rows) / max(1, sum(len(row.call) for row in rows))


def _is_translation(readers: Sequence[_Reader]) -> bool:
    """Whether many unknown labels stand each where a known input is missing, and none else."""
    unusual = [place for reader in readers for place in reader.unusual()]
    placed = sum(unusual)
    return placed >= TRANSLATED and placed >= 4 * (len(unusual) - placed)


def _all_owners(component: Component) -> set[tuple[str, str]]:
    owner = _BY_ELEM_ID.get(component.elem_id)
    return _owners(component) | ({owner} if owner else set())


def _has_known_label(component: Component) -> bool:
    """Whether it has a label that Fooocus uses for such a component."""
    return bool(component.label and _owners(component))


#: What it costs to read an input as what it cannot be.
_NEVER = (math.inf, math.inf)
#: The place of what has its name by itself, wherever it stands.
MOVED = -1
#: What one input may be: group, member, and the member's place in its group.
_Outcome = tuple[str, str, int]


class _Evidence:
    """What the components of one row tell of themselves, whatever the version is."""

    def __init__(self, call: Sequence[Component], costs: _Costs) -> None:
        self.call = call
        self.costs = costs
        anchors = [_anchor(component) for component in call]
        #: The names that components have by themselves.
        self.anchored = {anchor for anchor in anchors if anchor is not None}
        #: The same for each component. What is there twice has to be told by its place.
        self.anchors = [anchor if anchors.count(anchor) == 1 else None for anchor in anchors]
        self._choosing: dict[int, bool] = {}
        #: For each component what it costs to read it as none of the known inputs.
        self.inserts = [self._insert(row) for row in range(len(call))]
        #: For each component the places that it may have, with what each costs where the version
        #: has it and where it does not.
        self.matches = [self._matches_of(row) for row in range(len(call))]

    def _insert(self, row: int) -> float:
        if self.anchors[row] is not None:
            return self.costs.displaced
        component = self.call[row]
        known = _has_known_label(component) or component.elem_id in _BY_ELEM_ID
        return self.costs.repeated if known else self.costs.insert

    def _matches_of(self, row: int) -> list[tuple[int, float, float]]:
        component = self.call[row]
        owners = _owners(component)
        # With the label of a place whose values are like its own.
        alike = _INTERCHANGEABLE.get(component.kind, ()) if component.label else ()
        found = []
        for number, place in enumerate(_PLACES):
            kind = place.entry.kind
            if (
                kind == component.kind
                or (kind in alike and place.name in owners)
                or _is_seed(component, place)
            ):
                cost = self._match(row, place, owners)
                if cost != _NEVER:
                    found.append((number, *cost))
        return found

    def _match(self, row: int, place: _Place, owners: set[tuple[str, str]]) -> tuple[float, float]:
        component = self.call[row]
        owner = _BY_ELEM_ID.get(component.elem_id)
        if owner is not None:
            return (0.0, 0.0) if owner == place.name else _NEVER
        taken = not place.group and place.name in self.anchored
        if owners:
            nameless = not component.label and not _anchor(component)
            if place.name not in owners or (taken and nameless):
                return _NEVER
            return _known_label(component, place)
        offers = bool(component.choices) and _chooses(component, place.entry)
        if taken or not (component.label or offers):
            return _NEVER
        cost = self._unknown_label(row, place.entry)
        return cost, cost + self.costs.outside_window

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
        if not 0 < row < len(self.call) - 1:
            return False
        before, here, after = (self.call[i] for i in (row - 1, row, row + 1))
        return before.id < here.id < after.id <= before.id + CLOSE

    def _unknown_label(self, row: int, entry: Input) -> float:
        component = self.call[row]
        if _offers_others(component, entry):
            return math.inf
        if any(choice in entry.never for choice in component.choices):
            return math.inf
        cost = self.costs.unknown_label
        if cost > MARGIN and (
            (entry.choices and component.choices) or _is_alike(component.label, entry)
        ):
            cost = MARGIN
        elif self._is_in_page_order(row):
            cost = min(cost, self.costs.renamed)
        if not entry.choices and self._is_known_choice(component):
            cost += self.costs.missing
        return cost + self._unusual_bounds(component, entry)

    def _unusual_bounds(self, component: Component, entry: Input) -> float:
        if entry.bounds is None:
            return 0.0
        given = [component.props.get(key) for key in ("minimum", "maximum", "step")]
        unusual = sum(ours != theirs for ours, theirs in zip(entry.bounds, given, strict=True))
        return (0.0, self.costs.unusual_bound, math.inf, math.inf)[unusual]


def _is_told(component: Component) -> bool:
    """Whether a component has a label or an id that Fooocus uses."""
    return component.elem_id in _BY_ELEM_ID or bool(_owners(component))


def _known_label(component: Component, place: _Place) -> tuple[float, float]:
    value = place.entry.value
    cost = 2.0 if value and component.props.get("value") != value else 0.0
    # A fork may have a list of its own, with a label as common as "Prompt".
    return cost, math.inf if _offers_others(component, place.entry) else cost


class _Reader:
    """Reads one row of components, with given costs."""

    def __init__(self, evidence: _Evidence, version: tuple[int, ...]) -> None:
        self._evidence = evidence
        self._call = evidence.call
        self._costs = evidence.costs
        self._anchors = evidence.anchors
        self._version = version
        self._inside = [self._in_window(place.entry) for place in _PLACES]
        self._row = RowAlignment(
            self._graph(),
            [self._matches(row) for row in range(len(self._call))],
            evidence.inserts,
            self._outcome,
            # What takes the prompt begins where the page does.
            from_start=("", "prompt") in evidence.anchored,
        )

    @cached_property
    def _alignments(self) -> list[Alignment]:
        return list(self._row.items)

    @property
    def row(self) -> RowAlignment:
        """The row along the template of its version alone."""
        return self._row

    def is_told(self) -> bool:
        """Whether every component has a label or an id that Fooocus uses."""
        return all(_is_told(item) for item in self._call)

    def has_version(self) -> bool:
        """Whether the page says what version it is of."""
        return bool(self._version)

    def as_of(self, version: tuple[int, ...]) -> _Reader:
        """Return a reader of the same row by the template of another version."""
        return _Reader(self._evidence, version)

    def hold_against(self, rival: _Reader) -> None:
        """Doubt what the template of another version would make something else of."""
        for place, other in enumerate(rival.row.items):
            own = self._alignments[place]
            alike = self._is_alike(place, own.outcome)
            self._alignments[place] = own.joined(other, _is_same_or_new if alike else _is_same)

    def _is_alike(self, place: int, outcome: Hashable) -> bool:
        """Whether a label has the words of what it is read as."""
        name = cast("_Outcome", outcome)[:2] if outcome is not None else None
        label = self._call[place].label
        return any(_is_alike(label, item.entry) for item in _PLACES if item.name == name)

    def unusual(self) -> list[bool]:
        """Return, for each input with an unknown label, whether it has a place."""
        return [
            alignment.outcome is not None
            for component, alignment in zip(self._call, self._alignments, strict=True)
            if component.label and not component.elem_id and not _has_known_label(component)
        ]

    def names(self) -> _Row:
        row = _Row(self._call)
        for place in range(len(self._call)):
            outcomes = self._within(place)
            if len({outcome and outcome[:2] for outcome in outcomes}) > 1:
                row.doubt(place, f"could be {_either(outcomes)}", outcomes)
        self._settle_repeated(row)
        self._doubt_moved(row)
        self._doubt_contested(row)
        _number(row, self._alignments, self._look_alikes(row))
        _check_plausible(row)
        return row

    def _look_alikes(self, row: _Row) -> Mapping[str, set[int]]:
        """Return what is read as new, but may be of a group that stands around or behind it."""
        found: dict[str, set[int]] = {}
        last: dict[str, int] = {}
        for place in range(len(self._call)):
            outcome = self._within(place)[0]
            if place in row.doubts or outcome is None or not outcome[0]:
                continue
            group = outcome[0]
            within = range(last.get(group, place), place)
            last[group] = place
            # Less than a whole group's length hides no end of one and beginning of another.
            hides = len(within) > sum(not entry.since for entry in _GROUPS[group].entries)
            strays = {other for other in within if hides and self._may_be(other, outcome[:2])}
            found.setdefault(group, set()).update(strays, self._whole_before(place, group))
        return found

    def _whole_before(self, place: int, group: str) -> Iterable[int]:
        """Return the new inputs before one of a group that could be another whole one."""
        entries = _GROUPS[group].entries
        always = [entry for entry in entries if not entry.since]
        for whole in (entries, always):
            before = range(place - len(whole), place)
            if before.start >= 0 and all(
                self._may_be(other, (group, entry.name))
                for other, entry in zip(before, whole, strict=True)
            ):
                return before
        return ()

    def _may_be(self, place: int, name: tuple[str, str]) -> bool:
        """Whether an input that may be new could be a certain one as well."""
        matches = self._evidence.matches[place]
        is_new = None in self._within(place)
        return is_new and any(_PLACES[number].name == name for number, _, _ in matches)

    def _settle_repeated(self, row: _Row) -> None:
        """Tell a run of inputs from a fork's copy of it by what stands on both sides."""
        runs: dict[tuple[int, ...], list[range]] = {}
        for run, places in self._repeated_runs(row):
            runs.setdefault(places, []).append(run)
        for places, found in runs.items():
            sides = [self._neighbours(row, run, places) for run in found]
            if sides.count(2) != 1 or sides.count(0) != len(found) - 1:
                continue
            names = {_PLACES[number].name for number in places}
            if any(
                names & {outcome[:2] for outcome in self._within(place) if outcome}
                for place in set(row.doubts).difference(*found)
            ):
                continue  # a part of it stands elsewhere, too
            for run, side in zip(found, sides, strict=True):
                for place, number in zip(run, places, strict=True):
                    settled = self._outcome(place, number if side else None)
                    self._alignments[place] = Alignment(((settled, 0.0),))
                    del row.doubts[place]

    def _repeated_runs(self, row: _Row) -> Iterator[tuple[range, tuple[int, ...]]]:
        """Yield the runs of doubtful inputs with known labels, and the places they may have."""
        start = 0
        places: list[int] = []
        for place in range(len(self._call) + 1):
            number = self._copied_place(place) if place in row.doubts else None
            if places and number != places[-1] + 1:
                yield range(start, place), tuple(places)
                places = []
            if number is not None:
                start = start if places else place
                places.append(number)

    def _copied_place(self, place: int) -> int | None:
        """Return the only place that an input with a known label may have, unless it is new."""
        outcomes = self._within(place)
        known = [outcome for outcome in outcomes if outcome is not None]
        if None not in outcomes or len(known) != 1 or not _has_known_label(self._call[place]):
            return None
        numbers = [
            number
            for number, item in enumerate(_PLACES)
            if item.name == known[0][:2] and self._in_window(item.entry)
        ]
        return numbers[0] if len(numbers) == 1 and not known[0][0] else None

    def _neighbours(self, row: _Row, run: range, places: tuple[int, ...]) -> int:
        """Return on how many sides of a run stands what stands there in the template."""
        certain = {
            place: outcome[:2]
            for place in range(len(self._call))
            if place not in row.doubts and (outcome := self._within(place)[0]) is not None
        }
        return sum(
            certain.get(beside, ("", "")) in self._beside(number, step, certain.values())
            for beside, number, step in (
                (run.start - 1, places[0], -1),
                (run.stop, places[-1], 1),
            )
        )

    def _beside(
        self, number: int, step: int, certain: Collection[tuple[str, str]]
    ) -> set[tuple[str, str]]:
        """Return what may stand beside a place: the next, or the one behind where that is gone."""
        found: list[tuple[str, str]] = []
        while 0 <= (number := number + step) < len(_PLACES) and len(found) < 2:
            if self._in_window(_PLACES[number].entry):
                found.append(_PLACES[number].name)
                if found[-1] not in certain:
                    break  # it may be what stands there
        return set(found)

    def _within(self, place: int) -> list[_Outcome | None]:
        return cast("list[_Outcome | None]", self._alignments[place].within(MARGIN))

    def _doubt_moved(self, row: _Row) -> None:
        """Doubt what only its place tells, where what is around it is not in its own place."""
        outcomes = [cast("_Outcome | None", alignment.outcome) for alignment in self._alignments]
        moved = [place for place, found in enumerate(outcomes) if found and found[2] == MOVED]
        anchored = sum(anchor is not None for anchor in self._anchors)
        everywhere = len(moved) > SHUFFLED * anchored
        for place, outcome in enumerate(outcomes):
            near = any(abs(place - other) <= NEAR for other in moved)
            if outcome is None or place in row.doubts or self._anchors[place] is not None:
                continue
            if place == 0 and outcome[1] == "prompt" and not self._call[0].label:
                continue  # before 2.1 the prompt has neither label nor id, and comes first
            if everywhere or (near and not outcome[0]):
                reason = f"could be {_either([outcome])}, but is not where that belongs"
                row.doubt(place, reason, [outcome])

    def _doubt_contested(self, row: _Row) -> None:
        """Doubt what only its place tells, where something new beside it could have that place."""
        if self._costs.unknown_label < self._costs.insert:
            return  # here both are weighed alike
        for place in range(len(self._call)):
            outcome = self._within(place)[0]
            if place in row.doubts or outcome is None or self._is_alike(place, outcome):
                continue
            rivals = [other for other in self._untold(place) if self._may_be(other, outcome[:2])]
            if rivals:
                rival = self._call[rivals[0]].describe()
                reason = f"could be {_either([outcome])}, as {rival} could be, too"
                row.doubt(place, reason, [outcome])

    def _untold(self, place: int) -> Iterator[int]:
        """Yield the others between the next two, before and behind, that are told by a label."""
        for step in (-1, 1):
            other = place
            while 0 <= other < len(self._call) and not _is_told(self._call[other]):
                if other != place:
                    yield other
                other += step

    # -- the template and its costs -----------------------------------------------------------

    def _graph(self) -> TemplateGraph:
        graph = TemplateGraph()
        number = 0
        for item in TEMPLATE:
            if isinstance(item, Group):
                count = len(item.entries)
                places = [(number + i, self._skip(number + i)) for i in range(count)]
                known = any(self._in_window(entry) for entry in item.entries)
                skip = self._costs.optional if known and not item.name else 0.0
                graph.add_group(places, skip, repeats=bool(item.name))
                number += count
            else:
                graph.add(number, self._skip(number))
                number += 1
        first, last = (_number_of(name) for name in ADVANCED)
        apart = not self._version or self._version < (2, 2)
        graph.add_shortcut(first, last, self._costs.optional if apart else 2 * self._costs.missing)
        return graph

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

    def _is_early(self, entry: Input) -> bool:
        """Whether the version is certainly before the one in which the entry went away."""
        return bool(entry.until and self._version and self._version < (2, 2))

    def _in_window(self, entry: Input) -> bool:
        if not self._version:
            return True
        return self._version >= entry.since and not (entry.until and self._version >= entry.until)

    def _outcome(self, row: int, number: int | None) -> tuple[str, str, int] | None:
        if number is not None:
            place = _PLACES[number]
            return (*place.name, place.index)
        anchor = self._anchors[row]
        return None if anchor is None else (*anchor, MOVED)

    def _matches(self, row: int) -> Iterator[tuple[int, float]]:
        """Yield the places that an input may have, and what each costs."""
        for number, inside, outside in self._evidence.matches[row]:
            cost = inside if self._inside[number] else outside
            if math.isfinite(cost):
                yield number, cost


def _anchor(component: Component) -> tuple[str, str] | None:
    """Return the name that a component has by itself, wherever it stands."""
    owner = _BY_ELEM_ID.get(component.elem_id)
    if owner is None and not component.elem_id and (component.label or _is_known_value(component)):
        owners = _owners(component)
        owner = next(iter(owners)) if len(owners) == 1 else None
        if any(_offers_others(component, item.entry) for item in _PLACES if item.name == owner):
            return None
    return owner if owner is not None and not owner[0] else None


def _is_known_value(component: Component) -> bool:
    """Whether a component without a label has a default that tells what it is."""
    value = component.props.get("value")
    return bool(value) and any(value == place.entry.value for place in _PLACES)


def _is_seed(component: Component, place: _Place) -> bool:
    # A slider has a range, and none has that of a seed.
    kinds = ("textbox", "text", "number")
    return place.entry.name == "image_seed" and component.type in kinds


def _chooses(component: Component, entry: Input) -> bool:
    """Whether a component offers what is an entry's own."""
    if "W×H" in entry.choices:
        return any(_SIZE.match(choice) for choice in component.choices)
    return any(choice in component.choices for choice in entry.choices)


def _offers_others(component: Component, entry: Input) -> bool:
    """Whether it offers nothing of what is an entry's own."""
    return bool(entry.choices and component.choices) and not _chooses(component, entry)


def _is_alike(label: str, entry: Input) -> bool:
    """Whether a label is a known one with some words more or less."""
    words = _words(label)
    for known in entry.labels:
        shorter, longer = sorted((words, _words(known)), key=len)
        if (
            shorter <= longer
            and len(shorter) > 1
            and len(longer) <= 2 * len(shorter)
            and not (longer - shorter) & _NEGATIONS
        ):
            return True
    return False


def _words(label: str) -> set[str]:
    """Return the words of a label, without quotes, slashes and emoji."""
    return set(re.findall(r"[\w'’]+", label.casefold()))


class _Row:
    """The names of a row of components, as far as they are certain."""

    def __init__(self, call: Sequence[Component]) -> None:
        self.call = call
        self.names: list[Name | None] = [None] * len(call)
        self.doubts: dict[int, Doubt] = {}

    def is_certain(self) -> bool:
        return not self.doubts

    def known(self) -> int:
        return sum(name is not None for name in self.names)

    def entries(self) -> Iterator[tuple[Component, Name | None, Doubt | None]]:
        for place, (component, name) in enumerate(zip(self.call, self.names, strict=True)):
            yield component, name, self.doubts.get(place)

    def doubt(self, place: int, reason: str, outcomes: Iterable[_Outcome | None]) -> None:
        self.names[place] = None
        names = {_general((outcome[0], 0, outcome[1])) for outcome in outcomes if outcome}
        self.doubts[place] = Doubt(reason, frozenset(names))

    def keep_told(self) -> None:
        """Doubt what nothing but its place tells, where the page has hardly any known label."""
        for place, name in enumerate(self.names):
            component = self.call[place]
            told = component.elem_id in _BY_ELEM_ID or _has_known_label(component)
            if name is not None and not (told and not name[0]):
                reason = f"could be {_general(name)!r}, but only its place would tell"
                self.doubt(place, reason, [(name[0], name[2], 0)])

    def doubt_name(self, name: Name, reason: str) -> None:
        self.doubt(self.names.index(name), reason, [(name[0], name[2], 0)])

    def doubt_group(self, group: str, reason: str, first: int = 0) -> None:
        """Doubt the names in a group, from one number on."""
        for place, name in enumerate(self.names):
            if name is not None and name[0] == group and name[1] >= first:
                self.doubt(place, reason, [(group, name[2], 0)])

    def single(self) -> dict[str, Component]:
        """Return what is in no group, by its name."""
        named = zip(self.call, self.names, strict=True)
        return {name[2]: item for item, name in named if name is not None and not name[0]}

    def groups(self) -> dict[str, dict[int, dict[str, Component]]]:
        """Return what is in groups, by group, number and member."""
        groups: dict[str, dict[int, dict[str, Component]]] = {}
        for component, name in zip(self.call, self.names, strict=True):
            if name is not None and name[0]:
                group, number, member = name
                groups.setdefault(group, {}).setdefault(number, {})[member] = component
        return groups


def _number(
    row: _Row, alignments: Sequence[Alignment], look_alikes: Mapping[str, set[int]]
) -> None:
    """Name what is certain; what repeats gets its number."""
    certain = [
        None if place in row.doubts else cast("_Outcome | None", alignment.outcome)
        for place, alignment in enumerate(alignments)
    ]
    for place, outcome in enumerate(certain):
        if outcome is not None and not outcome[0]:
            row.names[place] = (*outcome[:1], 0, outcome[1])
    for group in _GROUPS:
        maybe = {
            place: sorted(
                outcome[2]
                for outcome in cast("list[_Outcome | None]", alignments[place].within(MARGIN))
                if outcome is not None and outcome[0] == group
            )
            for place in row.doubts
        }
        members = [outcome[2] if outcome and outcome[0] == group else None for outcome in certain]
        strays = {
            place
            for place, (component, outcome) in enumerate(zip(row.call, certain, strict=True))
            if place not in row.doubts
            and outcome is None
            and any(owner[0] == group for owner in _all_owners(component))
        }
        strays |= look_alikes.get(group, set())
        _number_group(row, group, members, maybe, strays)


def _number_group(
    row: _Row,
    group: str,
    members: Sequence[int | None],
    maybe: Mapping[int, Sequence[int]],
    strays: set[int],
) -> None:
    """Count the repetitions of a group: each begins where the order of members starts anew."""
    entries = _GROUPS[group].entries
    found: dict[int, set[int]] = {}
    number, last = 0, math.inf
    waiting: list[Sequence[int]] = []
    unsure = 0
    for place, member in enumerate(members):
        if maybe.get(place):
            waiting.append(maybe[place])
        elif place in strays:
            # A member that belongs nowhere may be what is left of one more.
            waiting.append(())
        if member is None:
            continue
        starts = member <= last
        here, there, left = _fit(waiting, last, member, starts=starts)
        found.setdefault(number, set()).update(here)
        number += starts
        found.setdefault(number, set()).update(there, (member,))
        if left and not unsure:
            # Between two that are certain there may be one more, or none.
            unsure = number if starts else max(number, 1)
        row.names[place] = (group, number, entries[member].name)
        last, waiting = member, []
    here, _, _ = _fit(waiting, last, -1, starts=False)
    found.setdefault(number, set()).update(here)
    found.pop(0, None)
    _check_members(row, group, found)
    if unsure:
        row.doubt_group(group, f"may be of another number of {group}_...", unsure)


def _fit(
    waiting: Sequence[Sequence[int]], last: float, member: int, *, starts: bool
) -> tuple[list[int], list[int], bool]:
    """Fit doubtful members between two that are certain: behind one, before the other, neither."""
    here: list[int] = []
    there: list[int] = []
    left = False
    end = member if not starts and member >= 0 else math.inf
    at = last
    for choices in waiting:
        fits = [choice for choice in choices if at < choice < end] if not there else []
        if fits:
            here.append(fits[0])
            at = fits[0]
            continue
        before = there[-1] if there else -1
        fits = [choice for choice in choices if before < choice < member] if starts else []
        if fits:
            there.append(fits[0])
        else:
            left = True
    return here, there, left


def _is_same(one: Hashable, other: Hashable) -> bool:
    """Whether two outcomes are one input, which versions give other names."""
    names = [cast("_Outcome", outcome)[:2] for outcome in (one, other) if outcome is not None]
    groups = {group for group, _ in names}
    return len(names) == 2 and groups == {""} and OTHER_NAMES.get(names[0][1]) == names[1][1]


def _is_same_or_new(one: Hashable, other: Hashable) -> bool:
    return other is None or _is_same(one, other)


def _either(outcomes: Iterable[_Outcome | None]) -> str:
    return " or ".join(
        "something new" if outcome is None else repr("_".join(filter(None, outcome[:2])))
        for outcome in outcomes
    )


def _name_unknown(components: Iterable[Component], names: dict[int, str]) -> None:
    """Name what a fork added, and what is doubtful, after its label."""
    known = {*names.values(), *ALIASES, "loras"}
    for component in components:
        words = re.findall(r"\w+", (component.label or component.elem_id).casefold())
        slug = "_".join(words).strip("_") or component.type
        slug = slug if slug.isidentifier() else f"{component.type}_{slug}"
        name, number = slug, 1
        while name in known or is_known_parameter(name):
            number += 1
            name = f"{slug}_{number}"
        known.add(name)
        names[component.id] = name


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


def _check_plausible(row: _Row) -> None:
    """Doubt names of which the groups are not alike, or that the page contradicts."""
    for order in (_BY_ID, _BY_POSITION):
        _check_twins(row, order)
    orders = [order for order in (_BY_ID, _BY_POSITION) if _tells(order, row.single())]
    for group, members in row.groups().items():
        _check_numbers(row, group, members)
        for order in orders:
            _check_distances(row, group, members, order)


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


def _check_twins(row: _Row, order: Callable[[Component], int]) -> None:
    singles = row.single()
    pairs = [
        (before, after)
        for names in _RISING
        for before, after in itertools.combinations([n for n in names if n in singles], 2)
    ]
    falling = [pair for pair in pairs if order(singles[pair[0]]) > order(singles[pair[1]])]
    if len(pairs) < _ENOUGH or len(falling) > _FEW * len(pairs):
        return
    for pair in falling:
        one, other = (singles[name] for name in pair)
        if _are_twins(one, other) and not (_has_known_label(one) or _has_known_label(other)):
            for name in pair:
                if ("", 0, name) in row.names:
                    row.doubt_name(("", 0, name), f"could be {pair[0]!r} or {pair[1]!r}")


def _are_twins(one: Component, other: Component) -> bool:
    """Whether nothing but label and default tells two components apart."""
    bounds = ("minimum", "maximum", "step")
    return (
        one.kind == other.kind
        and one.choices == other.choices
        and all(one.props.get(key) == other.props.get(key) for key in bounds)
    )


def _check_members(row: _Row, group: str, found: Mapping[int, set[int]]) -> None:
    """Doubt a group of which one has members, certain or doubtful, that another lacks."""
    # Several whole ones before it that the page builds alike are not what others have left.
    if not found:
        return
    entries = _GROUPS[group].entries
    whole = max(found.values(), key=len)
    if len(found) == 1:
        # Several that all lack the same are a version's or fork's way; a single one is incomplete.
        whole = whole | {i for i, entry in enumerate(entries) if not entry.since}
    for number, members in found.items():
        missing = ", ".join(entries[i].name for i in sorted(whole - members))
        if missing:
            reason = f"may be of another group: {group}_{number} has no {missing}"
            row.doubt_group(group, reason, number if _are_alike(row, group, number - 1) else 0)
            return


def _are_alike(row: _Row, group: str, last: int) -> bool:
    """Whether the page tells that the first ones of a group, of which it has several, are alike."""
    singles = row.single()
    orders = [order for order in (_BY_ID, _BY_POSITION) if _tells(order, singles)]
    members = [item for number, item in row.groups().get(group, {}).items() if number <= last]
    return (
        len(orders) == 2
        and len(members) == last > 1
        and all(
            len({_distances(item, sorted(item), order) for item in members}) == 1
            for order in orders
        )
    )


def _distances(
    found: Mapping[str, Component], members: Sequence[str], order: Callable[[Component], int]
) -> tuple[int, ...]:
    """Return how far from the first one the members of a group stand in the page."""
    return tuple(order(found[member]) - order(found[members[0]]) for member in members)


def _check_numbers(row: _Row, group: str, members: Mapping[int, Mapping[str, Component]]) -> None:
    """Compare with the numbers in the labels, which only models of LoRAs have."""
    for number, found in members.items():
        component = found.get("model")
        written = re.search(r"(\d{1,4})\D*$", component.label) if component is not None else None
        if component is not None and written is not None and int(written[1]) != number:
            reason = f"is uncertain: {component.describe()} stands where {group}_{number} is"
            row.doubt_group(group, reason)
            return


def _check_distances(
    row: _Row,
    group: str,
    members: Mapping[int, Mapping[str, Component]],
    order: Callable[[Component], int],
) -> None:
    whole = max(members.values(), key=len)
    for found in members.values():
        shared = [member for member in sorted(whole) if member in found]
        if _distances(whole, shared, order) != _distances(found, shared, order):
            row.doubt_group(group, f"is uncertain: {group}_... do not belong together")
            return
