"""The values of Fooocus's metadata: as JSON, as the plain text of A1111, and as our parameters.

A *raw* mapping has Fooocus's own keys and spellings, such as ``styles: "['Fooocus V2']"``.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from fooocus_nb.errors import MetadataError
from fooocus_nb.fooocus.metadata._lora_records import (
    hashed_loras,
    lora_of_weight,
    recorded_loras,
    weighted_loras,
    written_loras,
)
from fooocus_nb.fooocus.metadata._record_values import NUMBER, number_of, refuse
from fooocus_nb.fooocus.metadata.style_texts import EXPANSION

__all__ = ["dump_a1111", "dump_json", "load_a1111", "load_json", "parameters_of", "raw_of"]

#: Fooocus's key, our parameter and what kind of value it is.
_FIELDS = {
    "prompt": ("prompt", "text"),
    "negative_prompt": ("negative_prompt", "text"),
    "styles": ("style_selections", "list"),
    "performance": ("performance_selection", "text"),
    "sharpness": ("sharpness", "number"),
    "guidance_scale": ("guidance_scale", "number"),
    "base_model": ("base_model", "text"),
    "refiner_model": ("refiner_model", "text"),
    "refiner_switch": ("refiner_switch", "number"),
    "overwrite_switch": ("overwrite_switch", "integer"),
    "refiner_swap_method": ("refiner_swap_method", "text"),
    "adaptive_cfg": ("adaptive_cfg", "number"),
    "clip_skip": ("clip_skip", "integer"),
    "sampler": ("sampler_name", "text"),
    "scheduler": ("scheduler_name", "text"),
    "vae": ("vae_name", "text"),
    "seed": ("image_seed", "seed"),
    "steps": ("overwrite_step", "integer"),
}
#: Keys whose value is a tuple of numbers: one parameter for each.
_TUPLES = {
    "resolution": ("overwrite_width", "overwrite_height"),
    "adm_guidance": ("adm_scaler_positive", "adm_scaler_negative", "adm_scaler_end"),
    "freeu": ("freeu_b1", "freeu_b2", "freeu_s1", "freeu_s2"),
}
_SHORT = {
    "style_selections": "styles",
    "performance_selection": "performance",
    "image_seed": "seed",
    "sampler_name": "sampler",
    "scheduler_name": "scheduler",
    "vae_name": "vae",
    "overwrite_step": "steps",
    "width": "overwrite_width",
    "height": "overwrite_height",
}
#: What the A1111 text, the log page and forks call a key, in lower case, where it is not the key
#: itself.
_LABELS = {
    "base_clip_skip": "clip_skip",
    "base_model_name": "base_model",
    "cfg": "guidance_scale",
    "cfg_mimicking_from_tsnr": "adaptive_cfg",
    "cfg_scale": "guidance_scale",
    "fooocus_v2_expansion": "prompt_expansion",
    "model": "base_model",
    "model_hash": "base_model_hash",
    "negative": "negative_prompt",
    "raw_negative_prompt": "negative_prompt",
    "raw_prompt": "prompt",
    "refiner": "refiner_model",
    "refiner_hash": "refiner_model_hash",
    "refiner_model_name": "refiner_model",
    "refiner_switch_at": "refiner_switch",
    "sampler_name": "sampler",
    "schedule_type": "scheduler",
    "scheduler_name": "scheduler",
    "size": "resolution",
    "style": "styles",
    "switch": "overwrite_switch",
    "vae_name": "vae",
}
#: Rows of MRE's log page that hold several values, by key, and the keys of those.
_SEVERAL = {
    "performance": ("performance", "steps", "overwrite_switch"),
    "sampler_&_scheduler": ("sampler", "scheduler"),
    "cfg_&_clip_skips": ("guidance_scale", "clip_skip"),
}
_MRE_EXPANSION = "fooocus_v2_(prompt_expansion)"
#: The order and the labels of the last line of the A1111 text.
_A1111 = {
    "steps": "Steps",
    "sampler": "Sampler",
    "seed": "Seed",
    "resolution": "Size",
    "guidance_scale": "CFG scale",
    "sharpness": "Sharpness",
    "adm_guidance": "ADM Guidance",
    "base_model": "Model",
    "base_model_hash": "Model hash",
    "performance": "Performance",
    "scheduler": "Scheduler",
    "vae": "VAE",
    "prompt": "Raw prompt",
    "negative_prompt": "Raw negative prompt",
    "styles": "Styles",
    "refiner_model": "Refiner",
    "refiner_model_hash": "Refiner hash",
    "refiner_switch": "Refiner switch",
    "adaptive_cfg": "Adaptive CFG",
    "clip_skip": "Clip skip",
    "overwrite_switch": "Overwrite Switch",
    "refiner_swap_method": "Refiner Swap Method",
    "freeu": "FreeU",
    "lora_hashes": "Lora hashes",
}
#: They stand in the text's own lines, or only repeat what another key says.
_KEYS = {*_FIELDS, *_TUPLES}
_A1111_OWN = {"full_prompt", "full_negative_prompt", "loras", "metadata_scheme", "version"}
_SAMPLERS = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "lms": "LMS",
    "dpm_fast": "DPM fast",
    "dpm_adaptive": "DPM adaptive",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_sde_gpu": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde_gpu": "DPM++ 2M SDE",
    "dpmpp_3m_sde_gpu": "DPM++ 3M SDE",
    "ddim": "DDIM",
    "uni_pc": "UniPC",
    "lcm": "LCM",
}
#: Labels of other programs' samplers, in lower case, beside those of the table above. Fooocus
#: calls both dpmpp_2m_sde and its _gpu twin "DPM++ 2M SDE" (and so on), but the two draw the same
#: image there, from one noise made on the GPU.
_SAMPLER_LABELS = {
    **{label.casefold(): key for key, label in _SAMPLERS.items()},
    "heunpp2": "heunpp2",
    "ddpm": "ddpm",
    "tcd": "tcd",
    "restart": "restart",
}
_KARRAS = " Karras"
#: The schedules of A1111 and Forge as Fooocus calls them, where that is more than the spelling.
_SCHEDULERS = {"ddim": "ddim_uniform", "sgmuniform": "sgm_uniform", "uniform": "normal"}
#: A1111 up to 1.8 and the first Forge wrote the schedule behind the sampler's name.
_SCHEDULE_SUFFIXES = {
    " karras": "karras",
    " exponential": "exponential",
    " sgmuniform": "sgm_uniform",
    " sgm uniform": "sgm_uniform",
    " turbo": "turbo",
    " ays": "align_your_steps",
    " align your steps": "align_your_steps",
}
#: What leaves the schedule to the sampler, each version in its own way.
_NO_SCHEDULE = ("automatic", "")
_NEGATIVE = re.compile(r"^Negative prompt:[^\S\n]?", re.MULTILINE)
_SETTINGS_LINE = re.compile(r"^[^\S\n]*Steps:[^\S\n]*\S", re.MULTILINE)
_SETTING = re.compile(r"\s*(?P<label>[A-Za-z][\w \-/]*):[^\S\n]*")
#: Fooocus writes a label alone where the value is the same word, such as a prompt "Raw prompt".
_SAME = re.compile(r"\s{0,9}(?P<label>[A-Z][\w \-/]{0,80})(?:,|$)")
#: A slot for a LoRA, by the name of our parameter.
_SLOT = re.compile(r"lora_(\d+)_(?:model|weight|enabled)")
_HASH = re.compile(r" \[[0-9a-f]{6,64}\]$")
#: A width and a height, with whatever may follow, such as their ratio.
_SIZE = re.compile(r"\s*(\d{1,9})\s*[x×*]\s*(\d{1,9})")
#: The longest side that the page lets one ask for; what is upscaled may be larger.
_MAX_SIDE = 2048
#: No honest list of styles is longer; `ast` would need a lot of memory for much more.
_MAX_LITERAL = 100_000


# -- text to raw ----------------------------------------------------------------------------


def load_json(text: str) -> dict[str, Any]:
    """Return the mapping that a JSON text holds; a clear error for anything else."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        msg = "The embedded JSON is nested too deeply."
        raise MetadataError(msg) from error
    except ValueError as error:
        msg = f"The embedded parameters are no valid JSON: {error}."
        raise MetadataError(msg) from error
    if not isinstance(value, dict):
        msg = f"The embedded JSON is no object but {type(value).__name__}."
        raise MetadataError(msg)
    # A key's own name counts more than a label that means the same.
    own = {name: entry for name, entry in value.items() if _key(name) == name}
    return _spread({**{_key(name): entry for name, entry in value.items()}, **own})


