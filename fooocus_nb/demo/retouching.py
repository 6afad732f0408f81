"""Works on pictures that are there, by plain arithmetic: the same bytes every time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from fooocus_nb.demo.drawing import Artist, Scene
from fooocus_nb.demo.inputs import grown

if TYPE_CHECKING:
    from fooocus_nb.demo.canvas import Array
    from fooocus_nb.demo.inputs import Control, Improvement

__all__ = ["extend", "guide", "improve", "paint_in", "repaint", "spot", "upscale", "vary"]

#: By how much of its length the real one extends a side.
_EXTENSION = 0.3
#: How much of its height at the edge is continued upwards and downwards.
_STRIP = 0.08
_UPSIDE_DOWN = Image.Transpose.FLIP_TOP_BOTTOM
#: How far pixels move, as a share of the picture, and how much of the colours changes.
_VARIATIONS = {"Vary (Subtle)": (0.006, 0.25), "Vary (Strong)": (0.013, 0.65)}
_SAMPLE = 256


def repaint(size: tuple[int, int], scene: Scene) -> Image.Image:
    """Draw a scene anew in a size of its own."""
    fitted = Scene(scene.prompt, scene.negative_prompt, scene.styles, scene.seed, *size)
    return Artist(fitted).paint()


def upscale(picture: Image.Image, method: str, scene: Scene, largest: int) -> Image.Image:
    """Return a larger picture; all but the fast method sharpen it and add a trace of grain."""
    factor = 1.5 if "1.5x" in method else 2.0
    factor = min(factor, largest / max(picture.size))
    size = (round(picture.width * factor), round(picture.height * factor))
    larger = picture.resize(size, Image.Resampling.LANCZOS)
    if "Fast" in method:
        return larger
    sharp = larger.filter(ImageFilter.UnsharpMask(radius=2, percent=80, threshold=2))
    grain = _chance(scene).standard_normal((size[1], size[0], 1), dtype=np.float32) * 1.5
    return _image(_pixels(sharp) + grain)


def vary(picture: Image.Image, method: str, scene: Scene) -> Image.Image:
    """Return a picture like this one: moved a little, and in colours nearer to the scene's."""
    far, share = _VARIATIONS.get(method, _VARIATIONS["Vary (Subtle)"])
    moved = _moved(picture, far, _chance(scene))
    palette = repaint((_SAMPLE, _SAMPLE), scene)
    return _tinted(moved, palette, share)


