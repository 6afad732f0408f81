"""Which parameters and flags can change the pixels of an image, given all the others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fooocus_nb.fooocus.performance import mode_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["flag_groups", "flag_matters", "gpu_sampler", "parameter_matters", "rounds_otherwise"]

#: What is shown or kept beside the pixels.
_BESIDE = frozenset(
    {
        "disable_intermediate_results",
        "disable_preview",
        "generate_image_grid",
        "image_number",
        "metadata_scheme",
        "save_metadata_to_images",
        "save_final_enhanced_image_only",
    }
)
#: The sampler that a performance uses whatever is chosen, and that draws its noise on the GPU.
_OWN_SAMPLERS = {"hypersd": "dpmpp_sde_gpu", "extremespeed": "lcm", "lightning": "euler"}
#: Flags that choose how numbers are rounded: the same composition comes out, a little different.
_ROUNDING = re.compile(
    r"--(?:attention-.*|all-in-.*|unet-in-.*|vae-in-.*|clip-in-.*|disable-attention-upcast"
    r"|disable-xformers|always-(?:cpu|gpu|high-vram|normal-vram|low-vram|no-vram)"
    r"|pytorch-deterministic|directml|gpu-device-id|disable-ipex-hijack)"
)
#: Flags of Fooocus that have nothing to do with how an image is made.
_OUTSIDE = re.compile(
    r"--(?:port|listen|share|theme|language|in-browser|disable-in-browser|output-path|temp-path"
    r"|cache-path|external-working-path|web-upload-size|hf-mirror|preview-option|debug-mode"
    r"|disable-(?:image-log|analytics|metadata|server-log|server-info|preset-selection"
    r"|preset-download|header-check|enhance-output-sorting)|multi-user|rebuild-hash-cache"
    r"|enable-auto-describe-image|always-download-new-model|is-windows-embedded-python"
    r"|async-cuda-allocation|disable-async-cuda-allocation|always-offload-from-vram"
    r"|disable-offload-from-vram|demo-speed|preset)"
)
_LORA = re.compile(r"lora_(\d+)_(enabled|model|weight)")
_CONTROL = re.compile(r"ip_(\d+)_")
_ENHANCE = re.compile(r"enhance_(\d+)_")
_INPAINT = re.compile(
    r"(?:inpaint|debugging_inpaint|debugging_dino|dino_|invert_mask|outpaint|example_inpaint)"
)
_CANNY = re.compile(r"(?:canny_|controlnet_|skipping_cn|debugging_cn)")
_VARY = re.compile(r"(?:uov_|overwrite_(?:vary|upscale)_strength)")


def parameter_matters(name: str, values: Mapping[str, Any]) -> bool:
    """Whether a parameter can change the pixels, given the values of all.

    Parameters
    ----------
    name : str
        Its canonical name.
    values : mapping
        All values by canonical name.

    Returns
    -------
    bool
        False only where it is known to be without effect; what a fork adds can matter.
    """
    if name in _BESIDE:
        return False
    if lora := _LORA.fullmatch(name):
        slot = f"lora_{lora[1]}_"
        # Switched off on one side, it is the switch that matters.
        return lora[2] == "enabled" or bool(values.get(f"{slot}enabled", True))
    if name.startswith("freeu_") and name != "freeu_enabled":
        return bool(values.get("freeu_enabled"))
    if name.startswith("refiner_swap") or name in ("refiner_switch", "overwrite_switch"):
        return values.get("refiner_model") not in (None, "", "None")
    if (enhance := _ENHANCE.match(name)) and not name.endswith("_enabled"):
        return bool(values.get("enhance_checkbox") and values.get(f"enhance_{enhance[1]}_enabled"))
    if name.startswith(("enhance_", "debugging_enhance")) and name != "enhance_checkbox":
        return bool(values.get("enhance_checkbox"))
    with_images = bool(values.get("input_image_checkbox", True))
    tab = values.get("current_tab")
    if name == "current_tab":
        return with_images
    if control := _CONTROL.match(name):
        return with_images and values.get(f"ip_{control[1]}_image") is not None
    if _CANNY.match(name) or name.startswith("mixing_"):
        return with_images and tab == "ip"
    if _INPAINT.match(name):
        mixed = values.get("mixing_image_prompt_and_inpaint")
        return with_images and (tab == "inpaint" or bool(mixed))
    if _VARY.match(name):
        mixed = values.get("mixing_image_prompt_and_vary_upscale")
        return with_images and (tab == "uov" or bool(mixed))
    return True


def gpu_sampler(values: Mapping[str, Any]) -> str | None:
    """Return the sampler where it draws its noise on the GPU, else None.

    The generator of a GPU gives other numbers on another model of GPU; that of the CPU does not.
    """
    name = _OWN_SAMPLERS.get(mode_key(values.get("performance_selection"))) or str(
        values.get("sampler_name") or ""
    )
    return name if name.endswith("_gpu") else None


def flag_groups(flags: Iterable[Any]) -> dict[str, str]:
    """Return flags with their values, by name: ``--port 7865`` and ``--port=7865`` are one."""
    found: dict[str, str] = {}
    for name, value in _split(map(str, flags)):
        found[name] = f"{found[name]} {value}".strip() if name in found else value
    return found


def _split(words: Iterator[str]) -> Iterator[tuple[str, str]]:
    name: str | None = None
    values: list[str] = []
    for word in words:
        if not word.startswith("--"):
            values.append(word)
            continue
        if name is not None:
            yield name, " ".join(values)
        name, equals, value = word.partition("=")
        values = [value] if equals else []
    if name is not None:
        yield name, " ".join(values)


def flag_matters(name: str) -> bool:
    """Whether a flag can change pixels; one that is not known can."""
    return _OUTSIDE.fullmatch(name) is None


def rounds_otherwise(name: str) -> bool:
    """Whether a flag changes how numbers are rounded, and so only little."""
    return _ROUNDING.fullmatch(name) is not None
