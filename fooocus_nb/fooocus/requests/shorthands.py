"""The parameters that stand for several others: a task, image prompts, enhancements, LoRAs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ParameterError, UnsupportedParameter
from fooocus_nb.fooocus.requests.images import image_and_mask
from fooocus_nb.fooocus.requests.tasks import Enhance, EnhanceImage, ImagePrompt, Task, TaskSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fooocus_nb.fooocus.schema import Schema

__all__ = ["INPAINT_IMAGE", "INPAINT_MASK", "MASK_BOXES", "SHORTHANDS", "expand", "lora_values"]

#: The parameters that stand for several others.
SHORTHANDS = ("task", "image_prompts", "enhance", "loras")
NO_LORA = "None"
#: The image to inpaint, the mask that can be uploaded beside it, and the checkboxes that enable
#: that mask, of which each version has one.
INPAINT_IMAGE, INPAINT_MASK = "inpaint_input_image", "inpaint_mask_image"
MASK_BOXES = ("inpaint_advanced_masking_checkbox", "inpaint_mask_upload_checkbox")
#: The prefix of the slots that each shorthand fills.
_GROUPS = {"image_prompts": "ip", "enhance": "enhance", "loras": "lora"}


def expand(schema: Schema, given: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the shorthands by the parameters that they stand for."""
    plain = {name: value for name, value in given.items() if name not in SHORTHANDS}
    task = given.get("task")
    if task is not None and not isinstance(task, Task):
        msg = f"task={task!r} is not possible: it must be an Upscale, Vary, Inpaint, Outpaint or "
        raise ParameterError(msg + "EnhanceImage of fooocus_nb.")
    prompts = _list("image_prompts", given.get("image_prompts"))
    enhancements = _list("enhance", given.get("enhance"))
    meanings = []
    if task is not None:
        meanings.append((f"task={type(task).__name__}", task.expand()))
    if isinstance(task, EnhanceImage):
        enhancements = [*_list("enhancements", task.enhancements), *enhancements]
    if enhancements:
        meanings.append(("enhance=", _enhancements(schema, enhancements)))
    if prompts:
        meanings.append(("image_prompts=", _image_prompts(schema, prompts, task)))
    if given.get("loras") is not None:
        meanings.append(("loras=", TaskSettings(lora_values(schema, given["loras"], plain))))
    return _with_mask_apart(schema, _merged(schema, plain, meanings))


def _with_mask_apart(schema: Schema, given: dict[str, Any]) -> dict[str, Any]:
    """Upload the mask by itself where this server has no image with a mask."""
    parameter = schema.parameters.get(INPAINT_IMAGE)
    if parameter is None or parameter.type != "image" or given.get(INPAINT_IMAGE) is None:
        return given
    image, mask = image_and_mask(INPAINT_IMAGE, given[INPAINT_IMAGE])
    if mask is None:
        return {**given, INPAINT_IMAGE: image}
    if INPAINT_MASK not in schema.parameters:
        msg = f"This server (Fooocus {schema.version}) takes no mask with an image."
        raise UnsupportedParameter(msg)
    if given.get(INPAINT_MASK) is not None:
        both = f"with {INPAINT_IMAGE!r} and as {INPAINT_MASK!r}"
        msg = f"There are two masks, {both}: this server takes one."
        raise ParameterError(msg)
    boxes = {name: True for name in MASK_BOXES if name in schema.parameters}
    return {**given, INPAINT_IMAGE: image, INPAINT_MASK: mask, **boxes}


def _merged(
    schema: Schema, plain: Mapping[str, Any], meanings: list[tuple[str, TaskSettings]]
) -> dict[str, Any]:
    """Merge what was given with what the shorthands stand for."""
    merged = dict(plain)
    for origin, meaning in meanings:
        for short, value in meaning.values.items():
            name = schema.resolve(short)
            if name in plain:
                msg = f"{name!r} is decided by {origin}, so it cannot be given as well."
                raise ParameterError(msg)
            merged[name] = value
    for _, meaning in meanings:
        for short, value in meaning.defaults.items():
            merged.setdefault(schema.resolve(short), value)
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


def _numbers(schema: Schema, option: str, member: str, what: str, needed: int) -> list[int]:
    """Return the slots to fill, or say that there are not so many."""
    numbers = schema.slots(_GROUPS[option], member)
    if not numbers:
        msg = f"This server (Fooocus {schema.version}) has no {what}."
        raise UnsupportedParameter(msg)
    if needed > len(numbers):
        msg = f"{option}= has {needed} items, but this server has {len(numbers)} {what}."
        raise ParameterError(msg)
    return numbers


def _image_prompts(schema: Schema, prompts: Sequence[Any], task: Task | None) -> TaskSettings:
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
        return TaskSettings({**values, "input_image_checkbox": True, "current_tab": "ip"})
    return TaskSettings({**values, task.mixing: True})


def _enhancements(schema: Schema, steps: Sequence[Any]) -> TaskSettings:
    """Fill the first tabs of enhancements."""
    numbers = _numbers(schema, "enhance", "enabled", "tabs for enhancements", len(steps))
    values: dict[str, Any] = {"enhance_checkbox": True}
    for number, step in zip(numbers, steps, strict=False):
        if not isinstance(step, Enhance):
            msg = f"{step!r} is no enhancement: write Enhance(detect=...), of fooocus_nb."
            raise ParameterError(msg)
        values |= {f"enhance_{number}_{name}": value for name, value in step.members().items()}
    return TaskSettings(values)


def lora_values(schema: Schema, loras: Any, given: Iterable[str]) -> dict[str, Any]:
    """Spread a list of LoRAs over the server's slots and empty the other slots."""
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
