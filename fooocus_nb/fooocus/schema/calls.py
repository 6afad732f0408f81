"""The functions of a server that we call, found in its page, with names for inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fooocus_nb.errors import UnsupportedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fooocus_nb.fooocus.schema.config import Component, Function, Graph
    from fooocus_nb.fooocus.schema.parameters import Parameter

__all__ = [
    "CURRENT_TASK",
    "PRESET",
    "Call",
    "Outputs",
    "find_control",
    "find_outputs",
    "find_steps",
    "find_task",
    "find_verbs",
]

#: The input that stands for the task that Fooocus keeps between two calls.
CURRENT_TASK = "currentTask"
#: The name of the preset, an input that is no parameter of a generation.
PRESET = "preset"
#: A function that sets so many parameters at once loads a whole set of them.
MANY = 15


@dataclass(frozen=True)
class Call:
    """One function of the server."""

    #: Its number.
    fn_index: int
    #: The name of each input, in order; ``"currentTask"`` and None are states that the server
    #: keeps, and are sent as null.
    inputs: tuple[str | None, ...]
    #: Whether the server runs it in its queue.
    queued: bool = True
    #: The name of the parameter that each of its outputs is for; None for all else.
    targets: tuple[str | None, ...] = ()
    #: Its inputs that are no parameters of a generation, by name.
    own: Mapping[str, Parameter] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Outputs:
    """Where in a generation's reply each thing is."""

    #: The position; None where the server has no such output.
    progress: int | None
    preview: int | None
    running_gallery: int | None
    final_gallery: int


# -- the calls of one generation --------------------------------------------------------------

#: What "Generate" runs, and the one function of it that yields images.
_Yielding = tuple[list["Function"], "Function"]


def find_steps(graph: Graph) -> tuple[list[Function], tuple[Function, ...]]:
    """Find the functions that set a task and run it, and all that "Generate" runs."""
    buttons = _generate_buttons(graph)
    chains = [
        [root, *graph.following(root)]
        for button in buttons
        for root in graph.triggered_by(button, "click")
    ]
    found = [
        (chain, function)
        for chain in chains
        for function in chain
        if function.runs and function.generator and _final_gallery(function) is not None
    ]
    if not found and not graph.all_by_elem_id("generate_button"):
        graph.by_elem_id("generate_button")
    found = _of_fooocus(found)
    if len(found) != 1:
        msg = f'{len(found) or "no"} functions behind "Generate" yield images'
        raise UnsupportedServer(msg)
    chain, generator = found[0]
    return [*_setters(_ancestors(chain, generator), generator), generator], tuple(chain)


def _of_fooocus(found: list[_Yielding]) -> list[_Yielding]:
    """Leave out what a fork yields images with beside Fooocus, where ids tell the two apart."""
    final = [
        (chain, function)
        for chain, function in found
        if any(item.elem_id == "final_gallery" for item in function.outputs)
    ]
    found = final or found
    prompted = [
        (chain, function)
        for chain, function in found
        if any(item.elem_id == "positive_prompt" for step in chain for item in step.inputs)
    ]
    return prompted or found


def _generate_buttons(graph: Graph) -> list[Component]:
    if graph.all_by_elem_id("generate_button"):
        return [graph.by_elem_id("generate_button")]
    # Before 2.1 no button has an ``elem_id``, and only one of them runs what yields images.
    found = [
        component
        for component in graph.components.values()
        if component.type == "button" and not component.elem_id
    ]
    return found or [graph.by_elem_id("generate_button")]


def _ancestors(chain: Sequence[Function], function: Function) -> list[Function]:
    """Return what runs before a function, in order."""
    by_index = {item.index: item for item in chain}
    found: list[Function] = []
    while function.after is not None and function.after in by_index and len(found) < len(chain):
        function = by_index[function.after]
        found.insert(0, function)
    return found


def _setters(before: Sequence[Function], generator: Function) -> list[Function]:
    """Return the functions that tell the server something; others only change the page."""
    kept = {item.id for item in generator.inputs if item.type == "state"}
    taken = len(generator.inputs) - len(kept)
    setters: list[Function] = []
    for function in reversed([item for item in before if item.runs]):
        if _is_setter(function, kept, MANY if taken else 1):
            setters.insert(0, function)
            kept |= {item.id for item in function.inputs if item.type == "state"}
    return setters


def _is_setter(function: Function, kept: set[int], enough: int) -> bool:
    states = {item.id for item in function.outputs if item.type == "state"}
    told = sum(item.type != "state" for item in function.inputs)
    if not function.outputs:
        # 2.1 keeps its advanced settings without any state; forks prepare this and that.
        return told >= enough and enough > 1
    return bool(states & kept) or (told > 0 and len(states) == len(function.outputs))


def find_task(steps: Sequence[Function]) -> int | None:
    """Return the id of the state that holds the task; None where there is none."""
    for function in reversed(steps):
        for item in function.inputs:
            if item.type == "state":
                return item.id
    return None


def _final_gallery(function: Function) -> int | None:
    galleries = [i for i, item in enumerate(function.outputs) if item.type == "gallery"]
    named = [i for i in galleries if function.outputs[i].elem_id == "final_gallery"]
    return next(iter(named or galleries[-1:]), None)


