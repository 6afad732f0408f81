"""What Fooocus's inputs look like: types, labels, ranges, choices, and the order they stand in.

These are facts of the web app of versions 2.0.93 to 2.5. None is needed by itself: a label may be
translated, a range changed in `config.txt`, an input missing or a new one between two known ones.
:mod:`fooocus_nb.fooocus.schema.naming` weighs them together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ADVANCED", "OTHER_NAMES", "TEMPLATE", "Group", "Input"]

#: The same input under the name that another version gives it.
OTHER_NAMES: Mapping[str, str] = {
    "inpaint_advanced_masking_checkbox": "inpaint_mask_upload_checkbox",
    "inpaint_mask_upload_checkbox": "inpaint_advanced_masking_checkbox",
}


@dataclass(frozen=True)
class Input:
    """One input as Fooocus has it."""

    #: Its name; within a group, what follows the group's name and number.
    name: str
    #: The family of its type: ``boolean``, ``choice``, ``choices``, ``image``, ``number`` or
    #: ``text``.
    kind: str
    #: What the page calls it, in one version or another; ``{n}`` is the number of its group.
    labels: tuple[str, ...] = ()
    #: Its id in the page, where it has one.
    elem_id: str = ""
    #: Some of its choices, where they are its own. File names are no entry's own.
    choices: tuple[str, ...] = ()
    #: Choices that it certainly does not have.
    never: tuple[str, ...] = ()
    #: Minimum, maximum and step.
    bounds: tuple[float, float, float] | None = None
    #: Its default, where that tells it from others.
    value: str = ""
    #: The first version that may have it, the first that certainly has it, and the first that has
    #: it no more; empty where it was always there.
    since: tuple[int, ...] = ()
    sure: tuple[int, ...] = ()
    until: tuple[int, ...] = ()
    #: Whether a flag of Fooocus removes it.
    optional: bool = False


@dataclass(frozen=True)
class Group:
    """Inputs that come together, any number of times or, without a name, once or not at all."""

    #: What the names of its members begin with.
    name: str
    #: Its members, in order.
    entries: tuple[Input, ...]


_UNIT = (0.0, 1.0, 0.001)
_FLAG = "boolean"


def _flag(name: str, *labels: str, **more: object) -> Input:
    return Input(name, _FLAG, labels, **more)  # type: ignore[arg-type]


def _number(name: str, label: str, *bounds: float, **more: object) -> Input:
    return Input(name, "number", (label,), bounds=bounds, **more)  # type: ignore[arg-type]


# Other lists can be switched off, too: "Disabled" is not its own.
_VARY = ("Vary (Subtle)", "Vary (Strong)", "Upscale (1.5x)", "Upscale (2x)")
_ENGINES = ("v1", "v2.5", "v2.6")

_INPAINT = (
    _flag("inpaint_disable_initial_latent", "Disable initial latent in inpaint"),
    Input("inpaint_engine", "choice", ("Inpaint Engine",), choices=_ENGINES),
    _number("inpaint_strength", "Inpaint Denoising Strength", *_UNIT),
    _number("inpaint_respective_field", "Inpaint Respective Field", *_UNIT),
)
_ERODE = _number("inpaint_erode_or_dilate", "Mask Erode or Dilate", -64, 64, 1)

_LORA = Group(
    "lora",
    (
        _flag("enabled", "Enable", since=(2, 2), sure=(2, 2)),
        Input("model", "choice", ("LoRA {n}", "SDXL LoRA {n}")),
        Input("weight", "number", ("Weight",)),  # config.txt has its bounds
    ),
)
_IMAGE_PROMPT = Group(
    "ip",
    (
        Input("image", "image", ("Image",)),
        _number("stop", "Stop At", *_UNIT),
        _number("weight", "Weight", 0, 2, 0.001),
        Input(
            "type", "choice", ("Type",), choices=("ImagePrompt", "PyraCanny", "CPDS", "FaceSwap")
        ),
    ),
)
_ENHANCE = Group(
    "enhance",
    (
        _flag("enabled", "Enable"),
        Input("mask_dino_prompt_text", "text", ("Detection prompt",)),
        Input("prompt", "text", ("Enhancement positive prompt",), elem_id="enhance_prompt"),
        Input(
            "negative_prompt",
            "text",
            ("Enhancement negative prompt",),
            elem_id="enhance_negative_prompt",
        ),
        Input(
            "mask_model",
            "choice",
            ("Mask generation model",),
            choices=("u2net", "u2netp", "u2net_cloth_seg", "silueta", "isnet-general-use", "sam"),
        ),
        Input("mask_cloth_category", "choice", ("Cloth category",), choices=("upper", "lower")),
        Input("mask_sam_model", "choice", ("SAM model",), choices=("vit_b", "vit_l", "vit_h")),
        _number("mask_text_threshold", "Text Threshold", 0, 1, 0.05),
        _number("mask_box_threshold", "Box Threshold", 0, 1, 0.05),
        _number("mask_sam_max_detections", "Maximum number of detections", 0, 10, 1),
        *_INPAINT,
        _ERODE,
        _flag("mask_invert", "Invert Mask"),
    ),
)

_NEW = {"since": (2, 2), "sure": (2, 2)}
_V24 = {"since": (2, 4), "sure": (2, 4)}
_V25 = {"since": (2, 5), "sure": (2, 5)}

# One flag takes both away.
_METADATA = Group(
    "",
    (
        _flag("save_metadata_to_images", "Save Metadata to Images", **_NEW),
        Input(
            "metadata_scheme",
            "choice",
            ("Metadata Scheme",),
            choices=("fooocus", "a1111"),
            **_NEW,  # type: ignore[arg-type]
        ),
    ),
)

# Version 2.0 has these before its models, in one call with all else.
_ADM = (
    _number("adm_scaler_positive", "Positive ADM Guidance Scaler", 0.1, 3, 0.001),
    _number("adm_scaler_negative", "Negative ADM Guidance Scaler", 0.1, 3, 0.001),
    _number("adm_scaler_end", "ADM Guidance End At Step", *_UNIT),
)
_ADAPTIVE_CFG = _number("adaptive_cfg", "CFG Mimicking from TSNR", 1, 30, 0.01)
_SAMPLING = (
    Input("sampler_name", "choice", ("Sampler",), choices=("euler", "dpm_2", "dpmpp_2m", "ddim")),
    Input("scheduler_name", "choice", ("Scheduler",), choices=("normal", "karras", "simple")),
)
_OVERWRITE = (
    _number("overwrite_step", "Forced Overwrite of Sampling Step", -1, 200, 1),
    _number("overwrite_switch", "Forced Overwrite of Refiner Switch Step", -1, 200, 1),
    _number("overwrite_width", "Forced Overwrite of Generating Width", -1, 2048, 1),
    _number("overwrite_height", "Forced Overwrite of Generating Height", -1, 2048, 1),
    _number(
        "overwrite_vary_strength",
        'Forced Overwrite of Denoising Strength of "Vary"',
        *(-1, 1, 0.001),
    ),
    _number(
        "overwrite_upscale_strength",
        'Forced Overwrite of Denoising Strength of "Upscale"',
        *(-1, 1, 0.001),
    ),
)


def _only_in_2_0(*entries: Input) -> Group:
    return Group("", tuple(replace(entry, until=(2, 1)) for entry in entries))


#: All inputs in the order of the newest version. What moved between versions is here twice.
TEMPLATE: tuple[Input | Group, ...] = (
    _flag("generate_image_grid", "Generate Image Grid for Each Batch", since=(2, 2), sure=(2, 3)),
    Input("prompt", "text", ("Prompt", ""), elem_id="positive_prompt"),
    Input("negative_prompt", "text", ("Negative Prompt",), elem_id="negative_prompt"),
    Input(
        "style_selections",
        "choices",
        ("Selected Styles", "Image Style", "Image Style(s)"),
        choices=("Fooocus V2", "Fooocus Sharp", "SAI Anime", "Default (Slightly Cinematic)"),
    ),
    Input("performance_selection", "choice", ("Performance",), choices=("Speed", "Quality")),
    Input("aspect_ratios_selection", "choice", ("Aspect Ratios",), choices=("W×H",)),
    _number("image_number", "Image Number", 1, 32, 1),
    Input("output_format", "choice", ("Output Format",), choices=("png", "jpeg", "webp"), **_NEW),  # type: ignore[arg-type]
    Input("image_seed", "text", ("Seed",)),
    _flag("read_wildcards_in_order", "Read wildcards in order", since=(2, 2), sure=(2, 3)),
    Input(
        "sharpness",
        "number",
        ("Image Sharpness", "Sampling Sharpness"),
        bounds=(0, 30, 0.001),
    ),
    _only_in_2_0(*_ADM),
    _number("guidance_scale", "Guidance Scale", 1, 30, 0.01),
    _only_in_2_0(_ADAPTIVE_CFG, *_SAMPLING, *_OVERWRITE),
    Input(
        "base_model",
        "choice",
        ("Base Model (SDXL only)", "SDXL Base Model", "Base Model"),
        never=("None",),
    ),
    Input("refiner_model", "choice", ("Refiner (SDXL or SD 1.5)", "SDXL Refiner", "Refiner")),
    _number("refiner_switch", "Refiner Switch At", 0.1, 1, 0.0001),
    _LORA,
    _flag("input_image_checkbox", "Input Image"),
    Input("current_tab", "text", ("",), value="uov"),
    Input("uov_method", "choice", ("Upscale or Variation:",), choices=_VARY),
    Input("uov_input_image", "image", ("Image", "Drag above image to here")),
    Input(
        "outpaint_selections",
        "choices",
        ("Outpaint Direction", "Outpaint"),
        choices=("Left", "Right", "Top", "Bottom"),
    ),
    Input(
        "inpaint_input_image",
        "image",
        ("Image", "Drag above image to here", "Drag inpaint or outpaint image to here"),
        elem_id="inpaint_canvas",
    ),
    Input(
        "inpaint_additional_prompt",
        "text",
        ("Inpaint Additional Prompt",),
        elem_id="inpaint_additional_prompt",
    ),
    Input("inpaint_mask_image", "image", ("Mask Upload",), elem_id="inpaint_mask_canvas"),
    _flag("disable_preview", "Disable Preview"),
    _flag("disable_intermediate_results", "Disable Intermediate Results", **_NEW),
    _flag("disable_seed_increment", "Disable seed increment", **_NEW),
    _flag("black_out_nsfw", "Black Out NSFW", **_V24),
    *_ADM,
    _ADAPTIVE_CFG,
    _number("clip_skip", "CLIP Skip", 1, 12, 1, **_V24),
    *_SAMPLING,
    _flag("generate_image_grid", "Generate Image Grid for Each Batch", until=(2, 3)),
    Input("vae_name", "choice", ("VAE",), choices=("Default (model)",), **_V24),  # type: ignore[arg-type]
    *_OVERWRITE,
    _flag("mixing_image_prompt_and_vary_upscale", "Mixing Image Prompt and Vary/Upscale"),
    _flag("mixing_image_prompt_and_inpaint", "Mixing Image Prompt and Inpaint"),
    _flag("debugging_cn_preprocessor", "Debug Preprocessors", "Debug Preprocessor of ControlNets"),
    _flag("skipping_cn_preprocessor", "Skip Preprocessors"),
    _number("controlnet_softness", "Softness of ControlNet", *_UNIT, until=(2, 3)),
    _number("canny_low_threshold", "Canny Low Threshold", 1, 255, 1),
    _number("canny_high_threshold", "Canny High Threshold", 1, 255, 1),
    Input("inpaint_engine", "choice", ("Inpaint Engine",), choices=_ENGINES, until=(2, 2)),
    Input(
        "refiner_swap_method",
        "choice",
        ("Refiner swap method",),
        choices=("joint", "separate", "vae"),
    ),
    _number("controlnet_softness", "Softness of ControlNet", *_UNIT, since=(2, 2), sure=(2, 3)),
    _flag("freeu_enabled", "Enabled"),
    _number("freeu_b1", "B1", 0, 2, 0.01),
    _number("freeu_b2", "B2", 0, 2, 0.01),
    _number("freeu_s1", "S1", 0, 4, 0.01),
    _number("freeu_s2", "S2", 0, 4, 0.01),
    _flag("debugging_inpaint_preprocessor", "Debug Inpaint Preprocessing"),
    *_INPAINT,
    _flag("inpaint_mask_upload_checkbox", "Enable Mask Upload", sure=(2, 1, 864), until=(2, 5)),
    _flag("inpaint_advanced_masking_checkbox", "Enable Advanced Masking Features", **_V25),
    _flag("invert_mask_checkbox", "Invert Mask When Generating", "Invert Mask"),
    _ERODE,
    _flag(
        "save_final_enhanced_image_only",
        "Save only final enhanced image",
        optional=True,
        since=(2, 5),
    ),
    _METADATA,
    _IMAGE_PROMPT,
    _flag("debugging_dino", "Debug GroundingDINO", since=(2, 5), sure=(2, 5, 2)),
    _number(
        "dino_erode_or_dilate",
        "GroundingDINO Box Erode or Dilate",
        *(-64, 64, 1),
        since=(2, 5),
        sure=(2, 5, 2),
    ),
    _flag("debugging_enhance_masks_checkbox", "Debug Enhance Masks", since=(2, 5), sure=(2, 5, 2)),
    Input("enhance_input_image", "image", ("Use with Enhance, skips image generation",), **_V25),  # type: ignore[arg-type]
    _flag("enhance_checkbox", "Enhance", **_V25),
    Input(
        "enhance_uov_method",
        "choice",
        ("Upscale or Variation:",),
        choices=_VARY,
        **_V25,  # type: ignore[arg-type]
    ),
    Input(
        "enhance_uov_processing_order",
        "choice",
        ("Order of Processing",),
        choices=("Before First Enhancement", "After Last Enhancement"),
        **_V25,  # type: ignore[arg-type]
    ),
    Input(
        "enhance_uov_prompt_type",
        "choice",
        ("Prompt",),
        choices=("Original Prompts", "Last Filled Enhancement Prompts"),
        **_V25,  # type: ignore[arg-type]
    ),
    _ENHANCE,
)

#: The first and the last of the inputs that 2.1 sets in a call of its own.
ADVANCED = ("disable_preview", "metadata_scheme")