def _spread(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a raw mapping with the values that share a row apart."""
    for row, keys in _SEVERAL.items():
        parts = _literal(raw[row]) if str(raw.get(row, ""))[:1] == "(" else None
        if isinstance(parts, tuple):
            raw |= zip(keys, parts, strict=False)
    if raw.get(_MRE_EXPANSION):
        raw["prompt_expansion"] = True
    return raw


def _no_constant(name: str) -> NoReturn:
    msg = f"{name} is no number"
    raise ValueError(msg)


def _key(label: str) -> str:
    if lora_of_weight(label) is not None:
        return label  # it holds a file's name
    key = re.sub(r"[\s\-/]+", "_", label.strip().casefold())
    return _LABELS.get(key, key)


def load_a1111(text: str) -> dict[str, Any]:
    """Return the mapping that the plain text of the A1111 scheme holds."""
    text = text.replace("\r\n", "\n")
    # The last such line counts: a prompt may have one, too. Lines after it, such as "Template:",
    # are another program's notes.
    line = None
    for line in _SETTINGS_LINE.finditer(text):  # noqa: B007
        pass
    if line is None:
        msg = "The embedded text has no line 'Steps: ...', so it is not of the scheme a1111."
        raise MetadataError(msg)
    settings = text[line.start() :].partition("\n")[0]
    raw: dict[str, Any] = {}
    for label, value in _settings(settings):
        raw.setdefault(_key(label), value)
    head = text[: line.start()].removesuffix("\n")
    parted = _NEGATIVE.search(head)
    positive = head[: parted.start()].removesuffix("\n") if parted else head
    negative = head[parted.end() :] if parted else ""
    raw.setdefault("prompt", positive)
    raw.setdefault("negative_prompt", negative)
    if positive:
        raw["full_prompt"] = positive
    if negative:
        raw["full_negative_prompt"] = negative
    _name_sampler(raw)
    if "refiner_model" in raw:
        raw["refiner_model"] = _HASH.sub("", str(raw["refiner_model"]))
    if "lora_weights" in raw:
        raw["loras"] = weighted_loras(str(raw.pop("lora_weights")))
    elif loras := hashed_loras(str(raw.get("lora_hashes", ""))):
        raw["loras"] = loras
    return raw


def _settings(line: str) -> Iterable[tuple[str, str]]:
    """Yield label and value from ``Steps: 3, ADM Guidance: "(1.5, 0.8)", ...``."""
    at = 0
    while 0 <= at < len(line):
        match = _SETTING.match(line, at)
        if match is None:
            same = _SAME.match(line, at)
            if same is not None and _key(same["label"]) in _KEYS:
                yield same["label"], same["label"]
            # Else it is a part of an unquoted list, as Civitai writes.
            at = line.find(",", at)
        else:
            value, at = _setting_value(line, match["label"], match.end())
            yield match["label"], value
        at = at + 1 if at >= 0 else -1


def _setting_value(line: str, label: str, at: int) -> tuple[str, int]:
    """Return the value that begins somewhere, and where the comma after it is, or -1."""
    end = line.find(",", at)
    plain = line[at : end if end >= 0 else None].strip()
    if not line.startswith(('"', "[", "{"), at):
        return plain, end
    try:
        value, after = json.JSONDecoder().raw_decode(line, at)
    except (ValueError, RecursionError) as error:
        if end < 0 and line[at] == '"':
            msg = f"The value of {label!r} is a broken quotation."
            raise MetadataError(msg) from error
        return plain, end
    if not isinstance(value, str):  # a list of Civitai's, with commas and labels of its own
        return line[at:after], line.find(",", after)
    # Fooocus quotes for a comma, a colon and a new line alone: else the quotes are the text's own.
    if re.match(r"\s*(,|$)", line[after : after + 100]) and _quoted(value) != value:
        return value, line.find(",", after)
    return plain, end


def _name_sampler(raw: dict[str, Any]) -> None:
    """Call sampler and schedule what Fooocus calls them."""
    schedule = str(raw.get("scheduler", "")).strip()
    if schedule.casefold() in _NO_SCHEDULE:
        raw.pop("scheduler", None)
    else:
        key = schedule.casefold().replace(" ", "_")
        raw["scheduler"] = _SCHEDULERS.get(key, key)
    if "sampler" not in raw:
        return
    label = str(raw["sampler"])
    for suffix, name in _SCHEDULE_SUFFIXES.items():
        bare = label[: -len(suffix)]
        if label.casefold().endswith(suffix) and bare.casefold() in _SAMPLER_LABELS:
            label = bare
            raw.setdefault("scheduler", name)
    raw["sampler"] = _SAMPLER_LABELS.get(label.casefold(), label)


# -- raw to text ----------------------------------------------------------------------------


def dump_json(raw: Mapping[str, Any]) -> str:
    """Return the JSON text of a raw mapping, as Fooocus writes it."""
    try:
        return json.dumps(dict(raw), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"These parameters cannot be written as JSON: {error}."
        raise MetadataError(msg) from error


def dump_a1111(raw: Mapping[str, Any]) -> str:
    """Return the plain text of the A1111 scheme of a raw mapping."""
    positive = _joined(raw.get("full_prompt", raw.get("prompt", "")))
    negative = _joined(raw.get("full_negative_prompt", raw.get("negative_prompt", "")))
    values = {"steps": 0, **raw}
    if "sampler" in raw:
        values["sampler"] = _sampler_label(str(raw["sampler"]), raw.get("scheduler"))
    if "resolution" in raw:
        values["resolution"] = "x".join(NUMBER.findall(str(raw["resolution"])))
    parts = [(label, values[key]) for key, label in _A1111.items() if key in values]
    parts += [
        (key, value)
        for key, value in raw.items()
        if key not in _A1111 and key not in _A1111_OWN and _SETTING.fullmatch(f"{key}:")
        if not re.fullmatch(r"lora(_combined)?_\d+", key)  # they are among the weights
    ]
    loras = written_loras(raw)
    if loras is not None:  # that there were none is written, too
        parts.append(("Lora weights", ", ".join(f"{name}: {weight}" for name, weight in loras)))
    if "version" in raw:
        parts.append(("Version", raw["version"]))
    settings = ", ".join(f"{label}: {_quoted(value)}" for label, value in parts)
    negative_line = [f"Negative prompt: {negative}"] if negative else []
    return "\n".join([*filter(None, [positive]), *negative_line, settings])


def _joined(value: object) -> str:
    if isinstance(value, str):
        return value
    return ", ".join(str(part) for part in value) if isinstance(value, Iterable) else str(value)


def _sampler_label(name: str, scheduler: object) -> str:
    label = _SAMPLERS.get(name)
    if label is None:  # also those whose label says too little to find the way back
        return name
    return f"{label}{_KARRAS}" if scheduler == "karras" else label


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, allow_nan=False, default=str)
    if re.search(r'[,:"\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]', text) or text != text.strip():
        return json.dumps(text, ensure_ascii=False)
    return text


# -- raw to parameters and back -------------------------------------------------------------


def parameters_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a raw mapping says as parameters that a generation accepts."""
    found: dict[str, Any] = {}
    for key, (name, kind) in _FIELDS.items():
        if key in raw and raw[key] is not None:
            found[name] = _typed(key, kind, raw[key])
    for key, names in _TUPLES.items():
        numbers = _sides(raw) if key == "resolution" else _numbers(raw.get(key))
        if not numbers and (raw.get(key) is None or key == "freeu"):
            continue
        if key == "adm_guidance" and len(numbers) == 2:
            names = names[:2]  # before 2.1.799 there were no more
        if len(numbers) != len(names):
            msg = f"The embedded value of {key!r} is not {len(names)} numbers."
            raise MetadataError(msg)
        if key != "resolution" or max(numbers) <= _MAX_SIDE:
            found.update(zip(names, numbers, strict=True))
    if "clip_skip" in found:  # some count it from the end, as -2
        found["clip_skip"] = abs(found["clip_skip"])
    if raw.get("prompt_expansion") is True and EXPANSION not in found.get("style_selections", ()):
        found["style_selections"] = [EXPANSION, *found.get("style_selections", ())]
    if "freeu_b1" in found or raw.get("freeu") is not None:
        found["freeu_enabled"] = "freeu_b1" in found or raw["freeu"] is True
    loras = recorded_loras(raw)
    if loras is not None:
        found["loras"] = loras
    return found


def _sides(raw: Mapping[str, Any]) -> list[int | float]:
    """Return width and height, which forks write singly."""
    if raw.get("resolution") is None and "width" in raw and "height" in raw:
        return [*_numbers(raw["width"]), *_numbers(raw["height"])]
    if size := _SIZE.match(str(raw.get("resolution"))[:200]):
        return [int(size[1]), int(size[2])]
    return _numbers(raw.get("resolution"))


def raw_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the raw mapping of parameters; raw keys and unknown ones are kept as they are."""
    values = {_SHORT.get(name, name): value for name, value in parameters.items()}
    aspect = NUMBER.findall(str(values.pop("aspect_ratios_selection", "")))[:2]
    aspect = NUMBER.findall(str(values.pop("aspect_ratio", "")))[:2] or aspect
    raw: dict[str, Any] = {}
    for key, names in _TUPLES.items():
        if all(name in values for name in names):
            numbers = [values.pop(name) for name in names]
            if key != "resolution" or all(number != -1 for number in numbers):
                raw[key] = f"({', '.join(str(number) for number in numbers)})"
    if len(aspect) == 2:
        raw.setdefault("resolution", f"({aspect[0]}, {aspect[1]})")
    if not values.pop("freeu_enabled", True):
        raw.pop("freeu", None)
    if isinstance(values.get("styles"), list | tuple):
        values["styles"] = str([str(style) for style in values["styles"]])
    if "seed" in values:
        values["seed"] = str(values["seed"])
    values = _with_slots_listed(values)
    if isinstance(values.get("loras"), list | tuple):
        values["loras"] = [
            [lora, 1.0] if isinstance(lora, str) else list(lora) for lora in values["loras"]
        ]
    return {**raw, **values}


def _with_slots_listed(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with a list of LoRAs in the place of the page's slots."""
    slots = {int(found[1]) for name in values if (found := _SLOT.fullmatch(name))}
    if not slots:
        return values
    loras = [
        [values.get(f"lora_{slot}_model"), values.get(f"lora_{slot}_weight", 1.0)]
        for slot in sorted(slots)
        if values.get(f"lora_{slot}_enabled", True)
    ]
    used = [lora for lora in loras if lora[0] not in (None, "None")]
    others = {name: value for name, value in values.items() if not _SLOT.fullmatch(name)}
    return {"loras": used, **others}


def _typed(key: str, kind: str, value: object) -> str | int | float | list[str]:
    if kind == "list":
        return _list_of(key, value)
    if kind == "text":
        return value if isinstance(value, str) else refuse(key, value)
    return number_of(key, kind, value)


def _list_of(key: str, value: object) -> list[str]:
    if value in ("", "None"):
        return []
    if isinstance(value, str):
        value = _literal(value)
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return list(value)
    return refuse(key, value)


def _literal(text: object) -> object:
    """Return the Python value that a text stands for; None for anything else."""
    if not isinstance(text, str) or len(text) > _MAX_LITERAL:
        return None
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _numbers(value: object) -> list[int | float]:
    if value is None:
        return []
    if isinstance(value, list | tuple):
        value = ", ".join(str(part) for part in value)
    texts = NUMBER.findall(str(value)[:200])
    numbers = [float(text) for text in texts if len(text) < 20]
    return [
        int(number) if "." not in text and "e" not in text.lower() else number
        for text, number in zip(texts, numbers, strict=False)
    ]
