"""The manifest of a generation: one JSON file that says how its images were made.

Its schema is ``schemas/manifest-1.json``. Its last line is a checksum of all that stands before it,
so a manifest that was cut short, or changed by hand, is recognised.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import RunError
from fooocus_nb.experiment.folder import (
    dump,
    dump_spread,
    image_name,
    manifest_name,
    parse_image_name,
    safe_relative,
)
from fooocus_nb.fooocus.schema.named_values import NamedValues

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FORMAT",
    "PENDING",
    "VERSION",
    "Entry",
    "ImageRecord",
    "InputRecord",
    "Manifest",
    "ModelRecord",
    "TornManifest",
    "encode",
    "image_record",
    "jsonable",
    "read_entry",
    "schema",
    "seed_from_json",
]

FORMAT = "fooocus-nb manifest"
VERSION = 1
#: What is still to be found out in the background, in the order of doing it.
PENDING = ("pixels", "prompts", "models", "engine")
_CHECKSUM = b'\n"checksum":"sha256:'
_HEX64 = re.compile(r"[0-9a-f]{64}")
_HEX16 = re.compile(r"[0-9a-f]{16}")
_ATTEMPT = re.compile(r"[0-9a-f]{32}")
_SEED = re.compile(r"-?\d{1,20}")
#: Parameters that JavaScript would round, so they are strings in every file.
_SEEDS = frozenset({"image_seed", "seed"})
_UNSHARED = 2047
_OWN_PATH = re.compile(r"images/[0-9a-z]+(?:-[0-9a-z]+)*\.[a-z0-9]{1,5}")
#: More was not written by us.
MAX_IMAGES = 10_000


class TornManifest(ValueError):
    """A manifest that isn't whole: its writing was cut short."""


@dataclass(frozen=True)
class ImageRecord:
    """One image file of a generation.

    Attributes
    ----------
    path : str
        Where it is in the run, such as ``images/000012-1a2b3c4d-1.png``.
    number_in_request : int
        Which image of the request it is, from 1. An enhanced image has several files of one
        number; a grid of all comes after the last.
    seed : int or None
        The seed that made it, a string in the file. None where it isn't known.
    sha256 : str
        Of the file's bytes.
    bytes : int
        The file's size.
    width, height : int
        In pixels.
    format : str
        ``png``, ``jpeg`` or ``webp``.
    pixels_sha256, dhash : str or None
        See :mod:`fooocus_nb.experiment.hashing`; None until they are found out, which happens in
        the background.
    prompt, expansion : str or None
        The prompt after wildcards, and after expansion, as the engine's log says; None where it
        doesn't say.
    """

    path: str
    number_in_request: int
    seed: int | None
    sha256: str
    bytes: int
    width: int
    height: int
    format: str
    pixels_sha256: str | None = None
    dhash: str | None = None
    prompt: str | None = None
    expansion: str | None = None

    @property
    def key(self) -> str:
        """What names the image in ratings and measures: its file name without the ending."""
        return self.path.rpartition("/")[2].rpartition(".")[0]


@dataclass(frozen=True)
class InputRecord:
    """An image that a generation began with; a copy of it is in the run.

    Attributes
    ----------
    parameter : str
        The parameter that it was given for.
    part : str or None
        ``image`` or ``mask`` where the parameter takes both.
    sha256 : str
        Of its bytes as they were sent.
    path : str
        Where the copy is in the run: ``inputs/<sha256>.png``.
    bytes : int
        Its size.
    name : str
        The name of the file that was given; empty for pixels from memory.
    """

    parameter: str
    part: str | None
    sha256: str
    path: str
    bytes: int
    name: str = ""


