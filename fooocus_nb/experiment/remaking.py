"""Make images of a run again with one engine, compare them, and try out what differs."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb.errors import ConfigurationError, EngineStopped, FooocusError, RunError
from fooocus_nb.experiment.causes import Cause
from fooocus_nb.experiment.hashing import sha256
from fooocus_nb.experiment.replay import Recipe, recipe_of, whole_request
from fooocus_nb.experiment.similarity import LEVELS, Similarity, compare_files
from fooocus_nb.experiment.workers import NEEDS_RESTART, EngineWorker
from fooocus_nb.fooocus.limits import max_file_bytes

if TYPE_CHECKING:
    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.experiment.folder import RunStore
    from fooocus_nb.experiment.manifest import ImageRecord, Manifest
    from fooocus_nb.experiment.members import RunImage
    from fooocus_nb.experiment.recorder import Recorder

__all__ = ["PROMPTS", "Remade", "Remaker", "ScratchRun", "read_image"]

#: How long the prompts of one generation are waited for.
PROMPT_SECONDS = 30.0
#: Kinds of causes that a place in a request can be taken for.
PROMPTS = frozenset({"wildcard file", "prompt expansion"})


class ScratchRun(Protocol):
    """Where images that are made again are recorded."""

    store: RunStore

    @property
    def recorder(self) -> Recorder:
        """What writes down attempts."""

    def manifest(self, name: str) -> Manifest:
        """Return a manifest by its file name."""

    def flush(self, timeout: float = ...) -> bool:
        """Wait until all hashes are known."""

    def close(self) -> None:
        """Release it."""


_NOT_MADE = Similarity("failed")


@dataclass
class Remade:
    """One image made again, or why it could not be."""

    image: RunImage
    #: Who made it.
    remaker: Remaker | None = None
    manifest: str = ""
    record: ImageRecord | None = None
    measures: Similarity = _NOT_MADE
    error: BaseException | None = None
    missing: tuple[str, ...] = ()
    found: tuple[Cause, ...] = ()
    proven: Cause | None = None
    note: str = ""


def read_image(store: RunStore, record: ImageRecord) -> bytes | None:
    """Return the file of an image of a run; None where it can't be read."""
    try:
        return store.read(record.path, max_file_bytes())
    except (FooocusError, OSError, KeyError):
        return None


