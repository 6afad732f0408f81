"""Describes a server that is not supported, in a form to paste into an issue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["report"]

_LONGEST = 20_000


def report(config: Any, reason: str, first: Sequence[int] = ()) -> str:
    """Return an error message with the facts about a server, but no values: they may be private."""
    # `first` are the functions that it is about, which must not be cut off.
    head = f"This server is not a Fooocus that we can speak to: {reason}."
    try:
        facts = "\n".join(_facts(config, first))[:_LONGEST]
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return f"{head} Its /config began: {_beginning(config)}"
    return f"{head}\nPlease paste this into an issue:\n{facts}"


def _beginning(config: Any) -> str:
    try:
        return json.dumps(config, default=str)[:300]
    except (RecursionError, TypeError, ValueError):
        return "(too deep to show)"


def _facts(config: Any, first: Sequence[int]) -> list[str]:
    components = {item["id"]: item for item in config["components"]}
    lines = [f"title: {config.get('title')}; gradio: {config.get('version')}"]
    functions = {item.get("id", place): item for place, item in enumerate(config["dependencies"])}
    chain = [index for index in first if index in functions]
    for index in (*chain, *(index for index in functions if index not in chain)):
        dependency = functions[index]
        generator = (dependency.get("types") or {}).get("generator")
        if index not in chain and len(dependency["inputs"]) <= 20 and not generator:
            continue
        lines.append(
            f"fn {index}: after {dependency.get('trigger_after')}, generator {bool(generator)}, "
            f"{len(dependency['inputs'])} inputs, {len(dependency['outputs'])} outputs"
        )
        lines += [f"  {_line(components[number])}" for number in dependency["inputs"]]
    elem_ids = [item["props"].get("elem_id") for item in components.values() if item.get("props")]
    lines.append("elem_ids: " + ", ".join(str(elem_id) for elem_id in elem_ids if elem_id))
    return lines


def _line(item: dict[str, Any]) -> str:
    props = item.get("props") or {}
    parts = [str(item["id"]), str(item["type"]), repr(props.get("label"))]
    if props.get("elem_id"):
        parts.append("#" + str(props["elem_id"]))
    if "minimum" in props:
        parts.append(f"{props['minimum']}..{props.get('maximum')} by {props.get('step')}")
    if props.get("choices") is not None:
        parts.append(f"{len(props['choices'])} choices")
    return " ".join(parts)