def paint_in(picture: Image.Image, mask: Image.Image, scene: Scene, strength: float) -> Image.Image:
    """Draw anew what is masked and leave every other pixel as it is."""
    drawn = _tinted(repaint(picture.size, scene), picture, 0.35)
    fresh = Image.blend(picture, drawn, strength)
    if strength < 1:
        fresh = fresh.filter(ImageFilter.UnsharpMask(radius=2, percent=90, threshold=1))
    # Soft towards the inside only.
    edge = max(min(picture.size) // 60, 1)
    soft = grown(mask, -edge).filter(ImageFilter.GaussianBlur(edge / 2))
    soft = Image.fromarray(np.minimum(np.asarray(soft), np.asarray(mask)))
    soft = soft if soft.getextrema()[1] else mask
    return Image.composite(fresh, picture, soft)


def extend(picture: Image.Image, sides: tuple[str, ...], scene: Scene) -> Image.Image:
    """Continue a picture beyond its sides; the picture itself is left as it is."""
    wide, high = round(picture.width * _EXTENSION), round(picture.height * _EXTENSION)
    pads = {"Left": wide, "Right": wide, "Top": high, "Bottom": high}
    left, right, top, bottom = (
        pads[side] if side in sides else 0 for side in ("Left", "Right", "Top", "Bottom")
    )
    wider = _image(np.pad(_pixels(picture), ((0, 0), (left, right), (0, 0)), mode="symmetric"))
    whole = Image.new("RGB", (wider.width, wider.height + top + bottom))
    whole.paste(wider, (0, top))
    # Sky and ground go on as they end: their last strip, stretched, with the edge at the edge.
    strip = max(round(picture.height * _STRIP), 1)
    for length, upper, place in ((top, 0, 0), (bottom, wider.height - strip, top + wider.height)):
        if length:
            last = wider.crop((0, upper, wider.width, upper + strip)).transpose(_UPSIDE_DOWN)
            whole.paste(last.resize((wider.width, length), Image.Resampling.BICUBIC), (0, place))
    continued = _moved(whole, 0.01, _chance(scene))
    grain = _chance(scene).standard_normal((*continued.size[::-1], 1), dtype=np.float32) * 2
    whole = _image(_pixels(continued) + grain)
    whole.paste(picture, (left, top))
    return whole


def guide(picture: Image.Image, controls: list[Control]) -> Image.Image:
    """Return a picture with the colours, edges, light or face of the pictures that guide."""
    for control in controls:
        act = _GUIDES.get(control.kind, _by_colors)
        picture = act(picture, control.picture, control.share)
    return picture


def improve(
    picture: Image.Image, mask: Image.Image, scene: Scene, improvement: Improvement
) -> Image.Image:
    """Return a picture with what is masked made clearer, in the colours of its own prompt."""
    clearer = picture.filter(ImageFilter.UnsharpMask(radius=2, percent=60, threshold=2))
    clearer = ImageEnhance.Brightness(clearer).enhance(1.08)
    if improvement.prompt:
        clearer = _tinted(clearer, repaint((_SAMPLE, _SAMPLE), scene), 0.3 * improvement.strength)
    return Image.composite(clearer, picture, mask)


def spot(picture: Image.Image, what: str = "") -> Image.Image:
    """Return a mask of what stands out most; other words look for it elsewhere.

    Parameters
    ----------
    picture : PIL.Image.Image
        The picture.
    what : str
        What is looked for.

    Returns
    -------
    PIL.Image.Image
        Of mode L: white where it is.
    """
    small = picture.convert("RGB").resize((64, 64), Image.Resampling.BOX)
    around = small.filter(ImageFilter.GaussianBlur(12))
    contrast = np.abs(_pixels(small) - _pixels(around)).sum(axis=2)
    y, x = np.mgrid[0:64, 0:64] / 63
    middle = (0.5, 0.55)
    if what:
        digest = hashlib.sha256(what.casefold().encode()).digest()
        middle = (0.25 + digest[0] / 510, 0.25 + digest[1] / 510)
    contrast *= np.exp(-(((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / 0.08))
    row, column = np.unravel_index(int(contrast.argmax()), contrast.shape)
    near = ((x - column / 63) / 0.18) ** 2 + ((y - row / 63) / 0.24) ** 2
    oval = Image.fromarray(np.clip(255 - 127 * near, 0, 255).astype(np.uint8))
    smooth = oval.resize(picture.size, Image.Resampling.BICUBIC)
    return smooth.point([0] * 128 + [255] * 128)


# -- the means --------------------------------------------------------------------------------


def _by_colors(picture: Image.Image, other: Image.Image, share: float) -> Image.Image:
    return _tinted(picture, other, share)


def _by_edges(picture: Image.Image, other: Image.Image, share: float) -> Image.Image:
    edges = other.convert("L").resize(picture.size).filter(ImageFilter.FIND_EDGES)
    dark = np.clip(_pixels(edges)[..., None] * np.float32(2.5 * share / 255), 0, 0.8)
    return _image(_pixels(picture) * (1 - dark))


def _by_light(picture: Image.Image, other: Image.Image, share: float) -> Image.Image:
    soft = other.convert("L").resize(picture.size)
    soft = soft.filter(ImageFilter.GaussianBlur(max(picture.size) / 60))
    light = _pixels(soft)[..., None] / max(float(_pixels(soft).mean()), 1)
    return _image(_pixels(picture) * (1 - share + share * np.clip(light, 0.3, 1.8)))


def _by_face(picture: Image.Image, other: Image.Image, share: float) -> Image.Image:
    side = min(picture.size) // 3
    square = min(other.size)
    left, top = (other.width - square) // 2, (other.height - square) // 2
    face = other.crop((left, top, left + square, top + square)).resize((side, side))
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    oval = np.clip((1 - (x * x * 1.6 + y * y)) * 3, 0, 1) * 255 * share
    place = ((picture.width - side) // 2, (picture.height - side) // 3)
    whole = picture.copy()
    whole.paste(face, place, Image.fromarray(oval.astype(np.uint8)))
    return whole


_GUIDES = {
    "ImagePrompt": _by_colors,
    "PyraCanny": _by_edges,
    "CPDS": _by_light,
    "FaceSwap": _by_face,
}


def _tinted(picture: Image.Image, other: Image.Image, share: float) -> Image.Image:
    """Bring a picture's colours nearer to another one's: their mean and their spread."""
    pixels, sample = _pixels(picture), _pixels(other.resize((_SAMPLE, _SAMPLE)))
    mean, spread = pixels.mean((0, 1)), pixels.std((0, 1)) + 1
    wanted = (pixels - mean) / spread * (sample.std((0, 1)) + 1) + sample.mean((0, 1))
    return _image(pixels + (wanted - pixels) * share)


def _moved(picture: Image.Image, far: float, chance: np.random.Generator) -> Image.Image:
    """Move every pixel a little, its neighbours with it."""
    width, height = picture.size
    shifts = []
    for length in (width, height):
        grid = Image.fromarray(chance.standard_normal((5, 5), dtype=np.float32) * length * far)
        shifts.append(np.asarray(grid.resize(picture.size, Image.Resampling.BICUBIC)))
    y, x = np.mgrid[0:height, 0:width]
    columns = np.clip(x + shifts[0], 0, width - 1).astype(int)
    rows = np.clip(y + shifts[1], 0, height - 1).astype(int)
    return Image.fromarray(np.asarray(picture)[rows, columns])


def _chance(scene: Scene) -> np.random.Generator:
    text = f"{scene.prompt}\0{scene.negative_prompt}\0{scene.styles}\0{scene.seed}"
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def _pixels(picture: Image.Image) -> Array:
    return np.asarray(picture, dtype=np.float32)


def _image(pixels: Array) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
