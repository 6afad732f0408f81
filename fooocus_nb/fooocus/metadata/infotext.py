"""The values of Fooocus's metadata: as JSON, as the plain text of A1111, and as our parameters.

A *raw* mapping has Fooocus's own keys and spellings, such as ``styles: "['Fooocus V2']"``.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from fooocus_nb.errors import MetadataError

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
#: What the A1111 text and the log page call a key, in lower case, where it is not the key itself.
_LABELS = {
    "cfg_scale": "guidance_scale",
    "fooocus_v2_expansion": "prompt_expansion",
    "model": "base_model",
    "model_hash": "base_model_hash",
    "raw_negative_prompt": "negative_prompt",
    "raw_prompt": "prompt",
    "refiner": "refiner_model",
    "size": "resolution",
    "style": "styles",
}
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
    "refiner_switch": "Refiner switch",
    "clip_skip": "Clip skip",
}
#: They stand in the text's own lines, or only repeat what another key says.
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
_KARRAS = " Karras"
_LORA_KEY = re.compile(r"^lora(?:_combined)?_\d+$")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d{1,3})?")
_NEGATIVE = "\nNegative prompt: "
_SETTING = re.compile(r"\s*(?P<label>[A-Za-z][\w \-/]*):\s*")
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
    return {_key(name): entry for name, entry in value.items()}


def _no_constant(name: str) -> NoReturn:
    msg = f"{name} is no number"
    raise ValueError(msg)


def _key(label: str) -> str:
    key = re.sub(r"[\s\-/]+", "_", label.strip().casefold())
    return _LABELS.get(key, key)


def load_a1111(text: str) -> dict[str, Any]:
    """Return the mapping that the plain text of the A1111 scheme holds."""
    head, newline, settings = text.rpartition("\n")
    if not newline:
        head, settings = "", text
    if not re.match(r"\s*Steps: ", settings):
        msg = "The embedded text has no line 'Steps: ...', so it is not of the scheme a1111."
        raise MetadataError(msg)
    raw: dict[str, Any] = {_key(label): value for label, value in _settings(settings)}
    positive, _, negative = head.partition(_NEGATIVE)
    raw.setdefault("prompt", positive)
    raw.setdefault("negative_prompt", negative)
    if positive:
        raw["full_prompt"] = positive
    if negative:
        raw["full_negative_prompt"] = negative
    if "sampler" in raw:
        raw["sampler"] = _sampler_of(str(raw["sampler"]))
    if "lora_weights" in raw:
        raw["loras"] = _loras_in(str(raw.pop("lora_weights")))
    return raw


def _settings(line: str) -> Iterable[tuple[str, str]]:
    """Yield label and value from ``Steps: 3, ADM Guidance: "(1.5, 0.8)", ...``."""
    decoder = json.JSONDecoder()
    at = 0
    while match := _SETTING.match(line, at):
        at = match.end()
        if line.startswith('"', at):
            try:
                value, at = decoder.raw_decode(line, at)
            except ValueError as error:
                msg = f"The value of {match['label']!r} is a broken quotation."
                raise MetadataError(msg) from error
            at = line.find(",", at)
        else:
            end = line.find(",", at)
            value, at = line[at : end if end >= 0 else None].strip(), end
        yield match["label"], value
        if at < 0:
            return
        at += 1


def _sampler_of(name: str) -> str:
    plain = name.removesuffix(_KARRAS)
    return next((key for key, label in _SAMPLERS.items() if label == plain), name)


def _loras_in(text: str) -> list[tuple[str, float]]:
    """Return the LoRAs of ``name: 0.5, other name: 1.0``; a name may hold commas and colons."""
    found: list[tuple[str, float]] = []
    pending: list[str] = []
    for part in text.split(", "):
        name, colon, weight = part.rpartition(":")
        if colon and len(weight) < 40 and _NUMBER.fullmatch(weight.strip()):
            found.append((", ".join([*pending, name]).strip(), float(weight)))
            pending = []
        else:
            pending.append(part)
    if any(part.strip() for part in pending):
        _refuse("loras", text)
    return found


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
        values["resolution"] = "x".join(_NUMBER.findall(str(raw["resolution"])))
    parts = [(label, values[key]) for key, label in _A1111.items() if key in values]
    parts += [
        (key, value)
        for key, value in raw.items()
        if key not in _A1111 and key not in _A1111_OWN and _SETTING.fullmatch(f"{key}:")
    ]
    loras = _loras(raw)
    if loras:
        parts.append(("Lora weights", ", ".join(f"{name}: {weight}" for name, weight in loras)))
    if "version" in raw:
        parts.append(("Version", raw["version"]))
    settings = ", ".join(f"{label}: {_quoted(value)}" for label, value in parts)
    return f"{positive}{_NEGATIVE}{negative}\n{settings}"


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
        if raw.get(key) is None:
            continue
        numbers = _numbers(raw[key])
        if len(numbers) != len(names):
            msg = f"The embedded value of {key!r} is not {len(names)} numbers."
            raise MetadataError(msg)
        if key != "resolution" or max(numbers) <= _MAX_SIDE:
            found.update(zip(names, numbers, strict=True))
    if "freeu_b1" in found:
        found["freeu_enabled"] = True
    if loras := _loras(raw):
        found["loras"] = loras
    return found


def raw_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the raw mapping of parameters; raw keys and unknown ones are kept as they are."""
    values = {_SHORT.get(name, name): value for name, value in parameters.items()}
    aspect = _NUMBER.findall(str(values.pop("aspect_ratios_selection", "")))[:2]
    aspect = _NUMBER.findall(str(values.pop("aspect_ratio", "")))[:2] or aspect
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
    if isinstance(values.get("styles"), Sequence) and not isinstance(values["styles"], str):
        values["styles"] = str([str(style) for style in values["styles"]])
    if "seed" in values:
        values["seed"] = str(values["seed"])
    if "loras" in values:
        values["loras"] = [list(lora) for lora in values["loras"]]
    return {**raw, **values}


