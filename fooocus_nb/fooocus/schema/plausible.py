"""A second look at the names of inputs: what repeats must repeat alike.

Where a group lost a member, the rest of two groups can look like one whole group. The page still
tells: it builds all groups by one recipe, so the ids within each lie equally far apart. Where
labels say nothing, it also tells in which order things alike belong.
"""

from __future__ import annotations

import itertools
import re
from operator import attrgetter
from typing import TYPE_CHECKING

from fooocus_nb.errors import UnsupportedServer
from fooocus_nb.fooocus.schema._template import TEMPLATE, Group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fooocus_nb.fooocus.schema.component import Component
    from fooocus_nb.fooocus.schema.naming import Name

__all__ = ["check_plausible"]

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
_ENOUGH = 4
#: The share of pairs that may be out of order where the order still tells anything.
_FEW = 0.2
_GROUPS = {item.name: item for item in TEMPLATE if isinstance(item, Group) and item.name}


def check_plausible(
    call: Sequence[Component],
    names: Sequence[Name | None],
    is_spoken: Callable[[Component], bool],
) -> None:
    """Refuse names of which the groups are not alike, or that the page contradicts.

    Parameters
    ----------
    call : sequence of Component
        The inputs of one function.
    names : sequence of (tuple or None)
        Group, number and member of each.
    is_spoken : callable
        Whether a component's label is one of Fooocus's.

    Raises
    ------
    UnsupportedServer
        When groups differ in their members, in their numbers, or in how the page built them; or
        when the page has two inputs the other way round that nothing else tells apart.
    """
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
        _check_twins(singles, order, is_spoken)
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
    is_spoken: Callable[[Component], bool],
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
        if _are_twins(one, other) and not is_spoken(one) and not is_spoken(other):
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
        # Of several that all lack the same, that is a version's or a fork's way. One is a ruin.
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
