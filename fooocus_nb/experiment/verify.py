"""Verify a run: make its images again, compare them, and name what made a difference."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb.errors import (
    ConfigurationError,
    EngineStopped,
    FooocusError,
    ParameterError,
    RunError,
)
from fooocus_nb.experiment.causes import (
    NO_EFFECT,
    NOT_IN_MANIFESTS,
    Cause,
    Evidence,
    differences,
    ranked,
)
from fooocus_nb.experiment.comparison import LEVELS, Measures, compare_files
from fooocus_nb.experiment.hashing import sha256
from fooocus_nb.experiment.replay import Recipe, recipe_of, whole_request
from fooocus_nb.experiment.verification import Verification, VerifiedImage
from fooocus_nb.experiment.workers import ILL, EngineWorker
from fooocus_nb.fooocus.limits import max_file_bytes

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.experiment.folder import RunStore
    from fooocus_nb.experiment.manifest import ImageRecord, Manifest
    from fooocus_nb.experiment.members import RunImage, RunImages
    from fooocus_nb.experiment.recorder import Recorder

    #: Called with how many images are done, of how many, and the last row.
    Tell = Callable[[int, int], None]

__all__ = ["VerifiedRun", "verify_run"]

#: So many differences are named where they have no effect.
NAMED = 3
#: How long the hashes of models are waited for, once all images are made.
FLUSH_SECONDS = 600.0
#: How long the prompts of one generation are waited for.
PROMPT_SECONDS = 30.0
#: Kinds of causes that a place in a request can be taken for.
_PROMPTS = frozenset({"wildcard file", "prompt expansion"})


class VerifiedRun(Protocol):
    """What is needed of the run that is verified."""

    store: RunStore
    path: Path
    id: str

    @property
    def images(self) -> RunImages:
        """All images."""


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


_NOT_MADE = Measures("failed")


@dataclass
class _Remade:
    """One image made again, or why it could not be."""

    image: RunImage
    manifest: str = ""
    record: ImageRecord | None = None
    measures: Measures = _NOT_MADE
    error: BaseException | None = None
    missing: tuple[str, ...] = ()
    found: tuple[Cause, ...] = ()
    proven: Cause | None = None
    note: str = ""


def verify_run(
    run: VerifiedRun,
    engine: Any,
    open_scratch: Callable[[Path], ScratchRun],
    *,
    sample: Any = None,
    keep: str | os.PathLike[str] | None = None,
    tell: Tell = lambda done, total: None,
) -> Verification:
    """Make the images of a run again and compare them; see :meth:`Run.verify`."""
    from fooocus_nb.engine.core import Engine

    if not isinstance(engine, Engine):
        msg = (
            f"A {type(engine).__name__} can't make images again: give an engine of "
            "fooocus_nb.start() or connect()."
        )
        raise ConfigurationError(msg)
    images = chosen(run, sample)
    damaged = tuple(_damaged(run.store, images))
    with contextlib.ExitStack() as stack:
        if keep is None:
            place = Path(
                stack.enter_context(
                    tempfile.TemporaryDirectory(
                        prefix="fooocus-nb-verify-", ignore_cleanup_errors=True
                    )
                )
            )
            scratch = open_scratch(place / "run")
        else:
            scratch = open_scratch(_new_folder(keep))
        stack.callback(scratch.close)
        return _Verifier(run, engine, scratch, tell).verify(images, damaged)


def chosen(run: VerifiedRun, sample: Any) -> list[RunImage]:
    """Return the images to make again; the same ones for the same number each time."""
    images = run.images
    total = len(images)
    if sample is None:
        return list(images)
    if isinstance(sample, float) and 0 < sample <= 1:
        sample = max(1, round(sample * total))
    if isinstance(sample, bool) or not isinstance(sample, int) or sample < 1:
        msg = (
            f"sample={sample!r} is not possible: give how many images, such as 20, or a share of "
            "them, such as 0.1."
        )
        raise ParameterError(msg)
    if sample >= total:
        return list(images)
    drawn = random.Random(run.id)  # noqa: S311 - the same ones each time
    places = sorted(drawn.sample(range(total), sample))
    return [images[place] for place in places]


def _new_folder(keep: str | os.PathLike[str]) -> Path:
    try:
        place = Path(keep).expanduser().resolve()
        if place.exists() and any(place.iterdir()):
            msg = f"keep={str(place)!r} has something in it: give a new folder."
            raise RunError(msg)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        msg = f"keep={keep!r} is no folder that can be used: {error}."
        raise RunError(msg) from error
    return place


def _damaged(store: RunStore, images: Sequence[RunImage]) -> Iterator[str]:
    """Yield the keys of images whose files are not what their manifests say."""
    for image in images:
        data = _read(store, image.record)
        if data is None and store.thumbnail(image.record.path) is not None:
            continue  # a run that was shared need not have originals
        if data is None or sha256(data) != image.record.sha256:
            yield image.key


def _read(store: RunStore, record: ImageRecord) -> bytes | None:
    try:
        return store.read(record.path, max_file_bytes())
    except (FooocusError, OSError, KeyError):
        return None


class _Verifier:
    """One verification: makes, compares, tries out, and says why."""

    def __init__(self, run: VerifiedRun, engine: Engine, scratch: ScratchRun, tell: Tell) -> None:
        self._run = run
        self._engine = engine
        self._scratch = scratch
        self._tell = tell
        self._whole: dict[str, str | None] = {}
        self._varies: bool | None = None

    def verify(self, images: Sequence[RunImage], damaged: tuple[str, ...]) -> Verification:
        remade: list[_Remade] = []
        gone: BaseException | None = None
        self._tell(0, len(images))
        for image in images:
            one = _Remade(image)
            if gone is None:
                gone = self._make(one)
            else:
                one.error = gone
            remade.append(one)
            self._tell(len(remade), len(images))
        self._scratch.flush(FLUSH_SECONDS)
        for one in remade:
            self._find_differences(one)
        if gone is None:
            for one in remade:
                if one.error is None and not one.measures.same:
                    self._try_out(one)
        rows = _explained(remade, damaged)
        return Verification(
            run=self._run.path,
            engine=self._engine.name,
            total=len(self._run.images),
            rows=tuple(rows),
            damaged=damaged,
            archive=not self._run.store.writable,
        )

    # -- making -----------------------------------------------------------------------------

    def _make(self, one: _Remade) -> BaseException | None:
        """Make an image again; return why no other one can be made either, where that is so."""
        image = one.image
        recipe = recipe_of(image)
        _, one.missing = recipe.fitted(self._engine)
        try:
            one.manifest, one.record, data = self._image(recipe, image)
        except (ConfigurationError, EngineStopped) as error:
            one.error = error
            return error
        except ILL as error:
            one.error = error
            try:
                EngineWorker(self._engine).come_back(error)
            except FooocusError as gone:
                return gone
            return None
        except (FooocusError, OSError) as error:
            one.error = error
            return None
        one.measures = self._compared(image, data)
        return None

    def _submit(self, recipe: Recipe, **changes: Any) -> str:
        """Make something in the scratch run, and return the name of its manifest."""
        attempt = self._scratch.recorder.begin()
        with attempt.watching():
            job = recipe.submit(self._engine, **changes)
        job.result()
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

    def _compared(self, image: RunImage, data: bytes) -> Measures:
        before = _read(image.store, image.record)
        if before is not None and sha256(before) != image.record.sha256:
            before = None  # it isn't what was made
        try:
            return compare_files(image.record, before, data)
        except Exception as error:  # noqa: BLE001 - Pillow raises all sorts for a file that is torn
            return Measures.failed(f"it can't be decoded: {error}")

    # -- why --------------------------------------------------------------------------------

    def _find_differences(self, one: _Remade) -> None:
        if one.error is not None or not one.manifest:
            return
        after = self._scratch.manifest(one.manifest)
        path = one.record.path if one.record is not None else ""
        record = next((each for each in after.images if each.path == path), None)
        found = differences(one.image.manifest, after, one.image.record, record, one.missing)
        if one.image.manifest.edited:
            text = "the manifest was changed after it was written"
            found.insert(0, Cause("file changed", one.image.manifest.name, text=text))
        one.found = tuple(found)

    def _try_out(self, one: _Remade) -> None:
        """Put back what can be put back, and see whether the image is the first one again."""
        image = one.image
        with contextlib.suppress(FooocusError, OSError):  # then it isn't proven
            number, count = image.number_in_request, image.manifest.parameters["image_number"]
            several = int(count or 1) > 1 and number <= int(count)
            if several and self._is_nearer(one, self._whole_measures(image)):
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
    def _is_nearer(one: _Remade, other: Measures) -> bool:
        """Whether an image is nearer to the first one than what was made before."""
        return LEVELS.index(other.level) < LEVELS.index(one.measures.level)

    def _whole_measures(self, image: RunImage) -> Measures:
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

    def _tell_places_apart(self, one: _Remade) -> None:
        """Take it for the place in the request where the prompt is another one only alone."""
        image, name = one.image, self._whole.get(one.image.manifest.name)
        if name is None or not any(each.kind == "wildcard file" for each in one.found):
            return
        self._scratch.flush(PROMPT_SECONDS)
        record = self._same_place(name, whole_request(image), image)
        if record.prompt == image.record.prompt:
            text = "its prompt is another one alone, and the first one in the whole request"
            rest = [each for each in one.found if each.kind not in _PROMPTS]
            number = image.number_in_request
            one.found = (Cause("position in request", "", number, 1, text), *rest)

    def _repeated(self, one: _Remade) -> str:
        """Say whether the engine makes the same image twice; tried once."""
        if self._varies is None and one.record is not None:
            _, _, data = self._image(recipe_of(one.image), one.image)
            self._varies = sha256(data) != one.record.sha256
        if self._varies:
            return "this engine makes another image each time"
        return "this engine makes the same image each time"


def _explained(remade: Sequence[_Remade], damaged: Sequence[str]) -> list[VerifiedImage]:
    """Return the rows, each with its causes."""
    evidence = _evidence(remade)
    return [_row(one, _causes(one, evidence)) for one in remade]


def _evidence(remade: Sequence[_Remade]) -> dict[tuple[str, str, str, str], Evidence]:
    """Return with how many images of each outcome every difference was there."""
    counts: Counter[tuple[tuple[str, str, str, str], str]] = Counter()
    for one in remade:
        if one.error is None and one.measures.level != "failed":
            level = "same" if one.measures.same else one.measures.level
            counts.update((key, level) for key in {each.key for each in one.found if each.matters})
    return {
        key: Evidence(**{level: counts[key, level] for level in ("same", "close", "different")})
        for key in {key for key, _ in counts}
    }


def _causes(one: _Remade, evidence: dict[tuple[str, str, str, str], Evidence]) -> tuple[Cause, ...]:
    if one.error is not None or one.measures.level == "failed":
        return (_failure(one),)
    if one.measures.same:
        if one.measures.level == "bytes" and not one.found:
            return ()
        named = "; ".join(each.text for each in one.found[:NAMED])
        more = len(one.found) - NAMED
        text = named + (f"; and {more} more" if more > 0 else "")
        if not one.found:
            return (Cause(NOT_IN_MANIFESTS, text="the files differ, and their pixels don't"),)
        return (Cause(NO_EFFECT, text=text), *one.found)
    if one.proven is not None:
        # The prompt of another place has other elements, too.
        rest = [
            each for each in one.found if each.kind != one.proven.kind and each.kind not in _PROMPTS
        ]
        return (one.proven, *rest)
    found = ranked(one.found, little=one.measures.level == "close", evidence=evidence)
    if found[0].kind == NOT_IN_MANIFESTS and one.note and not found[0].text:
        found[0] = replace(found[0], text=one.note)
    return tuple(found)


def _failure(one: _Remade) -> Cause:
    if one.error is None:
        return Cause("failed", text=next(iter(one.measures.reasons.values()), ""))
    reason = str(one.error).partition("\n")[0][:300]
    if isinstance(one.error, ParameterError):
        return Cause("parameter not possible here", text=reason)
    return Cause("failed", text=f"{type(one.error).__name__}: {reason}")


def _row(one: _Remade, causes: tuple[Cause, ...]) -> VerifiedImage:
    measures = one.measures
    if one.error is not None:
        measures = Measures.failed(f"{type(one.error).__name__}")
    return VerifiedImage(one.image, measures, causes)
