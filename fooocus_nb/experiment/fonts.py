"""Fonts for contact sheets: Pillow's own, and those of this machine for what that lacks."""

from __future__ import annotations

import os
import sys
import unicodedata
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb.errors import ConfigurationError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

__all__ = ["NO_FONT", "Typeface"]

#: What stands for a character that no font has.
NO_FONT = "□"
#: Files that have what Pillow's own font lacks, the best first: other Latin, Greek and Cyrillic
#: letters, then Chinese, Japanese and Korean, then symbols.
_FILES = (
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
    "LiberationSans-Regular.ttf",
    "Arial.ttf",
    "arial.ttf",
    "segoeui.ttf",
    "Helvetica.ttc",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKjp-Regular.otf",
    "NotoSansSC-Regular.otf",
    "NotoSansJP-Regular.otf",
    "NotoSansKR-Regular.otf",
    "SourceHanSans-Regular.ttc",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "msgothic.ttc",
    "malgun.ttf",
    "NotoEmoji-Regular.ttf",
    "Symbola.ttf",
    "seguisym.ttf",
    "seguiemj.ttf",
)
#: A folder of fonts is searched, not read to its end.
_MAX_ENTRIES = 20_000


class Typeface:
    """Measures and draws text of one size, each line in a font that has its characters.

    Parameters
    ----------
    size : int
        The height of a letter with its ascenders and descenders, in pixels.
    file : path-like, optional
        A font file that comes first. Default: Pillow's own font.

    Raises
    ------
    ParameterError
        When `file` is no font.
    ConfigurationError
        When Pillow was built without FreeType, so that it has no font of any size.
    """

    def __init__(self, size: int, file: str | os.PathLike[str] | None = None) -> None:
        self.size = size
        self.file = os.fspath(file) if file is not None else ""
        self.line_height = round(size * 1.3)
        #: The characters that were measured and that no font has.
        self.missing: set[str] = set()
        _font(self.file, size)

    def width(self, text: str) -> int:
        """Return how wide a line is, in pixels."""
        return sum(_length(file, self.size, part) for file, part in self._runs(text))

    def draw(self, canvas: ImageDraw, x: int, y: int, text: str, colour: str) -> None:
        """Draw a line; `y` is the upper edge of a box as high as `line_height`."""
        baseline = y + round(self.line_height * 0.76)
        for file, part in self._runs(text):
            canvas.text((x, baseline), part, colour, font=_font(file, self.size), anchor="ls")
            x += _length(file, self.size, part)

    def _runs(self, text: str) -> tuple[tuple[str, str], ...]:
        runs, missing = _runs(self.file, self.size, text)
        self.missing |= missing
        return runs


@lru_cache(maxsize=4096)
def _runs(first: str, size: int, text: str) -> tuple[tuple[tuple[str, str], ...], frozenset[str]]:
    """Split a line by the fonts that have its characters: one for all of it where there is one."""
    shown = "".join(char for char in text if unicodedata.category(char) not in ("Cf", "Mn", "Cc"))
    kept = text if _covers(first, text) else shown
    for candidate in _fonts(first):
        if all(_covers(candidate, char) for char in kept):
            return ((candidate, kept),), frozenset()
    runs: list[tuple[str, str]] = []
    missing: set[str] = set()
    for one in kept:
        char, found = one, _first_with(first, one)
        if found is None:
            missing.add(one)
            char, found = NO_FONT, _first_with(first, NO_FONT)
        file, char = (first, "?") if found is None else (found, char)
        if runs and runs[-1][0] == file:
            runs[-1] = (file, runs[-1][1] + char)
        else:
            runs.append((file, char))
    return tuple(runs), frozenset(missing)


def _first_with(first: str, char: str) -> str | None:
    """Return the first font that has a character."""
    return next((file for file in _fonts(first) if _covers(file, char)), None)


def _fonts(first: str) -> Iterator[str]:
    """Iterate font files in the order in which they are tried; the empty one is Pillow's own."""
    if first:
        yield first
    yield ""
    yield from _on_this_machine()


@cache
def _on_this_machine() -> tuple[str, ...]:
    found: dict[str, str] = {}
    for folder in _folders():
        seen = 0
        for place, _, names in os.walk(folder):
            seen += len(names) + 1
            for name in names:
                if name in _FILES:
                    found.setdefault(name, str(Path(place, name)))
            if seen > _MAX_ENTRIES:
                break
    return tuple(found[name] for name in _FILES if name in found and _readable(found[name]))


def _folders() -> list[Path]:
    home = Path.home()
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts"]
    return [
        Path("/usr/share/fonts"),
        Path("/usr/local/share/fonts"),
        home / ".local/share/fonts",
        home / ".fonts",
    ]


def _readable(file: str) -> bool:
    try:
        _font(file, 16)
    except ParameterError:
        return False
    return True


@lru_cache(maxsize=64)
def _font(file: str, size: int) -> FreeTypeFont:
    from PIL import ImageFont, features

    if not features.check("freetype2"):
        msg = (
            "A contact sheet needs fonts, and this Pillow was built without FreeType: install it "
            "as a wheel (python -m pip install --force-reinstall pillow)."
        )
        raise ConfigurationError(msg)
    try:
        font = ImageFont.truetype(file, size) if file else ImageFont.load_default(size)
    except (OSError, ValueError) as error:
        msg = f"font={file!r}: it cannot be read as a font ({error}). Give a .ttf, .otf or .ttc."
        raise ParameterError(msg) from None
    assert isinstance(font, ImageFont.FreeTypeFont)  # noqa: S101 - FreeType is there
    return font


@lru_cache(maxsize=16384)
def _length(file: str, size: int, text: str) -> int:
    # Rounded up, and never less than what is drawn: a box of this width holds the text.
    font = _font(file, size)
    left, _, right, _ = font.getbbox(text, anchor="ls")
    return -int(-max(font.getlength(text), right - min(left, 0)) // 1)


@lru_cache(maxsize=16384)
def _covers(file: str, text: str) -> bool:
    return all(_has(file, char) for char in text)


@lru_cache(maxsize=16384)
def _has(file: str, char: str) -> bool:
    """Whether a font has a character: it draws it otherwise than one that no font has."""
    if char in " \u00a0":
        return True
    font = _font(file, 16)
    absent = font.getmask("\U0010ffff")
    mask = font.getmask(char)
    return mask.size != absent.size or bytes(mask) != bytes(absent)
