"""The results of generations: images on disk, with the seeds and parameters that made them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from fooocus_nb import _html
from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.given import path_of
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.plain_files import open_plain_file, read_plain_file
from fooocus_nb.fooocus.schema.named_values import NamedValues
from fooocus_nb.fooocus.schema.parameters import plain
from fooocus_nb.results._views import open_gallery
from fooocus_nb.results.thumbnails import MAX_THUMBNAIL_BYTES, overview_png, webp_thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterable

    import PIL.Image

    from fooocus_nb.results._views import Gallery

__all__ = ["Image", "Result", "static_bundle", "varied"]

#: How many thumbnails one output holds; the rest is named in text.
MAX_SHOWN = 60
#: A hundred images stay below 6 MB, each in an output of its own or many in one.
_MANY_SIDE, _MANY_BYTES = 320, 22_000
_GLIMPSE = (192, 8_000)
_FEW, _FEW_SIDE, _FEW_BYTES = 8, 512, 25_000
#: What a caption holds of the parameters in which images differ, to stay a caption.
_MAX_VARIED, _MAX_VALUE = 4, 60
_SEEDS = frozenset({"image_seed", "seed"})


class Image:
    """One image: a file on disk, unchanged as the engine wrote it, and what made it.

    Parameters
    ----------
    path : path-like
        The file.
    seed : int or None
        The seed that made it; None for a file that does not tell.
    parameters : mapping
        All that decided the outcome, by canonical name.

    Attributes
    ----------
    seed : int or None
        The seed that made it; None for a file that does not tell.
    """

    def __init__(
        self, path: Path | str, *, seed: int | None, parameters: Mapping[str, Any]
    ) -> None:
        self._path = path_of("path", path, ParameterError)
        self.seed = seed
        self._parameters: Mapping[str, Any] = dict(parameters)

    @property
    def parameters(self) -> NamedValues:
        """All that decided the outcome: a mapping by canonical name.

        It understands the short names, too, such as ``parameters["seed"]``.
        """
        if not isinstance(self._parameters, NamedValues):
            self._parameters = NamedValues(self._parameters)
        return self._parameters

    @parameters.setter
    def parameters(self, values: NamedValues) -> None:
        # A history of thousands keeps once what its images share: nothing else may stay here.
        self._parameters = values

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the file's bytes, in hexadecimal. Read when first asked for."""
        data = read_plain_file(self.path, max_file_bytes())
        return hashlib.sha256(data).hexdigest()

    def open(self) -> PIL.Image.Image:
        """Return the image for Pillow, its pixels loaded and its file closed."""
        import PIL.Image

        file = open_plain_file(self.path, max_file_bytes())
        with file, PIL.Image.open(file) as opened:
            opened.load()
            return opened

    def thumbnail(self, max_side: int = 512) -> bytes:
        """Return a small WebP of the image.

        Parameters
        ----------
        max_side : int, optional
            The longest side in pixels, or less: as a data URI it never exceeds 60 KB.

        Returns
        -------
        bytes
            WebP data.
        """
        return webp_thumbnail(self.path, max_side)

    def __repr__(self) -> str:
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"<Image {str(self.path)!r}{seed}>"

    def __fspath__(self) -> str:
        return str(self.path)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        prompt = str(self.parameters.get("prompt", "")) or self.path.name
        return static_bundle([self], prompt, [self.path.name], self.parameters, repr(self))

    def _repr_html_(self) -> str:
        return str(self._repr_mimebundle_()["text/html"])


