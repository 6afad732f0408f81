"""Protocols of a run, for what shows it: grids, tables, contact sheets and comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, overload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fooocus_nb.experiment.folder import RunStore

__all__ = ["RunView", "ViewedCell", "ViewedImage", "ViewedImages"]


class ViewedImage(Protocol):
    """An image of a run; see :class:`RunImage`."""

    key: str
    path: Path
    file: str
    cell: str | None

    seed: int | None

    @property
    def parameters(self) -> Mapping[str, Any]:
        """All that decided the outcome."""

    @property
    def sha256(self) -> str:
        """Of the file's bytes."""

    @property
    def number_in_request(self) -> int:
        """Which image of its request it is, from 1."""

    @property
    def pixels_sha256(self) -> str | None:
        """Of its pixels; None while it is not known."""

    @property
    def dhash(self) -> str | None:
        """Its difference hash; None while it is not known."""

    @property
    def width(self) -> int:
        """In pixels."""

    @property
    def height(self) -> int:
        """In pixels."""

    @property
    def rating(self) -> int | None:
        """From 0 to 5."""

    @property
    def note(self) -> str:
        """A text about it."""

    def thumbnail(self, max_side: int = 512) -> bytes:
        """Return a small WebP."""


class ViewedCell(Protocol):
    """A planned cell; see :class:`RunCell`."""

    @property
    def values(self) -> Mapping[str, Any]:
        """What the sweep gives."""

    @property
    def axes(self) -> Mapping[str, Any]:
        """Where it is on each axis of its sweep."""

    @property
    def number(self) -> int:
        """Its place in the plan."""

    @property
    def state(self) -> str:
        """``made``, ``failed``, ``skipped`` or ``missing``."""

    @property
    def error(self) -> Mapping[str, Any] | None:
        """What made it fail."""


class ViewedImages(Protocol):
    """All images of a run, in order; see :class:`RunImages`."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...
    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...

    def keys(self) -> list[str]:
        """Return the key of each image."""


class RunView(Protocol):
    """A run that is looked at; see :class:`Run`."""

    path: Path
    store: RunStore

    @property
    def readonly(self) -> bool:
        """Whether it can only be read here."""

    @property
    def images(self) -> ViewedImages:
        """All images."""

    @property
    def cells(self) -> Mapping[str, ViewedCell]:
        """The planned cells by id, in the order of the plan."""

    def image(self, key: str) -> Any:
        """Return an image by its key."""

    def rating_of(self, key: str) -> tuple[int | None, str]:
        """Return rating and note of an image."""

    def rate(self, image: Any, rating: int | None, note: str | None = None) -> None:
        """Rate an image."""

    def add_measures(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write values of measures down."""
