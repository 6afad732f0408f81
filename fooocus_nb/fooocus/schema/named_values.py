"""Values by parameter name: canonical to iterate over, short names understood as well."""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Any

from fooocus_nb.errors import nearest
from fooocus_nb.fooocus.schema._template import OTHER_NAMES, TEMPLATE, Input
from fooocus_nb.fooocus.schema.parameters import ALIASES, plain

__all__ = ["INPUT_IMAGE", "NamedValues", "PartialRecord", "common_names"]

#: What stands in `missing` for an image that the generation began with.
INPUT_IMAGE = "input_image"

_MARKUP = re.compile(r"<[^>]*>")
_ABSENT = object()


def common_names() -> tuple[str, ...]:
    """Return the names of the parameters that every Fooocus has once, the short ones included."""
    single = [entry.name for entry in TEMPLATE if isinstance(entry, Input)]
    return (*ALIASES, *dict.fromkeys([*ALIASES.values(), *single]))


class PartialRecord(str):
    """A text value of a record that doesn't tell everything.

    It goes through ``**parameters`` as any text does, so that a generation can find what its
    record leaves out, or warn of it.

    Attributes
    ----------
    missing : tuple of str
        The names of what the record leaves out.
    record : str
        The text of the record.
    """

    missing: tuple[str, ...]
    record: str

    def __new__(cls, text: str, missing: tuple[str, ...] = (), record: str = "") -> PartialRecord:
        """Make one of a text, what is missing beside it, and the record that it is from."""
        made = super().__new__(cls, text)
        made.missing = missing
        made.record = record
        return made


class NamedValues(Mapping[str, Any]):
    """Parameters and their values: an immutable mapping that knows short names, too.

    ``values["seed"]`` and ``values["image_seed"]`` are the same value. Iteration, ``len`` and
    ``**values`` give each value once, by its canonical name. A choice that the web page shows with
    HTML has none here, and is understood by a generation all the same.

    Parameters
    ----------
    values : mapping, optional
        Values by canonical or short names. Default: none.

    Raises
    ------
    KeyError
        On ``values[name]``, when there is no such value; with the nearest match.
    """

    __slots__ = ("_base", "_changes")

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self._base = {
            ALIASES.get(name, name): _shown(name, value) for name, value in (values or {}).items()
        }
        self._changes: dict[str, Any] = {}

    @property
    def _values(self) -> dict[str, Any]:
        return {**self._base, **self._changes} if self._changes else self._base

    def sharing(self, other: NamedValues) -> NamedValues:
        """Return the same values, with those that `other` has as well kept once in memory.

        A history holds thousands of images, of 150 parameters each, that mostly differ in a seed.
        """
        base = other._base
        if self._base is base or self._base.keys() != base.keys():
            return self
        changes = {
            name: value for name, value in self._values.items() if _differs(value, base[name])
        }
        if len(changes) > len(base) // 2:
            return self
        shared = NamedValues()
        shared._base, shared._changes = base, changes
        return shared

    def __getitem__(self, name: str) -> Any:
        found = self._find(name)
        if found is _ABSENT:
            hint = nearest(name, [*self._values, *ALIASES]) if isinstance(name, str) else ""
            msg = f"There is no value for {name!r}.{hint}"
            raise KeyError(msg)
        return found

    # Both are as a mapping has them, without the search for the nearest name on every miss.
    def __contains__(self, name: object) -> bool:
        return self._find(name) is not _ABSENT

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or `default` where there is none."""
        found = self._find(name)
        return default if found is _ABSENT else found

    def _find(self, name: object) -> Any:
        if not isinstance(name, str):
            return _ABSENT
        canonical = ALIASES.get(name, name)
        if canonical not in self._base:
            canonical = OTHER_NAMES.get(canonical, canonical)
        if canonical in self._changes:
            return self._changes[canonical]
        return self._base.get(canonical, _ABSENT)

    # Without a look-up for each name.
    def items(self) -> ItemsView[str, Any]:
        """Return the values with their names."""
        return self._values.items()

    def values(self) -> ValuesView[Any]:
        """Return the values."""
        return self._values.values()

    # What has changed is in the base as well.
    def __iter__(self) -> Iterator[str]:
        return iter(self._base)

    def __len__(self) -> int:
        return len(self._base)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, NamedValues):
            return self._values == other._values
        if isinstance(other, Mapping):
            return self._values == {ALIASES.get(name, name): other[name] for name in other}
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # values such as lists have none either

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._values, **NamedValues(other)._values}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**NamedValues(other)._values, **self._values}

    def __repr__(self) -> str:
        return repr(self._values)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # In a notebook a line for each value: there are 150 of them.
        printer.pretty(self._values)

    def __reduce__(self) -> tuple[type[NamedValues], tuple[dict[str, Any]]]:
        return NamedValues, (self._values,)

    def _ipython_key_completions_(self) -> list[str]:
        return [*self._values, *(short for short, name in ALIASES.items() if name in self._values)]


def _differs(value: Any, other: Any) -> bool:
    """Return whether a value can't stand for another one: by its type, too, or mutable."""
    if value is other:
        return False
    alike = type(value) is type(other) and type(value) in (str, int, float, bool)
    return not alike or value != other


def _shown(name: str, value: Any) -> Any:
    """Return a choice without its HTML; a prompt keeps its ``<lora:name:1>``."""
    if type(value) is str and "prompt" not in name and _MARKUP.search(value):
        return plain(value)
    return value
