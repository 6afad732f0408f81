"""Make an image again, from what its manifest or its file says."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.engine.submission import check_request, submit_request
from fooocus_nb.errors import (
    ConfigurationError,
    MetadataError,
    ParameterError,
    RunError,
    RunWarning,
    warn_user,
)
from fooocus_nb.experiment.folder import (
    INPUTS,
    MANIFESTS,
    RUN_FILE,
    RunFolder,
    given_path,
    parse_image_name,
    parse_manifest_name,
)
from fooocus_nb.experiment.hashing import sha256
from fooocus_nb.experiment.identity import short_name
from fooocus_nb.experiment.manifest import Manifest, TornManifest
from fooocus_nb.experiment.members import RunImage
from fooocus_nb.experiment.relevance import parameter_matters
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.metadata import read_metadata
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.schema.parameters import canonical_name
from fooocus_nb.results import Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.experiment.folder import RunStore
    from fooocus_nb.experiment.manifest import ImageRecord
    from fooocus_nb.results import Result

__all__ = ["Recipe", "recipe_of", "replay", "whole_request"]

_HASHED = "sha256:"
MAX_MANIFEST = 8 << 20
#: LoRAs as a list, and how the names of their slots begin.
LORAS, _SLOTS = "loras", "lora_"
#: So many files are looked through for input images that are given.
MAX_INPUT_FILES = 10_000


@dataclass(frozen=True)
class Recipe:
    """How to make something again: parameters, and where the images are that it begins with.

    Attributes
    ----------
    parameters : mapping
        By canonical name; an image is ``sha256:...`` where it comes from a manifest.
    store : RunStore or None
        The run that has those images.
    number : int
        Which image of the request it is, from 1; 0 for all of them.
    """

    parameters: Mapping[str, Any]
    store: RunStore | None = None
    number: int = 1
    #: Files that were given for input images, by the hash of their bytes.
    inputs: Mapping[str, Path] = field(default_factory=dict)
    #: Whether its paths are the user's own; those of a file are not followed.
    own_paths: bool = False

    def fitted(self, engine: Engine) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the parameters that an engine has, and the names of those that it doesn't."""
        known = engine.parameters
        kept = {name: value for name, value in self.parameters.items() if name in known}
        missing = [name for name in self.parameters if name not in known]
        # What an image says itself has its LoRAs as a list, which stands for all slots.
        if LORAS in missing:
            missing.remove(LORAS)
            if self.parameters[LORAS] or f"{_SLOTS}1_model" in known:
                kept[LORAS] = self.parameters[LORAS]
        return kept, tuple(missing)

    def submit(self, engine: Engine, **changes: Any) -> Job:
        """Submit it to an engine, without what that doesn't have."""
        kept, _ = self.fitted(engine)
        changed = {canonical_name(name): value for name, value in changes.items()}
        if LORAS in changed:  # they fill the slots that the image had its own in
            kept = {name: value for name, value in kept.items() if not name.startswith(_SLOTS)}
        elif any(name.startswith(_SLOTS) for name in changed):
            kept.pop(LORAS, None)
        kept.update(changed)
        known = engine.parameters
        images = {name for name in kept if name in known and known[name].is_image}
        given = {
            name: self._given(name, value, own=name in changed or self.own_paths)
            if name in images
            else value
            for name, value in kept.items()
        }
        prompt = str(given.pop("prompt", ""))
        # What has no effect now had none when the image was first made.
        return submit_request(engine, check_request(engine, prompt, given))

    def _given(self, name: str, value: Any, *, own: bool) -> Any:
        """Return an input image; a path that stands in somebody's file is never followed."""
        if isinstance(value, str) and value.startswith(_HASHED):
            return self._input(name, value.removeprefix(_HASHED))
        if isinstance(value, dict):
            return {part: self._given(name, item, own=own) for part, item in value.items()}
        if own or value is None:
            return value
        msg = f"{short_name(name)}={str(value)[:80]!r} is no image of the run. Give it yourself."
        raise ParameterError(msg)

    def _input(self, name: str, digest: str) -> bytes:
        """Return an input image by the hash of its bytes, which are looked at."""
        for data in self._found(digest):
            if sha256(data) == digest:
                return data
        where = "the run" if self.store is not None else "what was given"
        msg = (
            f"{short_name(name)}= was the image {digest[:12]}, which isn't in {where}, or was "
            "changed. Give its file, or a folder that it is in, as inputs=."
        )
        raise ParameterError(msg)

    def _found(self, digest: str) -> Iterable[bytes]:
        if self.store is not None:
            for name in self.store.names(INPUTS):
                if name.partition(".")[0] == digest:
                    try:
                        yield self.store.read(f"{INPUTS}/{name}", max_file_bytes())
                    except OSError:
                        continue
        if digest in self.inputs:
            yield read_plain_file(self.inputs[digest], max_file_bytes())