def find_outputs(generator: Function) -> Outputs:
    """Find which output of the generator is which."""
    final = _final_gallery(generator)
    assert final is not None  # noqa: S101 - that is how the generator was found
    kinds = [item.type for item in generator.outputs]
    running = [i for i, kind in enumerate(kinds) if kind == "gallery" and i != final]
    return Outputs(
        progress=kinds.index("html") if "html" in kinds else None,
        preview=kinds.index("image") if "image" in kinds else None,
        running_gallery=running[0] if running else None,
        final_gallery=final,
    )


# -- the other calls --------------------------------------------------------------------------


def find_control(graph: Graph, elem_id: str, chain: tuple[Function, ...]) -> Function | None:
    """Find what the stop or the skip button does."""
    buttons = graph.all_by_elem_id(elem_id) or _nameless_control(elem_id, chain)
    clicks = [
        function
        for button in buttons
        for root in graph.triggered_by(button, "click")
        # What the page does by itself may come first.
        for function in ((root,) if root.runs else graph.following(root))
        if function.runs
    ]
    return clicks[0] if len(clicks) == 1 else None


def _nameless_control(elem_id: str, chain: tuple[Function, ...]) -> list[Component]:
    """Find a button without ``elem_id`` among those that "Generate" shows."""
    # In 2.0 and 2.1 neither has one at first, and then only stop has; what is written on them tells
    # them apart. Where that is translated, skip is the one that has none.
    shown = {
        item.id: item
        for function in chain
        for item in function.outputs
        if item.type == "button" and not item.elem_id
    }
    word = elem_id.removesuffix("_button")
    written = [
        item for item in shown.values() if str(item.props.get("value")).strip().casefold() == word
    ]
    return written or (list(shown.values()) if word == "skip" else [])


def find_verbs(graph: Graph, names: Mapping[int, str]) -> dict[str, Function]:
    """Find the functions beside "Generate" that the page has exactly once, by our names."""
    candidates = [
        _Candidate.of(function, graph, names)
        for function in graph.functions
        if function.after is None
    ]
    verbs = {}
    for verb, fits in _VERBS.items():
        found = [candidate.function for candidate in candidates if fits(candidate)]
        if len(found) == 1:
            verbs[verb] = found[0]
    return verbs


@dataclass(frozen=True)
class _Candidate:
    """A function with what identifies it: its trigger, and the parameters it takes and sets."""

    function: Function
    #: What triggers it, where that is one component alone.
    component: Component | None
    event: str
    #: The parameters among its inputs and outputs.
    taken: frozenset[str]
    targets: frozenset[str]
    #: Whether its trigger is a parameter itself.
    by_parameter: bool

    @classmethod
    def of(cls, function: Function, graph: Graph, names: Mapping[int, str]) -> _Candidate:
        component, event = None, ""
        if len(function.triggers) == 1:
            number, event = function.triggers[0]
            component = graph.components.get(number)
        return cls(
            function,
            component,
            event,
            taken=frozenset(names[item.id] for item in function.inputs if item.id in names),
            targets=frozenset(names[item.id] for item in function.outputs if item.id in names),
            by_parameter=component is not None and component.id in names,
        )

    def follows(self, kind: str, event: str) -> bool:
        """Whether an event of one component of a type triggers it."""
        return self.component is not None and (self.component.type, self.event) == (kind, event)

    @property
    def is_clicked(self) -> bool:
        return self.follows("button", "click")

    @property
    def images(self) -> int:
        """How many images it takes."""
        return len(self.function.takes("image"))

    @property
    def sets_many(self) -> bool:
        return len(self.targets) >= MANY and "prompt" in self.targets

    def types(self) -> list[str]:
        """Return the types of its outputs."""
        return [item.type for item in self.function.outputs]


def _is_preset(found: _Candidate) -> bool:
    chosen = found.follows("dropdown", "change") and found.component in found.function.inputs
    return chosen and not found.by_parameter and found.sets_many


def _is_load(found: _Candidate) -> bool:
    return found.is_clicked and not found.images and "prompt" in found.taken and found.sets_many


def _is_apply(found: _Candidate) -> bool:
    return found.is_clicked and found.images > 0 and found.sets_many


def _is_read(found: _Candidate) -> bool:
    uploaded = found.follows("image", "upload") and found.function.inputs == (found.component,)
    return uploaded and found.types() == ["json"]


def _is_describe(found: _Candidate) -> bool:
    says = "prompt" in found.targets and found.targets <= {"prompt", "style_selections"}
    return found.is_clicked and found.images == 1 and says


def _is_mask(found: _Candidate) -> bool:
    masks = found.targets == {"inpaint_mask_image"} and len(found.function.outputs) == 1
    return found.is_clicked and found.images == 1 and masks


def _is_refresh(found: _Candidate) -> bool:
    models = found.targets >= {"base_model", "refiner_model"} and "prompt" not in found.targets
    return found.is_clicked and not found.function.inputs and models


def _is_history(found: _Candidate) -> bool:
    loaded = all(event == "load" for _, event in found.function.triggers)
    return not found.function.inputs and found.types() == ["html"] and loaded


_VERBS: Mapping[str, Callable[[_Candidate], bool]] = {
    "preset": _is_preset,
    "load_parameters": _is_load,
    "apply_metadata": _is_apply,
    "read_metadata": _is_read,
    "describe": _is_describe,
    "make_mask": _is_mask,
    "refresh": _is_refresh,
    "history": _is_history,
}
