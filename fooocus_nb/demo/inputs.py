"""What the page sent, as a task: numbers, the prompt and styles of each image, decoded images."""

from __future__ import annotations

import base64
import io
import queue
import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image, ImageChops, ImageFilter, ImageOps

from fooocus_nb.demo.page import STYLES, Performance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = [
    "MAX_SEED",
    "MAX_SIDE",
    "Control",
    "Enhancement",
    "Event",
    "ImageInputs",
    "Task",
    "change_texts",
    "decode",
    "dilate",
    "encode",
]

MAX_SEED = 2**63 - 1
#: In pixels. Smaller images cannot be drawn, and larger ones could fill the memory.
MIN_SIDE = 16
MAX_SIDE = 4096
_DATA_URI = re.compile(r"data:image/[\w.+-]+;base64,")


# -- a task -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """What the worker reports of a task: a preview, the images so far, or its end with all."""

    kind: Literal["preview", "results", "finish"]
    percent: int = 0
    text: str = ""
    #: A preview as a data URI.
    image: str | None = None
    paths: tuple[Path, ...] = ()


@dataclass
class Task:
    """One generation: what the page sent, by the keys of its components, and how far it is."""

    values: Mapping[str, Any]
    events: queue.SimpleQueue[Event] = field(default_factory=queue.SimpleQueue)
    #: ``stop`` or ``skip`` once it was asked for; the worker looks at every step.
    command: str = ""
    #: A task is handed to the worker once, however often the page asks for its results.
    started: bool = False
    results: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        # A wrong seed or performance is an error here, where it is one in Fooocus.
        self._seed = int(self.values["seed"])
        self.performance = Performance(self.values["performance"])
        self.images = ImageInputs(self.values)
        # An image that is only enhanced is enhanced once.
        self.count = 1 if self.images.only_enhances else int(self.values["image_number"])

    @property
    def prompt(self) -> str:
        """The prompt as it was written."""
        return str(self.values["prompt"])

    @property
    def styles(self) -> tuple[str, ...]:
        """The names of the styles as they were chosen."""
        return tuple(map(str, self.values["styles"]))

    @property
    def steps(self) -> int:
        """The number of sampling steps of an image."""
        wanted = int(self.values["overwrite_step"])
        return wanted if wanted > 0 else self.performance.steps

    @property
    def switch(self) -> int:
        """The step at which a refiner would take over."""
        wanted = int(self.values["overwrite_switch"])
        share = float(self.values["refiner_switch"])
        return wanted if wanted > 0 else round(self.performance.steps * share)

    @property
    def size(self) -> tuple[int, int]:
        """The width and height in pixels."""
        found = re.match(r"\s*(\d+)\s*[×x*]\s*(\d+)", str(self.values["aspect"]))
        if found is None:
            msg = f"not a size: {self.values['aspect']!r}"
            raise ValueError(msg)
        wanted = (int(self.values[f"overwrite_{side}"]) for side in ("width", "height"))
        width, height = (
            min(max(new if new > 0 else int(old), MIN_SIDE), MAX_SIDE)
            for new, old in zip(wanted, found.groups(), strict=True)
        )
        return width, height

    @property
    def scheme(self) -> str | None:
        """The metadata scheme, where metadata is wanted."""
        return self.values.get("metadata_scheme") if self.values.get("save_metadata") else None

    @property
    def loras(self) -> list[tuple[str, float]]:
        """The names and weights of the LoRAs that are enabled."""
        found = []
        for key, name in self.values.items():
            slot = re.fullmatch(r"(lora_\d+)_model", key)
            if slot and name != "None" and self.values[f"{slot[1]}_enabled"]:
                found.append((str(name), float(self.values[f"{slot[1]}_weight"])))
        return found

    @property
    def guidance(self) -> float:
        """How closely to follow the prompt; a distilled performance has its own value."""
        return 1.0 if self.performance.distilled else float(self.values["guidance_scale"])

    @property
    def sharpness(self) -> float:
        """How sharp to draw; a distilled performance has its own value."""
        return 0.0 if self.performance.distilled else float(self.values["sharpness"])

    def seed(self, index: int = 0) -> int:
        """Return the seed of one image, counted from 0."""
        step = 0 if self.values["disable_increment"] else index
        return (self._seed + step) % (MAX_SEED + 1)

    def prompt_of(self, index: int) -> str:
        """Return the prompt of one image, counted from 0."""
        in_order = bool(self.values["wildcards_in_order"])
        return _resolve_prompt(self.prompt, index, self.seed(index), in_order=in_order)

    def styles_of(self, index: int) -> tuple[str, ...]:
        """Return the styles of one image, counted from 0."""
        return _resolve_styles(self.styles, self.seed(index))

    def expansion(self, index: int) -> str:
        """Return the prompt as the demo engine's idea of an expansion extends it."""
        if "Fooocus V2" not in self.styles or not any(_MOODS):
            return ""
        start = self.seed(index) % len(_MOODS)
        words = [_MOODS[(start + 3 * step) % len(_MOODS)] for step in range(4)]
        lines = [line for line in self.prompt_of(index).splitlines() if line.strip()]
        return ", ".join([lines[0].strip() if lines else "", *words])

    def report(self, percent: int, text: str, image: str | None = None) -> None:
        """Report progress to the page."""
        self.events.put(Event("preview", percent, text, image))


