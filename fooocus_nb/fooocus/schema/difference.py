"""How the parameters of two servers differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fooocus_nb._html import data_table, escape, wrap
from fooocus_nb.fooocus.schema.parameters import plain

if TYPE_CHECKING:
    from fooocus_nb.fooocus.schema.parameters import Parameter, ParameterTable

__all__ = ["ParameterDiff"]

#: So many choices that only one of them has are named; of the others there is the number.
_NAMED = 5
_LONGEST = 60
_HEADINGS = ("name", "what")


class ParameterDiff(Mapping[str, "tuple[Parameter | None, Parameter | None]"]):
    """For each parameter that differs, ours and theirs; None where one has it not.

    Shows as a table with what differs: which server has it, its type, label, default, choices and
    range. Empty, and so false, where the servers take the same.

    Parameters
    ----------
    here, there : ParameterTable
        The parameters of both.
    sides : tuple of (str, str)
        What the two are called. Default ``here`` and ``there``.
    title : str
        What the table is headed with.
    """

    def __init__(
        self,
        here: ParameterTable,
        there: ParameterTable,
        *,
        sides: tuple[str, str] = ("here", "there"),
        title: str = "",
    ) -> None:
        self._headings = (*_HEADINGS, *sides)
        self._title = title
        names = dict.fromkeys([*here, *there])
        pairs = {name: (here.get(name), there.get(name)) for name in names}
        self._pairs = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def __getitem__(self, name: str) -> tuple[Parameter | None, Parameter | None]:
        return self._pairs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def only_here(self) -> tuple[str, ...]:
        """The names of the parameters that only this server has."""
        return tuple(name for name, (_, theirs) in self.items() if theirs is None)

    @property
    def only_there(self) -> tuple[str, ...]:
        """The names of the parameters that only the other server has."""
        return tuple(name for name, (ours, _) in self.items() if ours is None)

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the parameters that both have and that are not the same."""
        return tuple(name for name, pair in self.items() if None not in pair)

    def _rows(self) -> list[tuple[str, str, str, str]]:
        rows: list[tuple[str, str, str, str]] = []
        for name, (ours, theirs) in self._pairs.items():
            if ours is None or theirs is None:
                shown = [parameter.type if parameter else "" for parameter in (ours, theirs)]
                where = f"only {self._headings[3 if ours is None else 2]}"
                rows.append((name, where, shown[0], shown[1]))
            else:
                rows += [(name, *facts) for facts in _facts(ours, theirs)]
        return rows

    def __repr__(self) -> str:
        title = f"{self._title}\n" if self._title else ""
        if not self._pairs:
            return f"{title}no difference"
        rows = [self._headings, *self._rows()]
        widths = [min(max(len(row[i]) for row in rows), _LONGEST) for i in range(4)]
        return title + "\n".join(
            "  ".join(
                cell[:width].ljust(width) for cell, width in zip(row, widths, strict=True)
            ).rstrip()
            for row in rows
        )

    def _repr_html_(self) -> str:
        title = self._title or "Differences"
        if not self._pairs:
            return wrap(f"{escape(title)}: no difference")
        table = data_table(self._headings, self._rows(), title=title, height="26em")
        return wrap(table, label=title)


def _facts(ours: Parameter, theirs: Parameter) -> Iterator[tuple[str, str, str]]:
    """Yield what differs between two parameters, and how it is here and there."""
    for fact in ("type", "label", "default"):
        here, there = getattr(ours, fact), getattr(theirs, fact)
        if here != there:
            yield fact, _short(here), _short(there)
    if ours.choices != theirs.choices:
        here_only = [c for c in ours.choices or () if c not in (theirs.choices or ())]
        there_only = [c for c in theirs.choices or () if c not in (ours.choices or ())]
        if here_only or there_only:
            yield "choices", _some(here_only), _some(there_only)
        else:
            yield "choices", "in one order", "in another order"
    ranges = [_range(parameter) for parameter in (ours, theirs)]
    if ranges[0] != ranges[1]:
        yield "range", ranges[0], ranges[1]
    if ours.aliases != theirs.aliases:
        yield "short names", ", ".join(ours.aliases), ", ".join(theirs.aliases)


def _range(parameter: Parameter) -> str:
    if parameter.minimum is None and parameter.maximum is None:
        return ""
    low, high, step = (
        "" if number is None else f"{number:g}"
        for number in (parameter.minimum, parameter.maximum, parameter.step)
    )
    return f"{low} to {high}" + (f" by {step}" if step else "")


def _some(choices: list[str]) -> str:
    """Name what only one side has."""
    shown = ", ".join(_short(choice) for choice in choices[:_NAMED])
    more = len(choices) - _NAMED
    return f"also {shown}" + (f" and {more} more" if more > 0 else "") if choices else ""


def _short(value: object) -> str:
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    text = plain(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
