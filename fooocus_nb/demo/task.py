"""One generation as the page asked for it, and the channel between worker and page."""

from __future__ import annotations

import queue
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fooocus_nb.demo.choices import Performance
from fooocus_nb.demo.inputs import Inputs
from fooocus_nb.demo.wording import chosen_styles, worded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["News", "Task"]

MAX_SEED = 2**63 - 1
MIN_SIDE = 16
MAX_SIDE = 4096
_MOODS = [
    *("calm light", "quiet", "deep colors", "layered", "soft haze", "wide view", "poster"),
    *("warm glow", "fine grain", "gentle contrast", "clear air", "long shadows", "still water"),
    "distant hills",
]


@dataclass(frozen=True)
class News:
    """What the worker tells the page.

    Attributes
    ----------
    kind : {"preview", "results", "finish"}
        How far it is, which images are done, or that all is done.
    percent : int
        How much of it is done.
    text : str
        What it does.
    picture : str or None
        The image in the making, as a data URI.
    paths : tuple of Path
        The images that are done.
    """

    kind: Literal["preview", "results", "finish"]
    percent: int = 0
    text: str = ""
    picture: str | None = None
    paths: tuple[Path, ...] = ()


@dataclass
class Task:
    """One generation.

    Attributes
    ----------
    values : mapping
        What the page sent, by the keys of its components.
    news : queue.SimpleQueue of News
        What the worker tells.
    order : str
        ``stop`` or ``skip`` once somebody asked for it.
    begun : bool
        Whether it was handed to the worker; that happens once.
    results : list of Path
        The images that are done.

    Raises
    ------
    ValueError
        When the seed is no number or the performance none of Fooocus's.
    """

    values: Mapping[str, Any]
    news: queue.SimpleQueue[News] = field(default_factory=queue.SimpleQueue)
    order: str = ""
    begun: bool = False
    results: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._seed = int(self.values["seed"])
        self.performance = Performance(self.values["performance"])
        self.inputs = Inputs(self.values)
        # What is there is enhanced once.
        self.count = 1 if self.inputs.is_given else int(self.values["image_number"])

    @property
    def prompt(self) -> str:
        """What to draw, as it was written."""
        return str(self.values["prompt"])

    @property
    def styles(self) -> tuple[str, ...]:
        """The names of the styles, as they were chosen."""
        return tuple(map(str, self.values["styles"]))

    def prompt_of(self, index: int) -> str:
        """Return what to draw in one image, counted from 0."""
        in_order = bool(self.values["wildcards_in_order"])
        return worded(self.prompt, index, self.seed(index), in_order=in_order)

    def styles_of(self, index: int) -> tuple[str, ...]:
        """Return the styles of one image, counted from 0."""
        return chosen_styles(self.styles, self.seed(index))

    @property
    def steps(self) -> int:
        """How many sampling steps an image takes."""
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
        """The LoRAs that are on, and their weights."""
        found = []
        for key, name in self.values.items():
            slot = re.fullmatch(r"(lora_\d+)_model", key)
            if slot and name != "None" and self.values[f"{slot[1]}_enabled"]:
                found.append((str(name), float(self.values[f"{slot[1]}_weight"])))
        return found

    @property
    def guidance(self) -> float:
        """How closely to follow the prompt; a hurried performance has its own."""
        return 1.0 if self.performance.hurried else float(self.values["guidance_scale"])

    @property
    def sharpness(self) -> float:
        """How sharp to draw; a hurried performance has its own."""
        return 0.0 if self.performance.hurried else float(self.values["sharpness"])

    def seed(self, index: int = 0) -> int:
        """Return the seed of one image, counted from 0."""
        step = 0 if self.values["disable_increment"] else index
        return (self._seed + step) % (MAX_SEED + 1)

    def expansion(self, index: int) -> str:
        """Return the prompt as the demo engine's idea of an expansion makes it."""
        if "Fooocus V2" not in self.styles:
            return ""
        start = self.seed(index) % len(_MOODS)
        words = [_MOODS[(start + 3 * step) % len(_MOODS)] for step in range(4)]
        prompt = self.prompt_of(index)
        return ", ".join([prompt.splitlines()[0] if prompt else "", *words])

    def tell(self, percent: int, text: str, picture: str | None = None) -> None:
        """Tell the page how far it is."""
        self.news.put(News("preview", percent, text, picture))
