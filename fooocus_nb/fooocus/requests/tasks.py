"""The tasks that start from an image, as the settings of the web app that do them.

Each of these is what a person does on the page with a few clicks: open a tab, drop an image,
choose a method. None knows a server: names and choices are checked where all others are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fooocus_nb.errors import ParameterError, nearest

__all__ = [
    "Enhance",
    "EnhanceImage",
    "ImagePrompt",
    "Inpaint",
    "Outpaint",
    "Task",
    "TaskSettings",
    "Upscale",
    "Vary",
]

_FACTORS = ("1.5x", "2x", "fast 2x")
_STRENGTHS = ("subtle", "strong")
_SIDES = ("left", "right", "top", "bottom")

#: What the methods of the page's inpaint tab set: initial latent off, engine, strength, field.
#: None is the server's own default.
_MODES: Mapping[str, Mapping[str, Any]] = {
    "inpaint": {},
    "detail": {
        "inpaint_disable_initial_latent": False,
        "inpaint_engine": "None",
        "inpaint_strength": 0.5,
        "inpaint_respective_field": 0.0,
    },
    "modify": {
        "inpaint_disable_initial_latent": True,
        "inpaint_strength": 1.0,
        "inpaint_respective_field": 0.0,
    },
}
#: The default stop and weight of each kind of image prompt.
_CONTROL: Mapping[str, tuple[float, float]] = {
    "imageprompt": (0.5, 0.6),
    "faceswap": (0.9, 0.75),
    "pyracanny": (0.5, 1.0),
    "cpds": (0.5, 1.0),
}


@dataclass(frozen=True)
class TaskSettings:
    """The parameters of a task, by canonical name."""

    #: Those that the task decides: they cannot be given beside it.
    values: Mapping[str, Any]
    #: Those that can be given as well.
    defaults: Mapping[str, Any] = field(default_factory=dict)


class Task:
    """What to do with an image: :class:`Upscale`, :class:`Vary`, :class:`Inpaint`, ..."""

    #: The setting that mixes image prompts in; empty where they cannot be mixed in.
    mixing: ClassVar[str] = ""

    def expand(self) -> TaskSettings:
        """Return the settings that do it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Upscale(Task):
    """Upscale an image.

    Parameters
    ----------
    image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image, optional
        The image. A sweep with an axis of images takes it from there: ``Upscale("1.5x")``.
    by : {"1.5x", "2x", "fast 2x"} or number
        The factor; the first two add details. Default ``"2x"``.
    """

    image: Any = None
    by: str | float = "2x"
    mixing: ClassVar[str] = "mixing_image_prompt_and_vary_upscale"

    def __post_init__(self) -> None:
        _take_word(self, "by", "2x", _FACTORS)

    def expand(self) -> TaskSettings:
        """Return the settings of the first tab, for one image unless more are asked for."""
        image = _required(self.image)
        return TaskSettings(_tab("uov", _upscaling(self.by), image), {"image_number": 1})


@dataclass(frozen=True)
class Vary(Task):
    """Generate a variation of an image.

    Parameters
    ----------
    image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image, optional
        The image. A sweep with an axis of images takes it from there: ``Vary("strong")``.
    strength : {"subtle", "strong"}
        How much may change. Default ``"subtle"``.
    """

    image: Any = None
    strength: str = "subtle"
    mixing: ClassVar[str] = "mixing_image_prompt_and_vary_upscale"

    def __post_init__(self) -> None:
        _take_word(self, "strength", "subtle", _STRENGTHS)

    def expand(self) -> TaskSettings:
        """Return the settings of the first tab."""
        return TaskSettings(_tab("uov", _varying(self.strength), _required(self.image)))


