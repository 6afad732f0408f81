"""A Gradio server's `/config` as components and the functions that connect them."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import UnsupportedServer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = ["Component", "Function", "Graph"]

#: The largest page known has 1,809 components and 504 functions, of 267 inputs at the most.
MOST = 20_000
MOST_TAKEN = 2_000

_KINDS = {
    "checkbox": "boolean",
    "checkboxgroup": "choices",
    "dropdown": "choice",
    "image": "image",
    "imageeditor": "image",
    "imagemask": "image",
    "sketchpad": "image",
    "number": "number",
    "radio": "choice",
    "slider": "number",
    "textbox": "text",
}


@dataclass(frozen=True)
class Component:
    """One component of the page, as `/config` describes it."""

    #: Its number; the page was built in this order.
    id: int
    #: Such as ``slider`` or ``textbox``.
    type: str
    #: What else is said of it.
    props: Mapping[str, Any]
    #: Where in the list of components it stands.
    position: int = 0

    @cached_property
    def label(self) -> str:
        """What the page calls it; empty where it has no label."""
        return str(self.props.get("label") or "")

    @cached_property
    def elem_id(self) -> str:
        """Its id in the page, which only few have."""
        return str(self.props.get("elem_id") or "")

    @cached_property
    def kind(self) -> str:
        """The family of its type."""
        if self.type == "dropdown" and self.props.get("multiselect"):
            return "choices"
        return _KINDS.get(self.type, self.type)

    @cached_property
    def choices(self) -> tuple[str, ...]:
        """What can be chosen, as it is sent."""
        given = self.props.get("choices") or ()
        return tuple(
            str(choice[1] if isinstance(choice, (list, tuple)) else choice) for choice in given
        )

    @property
    def is_visible(self) -> bool:
        """Whether the page shows it."""
        return self.props.get("visible") not in (False, "hidden")

    def describe(self) -> str:
        """Describe it for error messages."""
        elem_id = f", elem_id {self.elem_id!r}" if self.elem_id else ""
        return f"the {self.type} {self.label!r} (id {self.id}{elem_id})"


@dataclass(frozen=True)
class Function:
    """One function of the server and what triggers it."""

    #: Its number on the wire.
    index: int
    #: What it takes and what it returns, in order.
    inputs: tuple[Component, ...]
    outputs: tuple[Component, ...]
    #: The components and the events that trigger it.
    triggers: tuple[tuple[int, str], ...]
    #: The number of the function that it follows.
    after: int | None
    #: Whether it yields its outputs more than once.
    generator: bool
    #: Whether it goes through the queue.
    queued: bool
    #: Whether the server runs it; else it is the page's own, a link in a chain at the most.
    runs: bool = True

    @property
    def copies(self) -> bool:
        """Whether it takes one component and sets one other, and nothing else."""
        return len(self.inputs) == len(self.outputs) == 1 and self.inputs != self.outputs

    def takes(self, kind: str) -> tuple[Component, ...]:
        """Return the inputs of one kind."""
        return tuple(component for component in self.inputs if component.kind == kind)


def _check_size(config: Mapping[str, Any]) -> None:
    """Refuse a page of more parts than any has, before work is done for each of them."""
    for part in ("components", "dependencies"):
        if len(config[part]) > MOST:
            msg = f"it has {len(config[part])} {part}; {MOST} is the most that is read"
            raise UnsupportedServer(msg)
    for item in config["dependencies"]:
        for part in ("inputs", "outputs", "targets"):
            if len(item[part]) > MOST_TAKEN:
                msg = f"a function of it has {len(item[part])} {part}; {MOST_TAKEN} is the most"
                raise UnsupportedServer(msg)


class Graph:
    """The components and functions of a server's page."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        _check_size(config)
        #: The page's title.
        self.title = str(config.get("title") or "")
        #: All components by their id.
        self.components = {
            item["id"]: Component(item["id"], item["type"], item.get("props") or {}, position)
            for position, item in enumerate(config["components"])
        }
        queue = bool(config.get("enable_queue", True))
        everything = tuple(
            self._function(position, item, queue)
            for position, item in enumerate(config["dependencies"])
        )
        #: All functions that run on the server.
        self.functions = tuple(function for function in everything if function.runs)
        self._roots = tuple(function for function in everything if function.after is None)
        self._by_index = {function.index: function for function in everything}
        self._after: dict[int, list[int]] = {}
        for function in everything:
            if function.after is not None:
                self._after.setdefault(function.after, []).append(function.index)

    def _function(self, position: int, item: Mapping[str, Any], queue: bool) -> Function:
        queued = item.get("queue")
        return Function(
            # From Gradio 4 on a function has a number of its own.
            index=item.get("id", position),
            inputs=tuple(self.components[number] for number in item["inputs"]),
            outputs=tuple(self.components[number] for number in item["outputs"]),
            triggers=tuple(_trigger(target, item) for target in item["targets"]),
            after=item.get("trigger_after"),
            generator=bool((item.get("types") or {}).get("generator")),
            queued=queue if queued is None else bool(queued),
            runs=bool(item.get("backend_fn", True)),
        )

    @property
    def version(self) -> str:
        """The version of Fooocus in the title; empty where there is none."""
        found = re.findall(r"\d+(?:\.\d+)+", self.title)
        # A fork has a version of its own beside that of the Fooocus that it was made from.
        return next((item for item in found if item.startswith("2.")), next(iter(found), ""))

    def by_elem_id(self, elem_id: str) -> Component:
        """Return the component with an ``elem_id``."""
        found = self.all_by_elem_id(elem_id)
        if len(found) != 1:
            msg = f"it has {len(found) or 'no'} components with the elem_id {elem_id!r}"
            raise UnsupportedServer(msg)
        return found[0]

    def all_by_elem_id(self, elem_id: str) -> list[Component]:
        """Return all components with an ``elem_id``."""
        return [item for item in self.components.values() if item.elem_id == elem_id]

    def shown_for(self, hidden: Component, taken: Collection[int]) -> Component:
        """Return what the page shows in the place of a nameless hidden component; else itself."""
        # A fork may show several lists to choose from, and keep in a hidden text what was chosen in
        # whichever is seen. What the calls take themselves stands for itself alone.
        if hidden.is_visible or hidden.label or hidden.elem_id or hidden.type == "state":
            return hidden
        sources = [
            function.inputs[0]
            for function in self.functions
            if function.copies and function.outputs[0].id == hidden.id
        ]
        kinds = {(source.kind, source.label.strip().casefold()) for source in sources}
        if len(kinds) != 1 or any(source.id in taken for source in sources):
            return hidden
        source = next((source for source in sources if source.is_visible), sources[0])
        held = hidden.props.get("value")
        if not source.label or (held and held not in (*source.choices, source.props.get("value"))):
            return hidden
        return dataclasses.replace(source, id=hidden.id, position=hidden.position)

    def triggered_by(self, component: Component, event: str) -> list[Function]:
        """Return the functions that an event of a component starts, without what follows them."""
        return [function for function in self._roots if (component.id, event) in function.triggers]

    def following(self, function: Function) -> Iterator[Function]:
        """Yield the functions that run after one, with all that run after those, in their order."""
        # Without recursion, and each function once: a server may describe a circle.
        seen = {function.index}
        waiting = [function.index]
        while waiting:
            index = waiting.pop()
            if index != function.index:
                yield self._by_index[index]
            after = [item for item in self._after.get(index, ()) if item not in seen]
            seen.update(after)
            waiting += reversed(after)


def _trigger(target: Any, item: Mapping[str, Any]) -> tuple[int, str]:
    # Gradio 3 has the event beside the targets, later versions have it inside.
    if isinstance(target, (list, tuple)):
        return target[0], str(target[1])
    return target, str(item.get("trigger") or "")
