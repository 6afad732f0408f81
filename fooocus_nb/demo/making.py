"""From a task to its pictures: drawn from words, or made from the pictures that came with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageOps

from fooocus_nb.demo.drawing import Artist, Scene
from fooocus_nb.demo.inputs import MAX_SIDE, grown
from fooocus_nb.demo.retouching import extend, guide, improve, paint_in, spot, upscale, vary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fooocus_nb.demo.inputs import Inputs
    from fooocus_nb.demo.task import Task

__all__ = ["draw", "improvements"]


def draw(task: Task, index: int) -> tuple[Artist, Image.Image]:
    """Draw one image of a task.

    Parameters
    ----------
    task : Task
        What is asked for.
    index : int
        Which image, from 0.

    Returns
    -------
    tuple of (Artist, PIL.Image.Image)
        Who can sketch it, and the finished picture.
    """
    scene = _scene(task, index)
    artist = Artist(scene)
    return artist, _picture(task.inputs, scene, artist)


def _scene(task: Task, index: int) -> Scene:
    negative = str(task.values["negative_prompt"])
    width, height = task.size
    prompt, styles = task.prompt_of(index), task.styles_of(index)
    return Scene(prompt, negative, styles, task.seed(index), width, height)


def _picture(inputs: Inputs, scene: Scene, artist: Artist) -> Image.Image:
    controls = inputs.controls()
    if controls and inputs.shows("debug_cn"):
        return guide(Image.new("RGB", (scene.width, scene.height), "white"), controls)
    if (given := inputs.enhanced()) is not None:
        return given
    if inputs.method:
        return guide(_varied(inputs.source(), inputs.method, scene), controls)
    if (painting := inputs.painting()) is not None:
        picture, mask = painting
        whole = extend(picture, inputs.sides, scene) if inputs.sides else picture
        mask, beyond = _placed(mask, picture, whole, inputs.sides)
        if inputs.shows("debug_inpaint"):
            return mask.convert("RGB")
        painted = paint_in(whole, mask, scene, inputs.strength) if mask.getextrema()[1] else whole
        # However it is guided, what is not to change does not.
        return Image.composite(guide(painted, controls), whole, ImageChops.lighter(mask, beyond))
    return guide(artist.paint(), controls)


def _varied(picture: Image.Image, method: str, scene: Scene) -> Image.Image:
    if method.startswith("Upscale"):
        return upscale(picture, method, scene, MAX_SIDE)
    return vary(picture, method, scene)


def _placed(
    mask: Image.Image, picture: Image.Image, whole: Image.Image, sides: tuple[str, ...]
) -> tuple[Image.Image, Image.Image]:
    """Return the mask in the extended picture, and a mask of what lies beyond the old one."""
    extra = (whole.width - picture.width, whole.height - picture.height)
    ways = ((("Left", "Right"), extra[0]), (("Top", "Bottom"), extra[1]))
    left, top = (
        0 if first not in sides else length // (2 if second in sides else 1)
        for (first, second), length in ways
    )
    placed = Image.new("L", whole.size)
    placed.paste(mask, (left, top))
    beyond = Image.new("L", whole.size, 255)
    beyond.paste(0, (left, top, left + picture.width, top + picture.height))
    return placed, beyond


def improvements(
    task: Task, index: int, picture: Image.Image
) -> Iterator[tuple[str, Image.Image, bool]]:
    """Improve a picture step by step, as the tabs of enhancements say.

    Parameters
    ----------
    task : Task
        What is asked for.
    index : int
        Which image, from 0.
    picture : PIL.Image.Image
        The picture so far.

    Yields
    ------
    tuple of (str, PIL.Image.Image, bool)
        What was done, the picture now, and whether it is only there to look at.
    """
    inputs, scene = task.inputs, _scene(task, index)
    method = inputs.enhance_method
    if method and not inputs.upscales_last:
        picture = _varied(picture, method, scene)
        yield method, picture, False
    for step in inputs.improvements():
        mask = grown(spot(picture, step.detect if step.model == "sam" else ""), step.grow)
        mask = ImageOps.invert(mask) if step.invert else mask
        if inputs.shows("debug_masks"):
            yield f"mask of {step.detect or step.model}", mask.convert("RGB"), True
        words = step.prompt or scene.prompt
        fresh = Scene(words, scene.negative_prompt, scene.styles, scene.seed, 1, 1)
        picture = improve(picture, mask, fresh, step)
        yield step.detect or step.model, picture, False
    if method and inputs.upscales_last:
        picture = _varied(picture, method, scene)
        yield method, picture, False
