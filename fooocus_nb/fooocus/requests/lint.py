"""Finds what the engine would accept and not do: empty masks, values without effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.requests.images import check_sizes, is_empty_mask
from fooocus_nb.fooocus.requests.shorthands import INPAINT_IMAGE, INPAINT_MASK, MASK_BOXES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fooocus_nb.fooocus.schema import Schema

__all__ = ["check_inpainting", "find_ineffective"]

#: What the fast performances use instead of what is given, by canonical name.
_FAST: Mapping[str, Any] = {
    "sharpness": 0.0,
    "guidance_scale": 1.0,
    "adaptive_cfg": 1.0,
    "refiner_model": "None",
    "refiner_switch": 1.0,
    "adm_scaler_positive": 1.0,
    "adm_scaler_negative": 1.0,
    "adm_scaler_end": 0.0,
    # Without guidance a negative prompt has no effect.
    "negative_prompt": "",
}
#: And the sampler and scheduler that each was made for.
_PERFORMANCES: Mapping[str, Mapping[str, Any]] = {
    "Extreme Speed": {**_FAST, "sampler_name": "lcm", "scheduler_name": "lcm"},
    "Lightning": {**_FAST, "sampler_name": "euler", "scheduler_name": "sgm_uniform"},
    "Hyper-SD": {**_FAST, "sampler_name": "dpmpp_sde_gpu", "scheduler_name": "karras"},
}
#: What needs the box "Input Image" ticked.
_INPUTS = ("uov_input_image", "inpaint_input_image", "ip_1_image")


def find_ineffective(
    schema: Schema, values: Mapping[str, Any], given: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a sentence for each reason why something that was given has no effect."""
    # No word about what equals the server's default, or what the engine uses anyway: the records
    # of images hold all of that, and are given again.
    performance = values.get("performance_selection")
    forced = _PERFORMANCES.get(str(performance), {})
    lost = [
        name
        for name, value in forced.items()
        if name in given and given[name] not in (value, schema.parameters[name].default)
    ]
    if lost:
        has = "have" if len(lost) > 1 else "has"
        yield (
            f"{', '.join(lost)} {has} no effect with performance={performance!r}, which works "
            "with its own settings. Choose performance='Speed' or 'Quality' to set them yourself."
        )
    unused = [name for name in _INPUTS if given.get(name) is not None]
    if unused and not values.get("input_image_checkbox", True):
        has = "have" if len(unused) > 1 else "has"
        yield (
            f"{', '.join(unused)} {has} no effect without input_image_checkbox=True and the "
            "current_tab that it belongs to. engine.vary, upscale, inpaint and outpaint, and "
            "image_prompts= set all that is needed."
        )


def check_inpainting(values: Mapping[str, Any]) -> None:
    """Refuse to inpaint where nothing is masked: the engine would generate another image."""
    image, tab = values.get(INPAINT_IMAGE), values.get("current_tab")
    mixed = tab == "ip" and values.get("mixing_image_prompt_and_inpaint")
    inpaints = values.get("input_image_checkbox") and (tab == "inpaint" or mixed)
    if not inpaints or image is None:
        return
    masks: list[Any] = []
    if any(values.get(box) for box in MASK_BOXES):
        uploaded = values.get(INPAINT_MASK)
        masks += uploaded.values() if isinstance(uploaded, dict) else [uploaded]
    if isinstance(image, dict):
        masks.append(image["mask"])
    elif not any(masks):
        return  # a fork's own way, which we do not know
    else:
        check_sizes(INPAINT_IMAGE, image, next(filter(None, masks)))
    if values.get("outpaint_selections"):
        return
    inverted = bool(values.get("invert_mask_checkbox"))
    if all(is_empty_mask(mask, inverted=inverted) for mask in masks if mask):
        color, hint = ("black", "") if inverted else ("white", " (255; True in a boolean array)")
        msg = f"The mask is empty: nothing in it is {color}{hint}, so nothing would be painted."
        raise ParameterError(msg)
