"""Conditions on the cells of a sweep: a function of a cell's values, or the values themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from fooocus_nb.errors import ParameterError, nearest
from fooocus_nb.experiment.axes import items_of
from fooocus_nb.experiment.identity import InputImages, canonical_json, same_form
from fooocus_nb.fooocus.schema.named_values import NamedValues
from fooocus_nb.fooocus.schema.parameters import canonical_name

__all__ = ["Condition", "conditions_of"]

#: Whether a cell with these values is meant.
Condition = Callable[[NamedValues], bool]


def conditions_of(
    what: str, given: Any, names: Iterable[str], images: InputImages
) -> tuple[Condition, ...]:
    """Return the conditions that somebody gave as `what`: one, or several in a list."""
    if given is None:
        return ()
    several = list(given) if isinstance(given, (list, tuple)) else [given]
    return tuple(_condition(what, each, list(names), images) for each in several)


def _condition(what: str, given: Any, names: list[str], images: InputImages) -> Condition:
    if isinstance(given, Mapping):
        return _matching(what, given, names, images)
    if callable(given):
        return _asking(what, given)
    msg = (
        f"{what}={given!r} is not possible: it must be a function of a cell's values, such as "
        f"lambda cell: cell['guidance_scale'] > 3, or a mapping of names to values."
    )
    raise ParameterError(msg)


def _asking(what: str, function: Callable[[NamedValues], object]) -> Condition:
    def holds(values: NamedValues) -> bool:
        try:
            return bool(function(values))
        except Exception as error:
            msg = f"{what}= failed for a cell: {type(error).__name__}: {error}. Its values: "
            raise ParameterError(f"{msg}{dict(values)!r}.") from error

    return holds


def _matching(
    what: str, wanted: Mapping[str, Any], names: list[str], images: InputImages
) -> Condition:
    """Return the condition that a cell has these values; a list is any of its items."""
    allowed: dict[str, frozenset[str]] = {}
    for name, value in wanted.items():
        canonical = canonical_name(name)
        if canonical not in names:
            hint = nearest(name, names)
            msg = f"{what}= names {name!r}, which this sweep does not give.{hint}"
            raise ParameterError(msg)
        items = list(value) if isinstance(value, Set) else items_of(name, value)
        allowed[canonical] = frozenset(
            canonical_json(same_form(canonical, item, images)) for item in items
        )

    def holds(values: NamedValues) -> bool:
        return all(
            name in values and canonical_json(_as_stored(name, values[name])) in keys
            for name, keys in allowed.items()
        )

    return holds


def _as_stored(name: str, value: Any) -> Any:
    return str(value) if name == "image_seed" else value
