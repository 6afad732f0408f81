"""Draws layered landscapes from a prompt, a seed and styles: the same pixels every time.

`draw` is the recipe: sky, mountains, water or hills, a subject, and the finish of a print. Each
step paints over the ones before. All chance comes from one generator that the scene seeds, so the
order in which it is asked is part of every image.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PALETTES", "Array", "Scene", "draw", "seeded", "sketch", "to_image", "to_pixels"]

Array = NDArray[np.float32]
Color = tuple[int, int, int]
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Scene:
    """What to draw: the words of prompt and styles choose, the seed decides all else."""

    prompt: str
    negative_prompt: str
    styles: tuple[str, ...]
    seed: int
    #: In pixels.
    width: int
    height: int


# -- colours ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Palette:
    """The colours of an image: the sky from the top to the horizon, the light, and the land."""

    top: Color
    middle: Color
    low: Color
    light: Color
    far: Color
    near: Color


def _palette(codes: str) -> Palette:
    return Palette(*((code[0], code[1], code[2]) for code in map(bytes.fromhex, codes.split())))


PALETTES = {
    "neon": _palette("0c0426 5c1074 ff3e98 78f6ff 46126e 080418"),
    "storm": _palette("242c38 546270 96a0a2 e0e8e2 4a5862 10161c"),
    "desert": _palette("427aa8 eebc82 ffdca4 fff6d2 ce8052 602c22"),
    "winter": _palette("6e8eb4 b6cce0 eef2fa fffffa aabed4 3e5470"),
    "autumn": _palette("627c9c deb284 ffd694 ffeec4 ba7046 421e16"),
    "dusk": _palette("262052 a84c74 ffae70 ffe2aa 7a4a70 1a142e"),
    "dawn": _palette("5c84ba ecb2ba ffe0b2 fff6d6 9e8caa 2e344e"),
    "night": _palette("060a1e 12204a 345284 e2eaff 1e2e58 040814"),
    "forest": _palette("467e8a 92bea8 e6e8be fffad2 548470 0c2622"),
    "day": _palette("3476be 7cb8e2 def0f6 fffae2 7a9eb2 1e423e"),
}
#: The first palette with a word in the prompt, or else in the styles, is taken.
_PALETTE_WORDS = {
    "neon": "neon cyberpunk neonpunk vaporwave futuristic synthwave retro",
    "storm": "storm stormy rain rainy thunder grey gloomy gloom",
    "desert": "desert dune dunes sahara canyon mars camel",
    "winter": "winter snow snowy ice frozen arctic christmas",
    "autumn": "autumn fall october harvest",
    "dusk": "dusk sunset evening twilight golden romantic",
    "dawn": "dawn sunrise morning mist misty fog pastel watercolor spring",
    "night": "night moon midnight stars starry dark space noir galaxy",
    "forest": "forest jungle green woods moss rainforest",
    "day": "day noon summer sunny beach bright",
}
#: What suits a prompt that says nothing of colours.
_PLAIN_PALETTES = ["dusk", "dawn", "day", "night", "autumn", "forest"]
_WATER_WORDS = (
    "sea ocean lake water river harbour harbor lighthouse boat ship beach coast island bay "
    "reflection sail yacht regatta fjord"
)


def _mix(first: Color, second: Color, share: float) -> Color:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _floats(color: Color) -> Array:
    return np.array(color, np.float32)


# -- the recipe -------------------------------------------------------------------------------


def draw(scene: Scene) -> Image.Image:
    """Draw a scene."""
    size = (scene.width, scene.height)
    rng = seeded("\0".join([scene.prompt, scene.negative_prompt, *scene.styles, str(scene.seed)]))
    words = set(scene.prompt.lower().replace(",", " ").split())
    style_words = set(" ".join(scene.styles).lower().split())
    palette = PALETTES[
        _chosen(_PALETTE_WORDS, words)
        or _chosen(_PALETTE_WORDS, style_words)
        or str(rng.choice(_PLAIN_PALETTES))
    ]
    grain = rng.standard_normal((size[1] // 2 + 1, size[0] // 2 + 1), dtype=np.float32)
    subject = _chosen(_SUBJECT_WORDS, words) or str(rng.choice(_PLAIN_SUBJECTS))
    horizon = int(scene.height * rng.uniform(0.56, 0.68))
    sun = (rng.uniform(0.22, 0.78) * scene.width, horizon * rng.uniform(0.45, 0.86))
    canvas = _Canvas(Image.new("RGB", (0, 0)), *size, palette, rng, horizon, sun)

    _paint_sky(canvas)
    _paint_mountains(canvas)
    if words & set(_WATER_WORDS.split()) or subject in ("lighthouse", "boat"):
        _paint_water(canvas)
    else:
        _paint_hills(canvas)
    if subject in _SUBJECTS:
        _SUBJECTS[subject](canvas)
    return _finish(canvas.image, grain)


def sketch(finished: Image.Image, progress: float, seed: int, side: int) -> Image.Image:
    """Return a preview: a small image with more noise and fewer details the earlier it is."""
    small = finished.copy()
    small.thumbnail((side, side))
    pixels = to_pixels(small.filter(ImageFilter.GaussianBlur((1 - progress) ** 2 * side / 16)))
    rng = np.random.default_rng(seed % 2**32 + int(progress * 1000))
    noise = rng.standard_normal((*pixels.shape[:2], 3), dtype=np.float32) * 70
    strength = (1 - progress) ** 1.5
    return to_image(pixels * (1 - 0.6 * strength) + (60 + noise) * strength)


def seeded(text: str) -> np.random.Generator:
    """Return a generator of random numbers that a text seeds, the same on every machine."""
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def to_pixels(image: Image.Image) -> Array:
    """Return an image as numbers to calculate with."""
    return np.asarray(image, dtype=np.float32)


def to_image(pixels: Array | NDArray[np.float64]) -> Image.Image:
    """Return numbers as an image; what is too dark or too bright is cut off."""
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _chosen(table: dict[str, str], words: set[str]) -> str:
    """Return the first entry that one of the words stands for; empty where there is none."""
    return next((name for name, its in table.items() if words & set(its.split())), "")


@dataclass
class _Canvas:
    """An image in the making, and what all steps share."""

    #: Empty until there is a sky: a blank one would cost a tenth of the time of all drawing.
    image: Image.Image
    width: int
    height: int
    palette: Palette
    rng: np.random.Generator
    #: The row where the sky ends.
    horizon: int
    #: Where the sun or the moon stands.
    sun: tuple[float, float]

    def noise(self, across: int, down: int) -> Array:
        """Return smooth noise from 0 to 1 over the whole image."""
        grid = self.rng.random((max(down, 2), max(across, 2)), dtype=np.float32)
        image = Image.fromarray(grid).resize((self.width, self.height), Image.Resampling.BICUBIC)
        return np.asarray(image, dtype=np.float32)

    def ridge(self, base: float, rise: float, roughness: float) -> Array:
        """Return the rows of a mountain line, one for each column."""
        columns = np.linspace(0, 1, self.width, dtype=np.float32)
        line = np.zeros(self.width, np.float32)
        for octave in range(7):
            points = 3 * 2**octave + 2
            values = self.rng.random(points, dtype=np.float32) - 0.5
            smooth = np.interp(columns * (points - 1), np.arange(points), values)
            line += (smooth * roughness**octave).astype(np.float32)
        return (base - np.abs(line) * rise).astype(np.float32)

    def fill(self, points: Points, color: Color) -> None:
        """Fill a polygon, with smooth edges: Pillow's have none, so it is drawn twice as large."""
        xs, ys = zip(*points, strict=True)
        left, top = max(int(min(xs)) - 1, 0), max(int(min(ys)) - 1, 0)
        right = min(int(max(xs)) + 2, self.width)
        bottom = min(int(max(ys)) + 2, self.height)
        if right <= left or bottom <= top:
            return
        mask = Image.new("L", ((right - left) * 2, (bottom - top) * 2), 0)
        ImageDraw.Draw(mask).polygon([((x - left) * 2, (y - top) * 2) for x, y in points], fill=255)
        self.image.paste(color, (left, top), mask.resize((right - left, bottom - top)))

    def fill_below(self, line: Array, color: Color, bottom: int) -> None:
        """Fill all between a line, which has a row for each column, and a row below it."""
        last = self.width - 1
        points = [(float(x), float(line[min(x, last)])) for x in range(0, self.width + 2, 2)]
        self.fill([(0.0, float(bottom)), *points, (float(self.width), float(bottom))], color)


