"""The components of Fooocus's page, in its order: what each is, what it says, what it takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fooocus_nb.demo.choices import (
    ASPECT_RATIOS,
    BASE_MODEL,
    BASE_MODELS,
    DEFAULT_STYLES,
    LORAS,
    PRESETS,
    REFINERS,
    SAMPLERS,
    SCHEDULERS,
    STYLES,
    Performance,
    aspect_ratio,
)
from fooocus_nb.demo.words import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["COMPONENTS", "CONTROL_IMAGES", "ENHANCEMENTS", "LORA_SLOTS", "Component"]

LORA_SLOTS = range(1, 6)
CONTROL_IMAGES = range(1, 5)
ENHANCEMENTS = range(1, 4)

_METHODS = [
    "Inpaint or Outpaint (default)",
    "Improve Detail (face, hand, eyes, etc.)",
    "Modify Content (add objects, change background, etc.)",
]
_VARIATIONS = [
    "Disabled",
    "Vary (Subtle)",
    "Vary (Strong)",
    "Upscale (1.5x)",
    "Upscale (2x)",
    "Upscale (Fast 2x)",
]
_MASK_MODELS = words(
    "u2net u2netp u2net_human_seg u2net_cloth_seg silueta isnet-general-use isnet-anime sam"
)
_ENGINES = ["None", "v1", "v2.5", "v2.6"]


@dataclass(frozen=True)
class Component:
    """One component of the page.

    Attributes
    ----------
    key : str
        What we call it; empty where nothing refers to it.
    kind : str
        Gradio's type.
    props : mapping
        What `/config` says of it.
    """

    key: str
    kind: str
    props: Mapping[str, Any] = field(default_factory=dict)


def _of(kind: str, key: str = "", label: str | None = None, /, **props: object) -> Component:
    props.setdefault("visible", True)
    if label is not None:
        props["label"] = label
    return Component(key, kind, props)


def _check(key: str, label: str, value: bool = False, **props: object) -> Component:
    return _of("checkbox", key, label, value=value, **props)


def _slide(
    key: str, label: str, value: float, low: float, high: float, step: float, **props: object
) -> Component:
    return _of("slider", key, label, value=value, minimum=low, maximum=high, step=step, **props)


def _share(key: str, label: str, value: float) -> Component:
    return _slide(key, label, value, 0.0, 1.0, 0.001)


def _drop(key: str, label: str, value: str, choices: Sequence[str], **props: object) -> Component:
    return _of("dropdown", key, label, value=value, choices=[*choices], **props)


def _radio(key: str, label: str, value: str, choices: Iterable[str], **props: object) -> Component:
    return _of(
        "radio", key, label, value=value, choices=[[name, name] for name in choices], **props
    )


def _boxes(key: str, label: str, value: list[str], choices: Iterable[str]) -> Component:
    return _of("checkboxgroup", key, label, value=value, choices=[[name, name] for name in choices])


def _text(key: str, label: str | None, value: str = "", **props: object) -> Component:
    return _of("textbox", key, label, value=value, type="text", **props)


def _image(key: str, label: str, *, tool: str = "editor", **props: object) -> Component:
    return _of("image", key, label, source="upload", tool=tool, **props)


def _button(key: str, value: str, **props: object) -> Component:
    return _of("button", key, value=value, interactive=True, **props)


def _quick_list(key: str, label: str, *, visible: bool) -> Component:
    return _of("dataset", key, label, type="values", visible=visible)


def _accordion(key: str, label: str, **props: object) -> Component:
    return _of("accordion", key, label, type="accordion", **props)


def _head() -> list[Component]:
    return [
        _of("state", "task"),
        _of("state", "inpaint_engine_state"),
        _image("preview", "Preview", visible=False),
        _of("gallery", "running_gallery", "Finished Images", value=[], visible=False),
        _of("html", "progress", elem_id="progress-bar", visible=False),
        _of("gallery", "gallery", "Gallery", value=[], elem_id="final_gallery"),
        _text("prompt", None, elem_id="positive_prompt"),
        _button("generate", "Generate", elem_id="generate_button"),
        _button("reset", "Reconnect", elem_id="reset_button", visible=False),
        _button("load", "Load Parameters", elem_id="load_parameter_button", visible=False),
        _button("skip", "Skip", elem_id="skip_button", visible=False),
        _button("stop", "Stop", elem_id="stop_button", visible=False),
        _check("input_image", "Input Image"),
        _check("enhance", "Enhance"),
        _check("advanced", "Advanced"),
        _of("row", "input_panel", visible=False),
    ]


def _vary_tab() -> list[Component]:
    return [
        _of("tabs"),
        _of("tabitem", "tab_uov", "Upscale or Variation"),
        _image("uov_image", "Image"),
        _radio("uov_method", "Upscale or Variation:", "Disabled", _VARIATIONS),
        _of("html"),
    ]


def _control_tab() -> list[Component]:
    rows = [_of("tabitem", "tab_ip", "Image Prompt")]
    kinds = ["ImagePrompt", "PyraCanny", "CPDS", "FaceSwap"]
    for number in CONTROL_IMAGES:
        rows += [
            _image(f"ip_{number}_image", "Image"),
            _of("column", f"ip_{number}_panel", visible=False),
            _share(f"ip_{number}_stop", "Stop At", 0.5),
            _slide(f"ip_{number}_weight", "Weight", 0.6, 0.0, 2.0, 0.001),
            _radio(f"ip_{number}_type", "Type", "ImagePrompt", kinds),
        ]
    return [*rows, _check("ip_advanced", "Advanced"), _of("html")]


def _inpaint_tab() -> list[Component]:
    sides = ["Left", "Right", "Top", "Bottom"]
    return [
        _of("tabitem", "tab_inpaint", "Inpaint or Outpaint"),
        _image("inpaint_image", "Image", tool="sketch", elem_id="inpaint_canvas"),
        _check("advanced_masking", "Enable Advanced Masking Features"),
        _drop("inpaint_mode", "Method", _METHODS[0], _METHODS),
        _text(
            "inpaint_prompt",
            "Inpaint Additional Prompt",
            elem_id="inpaint_additional_prompt",
            visible=False,
        ),
        _boxes("outpaint", "Outpaint Direction", [], sides),
        _quick_list("inpaint_examples", "Additional Prompt Quick List", visible=False),
        _of("html"),
        _of("column", "mask_panel", visible=False),
        _image("inpaint_mask", "Mask Upload", tool="sketch", elem_id="inpaint_mask_canvas"),
        _check("invert_mask", "Invert Mask When Generating"),
        _drop("mask_model", "Mask generation model", "isnet-general-use", _MASK_MODELS),
        _cloth("mask_cloth"),
        _text("mask_prompt", "Detection prompt", visible=False),
        _quick_list("mask_examples", "Detection Prompt Quick List", visible=False),
        _accordion("mask_options", "Advanced options", visible=False),
        *_detection("mask_", interactive=False),
        _button("make_mask", "Generate mask from image"),
    ]


def _cloth(key: str, **props: object) -> Component:
    return _drop(key, "Cloth category", "full", ["full", "upper", "lower"], visible=False, **props)


def _detection(prefix: str, *, interactive: bool) -> list[Component]:
    more = {"interactive": True} if interactive else {}
    return [
        _drop(f"{prefix}sam", "SAM model", "vit_b", ["vit_b", "vit_l", "vit_h"], **more),
        _slide(f"{prefix}box", "Box Threshold", 0.3, 0.0, 1.0, 0.05, **more),
        _slide(f"{prefix}text", "Text Threshold", 0.25, 0.0, 1.0, 0.05, **more),
        _slide(f"{prefix}count", "Maximum number of detections", 0, 0, 10, 1, interactive=True),
    ]


def _describe_tab() -> list[Component]:
    kinds = ["Photograph", "Art/Anime"]
    return [
        _of("tabitem", "tab_describe", "Describe"),
        _image("describe_image", "Image"),
        _boxes("describe_kinds", "Content Type", kinds[:1], kinds),
        _check("describe_styles", "Apply Styles", value=True),
        _button("describe", "Describe this Image into Prompt"),
        _text(
            "describe_size",
            "Image Size and Recommended Size",
            elem_id="describe_image_size",
            visible=False,
        ),
        _of("html"),
    ]


def _other_tabs() -> list[Component]:
    return [
        _of("tabitem", "tab_enhance", "Enhance"),
        _image("enhance_image", "Use with Enhance, skips image generation"),
        _of("html"),
        _of("tabitem", "tab_metadata", "Metadata"),
        _image("metadata_image", "For images created by Fooocus"),
        _of("json", "metadata", "Metadata"),
        _button("apply_metadata", "Apply Metadata"),
    ]


def _enhance_panel() -> list[Component]:
    orders = ["Before First Enhancement", "After Last Enhancement"]
    prompts = ["Original Prompts", "Last Filled Enhancement Prompts"]
    rows = [
        _of("row", "enhance_panel", visible=False),
        _of("tabs"),
        _of("tabitem", "", "Upscale or Variation"),
        _radio("enhance_method", "Upscale or Variation:", "Disabled", _VARIATIONS),
        _radio("enhance_order", "Order of Processing", orders[0], orders),
        _radio("enhance_prompts", "Prompt", prompts[0], prompts, visible=False),
        _of("html"),
    ]
    for number in ENHANCEMENTS:
        rows += _enhancement(number)
    return rows


def _enhancement(number: int) -> list[Component]:
    key = f"enhance_{number}_"
    return [
        _of("tabitem", "", f"#{number}"),
        _check(f"{key}enabled", "Enable"),
        _text(f"{key}detect", "Detection prompt", interactive=True),
        _quick_list(f"{key}examples", "Detection Prompt Quick List", visible=True),
        _text(f"{key}prompt", "Enhancement positive prompt", elem_id="enhance_prompt"),
        _text(f"{key}negative", "Enhancement negative prompt", elem_id="enhance_negative_prompt"),
        _accordion("", "Detection"),
        _drop(f"{key}model", "Mask generation model", "sam", _MASK_MODELS),
        _cloth(f"{key}cloth", interactive=True),
        _accordion(f"{key}options", "SAM Options"),
        *_detection(key, interactive=True),
        _accordion("", "Inpaint"),
        _drop(f"{key}mode", "Method", _METHODS[0], _METHODS, interactive=True),
        *_inpainting(key),
        _slide(f"{key}erode", "Mask Erode or Dilate", 0, -64, 64, 1),
        _check(f"{key}invert", "Invert Mask"),
        _of("html"),
    ]


def _inpainting(prefix: str) -> list[Component]:
    return [
        _check(f"{prefix}no_latent", "Disable initial latent in inpaint"),
        _drop(f"{prefix}engine", "Inpaint Engine", "v2.6", _ENGINES),
        _share(f"{prefix}strength", "Inpaint Denoising Strength", 1.0),
        _share(f"{prefix}field", "Inpaint Respective Field", 0.618),
    ]


def _settings_tab() -> list[Component]:
    return [
        _text("current_tab", None, "uov", visible=False),
        _of("column", "advanced_panel", visible=False),
        _of("tabitem", "", "Settings"),
        _drop("preset", "Preset", "initial", list(PRESETS), interactive=True),
        _radio("performance", "Performance", "Speed", [item.value for item in Performance]),
        _accordion("", "Aspect Ratios", elem_id="aspect_ratios_accordion"),
        _radio("aspect", "Aspect Ratios", aspect_ratio("1152×896"), ASPECT_RATIOS),
        _slide("image_number", "Image Number", 2, 1, 32, 1),
        _radio("output_format", "Output Format", "png", ["png", "jpeg", "webp"]),
        _text("negative_prompt", "Negative Prompt", elem_id="negative_prompt"),
        _check("random_seed", "Random", value=True),
        _text("seed", "Seed", "0", visible=False),
        _of("html", "history"),
        _of("tabitem", "", "Styles"),
        _text("search_styles", "Search Styles"),
        _boxes("styles", "Selected Styles", DEFAULT_STYLES, STYLES),
        _text("styles_receiver", None, elem_id="gradio_receiver_style_selections", visible=False),
    ]


def _models_tab() -> list[Component]:
    rows = [
        _of("tabitem", "", "Models"),
        _drop("base_model", "Base Model (SDXL only)", BASE_MODEL, BASE_MODELS),
        _drop("refiner", "Refiner (SDXL or SD 1.5)", "None", REFINERS),
        _slide("refiner_switch", "Refiner Switch At", 0.5, 0.1, 1.0, 0.0001, visible=False),
    ]
    for number in LORA_SLOTS:
        rows += [
            _check(f"lora_{number}_enabled", "Enable", value=True),
            _drop(f"lora_{number}_model", f"LoRA {number}", "None", LORAS),
            _slide(f"lora_{number}_weight", "Weight", 1.0, -2, 2, 0.01),
        ]
    return [*rows, _button("refresh", "🔄 Refresh All Files")]


def _advanced_tab() -> list[Component]:
    return [
        _of("tabitem", "", "Advanced"),
        _slide("guidance_scale", "Guidance Scale", 4.0, 1.0, 30.0, 0.01),
        _slide("sharpness", "Image Sharpness", 2.0, 0.0, 30.0, 0.001),
        _of("html"),
        _check("debug_mode", "Developer Debug Mode"),
        _of("column", "debug_panel", visible=False),
        _of("tabitem", "", "Debug Tools"),
        _slide("adm_positive", "Positive ADM Guidance Scaler", 1.5, 0.1, 3.0, 0.001),
        _slide("adm_negative", "Negative ADM Guidance Scaler", 0.8, 0.1, 3.0, 0.001),
        _share("adm_end", "ADM Guidance End At Step", 0.3),
        _drop("swap_method", "Refiner swap method", "joint", ["joint", "separate", "vae"]),
        _slide("adaptive_cfg", "CFG Mimicking from TSNR", 7.0, 1.0, 30.0, 0.01),
        _slide("clip_skip", "CLIP Skip", 2, 1, 12, 1),
        _drop("sampler", "Sampler", "dpmpp_2m_sde_gpu", SAMPLERS),
        _drop("scheduler", "Scheduler", "karras", SCHEDULERS),
        _drop("vae", "VAE", "Default (model)", ["Default (model)"]),
        _check("image_grid", "Generate Image Grid for Each Batch"),
        *_overwrites(),
        _check("disable_preview", "Disable Preview", interactive=True),
        _check("disable_intermediate", "Disable Intermediate Results"),
        _check("disable_increment", "Disable seed increment"),
        _check("wildcards_in_order", "Read wildcards in order"),
        _check("black_out", "Black Out NSFW", interactive=True),
        _check("save_final_only", "Save only final enhanced image"),
        _check("save_metadata", "Save Metadata to Images"),
        _of(
            "radio",
            "metadata_scheme",
            "Metadata Scheme",
            value="fooocus",
            choices=[["fooocus (json)", "fooocus"], ["a1111 (plain text)", "a1111"]],
            visible=False,
        ),
    ]


def _overwrites() -> list[Component]:
    steps = {"step": "Sampling Step", "switch": "Refiner Switch Step"}
    sizes = {"width": "Width", "height": "Height"}
    strengths = {"vary": "Vary", "upscale": "Upscale"}
    start = "Forced Overwrite of"
    return [
        *(_slide(f"overwrite_{k}", f"{start} {v}", -1, -1, 200, 1) for k, v in steps.items()),
        *(
            _slide(f"overwrite_{k}", f"{start} Generating {v}", -1, -1, 2048, 1)
            for k, v in sizes.items()
        ),
        *(
            _slide(f"overwrite_{k}", f'{start} Denoising Strength of "{v}"', -1, -1, 1.0, 0.001)
            for k, v in strengths.items()
        ),
    ]


def _debug_tabs() -> list[Component]:
    return [
        _of("tabitem", "", "Control"),
        _check("debug_cn", "Debug Preprocessors"),
        _check("skip_cn", "Skip Preprocessors"),
        _check("mix_vary", "Mixing Image Prompt and Vary/Upscale"),
        _check("mix_inpaint", "Mixing Image Prompt and Inpaint"),
        _share("softness", "Softness of ControlNet", 0.25),
        _of("tabitem", "", "Canny"),
        _slide("canny_low", "Canny Low Threshold", 64, 1, 255, 1),
        _slide("canny_high", "Canny High Threshold", 128, 1, 255, 1),
        _of("tabs"),
        _of("tabitem", "", "Inpaint"),
        _check("debug_inpaint", "Debug Inpaint Preprocessing"),
        _check("debug_masks", "Debug Enhance Masks"),
        _check("debug_dino", "Debug GroundingDINO"),
        *_inpainting("inpaint_"),
        _slide("inpaint_erode", "Mask Erode or Dilate", 0, -64, 64, 1),
        _slide("dino_erode", "GroundingDINO Box Erode or Dilate", 0, -64, 64, 1),
        _of(
            "colorpicker",
            "brush",
            "Inpaint brush color",
            value="#FFFFFF",
            elem_id="inpaint_brush_color",
        ),
        _of("tabitem", "", "FreeU"),
        _check("freeu", "Enabled"),
        _slide("freeu_b1", "B1", 1.01, 0, 2, 0.01),
        _slide("freeu_b2", "B2", 1.02, 0, 2, 0.01),
        _slide("freeu_s1", "S1", 0.99, 0, 4, 0.01),
        _slide("freeu_s2", "S2", 0.95, 0, 4, 0.01),
        _of("tabs"),
        _of("tabs"),
        _of("state", "is_generating"),
    ]


#: All of them. Of the rows, columns and groups that lay them out only those that come and go.
COMPONENTS: Sequence[Component] = (
    *_head(),
    *_vary_tab(),
    *_control_tab(),
    *_inpaint_tab(),
    *_describe_tab(),
    *_other_tabs(),
    *_enhance_panel(),
    *_settings_tab(),
    *_models_tab(),
    *_advanced_tab(),
    *_debug_tabs(),
)
