"""The form of a control panel: how parameters are arranged, and its widget."""

from __future__ import annotations

import contextlib
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from fooocus_nb._html import clip
from fooocus_nb.fooocus.schema.calls import PRESET
from fooocus_nb.fooocus.schema.parameters import plain
from fooocus_nb.widgets._assets import joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fooocus_nb.fooocus.schema import Schema
    from fooocus_nb.fooocus.schema.parameters import Parameter

__all__ = ["PanelForm", "companions", "form_of", "to_json"]

_log = logging.getLogger(__name__)

MAX_LABEL = 200

#: Labels for parameters that have none on the page, or one that is clear only there.
_LABELS = {
    "prompt": "Prompt",
    "image_number": "Images",
    "current_tab": "Use the input of",
    "input_image_checkbox": "Use an input image",
    "uov_input_image": "Image to upscale or vary",
    "inpaint_input_image": "Image to inpaint",
    "inpaint_mask_image": "Mask",
    "enhance_input_image": "Image to enhance",
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
_MEMBER_LABELS = {"enabled": "Use it", "model": "Model", "image": "Image"}
#: Parameters with a text area.
_LONG_TEXT = re.compile(r"(?:^|_)prompt$")
_NUMBERED = re.compile(r"^(lora|ip|enhance)_(\d+)_(\w+)$")
_NUMBERED_TITLES = {"lora": "LoRA", "ip": "Image prompt", "enhance": "Enhancement"}


@dataclass(frozen=True)
class _Group:
    """A group of the form; the first one whose pattern fits takes a parameter."""

    key: str
    #: Without a title it is always open.
    title: str
    pattern: re.Pattern[str]


def _group(key: str, title: str, *patterns: str) -> _Group:
    return _Group(key, title, re.compile("|".join(f"(?:{pattern})" for pattern in patterns)))


#: In the order of use; the last group takes what fits no other.
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


class PanelForm(anywidget.AnyWidget):
    """Shows the form, and passes the browser's messages on, one by one on a thread of its own."""

    _esm = joined("dom.js", "kernel.js", "panel_search.js", "panel_controls.js", "panel.js")
    _css = joined("base.css", "kernel.css", "panel.css")
    form = traitlets.Dict().tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
    #: A small JPEG of each image that is set, by the name of its slot.
    images = traitlets.Dict().tag(sync=True)
    errors = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)

    def __init__(
        self, handle: Callable[[dict[str, Any], list[memoryview]], None], **traits: Any
    ) -> None:
        self._process = handle
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="fooocus-nb-panel")
        super().__init__(**traits)
        self.on_msg(self._handle)

    def close(self) -> None:
        """Close the widget and end its thread."""
        self._worker.shutdown(wait=False)
        super().close()

    def submit(self, work: Callable[[], None]) -> None:
        """Run this on the form's own thread, after what was submitted before."""
        with contextlib.suppress(RuntimeError):  # the form has been closed
            self._worker.submit(work)

    def _handle(self, _widget: object, content: Any, buffers: list[memoryview]) -> None:
        """Handle a message of the browser. It may come on any thread and hold anything."""
        if isinstance(content, dict):
            self.submit(lambda: self._work(content, buffers or []))

    def _work(self, content: dict[str, Any], buffers: list[memoryview]) -> None:
        try:
            self._process(content, buffers)
        except Exception:  # noqa: BLE001
            # No form of ours sent that: a user's errors are shown in the form.
            _log.debug("a message to a control panel failed", exc_info=True)
        finally:
            self.send({"kind": "took", "id": content.get("id")})


def form_of(schema: Schema) -> dict[str, Any]:
    """Arrange a server's parameters and presets as a form, ready for JSON."""
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
    """Return the values that make the server use an input image: its checkbox and tab."""
    if name == "enhance_input_image":
        wanted: dict[str, Any] = {"enhance_checkbox": True}
    else:
        tab = next((tab for tab in _TABS if name.startswith(f"{tab}_")), None)
        wanted = {"input_image_checkbox": True, "current_tab": tab} if tab else {}
    return {name: value for name, value in wanted.items() if name in parameters}


def _members(group: _Group, parameters: Mapping[str, Parameter]) -> list[str]:
    """Return the names of a group's parameters."""
    return [name for name in parameters if _group_of(name) is group]


def _group_of(name: str) -> _Group:
    return next(group for group in _GROUPS if group.pattern.fullmatch(name))


def _sections(names: Iterable[str]) -> list[dict[str, Any]]:
    """Return a section of the names without a number, then one for each number."""
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
        "default": "" if parameter.type == "seed" else to_json(parameter, parameter.default),
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
    """Return the choices, each as the server takes it and as it is shown."""
    if parameter.name == "current_tab":
        return [[tab, title] for tab, title in _TABS.items()]
    if parameter.choices is None:
        return None
    choices = list(parameter.choices)
    if parameter.type == "choice" and parameter.default not in choices:
        choices.insert(0, str(parameter.default))  # the server's own default is always possible
    return [[choice, clip(plain(choice), MAX_LABEL) or "(none)"] for choice in choices]


def to_json(parameter: Parameter, value: Any) -> Any:
    """Return a valid value as the form's JSON holds it; of an image only that it is set."""
    if parameter.is_image:
        return value is not None
    if parameter.type == "seed":
        return str(value)  # it may exceed what JavaScript counts exactly
    if parameter.type == "choice" and value != parameter.default:
        return parameter.check(value)
    return value
