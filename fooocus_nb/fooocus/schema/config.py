"""A server's `/config`, turned into named, typed parameters and the calls that take them."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import UnknownParameter, UnsupportedParameter, UnsupportedServer, nearest
from fooocus_nb.fooocus.schema._report import report
from fooocus_nb.fooocus.schema._template import TEMPLATE, TWINS, Group
from fooocus_nb.fooocus.schema.calls import CURRENT_TASK, PRESET, Call, Outputs
from fooocus_nb.fooocus.schema.graph import Function, Graph
from fooocus_nb.fooocus.schema.naming import ALIASES, name_inputs
from fooocus_nb.fooocus.schema.parameters import Parameter, ParameterTable, make_parameter
from fooocus_nb.fooocus.schema.verbs import find_control, find_verbs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fooocus_nb.fooocus.schema.component import Component

__all__ = ["Call", "Outputs", "Schema"]


class Schema:
    """What one server can be asked to do. Made by :meth:`from_config`.

    Attributes
    ----------
    version : str
        The version of Fooocus, from the page's title; ``unknown`` where it says none.
    parameters : ParameterTable
        All parameters by canonical name, in the server's order.
    steps : tuple of Call
        The calls that make one generation: those that take the parameters, then the generator.
    stop, skip : Call or None
        What stops a generation, and what skips an image of it.
    outputs : Outputs
        Where in the generator's reply each thing is.
    verbs : mapping
        The other functions that the server has: of ``preset``, ``load_parameters``,
        ``apply_metadata``, ``read_metadata``, ``describe``, ``make_mask``, ``refresh`` and
        ``history``, which links to the log page.
    """

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
        self.version = version
        self.parameters = parameters
        self.steps = steps
        self.stop = stop
        self.skip = skip
        self.outputs = outputs
        self.verbs = dict(verbs or {})

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Schema:
        """Read what a server says of itself.

        Parameters
        ----------
        config : mapping
            The answer to ``GET /config``.

        Returns
        -------
        Schema
            Its parameters and calls.

        Raises
        ------
        UnsupportedServer
            When it is not shaped as a Fooocus that we can speak to, with a report to paste into
            an issue.
        """
        try:
            return _Reader(Graph(config)).read()
        except UnsupportedServer as error:
            raise UnsupportedServer(report(config, str(error))) from None
        except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            reason = f"its /config is not of Gradio's form ({type(error).__name__}: {error})"
            raise UnsupportedServer(report(config, reason)) from error

    def resolve(self, name: str) -> str:
        """Return the canonical name of a parameter.

        Parameters
        ----------
        name : str
            Its canonical name or a short one.

        Returns
        -------
        str
            The canonical name.

        Raises
        ------
        UnsupportedParameter
            When other versions have it, but not this server.
        UnknownParameter
            When there is no such parameter; with the nearest match.
        """
        canonical = ALIASES.get(name, name)
        for candidate in (canonical, TWINS.get(canonical, canonical)):
            if candidate in self.parameters:
                return self.parameters[candidate].name
        names = [*self.parameters, *ALIASES, "loras"]
        if is_known_somewhere(canonical):
            msg = f"This server (Fooocus {self.version}) has no parameter {name!r}."
            raise UnsupportedParameter(msg + self._slots(canonical))
        msg = f"There is no parameter {name!r}.{nearest(name, names)}"
        raise UnknownParameter(msg + " engine.parameters shows them all.")

    def _slots(self, name: str) -> str:
        """Say how many there are of a group of which somebody named one too many."""
        found = re.match(r"(lora|ip|enhance)_\d+_", name)
        if found is None:
            return ""
        first = re.compile(rf"{found[1]}_(\d+)_")
        numbers = {match[1] for item in self.parameters if (match := first.match(item))}
        return f" It has {len(numbers)} of {found[1]}_...; count from 1."

    def verb(self, name: str) -> Call:
        """Return the call of one of :attr:`verbs`.

        Parameters
        ----------
        name : str
            Such as ``describe``.

        Returns
        -------
        Call

        Raises
        ------
        UnsupportedServer
            When the server has no such function.
        """
        if name not in self.verbs:
            has = ", ".join(self.verbs) or "none"
            msg = f"This server (Fooocus {self.version}) has no function {name!r}; it has: {has}."
            raise UnsupportedServer(msg)
        return self.verbs[name]

    def changed(self, parameters: Mapping[str, Parameter], verbs: Mapping[str, Call]) -> Schema:
        """Return the same server with some parameters and calls in the place of their old selves.

        Parameters
        ----------
        parameters, verbs : mapping
            What has changed, by name.

        Returns
        -------
        Schema
        """
        other = copy.copy(self)
        other.parameters = self.parameters.changed(parameters)
        other.verbs = {**self.verbs, **verbs}
        return other

    def payload(self, call: Call, values: Mapping[str, Any]) -> list[Any]:
        """Return the values of a call in its order.

        Parameters
        ----------
        call : Call
            One of :attr:`steps`, :attr:`verbs`, :attr:`stop` or :attr:`skip`.
        values : mapping
            Wire values by name; what is missing is the server's default.

        Returns
        -------
        list
            One value for each input; None for states.
        """
        return [self._value(call, name, values) for name in call.inputs]

    def _value(self, call: Call, name: str | None, values: Mapping[str, Any]) -> Any:
        if name is None or name == CURRENT_TASK:
            return None
        if name in values:
            return values[name]
        return (call.own[name] if name in call.own else self.parameters[name]).default


def is_known_somewhere(name: str) -> bool:
    """Return whether some version of Fooocus has a parameter.

    Parameters
    ----------
    name : str
        Its canonical name.

    Returns
    -------
    bool
        Whether it is in our vocabulary; the members of groups with any number.
    """
    for item in TEMPLATE:
        if isinstance(item, Group):
            members = "|".join(entry.name for entry in item.entries)
            prefix = rf"{item.name}_\d+_" if item.name else ""
            if re.fullmatch(f"{prefix}({members})", name):
                return True
        elif item.name == name:
            return True
    return name in TWINS


class _Reader:
    """Finds the calls in a page and names their inputs."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._names: dict[int, str] = {}
        self._parameters: dict[str, Parameter] = {}
        self._task: int | None = None
        self._preset: int | None = None

    def read(self) -> Schema:
        steps, chain = self._steps()
        version = self._graph.version
        numbers = tuple(int(part) for part in version.split(".")) if version else ()
        self._names = name_inputs(
            [[item for item in step.inputs if item.type != "state"] for step in steps], numbers
        )
        self._parameters = self._make_parameters(steps)
        for needed in ("prompt", "image_seed"):
            if needed not in self._parameters:
                msg = f"none of its inputs is the {needed}"
                raise UnsupportedServer(msg)
        self._task = _task(steps)
        verbs = find_verbs(self._graph, self._names)
        if "preset" in verbs:
            self._preset = verbs["preset"].triggers[0][0]
        return Schema(
            version=version or "unknown",
            parameters=ParameterTable(self._parameters, f"Parameters of {self._graph.title}"),
            steps=tuple(self._call(step) for step in steps),
            stop=self._optional(find_control(self._graph, "stop_button", chain)),
            skip=self._optional(find_control(self._graph, "skip_button", chain)),
            outputs=_outputs(steps[-1]),
            verbs={verb: self._call(function) for verb, function in verbs.items()},
        )

    def _steps(self) -> tuple[list[Function], tuple[Function, ...]]:
        """Find the functions that set a task and run it, and all that "Generate" runs."""
        button = self._graph.by_elem_id("generate_button")
        chains = [
            [root, *self._graph.following(root)] for root in self._graph.set_off_by(button, "click")
        ]
        found = [
            (chain, function)
            for chain in chains
            for function in chain
            if function.generator and _final_gallery(function) is not None
        ]
        if len(found) != 1:
            msg = f'{len(found) or "no"} functions behind "Generate" yield images'
            raise UnsupportedServer(msg)
        chain, generator = found[0]
        kept = {item.id for item in generator.inputs if item.type == "state"}
        setters = [step for step in _ancestors(chain, generator) if _is_setter(step, kept)]
        return [*setters, generator], tuple(chain)

    def _make_parameters(self, steps: Sequence[Function]) -> dict[str, Parameter]:
        shorts: dict[str, tuple[str, ...]] = {}
        for short, long in ALIASES.items():
            shorts[long] = (*shorts.get(long, ()), short)
        return {
            name: make_parameter(name, item, shorts.get(name, ()))
            for step in steps
            for item in step.inputs
            if (name := self._names.get(item.id)) is not None
        }

    def _optional(self, function: Function | None) -> Call | None:
        return None if function is None else self._call(function)

    def _call(self, function: Function) -> Call:
        own: dict[str, Parameter] = {}
        inputs = tuple(self._input(item, own) for item in function.inputs)
        return Call(
            fn_index=function.index,
            inputs=inputs,
            outputs=len(function.outputs),
            generator=function.generator,
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
        own[own_name] = make_parameter(own_name, item, ())
        return own_name

    def _target(self, item: Component) -> str | None:
        return PRESET if item.id == self._preset else self._names.get(item.id)

    def _own_name(self, item: Component, own: Mapping[str, Parameter]) -> str:
        words = re.findall(r"\w+", (item.label or item.elem_id or item.type).casefold())
        # A page has one preset and shows one picture to a function, whatever it calls them.
        slug = "image" if item.kind == "image" else "_".join(words)
        slug = PRESET if item.id == self._preset else slug
        name, number = slug, 1
        while name in own or name in self._parameters:
            number += 1
            name = f"{slug}_{number}"
        return name


def _ancestors(chain: Sequence[Function], function: Function) -> list[Function]:
    """Return what runs before a function, in order."""
    by_index = {item.index: item for item in chain}
    found: list[Function] = []
    while function.after is not None and function.after in by_index:
        function = by_index[function.after]
        found.insert(0, function)
    return found


def _is_setter(function: Function, kept: set[int]) -> bool:
    """Whether a function tells the server something; others only change what the page shows."""
    states = {item.id for item in function.outputs if item.type == "state"}
    told = any(item.type != "state" for item in function.inputs)
    return bool(states & kept) or (told and len(states) == len(function.outputs))


def _task(steps: Sequence[Function]) -> int | None:
    """Return the state that the generator runs, or that a setter gives it."""
    for function in reversed(steps):
        for item in function.inputs:
            if item.type == "state":
                return item.id
    return None


def _final_gallery(function: Function) -> int | None:
    galleries = [i for i, item in enumerate(function.outputs) if item.type == "gallery"]
    named = [i for i in galleries if function.outputs[i].elem_id == "final_gallery"]
    return next(iter(named or galleries[-1:]), None)


def _outputs(generator: Function) -> Outputs:
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
