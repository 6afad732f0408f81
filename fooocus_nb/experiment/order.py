"""The order in which cells are made: what takes long to load is changed least."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from fooocus_nb.experiment.identity import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fooocus_nb.experiment.cells import Cell

    Key = tuple[str, str, str]

__all__ = ["CHECKPOINT", "LOADS", "Loaded", "in_order", "swaps"]

T = TypeVar("T")

#: What an engine loads for a cell, the slowest first: a preset may bring its own of all others.
LOADS = ("preset", "checkpoint", "loras")
CHECKPOINT = ("base_model", "refiner_model", "vae_name")
_LORA = re.compile(r"loras|lora_\d+_\w+")
#: Performances that load a LoRA of their own.
_PERFORMANCE = "performance_selection"


class Loaded:
    """Tells what a cell needs loaded, with what the engine has by itself in the place of gaps."""

    def __init__(self, defaults: Mapping[str, Any] | None = None) -> None:
        self._defaults = defaults or {}

    def key(self, values: Mapping[str, Any]) -> Key:
        """Return preset, checkpoint and LoRAs of a cell's values, as texts to compare."""
        preset = str(values.get("preset") or self._defaults.get("preset") or "")
        models = [values.get(name, self._default(name, values)) for name in CHECKPOINT]
        loras = {name: value for name, value in values.items() if _LORA.fullmatch(name)}
        fast = values.get(_PERFORMANCE)
        return preset, canonical_json(models), canonical_json([loras, fast])

    def _default(self, name: str, values: Mapping[str, Any]) -> Any:
        # Another preset has other defaults, which nobody knows before it is loaded.
        return None if "preset" in values else self._defaults.get(name)


def in_order(
    cells: Iterable[Cell], key: Callable[[Mapping[str, Any]], Key], now: Key | None = None
) -> list[Cell]:
    """Return cells so that presets, then checkpoints, then LoRAs change least.

    What is loaded now comes first. Within one group, cells keep their order.
    """
    found = [(key(cell.values), cell) for cell in cells]
    ordered, _ = _grouped(found, 0, now or ("", "", ""))
    return ordered


def _grouped(found: Sequence[tuple[Key, Cell]], level: int, now: Key) -> tuple[list[Cell], Key]:
    if level == len(LOADS):
        return [cell for _, cell in found], (found[-1][0] if found else now)
    groups: dict[str, list[tuple[Key, Cell]]] = {}
    for entry in found:
        groups.setdefault(entry[0][level], []).append(entry)
    first = [now[level]] if now[level] in groups else []
    ordered: list[Cell] = []
    for name in [*first, *(name for name in groups if name not in first)]:
        # Each group begins with what the one before has left loaded.
        cells, now = _grouped(groups[name], level + 1, now)
        ordered += cells
    return ordered, now


def swaps(
    cells: Sequence[Cell], key: Callable[[Mapping[str, Any]], Key], now: Key | None = None
) -> dict[str, int]:
    """Return how often each kind of thing is loaded anew when cells are made in this order."""
    counts = dict.fromkeys(LOADS, 0)
    for cell in cells:
        found = key(cell.values)
        if now is not None:
            for place, name in enumerate(LOADS):
                if found[place] != now[place]:
                    counts[name] += 1
                    break  # what is loaded with it is no swap of its own
        now = found
    return counts
