"""Axes that a line gives as ``--sweep NAME=VALUE,VALUE``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ParameterError
from fooocus_nb.experiment.text_forms import parse_axis
from fooocus_nb.options.parameters import find_parameter, typed_value
from fooocus_nb.options.values import lora

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fooocus_nb.fooocus.schema.parameters import Parameter

__all__ = ["typed_axes"]


def typed_axes(texts: Iterable[str], table: Mapping[str, Parameter]) -> dict[str, list[Any]]:
    """Return the axes that texts give, their values as the engine's parameters take them."""
    found: dict[str, list[Any]] = {}
    for text in texts:
        name, values = parse_axis(text)
        parameter = find_parameter(name, table.values())
        key = name if parameter is None else parameter.name
        if key in found:
            msg = f"--sweep {name} is given twice: write its values with commas."
            raise ParameterError(msg)
        found[key] = [_typed(name, parameter, value) for value in values]
    return found


def _typed(name: str, parameter: Parameter | None, text: str) -> Any:
    if name == "loras":
        return lora(text)
    # A name that no parameter has fills in the prompt; a style is one, and no list of them.
    if parameter is None or parameter.type in ("choices", "text"):
        return text
    return typed_value(parameter, text)
