"""What a cell is: the values that a sweep gives, in one form, and the hash that names the cell.

The form is plain JSON. 3, 3.0 and ``numpy.int64(3)`` are one value, True is not 1, a seed is a
string, an input image is the hash of its bytes, and a task is its class with its fields. No server
is asked: what a cell is does not depend on which engine makes it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import numbers
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.requests.images import image_source, is_url
from fooocus_nb.fooocus.requests.tasks import (
    Enhance,
    EnhanceImage,
    ImagePrompt,
    Inpaint,
    Outpaint,
    Task,
    Upscale,
    Vary,
)
from fooocus_nb.fooocus.schema.parameters import MAX_SEED, aliases_of, canonical_name, plain
from fooocus_nb.fooocus.transport.data_uris import decode_data_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    #: Returns what to give to ``generate`` for an input image of a cell's values.
    FindImage = Callable[[Mapping[str, Any]], Any]

__all__ = [
    "DATA",
    "GLOB",
    "InputImages",
    "canonical_json",
    "canonical_seed",
    "cell_id",
    "image_entries",
    "is_image_name",
    "parameters_of",
    "plain_number",
    "same_form",
    "short_name",
    "value_text",
]

#: What stands for an object of these classes in a cell's values, and is made one again from there.
_CLASSES: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (Enhance, EnhanceImage, ImagePrompt, Inpaint, Outpaint, Upscale, Vary)
}
_CLASS = "class"
#: Words of these fields mean the same in any case.
_WORDS = frozenset({"by", "mode", "outpaint", "sides", "strength", "upscale", "vary"})
_FACTORS = frozenset({"by", "upscale"})
_LISTS = frozenset({"enhancements", "outpaint", "sides"})
_IMAGE_NAME = re.compile(
    r"image|mask|ip_\d+_image|(?:uov|inpaint|enhance)_input_image|inpaint_mask_image"
)
#: What of an image's entry is for people and not what it is.
_BESIDE_IDENTITY = frozenset({"name"})
_SIZE = "aspect_ratios_selection"
_STYLES = "style_selections"
_TEXTS = frozenset({"prompt", "negative_prompt"})
#: The signs of a pattern that stands for several files.
GLOB = ("*", "?", "[")
#: How a text begins that holds an image, and is no path.
DATA = "data:"
#: Whole numbers from here on may have been rounded where they were floats.
EXACT = 2**53
#: A label is one line of a table.
LABEL_LENGTH = 60


def is_image_name(name: str) -> bool:
    """Whether the value of a parameter of that name is an image."""
    return _IMAGE_NAME.fullmatch(name) is not None


class InputImages:
    """The input images of a sweep: each is read and hashed once, and found again by its entry."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._read: dict[tuple[str, int, int], str] = {}

    def add(self, name: str, value: Any) -> dict[str, Any]:
        """Return the entry of an image in a cell's values."""
        if isinstance(value, Mapping) and ("sha256" in value or "url" in value):
            return dict(value)
        if hasattr(value, "mask_png"):
            value = value.mask  # a MaskEditor stands for what is painted in it
        value = image_source(name, value)
        if isinstance(value, str) and value.startswith(DATA):
            value = _decoded(name, value)
        if is_url(value):
            self._known[value] = value
            return {"url": value}
        if isinstance(value, (str, os.PathLike)):
            return self._file(name, Path(value))
        if isinstance(value, (bytes, bytearray)):
            data = bytes(value)
            return {"sha256": self._keep(hashlib.sha256(data).hexdigest(), data)}
        return self._pixels(name, value)

    def find(self, entry: Mapping[str, Any]) -> Any:
        """Return the image of an entry.

        Raises
        ------
        KeyError
            When it is none of these.
        ParameterError
            When its file is another one by now: the cell would not be what its name says.
        """
        known = self._known[entry["url"] if "url" in entry else entry["sha256"]]
        if isinstance(known, Path):
            self._require_same(known, str(entry["sha256"]))
        return known

    def _require_same(self, path: Path, sha256: str) -> None:
        try:
            found = self._hash(path)
        except (OSError, ValueError):  # who reads it tells
            return
        if found != sha256:
            msg = (
                f"The image {path.name!r} has changed since the sweep was made, and would be "
                "another cell: make the Sweep again."
            )
            raise ParameterError(msg)

    def _hash(self, path: Path) -> str:
        """Return the hash of a file, which is read where size or time are others than before."""
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        if key not in self._read:
            self._read[key] = hashlib.sha256(read_plain_file(path, max_file_bytes())).hexdigest()
        return self._read[key]

    def _file(self, name: str, path: Path) -> dict[str, Any]:
        given = path
        with contextlib.suppress(RuntimeError):  # an unknown user's home
            path = path.expanduser()
        try:
            # By its whole name from the first: it is looked at again before it is sent.
            path = path.absolute()
            found = self._hash(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            msg = f"{name}={os.fspath(given)!r} cannot be read: {reason}."
            if _is_folder(path) or any(sign in path.name for sign in GLOB):
                msg += f" A folder or a pattern is an axis: give {name}= beside base=."
            raise ParameterError(msg) from error
        # Two files of the same bytes are one image; the first name is kept.
        self._known.setdefault(found, path)
        return {"sha256": found, "name": unicodedata.normalize("NFC", path.name)}

    def _pixels(self, name: str, value: Any) -> dict[str, Any]:
        """Return the entry of an image in memory: it is its pixels, not how they are packed."""
        from PIL import Image

        try:
            image = value if isinstance(value, Image.Image) else Image.fromarray(value)
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            pixels = hashlib.sha256(f"{image.mode} {image.size}\n".encode() + image.tobytes())
        except (TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
            msg = (
                f"{name}= is a {type(value).__name__}, but must be a path, bytes, a PIL image or "
                "an array of 8-bit pixels."
            )
            raise ParameterError(msg) from error
        data = buffer.getvalue()
        sha256 = self._keep(hashlib.sha256(data).hexdigest(), data)
        return {"sha256": sha256, "pixels_sha256": pixels.hexdigest()}

    def _keep(self, sha256: str, value: Any) -> str:
        self._known.setdefault(sha256, value)
        return sha256


def _is_folder(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return path.is_dir()
    return False


def _decoded(name: str, uri: str) -> bytes:
    """Return the bytes of an image that is written into a text."""
    found = decode_data_uri(uri)
    if found is None:
        msg = (
            f"{name}={uri[:40] + '…'!r} is no image: a data URI begins with "
            "'data:image/png;base64,' or the like, and base64 follows."
        )
        raise ParameterError(msg)
    return found[0]


# -- one form ---------------------------------------------------------------------------------


def same_form(name: str, value: Any, images: InputImages) -> Any:
    """Return a value in the form in which equal values are equal, and which JSON can hold."""
    canonical = canonical_name(name)
    if canonical == "image_seed":
        return canonical_seed(value)
    if is_image_name(canonical) and not _is_pair(value):
        return images.add(canonical, value)
    if canonical == _STYLES and isinstance(value, str):
        value = [value]
    if canonical == _SIZE and isinstance(value, str):
        return plain(value).split(" ")[0]
    if canonical == "task":
        _require_task(value)
    if canonical == "loras":
        value = [_lora(item) for item in _as_list(value)]
    if canonical in ("image_prompts", "enhance"):
        value = _as_list(value)
    if canonical == "image_prompts":
        value = [item if isinstance(item, ImagePrompt) else ImagePrompt(item) for item in value]
    return _plain(canonical, value, images)


def _plain(name: str, value: Any, images: InputImages) -> Any:
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(name, str.__str__(value))  # an enum's text is its value, not its name
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return _number(name, float(value))
    if dataclasses.is_dataclass(value) and type(value).__name__ in _CLASSES:
        return _fields(value, images)
    if isinstance(value, Mapping):
        return {
            str(key): images.add(f"{name}.{key}", item)
            if key in ("image", "mask") and item is not None
            else _plain(f"{name}.{key}", item, images)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        if is_image_name(name):  # an image and its mask
            pair = dict(zip(("image", "mask"), value, strict=False))
            return _plain(name, pair, images)
        return [_plain(name, item, images) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    msg = f"{name}={value!r} is of type {type(value).__name__}, which no parameter takes."
    raise ParameterError(msg)


def _fields(value: Any, images: InputImages) -> dict[str, Any]:
    """Return the class of a task or of a part of one, with the fields that are not defaults."""
    kind = type(value).__name__
    found: dict[str, Any] = {_CLASS: kind}
    for field in dataclasses.fields(value):
        given = getattr(value, field.name)
        if given is None:
            continue
        if field.name in ("image", "mask"):
            found[field.name] = images.add(f"{kind}.{field.name}", given)
            continue
        if field.name in _LISTS:
            given = [given] if isinstance(given, str) else list(given)
        made = _plain(field.name, given, images)
        made = _factor(made) if field.name in _FACTORS else made
        made = _folded(made) if field.name in _WORDS else made
        default = field.default
        if field.name in _LISTS:
            default = [] if default is dataclasses.MISSING else list(default)
        if made != default or isinstance(made, bool) is not isinstance(default, bool):
            found[field.name] = made
    return found


def _factor(value: Any) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:g}x" if is_number else value


def _folded(value: Any) -> Any:
    if isinstance(value, list):
        return [_folded(item) for item in value]
    return " ".join(value.casefold().split()) if isinstance(value, str) else value


def _number(name: str, value: float) -> int | float:
    if not math.isfinite(value):
        msg = f"{name}={value!r} is not possible: it must be a finite number."
        raise ParameterError(msg)
    return int(value) if value.is_integer() else value


def _text(name: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        msg = f"{name}={value!r} is not possible: it must be text that can be encoded."
        raise ParameterError(msg) from None
    return value


def _require_task(value: Any) -> None:
    """Raise where a value is neither a task nor one as a cell's values have it."""
    if not (isinstance(value, Task) or (isinstance(value, Mapping) and value.get(_CLASS))):
        msg = f"task={value!r} is not possible: it must be an Upscale, Vary, Inpaint, Outpaint or "
        raise ParameterError(msg + "EnhanceImage of fooocus_nb, such as task=Upscale('1.5x').")


def _lora(item: Any) -> list[Any]:
    if isinstance(item, str):
        return [item, 1.0]
    if isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str):
        return list(item)
    msg = f"loras= has {item!r}, which is neither a name nor a pair of a name and a weight."
    raise ParameterError(msg)


def _as_list(value: Any) -> list[Any]:
    """Return the items of a value that may be one item."""
    if isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[1], numbers.Real):
        return [value]  # one LoRA with its weight
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        return list(value) if isinstance(value, (list, tuple)) else [value]
    return [value]


def _is_pair(value: Any) -> bool:
    """Whether a value is an image with its mask."""
    return isinstance(value, (list, tuple)) or (isinstance(value, Mapping) and "image" in value)


def plain_number(value: Any) -> Any:
    """Return a number of NumPy as one of Python; any other value as it is."""
    if type(value).__module__ == "numpy" and getattr(value, "size", 0) == 1:
        return value.item()
    return value


def canonical_seed(value: Any) -> str:
    """Return a seed as it is written everywhere, or raise what says that it is none."""
    seed: Any = plain_number(value)
    if isinstance(seed, str) and re.fullmatch(r"\d{1,19}", seed, re.ASCII):
        seed = int(seed)
    if isinstance(seed, float) and seed.is_integer():
        if abs(seed) >= EXACT:
            msg = (
                f"seed={value!r} is a float, which may have been rounded: give large seeds as "
                'whole numbers or as text. In pandas, that is a column of the dtype "Int64".'
            )
            raise ParameterError(msg)
        seed = int(seed)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        msg = (
            f"seed={value!r} is not possible: it must be a whole number from 0 to {MAX_SEED}; "
            '-1 is drawn once for the whole sweep, and seed="each" once for every cell.'
        )
        raise ParameterError(msg)
    return str(seed)


# -- the name ---------------------------------------------------------------------------------


def canonical_json(values: Any) -> str:
    """Return values as the one JSON text that equal values have."""
    return json.dumps(
        values, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


def cell_id(values: Mapping[str, Any]) -> str:
    """Return the identity of a cell: the SHA-256 of its values, without what is for people."""
    return hashlib.sha256(canonical_json(_bare(values)).encode()).hexdigest()


def _bare(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "pixels_sha256" in value:
            return {"pixels_sha256": value["pixels_sha256"]}
        if "sha256" in value:
            return {key: _bare(item) for key, item in value.items() if key not in _BESIDE_IDENTITY}
        return {key: _bare(item) for key, item in value.items()}
    return [_bare(item) for item in value] if isinstance(value, list) else value


# -- and back ---------------------------------------------------------------------------------


def parameters_of(values: Mapping[str, Any], find_image: FindImage) -> dict[str, Any]:
    """Return what to give to ``generate`` for the values of a cell."""
    return {name: _given(value, find_image) for name, value in values.items()}


def _given(value: Any, find_image: FindImage) -> Any:
    if isinstance(value, list):
        return [_given(item, find_image) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "sha256" in value or "url" in value:
        return find_image(value)
    fields = {key: _given(item, find_image) for key, item in value.items() if key != _CLASS}
    kind = _CLASSES.get(str(value.get(_CLASS, "")))
    if kind is None:
        return fields
    known = {field.name for field in dataclasses.fields(kind)}
    return kind(**{key: item for key, item in fields.items() if key in known})


def image_entries(value: Any, part: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the entries of the input images in a cell's values that have a hash.

    Each comes with the name that it has in what holds it, such as ``image`` or ``mask``.
    """
    if isinstance(value, Mapping):
        if "sha256" in value:
            yield part, value
            return
        for name, item in value.items():
            yield from image_entries(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from image_entries(item, part)


def short_name(name: str) -> str:
    """Return the name of a parameter as people write it: ``seed`` for ``image_seed``."""
    return next(iter(aliases_of(name)), name)


def value_text(value: Any, limit: int = LABEL_LENGTH) -> str:
    """Return a value of a cell for people, in one line."""
    if isinstance(value, Mapping):
        if "sha256" in value or "url" in value:
            text = str(value.get("name") or value.get("url") or str(value["sha256"])[:12])
        elif "drawn" in value:
            text = "drawn once"
        elif "each" in value:
            text = "drawn for each cell"
        elif _CLASS in value:
            inside = ", ".join(value_text(item) for key, item in value.items() if key != _CLASS)
            text = f"{value[_CLASS]}({inside})"
        else:
            text = ", ".join(f"{key}={value_text(item)}" for key, item in value.items())
    elif isinstance(value, list):
        pairs = (":".join(map(value_text, item)) if isinstance(item, list) else value_text(item)
                 for item in value)  # fmt: skip
        text = ", ".join(pairs)
    elif isinstance(value, float):
        text = f"{value:.10g}"
    else:
        text = str(value)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