# -- sky, land and water ----------------------------------------------------------------------


def _paint_sky(canvas: _Canvas) -> None:
    width, height, horizon, rng = canvas.width, canvas.height, canvas.horizon, canvas.rng
    palette = canvas.palette
    top, middle, low = map(_floats, (palette.top, palette.middle, palette.low))
    along = np.linspace(0, 1, height, dtype=np.float32)[:, None] * (height / horizon)
    along = np.clip(along, 0, 1)
    column = np.where(
        along < 0.55,
        top + (middle - top) * (along / 0.55),
        middle + (low - middle) * ((along - 0.55) / 0.45),
    )
    pixels = np.repeat(column[:, None, :], width, axis=1)

    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    distance = np.hypot(x - canvas.sun[0], y - canvas.sun[1])
    radius = min(width, height) * rng.uniform(0.045, 0.08)
    glow = np.exp(-distance / (radius * 3.2)) * 0.75
    disc = np.clip((radius - distance) / 2 + 0.5, 0, 1)
    cover = 0.55 * canvas.noise(3, 7) + 0.3 * canvas.noise(8, 18) + 0.15 * canvas.noise(24, 48)
    clouds = np.asarray(np.clip((cover - 0.5) * 3.2, 0, 1), dtype=np.float32)
    clouds = clouds * np.clip(1 - np.abs(y / horizon - 0.55) * 1.4, 0, 1)
    light = _floats(palette.light)
    pixels += (light - pixels) * (clouds * 0.42)[..., None]
    pixels += (light - pixels) * np.maximum(glow, disc)[..., None]
    if float(np.mean(top)) < 50:
        _add_stars(pixels, horizon, rng)
    canvas.image = to_image(pixels)


