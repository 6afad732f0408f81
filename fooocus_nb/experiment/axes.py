"""The axes of a sweep: names, and the values that they take one after the other.

An axis knows how many values it has and makes each by its number, so that a sweep is counted
before anything is expanded.
"""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import glob
import itertools
import numbers
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fooocus_nb.errors import ParameterError, nearest
from fooocus_nb.experiment.identity import (
    DATA,
    GLOB,
    InputImages,
    canonical_json,
    is_image_name,
    plain_number,
    same_form,
)
from fooocus_nb.experiment.templates import Template
from fooocus_nb.fooocus.requests.images import is_url
from fooocus_nb.fooocus.requests.tasks import Enhance, ImagePrompt, Task
from fooocus_nb.fooocus.schema.parameters import canonical_name

__all__ = [
    "DRAWN",
    "EACH",
    "MAX_VALUES",
    "Axis",
    "Values",
    "items_of",
    "make_axis",
    "values_of",
    "zip_axis",
]

#: What an axis holds at most; of prompt templates it is the prompts that are written, not made.
MAX_VALUES = 100_000
#: The prompts, in which ``{name}`` is filled in.
TEMPLATES = frozenset({"prompt", "negative_prompt"})
_IMAGE_FILES = frozenset({".avif", ".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
#: What stands for a seed to be drawn: once for the sweep, or once for every cell.
DRAWN, EACH = "drawn", "each"
#: What is one value although it can be iterated.
_SINGLE = (str, bytes, bytearray, Mapping, Task, Enhance, ImagePrompt, os.PathLike)


class Values:
    """The values of one name: canonical, without doubles; templates count as all their prompts."""

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        self.name = name
        self._values = tuple(values)
        #: Those that have places to fill in.
        self.templates = tuple(value for value in self._values if isinstance(value, Template))
        self._ends: list[int] = list(
            itertools.accumulate(v.count if isinstance(v, Template) else 1 for v in self._values)
        )

    @property
    def count(self) -> int:
        """How many there are."""
        return self._ends[-1]

    def at(self, number: int, fill: Mapping[str, str]) -> Any:
        """Return a value by its number; `fill` is what a template's names stand for."""
        value, inside = self._find(number)
        return value.fill(inside, fill) if isinstance(value, Template) else value

    def label(self, number: int, fill: Mapping[str, str]) -> Any:
        """Return what a value is called on its axis: a template with one prompt is its text."""
        value, inside = self._find(number)
        if not isinstance(value, Template):
            return value
        return value.text if value.count == 1 else value.fill(inside, fill)

    def _find(self, number: int) -> tuple[Any, int]:
        place = bisect.bisect_right(self._ends, number)
        return self._values[place], number - (self._ends[place - 1] if place else 0)

    def raw(self) -> tuple[Any, ...]:
        """Return them as they are, templates unfilled."""
        return self._values


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis: the values of one name, or of several that go together."""

    parts: tuple[Values, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names, canonical."""
        return tuple(part.name for part in self.parts)

    @property
    def count(self) -> int:
        """How many places it has."""
        return self.parts[0].count


def make_axis(name: str, value: Any, images: InputImages) -> Axis:
    """Return the axis that a keyword of a sweep is."""
    return Axis((values_of(name, value, images),))


def zip_axis(pairs: Mapping[str, Any], images: InputImages) -> Axis:
    """Return one axis of several names whose values go together, the first with the first."""
    if not isinstance(pairs, Mapping) or not pairs:
        msg = f"zip={pairs!r} is not possible: it must be a mapping such as "
        raise ParameterError(msg + '{"width": [512, 768], "height": [768, 512]}.')
    parts = tuple(values_of(name, value, images, unique=False) for name, value in pairs.items())
    counts = {part.name: part.count for part in parts}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in counts.items())
        msg = f"zip= pairs values, so all its lists have the same length, but {told}."
        raise ParameterError(msg)
    return Axis(parts)


def values_of(name: str, value: Any, images: InputImages, *, unique: bool = True) -> Values:
    """Return the values that somebody gave for a name."""
    canonical = canonical_name(name)
    found: list[Any] = []
    seen: set[str] = set()
    for item in items_of(name, value):
        if canonical in TEMPLATES and isinstance(item, str):
            template = Template(same_form(name, item, images))
            made: Any = template if not template.is_plain else template.fill(0, {})
        elif canonical == "image_seed" and (drawn := _to_draw(item, found)) is not None:
            made = drawn
        else:
            made = None if item is None else same_form(name, item, images)
        key = str(item) if isinstance(made, Template) else canonical_json(made)
        if unique and key in seen:
            continue
        seen.add(key)
        found.append(made)
    if not found:
        msg = f"{name}={value!r} is an empty axis: give at least one value, or leave it out."
        raise ParameterError(msg)
    return Values(canonical, found)


def _to_draw(item: Any, found: Sequence[Any]) -> dict[str, Any] | None:
    """Return what stands for a seed that is to be drawn; None for one that is given."""
    if isinstance(item, str) and item.strip().casefold() == EACH:
        return {EACH: True}
    if item is None or _is_minus_one(item):
        # Each of a list is a seed of its own.
        return {DRAWN: sum(1 for seed in found if isinstance(seed, dict) and DRAWN in seed)}
    return None


def _is_minus_one(item: Any) -> bool:
    if isinstance(item, str):
        return item.strip() == "-1"
    number = plain_number(item)
    return isinstance(number, numbers.Real) and not isinstance(number, bool) and number == -1


def items_of(name: str, value: Any) -> list[Any]:
    """Return the values that somebody gave for a name one by one: one is a list of one."""
    canonical = canonical_name(name)
    if is_image_name(canonical) or canonical == "image_prompts":
        return _images(name, value)
    if _is_single(canonical, value):
        return [value]
    if isinstance(value, (set, frozenset)):
        msg = f"{name}={value!r} is a set, which has no order: give a list."
        raise ParameterError(msg)
    items = list(itertools.islice(value, MAX_VALUES + 1))
    if len(items) > MAX_VALUES:
        msg = f"{name}= has more than {MAX_VALUES:,} values, which is more than an axis may have."
        raise ParameterError(msg)
    return items


def _is_single(canonical: str, value: Any) -> bool:
    if isinstance(value, _SINGLE) or not isinstance(value, Iterable):
        return True
    if hasattr(value, "path") or getattr(value, "ndim", None) == 0:
        return True
    # One LoRA with its weight, which is written as a pair wherever LoRAs are given.
    return (
        canonical == "loras"
        and isinstance(value, (tuple, list))
        and len(value) == 2
        and isinstance(value[0], str)
        and not isinstance(value[1], (str, tuple, list))
    )


# -- images -----------------------------------------------------------------------------------


def _images(name: str, value: Any) -> list[Any]:
    """Return images, with folders and patterns in the place of their files."""
    listed = isinstance(value, (list, tuple)) or (
        isinstance(value, Iterable)
        and not isinstance(value, _SINGLE)
        and not hasattr(value, "path")
        and not hasattr(value, "__array_interface__")
    )
    items = list(itertools.islice(value, MAX_VALUES + 1)) if listed else [value]
    found: list[Any] = []
    for item in items:
        found.extend(_files(name, item) if isinstance(item, (str, os.PathLike)) else [item])
        if len(found) > MAX_VALUES:
            msg = (
                f"{name}= has more than {MAX_VALUES:,} images, which is more than an axis may have."
            )
            raise ParameterError(msg)
    return found


def _files(name: str, item: str | os.PathLike[str]) -> list[Any]:
    if hasattr(item, "path"):  # an Image
        return [item]
    text = os.fspath(item)
    if text.startswith(DATA) or is_url(text):
        return [item]
    path = Path(text)
    with contextlib.suppress(RuntimeError):  # an unknown user's home; reading it tells
        path = path.expanduser()
    try:
        is_folder = path.is_dir()
    except OSError:  # such as a name that is too long; reading it tells
        return [item]
    if is_folder:
        found = sorted(_image_files(path), key=_order)
        if not found:
            msg = f"{name}={text!r} is a folder without images."
            raise ParameterError(msg)
        return list(found)
    if not any(sign in text for sign in GLOB) or path.exists():
        return [item]
    # A name may be stored in another Unicode form than it is written here.
    patterns = dict.fromkeys((str(path), unicodedata.normalize("NFD", str(path))))
    matched = (
        Path(each)
        for pattern in patterns
        for each in glob.iglob(pattern, recursive=True)  # noqa: PTH207 - it may be absolute
    )
    found = sorted({each for each in matched if each.is_file()}, key=_order)
    if not found:
        raise ParameterError(_no_match(name, text, path))
    return list(found)


def _image_files(folder: Path) -> Iterable[Path]:
    # Hidden files, such as those that macOS puts beside each file on other disks, are no photos.
    return (
        each
        for each in folder.iterdir()
        if each.suffix.lower() in _IMAGE_FILES and not each.name.startswith(".")
    )


def _order(path: Path) -> str:
    return unicodedata.normalize("NFC", path.as_posix())


def _no_match(name: str, text: str, path: Path) -> str:
    folder = next((each for each in path.parents if each.is_dir()), Path())
    seen = itertools.islice(folder.iterdir(), 1000)
    there = sorted(each.name for each in seen if each.name[:1] != ".")
    hint = nearest(path.name, there)
    shown = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "") if there else "nothing"
    return f"{name}={text!r} matches no file.{hint} In {str(folder)!r} there is: {shown}."
