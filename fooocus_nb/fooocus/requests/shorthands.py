"""What is said in one word and means several settings: a task, image prompts, LoRAs, ..."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ParameterError, UnsupportedParameter
from fooocus_nb.fooocus.requests.images import halves
from fooocus_nb.fooocus.requests.tasks import Enhance, EnhanceImage, Expansion, ImagePrompt, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fooocus_nb.fooocus.schema.config import Schema

__all__ = ["MASK_BOXES", "PAINTED", "SHORTHANDS", "UPLOADED", "expand", "lora_values"]

#: The names that stand for several settings.
SHORTHANDS = ("task", "image_prompts", "enhance", "loras")
NO_LORA = "None"
#: The picture that is painted in, the mask that can be uploaded beside it, and the boxes that let
#: it count, of which each version has one.
PAINTED, UPLOADED = "inpaint_input_image", "inpaint_mask_image"
MASK_BOXES = ("inpaint_advanced_masking_checkbox", "inpaint_mask_upload_checkbox")
#: What the names of the slots begin with that each fills.
_GROUPS = {"image_prompts": "ip", "enhance": "enhance", "loras": "lora"}


def expand(schema: Schema, given: Mapping[str, Any]) -> dict[str, Any]:
    """Write out what is said in one word.

    Parameters
    ----------
    schema : Schema
        The server's parameters.
    given : mapping
        What was given, by canonical name or one of :data:`SHORTHANDS`.

    Returns
    -------
    dict
        The same by canonical names alone.

    Raises
    ------
    ParameterError
        When a shorthand is none, or decides what is also given by itself.
    """
    plain = {name: value for name, value in given.items() if name not in SHORTHANDS}
    task = given.get("task")
    if task is not None and not isinstance(task, Task):
        msg = f"task={task!r} is not possible: it must be an Upscale, Vary, Inpaint, Outpaint or "
        raise ParameterError(msg + "EnhanceImage of fooocus_nb.")
    prompts = _list("image_prompts", given.get("image_prompts"))
    enhancements = _list("enhance", given.get("enhance"))
    expansions = []
    if task is not None:
        expansions.append((f"task={type(task).__name__}", task.expand()))
    if isinstance(task, EnhanceImage):
        enhancements = [*_list("enhancements", task.enhancements), *enhancements]
    if enhancements:
        expansions.append(("enhance=", _enhancements(schema, enhancements)))
    if prompts:
        expansions.append(("image_prompts=", _image_prompts(schema, prompts, task)))
    if given.get("loras") is not None:
        expansions.append(("loras=", Expansion(lora_values(schema, given["loras"], plain))))
    return _with_mask_apart(schema, _merged(schema, plain, expansions))


def _with_mask_apart(schema: Schema, given: dict[str, Any]) -> dict[str, Any]:
    """Upload the mask by itself where this server has no picture that one paints on."""
    parameter = schema.parameters.get(PAINTED)
    if parameter is None or parameter.type != "image" or given.get(PAINTED) is None:
        return given
    image, mask = halves(PAINTED, given[PAINTED])
    if mask is None:
        return {**given, PAINTED: image}
    if UPLOADED not in schema.parameters:
        msg = f"This server (Fooocus {schema.version}) takes no mask with a picture."
        raise UnsupportedParameter(msg)
    if given.get(UPLOADED) is not None:
        msg = f"There are two masks, with {PAINTED!r} and as {UPLOADED!r}: this server takes one."
        raise ParameterError(msg)
    boxes = {name: True for name in MASK_BOXES if name in schema.parameters}
    return {**given, PAINTED: image, UPLOADED: mask, **boxes}


def _merged(
    schema: Schema, plain: Mapping[str, Any], expansions: list[tuple[str, Expansion]]
) -> dict[str, Any]:
    """Put together what was given and what the shorthands mean."""
    merged = dict(plain)
    for origin, expansion in expansions:
        for wanted, value in expansion.values.items():
            name = schema.resolve(wanted)
            if name in plain:
                msg = f"{name!r} is decided by {origin}, so it cannot be given as well."
                raise ParameterError(msg)
            merged[name] = value
    for _, expansion in expansions:
        for wanted, value in expansion.defaults.items():
            merged.setdefault(schema.resolve(wanted), value)
    return merged


def _list(name: str, value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, (ImagePrompt, Enhance)):
        return [value]
    if isinstance(value, (list, tuple)):
        return list(value)
    msg = f"{name}= is a {type(value).__name__}, but must be a list."
    raise ParameterError(msg)


def _slots(schema: Schema, group: str, member: str) -> list[int]:
    """Return the numbers of the slots of a group that this server has."""
    pattern = re.compile(rf"{group}_(\d+)_{member}")
    return sorted(int(found[1]) for name in schema.parameters if (found := pattern.fullmatch(name)))


def _numbers(schema: Schema, option: str, member: str, what: str, wanted: int) -> list[int]:
    """Return the slots to fill, or say that there are not so many."""
    numbers = _slots(schema, _GROUPS[option], member)
    if not numbers:
        msg = f"This server (Fooocus {schema.version}) has no {what}."
        raise UnsupportedParameter(msg)
    if wanted > len(numbers):
        msg = f"{option}= has {wanted} items, but this server has {len(numbers)} {what}."
        raise ParameterError(msg)
    return numbers


def _image_prompts(schema: Schema, prompts: Sequence[Any], task: Task | None) -> Expansion:
    """Fill the first slots, and open the tab or mix them into the task."""
    if task is not None and not task.mixing:
        msg = f"image_prompts= cannot be used together with {type(task).__name__}."
        raise ParameterError(msg)
    numbers = _numbers(schema, "image_prompts", "image", "slots for image prompts", len(prompts))
    values: dict[str, Any] = {}
    for number, item in zip(numbers, prompts, strict=False):
        prompt = item if isinstance(item, ImagePrompt) else ImagePrompt(item)
        values |= {f"ip_{number}_{name}": value for name, value in prompt.members().items()}
    if task is None:
        return Expansion({**values, "input_image_checkbox": True, "current_tab": "ip"})
    return Expansion({**values, task.mixing: True})


def _enhancements(schema: Schema, steps: Sequence[Any]) -> Expansion:
    """Fill the first tabs of enhancements."""
    numbers = _numbers(schema, "enhance", "enabled", "tabs for enhancements", len(steps))
    values: dict[str, Any] = {"enhance_checkbox": True}
    for number, step in zip(numbers, steps, strict=False):
        if not isinstance(step, Enhance):
            msg = f"{step!r} is no enhancement: write Enhance(detect=...), of fooocus_nb."
            raise ParameterError(msg)
        values |= {f"enhance_{number}_{name}": value for name, value in step.members().items()}
    return Expansion(values)


def lora_values(schema: Schema, loras: Any, given: Iterable[str]) -> dict[str, Any]:
    """Spread a list of LoRAs over the server's slots and empty the other slots.

    Parameters
    ----------
    schema : Schema
        The server's parameters.
    loras : iterable
        Names, or pairs of a name and a weight.
    given : iterable of str
        What else is given, by canonical name.

    Returns
    -------
    dict
        A value for every slot's parameters.

    Raises
    ------
    ParameterError
        When it is no such list, has too many items, or slots are given singly beside it.
    """
    if any(re.fullmatch(r"lora_\d+_\w+", name) for name in given):
        msg = "loras= fills all slots, so single lora_... parameters cannot be given beside it."
        raise ParameterError(msg)
    if isinstance(loras, (str, bytes)) or not hasattr(loras, "__iter__"):
        msg = f"loras={loras!r} is not possible: it must be a list such as [('name', 0.8)]."
        raise ParameterError(msg)
    pairs = [_lora_pair(item) for item in loras]
    numbers = _numbers(schema, "loras", "model", "slots for LoRAs", len(pairs))
    values: dict[str, Any] = {}
    for position, number in enumerate(numbers):
        name, weight = pairs[position] if position < len(pairs) else (NO_LORA, 1.0)
        for member, value in (("enabled", True), ("model", name), ("weight", weight)):
            full = f"lora_{number}_{member}"
            if full in schema.parameters:
                values[full] = value
    return values


def _lora_pair(item: Any) -> tuple[str, float]:
    if isinstance(item, str):
        return item, 1.0
    if isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str):
        return item[0], item[1]
    msg = f"loras= has {item!r}, which is neither a name nor a pair of a name and a weight."
    raise ParameterError(msg)
