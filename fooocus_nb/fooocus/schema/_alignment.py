"""Laying a row of unknown things along a template, and saying how sure one can be.

The cheapest way to read the row is found by dynamic programming, forwards and backwards, so that
for each thing the price of every other reading is known too. What is only just the cheapest is not
certain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

__all__ = ["Lattice", "Reading", "read_row"]

_Row = list[float]


@dataclass
class Lattice:
    """A template as a graph: steps that take a thing, and steps that take none.

    Attributes
    ----------
    slots : list of (int, int, int)
        From where to where a step leads that takes a thing, and which of the template's places it
        stands for.
    skips : list of (int, int, float)
        From where to where a step leads that takes nothing, and its price.
    resting : list of bool
        For each point, whether a row may begin and end there.
    """

    slots: list[tuple[int, int, int]] = field(default_factory=list)
    skips: list[tuple[int, int, float]] = field(default_factory=list)
    resting: list[bool] = field(default_factory=lambda: [True])

    def add(self, place: int, skip: float, *, resting: bool = True) -> None:
        """Append a place that may be passed over at a price."""
        here = self._point(resting=resting)
        self.slots.append((here - 1, here, place))
        self.skips.append((here - 1, here, skip))

    def add_group(self, places: Sequence[tuple[int, float]], skip: float, *, repeats: bool) -> None:
        """Append places that come together, or not at all at a price; perhaps several times."""
        before = len(self.resting) - 1
        start = self._point(resting=False)
        self.skips.append((before, start, 0.0))
        for place, alone in places:
            self.add(place, alone, resting=False)
        end = len(self.resting) - 1
        after = self._point(resting=True)
        self.skips += [(end, after, 0.0), (before, after, skip)]
        if repeats:
            self.skips.append((end, start, 0.0))

    def add_leap(self, first: int, last: int, skip: float) -> None:
        """Let all places from one to another be passed over together, at a price."""
        start = next(slot[0] for slot in self.slots if slot[2] == first)
        end = next(slot[1] for slot in self.slots if slot[2] == last)
        self.skips.append((start, end, skip))

    def _point(self, *, resting: bool) -> int:
        self.resting.append(resting)
        return len(self.resting) - 1


@dataclass(frozen=True)
class Reading:
    """What one thing of the row is most likely to be.

    Attributes
    ----------
    outcome : hashable
        What it is read as.
    margin : float
        How much dearer the next best reading is that says something else.
    rival : hashable
        That reading.
    """

    outcome: Hashable
    margin: float
    rival: Hashable


def read_row(
    lattice: Lattice,
    length: int,
    match: Callable[[int, int], float],
    insert: Callable[[int], float],
    outcome: Callable[[int, int | None], Hashable],
) -> list[Reading] | int:
    """Read a row along a template.

    Parameters
    ----------
    lattice : Lattice
        The template.
    length : int
        How many things the row has.
    match : callable
        The price of reading a thing, by its position, as one of the template's places.
    insert : callable
        The price of reading it as none of them.
    outcome : callable
        What the thing is then called; two readings with the same outcome do not contradict.

    Returns
    -------
    list of Reading or int
        One for each thing; where the row cannot be read at all, the first thing that fits nowhere
        behind those before it.
    """
    prices = [[match(row, slot[2]) for slot in lattice.slots] for row in range(length)]
    inserts = [insert(row) for row in range(length)]
    forward = _forward(lattice, prices, inserts)
    stuck = next((i for i, costs in enumerate(forward) if not math.isfinite(min(costs))), None)
    if stuck is not None:
        return stuck - 1
    backward = _backward(lattice, prices, inserts)
    return [
        _read(lattice, row, forward[row], backward[row + 1], prices[row], inserts[row], outcome)
        for row in range(length)
    ]


def _add(left: float, right: float) -> float:
    return left + right


def _read(
    lattice: Lattice,
    row: int,
    before: _Row,
    after: _Row,
    prices: list[float],
    insert: float,
    outcome: Callable[[int, int | None], Hashable],
) -> Reading:
    costs: dict[Hashable, float] = {}
    for (start, end, place), price in zip(lattice.slots, prices, strict=True):
        cost = before[start] + price + after[end]
        if math.isfinite(cost):
            name = outcome(row, place)
            costs[name] = min(cost, costs.get(name, math.inf))
    inserted = min(map(_add, before, after)) + insert
    if math.isfinite(inserted):
        name = outcome(row, None)
        costs[name] = min(inserted, costs.get(name, math.inf))
    best = min(costs, key=lambda name: costs[name])
    others = [name for name in costs if name != best]
    if not others:
        return Reading(best, math.inf, None)
    rival = min(others, key=lambda name: costs[name])
    return Reading(best, costs[rival] - costs[best], rival)


def _forward(lattice: Lattice, prices: list[list[float]], inserts: list[float]) -> list[_Row]:
    # Both ends of the template are free: a function may take only a part of all inputs.
    row = [0.0 if resting else math.inf for resting in lattice.resting]
    _pass(lattice, row, backwards=False)
    rows = [row]
    for price, insert in zip(prices, inserts, strict=True):
        previous = rows[-1]
        row = [cost + insert for cost in previous]
        for (start, end, _), cost in zip(lattice.slots, price, strict=True):
            row[end] = min(row[end], previous[start] + cost)
        _pass(lattice, row, backwards=False)
        rows.append(row)
    return rows


def _backward(lattice: Lattice, prices: list[list[float]], inserts: list[float]) -> list[_Row]:
    row = [0.0 if resting else math.inf for resting in lattice.resting]
    _pass(lattice, row, backwards=True)
    rows = [row]
    for price, insert in zip(reversed(prices), reversed(inserts), strict=True):
        following = rows[-1]
        row = [cost + insert for cost in following]
        for (start, end, _), cost in zip(lattice.slots, price, strict=True):
            row[start] = min(row[start], following[end] + cost)
        _pass(lattice, row, backwards=True)
        rows.append(row)
    return rows[::-1]


def _pass(lattice: Lattice, row: _Row, *, backwards: bool) -> None:
    """Follow the steps that take nothing."""
    steps = sorted(lattice.skips, reverse=backwards)
    # Twice: the step back to a group's start opens the way to the steps behind that start.
    for _ in range(2):
        for start, end, cost in steps:
            if backwards:
                row[start] = min(row[start], row[end] + cost)
            else:
                row[end] = min(row[end], row[start] + cost)
