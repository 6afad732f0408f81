"""The parameters of a server, arranged as a form: groups, sections and fields."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb._html import clip
from fooocus_nb.fooocus.schema.calls import PRESET
from fooocus_nb.fooocus.schema.parameters import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fooocus_nb.fooocus.schema import Schema
    from fooocus_nb.fooocus.schema.parameters import Parameter

__all__ = ["companions", "form_of", "wire"]

MAX_LABEL = 200

#: Without a label of its own on the page, or with one that only makes sense in its place there.
_LABELS = {
    "prompt": "Prompt",
    "image_number": "Images",
    "current_tab": "Use the input of",
    "input_image_checkbox": "Use an input image",
    "uov_input_image": "Picture to upscale or vary",
    "inpaint_input_image": "Picture to paint in",
    "inpaint_mask_image": "Mask",
    "enhance_input_image": "Picture to enhance",
    "enhance_uov_prompt_type": "Prompt to use",
    "freeu_enabled": "Use FreeU",
}
#: The tabs of the page, each with a kind of input image.
_TABS = {
    "uov": "Upscale or vary",
    "ip": "Image prompt",
    "inpaint": "Inpaint or outpaint",
    "enhance": "Enhance",
}
_MEMBER_LABELS = {"enabled": "Use it", "model": "Model", "image": "Picture"}
#: Text of more than a few words.
_LONG_TEXT = re.compile(r"(?:^|_)prompt$")
_NUMBERED = re.compile(r"^(lora|ip|enhance)_(\d+)_(\w+)$")
_NUMBERED_TITLES = {"lora": "LoRA", "ip": "Image prompt", "enhance": "Enhancement"}


@dataclass(frozen=True)
class _Group:
    """A group of the form.

    Attributes
    ----------
    key, title : str
        Its name, and what stands over it; without a title it is always open.
    pattern : re.Pattern
        What is in it, by name. The first group that fits takes a parameter.
    """

    key: str
    title: str
    pattern: re.Pattern[str]


def _group(key: str, title: str, *patterns: str) -> _Group:
    return _Group(key, title, re.compile("|".join(f"(?:{pattern})" for pattern in patterns)))


#: In the order in which people look for them; what fits nowhere comes last.
_GROUPS = (
    _group("prompt", "", "prompt", "negative_prompt"),
    _group("basics", "", "performance_selection", "aspect_ratios_selection", "image_number",
           "image_seed"),
    _group("styles", "Styles", "style_selections"),
    _group("models", "Models", "base_model", "refiner_model", "refiner_switch",
           "refiner_swap_method", "vae_name", "clip_skip"),
    _group("loras", "LoRAs", r"lora_\d+_\w+"),
    _group("sampling", "Sampling", "guidance_scale", "sharpness", "sampler_name", "scheduler_name",
           "overwrite_step", "overwrite_switch", "adaptive_cfg", r"adm_\w+"),
    _group("size", "Size and files", "overwrite_(?:width|height)", "output_format", r"save_meta\w+",
           "metadata_scheme", "generate_image_grid", "save_final_enhanced_image_only"),
    _group("input", "Input image", "input_image_checkbox", "current_tab", r"mixing_\w+"),
    _group("vary", "Upscale or vary", r"uov_\w+", r"overwrite_(?:vary|upscale)_strength"),
    _group("image-prompt", "Image prompt", r"ip_\d+_\w+", "controlnet_softness", r"canny_\w+",
           r"\w+_cn_preprocessor"),
    _group("inpaint", "Inpaint or outpaint", r"(?:inpaint|outpaint|invert_mask)_\w+",
           "debugging_inpaint_preprocessor"),
    _group("enhance", "Enhance", r"enhance_\w+", r"debugging_enhance_\w+", r"\w*dino\w*"),
    _group("freeu", "FreeU", r"freeu_\w+"),
    _group("other", "More", r"\w+"),
)  # fmt: skip


def form_of(schema: Schema) -> dict[str, Any]:
    """Return the form of a server, fit for JSON.

    Parameters
    ----------
    schema : Schema
        The server's parameters and presets.

    Returns
    -------
    dict
        ``groups``, each with a ``key``, a ``title`` and ``sections`` (a title and names);
        ``fields`` by name, every parameter in exactly one section; the names of the ``presets``,
        none where the server has no choice of them, and the ``preset`` that is loaded.
    """
    parameters = schema.parameters
    call = schema.verbs.get(PRESET)
    preset = call.own[PRESET] if call else None
    return {
        "presets": list(preset.choices or ()) if preset else [],
        "preset": str(preset.default or "") if preset else "",
        "groups": [
            {"key": group.key, "title": group.title, "sections": _sections(names)}
            for group in _GROUPS
            if (names := _members(group, parameters))
        ],
        "fields": {name: _field(parameter) for name, parameter in parameters.items()},
    }


def companions(name: str, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return what has to be set beside a picture for the server to look at it.

    Parameters
    ----------
    name : str
        The parameter that takes the picture.
    parameters : mapping
        The server's.

    Returns
    -------
    dict
        Values by name: the box to tick and the tab to be on.
    """
    if name == "enhance_input_image":
        wanted: dict[str, Any] = {"enhance_checkbox": True}
    else:
        tab = next((tab for tab in _TABS if name.startswith(f"{tab}_")), None)
        wanted = {"input_image_checkbox": True, "current_tab": tab} if tab else {}
    return {name: value for name, value in wanted.items() if name in parameters}


