"""What a record leaves out: filled in where Fooocus's silence says it, else named."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fooocus_nb.fooocus.metadata._record_values import NUMBER
from fooocus_nb.fooocus.schema.named_values import INPUT_IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["PERFORMANCE_STEPS", "complete"]

PERFORMANCE_STEPS = {
    "Quality": 60,
    "Speed": 30,
    "Extreme Speed": 8,
    "Lightning": 4,
    "Hyper-SD": 4,
}
#: The steps of an upscale, where they differ.
_UPSCALE_STEPS = {"Quality": 36, "Speed": 18}
#: Pixels: what is drawn from text has about a million, an upscale by 1.5 more than twice that.
_LARGEST_DRAWN = 1_500_000
_VERSION = re.compile(
    r"(?P<fooocus>Fooocus )?v(?P<major>\d{1,4})\.(?P<minor>\d{1,4})(\.(?P<patch>\d{1,4}))?"
)
#: Of Fooocus before it, no record has a version; a smaller number is that of a fork.
_FIRST = (2, 0, 0)
#: The first version that writes all that differs from the defaults.
_FULL = (2, 2, 0)
#: The first version whose log page has the steps where they aren't the performance mode's own.
_STEPS = (2, 2, 1)
#: The first version with a CLIP skip; from then on 1 is what isn't written.
_CLIP_SKIP = (2, 4, 0)
#: What every record of Fooocus's own has.
_ALWAYS = (
    "prompt",
    "negative_prompt",
    "style_selections",
    "performance_selection",
    "sharpness",
    "guidance_scale",
    "adm_scaler_positive",
    "adm_scaler_negative",
    "adm_scaler_end",
    "base_model",
    "sampler_name",
    "scheduler_name",
    "image_seed",
    "overwrite_width",
    "overwrite_height",
)
#: What the versions before 2.2 never wrote, and what they used of it beside a refiner only; the
#: later ones leave a refiner's out where it is this.
_UNWRITTEN = ("adaptive_cfg", "freeu_enabled")
_DEFAULTS_OF_REFINER = {"overwrite_switch": -1, "refiner_swap_method": "joint"}
#: Keys by which Fooocus's forks and others tell of an image that the generation began with.
_IMAGE_KEY = re.compile(
    r"upscale.*|uov_(method|input).*|.*input_image.*|img2img|image_prompts?(_.*)?"
    r"|control(net|_lora).*|(in|out)paint(_(mode|image|input|mask).*)?|mask(_.*)?"
    r"|denois(e|ing_strength)|revision|image_2_image|canny|depth"
)
_OFF = ("", "none", "false", "disabled", "0", "0.0", "1", "1.0")
#: A question mark that stands where a letter must have been: before a letter, before another
#: question mark, before a comma.
_LOST_LETTER = re.compile(r"\?(?=[\w?,])")
_CIVITAI_LORA = re.compile(r'"type":\s{0,9}"(lora|locon|lycoris|dora)"', re.IGNORECASE)
#: What the prompts are called that may have lost letters.
_PROMPTS = ("prompt", "negative_prompt")


@dataclass
class _Record:
    raw: Mapping[str, Any]
    values: dict[str, Any]
    missing: list[str] = field(default_factory=list)

    def name(self, *names: str) -> None:
        self.missing += [name for name in dict.fromkeys(names) if name not in self.missing]

    @property
    def has_refiner(self) -> bool:
        return self.values.get("refiner_model", "None") not in ("", "None")


def complete(
    raw: Mapping[str, Any],
    scheme: str,
    values: Mapping[str, Any],
    *,
    version: tuple[int, int, int] | None = None,
    ascii_only: bool = False,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the values with what Fooocus leaves out because it is off, and what is missing.

    A text that was `ascii_only` may have question marks in the place of other letters.
    """
    record = _Record(raw, dict(values))
    version = version or _version(record, scheme)
    if version is not None:
        _fill_in(record, version, scheme)
        record.name(*(name for name in _ALWAYS if name not in record.values))
        _name_unwritten(record, version)
        if ascii_only:
            record.name(*_prompts_with_lost_letters(record))
    if scheme == "a1111":
        # It is plain A1111, too, which has no styles and may leave the schedule to the sampler.
        if "style_selections" not in record.values:
            record.name("style_selections")
        if "sampler_name" in record.values and "scheduler_name" not in record.values:
            record.name("scheduler_name")
    if raw.get("freeu") and "freeu_b1" not in record.values and record.values.get("freeu_enabled"):
        record.name("freeu_b1", "freeu_b2", "freeu_s1", "freeu_s2")
    record.name(*_models_elsewhere(record))
    if any(_tells_of_image(record)):
        record.name(INPUT_IMAGE)
        # The size is that of what came out, not of what was asked for.
        record.missing = [name for name in record.missing if not name.startswith("overwrite_w")]
        record.missing = [name for name in record.missing if not name.startswith("overwrite_h")]
    return record.values, tuple(record.missing)