@dataclass(frozen=True)
class ModelRecord:
    """A model file that a generation used.

    Attributes
    ----------
    parameter : str
        The parameter that names it, such as ``base_model`` or ``lora_1_model``; ``prompt`` for a
        LoRA in the prompt's text.
    name : str
        Its name, as Fooocus lists it.
    sha256 : str or None
        Of the file; None while it is not known, and where the file is not on this machine.
    bytes : int or None
        The file's size.
    mtime_ns : int or None
        The file's time of change, in nanoseconds; a string in the file.
    reason : str or None
        Why there is no hash.
    """

    parameter: str
    name: str
    sha256: str | None = None
    bytes: int | None = None
    mtime_ns: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Manifest:
    """How the images of one generation were made.

    Attributes
    ----------
    run : str
        The id of the run.
    attempt : str
        32 hexadecimal digits of its own; the first 8 are in the names of its files.
    number : int
        The place of its cell in the plan, or of the generation in the run.
    cell : str or None
        The id of its cell in a sweep.
    tries : int
        Which attempt of its cell it is, from 1.
    created : str
        When the request was sent, in UTC.
    complete : bool
        Whether all images that were asked for are there.
    adopted : bool
        Whether it was written after a crash, from what lay on the disk.
    parameters : NamedValues
        Everything that decides the outcome, by canonical name: what was given and the server's
        defaults. An image is ``sha256:...``.
    given : tuple of str
        The names of what was given.
    seed : int or None
        The seed that was sent.
    inputs, models, images : tuple of InputRecord, ModelRecord, ImageRecord
        What it began with, what it used, and what it made.
    fooocus : mapping
        ``version``, ``fork``, ``commit``, ``dirty``, ``flags`` and ``preset``.
    system : mapping
        ``torch``, ``cuda``, ``driver``, ``gpu``, ``vram_state``, ``attention``, ``python`` and
        others of the engine, as far as its log says.
    software : mapping
        Our own version, and the Python and platform of the kernel.
    engine : mapping
        ``name``, ``demo`` and ``owned``.
    timings : mapping
        In seconds: ``elapsed``, and as the log says ``preparation``, ``images`` and ``total``.
    error : mapping or None
        ``type`` and ``message`` of what ended it early.
    pending : tuple of str
        What of ``pixels``, ``prompts``, ``models`` and ``engine`` is still to be found out.
    extra : mapping
        What other programs have added, under names that this version doesn't know.
    edited : bool
        Whether the file was changed after it was written. It isn't part of the file.
    """

    run: str
    attempt: str
    number: int
    cell: str | None
    tries: int
    created: str
    complete: bool
    parameters: Mapping[str, Any]
    given: tuple[str, ...]
    seed: int | None
    images: tuple[ImageRecord, ...]
    inputs: tuple[InputRecord, ...] = ()
    models: tuple[ModelRecord, ...] = ()
    fooocus: Mapping[str, Any] = field(default_factory=dict)
    system: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, Any] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    adopted: bool = False
    pending: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    edited: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.parameters, NamedValues):
            object.__setattr__(self, "parameters", NamedValues(self.parameters))

    @property
    def name(self) -> str:
        """Its file name."""
        return manifest_name(self.number, self.attempt)

    @property
    def stem(self) -> str:
        """Its file name without the ending, with which the names of its images begin."""
        return self.name.removesuffix(".json")

    def image_path(self, order: int, kind: str) -> str:
        """Return where an image of it goes in the run; `order` counts from 1."""
        return f"images/{image_name(self.number, self.attempt, order, kind)}"

    # -- to a file and back -----------------------------------------------------------------

    def to_json(self) -> bytes:
        """Return the file: JSON with one entry a line, and the checksum last."""
        content: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "run": self.run,
            "attempt": self.attempt,
            "number": self.number,
            "cell": self.cell,
            "try": self.tries,
            "created": self.created,
            "complete": self.complete,
            "adopted": self.adopted,
            "pending": list(self.pending),
            "seed": _text(self.seed),
            "given": list(self.given),
            "parameters": seeds_as_text(self.parameters),
            "inputs": [dict(vars(one)) for one in self.inputs],
            "models": [{**vars(one), "mtime_ns": _text(one.mtime_ns)} for one in self.models],
            "fooocus": dict(self.fooocus),
            "system": dict(self.system),
            "software": dict(self.software),
            "engine": dict(self.engine),
            "timings": dict(self.timings),
            "images": [{**vars(one), "seed": _text(one.seed)} for one in self.images],
            "error": None if self.error is None else dict(self.error),
            **{name: value for name, value in self.extra.items() if name not in _NAMES},
        }
        return _with_checksum(_lines(content))

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Return the manifest in a file.

        Parameters
        ----------
        data : bytes
            What is in the file.

        Returns
        -------
        Manifest
            With `edited` where the file was changed after it was written.

        Raises
        ------
        TornManifest
            When it is cut short.
        RunError
            When a newer version has written it, or it says what cannot be, such as a path that
            leads out of the run, or somebody has made it no JSON.
        """
        content, edited = parse(data)
        try:
            return cls._from(content, edited)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            msg = f"The manifest doesn't say what it must: {what}."
            raise RunError(msg) from error

    @classmethod
    def _from(cls, content: Mapping[str, Any], edited: bool) -> Manifest:
        attempt = _matching(_ATTEMPT, content["attempt"], "attempt")
        error = content.get("error")
        images = content["images"]
        if not isinstance(images, list):
            msg = f"images is {images!r:.60}, and should be a list"
            raise TypeError(msg)
        if len(images) > MAX_IMAGES:
            msg = f"it names {len(images)} images"
            raise ValueError(msg)
        return cls(
            run=str(content["run"]),
            attempt=attempt,
            number=_whole(content["number"], "number"),
            cell=_text_or_none(content["cell"], "cell"),
            tries=_whole(content["try"], "try"),
            created=str(content["created"]),
            complete=content["complete"] is True,
            adopted=content.get("adopted") is True,
            pending=tuple(name for name in content.get("pending", ()) if name in PENDING),
            seed=seed_from_json(content["seed"]),
            given=tuple(map(str, content["given"])),
            parameters=seeds_as_numbers(content["parameters"]),
            inputs=tuple(map(_input, content.get("inputs", ()))),
            models=tuple(map(_model, content.get("models", ()))),
            images=tuple(map(image_record, images)),
            fooocus=dict(content.get("fooocus") or {}),
            system=dict(content.get("system") or {}),
            software=dict(content.get("software") or {}),
            engine=dict(content.get("engine") or {}),
            timings=dict(content.get("timings") or {}),
            error=None if error is None else dict(error),
            extra={name: value for name, value in content.items() if name not in _NAMES},
            edited=edited,
        )


#: The names in the file that are known.
_NAMES = frozenset(
    (
        *("format", "version", "run", "attempt", "number", "cell", "try", "created", "complete"),
        *("adopted", "pending", "seed", "given", "parameters", "inputs", "models", "fooocus"),
        *("system", "software", "engine", "timings", "images", "error", "checksum"),
    )
)
#: What has one entry a line.
_SPREAD = frozenset({"parameters", "inputs", "models", "fooocus", "system", "images"})


def encode(content: Mapping[str, Any], checksum: str | None = None) -> bytes:
    """Return the file of a manifest's content; with a `checksum` that doesn't fit it is edited."""
    head = _lines(content)
    if checksum is None:
        return _with_checksum(head)
    return head + b'"checksum":' + dump(checksum).encode() + b"\n}\n"


def _no_number(_: str) -> None:
    """Return what stands for NaN and infinity, which only other programs write."""


def parse(data: bytes) -> tuple[dict[str, Any], bool]:
    """Return the content of a manifest, and whether it was changed after it was written."""
    place = data.rfind(_CHECKSUM)
    try:
        content = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        if place >= 0 and b"\0" not in data and data.rstrip().endswith(b"}"):
            msg = (
                f"It is whole, and no JSON since somebody has changed it: {error}. Mend it; or "
                "remove it, and its images are taken in again"
            )
            raise RunError(msg) from error
        msg = f"It is cut short or no JSON: {error}"
        raise TornManifest(msg) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        msg = "It is no manifest of fooocus-nb."
        raise TornManifest(msg)
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        msg = (
            f"The manifest was written by a newer fooocus-nb (its version is {version}, and this "
            f"one knows {VERSION}). Update it: pip install -U fooocus-nb"
        )
        raise RunError(msg)
    said = str(content.pop("checksum", ""))
    if place >= 0 and said == _checksum(data[: place + 1]):
        return content, False
    # One that was only laid out anew says the same.
    try:
        same = said == _checksum(_lines(content))
    except ValueError:
        same = False
    return content, not same


@dataclass(frozen=True)
class Entry:
    """What an index holds of a manifest."""

    name: str
    number: int
    attempt: str
    cell: str | None
    tries: int
    complete: bool
    edited: bool
    pending: bool
    #: Its images.
    images: tuple[ImageRecord, ...]
    #: Its parameters as the file has them, where seeds are text; or the lines that hold them.
    parameters: Mapping[str, Any] | bytes = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Manifest, name: str | None = None) -> Entry:
        """Return the entry of a manifest, whose file may have another name."""
        return cls(
            name=name or manifest.name,
            number=manifest.number,
            attempt=manifest.attempt,
            cell=manifest.cell,
            tries=manifest.tries,
            complete=manifest.complete,
            edited=manifest.edited,
            pending=bool(manifest.pending),
            images=manifest.images,
            parameters=seeds_as_text(manifest.parameters),
        )


_HEAD = re.compile(
    rb"""\{
"format":"fooocus-nb manifest",
"version":1,
"run":"[^"\\]*",
"attempt":"([0-9a-f]{32})",
"number":(\d{1,12}),
"cell":(?:null|"([ -!#-\[\]-~]{0,200})"),
"try":(\d{1,12}),
"created":"[^"\\]*",
"complete":(true|false),
"adopted":(?:true|false),
"pending":\[(.*)\],
"""
)
_IMAGES, _IMAGES_END = b'\n"images":[\n', b"\n],\n"
_PARAMETERS, _PARAMETERS_END = b'\n"parameters":{\n', b"\n},\n"


def read_entry(name: str, data: bytes) -> Entry:
    """Return what an index holds of a manifest's file; raises as :meth:`Manifest.from_json`.

    A file that is as it was written has its lines where they were written, and needn't be
    understood as a whole for that. Of 100,000 that makes the difference.
    """
    place = data.rfind(_CHECKSUM)
    said = data[place + 1 :]
    found = hashlib.sha256(memoryview(data)[: place + 1]).hexdigest()
    if place >= 0 and said == b'"checksum":"sha256:%s"\n}\n' % found.encode():
        head = _HEAD.match(data)
        start = head.end() - 1 if head else 0
        # No line ends inside of a string, so these stand where they seem to.
        values = _between(data, _PARAMETERS, _PARAMETERS_END, start)
        block = _between(data, _IMAGES, _IMAGES_END, start)
        if head is not None and block is not None and values is not None:
            try:
                images = tuple(map(image_record, json.loads(f"[{block.decode()}]")))
            except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
                images = ()  # it is looked at as a whole
            named = all(parse_image_name(each.path.removeprefix("images/")) for each in images)
            if images and named and len(images) <= MAX_IMAGES:
                return Entry(
                    name=name,
                    number=int(head[2]),
                    attempt=head[1].decode(),
                    cell=None if head[3] is None else head[3].decode(),
                    tries=int(head[4]),
                    complete=head[5] == b"true",
                    edited=False,
                    pending=bool(head[6]),
                    images=images,
                    parameters=b"{" + values + b"}",
                )
    return Entry.of(Manifest.from_json(data), name)


def _between(data: bytes, begin: bytes, end: bytes, start: int) -> bytes | None:
    """Return what is between two marks; None where one is missing."""
    first = data.find(begin, start)
    last = data.find(end, first + len(begin) - 1) if first >= 0 else -1
    return data[first + len(begin) - 1 : last + 1] if last >= 0 else None


def _checksum(data: bytes) -> str:
    found = hashlib.sha256()
    # For more than 2 kB at once, hashlib lets other threads go first: 5 ms to wait for 10 µs.
    for start in range(0, len(data), _UNSHARED):
        found.update(data[start : start + _UNSHARED])
    return "sha256:" + found.hexdigest()


def _with_checksum(head: bytes) -> bytes:
    return head + b'"checksum":"' + _checksum(head).encode() + b'"\n}\n'


def _lines(content: Mapping[str, Any]) -> bytes:
    """Return the beginning of the file, up to the checksum: JSON that people can read."""
    lines = ["{\n"]
    for name, value in content.items():
        if name in _SPREAD and isinstance(value, dict) and value:
            lines.append(f"{dump(name)}:{{\n {dump_spread(value)[1:-1]}\n}},\n")
        elif name in _SPREAD and isinstance(value, list) and value:
            entries = ",\n ".join(map(dump, value))
            lines.append(f"{dump(name)}:[\n {entries}\n],\n")
        else:
            lines.append(f"{dump(name)}:{dump(value)},\n")
    return "".join(lines).encode()


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a manifest."""
    from importlib.resources import files

    path = files("fooocus_nb.experiment") / "schemas" / f"manifest-{VERSION}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def jsonable(value: Any) -> Any:
    """Return a value of a request as JSON can hold it and as it can be given again.

    What is no number (NaN, infinity) becomes None.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, dict):
        return {str(key): jsonable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(each) for each in value]
    if hasattr(value, "item") and callable(value.item):  # a number of numpy's
        return jsonable(value.item())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        number = float(value)
        return number if number == number and abs(number) != float("inf") else None
    return str(value)


def seeds_as_text(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with their seeds as strings, for a file."""
    return {
        name: str(value)
        if name in _SEEDS and isinstance(value, int) and not isinstance(value, bool)
        else value
        for name, value in values.items()
    }