def _add_stars(pixels: Array, horizon: int, rng: np.random.Generator) -> None:
    width = pixels.shape[1]
    count = width * horizon // 1800
    xs = rng.integers(1, width - 1, count)
    ys = (rng.random(count) ** 1.4 * horizon * 0.9).astype(int)
    brightness = rng.random(count).astype(np.float32)[:, None] ** 2 * 230 + 20
    pixels[ys, xs] = np.minimum(pixels[ys, xs] + brightness, 255)
    large = brightness[:, 0] > 180
    for dy, dx in ((0, 1), (1, 0), (0, -1)):
        rows = np.clip(ys[large] + dy, 0, horizon - 1)
        pixels[rows, xs[large] + dx] += brightness[large] * 0.4


def _paint_mountains(canvas: _Canvas) -> None:
    palette, horizon = canvas.palette, canvas.horizon
    layers = int(canvas.rng.integers(3, 6))
    for layer in range(layers):
        depth = (layer + 1) / layers
        rise = horizon * (0.62 - 0.42 * depth) * canvas.rng.uniform(0.7, 1.2)
        color = _mix(palette.low, palette.far, 0.35 + 0.65 * depth)
        line = canvas.ridge(horizon + 2, rise, 0.52)
        canvas.fill_below(line, _mix(color, palette.near, 0.30 * depth), horizon + 4)


def _paint_hills(canvas: _Canvas) -> None:
    palette, height, horizon = canvas.palette, canvas.height, canvas.horizon
    for layer in range(4):
        depth = (layer + 1) / 4
        base = horizon + (height - horizon) * (0.06 + 0.62 * depth**1.4)
        line = canvas.ridge(base, height * 0.10, 0.34)
        if layer == 0:  # the first hides the foot of the mountains
            line = np.minimum(line, horizon)
        color = _mix(palette.far, palette.near, 0.25 + 0.75 * depth)
        canvas.fill_below(line, color, height)


