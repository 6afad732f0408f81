"""Complete a manifest after its generation has ended: hashes, prompts, facts of the engine."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from fooocus_nb.experiment.hashing import pixel_facts
from fooocus_nb.experiment.provenance import (
    complete_models,
    find_prompts,
    is_unhashed,
    known_again,
    provenance,
)
from fooocus_nb.fooocus.limits import max_file_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fooocus_nb.engine.facts import EngineFacts
    from fooocus_nb.experiment.folder import RunFolder
    from fooocus_nb.experiment.manifest import ImageRecord, Manifest

__all__ = ["completed", "completed_later"]

_log = logging.getLogger(__name__)


def completed(
    folder: RunFolder,
    manifest: Manifest,
    files: Sequence[tuple[str, str, int]],
    log: Sequence[str],
    facts: EngineFacts | None,
) -> tuple[Manifest, list[Path]]:
    """Return a manifest with what was pending, and the model files that are still being read.

    `files` has path, name at the server and number of each image.
    """
    pending = set(manifest.pending)
    if "engine" in pending and facts is not None:
        found = provenance(facts)
        manifest = replace(
            manifest,
            fooocus={**manifest.fooocus, **found.fooocus},
            system={**manifest.system, **found.system},
        )
    if "pixels" in pending or "prompts" in pending:
        manifest = replace(manifest, images=_images(folder, manifest, files, log, facts))
    waiting: list[Path] = []
    if "models" in pending:
        checkout = facts.checkout if facts is not None else None
        if checkout is not None:
            models, waiting = complete_models(manifest.models, checkout)
            manifest = replace(manifest, models=models)
    manifest = replace(manifest, pending=("models",) if waiting else ())
    return manifest, waiting


def _images(
    folder: RunFolder,
    manifest: Manifest,
    files: Sequence[tuple[str, str, int]],
    log: Sequence[str],
    facts: EngineFacts | None,
) -> tuple[ImageRecord, ...]:
    places = [(folder.path / path, name, number) for path, name, number in files]
    prompts = find_prompts(log, places, local=facts is not None and facts.owned)
    said = {path: one for (path, _, _), one in zip(files, prompts, strict=True)}
    images = []
    for image in manifest.images:
        told = said.get(image.path)
        try:
            seen = pixel_facts(folder.read(image.path, max_file_bytes()))
        except Exception:  # noqa: BLE001 - Pillow raises all sorts for a file that is torn
            _log.debug("%s cannot be decoded", image.path, exc_info=True)
            seen = None
        images.append(
            replace(
                image,
                seed=told.seed
                if told and told.seed is not None and image.seed is None
                else image.seed,
                pixels_sha256=seen.pixels_sha256 if seen else image.pixels_sha256,
                dhash=seen.dhash if seen else image.dhash,
                prompt=told.prompt if told else image.prompt,
                expansion=told.expansion if told else image.expansion,
            )
        )
    return tuple(images)


def completed_later(folder: RunFolder, manifest: Manifest) -> Manifest:
    """Find out what an earlier kernel had no time for, as far as it can be found now."""
    files = [
        (image.path, PurePath(image.path).name, image.number_in_request)
        for image in manifest.images
    ]
    models = tuple(map(known_again, manifest.models))
    left = ("models",) if any(is_unhashed(model) for model in models) else ()
    done, _ = completed(folder, manifest, files, (), None)
    return replace(done, models=models, pending=left)
