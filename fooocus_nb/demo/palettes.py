"""The colours of the demo engine's pictures, and the words that choose them."""

from __future__ import annotations

__all__ = ["PALETTES", "PALETTE_WORDS", "Color"]

Color = tuple[int, int, int]

#: Sky top, sky middle, horizon, light, far land, near land.
PALETTES: dict[str, tuple[Color, Color, Color, Color, Color, Color]] = {
    "dusk": (
        (38, 32, 82),
        (168, 76, 116),
        (255, 174, 112),
        (255, 226, 170),
        (122, 74, 112),
        (26, 20, 46),
    ),
    "dawn": (
        (92, 132, 186),
        (236, 178, 186),
        (255, 224, 178),
        (255, 246, 214),
        (158, 140, 170),
        (46, 52, 78),
    ),
    "night": ((6, 10, 30), (18, 32, 74), (52, 82, 132), (226, 234, 255), (30, 46, 88), (4, 8, 20)),
    "day": (
        (52, 118, 190),
        (124, 184, 226),
        (222, 240, 246),
        (255, 250, 226),
        (122, 158, 178),
        (30, 66, 62),
    ),
    "autumn": (
        (98, 124, 156),
        (222, 178, 132),
        (255, 214, 148),
        (255, 238, 196),
        (186, 112, 70),
        (66, 30, 22),
    ),
    "winter": (
        (110, 142, 180),
        (182, 204, 224),
        (238, 242, 250),
        (255, 255, 250),
        (170, 190, 212),
        (62, 84, 112),
    ),
    "neon": (
        (12, 4, 38),
        (92, 16, 116),
        (255, 62, 152),
        (120, 246, 255),
        (70, 18, 110),
        (8, 4, 24),
    ),
    "desert": (
        (66, 122, 168),
        (238, 188, 130),
        (255, 220, 164),
        (255, 246, 210),
        (206, 128, 82),
        (96, 44, 34),
    ),
    "storm": (
        (36, 44, 56),
        (84, 98, 112),
        (150, 160, 162),
        (224, 232, 226),
        (74, 88, 98),
        (16, 22, 28),
    ),
    "forest": (
        (70, 126, 138),
        (146, 190, 168),
        (230, 232, 190),
        (255, 250, 210),
        (84, 132, 112),
        (12, 38, 34),
    ),
}

#: The first palette whose words are in the prompt is taken.
PALETTE_WORDS = {
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
