"""Aligns a row of unknown items with a template, and tells how certain the result is.

The alignment with the lowest cost is found by dynamic programming, forwards and backwards, so that
for each item the cost of every other alignment is known too. What is only just the cheapest is not
certain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

__all__ = ["Alignment", "RowAlignment", "TemplateGraph"]

_Row = list[float]
#: From where to where a step leads, and its cost.
_Skip = tuple[int, int, float]


@dataclass
class TemplateGraph:
    """A template as a graph: steps that take an item, and steps that take none."""

    #: From where to where a step leads that takes an item, and which place of the template it is.
    slots: list[tuple[int, int, int]] = field(default_factory=list)
    #: From where to where a step leads that takes no item, and its cost.
    skips: list[_Skip] = field(default_factory=list)
    #: For each point, whether a row may begin and end there.
    terminal: list[bool] = field(default_factory=lambda: [True])

    def add(self, place: int, skip: float, *, terminal: bool = True) -> None:
        """Append a place that may be skipped at a cost."""
        here = self._point(terminal=terminal)
        self.slots.append((here - 1, here, place))
        self.skips.append((here - 1, here, skip))

    def add_group(self, places: Sequence[tuple[int, float]], skip: float, *, repeats: bool) -> None:
        """Append places that come together, or not at all at a cost; perhaps several times."""
        before = len(self.terminal) - 1
        start = self._point(terminal=False)
        self.skips.append((before, start, 0.0))
        for place, alone in places:
            self.add(place, alone, terminal=False)
        end = len(self.terminal) - 1
        after = self._point(terminal=True)
        self.skips += [(end, after, 0.0), (before, after, skip)]
        if repeats:
            self.skips.append((end, start, 0.0))

    def add_shortcut(self, first: int, last: int, skip: float) -> None:
        """Let all places from one to another be skipped together, at a cost."""
        start = next(slot[0] for slot in self.slots if slot[2] == first)
        end = next(slot[1] for slot in self.slots if slot[2] == last)
        self.skips.append((start, end, skip))

    def _point(self, *, terminal: bool) -> int:
        self.terminal.append(terminal)
        return len(self.terminal) - 1


@dataclass(frozen=True)
class Alignment:
    """What one item of the row may be, the most likely first."""

    #: Each outcome with how much more it costs than the cheapest.
    ranked: tuple[tuple[Hashable, float], ...]

    @property
    def outcome(self) -> Hashable:
        """What it is read as."""
        return self.ranked[0][0]

    def within(self, margin: float) -> list[Hashable]:
        """Return the outcomes that cost less than so much more."""
        return [outcome for outcome, more in self.ranked if more < margin]

    def joined(self, other: Alignment, is_same: Callable[[Hashable, Hashable], bool]) -> Alignment:
        """Return it with what another template makes of the item, neither being the likelier."""
        costs = dict(self.ranked)
        for outcome, more in other.ranked:
            known = self.outcome if is_same(self.outcome, outcome) else outcome
            costs[known] = min(more, costs.get(known, math.inf))
        ranked = sorted(costs.items(), key=lambda item: (item[1], item[0] != self.outcome))
        return Alignment(tuple(ranked))


class RowAlignment:
    """A row of items laid along a template, from the template's start or from anywhere in it."""

    # `matches` and `inserts` tell for each item what it costs to read it as a place of the template
    # that it may have, and as none of them; those with the same `outcome` do not contradict each
    # other. Every item can be none of them, so there always is one.
    def __init__(
        self,
        graph: TemplateGraph,
        matches: Iterable[Iterable[tuple[int, float]]],
        inserts: Sequence[float],
        outcome: Callable[[int, int | None], Hashable],
        *,
        from_start: bool = False,
    ) -> None:
        self._graph = graph
        self._outcome = outcome
        steps = {place: (start, end, place) for start, end, place in graph.slots}
        self._matches = [[(*steps[place], cost) for place, cost in row] for row in matches]
        self._inserts = inserts
        # Both ends of the template are free: a function may take only a part of all inputs.
        self._ends = [0.0 if terminal else math.inf for terminal in graph.terminal]
        starts = [0.0, *(math.inf for _ in self._ends[1:])] if from_start else list(self._ends)
        self._forward = _sweep(graph, self._matches, self._inserts, starts, backwards=False)

    @property
    def cost(self) -> float:
        """What the cheapest reading of the whole row costs."""
        return min(one + other for one, other in zip(self._forward[-1], self._ends, strict=True))

    @cached_property
    def items(self) -> list[Alignment]:
        """What each item may be."""
        ends = list(self._ends)
        backward = _sweep(self._graph, self._matches, self._inserts, ends, backwards=True)
        alignments = []
        for row, inserted in enumerate(self._inserts):
            before, after = self._forward[row], backward[row + 1]
            costs: dict[Hashable, float] = {}
            for start, end, place, cost in self._matches[row]:
                _keep_cheapest(costs, self._outcome(row, place), before[start] + cost + after[end])
            passed = min(one + other for one, other in zip(before, after, strict=True))
            _keep_cheapest(costs, self._outcome(row, None), passed + inserted)
            alignments.append(_rank(costs))
        return alignments


def _keep_cheapest(costs: dict[Hashable, float], outcome: Hashable, cost: float) -> None:
    if math.isfinite(cost):
        costs[outcome] = min(cost, costs.get(outcome, math.inf))


def _rank(costs: Mapping[Hashable, float]) -> Alignment:
    best = min(costs.values())
    ranked = sorted(costs.items(), key=lambda item: item[1])
    return Alignment(tuple((outcome, cost - best) for outcome, cost in ranked))


def _sweep(
    graph: TemplateGraph,
    matches: list[list[tuple[int, int, int, float]]],
    inserts: Sequence[float],
    costs: _Row,
    *,
    backwards: bool,
) -> list[_Row]:
    """Return what it costs to be at each point before each item, read from one end of the row."""
    # What leads back to a group's start opens the way to the steps behind that start.
    onward = sorted((skip for skip in graph.skips if skip[0] < skip[1]), reverse=backwards)
    back = [skip for skip in graph.skips if skip[0] > skip[1]]
    if backwards:
        onward, back = _turned(onward), _turned(back)
    _skip(onward, back, costs)
    rows = [costs]
    order = range(len(inserts) - 1, -1, -1) if backwards else range(len(inserts))
    for row in order:
        last = rows[-1]
        costs = [cost + inserts[row] for cost in last]
        for start, end, _, cost in matches[row]:
            source, target = (end, start) if backwards else (start, end)
            costs[target] = min(costs[target], last[source] + cost)
        _skip(onward, back, costs)
        rows.append(costs)
    return rows[::-1] if backwards else rows


def _turned(skips: Iterable[_Skip]) -> list[_Skip]:
    return [(end, start, cost) for start, end, cost in skips]


def _skip(onward: Sequence[_Skip], back: Sequence[_Skip], costs: _Row) -> None:
    """Follow the steps that take no item."""
    _relax(onward, costs)
    if _relax(back, costs):
        _relax(onward, costs)


def _relax(skips: Sequence[_Skip], costs: _Row) -> bool:
    """Follow each of these steps once; return whether that makes any point cheaper."""
    cheaper = False
    for source, target, cost in skips:
        there = costs[source] + cost
        if there < costs[target]:
            costs[target] = there
            cheaper = True
    return cheaper
