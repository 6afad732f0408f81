"""What stands in the landscapes: lighthouses, woods, towns, boats, cats and balloons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fooocus_nb.demo.canvas import Canvas

if TYPE_CHECKING:
    from fooocus_nb.demo.palettes import Color

__all__ = ["Subjects"]

_SUBJECT_WORDS = {
    "lighthouse": "lighthouse beacon tower castle",
    "city": "city skyline town street cyberpunk skyscraper new york tokyo",
    "forest": "forest woods trees pine tree jungle cabin bear fox deer",
    "boat": "boat ship sail sailing harbour harbor yacht regatta",
    "cat": "cat kitten dog puppy wolf fox",
    "balloon": "balloon balloons bird birds flying dragon airship",
}


class Subjects(Canvas):
    """Draws the subject of a scene."""

    def _choose_subject(self) -> str:
        for name, keywords in _SUBJECT_WORDS.items():
            if self._words & set(keywords.split()):
                return name
        return str(self._rng.choice(["forest", "balloon", "none", "boat"]))

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


def _box(x: float, y: float, half_width: float, half_height: float) -> list[tuple[float, float]]:
    return [
        (x - half_width, y - half_height),
        (x + half_width, y - half_height),
        (x + half_width, y + half_height),
        (x - half_width, y + half_height),
    ]
