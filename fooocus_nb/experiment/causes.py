"""Why an image that was made again is another one: what two manifests differ in, likeliest first.

What can change pixels at all is told from what can't; what differs as well where images are the
same is no cause; what rounds numbers otherwise changes an image a little, and what decides its
content changes it much. Within these, the order is that of the table below.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fooocus_nb.experiment.identity import short_name, value_text
from fooocus_nb.experiment.manifest import jsonable
from fooocus_nb.experiment.relevance import (
    flag_groups,
    flag_matters,
    gpu_sampler,
    parameter_matters,
    rounds_otherwise,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from fooocus_nb.experiment.manifest import ImageRecord, Manifest, ModelRecord

__all__ = ["KINDS", "NOT_IN_MANIFESTS", "NO_EFFECT", "Cause", "Evidence", "differences", "ranked"]

NOT_IN_MANIFESTS = "not in the manifests"
NO_EFFECT = "no effect"
_SHOWN = 60
_SHOWN_HASH = 12

CONTENT, ROUNDING, EITHER = "content", "rounding", "either"
#: The kinds of causes, the gravest first, and how much each changes an image.
KINDS: dict[str, str] = {
    "file changed": CONTENT,
    "position in request": CONTENT,
    "seed": CONTENT,
    "input image": CONTENT,
    "parameter": CONTENT,
    "model hash": CONTENT,
    "wildcard file": CONTENT,
    "prompt expansion": CONTENT,
    "parameter missing here": CONTENT,
    "GPU noise": CONTENT,
    "engine": CONTENT,
    "fork": EITHER,
    "version": EITHER,
    "commit": EITHER,
    "changed files": EITHER,
    "flag": EITHER,
    "attention": ROUNDING,
    "precision": ROUNDING,
    "VRAM state": ROUNDING,
    "GPU": ROUNDING,
    "torch": ROUNDING,
    "xformers": ROUNDING,
    "CUDA": ROUNDING,
    "driver": ROUNDING,
    "Python": ROUNDING,
    "preset": EITHER,
    "system": ROUNDING,
}
_ORDER = {kind: place for place, kind in enumerate(KINDS)}
#: Facts of the manifest's ``system``, and what kind of cause each is.
_SYSTEM = {
    "attention": "attention",
    "vae_attention": "attention",
    "vae_dtype": "precision",
    "vram_state": "VRAM state",
    "always_offload": "VRAM state",
    "gpu": "GPU",
    "torch": "torch",
    "xformers": "xformers",
    "cuda": "CUDA",
    "driver": "driver",
    "python": "Python",
}
#: Of the rest of ``system``, what follows from the GPU.
_OF_THE_GPU = frozenset({"device", "total_vram_mb"})
_FOOOCUS = {
    "fork": "fork",
    "version": "version",
    "commit": "commit",
    "dirty": "changed files",
    "preset": "preset",
}
#: What a difference explains: the other one follows from it, and stands behind it.
_FOLLOWS: dict[str, tuple[str, ...]] = {
    "fork": ("commit", "version"),
    "version": ("commit",),
    "torch": ("CUDA",),
    "GPU": ("VRAM state", "precision", "attention", "system"),
    "GPU noise": ("GPU",),
    "wildcard file": ("prompt expansion",),
}
_FLAG_FOLLOWS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"--(?:attention-|disable-xformers|disable-attention)"), "attention"),
    (re.compile(r"--(?:all|vae|unet|clip)-in-"), "precision"),
    (re.compile(r"--always-.*(?:vram|gpu|cpu)"), "VRAM state"),
)


@dataclass(frozen=True)
class Cause:
    """Something that differs between how an image was made and how it was made again.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`, such as ``model hash``; ``not in the manifests``, or ``no effect``.
    name : str
        What it is of: a parameter, a model, a flag.
    before, after : object
        Its values.
    text : str
        In words.
    matters : bool
        Whether it can change pixels.
    proven : bool
        Whether it was tried: with it put back, the image is the first one again.
    """

    kind: str
    name: str = ""
    before: Any = None
    after: Any = None
    text: str = ""
    matters: bool = True
    proven: bool = False

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells it from others: kind, name and both values."""
        return self.kind, self.name, repr(self.before), repr(self.after)

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}" if self.text else self.kind

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "kind": self.kind,
            "name": self.name,
            "before": _plain(self.before),
            "after": _plain(self.after),
            "text": self.text,
            "proven": self.proven,
        }


@dataclass(frozen=True)
class Evidence:
    """With how many images of a verification one difference was there, and could matter.

    Attributes
    ----------
    same, close, different : int
        How many of each outcome.
    """

    same: int = 0
    close: int = 0
    different: int = 0

    def share(self, *, little: bool) -> float:
        """Return how many of its images have changed, or changed much, 0 to 1; 1 without any."""
        total = self.same + self.close + self.different
        changed = self.different + (self.close if little else 0)
        return changed / total if total else 1.0

    @property
    def acquits(self) -> bool:
        """Whether most images stay the same with it."""
        return self.share(little=True) < 0.5


# -- what differs ---------------------------------------------------------------------------------


def differences(
    before: Manifest,
    after: Manifest,
    image: ImageRecord,
    other: ImageRecord | None,
    missing: Collection[str] = (),
) -> list[Cause]:
    """Return in what two manifests differ, by the order of kinds.

    Parameters
    ----------
    before, after : Manifest
        How the images were made, first and again.
    image, other : ImageRecord
        The images; the second may be None, where it isn't known.
    missing : collection of str
        The parameters of the first that the second engine doesn't have.

    Returns
    -------
    list of Cause
        What is not known on one side is no difference.
    """
    found = [
        *_parameters(before, after, image, other, missing),
        *_models(before.models, after.models),
        *_fooocus(before, after),
        *_system(before, after),
        *_prompts(image, other),
    ]
    return sorted(found, key=lambda cause: _ORDER[cause.kind])


def _parameters(
    before: Manifest,
    after: Manifest,
    image: ImageRecord,
    other: ImageRecord | None,
    missing: Collection[str],
) -> Iterator[Cause]:
    if other is not None and image.seed is not None and other.seed not in (None, image.seed):
        yield _changed("seed", "seed", image.seed, other.seed)
    inputs = {(one.parameter, one.part): one.sha256 for one in before.inputs}
    for one in after.inputs:
        first = inputs.get((one.parameter, one.part))
        if first is not None and first != one.sha256:
            yield _changed(
                "input image", one.parameter, first[:_SHOWN_HASH], one.sha256[:_SHOWN_HASH]
            )
    images = {one.parameter for one in (*before.inputs, *after.inputs)}
    for name, value in before.parameters.items():
        if name in ("image_seed", "image_number") or name in images:
            continue
        matters = parameter_matters(name, before.parameters)
        if name in missing:
            text = f"{short_name(name)}={value_text(value, _SHOWN)} isn't known to this engine"
            yield Cause("parameter missing here", name, value, None, text, matters)
            continue
        now = after.parameters.get(name)
        if name in after.parameters and not _equal(value, now):
            matters = matters or parameter_matters(name, after.parameters)
            yield replace(_changed("parameter", short_name(name), value, now), matters=matters)


def _models(before: Sequence[ModelRecord], after: Sequence[ModelRecord]) -> Iterator[Cause]:
    known = {(model.parameter, model.name): model for model in after}
    told: set[tuple[str, str]] = set()
    for model in before:
        now = known.get((model.parameter, model.name))
        if now is None:
            continue
        if model.sha256 is not None and now.sha256 is not None:
            values = model.sha256[:_SHOWN_HASH], now.sha256[:_SHOWN_HASH]
        elif model.bytes is not None and now.bytes is not None:
            values = f"{model.bytes} bytes", f"{now.bytes} bytes"
        else:
            continue
        if values[0] != values[1] and (model.name, values[1]) not in told:
            told.add((model.name, values[1]))
            text = f"the file of {model.name!r} was {values[0]}, and is {values[1]} now"
            yield Cause("model hash", model.name, *values, text)


def _fooocus(before: Manifest, after: Manifest) -> Iterator[Cause]:
    demo = before.engine.get("demo"), after.engine.get("demo")
    if None not in demo and demo[0] is not demo[1]:
        yield _changed("engine", "engine", *("demo" if one else "Fooocus" for one in demo))
    for name, kind in _FOOOCUS.items():
        first, now = before.fooocus.get(name), after.fooocus.get(name)
        if first is not None and now is not None and first != now:
            # All values are sent, whatever preset is loaded.
            yield replace(_changed(kind, kind, first, now), matters=kind != "preset")
    if not (before.engine.get("owned") and after.engine.get("owned")):
        return  # nobody knows the flags of somebody else's engine
    flags = flag_groups(before.fooocus.get("flags") or ())
    others = flag_groups(after.fooocus.get("flags") or ())
    for name in dict.fromkeys((*flags, *others)):
        first, now = _flag(flags, name), _flag(others, name)
        if first != now:
            yield replace(_changed("flag", name, first, now), matters=flag_matters(name))


def _flag(flags: Mapping[str, str], name: str) -> str:
    return f"{name} {flags[name]}".strip() if name in flags else "absent"


def _system(before: Manifest, after: Manifest) -> Iterator[Cause]:
    sampler = gpu_sampler(before.parameters)
    for name in dict.fromkeys((*before.system, *after.system)):
        first, now = (_fact(one.system, name) for one in (before, after))
        if first is None or now is None or first == now:
            continue
        if name == "torch" and _same_build(first, now) and after.system.get("cuda"):
            continue  # built for another CUDA, which is told by itself
        kind = _SYSTEM.get(name, "system")
        if name == "gpu" and sampler is not None:
            text = (
                f"the sampler {sampler} draws its noise on the GPU, which was {first}, and is "
                f"{now} now; with portable=True it is drawn on the CPU"
            )
            yield Cause("GPU noise", sampler, first, now, text)
        # "device" is the same GPU in other words, and Python rounds nothing.
        matters = name not in _OF_THE_GPU and kind != "Python"
        yield replace(_changed(kind, name.replace("_", " "), first, now), matters=matters)


def _fact(system: Mapping[str, Any], name: str) -> Any:
    if name == "always_offload" and system.get("vram_state") is not None:
        return bool(system.get(name))  # a log that tells the one tells the other
    return system.get(name)


def _same_build(one: Any, other: Any) -> bool:
    """Whether two versions of torch differ only in what they were built for."""
    return str(one).partition("+")[0] == str(other).partition("+")[0]


def _prompts(image: ImageRecord, other: ImageRecord | None) -> Iterator[Cause]:
    if other is None:
        return
    if image.prompt is not None and other.prompt is not None and image.prompt != other.prompt:
        yield _changed("wildcard file", "prompt after wildcards", image.prompt, other.prompt)
    if image.expansion != other.expansion and (image.expansion or other.expansion):
        # Where nothing is told of a prompt, nothing is told of its expansion either.
        told = image.prompt is not None and other.prompt is not None
        if told or (image.expansion and other.expansion):
            yield _changed(
                "prompt expansion", "expanded prompt", image.expansion or "", other.expansion or ""
            )


def _changed(kind: str, name: str, before: Any, after: Any) -> Cause:
    first, now = (_told(value) for value in (before, after))
    what = "" if name.casefold() == kind.casefold() else f"{name} "
    return Cause(kind, name, before, after, f"{what}was {first}, and is {now} now")


def _told(value: Any) -> str:
    if isinstance(value, str):
        return repr(value_text(value, _SHOWN)) if " " in value or not value else value[:_SHOWN]
    return value_text(value, _SHOWN)


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, int) and abs(value) >= 2**53 else jsonable(value)


# -- which of it did it ---------------------------------------------------------------------------


def ranked(
    found: Sequence[Cause],
    *,
    little: bool,
    evidence: Mapping[tuple[str, str, str, str], Evidence] | None = None,
) -> list[Cause]:
    """Return differences with the likeliest cause of a change first.

    Parameters
    ----------
    found : sequence of Cause
        What :func:`differences` gives.
    little : bool
        Whether the image has changed a little only, as it does where numbers are rounded otherwise.
    evidence : mapping, optional
        What other images say, by :attr:`Cause.key`.

    Returns
    -------
    list of Cause
        ``not in the manifests`` comes first where none of them can change pixels.
    """
    said = evidence or {}
    behind = _consequences(found)

    def place(cause: Cause) -> tuple[Any, ...]:
        known = said.get(cause.key, Evidence())
        weight = KINDS[cause.kind]
        if cause.kind == "flag":
            weight = ROUNDING if rounds_otherwise(cause.name) else EITHER
        fit = (ROUNDING, EITHER, CONTENT) if little else (CONTENT, EITHER, ROUNDING)
        return (
            not cause.proven,
            not cause.matters,
            # What changes some images much does not leave others of the same difference as they
            # were: it then goes behind what is there with changed images only.
            -round(known.share(little=little), 1),
            cause.key in behind,
            fit.index(weight),
            _ORDER[cause.kind],
        )

    ordered = sorted(found, key=place)
    if not ordered or not ordered[0].matters:
        return [Cause(NOT_IN_MANIFESTS), *ordered]
    first = ordered[0]
    if not first.proven and said.get(first.key, Evidence()).acquits:
        text = "what differs is there as well with images of the same pixels"
        return [Cause(NOT_IN_MANIFESTS, text=text), *ordered]
    return ordered


def _consequences(found: Sequence[Cause]) -> set[tuple[str, str, str, str]]:
    """Return the keys of those that follow from others."""
    behind: set[tuple[str, str, str, str]] = set()
    for cause, other in itertools.permutations(found, 2):
        explains = _FOLLOWS.get(cause.kind, ())
        if cause.kind == "flag":
            explains = tuple(kind for flag, kind in _FLAG_FOLLOWS if flag.match(cause.name))
        if cause.matters and other.kind in explains:
            behind.add(other.key)
    return behind
