"""Protocols of a sweep and of a run, for what plans and makes cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fooocus_nb.experiment.cells import Cell
    from fooocus_nb.experiment.folder import RunStore
    from fooocus_nb.experiment.index import RunIndex
    from fooocus_nb.experiment.manifest import Manifest
    from fooocus_nb.experiment.recorder import Recorder

__all__ = ["OpenRun", "PlannedCell", "PlannedSweep"]


class PlannedSweep(Protocol):
    """A :class:`~fooocus_nb.Sweep`."""

    @property
    def count(self) -> int:
        """How many combinations there are."""

    @property
    def title(self) -> str:
        """How many cells it has, and by which axes."""

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The values of each axis."""

    @property
    def base(self) -> dict[str, Any]:
        """What is the same in all cells."""

    @property
    def draws_seed(self) -> bool:
        """Whether a seed has to be drawn."""

    @property
    def drawn_seed(self) -> int:
        """The seed that was drawn for it."""

    def cells(self, seed: int | None = None) -> list[Cell]:
        """Return the cells."""

    def find_image(self, entry: Mapping[str, Any]) -> Any:
        """Return an input image."""

    def describe(self) -> dict[str, Any]:
        """Return it as plain data."""


class PlannedCell(Protocol):
    """A planned cell of a run."""

    @property
    def id(self) -> str:
        """The hash of its values."""

    @property
    def number(self) -> int:
        """Its place in the plan."""

    @property
    def values(self) -> Mapping[str, Any]:
        """Its values."""

    @property
    def axes(self) -> Mapping[str, Any]:
        """Where it is on the axes."""

    @property
    def error(self) -> Mapping[str, Any] | None:
        """Why it failed."""


class _Image(Protocol):
    @property
    def path(self) -> Path:
        """The file."""


class _Failure(Protocol):
    @property
    def cell(self) -> str | None:
        """The id of its cell."""


class OpenRun(Protocol):
    """A :class:`~fooocus_nb.Run`."""

    @property
    def path(self) -> Path:
        """Its folder."""

    @property
    def store(self) -> RunStore:
        """Its files."""

    @property
    def index(self) -> RunIndex:
        """What its files say."""

    @property
    def recorder(self) -> Recorder:
        """What writes down attempts."""

    @property
    def cells(self) -> Mapping[str, PlannedCell]:
        """Its planned cells."""

    @property
    def sweeps(self) -> list[Any]:
        """The definitions of its sweeps."""

    @property
    def failures(self) -> Sequence[_Failure]:
        """What has failed."""

    @property
    def manifests(self) -> Iterator[Manifest]:
        """Every manifest."""

    def manifest(self, name: str) -> Manifest:
        """Return a manifest by its file name."""

    def is_made(self, cell: str) -> bool:
        """Whether all images of a cell are there."""

    def made_cells(self) -> set[str]:
        """Return the ids of the cells that are made."""

    def images_of(self, cell: str) -> Sequence[_Image]:
        """Return the images of a cell."""

    def mark_skipped(self, cell: str) -> None:
        """Let a planned cell count as skipped."""

    def mark_missing(self, cells: Sequence[str]) -> None:
        """Let failed or skipped cells count as missing."""

    def flush(self, timeout: float) -> bool:
        """Wait until all hashes are known."""