# -- its texts --------------------------------------------------------------------------------

_ARRAY = re.compile(r"\[\[([^\[\]]+)\]\]")
_WILDCARD = re.compile(r"__(\w+?)__")
#: A wildcard may name another one; this ends those that name each other.
_MAX_DEPTH = 8
_WILDCARDS = {
    "animal": ("cat", "dog", "fox", "owl", "hare"),
    "color": ("red", "blue", "green", "golden", "violet"),
    "season": ("spring", "summer", "autumn", "winter"),
    "subject": ("lighthouse", "boat", "balloon", "castle", "tree"),
    "time": ("dawn", "day", "dusk", "night"),
}
RANDOM_STYLE = "Random Style"
#: What an expansion adds.
_MOODS: tuple[str, ...] = (
    *("calm light", "quiet", "deep colors", "layered", "soft haze", "wide view", "poster"),
    *("warm glow", "fine grain", "gentle contrast", "clear air", "long shadows", "still water"),
    "distant hills",
)


def change_texts(words: Mapping[str, Sequence[str]], moods: Sequence[str]) -> None:
    """Let wildcards have other words, or none; let prompts be expanded with something else."""
    global _MOODS
    for name, found in words.items():
        if found:
            _WILDCARDS[name] = tuple(found)
        else:
            _WILDCARDS.pop(name, None)
    _MOODS = tuple(moods) or _MOODS


def _resolve_prompt(prompt: str, index: int, seed: int, *, in_order: bool) -> str:
    """Return one image's prompt: arrays give the next element, wildcards a word."""

    def element(found: re.Match[str]) -> str:
        parts = [part.strip() for part in found[1].split(",")]
        return parts[index % len(parts)]

    rng = random.Random(seed)

    def word(found: re.Match[str]) -> str:
        words = _WILDCARDS.get(found[1])
        if words is None:
            return found[1]  # as Fooocus: an unknown wildcard loses its underscores
        return words[index % len(words)] if in_order else rng.choice(words)

    text = _ARRAY.sub(element, prompt)
    for _ in range(_MAX_DEPTH):
        text, count = _WILDCARD.subn(word, text)
        if not count:
            break
    return text


def _resolve_styles(styles: tuple[str, ...], seed: int) -> tuple[str, ...]:
    """Return one image's styles: each random one is replaced by one drawn with the seed."""
    rng = random.Random(seed)
    names = [name for name in STYLES if name != RANDOM_STYLE]
    return tuple(rng.choice(names) if name == RANDOM_STYLE else name for name in styles)


# -- its images -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Control:
    """An image that guides the drawing."""

    image: Image.Image
    #: ``ImagePrompt``, ``PyraCanny``, ``CPDS`` or ``FaceSwap``.
    kind: str
    #: How much it counts, from 0 to 1.
    weight: float


@dataclass(frozen=True)
class Enhancement:
    """What one tab of enhancements asks for."""

    detect: str
    prompt: str
    #: The model that detects.
    model: str
    #: How much of what is detected is drawn anew, from 0 to 1.
    strength: float
    #: Pixels by which the mask grows.
    dilation: int
    invert: bool


