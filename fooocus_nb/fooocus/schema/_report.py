"""Describes a server that is not supported, in a form to paste into an issue."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["report"]

_LONGEST = 20_000


def report(config: Any, reason: str) -> str:
    """Return an error message with the facts about a server, but no values: they may be private."""
    head = f"This server is not a Fooocus that we can speak to: {reason}."
    try:
        facts = "\n".join(_facts(config))[:_LONGEST]
    except (AttributeError, KeyError, TypeError, ValueError):
        return f"{head} Its /config began: {json.dumps(config, default=str)[:300]}"
    return f"{head}\nPlease paste this into an issue:\n{facts}"


def _facts(config: Any) -> list[str]:
    components = {item["id"]: item for item in config["components"]}
    lines = [f"title: {config.get('title')}; gradio: {config.get('version')}"]
    elem_ids = [item["props"].get("elem_id") for item in components.values() if item.get("props")]
    lines.append("elem_ids: " + ", ".join(str(elem_id) for elem_id in elem_ids if elem_id))
    for index, dependency in enumerate(config["dependencies"]):
        generator = (dependency.get("types") or {}).get("generator")
        if len(dependency["inputs"]) <= 20 and not generator:
            continue
        lines.append(
            f"fn {index}: after {dependency.get('trigger_after')}, generator {bool(generator)}, "
            f"{len(dependency['inputs'])} inputs, {len(dependency['outputs'])} outputs"
        )
        lines += [f"  {_line(components[number])}" for number in dependency["inputs"]]
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