@dataclass(frozen=True)
class Inpaint(Task):
    """Inpaint the masked part of an image, and extend its sides if asked to.

    Parameters
    ----------
    image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image, optional
        The image. A sweep with an axis of images takes it from there.
    mask : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image, optional
        Of the same size: white is inpainted, black is kept. Only a sweep may leave it out.
    mode : {"inpaint", "detail", "modify"}
        Inpaint what is masked (the default), improve its details, or put something else there.
    outpaint : iterable of {"left", "right", "top", "bottom"}
        The sides to which the image is extended as well. Default none.
    invert : bool
        Inpaint what is black instead. Default False.
    """

    image: Any = None
    mask: Any = None
    mode: str = "inpaint"
    outpaint: str | Iterable[str] = ()
    invert: bool = False
    mixing: ClassVar[str] = "mixing_image_prompt_and_inpaint"

    def expand(self) -> TaskSettings:
        """Return the settings of the inpaint tab, with those that the method sets as defaults."""
        if self.mask is None:
            msg = "mask= is missing: an image of the same size, white where to inpaint."
            raise ParameterError(msg + " engine.make_mask(image) makes one.")
        values = {
            "input_image_checkbox": True,
            "current_tab": "inpaint",
            "inpaint_input_image": {"image": _required(self.image), "mask": self.mask},
        }
        if sides := _sides("outpaint", self.outpaint):
            values["outpaint_selections"] = sides
        if self.invert:
            values["invert_mask_checkbox"] = True
        return TaskSettings(values, _mode(self.mode))


@dataclass(frozen=True)
class Outpaint(Task):
    """Extend an image beyond its sides.

    Parameters
    ----------
    image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image, optional
        The image. A sweep with an axis of images takes it from there.
    sides : iterable of {"left", "right", "top", "bottom"}
        Where to. Default all four.
    """

    image: Any = None
    sides: str | Iterable[str] = _SIDES
    mixing: ClassVar[str] = "mixing_image_prompt_and_inpaint"

    def expand(self) -> TaskSettings:
        """Return the settings of the inpaint tab."""
        sides = _sides("sides", self.sides)
        if not sides:
            msg = f"sides= is empty: name some of {', '.join(_SIDES)}."
            raise ParameterError(msg)
        return TaskSettings(
            {
                "input_image_checkbox": True,
                "current_tab": "inpaint",
                "inpaint_input_image": _required(self.image),
                "outpaint_selections": sides,
            }
        )


@dataclass(frozen=True)
class Enhance:
    """One enhancement: detect a part of an image and inpaint it.

    Parameters
    ----------
    detect : str
        What to detect, in words, such as ``"face"`` or ``"hand"``. Default the model's own subject.
    prompt, negative_prompt : str
        The prompts for that part; by default those of the whole image.
    mode : {"inpaint", "detail", "modify"}
        As in :class:`Inpaint`. Default ``"inpaint"``.
    model : str, optional
        The model that detects it; ``"sam"`` understands words.
    cloth : {"full", "upper", "lower"}, optional
        Which clothes the model ``u2net_cloth_seg`` detects.
    sam_model : str, optional
        Such as ``"vit_b"``.
    box_threshold, text_threshold : float, optional
        From 0 to 1: how sure the model must be.
    max_detections : int, optional
        How many at most; 0 is all.
    erode_or_dilate : int, optional
        Pixels by which the mask shrinks (below 0) or grows.
    invert : bool
        Inpaint all but what is detected. Default False.
    inpaint_engine, inpaint_strength, inpaint_respective_field, inpaint_disable_initial_latent
        In place of what `mode` sets.
    """

    detect: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    mode: str = "inpaint"
    model: str | None = None
    cloth: str | None = None
    sam_model: str | None = None
    box_threshold: float | None = None
    text_threshold: float | None = None
    max_detections: int | None = None
    erode_or_dilate: int | None = None
    invert: bool = False
    inpaint_engine: str | None = None
    inpaint_strength: float | None = None
    inpaint_respective_field: float | None = None
    inpaint_disable_initial_latent: bool | None = None

    def members(self) -> dict[str, Any]:
        """Return the settings of one tab, without the tab's name; None is left out."""
        own = {
            "enabled": True,
            "mask_dino_prompt_text": self.detect,
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "mask_model": self.model,
            "mask_cloth_category": self.cloth,
            "mask_sam_model": self.sam_model,
            "mask_box_threshold": self.box_threshold,
            "mask_text_threshold": self.text_threshold,
            "mask_sam_max_detections": self.max_detections,
            "inpaint_erode_or_dilate": self.erode_or_dilate,
            "mask_invert": self.invert,
            "inpaint_engine": self.inpaint_engine,
            "inpaint_strength": self.inpaint_strength,
            "inpaint_respective_field": self.inpaint_respective_field,
            "inpaint_disable_initial_latent": self.inpaint_disable_initial_latent,
        }
        given = {name: value for name, value in own.items() if value is not None}
        return {**_mode(self.mode), **given}