def replay(
    source: Image | Manifest | str | os.PathLike[str],
    engine: Engine | None = None,
    *,
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
    **changes: Any,
) -> Result:
    """Make an image again.

    Parameters
    ----------
    source : Image, Manifest, or path-like
        An image, also one of a run; a manifest, or its file; or an image file, which is in a run or
        says itself how it was made. An image is made alone, also where it was one of several:
        image 3 of ``image_number=4, seed=7`` is seed 9. A manifest makes all of its images.
    engine : Engine, optional
        Who makes it. Default: the current engine.
    inputs : path-like, or several, optional
        Files, or folders of files, among which are the images that it begins with, where these are
        not in its run. No other file outside of the run is looked at.
    **changes
        Parameters that are to be others than they were.

    Returns
    -------
    Result
        The images; a warning says which parameters this engine doesn't have.

    Raises
    ------
    ParameterError
        When `source` is nothing that can be made again, an input image is missing, or a value is
        not possible on this engine.
    RunError
        When the manifest can't be read.
    ConfigurationError
        When `engine` is none.
    GenerationError
        When the engine fails.

    Examples
    --------
    >>> run = fooocus_nb.open_run("runs/lighthouse")
    >>> fooocus_nb.replay(run.images[0], engine)
    >>> fooocus_nb.replay(run.images[0], engine, guidance_scale=7)
    """
    recipe = replace(recipe_of(source), inputs=_hashed_files(inputs))
    if engine is None:
        from fooocus_nb.engine.manager import current

        engine = current()
    if not hasattr(engine, "parameters"):
        msg = (
            f"A {type(engine).__name__} can't make an image again: give an engine of "
            "fooocus_nb.start() or connect()."
        )
        raise ConfigurationError(msg)
    _, missing = recipe.fitted(engine)
    told = [name for name in missing if parameter_matters(name, recipe.parameters)]
    if told:
        names = ", ".join(
            f"{short_name(name)}={recipe.parameters[name]!r}"[:80] for name in told[:10]
        )
        warn_user(f"The engine {engine.name!r} doesn't have {names}; made without.", RunWarning)
    from fooocus_nb.engine.presenters import wait_shown

    return wait_shown(recipe.submit(engine, **changes))


def recipe_of(source: Any) -> Recipe:
    """Return how to make something again, or raise a ParameterError that says why it can't be."""
    if isinstance(source, RunImage):
        return _recipe_of_image(source.manifest, source.record, source.store)
    if isinstance(source, Image):
        return Recipe({**source.parameters, "image_number": 1}, own_paths=True)
    if isinstance(source, Manifest):
        return Recipe(_parameters(source), None, 0)
    if isinstance(source, (str, os.PathLike)):
        return _recipe_of_file(given_path(source, "source"))
    msg = (
        f"A {type(source).__name__} can't be made again: give an image, a manifest, or the path of "
        "one of these."
    )
    raise ParameterError(msg)


def whole_request(image: RunImage) -> Recipe:
    """Return how to make the generation that an image is of, with all of its images."""
    return Recipe(_parameters(image.manifest), image.store, image.number_in_request)


def _parameters(manifest: Manifest) -> dict[str, Any]:
    found = dict(manifest.parameters)
    if manifest.seed is not None:
        found["image_seed"] = manifest.seed
    return found


def _recipe_of_image(manifest: Manifest, record: ImageRecord, store: RunStore | None) -> Recipe:
    parameters = _parameters(manifest)
    count = int(parameters.get("image_number") or 1)
    if record.number_in_request > count:  # the grid of all images
        return Recipe(parameters, store, record.number_in_request)
    parameters["image_number"] = 1
    if record.seed is not None:
        parameters["image_seed"] = record.seed
    return Recipe(parameters, store, 1)


def _recipe_of_file(path: Path) -> Recipe:
    try:
        is_folder = path.is_dir()
    except OSError as error:  # such as a name that is too long
        msg = f"{path} can't be made again: {error}"
        raise ParameterError(msg) from error
    if is_folder:
        msg = f"{path} is a folder: give one of its images or manifests; Run.verify takes them all."
        raise ParameterError(msg)
    store = _store_of(path)
    if parse_manifest_name(path.name) is not None or path.suffix == ".json":
        return Recipe(_parameters(_read_manifest(path)), store, 0)
    named = parse_image_name(path.name)
    if store is not None and named is not None:
        manifest = store.path / MANIFESTS / f"{path.name.rpartition('-')[0]}.json"
        if manifest.is_file():
            found = _read_manifest(manifest)
            for record in found.images:
                if record.path.rpartition("/")[2] == path.name:
                    return _recipe_of_image(found, record, store)
    try:
        metadata = read_metadata(path, max_bytes=max_file_bytes())
    except (MetadataError, OSError) as error:
        msg = f"{path} can't be made again: {error}"
        raise ParameterError(msg) from error
    return Recipe({**metadata.parameters, "image_number": 1})


def _store_of(path: Path) -> RunStore | None:
    """Return the run that a file lies in, where it does."""
    folder = path.absolute().parent.parent
    return RunFolder(folder) if (folder / RUN_FILE).is_file() else None


def _read_manifest(path: Path) -> Manifest:
    try:
        return Manifest.from_json(read_plain_file(path, MAX_MANIFEST))
    except (OSError, TornManifest, ValueError) as error:
        msg = f"The manifest {path} can't be read: {error}"
        raise RunError(msg) from error


def _hashed_files(given: Any) -> dict[str, Path]:
    """Return files that were given for input images, by the hash of their bytes."""
    paths = [given] if isinstance(given, (str, os.PathLike)) else list(given)
    files: list[Path] = []
    for path in map(Path, paths):
        place = path.expanduser()
        if place.is_dir():
            files += sorted(one for one in place.iterdir() if one.is_file())
        else:
            files.append(place)
    if len(files) > MAX_INPUT_FILES:
        msg = f"inputs= has {len(files):,} files, and {MAX_INPUT_FILES:,} are the most."
        raise ParameterError(msg)
    found: dict[str, Path] = {}
    for file in files:
        try:
            found.setdefault(sha256(read_plain_file(file, max_file_bytes())), file)
        except OSError as error:
            msg = f"inputs={str(file)!r} can't be read: {error.strerror or error}."
            raise ParameterError(msg) from error
    return found
