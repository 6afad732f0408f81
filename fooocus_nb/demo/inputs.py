"""The pictures that the page sends with a task, decoded, and what is to be done with them."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageChops, ImageFilter, ImageOps

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_SIDE", "Control", "Improvement", "Inputs", "decode", "encode", "grown"]

#: Larger ones are refused, or a picture could fill the memory.
MAX_SIDE = 4096
_HEAD = re.compile(r"data:image/[\w.+-]+;base64,")


def decode(value: str) -> Image.Image:
    """Return the picture in a data URI, the right way up, as it is stored."""
    with Image.open(io.BytesIO(base64.b64decode(_HEAD.sub("", value, count=1)))) as picture:
        if max(picture.size) > MAX_SIDE:
            msg = f"a picture of {picture.size} is too large for the demo engine"
            raise ValueError(msg)
        return ImageOps.exif_transpose(picture)


def encode(picture: Image.Image) -> str:
    """Return a picture as the page takes it."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass(frozen=True)
class Control:
    """A picture that guides the drawing.

    Attributes
    ----------
    picture : PIL.Image.Image
        The picture.
    kind : str
        ``ImagePrompt``, ``PyraCanny``, ``CPDS`` or ``FaceSwap``.
    share : float
        How much it counts, from 0 to 1: its weight for as long as it counts.
    """

    picture: Image.Image
    kind: str
    share: float


@dataclass(frozen=True)
class Improvement:
    """What one tab of enhancements asks for.

    Attributes
    ----------
    key : str
        What the names of its values begin with.
    detect, prompt : str
        What to find, and what to draw there.
    model : str
        What finds it.
    strength : float
        How much of it is drawn anew.
    grow : int
        Pixels by which the mask grows.
    invert : bool
        Whether all else is improved instead.
    """

    key: str
    detect: str
    prompt: str
    model: str
    strength: float
    grow: int
    invert: bool


class Inputs:
    """What a task says about pictures.

    Parameters
    ----------
    values : mapping
        What the page sent, by the keys of its components.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._tab = str(values["current_tab"]) if values["input_image"] else ""

    def shows(self, switch: str) -> bool:
        """Return whether a switch is on that shows what is between, such as ``debug_cn``."""
        return bool(self._values[switch])

    @property
    def strength(self) -> float:
        """How much of what is masked is drawn anew."""
        return float(self._values["inpaint_strength"])

    @property
    def method(self) -> str:
        """How to vary or upscale; empty where that is not asked for."""
        mixed = self._tab == "ip" and self._values["mix_vary"]
        chosen = str(self._values["uov_method"])
        given = self._values["uov_image"] is not None and chosen != "Disabled"
        return chosen if given and (self._tab == "uov" or mixed) else ""

    def source(self) -> Image.Image:
        """Return the picture to vary or upscale."""
        return decode(self._values["uov_image"]).convert("RGB")

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides to extend."""
        return tuple(map(str, self._values["outpaint"]))

    def painting(self) -> tuple[Image.Image, Image.Image] | None:
        """Return the picture to paint in and its mask; None where that is not asked for.

        Raises
        ------
        IndexError, KeyError
            When there is no mask, or it has one channel: the real worker breaks on both.
        """
        mixed = self._tab == "ip" and self._values["mix_inpaint"]
        given = self._values["inpaint_image"]
        if given is None or not (self._tab == "inpaint" or mixed):
            return None
        picture = decode(given["image"]).convert("RGB")
        mask = _painted(given["mask"])
        uploaded = self._values["inpaint_mask"]
        if self._values["advanced_masking"] and uploaded is not None:
            more = decode(uploaded["image"] if isinstance(uploaded, dict) else uploaded)
            mask = ImageChops.lighter(mask, more.convert("L").resize(picture.size))
        mask = grown(mask.resize(picture.size), int(self._values["inpaint_erode"]))
        mask = ImageOps.invert(mask) if self._values["invert_mask"] else mask
        # As the real one: without anything to paint it draws as if there were no picture.
        return (picture, mask) if self.sides or mask.getextrema()[1] else None

    def controls(self) -> list[Control]:
        """Return the pictures that guide."""
        mixed = self._values["mix_vary"] or self._values["mix_inpaint"]
        if not self._tab or not (self._tab == "ip" or mixed):
            return []
        numbers = [key[:-6] for key in self._values if re.fullmatch(r"ip_\d+_image", key)]
        return [
            Control(
                decode(self._values[f"{slot}_image"]).convert("RGB"),
                str(self._values[f"{slot}_type"]),
                min(
                    float(self._values[f"{slot}_weight"])
                    * float(self._values[f"{slot}_stop"])
                    * 1.5,
                    1.0,
                ),
            )
            for slot in numbers
            if self._values[f"{slot}_image"] is not None
        ]

    @property
    def is_given(self) -> bool:
        """Whether a picture is to be enhanced in place of a generation."""
        return self._tab == "enhance" and self._values["enhance_image"] is not None

    def enhanced(self) -> Image.Image | None:
        """Return the picture to enhance in place of a generation; None where there is none."""
        return decode(self._values["enhance_image"]).convert("RGB") if self.is_given else None

    @property
    def improves(self) -> bool:
        """Whether anything is to be enhanced."""
        return bool(self.enhance_method or self.improvements())

    @property
    def enhance_method(self) -> str:
        """How to vary or upscale what is enhanced; empty where that is not asked for."""
        chosen = str(self._values["enhance_method"])
        return chosen if self._values["enhance"] and chosen != "Disabled" else ""

    @property
    def upscales_last(self) -> bool:
        """Whether that comes after the improvements."""
        return str(self._values["enhance_order"]).startswith("After")

    def improvements(self) -> list[Improvement]:
        """Return the improvements that are asked for."""
        if not self._values["enhance"]:
            return []
        tabs = [key[:-8] for key in self._values if re.fullmatch(r"enhance_\d+_enabled", key)]
        return [
            Improvement(
                key=tab,
                detect=str(self._values[f"{tab}_detect"]),
                prompt=str(self._values[f"{tab}_prompt"]),
                model=str(self._values[f"{tab}_model"]),
                strength=float(self._values[f"{tab}_strength"]),
                grow=int(self._values[f"{tab}_erode"]),
                invert=bool(self._values[f"{tab}_invert"]),
            )
            for tab in tabs
            if self._values[f"{tab}_enabled"]
        ]


def _painted(value: str) -> Image.Image:
    """Return a mask as the real worker takes it: the first of its three channels."""
    mask = decode(value)
    if mask.mode == "RGBA":
        mask = mask.getchannel("A")
    elif mask.mode != "RGB":
        msg = "too many indices for array: array is 2-dimensional, but 3 were indexed"
        raise IndexError(msg)
    return mask.convert("L").point([0] * 128 + [255] * 128)


def grown(mask: Image.Image, pixels: int) -> Image.Image:
    """Return a mask that has grown by so many pixels, or shrunk by as many below 0."""
    if not pixels:
        return mask
    size = 2 * abs(pixels) + 1
    return mask.filter(ImageFilter.MaxFilter(size) if pixels > 0 else ImageFilter.MinFilter(size))
