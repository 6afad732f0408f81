"""Applies what a server's other functions set: the defaults of a preset, the choices of files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fooocus_nb.fooocus.outputs import ABSENT, updated_value
from fooocus_nb.fooocus.schema.calls import PRESET

if TYPE_CHECKING:
    from fooocus_nb.fooocus.schema import Schema
    from fooocus_nb.fooocus.schema.calls import Call
    from fooocus_nb.fooocus.schema.parameters import Parameter

__all__ = ["updated_defaults", "with_choices", "with_defaults"]

#: What every generation has of its own, so that a preset's is of no use.
_OWN = frozenset({"prompt", "image_seed"})


def updated_defaults(schema: Schema, call: Call, outputs: Sequence[Any]) -> dict[str, Any]:
    """Return the values that a call's outputs set on the page, by canonical name."""
    values: dict[str, Any] = {}
    for name, output in zip(call.targets, outputs, strict=False):
        value = updated_value(output)
        if name is None or name not in schema.parameters or name in _OWN:
            continue
        if value is not ABSENT and value is not None:
            values[name] = value
    return values


def with_defaults(schema: Schema, defaults: Mapping[str, Any], preset: str) -> Schema:
    """Return the schema with these defaults, and the preset that they come from."""
    changed = {
        name: _with_default(schema.parameters[name], value)
        for name, value in defaults.items()
        if name in schema.parameters
    }
    verbs: dict[str, Call] = {}
    if PRESET in schema.verbs:
        call = schema.verbs[PRESET]
        verbs[PRESET] = _with_own_preset(call, _with_default(call.own[PRESET], preset))
    return schema.changed(changed, verbs)


def _with_default(parameter: Parameter, value: Any) -> Parameter:
    choices = parameter.choices
    if parameter.type == "choice" and choices is not None and value not in choices:
        choices = (*choices, value)  # a model that has only just been downloaded
    if parameter.type == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    return dataclasses.replace(parameter, default=value, choices=choices)


def with_choices(schema: Schema, call: Call, outputs: Sequence[Any]) -> Schema:
    """Return the schema with the choices that a call's outputs set."""
    changed: dict[str, Parameter] = {}
    verbs: dict[str, Call] = {}
    for name, output in zip(call.targets, outputs, strict=False):
        choices = _choices(output)
        if choices is None or name is None:
            continue
        if name in schema.parameters:
            changed[name] = dataclasses.replace(schema.parameters[name], choices=choices)
        elif name == PRESET and PRESET in schema.verbs:
            call_of_preset = schema.verbs[PRESET]
            own = dataclasses.replace(call_of_preset.own[PRESET], choices=choices)
            verbs[PRESET] = _with_own_preset(call_of_preset, own)
    return schema.changed(changed, verbs)


def _choices(output: Any) -> tuple[str, ...] | None:
    """Return the choices that an update sets; None where it sets none."""
    found = output.get("choices") if isinstance(output, Mapping) else None
    if not isinstance(found, Sequence) or isinstance(found, str):
        return None
    return tuple(str(item[1] if isinstance(item, (list, tuple)) else item) for item in found)


def _with_own_preset(call: Call, preset: Parameter) -> Call:
    return dataclasses.replace(call, own={**call.own, PRESET: preset})
