"""From a task to its images: drawn from words, or made from images by plain arithmetic.

The same inputs give the same pixels every time.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps

from fooocus_nb.demo.drawing import PALETTES, Scene, draw, seeded, to_image, to_pixels
from fooocus_nb.demo.inputs import MAX_SIDE, dilate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fooocus_nb.demo.drawing import Array
    from fooocus_nb.demo.inputs import Control, Enhancement, Task

__all__ = [
    "apply_controls",
    "describe",
    "detect",
    "enhance",
    "enhance_steps",
    "inpaint",
    "make_image",
    "outpaint",
    "styles_for",
    "upscale",
    "vary",
]

#: By how much of its length Fooocus extends a side, too.
_EXTENSION = 0.3
#: How much of its height at the edge is continued upwards and downwards.
_STRIP = 0.08
_UPSIDE_DOWN = Image.Transpose.FLIP_TOP_BOTTOM
#: How far pixels move, as a share of the image, and how much of the colours changes.
_VARIATIONS = {"Vary (Subtle)": (0.006, 0.25), "Vary (Strong)": (0.013, 0.65)}
#: The side of the images that only lend their colours.
_SAMPLE = 256
_STYLES = {
    "Photograph": ["Fooocus V2", "Fooocus Enhance", "Fooocus Sharp"],
    "Art/Anime": ["Fooocus V2", "Fooocus Semi Realistic", "Fooocus Masterpiece"],
}


# -- a task's images --------------------------------------------------------------------------


def make_image(task: Task, index: int) -> Image.Image:
    """Make one image of a task, counted from 0, as its inputs ask."""
    inputs, scene = task.images, _scene(task, index)
    controls = inputs.controls()
    if controls and inputs.is_on("debug_cn"):
        return apply_controls(Image.new("RGB", task.size, "white"), controls)
    if (given := inputs.to_enhance()) is not None:
        return given
    if inputs.method:
        return apply_controls(_vary_or_upscale(inputs.source(), inputs.method, scene), controls)
    if (given_and_mask := inputs.inpainting()) is None:
        return apply_controls(draw(scene), controls)
    image, mask = given_and_mask
    sides = inputs.outpaint_sides
    whole = outpaint(image, sides, scene) if sides else image
    mask, beyond = _placed_masks(mask, whole.size, sides)
    if inputs.is_on("debug_inpaint"):
        return mask.convert("RGB")
    strength = inputs.inpaint_strength
    painted = inpaint(whole, mask, scene, strength) if mask.getextrema()[1] else whole
    # Controls change all of it; what was not masked has to stay as it is.
    changed = ImageChops.lighter(mask, beyond)
    return Image.composite(apply_controls(painted, controls), whole, changed)


def enhance_steps(
    task: Task, index: int, image: Image.Image
) -> Iterator[tuple[str, Image.Image, bool]]:
    """Yield each step of enhancing an image: its name, the image, and whether it is only shown."""
    inputs, scene = task.images, _scene(task, index)
    method = inputs.enhance_method
    if method and not inputs.upscales_last:
        image = _vary_or_upscale(image, method, scene)
        yield method, image, False
    for tab in inputs.enhancements():
        mask = dilate(detect(image, tab.detect if tab.model == "sam" else ""), tab.dilation)
        mask = ImageOps.invert(mask) if tab.invert else mask
        if inputs.is_on("debug_masks"):
            yield f"mask of {tab.detect or tab.model}", mask.convert("RGB"), True
        image = enhance(image, mask, replace(scene, prompt=tab.prompt or scene.prompt), tab)
        yield tab.detect or tab.model, image, False
    if method and inputs.upscales_last:
        image = _vary_or_upscale(image, method, scene)
        yield method, image, False


def _scene(task: Task, index: int) -> Scene:
    negative = str(task.values["negative_prompt"])
    return Scene(
        task.prompt_of(index), negative, task.styles_of(index), task.seed(index), *task.size
    )


def _vary_or_upscale(image: Image.Image, method: str, scene: Scene) -> Image.Image:
    if method.startswith("Upscale"):
        return upscale(image, method, scene, MAX_SIDE)
    return vary(image, method, scene)


def _placed_masks(
    mask: Image.Image, whole: tuple[int, int], sides: tuple[str, ...]
) -> tuple[Image.Image, Image.Image]:
    """Return the mask in the extended image, and a mask of what lies beyond the given one."""
    left, _, top, _ = _extensions(mask.size, sides)
    placed = Image.new("L", whole)
    placed.paste(mask, (left, top))
    beyond = Image.new("L", whole, 255)
    beyond.paste(0, (left, top, left + mask.width, top + mask.height))
    return placed, beyond


# -- what can be done with an image -----------------------------------------------------------


def upscale(image: Image.Image, method: str, scene: Scene, largest: int) -> Image.Image:
    """Upscale an image; all but the fast method sharpen it and add a trace of grain."""
    factor = 1.5 if "1.5x" in method else 2.0
    factor = min(factor, largest / max(image.size))
    size = (round(image.width * factor), round(image.height * factor))
    larger = image.resize(size, Image.Resampling.LANCZOS)
    if "Fast" in method:
        return larger
    sharp = larger.filter(ImageFilter.UnsharpMask(radius=2, percent=80, threshold=2))
    grain = _rng(scene).standard_normal((size[1], size[0], 1), dtype=np.float32) * 1.5
    return to_image(to_pixels(sharp) + grain)


def vary(image: Image.Image, method: str, scene: Scene) -> Image.Image:
    """Vary an image: it is warped a little, and its colours come nearer to the scene's."""
    far, share = _VARIATIONS.get(method, _VARIATIONS["Vary (Subtle)"])
    return _match_colors(_warp(image, far, _rng(scene)), _sample(scene), share)