@dataclass(frozen=True)
class EnhanceImage(Task):
    """Enhance an existing image.

    Parameters
    ----------
    image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image, optional
        The image. A sweep with an axis of images takes it from there.
    enhancements : sequence of Enhance
        The enhancements, in order.
    upscale : {"1.5x", "2x", "fast 2x"}, optional
        Make it larger as well.
    vary : {"subtle", "strong"}, optional
        Vary it as well; not together with `upscale`.
    """

    image: Any = None
    enhancements: Sequence[Enhance] = ()
    upscale: str | float | None = None
    vary: str | None = None

    def expand(self) -> TaskSettings:
        """Return the settings of the enhance tab; the enhancements go where ``enhance=`` goes."""
        if self.upscale is not None and self.vary is not None:
            msg = "upscale= and vary= exclude each other: give one of them."
            raise ParameterError(msg)
        values = {
            "input_image_checkbox": True,
            "current_tab": "enhance",
            "enhance_input_image": _required(self.image),
            "enhance_checkbox": True,
        }
        if self.upscale is not None:
            values["enhance_uov_method"] = _upscaling(self.upscale)
        elif self.vary is not None:
            values["enhance_uov_method"] = _varying(self.vary)
        elif not self.enhancements:
            msg = 'There is nothing to enhance: give steps such as [Enhance(detect="face")].'
            raise ParameterError(msg)
        return TaskSettings(values, {"image_number": 1})


@dataclass(frozen=True)
class ImagePrompt:
    """An image that guides the generation.

    Parameters
    ----------
    image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
        The image.
    type : {"ImagePrompt", "PyraCanny", "CPDS", "FaceSwap"}
        What counts: its look (the default), its edges, its depth, its face.
    stop : float, optional
        The share of the steps after which it counts no more, from 0 to 1. By default as the page
        has it for this type.
    weight : float, optional
        How much it counts, from 0 to 2. By default as the page has it for this type.
    """

    image: Any
    type: str = "ImagePrompt"
    stop: float | None = None
    weight: float | None = None

    def members(self) -> dict[str, Any]:
        """Return the settings of one slot, without the slot's name."""
        stop, weight = _CONTROL.get(str(self.type).casefold(), (None, None))
        own = {
            "image": self.image,
            "type": self.type,
            "stop": stop if self.stop is None else self.stop,
            "weight": weight if self.weight is None else self.weight,
        }
        return {name: value for name, value in own.items() if value is not None}


def _take_word(task: Task, name: str, default: str, words: tuple[str, ...]) -> None:
    """Take a word that stands in the place of the image for what it says: no image is called so."""
    given = getattr(task, "image", None)
    if isinstance(given, str) and given in words and getattr(task, name) == default:
        object.__setattr__(task, "image", None)
        object.__setattr__(task, name, given)


def _required(image: Any) -> Any:
    """Return the image of a task, which only a sweep may leave out."""
    if image is None:
        msg = "image= is missing: the task begins with an image. Give a path, bytes or an Image."
        raise ParameterError(msg)
    return image


def _tab(tab: str, method: str, image: Any) -> dict[str, Any]:
    return {
        "input_image_checkbox": True,
        "current_tab": tab,
        "uov_method": method,
        "uov_input_image": image,
    }


def _upscaling(by: Any) -> str:
    text = f"{by:g}x" if isinstance(by, (int, float)) and not isinstance(by, bool) else by
    factor = _one_of("by", text, _FACTORS)
    return f"Upscale ({factor[0].upper()}{factor[1:]})"


def _varying(strength: Any) -> str:
    return f"Vary ({_one_of('strength', strength, _STRENGTHS).capitalize()})"


def _sides(name: str, sides: Any) -> list[str]:
    """Return the sides as the page names them, each once."""
    given = [sides] if isinstance(sides, str) else sides
    if not isinstance(given, Iterable):
        msg = f"{name}={sides!r} is not possible: it must be a list of {', '.join(_SIDES)}."
        raise ParameterError(msg)
    return list(dict.fromkeys(_one_of(name, side, _SIDES).capitalize() for side in given))


def _mode(mode: Any) -> Mapping[str, Any]:
    return _MODES[_one_of("mode", mode, tuple(_MODES))]


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return which of the allowed words it is, in whatever case it was written."""
    word = " ".join(value.casefold().split()) if isinstance(value, str) else ""
    if word in allowed:
        return word
    hint = nearest(word, allowed) if word else ""
    msg = f"{name}={value!r} is not possible: it must be one of: {', '.join(allowed)}.{hint}"
    raise ParameterError(msg)