def _typed(key: str, kind: str, value: object) -> str | int | float | list[str]:
    if kind == "list":
        return _list_of(key, value)
    if kind == "text":
        return value if isinstance(value, str) else _refuse(key, value)
    return _number_of(key, kind, value)


def _number_of(key: str, kind: str, value: object) -> str | int | float:
    if not isinstance(value, str | int | float):
        _refuse(key, value)
    text = str(value).strip()
    if isinstance(value, bool) or len(text) > 40 or not _NUMBER.fullmatch(text):
        _refuse(key, value)
    number = float(text)
    if not math.isfinite(number) or (kind != "number" and not re.fullmatch(r"-?\d+(\.0+)?", text)):
        _refuse(key, value)
    if kind == "number":
        return number
    whole = text.partition(".")[0]
    return whole if kind == "seed" else int(whole)


def _refuse(key: str, value: object) -> NoReturn:
    # What is nested may be nested too deeply to be shown.
    shown = repr(value)[:80] if isinstance(value, str | int | float) else type(value).__name__
    msg = f"The embedded value of {key!r} makes no sense: {shown}."
    raise MetadataError(msg)


def _list_of(key: str, value: object) -> list[str]:
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value.strip()) if len(value) <= _MAX_LITERAL else None
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            value = None
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return list(value)
    return _refuse(key, value)


def _numbers(value: object) -> list[int | float]:
    if isinstance(value, list | tuple):
        value = ", ".join(str(part) for part in value)
    texts = _NUMBER.findall(str(value)[:200])
    numbers = [float(text) for text in texts if len(text) < 20]
    return [
        int(number) if "." not in text and "e" not in text.lower() else number
        for text, number in zip(texts, numbers, strict=False)
    ]


def _loras(raw: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return name and weight of each LoRA, from whichever way they were written."""
    found: list[tuple[str, float]] = []
    listed = raw.get("loras") or []
    for entry in listed if isinstance(listed, list | tuple) else _refuse("loras", listed):
        if not isinstance(entry, list | tuple) or len(entry) < 2 or not isinstance(entry[0], str):
            _refuse("loras", entry)
        found.append((entry[0], float(_number_of("loras", "number", entry[1]))))
    for key, value in raw.items():
        if _LORA_KEY.match(key) and isinstance(value, str):
            found += _loras_in(value)
    return found
