"""What makes an engine another one: machines, versions and files that change images, or do not.

Named by ``FOOOCUS_DEMO_DIFFERS``, several with commas, and ``nothing`` for the machine that all
the others differ from. A row tells what the engine says of itself then and what that does to its
images; who looks for the cause of a changed image sees the former only. What lies outside of
the engine, such as a model file or a flag, is changed by who starts it: there a row has the effect
only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageOps

if TYPE_CHECKING:
    from fooocus_nb.demo.inputs import Task

__all__ = ["DIFFERENCES", "VARIABLE", "Differences"]

#: The environment variable that names the differences: a flag would be seen.
VARIABLE = "FOOOCUS_DEMO_DIFFERS"
NOTHING = "nothing"
#: What an engine says of its machine, in order, by a name of ours.
MACHINE = {
    "total": "Total VRAM 12288 MB, total RAM 32768 MB",
    "torch": "pytorch version: 2.1.0+cu121",
    "xformers": "xformers version: 0.0.23",
    "vram": "Set vram state to: NORMAL_VRAM",
    "offload": "",
    "device": "Device: cuda:0 NVIDIA GeForce RTX 3060 : native",
    "dtype": "VAE dtype: torch.bfloat16",
    "attention": "Using pytorch cross attention",
    "vae": "Using pytorch attention in VAE",
}
#: How far a channel of a pixel moves where numbers are rounded otherwise.
_LITTLE = 3

_A100 = {
    "device": "Device: cuda:0 NVIDIA A100-SXM4-40GB : native",
    "total": "Total VRAM 40960 MB, total RAM 32768 MB",
}
_TORCH = {"torch": "pytorch version: 2.4.1+cu124"}


def _nothing(image: Image.Image) -> Image.Image:
    return image


def _little(image: Image.Image) -> Image.Image:
    """Move all channels a little, in a pattern."""
    pattern = (
        Image.linear_gradient("L").resize(image.size).point(lambda level: level % (_LITTLE + 1))
    )
    return ImageChops.add(image, Image.merge("RGB", (pattern, pattern, pattern)))


def _much(image: Image.Image) -> Image.Image:
    """Return another composition."""
    return ImageOps.flip(ImageOps.mirror(ImageOps.invert(image)))


def _always(_: Task) -> bool:
    return True


def _on_gpu(task: Task) -> bool:
    """Whether noise is drawn on the GPU."""
    own = task.performance.value == "Hyper-SD"
    return own or (str(task.values["sampler"]).endswith("_gpu") and not task.performance.distilled)


def _expands(task: Task) -> bool:
    return "Fooocus V2" in task.styles


Effect = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Difference:
    """One difference.

    Attributes
    ----------
    effect : callable
        What it does to each image.
    says : mapping
        The lines in which what the engine says differs, by the names in `MACHINE`.
    version : str
        Another version of Fooocus.
    without : sequence of str
        The components that the page doesn't have, by their keys.
    words : mapping
        The words of wildcards; an empty one is a wildcard that isn't there.
    moods : sequence of str
        What a prompt is expanded with; one empty text expands nothing.
    where : callable
        Whether it changes the images of a task.
    each_time : bool
        Whether it changes an image in another way each time.
    """

    effect: Effect = _nothing
    says: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    without: Sequence[str] = ()
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    moods: Sequence[str] = ()
    where: Callable[[Task], bool] = _always
    each_time: bool = False


class Differences:
    """The differences that were asked for.

    Parameters
    ----------
    wanted : str
        Their names with commas; an empty text is the plain demo engine.
    """

    def __init__(self, wanted: str = "") -> None:
        names = [name.strip() for name in wanted.split(",") if name.strip()]
        self._found = [DIFFERENCES[name] for name in names if name != NOTHING]
        self._is_machine = bool(names)
        self._made = 0

    @property
    def lines(self) -> list[str]:
        """What the engine says of its machine; nothing where it is plain."""
        if not self._is_machine:
            return []
        said = dict(MACHINE)
        for one in self._found:
            said.update(one.says)
        return [line for line in said.values() if line]

    @property
    def version(self) -> str | None:
        """The version that the engine has, where it is another one."""
        return next((one.version for one in self._found if one.version), None)

    @property
    def without(self) -> list[str]:
        """The components that its page doesn't have."""
        return [key for one in self._found for key in one.without]

    @property
    def words(self) -> dict[str, Sequence[str]]:
        """The wildcards that are others."""
        return {name: words for one in self._found for name, words in one.words.items()}

    @property
    def moods(self) -> Sequence[str]:
        """What prompts are expanded with, where it is something else."""
        return next((one.moods for one in self._found if one.moods), ())

    def applied(self, image: Image.Image, task: Task) -> Image.Image:
        """Return an image as this engine makes it."""
        self._made += 1
        for one in self._found:
            if not one.where(task):
                continue
            image = one.effect(image)
            if one.each_time:
                image = ImageChops.offset(image, self._made * 7 % image.width)
        return image


