"""What all drawing stands on: a scene, its chance and colours, and shapes with smooth edges."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fooocus_nb.demo.palettes import PALETTE_WORDS, PALETTES, Color

__all__ = ["Array", "Canvas", "Scene"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """What is asked of the artist.

    Attributes
    ----------
    prompt : str
        What to draw.
    negative_prompt : str
        Changes the picture too, as it would with a real engine.
    styles : tuple of str
        The styles' words choose colours as the prompt's do.
    seed : int
        Decides all that the words leave open.
    width, height : int
        In pixels.
    """

    prompt: str
    negative_prompt: str
    styles: tuple[str, ...]
    seed: int
    width: int
    height: int


class Canvas:
    """A scene and the means to draw it.

    Parameters
    ----------
    scene : Scene
        What to draw.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        text = "\0".join([scene.prompt, scene.negative_prompt, *scene.styles, str(scene.seed)])
        digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
        self._rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
        self._words = set(scene.prompt.lower().replace(",", " ").split())
        self._style_words = set(" ".join(scene.styles).lower().split())
        self._palette = PALETTES[self._choose_palette()]
        self._size = (scene.width, scene.height)
        self._grain = self._rng.standard_normal(
            (scene.height // 2 + 1, scene.width // 2 + 1), dtype=np.float32
        )
        #: Where the sun or the moon is; the sky decides.
        self._light_at = (0.0, 0.0)

    def _choose_palette(self) -> str:
        for words in (self._words, self._style_words):
            for name, keywords in PALETTE_WORDS.items():
                if words & set(keywords.split()):
                    return name
        return str(self._rng.choice(["dusk", "dawn", "day", "night", "autumn", "forest"]))

    def _noise(self, across: int, down: int) -> Array:
        """Return smooth noise from 0 to 1 over the whole picture."""
        grid = self._rng.random((max(down, 2), max(across, 2)), dtype=np.float32)
        image = Image.fromarray(grid).resize(self._size, Image.Resampling.BICUBIC)
        return np.asarray(image, dtype=np.float32)

    def _polygon(
        self, picture: Image.Image, points: list[tuple[float, float]], color: Color
    ) -> None:
        """Fill a polygon with smooth edges."""
        xs, ys = zip(*points, strict=True)
        left, top = max(int(min(xs)) - 1, 0), max(int(min(ys)) - 1, 0)
        right = min(int(max(xs)) + 2, self._size[0])
        bottom = min(int(max(ys)) + 2, self._size[1])
        if right <= left or bottom <= top:
            return
        mask = Image.new("L", ((right - left) * 2, (bottom - top) * 2), 0)
        ImageDraw.Draw(mask).polygon([((x - left) * 2, (y - top) * 2) for x, y in points], fill=255)
        picture.paste(color, (left, top), mask.resize((right - left, bottom - top)))

    def _mix(self, first: Color, second: Color, share: float) -> Color:
        red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
        return red, green, blue
