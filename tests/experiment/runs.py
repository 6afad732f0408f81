"""Runs that are written without an engine, as one that generates would have left them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import PIL.Image

from fooocus_nb.experiment.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from fooocus_nb.experiment.attempts import Attempt
    from fooocus_nb.experiment.manifest import Manifest
    from fooocus_nb.experiment.run import Run

SEED = 6687881544318117707


def png(colour: str = "navy", size: tuple[int, int] = (16, 12)) -> bytes:
    """Return a small PNG."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def send(run: Run, cell: str | None = None, seed: int = SEED, **values: Any) -> Attempt:
    """Write down an attempt, as before its request."""
    attempt = run.recorder.begin(cell)
    parameters = {"prompt": "a cat", "image_number": 1, "image_seed": seed, **values}
    attempt.sent(parameters, given=("prompt", "image_seed"), seed=seed)
    return attempt


def make(run: Run, cell: str | None = None, seed: int = SEED, **values: Any) -> Manifest:
    """Record a generation from its request to its manifest."""
    attempt = send(run, cell, seed, **values)
    for number in range(values.get("image_number", 1)):
        attempt.add_image(f"{number}.png", png(f"#{(seed + number) % 0xFFFFFF:06x}"))
    return attempt.made()


def files_of(path: Path) -> set[str]:
    """Return the files of a run, without those that nobody needs to list."""
    kinds = ("manifests", "images", "inputs")
    return {f"{kind}/{name}" for kind in kinds for name in RunFolder(path).names(kind)}


def listed_in(run: Run) -> set[str]:
    """Return the files that the manifests of a run list, and their own."""
    found: set[str] = set()
    for manifest in run.manifests:
        found.add(f"manifests/{manifest.name}")
        found.update(image.path for image in manifest.images)
        found.update(given.path for given in manifest.inputs)
    return found
