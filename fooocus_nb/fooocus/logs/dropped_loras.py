"""Finds the LoRAs that Fooocus was asked for and has left out without a word.

It names those that it is about to load, and each that it has loaded. Of one that was made for
another kind of model it says nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["dropped_loras"]

_ASKED = re.compile(r"^Request to load LoRAs \[(?P<loras>.*)\] for model \[")
_NAMED = re.compile(r"""\(\s*(?:True,\s*)?(?P<quote>['"])(?P<name>.+?)(?P=quote)\s*,""")
_TOLD = re.compile(r"^(?:Loaded LoRA \[(?P<loaded>[^\]]+)\]|Lora file not found: (?P<missing>.+))")
#: What is printed once all are loaded that will be.
_LATER = re.compile(r"^(?:Requested to load |\[Fooocus|\[Parameters\]|Fooocus V2 Expansion|\d+%\|)")


def dropped_loras(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the names of such LoRAs, by the line that last asked for them.

    One that fits the base model need not fit the refiner, so it counts only where no model of the
    log has it.
    """
    asked: dict[str, str] = {}
    waiting: set[str] = set()
    told: set[str] = set()
    for line in lines:
        if match := _ASKED.match(line):
            for found in _NAMED.finditer(match["loras"]):
                if found["name"] != "None":
                    asked[_file(found["name"])] = line
                    waiting.add(_file(found["name"]))
        elif match := _TOLD.match(line):
            told.add(_file(match["loaded"] or match["missing"]))
        elif waiting and _LATER.match(line):
            waiting.clear()
    dropped: dict[str, tuple[str, ...]] = {}
    for name, line in asked.items():
        if name not in told and name not in waiting:
            dropped[line] = (*dropped.get(line, ()), name)
    return dropped


def _file(path: str) -> str:
    return re.split(r"[\\/]+", path.strip())[-1]
