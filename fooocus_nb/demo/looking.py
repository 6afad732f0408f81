"""What the demo engine says of a picture: its colours and light, in words that it draws by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fooocus_nb.demo.palettes import PALETTES

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["described", "styles_for"]

#: Names of palettes as one says them; each is a word that chooses that palette again.
_STYLES = {
    "Photograph": ["Fooocus V2", "Fooocus Enhance", "Fooocus Sharp"],
    "Art/Anime": ["Fooocus V2", "Fooocus Semi Realistic", "Fooocus Masterpiece"],
}


def described(picture: Image.Image, kinds: Iterable[str]) -> str:
    """Return a prompt for a picture.

    Parameters
    ----------
    picture : PIL.Image.Image
        The picture.
    kinds : iterable of str
        What it is like: the page's names.

    Returns
    -------
    str
        Such as ``a wide view in the colors of dusk, bright, calm``.
    """
    small = picture.convert("RGB").resize((48, 48), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float32)
    view = "wide" if picture.width > 1.2 * picture.height else "tall"
    view = view if abs(picture.width - picture.height) > 0.2 * picture.height else "square"
    light = "bright" if float(pixels.mean()) > 110 else "dark"
    rough = float(np.abs(np.diff(pixels, axis=0)).mean())
    words = [f"a {view} view in the colors of {_palette(pixels)}", light]
    words.append("full of detail" if rough > 9 else "calm")
    words += ["anime"] if "Art/Anime" in set(kinds) else []
    return ", ".join(words)


def styles_for(kinds: Iterable[str]) -> list[str]:
    """Return the styles that suit pictures like that."""
    return list(dict.fromkeys(style for kind in kinds for style in _STYLES.get(kind, [])))


def _palette(pixels: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> str:
    """Return the palette whose sky and land are nearest to the upper and lower half."""
    upper, lower = pixels[:24].mean((0, 1)), pixels[24:].mean((0, 1))

    def distance(name: str) -> float:
        colors = np.array(PALETTES[name], np.float32)
        sky, land = colors[:3].mean(0), colors[[0, 4, 5]].mean(0)
        return float(np.abs(sky - upper).sum() + np.abs(land - lower).sum())

    return min(PALETTES, key=distance)
