"""The functions of the web app beside "Generate", found by what they take and what they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fooocus_nb.fooocus.schema.component import Component
    from fooocus_nb.fooocus.schema.graph import Function, Graph

__all__ = ["find_control", "find_verbs"]

#: A function that sets so many parameters at once loads a whole set of them.
MANY = 15


def find_control(graph: Graph, elem_id: str, chain: tuple[Function, ...]) -> Function | None:
    """Find what the stop or the skip button does.

    In 2.1 the skip button has no ``elem_id``. It is the one button that "Generate" shows beside the
    others and that has none.

    Parameters
    ----------
    graph : Graph
        The page.
    elem_id : str
        ``stop_button`` or ``skip_button``.
    chain : tuple of Function
        What a click on "Generate" runs.

    Returns
    -------
    Function or None
        What a click runs; None where there is no such button, or no certainty.
    """
    buttons = graph.all_by_elem_id(elem_id)
    if not buttons and elem_id == "skip_button":
        shown = {
            item.id: item
            for function in chain
            for item in function.outputs
            if item.type == "button" and not item.elem_id
        }
        buttons = list(shown.values())
    clicks = [function for button in buttons for function in graph.set_off_by(button, "click")]
    return clicks[0] if len(clicks) == 1 else None


def find_verbs(graph: Graph, names: Mapping[int, str]) -> dict[str, Function]:
    """Find the other functions that are of use without the page.

    Parameters
    ----------
    graph : Graph
        The page.
    names : mapping
        The names of the generation's inputs, by the ids of their components.

    Returns
    -------
    dict
        Of ``preset``, ``load_parameters``, ``apply_metadata``, ``read_metadata``, ``describe``,
        ``make_mask``, ``refresh`` and ``history`` those that the page has exactly once.
    """
    verbs = {}
    for verb, fits in _VERBS.items():
        found = [
            function
            for function in _first_functions(graph)
            if fits(function, graph, {item.id for item in function.outputs}, names)
        ]
        if len(found) == 1:
            verbs[verb] = found[0]
    return verbs


def _first_functions(graph: Graph) -> Iterator[Function]:
    return (function for function in graph.functions if function.after is None)


def _set_off_by(function: Function, graph: Graph, kind: str, event: str) -> Component | None:
    if len(function.triggers) != 1:
        return None
    number, trigger = function.triggers[0]
    component = graph.components.get(number)
    fits = component is not None and component.type == kind and trigger == event
    return component if fits else None


def _sets_many(outputs: set[int], names: Mapping[int, str]) -> bool:
    set_names = {names[number] for number in outputs if number in names}
    return len(set_names) >= MANY and "prompt" in set_names


def _named(outputs: set[int], names: Mapping[int, str]) -> set[str]:
    return {names[number] for number in outputs if number in names}


def _is_preset(f: Function, graph: Graph, outputs: set[int], names: Mapping[int, str]) -> bool:
    chosen = _set_off_by(f, graph, "dropdown", "change")
    return (
        chosen is not None
        and chosen.id not in names
        and chosen in f.inputs
        and _sets_many(outputs, names)
    )


def _is_load(f: Function, graph: Graph, outputs: set[int], names: Mapping[int, str]) -> bool:
    button = _set_off_by(f, graph, "button", "click")
    return (
        button is not None
        and not f.takes("image")
        and "prompt" in _named({item.id for item in f.inputs}, names)
        and _sets_many(outputs, names)
    )


def _is_apply(f: Function, graph: Graph, outputs: set[int], names: Mapping[int, str]) -> bool:
    button = _set_off_by(f, graph, "button", "click")
    return button is not None and bool(f.takes("image")) and _sets_many(outputs, names)


def _is_read(f: Function, graph: Graph, outputs: set[int], names: Mapping[int, str]) -> bool:
    uploaded = _set_off_by(f, graph, "image", "upload")
    kinds = [item.type for item in f.outputs]
    return uploaded is not None and f.inputs == (uploaded,) and kinds == ["json"]


def _is_describe(f: Function, graph: Graph, outputs: set[int], names: Mapping[int, str]) -> bool:
    button = _set_off_by(f, graph, "button", "click")
    targets = _named(outputs, names)
    return (
        button is not None
        and len(f.takes("image")) == 1
        and "prompt" in targets
        and targets <= {"prompt", "style_selections"}
    )


def _is_mask(f: Function, graph: Graph, outputs: set[int], names: Mapping[int, str]) -> bool:
    button = _set_off_by(f, graph, "button", "click")
    return (
        button is not None
        and len(f.takes("image")) == 1
        and [names.get(item.id) for item in f.outputs] == ["inpaint_mask_image"]
    )


def _is_refresh(f: Function, graph: Graph, outputs: set[int], names: Mapping[int, str]) -> bool:
    button = _set_off_by(f, graph, "button", "click")
    targets = _named(outputs, names)
    return (
        button is not None
        and not f.inputs
        and {"base_model", "refiner_model"} <= targets
        and "prompt" not in targets
    )


def _is_history(f: Function, graph: Graph, outputs: set[int], names: Mapping[int, str]) -> bool:
    return (
        not f.inputs
        and [item.type for item in f.outputs] == ["html"]
        and all(event == "load" for _, event in f.triggers)
    )


_VERBS: Mapping[str, Callable[[Function, Graph, set[int], Mapping[int, str]], bool]] = {
    "preset": _is_preset,
    "load_parameters": _is_load,
    "apply_metadata": _is_apply,
    "read_metadata": _is_read,
    "describe": _is_describe,
    "make_mask": _is_mask,
    "refresh": _is_refresh,
    "history": _is_history,
}