class ImageInputs:
    """The images that came with a task, and what is to be done with them."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._tab = str(values["current_tab"]) if values["input_image"] else ""

    def is_on(self, switch: str) -> bool:
        """Return whether a switch is on that shows intermediate images, such as ``debug_cn``."""
        return bool(self._values[switch])

    @property
    def method(self) -> str:
        """How to vary or upscale; empty where that is not asked for."""
        mixed = self._tab == "ip" and self._values["mix_vary"]
        chosen = str(self._values["uov_method"])
        given = self._values["uov_image"] is not None and chosen != "Disabled"
        return chosen if given and (self._tab == "uov" or mixed) else ""

    def source(self) -> Image.Image:
        """Return the image to vary or upscale."""
        return decode(self._values["uov_image"]).convert("RGB")

    @property
    def inpaint_strength(self) -> float:
        """How much of what is masked is drawn anew, from 0 to 1."""
        return float(self._values["inpaint_strength"])

    @property
    def outpaint_sides(self) -> tuple[str, ...]:
        """The sides to extend."""
        return tuple(map(str, self._values["outpaint"]))

    def inpainting(self) -> tuple[Image.Image, Image.Image] | None:
        """Return the image to inpaint and its mask; None where that is not asked for."""
        mixed = self._tab == "ip" and self._values["mix_inpaint"]
        given = self._values["inpaint_image"]
        if given is None or not (self._tab == "inpaint" or mixed):
            return None
        image = decode(given["image"]).convert("RGB")
        mask = _decode_mask(given["mask"])
        uploaded = self._values["inpaint_mask"]
        if self._values["advanced_masking"] and uploaded is not None:
            more = decode(uploaded["image"] if isinstance(uploaded, dict) else uploaded)
            mask = ImageChops.lighter(mask, more.convert("L").resize(image.size))
        mask = dilate(mask.resize(image.size), int(self._values["inpaint_erode"]))
        mask = ImageOps.invert(mask) if self._values["invert_mask"] else mask
        # As Fooocus: with an empty mask it draws as if there were no image.
        return (image, mask) if self.outpaint_sides or mask.getextrema()[1] else None

    def controls(self) -> list[Control]:
        """Return the images that guide."""
        mixed = self._values["mix_vary"] or self._values["mix_inpaint"]
        if not self._tab or not (self._tab == "ip" or mixed):
            return []
        slots = [key[:-6] for key in self._values if re.fullmatch(r"ip_\d+_image", key)]
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
            for slot in slots
            if self._values[f"{slot}_image"] is not None
        ]

    @property
    def only_enhances(self) -> bool:
        """Whether an image is to be enhanced in place of a generation."""
        return self._tab == "enhance" and self._values["enhance_image"] is not None

    def to_enhance(self) -> Image.Image | None:
        """Return the image to enhance in place of a generation; None where there is none."""
        return decode(self._values["enhance_image"]).convert("RGB") if self.only_enhances else None

    @property
    def enhances(self) -> bool:
        """Whether anything is to be enhanced."""
        return bool(self.enhance_method or self.enhancements())

    @property
    def enhance_method(self) -> str:
        """How to vary or upscale what is enhanced; empty where that is not asked for."""
        chosen = str(self._values["enhance_method"])
        return chosen if self._values["enhance"] and chosen != "Disabled" else ""

    @property
    def upscales_last(self) -> bool:
        """Whether that comes after the enhancements of the tabs."""
        return str(self._values["enhance_order"]).startswith("After")

    def enhancements(self) -> list[Enhancement]:
        """Return the enhancements of the tabs that are enabled."""
        if not self._values["enhance"]:
            return []
        tabs = [key[:-8] for key in self._values if re.fullmatch(r"enhance_\d+_enabled", key)]
        return [
            Enhancement(
                detect=str(self._values[f"{tab}_detect"]),
                prompt=str(self._values[f"{tab}_prompt"]),
                model=str(self._values[f"{tab}_model"]),
                strength=float(self._values[f"{tab}_strength"]),
                dilation=int(self._values[f"{tab}_erode"]),
                invert=bool(self._values[f"{tab}_invert"]),
            )
            for tab in tabs
            if self._values[f"{tab}_enabled"]
        ]


def decode(value: str) -> Image.Image:
    """Decode a data URI, and turn the image as its EXIF data say."""
    with Image.open(io.BytesIO(base64.b64decode(_DATA_URI.sub("", value, count=1)))) as image:
        if max(image.size) > MAX_SIDE:
            msg = f"an image of {image.size} is too large for the demo engine"
            raise ValueError(msg)
        return ImageOps.exif_transpose(image)


def encode(image: Image.Image) -> str:
    """Encode an image as a data URI, which is how the page takes it."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)  # previews: speed counts more than size
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def dilate(mask: Image.Image, pixels: int) -> Image.Image:
    """Dilate a mask by so many pixels, or erode it where they are below 0."""
    if not pixels:
        return mask
    size = 2 * abs(pixels) + 1
    return mask.filter(ImageFilter.MaxFilter(size) if pixels > 0 else ImageFilter.MinFilter(size))


def _decode_mask(value: str) -> Image.Image:
    """Decode a mask as Fooocus reads it: the first of three channels, or it breaks."""
    mask = decode(value)
    if mask.mode == "RGBA":
        mask = mask.getchannel("A")
    elif mask.mode != "RGB":
        # Fooocus's own failure, and its words, for a mask of one channel.
        msg = "too many indices for array: array is 2-dimensional, but 3 were indexed"
        raise IndexError(msg)
    return mask.convert("L").point([0] * 128 + [255] * 128)
