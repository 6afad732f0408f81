"""What a run is made of: its images, its planned cells, and what has failed."""

from __future__ import annotations

import base64
import html
import io
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, overload

from fooocus_nb.errors import RunError
from fooocus_nb.experiment.folder import thumbnail_only
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.schema.named_values import NamedValues
from fooocus_nb.results import Image

if TYPE_CHECKING:
    from pathlib import Path

    import PIL.Image

    from fooocus_nb.experiment.folder import RunStore
    from fooocus_nb.experiment.manifest import ImageRecord, Manifest

__all__ = ["Failure", "ImageOwner", "RunCell", "RunImage", "RunImages", "counted"]


class ImageOwner(Protocol):
    """The run of an image, as the image knows it."""

    store: RunStore
    path: Path

    def rating_of(self, key: str) -> tuple[int | None, str]:
        """Return rating and note of an image."""

    def rate(self, image: RunImage | str, rating: int | None, note: str | None = None) -> None:
        """Rate an image."""

    def image_at(self, name: str, position: int) -> RunImage:
        """Return an image by its manifest and its place there, from 0."""

    def manifest(self, name: str) -> Manifest:
        """Return a manifest by its file name."""

    def parameters_of(self, name: str) -> Mapping[str, Any]:
        """Return the parameters of a manifest, by its file name."""


@dataclass(frozen=True)
class RunCell:
    """A planned cell of a sweep.

    Attributes
    ----------
    id : str
        The hash of the values that the sweep gives.
    number : int
        Its place in the plan.
    values : mapping
        Those values, by canonical name.
    axes : mapping
        Where it is on each axis of its sweep, by the axis's name. An axis that fills in a prompt,
        or gives a task its image, is no value of its own.
    state : str
        ``made``, ``failed``, ``skipped`` or ``missing``.
    tries : int
        How many attempts there were.
    error : mapping or None
        ``type`` and ``message`` of what made the last attempt fail.
    """

    id: str
    number: int
    values: Mapping[str, Any]
    state: str
    tries: int = 0
    error: Mapping[str, Any] | None = None
    axes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """An attempt that has failed, and whose cell hasn't been made since.

    Attributes
    ----------
    cell : str or None
        The id of its cell; None for a generation of its own.
    attempt : str
        32 hexadecimal digits.
    number, tries : int
        The number of the cell, and which attempt of it this was.
    time : str
        In UTC.
    error : mapping
        ``type``, such as ``OutOfVRAM``, and ``message``.
    """

    cell: str | None
    attempt: str
    number: int
    tries: int
    time: str
    error: Mapping[str, Any]


