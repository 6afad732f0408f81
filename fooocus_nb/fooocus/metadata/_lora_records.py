"""LoRAs in an image's record: one list, in whichever of a dozen ways they were written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from fooocus_nb.fooocus.metadata._record_values import NUMBER, number_of, refuse
from fooocus_nb.fooocus.performance import own_loras

__all__ = [
    "Lora",
    "hashed_loras",
    "lora_of_weight",
    "recorded_loras",
    "weighted_loras",
    "written_loras",
]

Lora = tuple[str, float]

_NO_LORA = ("", "None")
_COMBINED = re.compile(r"lora(?:_combined)?(?:_\d+)?")
#: The label of the log pages up to 2.1.83.
_WEIGHT = re.compile(r"LoRA \[(?P<name>.*)\] weight", re.IGNORECASE | re.DOTALL)
_ENABLED = re.compile(r"(True|False) : (?=.* : )")
#: `name: hash: 0.5`, of the plain texts of 2.2.0 to 2.3.0.
_HASH_AND_WEIGHT = re.compile(rf"(.*): [0-9a-f]{{4,64}}: ({NUMBER.pattern})", re.DOTALL)
#: `0.5 - name`, beside a hash.
_WEIGHT_FIRST = re.compile(rf"({NUMBER.pattern}) - (.+)", re.DOTALL)
#: `<name:0.5>`
_TAG = re.compile(rf"<([^<>]+):({NUMBER.pattern})>")
_SUFFIX = re.compile(r"\.(?:safetensors|ckpt|pth|pt|bin)$", re.IGNORECASE)


def lora_of_weight(label: str) -> str | None:
    """Return the name in a label ``LoRA [NAME] weight``; None for any other label."""
    named = _WEIGHT.fullmatch(label)
    return None if named is None else named["name"]


def recorded_loras(raw: Mapping[str, Any]) -> list[Lora] | None:
    """Return name and weight of each LoRA of the user's; None where the record tells nothing."""
    found = written_loras(raw)
    return None if found is None else _without_own(found, raw)


def written_loras(raw: Mapping[str, Any]) -> list[Lora] | None:
    """Return each LoRA once, the performance mode's own among them."""
    singly = list(_single(raw))
    listed = raw.get("loras")
    if listed is None and not singly:
        return None
    found = _listed(listed)
    # Fooocus writes each LoRA twice, with and without its hash, in this list and by itself.
    doubles = Counter(_stem(name) for name, _ in found)
    for name, weight in filter(None, (lora for _, lora in singly)):
        if doubles[_stem(name)] > 0:
            doubles[_stem(name)] -= 1
        else:
            found.append((name, weight))
    return [lora for lora in found if lora[0] not in _NO_LORA]


def _without_own(loras: list[Lora], raw: Mapping[str, Any]) -> list[Lora]:
    """Leave out the performance mode's own LoRA, which comes last: once, as it was added once.

    Every file lists it, and sending it again would load it twice.
    """
    own = {_stem(name) for name in own_loras(raw.get("performance"))}
    for index in range(len(loras) - 1, -1, -1):
        if _stem(loras[index][0]) in own:
            return loras[:index] + loras[index + 1 :]
    return loras


def _stem(name: str) -> str:
    return _SUFFIX.sub("", re.split(r"[/\\]", name)[-1]).casefold()


def _single(raw: Mapping[str, Any]) -> Iterator[tuple[str, Lora | None]]:
    """Yield key and LoRA of the keys that hold one each; None is a slot that is off."""
    for key, value in raw.items():
        if (name := lora_of_weight(key)) is not None:
            yield key, (name, _weight(value))
        elif _COMBINED.fullmatch(key) and isinstance(value, str):
            enabled = _ENABLED.match(value)
            if enabled and enabled[1] == "False":
                yield key, None
                continue
            for lora in weighted_loras(value[enabled.end() :] if enabled else value):
                yield key, lora
        elif _COMBINED.fullmatch(key) and isinstance(value, list | tuple):
            yield key, _entry(value)
        elif (slot := re.fullmatch(r"l(\d)", key)) and isinstance(value, str):
            yield key, (value, _weight(raw.get(f"w{slot[1]}", 1.0)))


def _listed(listed: object) -> list[Lora]:
    if listed is None:
        return []
    if isinstance(listed, str):
        tags = [(name, float(weight)) for name, weight in _TAG.findall(listed)]
        rest = _TAG.sub("", listed).strip(" ,")
        return tags if rest in ("", "Loras:") else weighted_loras(listed)
    if not isinstance(listed, list | tuple):
        refuse("loras", listed)
    return [lora for entry in listed if (lora := _entry(entry)) is not None]


def _entry(entry: object) -> Lora | None:
    """Return the LoRA of ``[name, weight, hash]`` and its kin; None where it is off."""
    if isinstance(entry, Mapping):
        entry = [entry.get("name", entry.get("model_name")), entry.get("weight", 1.0)]
    if not isinstance(entry, list | tuple):
        refuse("loras", entry)
    parts = list(entry)
    if parts and isinstance(parts[0], bool) and not parts.pop(0):
        return None
    if len(parts) < 2 or not isinstance(parts[0], str):
        refuse("loras", entry)
    if isinstance(parts[1], str) and (turned := _WEIGHT_FIRST.fullmatch(parts[1])):
        return turned[2], _weight(turned[1])
    return parts[0], _weight(parts[1])


def _weight(value: object) -> float:
    return float(number_of("loras", "number", value))


def weighted_loras(text: str) -> list[Lora]:
    """Return the LoRAs of ``name: 0.5, other: 1.0``; a name may hold commas and colons."""
    found: list[Lora] = []
    pending: list[str] = []
    for part in text.split(", "):
        name, colon, weight = part.rpartition(":")
        if colon and len(weight) < 40 and NUMBER.fullmatch(weight.strip()):
            found.append((", ".join([*pending, name]).strip(), float(weight)))
            pending = []
        else:
            pending.append(part)
    if any(part.strip() for part in pending):
        refuse("loras", text)
    return found


def hashed_loras(text: str) -> list[Lora]:
    """Return the LoRAs of ``name: hash: 0.5, other: hash: 1.0``; none of hashes without weights.

    A name may hold commas.
    """
    found: list[Lora] = []
    pending: list[str] = []
    for part in text.split(", "):
        if match := _HASH_AND_WEIGHT.fullmatch(part):
            found.append((", ".join([*pending, match[1]]), float(match[2])))
            pending = []
        else:
            pending.append(part)
    return found