def _version(record: _Record, scheme: str) -> tuple[int, int, int] | None:
    """Return the version of Fooocus that wrote a record; None for somebody else's."""
    found = _VERSION.match(str(record.raw.get("version", ""))[:40])
    if found is not None and (scheme != "a1111" or found["fooocus"]):  # A1111 says v1.10
        version = (int(found["major"]), int(found["minor"]), int(found["patch"] or 0))
        if version >= _FIRST:
            return version
    return _version_by_shape(record, scheme)


def _version_by_shape(record: _Record, scheme: str) -> tuple[int, int, int] | None:
    """Return the version whose record looks like that of a fork; None where none does."""
    needed = set(_ALWAYS) - ({"style_selections"} if scheme == "a1111" else set())
    if not needed <= record.values.keys():
        return None
    if "vae_name" in record.values:
        return _CLIP_SKIP
    return _STEPS if "overwrite_step" in record.values else _FIRST


def _prompts_with_lost_letters(record: _Record) -> Iterator[str]:
    """Yield the names of prompts in which question marks stand for other letters.

    Fooocus writes the plain text into JPEG and WebP in ASCII: each letter that isn't becomes one.
    """
    for name in _PROMPTS:
        if _LOST_LETTER.search(str(record.values.get(name, ""))):
            yield name


def _fill_in(record: _Record, version: tuple[int, int, int], scheme: str) -> None:
    values = record.values
    values.setdefault("loras", [])
    if scheme == "a1111":
        values.setdefault("refiner_model", "None")
    if version >= _CLIP_SKIP:
        values.setdefault("clip_skip", 1)
    if version >= _FULL and record.has_refiner:
        for name, value in _DEFAULTS_OF_REFINER.items():
            values.setdefault(name, value)
    if version >= _STEPS:
        steps = PERFORMANCE_STEPS.get(str(values.get("performance_selection")))
        if steps is not None:
            values.setdefault("overwrite_step", steps)


def _name_unwritten(record: _Record, version: tuple[int, int, int]) -> None:
    values = record.values
    unwritten = ["overwrite_step"]
    if version < _FULL:
        unwritten += _UNWRITTEN
    if record.has_refiner:
        unwritten += ["refiner_switch", *_DEFAULTS_OF_REFINER]
    record.name(*(name for name in unwritten if name not in values))


def _models_elsewhere(record: _Record) -> Iterator[str]:
    """Yield what Civitai's generator tells by the numbers of its site alone, not by files."""
    resources = str(record.raw.get("civitai_resources", ""))
    if resources and "base_model" not in record.values:
        yield "base_model"
    if "loras" not in record.values and _CIVITAI_LORA.search(resources):
        yield "loras"


def _tells_of_image(record: _Record) -> Iterator[bool]:
    raw, values = record.raw, record.values
    hires = any(key.startswith("hires") for key in raw)  # which denoises, too
    if "input_image_checkbox" in raw:  # our own parameters, of which the others mean nothing alone
        yield raw["input_image_checkbox"] is True
    for key, value in raw.items() if "input_image_checkbox" not in raw else ():
        if _IMAGE_KEY.fullmatch(key) and not (hires and key.startswith("denois")):
            yield str(value)[:40].strip().casefold() not in _OFF
    if raw.get("resolution") is None:
        return
    sides = [float(text) for text in NUMBER.findall(str(raw["resolution"])[:200]) if len(text) < 20]
    if len(sides) != 2:
        return
    yield "overwrite_width" not in values  # larger than anybody can ask for
    mode = str(values.get("performance_selection"))
    is_upscale = values.get("overwrite_step") == _UPSCALE_STEPS.get(mode, -1)
    yield is_upscale and sides[0] * sides[1] > _LARGEST_DRAWN