def seeds_as_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values from a file with their seeds as numbers."""
    return {
        name: int(value)
        if name in _SEEDS and isinstance(value, str) and _SEED.fullmatch(value)
        else value
        for name, value in values.items()
    }


def seed_from_json(value: object) -> int | None:
    """Return a seed that a file holds as a string."""
    if value is None:
        return None
    if isinstance(value, str) and _SEED.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    msg = f"{str(value)[:40]!r} is no seed"
    raise ValueError(msg)


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _text_or_none(value: object, name: str) -> str | None:
    if value is None or (isinstance(value, str) and len(value) <= 200):
        return value
    msg = f"{name} is {str(value)[:40]!r}"
    raise ValueError(msg)


def _whole(value: object, name: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12:
        return value
    msg = f"{name} is {str(value)[:40]!r}, and should be a whole number"
    raise ValueError(msg)


def _matching(pattern: re.Pattern[str], value: object, name: str) -> str:
    if isinstance(value, str) and pattern.fullmatch(value):
        return value
    msg = f"{name} is {str(value)[:80]!r}"
    raise ValueError(msg)


def _optional_hex(value: object, name: str) -> str | None:
    return None if value is None else _matching(_HEX64, value, name)


def image_record(found: Mapping[str, Any]) -> ImageRecord:
    """Return the record of an image in a file; raises a ValueError and the like for none."""
    return ImageRecord(
        path=_image_path(found["path"]),
        number_in_request=_whole(found["number_in_request"], "number_in_request"),
        seed=seed_from_json(found["seed"]),
        sha256=_matching(_HEX64, found["sha256"], "sha256"),
        bytes=_whole(found["bytes"], "bytes"),
        width=_whole(found["width"], "width"),
        height=_whole(found["height"], "height"),
        format=str(found["format"])[:20],
        pixels_sha256=_optional_hex(found.get("pixels_sha256"), "pixels_sha256"),
        dhash=None if found.get("dhash") is None else _matching(_HEX16, found["dhash"], "dhash"),
        prompt=None if found.get("prompt") is None else str(found["prompt"]),
        expansion=None if found.get("expansion") is None else str(found["expansion"]),
    )


def _image_path(path: Any) -> str:
    # As we write them, they need no longer look.
    if isinstance(path, str) and _OWN_PATH.fullmatch(path):
        return path
    return safe_relative(path)


def _input(found: Mapping[str, Any]) -> InputRecord:
    return InputRecord(
        parameter=str(found["parameter"]),
        part=_text_or_none(found.get("part"), "part"),
        sha256=_matching(_HEX64, found["sha256"], "sha256"),
        path=safe_relative(found["path"]),
        bytes=_whole(found["bytes"], "bytes"),
        name=str(found.get("name") or "")[:300],
    )


def _model(found: Mapping[str, Any]) -> ModelRecord:
    size = found.get("bytes")
    return ModelRecord(
        parameter=str(found["parameter"]),
        name=str(found["name"]),
        sha256=_optional_hex(found.get("sha256"), "sha256"),
        bytes=None if size is None else _whole(size, "bytes"),
        mtime_ns=seed_from_json(found.get("mtime_ns")),
        reason=_text_or_none(found.get("reason"), "reason"),
    )
