"""A server's `/config` turned into named, typed parameters and the calls that take them.

Nothing in this folder touches the network.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import UnknownParameter, UnsupportedParameter, UnsupportedServer
from fooocus_nb.fooocus.schema._report import report
from fooocus_nb.fooocus.schema._template import OTHER_NAMES
from fooocus_nb.fooocus.schema.calls import (
    CURRENT_TASK,
    PRESET,
    Call,
    Outputs,
    find_control,
    find_outputs,
    find_steps,
    find_task,
    find_verbs,
)
from fooocus_nb.fooocus.schema.config import Function, Graph
from fooocus_nb.fooocus.schema.naming import (
    Naming,
    candidate_of,
    is_known_parameter,
    name_inputs,
)
from fooocus_nb.fooocus.schema.parameters import (
    ALIASES,
    Parameter,
    ParameterTable,
    canonical_name,
    make_parameter,
    nearest_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fooocus_nb.fooocus.schema.config import Component

__all__ = ["Schema"]

#: What a description raises that is not of Gradio's form, or of absurd depth or size.
_MALFORMED = (
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    OverflowError,
    RecursionError,
)


class Schema:
    """The parameters and calls of one server. Made by :meth:`from_config`."""

    def __init__(
        self,
        *,
        version: str,
        parameters: ParameterTable,
        steps: tuple[Call, ...],
        stop: Call | None,
        skip: Call | None,
        outputs: Outputs,
        verbs: Mapping[str, Call] | None = None,
    ) -> None:
        #: The version of Fooocus, from the page's title; ``unknown`` where it says none.
        self.version = version
        #: All parameters by canonical name, in the server's order.
        self.parameters = parameters
        #: The calls that make one generation: those that take the parameters, then the generator.
        self.steps = steps
        #: What stops a generation, and what skips an image of it.
        self.stop = stop
        self.skip = skip
        #: Where in the generator's reply each thing is.
        self.outputs = outputs
        #: The other functions that the server has: of ``preset``, ``load_parameters``,
        #: ``apply_metadata``, ``read_metadata``, ``describe``, ``make_mask``, ``refresh`` and
        #: ``history``, which links to the log page.
        self.verbs = dict(verbs or {})

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Schema:
        """Read a server's ``/config``."""
        reader: _Reader | None = None
        try:
            reader = _Reader(Graph(config))
            return reader.read()
        except UnsupportedServer as error:
            first = reader.chain if reader is not None else ()
            raise UnsupportedServer(report(config, str(error), first)) from None
        except _MALFORMED as error:
            reason = f"its /config is not of Gradio's form ({type(error).__name__}: {error})"
            raise UnsupportedServer(report(config, reason)) from error

    def resolve(self, name: str) -> str:
        """Return the canonical name of a parameter."""
        canonical = canonical_name(name)
        for candidate in (canonical, OTHER_NAMES.get(canonical, canonical)):
            if candidate in self.parameters:
                self._check_certain(name, self.parameters[candidate])
                return self.parameters[candidate].name
        names = [*self.parameters, *ALIASES, "loras"]
        if is_known_parameter(canonical):
            msg = f"This server (Fooocus {self.version}) has no parameter {name!r}."
            raise UnsupportedParameter(msg + self._hint(canonical))
        msg = f"There is no parameter {name!r}.{nearest_name(name, names)}"
        raise UnknownParameter(msg + " engine.parameters shows them all.")

    def slots(self, group: str, member: str = r"\w+") -> list[int]:
        """Return the numbers of the slots of a group (``lora``, ``ip``, ``enhance``)."""
        pattern = re.compile(rf"{group}_(\d+)_{member}")
        return sorted({int(m[1]) for name in self.parameters if (m := pattern.fullmatch(name))})

    def _check_certain(self, name: str, parameter: Parameter) -> None:
        if parameter.doubt:
            msg = (
                f"This server (Fooocus {self.version}) leaves {name!r} at its default "
                f"{parameter.default!r}, because it {parameter.doubt}."
            )
            raise UnsupportedParameter(msg)

    def _hint(self, name: str) -> str:
        """Say what a missing parameter may be called here, or how many slots its group has."""
        general = candidate_of(name)
        maybe = [repr(item.name) for item in self.parameters.doubtful if general in item.candidates]
        if maybe:
            return (
                f" It may be {' or '.join(maybe[:4])}, which the page does not tell for "
                "certain, and which therefore stays at the server's default."
            )
        found = re.match(r"(lora|ip|enhance)_\d+_", name)
        if found is None:
            return ""
        return f" It has {len(self.slots(found[1]))} of {found[1]}_...; count from 1."

    def verb(self, name: str) -> Call:
        """Return the call of one of :attr:`verbs`."""
        if name not in self.verbs:
            has = ", ".join(self.verbs) or "none"
            msg = f"This server (Fooocus {self.version}) has no function {name!r}; it has: {has}."
            raise UnsupportedServer(msg)
        return self.verbs[name]

    def changed(self, parameters: Mapping[str, Parameter], verbs: Mapping[str, Call]) -> Schema:
        """Return a copy with some parameters and calls replaced."""
        other = copy.copy(self)
        other.parameters = self.parameters.changed(parameters)
        other.verbs = {**self.verbs, **verbs}
        return other

    def payload(self, call: Call, values: Mapping[str, Any]) -> list[Any]:
        """Return the values of a call in its order."""
        return [self._value(call, name, values) for name in call.inputs]

    def _value(self, call: Call, name: str | None, values: Mapping[str, Any]) -> Any:
        if name is None or name == CURRENT_TASK:
            return None
        if name in values:
            return values[name]
        return (call.own[name] if name in call.own else self.parameters[name]).default