def _members(group: _Group, parameters: Mapping[str, Parameter]) -> list[str]:
    """Return the names of a group, those that it lists singly in its own order."""
    return [name for name in parameters if _group_of(name) is group]


def _group_of(name: str) -> _Group:
    return next(group for group in _GROUPS if group.pattern.fullmatch(name))


def _sections(names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the names without a number first, then a section for each number."""
    sections: dict[str, list[str]] = {"": []}
    for name in names:
        match = _NUMBERED.match(name)
        title = f"{_NUMBERED_TITLES[match[1]]} {match[2]}" if match else ""
        sections.setdefault(title, []).append(name)
    return [{"title": title, "names": found} for title, found in sections.items() if found]


def _field(parameter: Parameter) -> dict[str, Any]:
    field: dict[str, Any] = {
        "label": clip(_label(parameter), MAX_LABEL),
        "kind": _kind(parameter),
        # Zero as the default of a seed means "draw one".
        "default": "" if parameter.type == "seed" else wire(parameter, parameter.default),
        "hint": _hint(parameter),
        "words": " ".join((parameter.name, *parameter.aliases)),
    }
    for name in ("minimum", "maximum", "step"):
        if (limit := getattr(parameter, name)) is not None:
            field[name] = limit
    choices = _choices(parameter)
    if choices is not None:
        field["choices"] = choices
    return field


def _label(parameter: Parameter) -> str:
    match = _NUMBERED.match(parameter.name)
    fallback = plain(parameter.label).rstrip(": ") or parameter.name.replace("_", " ").capitalize()
    if match:
        return _MEMBER_LABELS.get(match[3], fallback)
    return _LABELS.get(parameter.name, fallback)


def _kind(parameter: Parameter) -> str:
    if parameter.name == "current_tab":
        return "choice"
    if parameter.type == "text":
        return "long text" if _LONG_TEXT.search(parameter.name) else "text"
    known = ("boolean", "choice", "choices", "image", "integer", "mask image", "number", "seed")
    return parameter.type if parameter.type in known else "other"


def _hint(parameter: Parameter) -> str:
    if parameter.type in ("integer", "number"):
        return parameter.allowed
    return ""


def _choices(parameter: Parameter) -> list[list[str]] | None:
    """Return what can be chosen, each as the server takes it and as people read it."""
    if parameter.name == "current_tab":
        return [[tab, title] for tab, title in _TABS.items()]
    if parameter.choices is None:
        return None
    choices = list(parameter.choices)
    if parameter.type == "choice" and parameter.default not in choices:
        choices.insert(0, str(parameter.default))  # the server's own default is always possible
    return [[choice, clip(plain(choice), MAX_LABEL) or "(none)"] for choice in choices]


def wire(parameter: Parameter, value: Any) -> Any:
    """Return a value as the form holds it.

    Parameters
    ----------
    parameter : Parameter
        What it is for.
    value : object
        Valid, or the default.

    Returns
    -------
    object
        Fit for JSON. A picture is only said to be there, a seed is text: it may exceed what
        JavaScript counts exactly.
    """
    if parameter.is_image:
        return value is not None
    if parameter.type == "seed":
        return str(value)
    if parameter.type == "choice" and value != parameter.default:
        return parameter.check(value)
    return value
