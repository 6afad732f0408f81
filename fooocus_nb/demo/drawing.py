"""Draws layered landscapes from a prompt, a seed and styles: the same bytes every time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from fooocus_nb.demo.canvas import Array, Scene
from fooocus_nb.demo.subjects import Subjects

if TYPE_CHECKING:
    from fooocus_nb.demo.palettes import Color

__all__ = ["Artist", "Scene"]

_WATER = (
    "sea ocean lake water river harbour harbor lighthouse boat ship beach coast island bay "
    "reflection sail yacht regatta fjord"
)
_WATER_WORDS = frozenset(_WATER.split())


class Artist(Subjects):
    """One picture in the making."""

    # -- the picture ------------------------------------------------------------------------

    def paint(self) -> Image.Image:
        """Draw the finished picture."""
        _, height = self._size
        subject = self._choose_subject()
        water = bool(self._words & _WATER_WORDS) or subject in ("lighthouse", "boat")
        horizon = int(height * self._rng.uniform(0.56, 0.68))
        picture = self._sky(horizon)
        self._mountains(picture, horizon)
        if water:
            self._water(picture, horizon)
        else:
            self._hills(picture, horizon)
        draw = getattr(self, f"_draw_{subject}", None)
        if draw is not None:
            draw(picture, horizon)
        return self._develop(picture)

    def sketch(self, finished: Image.Image, progress: float, side: int = 512) -> Image.Image:
        """Return the picture as it might look at a point of its making.

        Parameters
        ----------
        finished : PIL.Image.Image
            The finished picture.
        progress : float
            From 0 to 1.
        side : int
            The longest side of the sketch.

        Returns
        -------
        PIL.Image.Image
            More noise and fewer details the earlier it is.
        """
        small = finished.copy()
        small.thumbnail((side, side))
        blurred = small.filter(ImageFilter.GaussianBlur((1 - progress) ** 2 * side / 16))
        pixels = np.asarray(blurred, dtype=np.float32)
        rng = np.random.default_rng(self._scene.seed % 2**32 + int(progress * 1000))
        noise = rng.standard_normal((*pixels.shape[:2], 3), dtype=np.float32) * 70
        strength = (1 - progress) ** 1.5
        mixed = pixels * (1 - 0.6 * strength) + (60 + noise) * strength
        return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))

    def _sky(self, horizon: int) -> Image.Image:
        width, height = self._size
        top, middle, low, light, _, _ = (np.array(c, np.float32) for c in self._palette)
        along = np.linspace(0, 1, height, dtype=np.float32)[:, None] * (height / horizon)
        along = np.clip(along, 0, 1)
        column = np.where(
            along < 0.55,
            top + (middle - top) * (along / 0.55),
            middle + (low - middle) * ((along - 0.55) / 0.45),
        )
        pixels = np.repeat(column[:, None, :], width, axis=1)
        self._light_at = (
            self._rng.uniform(0.22, 0.78) * width,
            horizon * self._rng.uniform(0.45, 0.86),
        )
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        distance = np.hypot(x - self._light_at[0], y - self._light_at[1])
        radius = min(width, height) * self._rng.uniform(0.045, 0.08)
        glow = np.exp(-distance / (radius * 3.2)) * 0.75
        disc = np.clip((radius - distance) / 2 + 0.5, 0, 1)
        clouds = self._clouds() * np.clip(1 - np.abs(y / horizon - 0.55) * 1.4, 0, 1)
        pixels += (light - pixels) * (clouds * 0.42)[..., None]
        pixels += (light - pixels) * np.maximum(glow, disc)[..., None]
        if float(np.mean(top)) < 50:
            self._stars(pixels, horizon)
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

    def _clouds(self) -> Array:
        total = 0.55 * self._noise(3, 7) + 0.3 * self._noise(8, 18) + 0.15 * self._noise(24, 48)
        return np.asarray(np.clip((total - 0.5) * 3.2, 0, 1), dtype=np.float32)

    def _stars(self, pixels: Array, horizon: int) -> None:
        width, _ = self._size
        count = width * horizon // 1800
        xs = self._rng.integers(1, width - 1, count)
        ys = (self._rng.random(count) ** 1.4 * horizon * 0.9).astype(int)
        brightness = self._rng.random(count).astype(np.float32)[:, None] ** 2 * 230 + 20
        pixels[ys, xs] = np.minimum(pixels[ys, xs] + brightness, 255)
        large = brightness[:, 0] > 180
        for dy, dx in ((0, 1), (1, 0), (0, -1)):
            rows = np.clip(ys[large] + dy, 0, horizon - 1)
            pixels[rows, xs[large] + dx] += brightness[large] * 0.4

    # -- land and water ---------------------------------------------------------------------

    def _ridge(self, base: float, rise: float, roughness: float) -> Array:
        """Return the height of a mountain line for every column."""
        width, _ = self._size
        columns = np.linspace(0, 1, width, dtype=np.float32)
        line = np.zeros(width, np.float32)
        for octave in range(7):
            points = 3 * 2**octave + 2
            values = self._rng.random(points, dtype=np.float32) - 0.5
            smooth = np.interp(columns * (points - 1), np.arange(points), values)
            line += (smooth * roughness**octave).astype(np.float32)
        return (base - np.abs(line) * rise).astype(np.float32)

    def _fill_below(self, picture: Image.Image, line: Array, color: Color, bottom: int) -> None:
        width, _ = self._size
        points = [(float(x), float(line[min(x, width - 1)])) for x in range(0, width + 2, 2)]
        self._polygon(
            picture, [(0.0, float(bottom)), *points, (float(width), float(bottom))], color
        )

    def _mountains(self, picture: Image.Image, horizon: int) -> None:
        _, _, low, _, far, near = self._palette
        layers = int(self._rng.integers(3, 6))
        for layer in range(layers):
            depth = (layer + 1) / layers
            line = self._ridge(
                horizon + 2, horizon * (0.62 - 0.42 * depth) * self._rng.uniform(0.7, 1.2), 0.52
            )
            color = self._mix(self._mix(low, far, 0.35 + 0.65 * depth), near, 0.30 * depth)
            self._fill_below(picture, line, color, horizon + 4)

    def _hills(self, picture: Image.Image, horizon: int) -> None:
        _, height = self._size
        _, _, _, _, far, near = self._palette
        for layer in range(4):
            depth = (layer + 1) / 4
            base = horizon + (height - horizon) * (0.06 + 0.62 * depth**1.4)
            line = self._ridge(base, height * 0.10, 0.34)
            if layer == 0:  # the first hides the foot of the mountains
                line = np.minimum(line, horizon)
            self._fill_below(picture, line, self._mix(far, near, 0.25 + 0.75 * depth), height)

    def _water(self, picture: Image.Image, horizon: int) -> None:
        width, height = self._size
        depth = height - horizon
        source = np.asarray(picture, dtype=np.float32)
        rows = np.clip(horizon - 1 - (np.arange(depth) * 0.9).astype(int), 0, horizon - 1)
        distance = (np.arange(depth, dtype=np.float32) / depth)[:, None]
        waves = self._noise(max(width // 60, 2), max(height // 5, 2))[horizon:]
        shift = ((waves - 0.5) * (4 + 46 * distance)).astype(int)
        columns = np.clip(np.arange(width)[None, :] + shift, 0, width - 1)
        mirrored = source[rows[:, None], columns]
        top, near = np.array(self._palette[0], np.float32), np.array(self._palette[5], np.float32)
        deep = top * 0.55 + near * 0.45
        result = mirrored + (deep - mirrored) * (0.22 + 0.5 * distance)[..., None]
        light = np.array(self._palette[3], np.float32)
        across = np.abs(np.arange(width, dtype=np.float32)[None, :] - self._light_at[0])
        path = np.exp(-across / (width * (0.02 + 0.07 * distance)))
        sparkle = path * np.clip((waves - 0.52) * 5, 0, 1) * 0.85
        result += (light - result) * sparkle[..., None]
        picture.paste(Image.fromarray(np.clip(result, 0, 255).astype(np.uint8)), (0, horizon))

    # -- the print --------------------------------------------------------------------------

    def _develop(self, picture: Image.Image) -> Image.Image:
        """Add a haze of grain and a vignette, and a little contrast."""
        width, height = self._size
        pixels = np.asarray(picture, dtype=np.float32)
        grain = np.asarray(
            Image.fromarray(self._grain).resize(self._size, Image.Resampling.BILINEAR), np.float32
        )
        x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        vignette = 1 - 0.30 * np.clip(x * x + y * y - 0.45, 0, 1)
        printed = (pixels + grain[..., None] * 3.2) * vignette[..., None]
        printed = (printed - 128) * 1.06 + 130
        return Image.fromarray(np.clip(printed, 0, 255).astype(np.uint8))