class _Reader:
    """Finds the calls in a page and names their inputs."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._naming = Naming()
        self._names: dict[int, str] = {}
        self._dice: set[int] = set()
        #: For each input of the steps, the component that tells what it is.
        self._shown: dict[int, Component] = {}
        self._parameters: dict[str, Parameter] = {}
        self._task: int | None = None
        self._preset: int | None = None
        #: The functions behind "Generate", those that take the parameters first.
        self.chain: tuple[int, ...] = ()

    def read(self) -> Schema:
        steps, chain = find_steps(self._graph)
        self.chain = tuple(dict.fromkeys(function.index for function in (*steps, *chain)))
        version = self._graph.version
        numbers = tuple(int(part) for part in version.split(".")) if version else ()
        taken = {item.id: item for step in steps for item in step.inputs}
        self._shown = {
            number: self._graph.shown_for(item, taken)
            for number, item in taken.items()
            if item.type != "state"
        }
        self._naming = name_inputs(
            [
                [self._shown[item.id] for item in step.inputs if item.id in self._shown]
                for step in steps
            ],
            numbers,
        )
        self._names = self._naming.names
        self._dice = {item.id for step in steps for item in self._dice_of(step)}
        self._parameters = self._make_parameters(steps)
        if "prompt" not in self._parameters:
            msg = "none of its inputs is certainly the prompt"
            raise UnsupportedServer(msg)
        self._task = find_task(steps)
        verbs = find_verbs(self._graph, self._names)
        if "preset" in verbs:
            self._preset = verbs["preset"].triggers[0][0]
        return Schema(
            version=version or "unknown",
            parameters=ParameterTable(self._parameters, f"Parameters of {self._graph.title}"),
            steps=tuple(self._call(step) for step in steps),
            stop=self._optional(find_control(self._graph, "stop_button", chain)),
            skip=self._optional(find_control(self._graph, "skip_button", chain)),
            outputs=find_outputs(steps[-1]),
            verbs={verb: self._call(function) for verb, function in verbs.items()},
        )

    def _make_parameters(self, steps: Sequence[Function]) -> dict[str, Parameter]:
        return {
            name: self._make_parameter(name, item)
            for step in steps
            for item in step.inputs
            if (name := self._names.get(item.id)) is not None
        }

    def _dice_of(self, step: Function) -> list[Component]:
        """Return the box that lets the server draw another seed, where a step takes only both."""
        told = [item for item in step.inputs if item.type != "state"]
        others = [item for item in told if self._names.get(item.id) != "image_seed"]
        alone = len(told) == 2 and len(others) == 1 and others[0].kind == "boolean"
        return others if alone else []

    def _make_parameter(self, name: str, item: Component) -> Parameter:
        parameter = make_parameter(name, self._shown.get(item.id, item))
        if item.id in self._dice:
            # We draw the seed, so that it is known.
            return dataclasses.replace(parameter, default=False)
        doubt = self._naming.doubts.get(item.id)
        if doubt is None:
            return parameter
        candidates = tuple(sorted(doubt.candidates))
        return dataclasses.replace(parameter, doubt=doubt.reason, candidates=candidates)

    def _optional(self, function: Function | None) -> Call | None:
        return None if function is None else self._call(function)

    def _call(self, function: Function) -> Call:
        own: dict[str, Parameter] = {}
        inputs = tuple(self._input(item, own) for item in function.inputs)
        return Call(
            fn_index=function.index,
            inputs=inputs,
            queued=function.queued,
            targets=tuple(self._target(item) for item in function.outputs),
            own=own,
        )

    def _input(self, item: Component, own: dict[str, Parameter]) -> str | None:
        if item.type == "state":
            return CURRENT_TASK if item.id == self._task else None
        if item.id in self._names:
            return self._names[item.id]
        own_name = self._own_name(item, own)
        own[own_name] = make_parameter(own_name, item)
        return own_name

    def _target(self, item: Component) -> str | None:
        return PRESET if item.id == self._preset else self._names.get(item.id)

    def _own_name(self, item: Component, own: Mapping[str, Parameter]) -> str:
        words = re.findall(r"\w+", (item.label or item.elem_id or item.type).casefold())
        # A page has one preset and shows one image to a function, whatever it calls them.
        slug = "image" if item.kind == "image" else "_".join(words)
        slug = PRESET if item.id == self._preset else slug
        name, number = slug, 1
        while name in own or name in self._parameters:
            number += 1
            name = f"{slug}_{number}"
        return name