def inpaint(image: Image.Image, mask: Image.Image, scene: Scene, strength: float) -> Image.Image:
    """Draw anew what is masked and leave every other pixel as it is."""
    drawn = _match_colors(_draw_in(image.size, scene), image, 0.35)
    fresh = Image.blend(image, drawn, strength)
    if strength < 1:
        fresh = fresh.filter(ImageFilter.UnsharpMask(radius=2, percent=90, threshold=1))
    # Soft towards the inside only, so that nothing changes outside.
    edge = max(min(image.size) // 60, 1)
    soft = dilate(mask, -edge).filter(ImageFilter.GaussianBlur(edge / 2))
    soft = Image.fromarray(np.minimum(np.asarray(soft), np.asarray(mask)))
    soft = soft if soft.getextrema()[1] else mask
    return Image.composite(fresh, image, soft)


def outpaint(image: Image.Image, sides: tuple[str, ...], scene: Scene) -> Image.Image:
    """Continue an image beyond its sides; the image itself is left as it is."""
    left, right, top, bottom = _extensions(image.size, sides)
    padding = ((0, 0), (left, right), (0, 0))
    wider = to_image(np.pad(to_pixels(image), padding, mode="symmetric"))
    whole = Image.new("RGB", (wider.width, wider.height + top + bottom))
    whole.paste(wider, (0, top))
    # Sky and ground go on as they end: their last strip, stretched, with the edge at the edge.
    strip = max(round(image.height * _STRIP), 1)
    for length, upper, place in ((top, 0, 0), (bottom, wider.height - strip, top + wider.height)):
        if length:
            last = wider.crop((0, upper, wider.width, upper + strip)).transpose(_UPSIDE_DOWN)
            whole.paste(last.resize((wider.width, length), Image.Resampling.BICUBIC), (0, place))
    continued = _warp(whole, 0.01, _rng(scene))
    grain = _rng(scene).standard_normal((*continued.size[::-1], 1), dtype=np.float32) * 2
    whole = to_image(to_pixels(continued) + grain)
    whole.paste(image, (left, top))
    return whole


def _extensions(size: tuple[int, int], sides: tuple[str, ...]) -> tuple[int, int, int, int]:
    """Return by how many pixels outpainting extends left, right, top and bottom."""
    wide, high = (round(length * _EXTENSION) for length in size)
    lengths = {"Left": wide, "Right": wide, "Top": high, "Bottom": high}
    left, right, top, bottom = (lengths[side] if side in sides else 0 for side in lengths)
    return left, right, top, bottom


def enhance(image: Image.Image, mask: Image.Image, scene: Scene, tab: Enhancement) -> Image.Image:
    """Make clearer what is masked, in the colours of its own prompt where it has one."""
    clearer = image.filter(ImageFilter.UnsharpMask(radius=2, percent=60, threshold=2))
    clearer = ImageEnhance.Brightness(clearer).enhance(1.08)
    if tab.prompt:
        clearer = _match_colors(clearer, _sample(scene), 0.3 * tab.strength)
    return Image.composite(clearer, image, mask)


# -- controls ---------------------------------------------------------------------------------


def apply_controls(image: Image.Image, controls: list[Control]) -> Image.Image:
    """Give an image the colours, edges, light or face of the images that guide it."""
    for control in controls:
        act = _CONTROLS.get(control.kind, _match_colors)
        image = act(image, control.image, control.weight)
    return image


def _match_colors(image: Image.Image, other: Image.Image, share: float) -> Image.Image:
    """Bring an image's colours nearer to another one's: their mean and their spread."""
    pixels, sample = to_pixels(image), to_pixels(other.resize((_SAMPLE, _SAMPLE)))
    mean, spread = pixels.mean((0, 1)), pixels.std((0, 1)) + 1
    wanted = (pixels - mean) / spread * (sample.std((0, 1)) + 1) + sample.mean((0, 1))
    return to_image(pixels + (wanted - pixels) * share)


def _add_edges(image: Image.Image, other: Image.Image, share: float) -> Image.Image:
    edges = other.convert("L").resize(image.size).filter(ImageFilter.FIND_EDGES)
    dark = np.clip(to_pixels(edges)[..., None] * np.float32(2.5 * share / 255), 0, 0.8)
    return to_image(to_pixels(image) * (1 - dark))


def _match_light(image: Image.Image, other: Image.Image, share: float) -> Image.Image:
    soft = other.convert("L").resize(image.size)
    soft = soft.filter(ImageFilter.GaussianBlur(max(image.size) / 60))
    light = to_pixels(soft)[..., None] / max(float(to_pixels(soft).mean()), 1)
    return to_image(to_pixels(image) * (1 - share + share * np.clip(light, 0.3, 1.8)))


def _add_face(image: Image.Image, other: Image.Image, share: float) -> Image.Image:
    """Paste the middle of another image as an oval."""
    side = min(image.size) // 3
    square = min(other.size)
    left, top = (other.width - square) // 2, (other.height - square) // 2
    face = other.crop((left, top, left + square, top + square)).resize((side, side))
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    oval = np.clip((1 - (x * x * 1.6 + y * y)) * 3, 0, 1) * 255 * share
    place = ((image.width - side) // 2, (image.height - side) // 3)
    whole = image.copy()
    whole.paste(face, place, Image.fromarray(oval.astype(np.uint8)))
    return whole


_CONTROLS = {
    "ImagePrompt": _match_colors,
    "PyraCanny": _add_edges,
    "CPDS": _match_light,
    "FaceSwap": _add_face,
}


# -- looking at an image ----------------------------------------------------------------------


def detect(image: Image.Image, what: str = "") -> Image.Image:
    """Return a mask of what stands out most; what is looked for says near which place."""
    small = image.convert("RGB").resize((64, 64), Image.Resampling.BOX)
    around = small.filter(ImageFilter.GaussianBlur(12))
    contrast = np.abs(to_pixels(small) - to_pixels(around)).sum(axis=2)
    y, x = np.mgrid[0:64, 0:64] / 63
    middle = (0.5, 0.55)
    if what:
        digest = hashlib.sha256(what.casefold().encode()).digest()
        middle = (0.25 + digest[0] / 510, 0.25 + digest[1] / 510)
    contrast *= np.exp(-(((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / 0.08))
    row, column = np.unravel_index(int(contrast.argmax()), contrast.shape)
    near = ((x - column / 63) / 0.18) ** 2 + ((y - row / 63) / 0.24) ** 2
    oval = to_image(255 - 127 * near)
    smooth = oval.resize(image.size, Image.Resampling.BICUBIC)
    return smooth.point([0] * 128 + [255] * 128)


def describe(image: Image.Image, kinds: Iterable[str]) -> str:
    """Return a prompt: shape, colours by the name of a palette, light, and the page's kinds."""
    pixels = to_pixels(image.convert("RGB").resize((48, 48), Image.Resampling.BOX))
    view = "wide" if image.width > 1.2 * image.height else "tall"
    view = view if abs(image.width - image.height) > 0.2 * image.height else "square"
    light = "bright" if float(pixels.mean()) > 110 else "dark"
    rough = float(np.abs(np.diff(pixels, axis=0)).mean())
    words = [f"a {view} view in the colors of {_nearest_palette(pixels)}", light]
    words.append("full of detail" if rough > 9 else "calm")
    words += ["anime"] if "Art/Anime" in set(kinds) else []
    return ", ".join(words)


def styles_for(kinds: Iterable[str]) -> list[str]:
    """Return the styles that suit images of these kinds."""
    return list(dict.fromkeys(style for kind in kinds for style in _STYLES.get(kind, [])))


def _nearest_palette(pixels: Array) -> str:
    """Return the palette whose sky and land are nearest to the upper and lower half."""
    upper, lower = pixels[:24].mean((0, 1)), pixels[24:].mean((0, 1))

    def distance(name: str) -> float:
        palette = PALETTES[name]
        sky = np.array([palette.top, palette.middle, palette.low], np.float32).mean(0)
        land = np.array([palette.top, palette.far, palette.near], np.float32).mean(0)
        return float(np.abs(sky - upper).sum() + np.abs(land - lower).sum())

    return min(PALETTES, key=distance)


# -- the means --------------------------------------------------------------------------------


def _draw_in(size: tuple[int, int], scene: Scene) -> Image.Image:
    return draw(replace(scene, width=size[0], height=size[1]))


def _sample(scene: Scene) -> Image.Image:
    return _draw_in((_SAMPLE, _SAMPLE), scene)


def _warp(image: Image.Image, far: float, rng: np.random.Generator) -> Image.Image:
    """Move every pixel a little, its neighbours with it."""
    width, height = image.size
    shifts = []
    for length in (width, height):
        grid = Image.fromarray(rng.standard_normal((5, 5), dtype=np.float32) * length * far)
        shifts.append(np.asarray(grid.resize(image.size, Image.Resampling.BICUBIC)))
    y, x = np.mgrid[0:height, 0:width]
    columns = np.clip(x + shifts[0], 0, width - 1).astype(int)
    rows = np.clip(y + shifts[1], 0, height - 1).astype(int)
    return Image.fromarray(np.asarray(image)[rows, columns])


def _rng(scene: Scene) -> np.random.Generator:
    return seeded(f"{scene.prompt}\0{scene.negative_prompt}\0{scene.styles}\0{scene.seed}")
