"""Draws layered landscapes from a prompt, a seed and styles: the same bytes every time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from fooocus_nb.demo.palettes import PALETTE_WORDS, PALETTES, Color

__all__ = ["Artist", "Scene"]

Array = NDArray[np.float32]
_SUBJECT_WORDS = {
    "lighthouse": "lighthouse beacon tower castle",
    "city": "city skyline town street cyberpunk skyscraper new york tokyo",
    "forest": "forest woods trees pine tree jungle cabin bear fox deer",
    "boat": "boat ship sail sailing harbour harbor yacht regatta",
    "cat": "cat kitten dog puppy wolf fox",
    "balloon": "balloon balloons bird birds flying dragon airship",
}
_WATER = (
    "sea ocean lake water river harbour harbor lighthouse boat ship beach coast island bay "
    "reflection sail yacht regatta fjord"
)
_WATER_WORDS = frozenset(_WATER.split())


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


class Artist:
    """One picture in the making.

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

    def _choose_palette(self) -> str:
        for words in (self._words, self._style_words):
            for name, keywords in PALETTE_WORDS.items():
                if words & set(keywords.split()):
                    return name
        return str(self._rng.choice(["dusk", "dawn", "day", "night", "autumn", "forest"]))

    def _choose_subject(self) -> str:
        for name, keywords in _SUBJECT_WORDS.items():
            if self._words & set(keywords.split()):
                return name
        return str(self._rng.choice(["forest", "balloon", "none", "boat"]))

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

    def _noise(self, across: int, down: int) -> Array:
        """Return smooth noise from 0 to 1 over the whole picture."""
        grid = self._rng.random((max(down, 2), max(across, 2)), dtype=np.float32)
        image = Image.fromarray(grid).resize(self._size, Image.Resampling.BICUBIC)
        return np.asarray(image, dtype=np.float32)

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

    # -- subjects ---------------------------------------------------------------------------

    def _draw_lighthouse(self, picture: Image.Image, horizon: int) -> None:
        width, height = self._size
        near, light = self._palette[5], self._palette[3]
        side = 1 if self._light_at[0] < width / 2 else -1
        x = width / 2 + side * width * self._rng.uniform(0.16, 0.28)
        ground = horizon + (height - horizon) * 0.14
        tall = height * self._rng.uniform(0.30, 0.40)
        top = ground - tall
        wide = tall * 0.10
        self._beam(picture, x, top - wide * 0.3, -side)
        island = np.linspace(0, np.pi, 40)
        rough = self._rng.uniform(0.8, 1.15, 40)
        rocks = [
            (x - float(np.cos(a)) * tall * 0.62, ground + 6 - float(np.sin(a) * r) * tall * 0.13)
            for a, r in zip(island, rough, strict=True)
        ]
        self._polygon(
            picture, [*rocks, (x + tall * 0.66, ground + 14), (x - tall * 0.66, ground + 14)], near
        )
        body = self._mix((242, 236, 228), self._palette[4], 0.35)
        stripe = self._mix((176, 52, 54), near, 0.35)
        for band in range(6):
            low, high = ground - 4 - tall * band / 6, ground - 4 - tall * (band + 1) / 6
            left_low, left_high = wide * (1 - band * 0.08), wide * (1 - (band + 1) * 0.08)
            self._polygon(
                picture,
                [
                    (x - left_low, low),
                    (x - left_high, high),
                    (x + left_high, high),
                    (x + left_low, low),
                ],
                stripe if band % 2 else body,
            )
            shade = self._mix(stripe if band % 2 else body, near, 0.45)
            edge = [(x, low), (x, high), (x + left_high, high), (x + left_low, low)]
            if side < 0:
                edge = [(2 * x - px, py) for px, py in edge]
            self._polygon(picture, edge, shade)
        self._polygon(picture, _box(x, top - wide * 0.05, wide * 0.85, wide * 0.16), near)
        self._polygon(picture, _box(x, top - wide * 0.55, wide * 0.40, wide * 0.9), light)
        self._polygon(
            picture,
            [
                (x - wide * 0.6, top - wide * 0.95),
                (x, top - wide * 1.7),
                (x + wide * 0.6, top - wide * 0.95),
            ],
            near,
        )

    def _beam(self, picture: Image.Image, x: float, y: float, side: int) -> None:
        width, height = self._size
        mask = Image.new("L", (width // 2, height // 2), 0)
        far = x + side * width
        points = [
            (x / 2, y / 2),
            (far / 2, (y - height * 0.10) / 2),
            (far / 2, (y + height * 0.12) / 2),
        ]
        ImageDraw.Draw(mask).polygon(points, fill=92)
        mask = mask.filter(ImageFilter.GaussianBlur(width / 160)).resize(self._size)
        fade = np.abs(np.arange(width, dtype=np.float32) - x) / width
        faded = np.asarray(mask, np.float32) * np.clip(1 - fade * 1.25, 0, 1)[None, :]
        picture.paste(self._palette[3], (0, 0), Image.fromarray(faded.astype(np.uint8)))

    def _draw_forest(self, picture: Image.Image, horizon: int) -> None:
        width, height = self._size
        far, near = self._palette[4], self._palette[5]
        for row in range(3):
            depth = (row + 1) / 3
            color = self._mix(far, near, 0.35 + 0.65 * depth)
            ground = horizon + (height - horizon) * (0.12 + 0.78 * depth**1.5)
            size = height * (0.07 + 0.26 * depth**1.6)
            step = size * 0.34
            for x in np.arange(-step, width + step, step):
                if row == 2 and abs(x - width * 0.5) < width * 0.24:
                    continue  # a clearing, for the view
                self._pine(
                    picture,
                    float(x + self._rng.uniform(-0.4, 0.4) * step),
                    ground + float(self._rng.uniform(0, 0.2)) * size,
                    size * float(self._rng.uniform(0.65, 1.15)),
                    color,
                )

    def _pine(self, picture: Image.Image, x: float, y: float, size: float, color: Color) -> None:
        points = [(x, y - size)]
        tiers = 5
        for tier in range(1, tiers + 1):
            reach, low = size * 0.05 + size * 0.17 * tier / tiers, y - size * (1 - tier / tiers)
            points += [(x + reach, low), (x + reach * 0.55, low - size * 0.02)]
        left = [(2 * x - px, py) for px, py in reversed(points[1:])]
        self._polygon(picture, [*points, *left], color)

    def _draw_city(self, picture: Image.Image, horizon: int) -> None:
        width, height = self._size
        _, _, low, light, far, near = self._palette
        for row in range(3):
            depth = (row + 1) / 3
            color = self._mix(self._mix(low, far, 0.6), near, 0.25 + 0.7 * depth)
            ground = horizon + (height - horizon) * (0.05 + 0.95 * depth**2)
            x = -20.0
            while x < width:
                wide = width * float(self._rng.uniform(0.025, 0.06)) * (0.6 + 0.6 * depth)
                middle = 1 - abs(x - width * 0.5) / width
                tall = height * float(self._rng.uniform(0.12, 0.42)) * middle * (0.7 + 0.5 * depth)
                self._polygon(
                    picture, _box(x + wide / 2, ground - tall / 2, wide / 2, tall / 2 + 4), color
                )
                self._windows(picture, x, ground - tall, wide, tall, light, 0.25 + 0.4 * depth)
                x += wide * float(self._rng.uniform(0.95, 1.2))

    def _windows(
        self,
        picture: Image.Image,
        x: float,
        y: float,
        wide: float,
        tall: float,
        light: Color,
        share: float,
    ) -> None:
        draw = ImageDraw.Draw(picture)
        cell = max(self._size[1] / 110, 4)
        for column in np.arange(x + cell * 0.6, x + wide - cell, cell):
            for row in np.arange(y + cell, y + tall, cell * 1.3):
                if self._rng.random() < share * 0.6:
                    color = self._mix(light, self._palette[2], float(self._rng.random()))
                    draw.rectangle(
                        (column, row, column + cell * 0.45, row + cell * 0.6), fill=color
                    )

    def _draw_boat(self, picture: Image.Image, horizon: int) -> None:
        width, height = self._size
        near, light = self._palette[5], self._palette[3]
        for _ in range(int(self._rng.integers(1, 4))):
            size = height * float(self._rng.uniform(0.07, 0.16))
            x = width * float(self._rng.uniform(0.15, 0.85))
            y = horizon + (height - horizon) * (size / height) * 2.2
            sail = self._mix(light, near, 0.12)
            self._polygon(
                picture,
                [(x, y - size * 1.5), (x, y - size * 0.14), (x + size * 0.62, y - size * 0.14)],
                sail,
            )
            self._polygon(
                picture,
                [
                    (x - size * 0.06, y - size * 1.25),
                    (x - size * 0.06, y - size * 0.14),
                    (x - size * 0.42, y - size * 0.14),
                ],
                self._mix(sail, self._palette[1], 0.4),
            )
            self._polygon(
                picture,
                [
                    (x - size * 0.6, y - size * 0.08),
                    (x + size * 0.75, y - size * 0.08),
                    (x + size * 0.5, y + size * 0.12),
                    (x - size * 0.42, y + size * 0.12),
                ],
                near,
            )

    def _draw_cat(self, picture: Image.Image, horizon: int) -> None:
        width, height = self._size
        near = self._palette[5]
        size = height * 0.30
        x, y = width * float(self._rng.uniform(0.3, 0.7)), height * 0.93
        turn = np.linspace(0, 2 * np.pi, 48)
        ellipses = ((0.0, -0.38, 0.34, 0.46), (0.06, -0.96, 0.25, 0.22))
        for dx, dy, rx, ry in ellipses:
            outline = [
                (x + size * (dx + rx * float(np.cos(a))), y + size * (dy + ry * float(np.sin(a))))
                for a in turn
            ]
            self._polygon(picture, outline, near)
        for ear in (-1, 1):
            base = x + size * (0.06 + ear * 0.14)
            self._polygon(
                picture,
                [
                    (base - size * 0.11, y - size * 1.06),
                    (base + ear * size * 0.06, y - size * 1.36),
                    (base + size * 0.11, y - size * 1.06),
                ],
                near,
            )
        swing = np.linspace(0, np.pi * 1.1, 24)
        tail = [
            (x - size * (0.30 + 0.34 * float(np.sin(a))), y - size * (0.02 + 0.30 * float(a)))
            for a in swing
        ]
        thick = [(px + size * 0.08, py) for px, py in reversed(tail)]
        self._polygon(picture, [*tail, *thick], near)

    def _draw_balloon(self, picture: Image.Image, horizon: int) -> None:
        width, height = self._size
        light, middle, near = self._palette[3], self._palette[1], self._palette[5]
        turn = np.linspace(0, 2 * np.pi, 48)
        for _ in range(int(self._rng.integers(2, 6))):
            size = height * float(self._rng.uniform(0.03, 0.10))
            x = width * float(self._rng.uniform(0.1, 0.9))
            y = horizon * float(self._rng.uniform(0.18, 0.7))
            colors = (light, self._mix(middle, (220, 60, 60), 0.5), self._mix(light, middle, 0.5))
            for band, color in zip((1.0, 0.66, 0.3), colors, strict=True):
                outline = [
                    (
                        x + size * band * float(np.cos(a)),
                        y + size * 1.12 * float(np.sin(a)) * (1 if np.sin(a) < 0 else 1.15),
                    )
                    for a in turn
                ]
                self._polygon(picture, outline, self._mix(color, near, 0.12))
            self._polygon(picture, _box(x, y + size * 1.6, size * 0.16, size * 0.12), near)

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


def _box(x: float, y: float, half_width: float, half_height: float) -> list[tuple[float, float]]:
    return [
        (x - half_width, y - half_height),
        (x + half_width, y - half_height),
        (x + half_width, y + half_height),
        (x - half_width, y + half_height),
    ]