#: By name. "quiet" ones change images and say nothing, "idle" ones the other way round.
DIFFERENCES: Mapping[str, Difference] = {
    "torch": Difference(_little, _TORCH),
    "cuda": Difference(_little, {"torch": "pytorch version: 2.1.0+cu118"}),
    "xformers": Difference(_little, {"xformers": "xformers version: 0.0.27"}),
    "attention": Difference(_little, {"attention": "Using split optimization for cross attention"}),
    "vae-attention": Difference(_little, {"vae": "Using split attention in VAE"}),
    "vae-dtype": Difference(_little, {"dtype": "VAE dtype: torch.float32"}),
    "vram": Difference(_little, {"vram": "Set vram state to: LOW_VRAM"}),
    "offload": Difference(_little, {"offload": "Always offload VRAM"}),
    "gpu": Difference(_little, _A100),
    "gpu-noise": Difference(_much, _A100, where=_on_gpu),
    "older": Difference(_much, version="2.4.3"),
    "newer": Difference(_little, version="2.6.0"),
    "fork": Difference(_much),
    "commit": Difference(_little),
    "changed-files": Difference(_much),
    "checkpoint": Difference(_much),
    "lora": Difference(_much, where=lambda task: bool(task.loras)),
    "prompt-lora": Difference(_much, where=lambda task: "<lora:" in task.prompt),
    "refiner": Difference(_much, where=lambda task: task.values["refiner"] != "None"),
    "flag-attention": Difference(
        _little, {"attention": "Using split optimization for cross attention"}
    ),
    "flag-unet": Difference(_little),
    "flag-vram": Difference(_little, {"vram": "Set vram state to: LOW_VRAM"}),
    "flag-vae": Difference(_little, {"dtype": "VAE dtype: torch.float32"}),
    "driver": Difference(_little),
    "expansion": Difference(
        _much, moods=("brisk wind", "hard light", "noir", "close view"), where=_expands
    ),
    "no-expansion": Difference(_much, moods=("",), where=_expands),
    "wildcards": Difference(words={"color": ("black", "white", "grey")}),
    "no-wildcards": Difference(words={"color": ()}),
    "no-sharpness": Difference(_much, without=("sharpness",)),
    "no-freeu": Difference(
        _much, without=("freeu", "freeu_b1", "freeu_b2", "freeu_s1", "freeu_s2")
    ),
    "batch": Difference(_much, where=lambda task: task.count > 1),
    # Says something, and changes nothing.
    "idle-torch": Difference(says=_TORCH),
    "idle-gpu": Difference(says=_A100),
    "idle-vram": Difference(says={"vram": "Set vram state to: LOW_VRAM"}),
    "idle-version": Difference(version="2.4.3"),
    "idle-attention": Difference(
        says={"attention": "Using split optimization for cross attention"}
    ),
    "idle": Difference(),
    # Changes images, and says nothing.
    "quiet-much": Difference(_much),
    "quiet-little": Difference(_little),
    "quiet-varying": Difference(_much, each_time=True),
}