class RunImage(Image):
    """An image of a run: a file in its folder, and all that is known of how it was made.

    It can be given wherever an :class:`~fooocus_nb.Image` can, also to :meth:`Engine.vary` and the
    like.

    Attributes
    ----------
    seed : int or None
        The seed that made it.
    parameters : NamedValues
        All that decided the outcome, with this image's own seed.
    key : str
        What names it in the run, such as ``000012-1a2b3c4d-1``.
    file : str
        Where it is in the run, such as ``images/000012-1a2b3c4d-1.png``.
    cell : str or None
        The id of its cell; None for an image outside of a sweep.
    """

    def __init__(self, run: ImageOwner, name: str, cell: str | None, known: ImageRecord) -> None:
        super().__init__(known.path, seed=known.seed, parameters={})
        self.key = known.key
        self.file = known.path
        self.cell = cell
        self.__dict__["sha256"] = known.sha256
        self._run = run
        self._name = name
        # As the index has it: without what only the manifest says.
        self._known = known

    @cached_property
    def parameters(self) -> NamedValues:
        """All that decided the outcome, with this image's own seed."""
        parameters = {**self._run.parameters_of(self._name), "image_number": 1}
        if self.seed is not None:
            parameters["image_seed"] = self.seed
        return NamedValues(parameters)

    @cached_property
    def manifest(self) -> Manifest:
        """How its generation was made; read when first asked for."""
        return self._run.manifest(self._name)

    @cached_property
    def record(self) -> ImageRecord:
        """What the manifest says of this file; read when first asked for."""
        for record in self.manifest.images:
            if record.path == self.file:
                return record
        msg = f"The manifest {self._name} doesn't list {self.file} any more: open the run again."
        raise RunError(msg)

    def __reduce__(self) -> tuple[Callable[..., Image], tuple[str, int | None, dict[str, Any]]]:
        # Elsewhere there is no run: it is a plain image there.
        return _plain_image, (str(self.path), self.seed, dict(self.parameters))

    @property
    def path(self) -> Path:
        """The file. A RunError where a shared run has a thumbnail only."""
        return self._run.store.image_path(self.file)

    def open(self) -> PIL.Image.Image:
        """Return the image for Pillow, its pixels loaded and its file closed.

        Raises
        ------
        RunError
            Where a shared run has a thumbnail only.
        """
        if self.store.writable:
            return super().open()
        try:
            data = self.store.read(self.file, max_file_bytes())
        except OSError as error:
            raise thumbnail_only(self.file, self._run.path) from error
        return _decoded(data)

    def thumbnail(self, max_side: int = 512) -> bytes:
        """Return a small WebP of the image; one that came with a shared run is as small as it was.

        Parameters
        ----------
        max_side : int, optional
            The longest side in pixels, or less.

        Returns
        -------
        bytes
            WebP data.
        """
        small = self.store.thumbnail(self.file)
        if small is None:
            return super().thumbnail(max_side)
        image = _decoded(small)
        if max(image.size) <= max_side:
            return small
        image.thumbnail((max_side, max_side))
        data = io.BytesIO()
        image.save(data, "WEBP", quality=82)
        return data.getvalue()

    def __repr__(self) -> str:
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"<RunImage {self.key!r} of {self._run.path.name!r}{seed}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        try:
            _ = self.path
        except RunError:
            source = base64.b64encode(self.thumbnail()).decode("ascii")
            text = f"{self!r}, thumbnail only"
            shown = f'<img src="data:image/webp;base64,{source}" alt="{html.escape(text)}">'
            return {"text/plain": text, "text/html": shown}
        return super()._repr_mimebundle_(include, exclude)

    @property
    def store(self) -> RunStore:
        """What its run is read from, with the images that it began with."""
        return self._run.store

    @property
    def number_in_request(self) -> int:
        """Which image of its request it is, from 1."""
        return self._known.number_in_request

    @property
    def pixels_sha256(self) -> str | None:
        """The SHA-256 of its pixels; None while it is being found out."""
        known = self._known.pixels_sha256
        return self.record.pixels_sha256 if known is None else known  # the index may be older

    @property
    def dhash(self) -> str | None:
        """Its difference hash, 64 bits in hexadecimal; None while it is being found out."""
        known = self._known.dhash
        return self.record.dhash if known is None else known  # the index may be older

    @property
    def width(self) -> int:
        """Its width in pixels."""
        return self._known.width

    @property
    def height(self) -> int:
        """Its height in pixels."""
        return self._known.height

    @property
    def rating(self) -> int | None:
        """Its rating, 0 to 5; None where it has none."""
        return self._run.rating_of(self.key)[0]

    @property
    def note(self) -> str:
        """Its note; empty where it has none."""
        return self._run.rating_of(self.key)[1]

    def rate(self, rating: int | None, note: str | None = None) -> None:
        """Rate it; see :meth:`Run.rate`."""
        self._run.rate(self, rating, note)


class RunImages(Sequence[RunImage]):
    """All images of a run in the order of their numbers. Each is looked up when it is asked for."""

    def __init__(self, run: ImageOwner, places: Sequence[tuple[str, int, str]]) -> None:
        self._run = run
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> RunImage: ...
    @overload
    def __getitem__(self, index: slice) -> RunImages: ...
    def __getitem__(self, index: int | slice) -> RunImage | RunImages:
        if isinstance(index, slice):
            return RunImages(self._run, self._places[index])
        name, position, _ = self._places[index]
        return self._run.image_at(name, position)

    def keys(self) -> list[str]:
        """Return the key of each image, without reading any."""
        return [path.rpartition("/")[2].rpartition(".")[0] for *_, path in self._places]

    def __repr__(self) -> str:
        return f"<{counted(len(self), 'image')} of {self._run.path.name!r}>"


def _decoded(data: bytes) -> PIL.Image.Image:
    """Return an image from a file's bytes; a RunError for what is none."""
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(data)) as opened:
            opened.load()
            return opened
    except (OSError, ValueError, SyntaxError, struct.error, PIL.Image.DecompressionBombError) as e:
        msg = f"It is no image that can be read: {e}"
        raise RunError(msg) from e


def _plain_image(path: str, seed: int | None, parameters: dict[str, Any]) -> Image:
    return Image(path, seed=seed, parameters=parameters)


def counted(number: int, what: str) -> str:
    """Return a number with what it counts: ``1 image``, ``1,200 images``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
