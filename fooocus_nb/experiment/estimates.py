"""How long cells take and how much they weigh, from what was made before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Estimate", "Made", "estimate", "images_of", "size_of", "with_defaults", "work_of"]

#: The sampling steps of each performance, as Fooocus has them.
_STEPS = {
    "quality": 60,
    "speed": 30,
    "extreme speed": 8,
    "lightning": 4,
    "hyper-sd": 4,
    "turbo": 4,
}
_USUAL_STEPS = 30
_SIZE = re.compile(r"(\d{2,5})\s*[×x*]\s*(\d{2,5})")
_USUAL_PIXELS = 1152 * 896
#: Bytes of a pixel where nothing was made yet; a PNG of a photo has about this.
_BYTES_PER_PIXEL = {"png": 1.6, "jpeg": 0.35, "jpg": 0.35, "webp": 0.2}
#: Tasks that make one image unless more are asked for.
_ONE_IMAGE = frozenset({"Upscale", "EnhanceImage"})
_FACTOR = re.compile(r"(\d+(?:\.\d+)?)x")
#: What does not depend on the steps, such as decoding and saving, in steps.
_BESIDE_STEPS = 4.0


@dataclass(frozen=True)
class Made:
    """One generation of the past: what was asked for, the seconds, and the bytes of its files."""

    values: Mapping[str, Any]
    seconds: float
    bytes: int
    images: int


@dataclass(frozen=True)
class Estimate:
    """What making cells takes.

    Attributes
    ----------
    seconds : float or None
        The time; None where nothing was made yet that tells.
    bytes : int
        The disk space.
    basis : str
        What the time is taken from, for people.
    """

    seconds: float | None
    bytes: int
    basis: str


def estimate(
    cells: Iterable[Mapping[str, Any]], defaults: Mapping[str, Any], past: Iterable[Made]
) -> Estimate:
    """Return what making cells with these values takes; `past` is what was made before."""
    wanted = [with_defaults(values, defaults) for values in cells]
    history = list(past)
    seconds, work, weight, pixels = 0.0, 0.0, 0, 0.0
    for made in history:
        share = made.images / max(images_of(made.values), 1)
        seconds += made.seconds
        work += work_of(made.values) * share
        weight += made.bytes
        pixels += _pixels_of(made.values) * made.images
    total = sum(map(work_of, wanted))
    needed = 0.0
    for values in wanted:
        form = str(values.get("output_format") or "png").casefold()
        each = weight / pixels if weight and pixels else _BYTES_PER_PIXEL.get(form, 1.6)
        needed += _pixels_of(values) * images_of(values) * each
    images = sum(made.images for made in history)
    if not (seconds and work):
        return Estimate(None, int(needed), "nothing was made yet that tells how long it takes")
    plural = "1 image" if images == 1 else f"{images} images"
    return Estimate(seconds / work * total, int(needed), f"from {plural} made before")


def with_defaults(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a cell with the server's own ones for what it does not give."""
    task = values.get("task")
    alone = isinstance(task, dict) and task.get("class") in _ONE_IMAGE
    return {**defaults, **({"image_number": 1} if alone else {}), **values}


def images_of(values: Mapping[str, Any]) -> int:
    """Return how many images a cell asks for."""
    number = values.get("image_number")
    return number if isinstance(number, int) and number > 0 else 1


def work_of(values: Mapping[str, Any]) -> float:
    """Return how much there is to compute: steps times pixels, of all images."""
    return (_steps_of(values) + _BESIDE_STEPS) * _pixels_of(values) * images_of(values)


def _steps_of(values: Mapping[str, Any]) -> float:
    steps = values.get("overwrite_step")
    if isinstance(steps, (int, float)) and steps > 0:
        return float(steps)
    return _STEPS.get(str(values.get("performance_selection", "")).casefold(), _USUAL_STEPS)


def size_of(values: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return width and height that a cell asks for; None where its values don't tell."""
    return _given_size(values) or _listed_size(values)


def _given_size(values: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = values.get("overwrite_width"), values.get("overwrite_height")
    given = isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0
    return (int(values["overwrite_width"]), int(values["overwrite_height"])) if given else None


def _listed_size(values: Mapping[str, Any]) -> tuple[int, int] | None:
    found = _SIZE.search(str(values.get("aspect_ratios_selection", "")))
    return (int(found[1]), int(found[2])) if found else None


def _pixels_of(values: Mapping[str, Any]) -> float:
    if (given := _given_size(values)) is not None:
        return float(given[0] * given[1])
    listed = _listed_size(values)
    pixels = float(listed[0] * listed[1]) if listed else float(_USUAL_PIXELS)
    task = values.get("task")
    factor = _FACTOR.search(str(task.get("by", "2x"))) if isinstance(task, dict) else None
    if factor is not None and isinstance(task, dict) and task.get("class") == "Upscale":
        pixels *= float(factor[1]) ** 2
    return pixels
