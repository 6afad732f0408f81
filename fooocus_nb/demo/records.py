"""What the demo engine writes about an image, as Fooocus 2.5.5 does: in its log and in the file."""

from __future__ import annotations

import ast
import hashlib
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from fooocus_nb.demo.inputs import RANDOM_STYLE
from fooocus_nb.demo.page import STYLES, VERSION
from fooocus_nb.fooocus.metadata import encode_metadata
from fooocus_nb.fooocus.metadata.style_texts import EXPANSION, StyleText, find_styles, full_prompts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fooocus_nb.demo.inputs import Task
    from fooocus_nb.fooocus.metadata import Metadata

__all__ = ["embedded_text", "record", "styles_for_page"]

#: What each hurried performance uses whatever is chosen: its own LoRA and that one's weight, the
#: sampler and the scheduler.
_HURRIED = {
    "Extreme Speed": ("sdxl_lcm_lora.safetensors", 1.0, "lcm", "lcm"),
    "Lightning": ("sdxl_lightning_4step_lora.safetensors", 1.0, "euler", "sgm_uniform"),
    "Hyper-SD": ("sdxl_hyper_sd_4step_lora.safetensors", 0.8, "dpmpp_sde_gpu", "karras"),
}
#: The default of adaptive_cfg, which is not written.
_ADAPTIVE_CFG = 7.0
#: In plain text, Fooocus calls both of a pair the same.
_TWINS = {"dpmpp_sde": "dpmpp_sde_gpu", "dpmpp_2m_sde": "dpmpp_2m_sde_gpu"}
#: What the plain text has no place for.
_JSON_ONLY = ("styles", "refiner_switch", "prompt_expansion", "metadata_scheme", "loras")


def _style_text(name: str) -> StyleText:
    if name.endswith(("Enhance", "Negative")):
        return StyleText("", f"nothing for {name}, flat")
    if name.endswith(("Sharp", "Art")):
        return StyleText(f"lines of {name}", f"unlike {name}")
    return StyleText(f"{{prompt}}, drawn as {name}, with care")


STYLE_TEXTS = {name: _style_text(name) for name in STYLES if name not in (EXPANSION, RANDOM_STYLE)}


def record(task: Task, index: int, size: tuple[int, int]) -> dict[str, Any]:
    """Return how an image of a size is made, by the keys of Fooocus's log."""
    values, prompt = task.values, task.prompt_of(index)
    hurried = _HURRIED.get(task.performance.value)
    refiner = "None" if hurried else str(values["refiner"])
    adm = [float(values[f"adm_{name}"]) for name in ("positive", "negative", "end")]
    styles = [name for name in task.styles_of(index) if name != EXPANSION]
    expanded = EXPANSION in task.styles and bool(prompt.strip())  # an empty one never is
    if expanded:
        styles.insert(0, EXPANSION)
    found: dict[str, Any] = {
        "prompt": prompt,
        "negative_prompt": values["negative_prompt"],
        "prompt_expansion": task.expansion(index) if expanded else "",
        "styles": str(styles),
        "performance": task.performance.value,
        "steps": task.steps,
        "resolution": str(size),
        "guidance_scale": task.guidance,
        "sharpness": task.sharpness,
        "adm_guidance": str((1.0, 1.0, 0.0) if hurried else tuple(adm)),
        "base_model": str(values["base_model"]),
        "refiner_model": refiner,
        "refiner_switch": 1.0 if hurried else float(values["refiner_switch"]),
    }
    if refiner != "None":
        if int(values["overwrite_switch"]) > 0:
            found["overwrite_switch"] = int(values["overwrite_switch"])
        if values["swap_method"] != "joint":
            found["refiner_swap_method"] = values["swap_method"]
    adaptive = 1.0 if hurried else float(values["adaptive_cfg"])
    if adaptive != _ADAPTIVE_CFG:
        found["adaptive_cfg"] = adaptive
    if int(values["clip_skip"]) > 1:
        found["clip_skip"] = int(values["clip_skip"])
    found["sampler"] = hurried[2] if hurried else values["sampler"]
    found["scheduler"] = hurried[3] if hurried else values["scheduler"]
    found["vae"] = values["vae"]
    found["seed"] = str(task.seed(index))
    if values["freeu"]:
        found["freeu"] = str(
            tuple(float(values[f"freeu_{key}"]) for key in ("b1", "b2", "s1", "s2"))
        )
    loras = [*task.loras, *([hurried[:2]] if hurried else [])]
    for number, (name, weight) in enumerate(loras, 1):
        found[f"lora_combined_{number}"] = f"{name} : {weight}"
    found["metadata_scheme"] = task.scheme or False
    found["version"] = f"Fooocus v{VERSION}"
    return found


def embedded_text(logged: Mapping[str, Any], scheme: str) -> str:
    """Return the text that goes into the file of an image of which the log says this."""
    found = {**logged, "metadata_scheme": scheme}
    loras: list[tuple[str, float, str]] = []
    for key in logged:
        if key.startswith("lora_combined_"):
            name, _, weight = str(logged[key]).rpartition(" : ")
            stem = PurePath(name).stem
            loras.append((stem, float(weight), _hash(name)))
            found[key] = f"{stem} : {weight}"
    styles = ast.literal_eval(str(logged["styles"]))
    positive, negative = full_prompts(
        STYLE_TEXTS, styles, str(logged["prompt"]), str(logged["negative_prompt"])
    )
    found["full_prompt"] = [*positive, *filter(None, [str(logged["prompt_expansion"])])]
    found["full_negative_prompt"] = negative
    found["loras"] = loras
    for kind in ("base_model", "refiner_model"):
        name = str(logged[kind])
        if name != "None":
            found[kind], found[f"{kind}_hash"] = PurePath(name).stem, _hash(name)
    found["vae"] = PurePath(str(logged["vae"])).stem
    if scheme == "a1111":
        if loras:
            found["lora_hashes"] = ", ".join(f"{name}: {code}" for name, _, code in loras)
        found["sampler"] = _TWINS.get(found["sampler"], found["sampler"])
        left_out = {*_JSON_ONLY, *(["refiner_model"] if found["refiner_model"] == "None" else [])}
        found = {
            key: value
            for key, value in found.items()
            if key not in left_out or (key == "loras" and value)
        }
    return encode_metadata(found, scheme)


def styles_for_page(found: Metadata) -> list[str]:
    """Return the styles that the page chooses for what an image's file says."""
    told = found.parameters.get("styles")
    return list(told or find_styles(found.raw, STYLE_TEXTS, STYLES) or [])


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:10]
