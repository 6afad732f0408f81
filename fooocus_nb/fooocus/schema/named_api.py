"""Servers with one named function instead of Fooocus's page, as some forks have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import UnsupportedServer
from fooocus_nb.fooocus.schema import Schema
from fooocus_nb.fooocus.schema._report import report
from fooocus_nb.fooocus.schema.calls import Call, Outputs
from fooocus_nb.fooocus.schema.config import Graph
from fooocus_nb.fooocus.schema.parameters import (
    Parameter,
    ParameterTable,
    aliases_of,
    canonical_name,
    make_parameter,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fooocus_nb.fooocus.schema.config import Component, Function

__all__ = ["ENDPOINT", "is_named", "named_schema"]

#: The name of that function.
ENDPOINT = "generate_image"
#: The types of outputs that hold an image; ``api`` is that of a function without any page.
_HOLDERS = ("gallery", "image", "api")
_TYPES = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}


def is_named(config: Mapping[str, Any]) -> bool:
    """Whether a server has the named function, and no page that we know."""
    try:
        shaped = any(
            (item.get("props") or {}).get("elem_id") == "generate_button"
            for item in config["components"]
        )
        return not shaped and any(
            item.get("api_name") == ENDPOINT for item in config["dependencies"]
        )
    except (AttributeError, KeyError, TypeError):
        return False


def named_schema(config: Mapping[str, Any], info: Mapping[str, Any]) -> Schema:
    """Read the parameters of the named function; the schema has one step and no way to stop."""
    try:
        return _read(Graph(config), config, info)
    except UnsupportedServer as error:
        raise UnsupportedServer(report(config, str(error))) from None
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        reason = f"/{ENDPOINT} is not described in Gradio's form ({type(error).__name__}: {error})"
        raise UnsupportedServer(report(config, reason)) from error


def _read(graph: Graph, config: Mapping[str, Any], info: Mapping[str, Any]) -> Schema:
    number = next(
        item.get("id", place)
        for place, item in enumerate(config["dependencies"])
        if item.get("api_name") == ENDPOINT
    )
    function = next(item for item in graph.functions if item.index == number)
    described = list(info["named_endpoints"][f"/{ENDPOINT}"]["parameters"])
    parameters: dict[str, Parameter] = {}
    inputs: list[str | None] = []
    for item in function.inputs:
        if item.type == "state":
            inputs.append(None)
            continue
        parameter = _parameter(item, described.pop(0))
        parameters[parameter.name] = parameter
        inputs.append(parameter.name)
    if "prompt" not in parameters:
        msg = f"/{ENDPOINT} takes no prompt"
        raise UnsupportedServer(msg)
    call = Call(
        fn_index=function.index,
        inputs=tuple(inputs),
        queued=function.queued,
        targets=(None,) * len(function.outputs),
    )
    return Schema(
        version=graph.version or "unknown",
        parameters=ParameterTable(parameters, f"Parameters of {graph.title}"),
        steps=(call,),
        stop=None,
        skip=None,
        outputs=Outputs(None, None, None, _image_output(function)),
    )


def _image_output(function: Function) -> int:
    kinds = [item.type for item in function.outputs]
    for holder in _HOLDERS:
        if holder in kinds:
            return kinds.index(holder)
    msg = f"/{ENDPOINT} answers with no image"
    raise UnsupportedServer(msg)


def _parameter(component: Component, described: Mapping[str, Any]) -> Parameter:
    given = str(described.get("parameter_name") or described["label"])
    name = canonical_name(given)
    if component.type != "api":
        return make_parameter(name, component)
    schema = described.get("type")
    schema = schema if isinstance(schema, dict) else {}
    choices = schema.get("enum")
    kind = "choice" if choices else _TYPES.get(str(schema.get("type")), "value")
    default = described.get("parameter_default")
    if name == "image_seed" and default is None:
        default = 0 if kind in ("integer", "number") else "0"
    return Parameter(
        name=name,
        label=given,
        type="seed" if name == "image_seed" else kind,
        default=default,
        choices=tuple(map(str, choices)) if choices else None,
        aliases=aliases_of(name),
    )