class Result(Sequence[Image]):
    """The images of one generation, in the order in which they were made.

    Parameters
    ----------
    images : sequence of Image
        The images.
    elapsed : float
        Seconds from the request to the last image.
    log : sequence of str
        The engine's log lines of this generation.
    parameters : mapping
        What was asked for, by canonical name, with the defaults that applied.
    prompt : str
        The prompt.
    stopped : bool, optional
        Whether it was stopped, or an image of it skipped: by us, or by somebody else.
    engine : str, optional
        The name of the engine that made it.

    Attributes
    ----------
    parameters : NamedValues
        What was asked for: a mapping by canonical name that understands the short ones, too.
    elapsed, log, prompt, stopped, engine
        As given.
    """

    def __init__(
        self,
        images: Sequence[Image],
        *,
        elapsed: float,
        log: Sequence[str],
        parameters: Mapping[str, Any],
        prompt: str,
        stopped: bool = False,
        engine: str = "",
    ) -> None:
        self._images = tuple(images)
        self.elapsed = elapsed
        self.log = tuple(log)
        self.parameters = NamedValues(parameters)
        self.prompt = prompt
        self.stopped = stopped
        self.engine = engine

    @classmethod
    def combined(cls, results: Iterable[Result]) -> Result:
        """Return several results as one: all their images, their time and their logs together.

        Parameters
        ----------
        results : iterable of Result
            At least one; prompt, parameters and engine are those of the first.

        Returns
        -------
        Result
            The sum.
        """
        parts = tuple(results)
        first = parts[0]
        if len(parts) == 1:
            return first
        return cls(
            [image for part in parts for image in part],
            elapsed=sum(part.elapsed for part in parts),
            log=[line for part in parts for line in part.log],
            parameters=first.parameters,
            prompt=first.prompt,
            stopped=any(part.stopped for part in parts),
            engine=first.engine,
        )

    def gallery(self) -> Gallery:
        """Show the images as a widget: to zoom into, compare, select, and generate again.

        Returns
        -------
        Gallery
            Show it as the last value of a cell.
        """
        return open_gallery(self, title=self.prompt or "Gallery")

    @property
    def seed(self) -> int:
        """The seed that was sent: that of the first image."""
        return int(self.parameters["image_seed"])

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of all images."""
        return tuple(image.path for image in self._images)

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Image, ...]: ...
    def __getitem__(self, index: int | slice) -> Image | tuple[Image, ...]:
        return self._images[index]

    def __len__(self) -> int:
        return len(self._images)

    def __repr__(self) -> str:
        count = "1 image" if len(self) == 1 else f"{len(self)} images"
        stopped = ", stopped" if self.stopped else ""
        lines = [f"<Result: {count} in {_html.duration(self.elapsed)}{stopped}>"]
        lines += [
            f"  {image.path}  (seed {image.seed}{f', {caption}' if caption else ''})"
            for image, caption in zip(self._images[:MAX_SHOWN], varied(self._images), strict=False)
        ]
        return "\n".join(lines)

    def _facts(self) -> list[str]:
        facts = ["1 image" if len(self) == 1 else f"{len(self)} images"]
        facts.append(_html.duration(self.elapsed))
        facts.extend([self.engine] if self.engine else [])
        facts.extend(["stopped early"] if self.stopped else [])
        if len(self) > MAX_SHOWN:
            facts.append(f"the first {MAX_SHOWN} are shown")
        return facts

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        title = self.prompt or "(no prompt)"
        return static_bundle(self._images, title, self._facts(), self.parameters, repr(self))

    def _repr_html_(self) -> str:
        return str(self._repr_mimebundle_()["text/html"])


def static_bundle(
    images: Sequence[Image],
    title: str,
    facts: Sequence[str],
    parameters: Mapping[str, Any],
    text: str,
    *,
    small: bool = False,
) -> dict[str, Any]:
    """Return what a notebook shows, by MIME type: a gallery, with a PNG and a text to fall back to.

    The first 60 images are shown; `small` gives only small thumbnails, and no PNG.
    """
    shown = images[:MAX_SHOWN]
    few = len(shown) <= _FEW
    limits = (_FEW_SIDE, _FEW_BYTES) if few else (_MANY_SIDE, _MANY_BYTES)
    base = Path.cwd()
    size = _GLIMPSE if small else limits
    captions = varied(images)[: len(shown)]
    cards = [
        replace(_card(image, base, *size), varied=caption)
        for image, caption in zip(shown, captions, strict=True)
    ]
    bundle: dict[str, Any] = {
        "text/plain": _html.clean(text),
        "text/html": _html.gallery(
            cards, title=title, facts=facts, rows=_html.parameter_rows(parameters)
        ),
    }
    if small:
        return bundle
    present = [card.path for card in cards if card.thumbnail]
    if present:
        bundle["image/png"] = _html.base64_text(overview_png(present))
    return bundle


def varied(images: Sequence[Image]) -> list[str]:
    """Return a caption for each image: the parameters, seeds apart, in which these images differ.

    Parameters
    ----------
    images : sequence of Image
        What is shown together.

    Returns
    -------
    list of str
        Such as ``guidance_scale=4.0``; empty texts where nothing was varied.
    """
    tables = [
        {name: _short(value) for name, value in image.parameters.items() if name not in _SEEDS}
        for image in images
    ]
    names = [
        name
        for name in dict.fromkeys(name for table in tables for name in table)
        if len({table.get(name) for table in tables}) > 1
    ][:_MAX_VARIED]
    return [
        ", ".join(f"{name}={table[name]}" for name in names if table.get(name)) for table in tables
    ]


def _short(value: object) -> str:
    return _html.clip(plain(str(value)), _MAX_VALUE)


def _card(image: Image, base: Path, side: int, limit: int) -> _html.Card:
    """Return one image for the gallery; a file that is gone must not spoil the others."""
    import PIL.Image

    try:
        file = open_plain_file(image.path, max_file_bytes())
        with file, PIL.Image.open(file) as opened:
            width, height = opened.size
        data = webp_thumbnail(image.path, side, min(limit, MAX_THUMBNAIL_BYTES))
        digest = image.sha256
    except (OSError, ValueError, SyntaxError, struct.error, PIL.Image.DecompressionBombError):
        return _html.Card(b"", (1, 1), image.seed, image.path)
    return _html.Card(
        data,
        (width, height),
        image.seed,
        image.path,
        href=_html.relative_href(image.path, base),
        note=f"{width} × {height}",
        sha256=digest,
    )
