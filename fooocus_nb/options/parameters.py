"""Parameters of the engine that a line gives as options, such as ``--guidance-scale 7``."""

from __future__ import annotations

import ast
import contextlib
import json
import re
from typing import TYPE_CHECKING

from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.schema.parameters import nearest_name, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fooocus_nb.fooocus.schema.parameters import Parameter

__all__ = ["find_parameter", "parameter_options", "parameter_value", "typed_value"]

_WORDS = {"true": True, "yes": True, "on": True, "1": True,
          "false": False, "no": False, "off": False, "0": False}  # fmt: skip


def typed_value(parameter: Parameter | None, text: str) -> object:
    """Return the value that ``--set NAME=TEXT`` means; the text where it is no such value."""
    kind = "" if parameter is None else parameter.type
    if kind == "boolean":
        return _WORDS.get(text.casefold(), text)
    if kind in ("integer", "number"):
        with contextlib.suppress(ValueError):
            return int(text)
        with contextlib.suppress(ValueError):
            return float(text)
        return text
    if kind == "mask image" and text.startswith("{"):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    if parameter is not None and kind == "choices":
        return _chosen(parameter, text)
    if not kind:
        with contextlib.suppress(ValueError):
            return json.loads(text)
        with contextlib.suppress(ValueError, SyntaxError):
            return ast.literal_eval(text)
    return text


def _chosen(parameter: Parameter, text: str) -> object:
    """Return the list of choices that a text means: one, several with commas, or a list."""
    if plain(text).casefold() in {plain(choice).casefold() for choice in parameter.choices or ()}:
        return [text]  # which may have a comma in it
    with contextlib.suppress(ValueError):
        return json.loads(text)
    with contextlib.suppress(ValueError, SyntaxError):
        return ast.literal_eval(text)
    return [part.strip() for part in text.split(",") if part.strip()]


def parameter_options(parameters: Iterable[Parameter]) -> list[str]:
    """Return the options that stand for parameters."""
    return [
        f"--{name.replace('_', '-')}" for item in parameters for name in (*item.aliases, item.name)
    ]


def find_parameter(option: str, parameters: Iterable[Parameter]) -> Parameter | None:
    """Return the parameter of that name, alias, or label, where only one is called so."""
    every = list(parameters)
    key = _key(option)
    for item in every:
        if key in map(_key, (item.name, *item.aliases)):
            return item
    labelled = [item for item in every if item.label and _key(item.label) == key]
    return labelled[0] if len(labelled) == 1 else None


def parameter_value(
    verb: str,
    option: str,
    text: str | None,
    table: Mapping[str, Parameter],
    options: Iterable[str],
) -> tuple[str, object]:
    """Return the parameter that an option stands for, and its value."""
    parameter = find_parameter(option, table.values())
    if parameter is None or not option.startswith("--"):
        # The verb's own options first: of two that are equally near, it is the likelier.
        hint = nearest_name(option, [*options, *parameter_options(table.values())])
        msg = f"{verb}: there is no option {option!r}.{hint} {verb} --help lists them."
        raise ParameterError(msg)
    if text is None:
        msg = f"{verb}: {option} needs a value: {parameter.allowed}."
        raise ParameterError(msg)
    return parameter.name, typed_value(parameter, text)


def _key(text: str) -> str:
    return re.sub(r"\W+", "_", text.lstrip("-").replace("-", "_")).strip("_").casefold()