class Remaker:
    """Makes images again with one engine, and records them in a run of their own.

    Attributes
    ----------
    engine : Engine
        Who makes them.
    gone : BaseException or None
        Why it can make no other one, where that is so.
    """

    def __init__(self, engine: Engine, scratch: ScratchRun) -> None:
        self.engine = engine
        self.gone: BaseException | None = None
        self._scratch = scratch
        self._job: Job | None = None
        self._whole: dict[str, str | None] = {}
        self._varies: bool | None = None

    def stop(self) -> None:
        """End what it makes now."""
        job = self._job
        if job is not None:
            with contextlib.suppress(FooocusError):
                job.stop()

    def make(self, one: Remade) -> None:
        """Make an image again; where it could not be made, it says why."""
        one.remaker, one.error = self, None
        image = one.image
        recipe = recipe_of(image)
        try:
            _, one.missing = recipe.fitted(self.engine)
            one.manifest, one.record, data = self._image(recipe, image)
        except (ConfigurationError, EngineStopped) as error:
            one.error = self.gone = error
            return
        except NEEDS_RESTART as error:
            one.error = error
            try:
                EngineWorker(self.engine).recover(error)
            except FooocusError as gone:
                self.gone = gone
            return
        except (FooocusError, OSError) as error:
            one.error = error
            return
        one.measures = self._compared(image, data)

    def _submit(self, recipe: Recipe, **changes: Any) -> str:
        """Make something in the scratch run, and return the name of its manifest."""
        attempt = self._scratch.recorder.begin()
        with attempt.watching():
            job = self._job = recipe.submit(self.engine, **changes)
        try:
            job.result()
        finally:
            self._job = None
        if attempt.manifest is None:
            problems = "; ".join(self._scratch.recorder.problems[-1:]) or "no image came"
            msg = f"What was made again could not be recorded: {problems}."
            raise RunError(msg)
        return attempt.manifest.name

    def _image(
        self, recipe: Recipe, image: RunImage, **changes: Any
    ) -> tuple[str, ImageRecord, bytes]:
        """Make something, and return its manifest's name, and that image of it."""
        name = self._submit(recipe, **changes)
        record = self._same_place(name, recipe, image)
        return name, record, self._scratch.store.read(record.path, max_file_bytes())

    def _same_place(self, name: str, recipe: Recipe, image: RunImage) -> ImageRecord:
        """Return the image at the place of another one: an enhanced image has several files."""
        siblings = [
            record.path
            for record in image.manifest.images
            if record.number_in_request == image.number_in_request
        ]
        place = siblings.index(image.record.path)
        made = [
            record
            for record in self._scratch.manifest(name).images
            if record.number_in_request == recipe.number
        ]
        if place >= len(made):
            msg = (
                f"It made {len(made)} files where there were {len(siblings)}: image {place + 1} of "
                "them is missing."
            )
            raise RunError(msg)
        return made[place]

    def _compared(self, image: RunImage, data: bytes) -> Similarity:
        before = read_image(image.store, image.record)
        if before is not None and sha256(before) != image.record.sha256:
            before = None  # it isn't what was made
        try:
            return compare_files(image.record, before, data)
        except Exception as error:  # noqa: BLE001 - Pillow raises all sorts for a file that is torn
            return Similarity.failed(f"it can't be decoded: {error}")

    def try_out(self, one: Remade) -> None:
        """Put back what can be put back, and see whether the image is the first one again."""
        image = one.image
        with contextlib.suppress(FooocusError, OSError):  # then it isn't proven
            number, count = image.number_in_request, image.manifest.parameters["image_number"]
            several = int(count or 1) > 1 and number <= int(count)
            if several and self._is_nearer(one, self._whole_similarity(image)):
                text = (
                    f"image {number} of {count} is another one alone; the whole request gives it "
                    "again"
                )
                one.proven = Cause("position in request", "", number, 1, text, proven=True)
                return
            if several:
                self._tell_places_apart(one)
            wildcards = next((each for each in one.found if each.kind == "wildcard file"), None)
            if wildcards is not None:
                recipe = recipe_of(image)
                _, _, data = self._image(recipe, image, prompt=image.record.prompt)
                if self._is_nearer(one, self._compared(image, data)):
                    text = f"{wildcards.text}; with the first prompt the image comes again"
                    one.proven = replace(wildcards, text=text, proven=True)
                    return
            if not any(each.matters for each in one.found):
                one.note = self._repeated(one)

    @staticmethod
    def _is_nearer(one: Remade, other: Similarity) -> bool:
        """Whether an image is nearer to the first one than what was made before."""
        return LEVELS.index(other.level) < LEVELS.index(one.measures.level)

    def _whole_similarity(self, image: RunImage) -> Similarity:
        """Make the whole request that an image is of, once, and compare the image."""
        key = image.manifest.name
        recipe = whole_request(image)
        if key not in self._whole:
            self._whole[key] = None
            self._whole[key] = self._submit(recipe)
        name = self._whole[key]
        if name is None:
            return _NOT_MADE
        record = self._same_place(name, recipe, image)
        return self._compared(image, self._scratch.store.read(record.path, max_file_bytes()))

    def _tell_places_apart(self, one: Remade) -> None:
        """Take it for the place in the request where the prompt is another one only alone."""
        image, name = one.image, self._whole.get(one.image.manifest.name)
        if name is None or not any(each.kind == "wildcard file" for each in one.found):
            return
        self._scratch.flush(PROMPT_SECONDS)
        record = self._same_place(name, whole_request(image), image)
        if record.prompt == image.record.prompt:
            text = "its prompt is another one alone, and the first one in the whole request"
            rest = [each for each in one.found if each.kind not in PROMPTS]
            number = image.number_in_request
            one.found = (Cause("position in request", "", number, 1, text), *rest)

    def _repeated(self, one: Remade) -> str:
        """Say whether the engine makes the same image twice; tried once."""
        if self._varies is None and one.record is not None:
            _, _, data = self._image(recipe_of(one.image), one.image)
            self._varies = sha256(data) != one.record.sha256
        if self._varies:
            return "this engine makes another image each time"
        return "this engine makes the same image each time"
