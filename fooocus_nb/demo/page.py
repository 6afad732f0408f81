"""What ``GET /config`` answers: Fooocus's page and the functions behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb.demo.choices import PRESETS, VERSION
from fooocus_nb.demo.components import (
    COMPONENTS,
    CONTROL_IMAGES,
    ENHANCEMENTS,
    LORA_SLOTS,
    Component,
)
from fooocus_nb.demo.words import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Function", "Page"]

_SERIALIZERS = {
    "checkbox": "BooleanSerializable",
    "checkboxgroup": "ListStringSerializable",
    "dropdown": "SimpleSerializable",
    "gallery": "GallerySerializable",
    "image": "ImgSerializable",
    "json": "JSONSerializable",
    "slider": "NumberSerializable",
    "state": "SimpleSerializable",
    **dict.fromkeys(
        ("button", "colorpicker", "dataset", "html", "radio", "textbox"), "StringSerializable"
    ),
}


def _members(group: str, numbers: Iterable[int], names: str) -> list[str]:
    return [f"{group}_{number}_{name}" for number in numbers for name in names.split()]


_LORAS = _members("lora", LORA_SLOTS, "enabled model weight")
_INPAINTING = "no_latent engine strength field"
_INPAINT_MODES = ["enhance_1_mode", "enhance_2_mode", "enhance_3_mode"]
_FREEU = words("freeu freeu_b1 freeu_b2 freeu_s1 freeu_s2")

#: What the function that makes a task takes, in its order.
_TASK = [
    *words("task image_grid prompt negative_prompt styles performance aspect image_number"),
    *words("output_format seed wildcards_in_order sharpness guidance_scale base_model refiner"),
    "refiner_switch",
    *_LORAS,
    *words("input_image current_tab uov_method uov_image outpaint inpaint_image inpaint_prompt"),
    *words("inpaint_mask disable_preview disable_intermediate disable_increment black_out"),
    *words("adm_positive adm_negative adm_end adaptive_cfg clip_skip sampler scheduler vae"),
    *words("overwrite_step overwrite_switch overwrite_width overwrite_height overwrite_vary"),
    *words("overwrite_upscale mix_vary mix_inpaint debug_cn skip_cn canny_low canny_high"),
    *words("swap_method softness"),
    *_FREEU,
    *words("debug_inpaint inpaint_no_latent inpaint_engine inpaint_strength inpaint_field"),
    *words("advanced_masking invert_mask inpaint_erode save_final_only save_metadata"),
    "metadata_scheme",
    *_members("ip", CONTROL_IMAGES, "image stop weight type"),
    *words("debug_dino dino_erode debug_masks enhance_image enhance enhance_method"),
    *words("enhance_order enhance_prompts"),
    *_members(
        "enhance",
        ENHANCEMENTS,
        f"enabled detect prompt negative model cloth sam text box count {_INPAINTING} erode invert",
    ),
]
#: What a preset, a pasted text or an image's metadata may change.
_LOADED = [
    *words("advanced image_number prompt negative_prompt styles performance overwrite_step"),
    *words("overwrite_switch aspect overwrite_width overwrite_height guidance_scale sharpness"),
    *words("adm_positive adm_negative adm_end swap_method adaptive_cfg clip_skip base_model"),
    *words("refiner refiner_switch sampler scheduler vae random_seed seed inpaint_engine"),
    "inpaint_engine_state",
    "inpaint_mode",
    *_INPAINT_MODES,
    "generate",
    "load",
    *_FREEU,
    *_LORAS,
]
_MODE = words("inpaint_prompt outpaint inpaint_examples")


@dataclass(frozen=True)
class Function:
    """A function of the page, and what sets it off.

    Attributes
    ----------
    name : str
        What we call it.
    target : str
        The component that sets it off; empty for the page's own loading.
    trigger : str
        What must happen to it; ``then`` is the end of the function before.
    inputs, outputs : sequence of str
        The components that it takes and changes.
    queue : bool or None
        None is the page's default, which is to queue.
    generator : bool
        Whether it answers more than once.
    """

    name: str
    target: str
    trigger: str
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    queue: bool | None = False
    generator: bool = False


def _functions() -> Iterator[Function]:
    yield Function("stop", "stop", "click", ["task"], ["task"])
    yield Function("skip", "skip", "click", ["task"], ["task"])
    yield from _control_functions()
    yield from _enhance_functions()
    yield from _panel_functions()
    yield from _style_functions()
    yield from _setting_functions()
    yield from _inpaint_functions()
    yield from _load_functions()
    yield from _generate_functions()
    yield Function(
        "describe",
        "describe",
        "click",
        ["describe_kinds", "describe_image", "describe_styles"],
        ["prompt", "styles"],
        queue=True,
    )
    yield Function("sort_described", "describe", "then", ["styles"], ["styles"])
    yield Function("", "describe", "then", queue=None)


def _control_functions() -> Iterator[Function]:
    for number in CONTROL_IMAGES:
        kind = f"ip_{number}_type"
        yield Function("", kind, "change", [kind], _members("ip", [number], "stop weight"))
    names = ("panel", "type", "stop", "weight")
    every = [key for name in names for key in _members("ip", CONTROL_IMAGES, name)]
    yield Function("", "ip_advanced", "change", ["ip_advanced"], every)
    yield Function("", "inpaint_examples", "click", ["inpaint_examples"], ["inpaint_prompt"])
    yield Function("", "mask_examples", "click", ["mask_examples"], ["mask_prompt"])
    masked = ["mask_cloth", "mask_prompt", "mask_options", "mask_examples"]
    yield Function("", "mask_model", "change", ["mask_model"], masked)
    yield Function("", "describe_image", "upload", ["describe_image"], ["describe_size"])
    yield Function("read_metadata", "metadata_image", "upload", ["metadata_image"], ["metadata"])


def _enhance_functions() -> Iterator[Function]:
    yield Function("", "enhance_order", "change", ["enhance_order"], ["enhance_prompts"])
    for number in ENHANCEMENTS:
        key = f"enhance_{number}_"
        yield Function("", f"{key}examples", "click", [f"{key}examples"], [f"{key}detect"])
        mode = [f"{key}mode", "inpaint_engine_state"]
        changed = [*_MODE, *_members("enhance", [number], _INPAINTING)]
        yield Function("", f"{key}mode", "change", mode, changed)
        shown = _members("enhance", [number], "cloth detect options examples")
        yield Function("", f"{key}model", "change", [f"{key}model"], shown)


def _panel_functions() -> Iterator[Function]:
    yield Function("", "input_image", "change", ["input_image"], ["input_panel"])
    yield Function("", "ip_advanced", "change")
    for tab in ("uov", "inpaint", "ip", "describe", "enhance", "metadata"):
        yield Function("", f"tab_{tab}", "select", [], ["current_tab"])
    yield Function("", "enhance", "change", ["enhance"], ["enhance_panel"])
    yield Function("", "aspect", "change", ["aspect"])
    yield Function("", "", "load", ["aspect"])
    yield Function("", "random_seed", "change", ["random_seed"], ["seed"])
    yield Function("history", "", "load", [], ["history"])


def _style_functions() -> Iterator[Function]:
    yield Function("", "", "load", [], ["styles"], queue=None)
    yield Function("", "search_styles", "change", ["styles", "search_styles"], ["styles"])
    yield Function("", "search_styles", "then", queue=None)
    yield Function("", "styles_receiver", "input", ["styles"], ["styles"])
    yield Function("", "styles_receiver", "then", queue=None)


def _setting_functions() -> Iterator[Function]:
    yield Function("", "refiner", "change", ["refiner"], ["refiner_switch"])
    yield Function("", "black_out", "change", ["black_out"], ["disable_preview"])
    yield Function("", "save_metadata", "change", ["save_metadata"], ["metadata_scheme"])
    yield Function(
        "", "advanced_masking", "change", ["advanced_masking"], ["inpaint_mask", "mask_panel"]
    )
    yield Function("", "brush", "change", ["brush"], ["inpaint_image"])
    yield Function("", "debug_mode", "change", ["debug_mode"], ["debug_panel"])
    found = ["base_model", "refiner", "vae", "preset", *_LORAS]
    yield Function("refresh", "refresh", "click", [], found)
    given = ["preset", "is_generating", "inpaint_mode"]
    yield Function("preset", "preset", "change", given, _LOADED)
    yield Function("sort_styles", "preset", "then", ["styles"], ["styles"])
    yield Function("", "preset", "then", queue=None)
    engines = [f"enhance_{number}_engine" for number in ENHANCEMENTS]
    yield Function("", "preset", "then", ["inpaint_engine_state", *_INPAINT_MODES], engines)
    changed = words(
        "guidance_scale sharpness adm_end adm_positive adm_negative refiner_switch refiner "
        "sampler scheduler adaptive_cfg swap_method negative_prompt disable_intermediate"
    )
    yield Function("", "performance", "change", ["performance"], changed)
    yield Function("", "output_format", "input", ["output_format"], queue=None)
    yield Function("", "advanced", "change", ["advanced"], ["advanced_panel"])
    yield Function("", "advanced", "then")


def _inpaint_functions() -> Iterator[Function]:
    state = "inpaint_engine_state"
    own = [f"inpaint_{name}" for name in _INPAINTING.split()]
    yield Function("", "inpaint_mode", "change", ["inpaint_mode", state], [*_MODE, *own])
    yield Function("", "", "load", ["inpaint_mode", state], [*_MODE, *own])
    for number in ENHANCEMENTS:
        changed = [*_MODE, *_members("enhance", [number], _INPAINTING)]
        yield Function("", "", "load", [f"enhance_{number}_mode", state], changed)
    yield Function(
        "make_mask",
        "make_mask",
        "click",
        [
            *words("inpaint_image mask_model mask_cloth mask_prompt mask_sam mask_box mask_text"),
            *words("mask_count dino_erode debug_dino"),
        ],
        ["inpaint_mask"],
        queue=True,
    )


def _load_functions() -> Iterator[Function]:
    state = "is_generating"
    yield Function("parse", "prompt", "input", ["prompt", state], ["prompt", "generate", "load"])
    yield Function("load", "load", "click", ["prompt", state, "inpaint_mode"], _LOADED)
    yield Function("apply_metadata", "apply_metadata", "click", ["metadata_image", state], _LOADED)
    yield Function("sort_loaded", "apply_metadata", "then", ["styles"], ["styles"])


def _generate_functions() -> Iterator[Function]:
    state, shown = "is_generating", ["progress", "preview", "running_gallery", "gallery"]
    begin = ["stop", "skip", "generate", "gallery", state]
    yield Function("begin", "generate", "click", [], begin, queue=None)
    yield Function("draw_seed", "generate", "then", ["random_seed", "seed"], ["seed"], queue=None)
    yield Function("get_task", "generate", "then", _TASK, ["task"], queue=None)
    yield Function("generate", "generate", "then", ["task"], shown, queue=None, generator=True)
    end = ["generate", "stop", "skip", state]
    yield Function("end", "generate", "then", [], end, queue=None)
    yield Function("", "generate", "then", [], ["history"], queue=None)
    yield Function("", "generate", "then", queue=None)
    yield Function("", "generate", "then", queue=None)
    everything = ["task", state, "generate", "reset", "stop", "skip", *shown]
    yield Function("reset", "reset", "click", [], everything)


class Page:
    """The page, without what the flags take away.

    Parameters
    ----------
    preset : str
        The preset that the page begins with.
    without : iterable of str
        The keys of components that are not there.

    Attributes
    ----------
    functions : list of Function
        By their number; their inputs and outputs are only those that are there.
    config : dict
        What ``GET /config`` answers.
    """

    def __init__(self, preset: str = "", without: Iterable[str] = ()) -> None:
        gone = set(without)
        self._components = [item for item in COMPONENTS if not item.key or item.key not in gone]
        self._ids = {
            item.key: number for number, item in enumerate(self._components, 1) if item.key
        }
        self.functions = [
            function
            for function in map(self._present, _functions())
            if not function.target or function.target in self._ids
        ]
        loaded = PRESETS.get(preset)
        changes = {**loaded.values, "preset": preset} if loaded else {}
        self.config: dict[str, Any] = {
            "version": "3.41.2",
            "mode": "blocks",
            "enable_queue": True,
            "show_error": False,
            "show_api": True,
            "title": f"Fooocus {VERSION} {preset}".strip(),
            "components": [
                self._describe(number, item, changes)
                for number, item in enumerate(self._components, 1)
            ],
            "dependencies": list(self._dependencies()),
        }

    def index(self, name: str) -> int:
        """Return the number of a function."""
        return next(i for i, function in enumerate(self.functions) if function.name == name)

    def default(self, key: str) -> Any:
        """Return the value that a component begins with."""
        return self.config["components"][self._ids[key] - 1]["props"].get("value")

    def _present(self, function: Function) -> Function:
        return Function(
            function.name,
            function.target,
            function.trigger,
            [key for key in function.inputs if key in self._ids],
            [key for key in function.outputs if key in self._ids],
            function.queue,
            function.generator,
        )

    def _describe(self, number: int, item: Component, changes: dict[str, Any]) -> dict[str, Any]:
        props = {"show_label": True, **item.props}
        if item.key in changes:
            props["value"] = changes[item.key]
        described: dict[str, Any] = {"id": number, "type": item.kind, "props": props}
        if item.kind in _SERIALIZERS:
            described["serializer"] = _SERIALIZERS[item.kind]
        return described

    def _dependencies(self) -> Iterator[dict[str, Any]]:
        for number, function in enumerate(self.functions):
            yield {
                "targets": [self._ids[function.target]] if function.target else [],
                "trigger": function.trigger,
                "inputs": [self._ids[key] for key in function.inputs],
                "outputs": [self._ids[key] for key in function.outputs],
                "backend_fn": True,
                "queue": function.queue,
                "api_name": None,
                "batch": False,
                "cancels": [],
                "trigger_after": number - 1 if function.trigger == "then" else None,
                "trigger_only_on_success": False,
                "types": {"continuous": False, "generator": function.generator},
            }