def _paint_water(canvas: _Canvas) -> None:
    """Mirror what is above the horizon, moved by waves, with a path of light below the sun."""
    width, height, horizon = canvas.width, canvas.height, canvas.horizon
    depth = height - horizon
    source = to_pixels(canvas.image)
    rows = np.clip(horizon - 1 - (np.arange(depth) * 0.9).astype(int), 0, horizon - 1)
    distance = (np.arange(depth, dtype=np.float32) / depth)[:, None]
    waves = canvas.noise(max(width // 60, 2), max(height // 5, 2))[horizon:]
    shift = ((waves - 0.5) * (4 + 46 * distance)).astype(int)
    columns = np.clip(np.arange(width)[None, :] + shift, 0, width - 1)
    pixels = source[rows[:, None], columns]
    deep = _floats(canvas.palette.top) * 0.55 + _floats(canvas.palette.near) * 0.45
    pixels = pixels + (deep - pixels) * (0.22 + 0.5 * distance)[..., None]
    across = np.abs(np.arange(width, dtype=np.float32)[None, :] - canvas.sun[0])
    path = np.exp(-across / (width * (0.02 + 0.07 * distance)))
    sparkle = path * np.clip((waves - 0.52) * 5, 0, 1) * 0.85
    pixels += (_floats(canvas.palette.light) - pixels) * sparkle[..., None]
    canvas.image.paste(to_image(pixels), (0, horizon))


# -- the finish -------------------------------------------------------------------------------


def _finish(image: Image.Image, grain: Array) -> Image.Image:
    """Add grain, a vignette and a little contrast."""
    spread = Image.fromarray(grain).resize(image.size, Image.Resampling.BILINEAR)
    x = np.linspace(-1, 1, image.width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, image.height, dtype=np.float32)[:, None]
    vignette = 1 - 0.30 * np.clip(x * x + y * y - 0.45, 0, 1)
    printed = (to_pixels(image) + to_pixels(spread)[..., None] * 3.2) * vignette[..., None]
    return to_image((printed - 128) * 1.06 + 130)


# -- subjects ---------------------------------------------------------------------------------


def _paint_lighthouse(canvas: _Canvas) -> None:
    width, height, horizon, rng = canvas.width, canvas.height, canvas.horizon, canvas.rng
    near, light = canvas.palette.near, canvas.palette.light
    side = 1 if canvas.sun[0] < width / 2 else -1
    x = width / 2 + side * width * rng.uniform(0.16, 0.28)
    ground = horizon + (height - horizon) * 0.14
    tall = height * rng.uniform(0.30, 0.40)
    top = ground - tall
    wide = tall * 0.10
    _paint_beam(canvas, x, top - wide * 0.3, -side)

    rough = rng.uniform(0.8, 1.15, 40)
    rocks = [
        (x - float(np.cos(a)) * tall * 0.62, ground + 6 - float(np.sin(a) * r) * tall * 0.13)
        for a, r in zip(np.linspace(0, np.pi, 40), rough, strict=True)
    ]
    canvas.fill([*rocks, (x + tall * 0.66, ground + 14), (x - tall * 0.66, ground + 14)], near)

    body = _mix((242, 236, 228), canvas.palette.far, 0.35)
    stripe = _mix((176, 52, 54), near, 0.35)
    for band in range(6):
        color = stripe if band % 2 else body
        low, high = ground - 4 - tall * band / 6, ground - 4 - tall * (band + 1) / 6
        half_low, half_high = wide * (1 - band * 0.08), wide * (1 - (band + 1) * 0.08)
        right = [(x + half_high, high), (x + half_low, low)]
        canvas.fill([(x - half_low, low), (x - half_high, high), *right], color)
        shaded = [(x, low), (x, high), *right]
        canvas.fill(shaded if side > 0 else _mirrored(shaded, x), _mix(color, near, 0.45))

    canvas.fill(_box(x, top - wide * 0.05, wide * 0.85, wide * 0.16), near)
    canvas.fill(_box(x, top - wide * 0.55, wide * 0.40, wide * 0.9), light)
    canvas.fill(_placed(x, top, wide, (-0.6, -0.95), (0, -1.7), (0.6, -0.95)), near)


def _paint_beam(canvas: _Canvas, x: float, y: float, side: int) -> None:
    width, height = canvas.width, canvas.height
    far = x + side * width
    points = [(x, y), (far, y - height * 0.10), (far, y + height * 0.12)]
    # Soft anyway, so half the size is enough.
    mask = Image.new("L", (width // 2, height // 2), 0)
    ImageDraw.Draw(mask).polygon([(px / 2, py / 2) for px, py in points], fill=92)
    mask = mask.filter(ImageFilter.GaussianBlur(width / 160)).resize(canvas.image.size)
    fade = np.abs(np.arange(width, dtype=np.float32) - x) / width
    faded = to_pixels(mask) * np.clip(1 - fade * 1.25, 0, 1)[None, :]
    canvas.image.paste(canvas.palette.light, (0, 0), Image.fromarray(faded.astype(np.uint8)))


def _paint_forest(canvas: _Canvas) -> None:
    width, height, horizon, rng = canvas.width, canvas.height, canvas.horizon, canvas.rng
    for row in range(3):
        depth = (row + 1) / 3
        color = _mix(canvas.palette.far, canvas.palette.near, 0.35 + 0.65 * depth)
        ground = horizon + (height - horizon) * (0.12 + 0.78 * depth**1.5)
        size = height * (0.07 + 0.26 * depth**1.6)
        step = size * 0.34
        for place in np.arange(-step, width + step, step):
            if row == 2 and abs(place - width * 0.5) < width * 0.24:
                continue  # a clearing, for the view
            x = float(place + rng.uniform(-0.4, 0.4) * step)
            y = ground + rng.uniform(0, 0.2) * size
            canvas.fill(_pine(x, y, size * rng.uniform(0.65, 1.15)), color)


def _pine(x: float, y: float, size: float) -> Points:
    right = [(x, y - size)]
    tiers = 5
    for tier in range(1, tiers + 1):
        reach, low = size * 0.05 + size * 0.17 * tier / tiers, y - size * (1 - tier / tiers)
        right += [(x + reach, low), (x + reach * 0.55, low - size * 0.02)]
    return [*right, *_mirrored(right[:0:-1], x)]


def _paint_city(canvas: _Canvas) -> None:
    width, height, horizon, rng = canvas.width, canvas.height, canvas.horizon, canvas.rng
    palette = canvas.palette
    for row in range(3):
        depth = (row + 1) / 3
        color = _mix(_mix(palette.low, palette.far, 0.6), palette.near, 0.25 + 0.7 * depth)
        ground = horizon + (height - horizon) * (0.05 + 0.95 * depth**2)
        x = -20.0
        while x < width:
            wide = width * rng.uniform(0.025, 0.06) * (0.6 + 0.6 * depth)
            middle = 1 - abs(x - width * 0.5) / width
            tall = height * rng.uniform(0.12, 0.42) * middle * (0.7 + 0.5 * depth)
            canvas.fill(_box(x + wide / 2, ground - tall / 2, wide / 2, tall / 2 + 4), color)
            _light_windows(canvas, (x, ground - tall), (wide, tall), 0.25 + 0.4 * depth)
            x += wide * rng.uniform(0.95, 1.2)


def _light_windows(
    canvas: _Canvas, corner: tuple[float, float], size: tuple[float, float], share: float
) -> None:
    (x, y), (wide, tall) = corner, size
    pen = ImageDraw.Draw(canvas.image)
    cell = max(canvas.height / 110, 4)
    for column in np.arange(x + cell * 0.6, x + wide - cell, cell):
        for row in np.arange(y + cell, y + tall, cell * 1.3):
            if canvas.rng.random() < share * 0.6:
                color = _mix(canvas.palette.light, canvas.palette.low, canvas.rng.random())
                pen.rectangle((column, row, column + cell * 0.45, row + cell * 0.6), fill=color)


def _paint_boats(canvas: _Canvas) -> None:
    height, horizon, rng = canvas.height, canvas.horizon, canvas.rng
    near = canvas.palette.near
    sail = _mix(canvas.palette.light, near, 0.12)
    for _ in range(int(rng.integers(1, 4))):
        size = height * rng.uniform(0.07, 0.16)
        x = canvas.width * rng.uniform(0.15, 0.85)
        y = horizon + (height - horizon) * (size / height) * 2.2
        main = _placed(x, y, size, (0, -1.5), (0, -0.14), (0.62, -0.14))
        jib = _placed(x, y, size, (-0.06, -1.25), (-0.06, -0.14), (-0.42, -0.14))
        hull = _placed(x, y, size, (-0.6, -0.08), (0.75, -0.08), (0.5, 0.12), (-0.42, 0.12))
        canvas.fill(main, sail)
        canvas.fill(jib, _mix(sail, canvas.palette.middle, 0.4))
        canvas.fill(hull, near)


def _paint_cat(canvas: _Canvas) -> None:
    near = canvas.palette.near
    size = canvas.height * 0.30
    x, y = canvas.width * canvas.rng.uniform(0.3, 0.7), canvas.height * 0.93
    body, head = (0.0, -0.38, 0.34, 0.46), (0.06, -0.96, 0.25, 0.22)
    for dx, dy, rx, ry in (body, head):
        outline = [(dx + rx * cos, dy + ry * sin) for cos, sin in _circle()]
        canvas.fill(_placed(x, y, size, *outline), near)
    for ear in (-1, 1):
        base = x + size * (0.06 + ear * 0.14)
        tip = (ear * 0.06, -1.36)
        canvas.fill(_placed(base, y, size, (-0.11, -1.06), tip, (0.11, -1.06)), near)
    tail = [
        (x - size * (0.30 + 0.34 * float(np.sin(a))), y - size * (0.02 + 0.30 * float(a)))
        for a in np.linspace(0, np.pi * 1.1, 24)
    ]
    canvas.fill([*tail, *((px + size * 0.08, py) for px, py in reversed(tail))], near)


def _paint_balloons(canvas: _Canvas) -> None:
    palette, rng = canvas.palette, canvas.rng
    red, pale = _mix(palette.middle, (220, 60, 60), 0.5), _mix(palette.light, palette.middle, 0.5)
    stripes = ((1.0, palette.light), (0.66, red), (0.3, pale))
    for _ in range(int(rng.integers(2, 6))):
        size = canvas.height * rng.uniform(0.03, 0.10)
        x = canvas.width * rng.uniform(0.1, 0.9)
        y = canvas.horizon * rng.uniform(0.18, 0.7)
        for share, color in stripes:
            outline = [
                (x + size * share * cos, y + size * 1.12 * sin * (1 if sin < 0 else 1.15))
                for cos, sin in _circle()
            ]
            canvas.fill(outline, _mix(color, palette.near, 0.12))
        canvas.fill(_box(x, y + size * 1.6, size * 0.16, size * 0.12), palette.near)


def _circle() -> Points:
    return [(float(np.cos(a)), float(np.sin(a))) for a in np.linspace(0, 2 * np.pi, 48)]


def _box(x: float, y: float, half_width: float, half_height: float) -> Points:
    left, right, top, bottom = x - half_width, x + half_width, y - half_height, y + half_height
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _placed(x: float, y: float, size: float, *shape: tuple[float, float]) -> Points:
    """Return a shape of size 1 at a place, in a size."""
    return [(x + size * dx, y + size * dy) for dx, dy in shape]


def _mirrored(points: Points, x: float) -> Points:
    """Return points mirrored at a column."""
    return [(2 * x - px, py) for px, py in points]


_SUBJECTS: dict[str, Callable[[_Canvas], None]] = {
    "lighthouse": _paint_lighthouse,
    "city": _paint_city,
    "forest": _paint_forest,
    "boat": _paint_boats,
    "cat": _paint_cat,
    "balloon": _paint_balloons,
}
#: The first subject with a word in the prompt is taken.
_SUBJECT_WORDS = {
    "lighthouse": "lighthouse beacon tower castle",
    "city": "city skyline town street cyberpunk skyscraper new york tokyo",
    "forest": "forest woods trees pine tree jungle cabin bear fox deer",
    "boat": "boat ship sail sailing harbour harbor yacht regatta",
    "cat": "cat kitten dog puppy wolf fox",
    "balloon": "balloon balloons bird birds flying dragon airship",
}
#: What suits a prompt that names no subject; ``none`` is the landscape alone.
_PLAIN_SUBJECTS = ["forest", "balloon", "none", "boat"]
