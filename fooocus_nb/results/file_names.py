"""The names of image files, made by a pattern, so that any file system takes them.

A name is made for the strictest of all: characters, reserved words and lengths of Windows, lengths
in bytes as encrypted home folders allow them, one Unicode form, and no two names that differ in
case only.
"""

from __future__ import annotations

import functools
import re
import string
import time
import unicodedata
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ConfigurationError, nearest
from fooocus_nb.fooocus.schema.named_values import NamedValues, common_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["FIELDS", "ImageFacts", "NamePattern", "folded", "image_name", "is_inside", "safe_name"]

#: What a pattern may name beside the parameters of the image.
FIELDS = ("date", "time", "seed", "prompt", "number", "index", "name", "engine", "input")
#: eCryptfs takes 143 bytes; a number, an extension and a suffix such as ``.part`` have to fit, too.
MAX_BYTES = 120
#: How deep the folders of a pattern may be.
MAX_FOLDERS = 8
#: A pattern is one line of a person's.
MAX_PATTERN = 500
#: What a value may fill; a width such as ``{seed:>1000000000}`` would fill the memory.
MAX_WIDTH = 100
DEFAULT_NAME = "image"
#: How files of images end; anything else would be opened by something else than a viewer.
IMAGE_ENDINGS = frozenset(
    {"avif", "bmp", "gif", "heic", "jfif", "jpeg", "jpg", "jxl", "png", "tif", "tiff", "webp"}
)
DEFAULT_ENDING = "png"

_BAD = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u200e\u200f\u202a-\u202e\u2066-\u2069]+')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])$")
_SPEC = re.compile(r"(?:.?[<>=^])?[-+ ]?#?0?(\d*)[,_]?(?:\.(\d+))?[a-zA-Z%]?")


@dataclass(frozen=True)
class ImageFacts:
    """What the name of an image may tell: `values` of `FIELDS`, and its parameters."""

    values: Mapping[str, Any]
    parameters: Mapping[str, Any]


class NamePattern:
    """How the files of images are called, such as ``{date}/{seed}-{prompt:.40}``.

    A ``/`` begins a folder; the ending is the image's own. Fields are formatted as Python's
    ``format`` does: `FIELDS`, and every parameter of the image by any of its names.

    Raises
    ------
    ConfigurationError
        When it is no pattern, or would lead out of the folder.
    """

    def __init__(self, pattern: str) -> None:
        self.text = pattern
        if not isinstance(pattern, str) or not pattern.strip() or len(pattern) > MAX_PATTERN:
            self._refuse(f"give a text of 1 to {MAX_PATTERN} characters")
        if PureWindowsPath(pattern).drive or pattern[:1] in ("/", "\\", "~"):
            self._refuse("it must be relative to the output folder")
        self._folders: list[list[tuple[str, str | None, str]]] = []
        for part in pattern.replace("\\", "/").split("/"):
            self._folders.append(self._parsed(part))
        if any(PurePosixPath(part).name in ("", "..") for part in pattern.split("/")):
            self._refuse("each part between slashes must be a name")
        if len(self._folders) > MAX_FOLDERS:
            self._refuse(f"it has more than {MAX_FOLDERS} folders")

    def __repr__(self) -> str:
        return f"NamePattern({self.text!r})"

    def _refuse(self, why: str) -> None:
        end = "" if why.endswith((".", "?")) else "."
        msg = f"names={str(self.text)[:MAX_PATTERN]!r} cannot be used: {why}{end}"
        raise ConfigurationError(msg)

    def _parsed(self, part: str) -> list[tuple[str, str | None, str]]:
        """Return the texts and fields of one part, checked as far as no image is needed."""
        found: list[tuple[str, str | None, str]] = []
        try:
            pieces = list(string.Formatter().parse(part))
        except ValueError as error:
            self._refuse(str(error))
            raise AssertionError from error
        for text, name, spec, conversion in pieces:
            if name is not None and (name not in _names() or conversion):
                hint = nearest(name, _names()) or f" There are {', '.join(FIELDS)} and parameters."
                self._refuse(f"there is no field {{{name}}}.{hint}")
            match = _SPEC.fullmatch(spec or "")
            if match is None or any(int(width or 0) > MAX_WIDTH for width in match.groups()):
                self._refuse(f"{spec!r} is no format that can be used")
            found.append((text, name, spec or ""))
        return found

    def path(self, facts: ImageFacts) -> tuple[str, ...]:
        """Return the folders, and at the end the name without its ending, for one image."""
        now = time.localtime()
        known = {
            "date": time.strftime("%Y-%m-%d", now),
            "time": time.strftime("%H-%M-%S", now),
            **facts.values,
        }
        named = NamedValues(facts.parameters)
        return tuple(
            safe_name("".join(self._filled(piece, known, named) for piece in part))
            for part in self._folders
        )

    def _filled(
        self,
        piece: tuple[str, str | None, str],
        known: Mapping[str, Any],
        parameters: Mapping[str, Any],
    ) -> str:
        text, name, spec = piece
        if name is None:
            return text
        value = known[name] if name in known else parameters.get(name, "")
        return text + _formatted(value, spec)


@functools.cache
def _names() -> tuple[str, ...]:
    return (*FIELDS, *common_names())


def _formatted(value: object, spec: str) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    for candidate in (value, str(value)):
        try:
            return format(candidate, spec)
        except (TypeError, ValueError):  # such as a width with zeros for a text
            continue
    return str(value)


def safe_name(text: str, limit: int = MAX_BYTES) -> str:
    """Return a text as a name that every file system takes: one part, never empty."""
    name = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate is no character
    name = _BAD.sub("_", unicodedata.normalize("NFC", name))
    name = " ".join(name.split())
    # A leading dot hides, a leading dash is an option to every command; a trailing dot or blank is
    # lost on Windows.
    name = re.sub(r"^[.\-]", "_", name.strip())
    name = _cut(name, limit).rstrip(". ")
    if _RESERVED.match(name.partition(".")[0].rstrip(" ").casefold()):
        name = f"_{name}"
    return name or DEFAULT_NAME


def image_name(path: str) -> str:
    """Return the name of an image's file at its source, as every file system takes it."""
    name = PurePosixPath(path.replace("\\", "/")).name
    stem, _, ending = name.rpartition(".")
    if not stem or ending.lower() not in IMAGE_ENDINGS:
        stem, ending = name, DEFAULT_ENDING
    return f"{safe_name(stem)}.{ending}"


def folded(name: str) -> str:
    """Return what two names have in common that a file system may take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _cut(name: str, limit: int) -> str:
    """Return the beginning of a name that is so many bytes long at most, in whole characters."""
    data = name.encode()
    if len(data) <= limit:
        return name
    cut = data[:limit].decode("utf-8", "ignore")
    # A mark that combines with a character which did not fit as a whole belongs to that one.
    if unicodedata.combining(name[len(cut)]):
        while cut and unicodedata.combining(cut[-1]):
            cut = cut[:-1]
        cut = cut[:-1]
    return cut


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder, links followed."""
    return path.resolve().is_relative_to(folder.resolve())
