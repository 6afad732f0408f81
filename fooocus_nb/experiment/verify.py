"""Verify a run: make its images again, compare them, and name what made a difference."""

from __future__ import annotations

import concurrent.futures
import contextlib
import random
import tempfile
import threading
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb._background import wait_future
from fooocus_nb.errors import (
    ConfigurationError,
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
from fooocus_nb.experiment.folder import resolved
from fooocus_nb.experiment.hashing import sha256
from fooocus_nb.experiment.identity import plain_number
from fooocus_nb.experiment.remaking import PROMPTS, Remade, Remaker, ScratchRun, read_image
from fooocus_nb.experiment.similarity import Similarity
from fooocus_nb.experiment.sweep_workers import is_elsewhere, workers_of
from fooocus_nb.experiment.verification import Verification, VerifiedImage
from fooocus_nb.experiment.workers import EngineWorker

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.experiment.folder import RunStore
    from fooocus_nb.experiment.index import RunIndex
    from fooocus_nb.experiment.members import RunImage, RunImages

    #: Called with how many images are done, of how many, and the last row.
    Tell = Callable[[int, int], None]

__all__ = ["VerifiedRun", "verify_run"]

#: So many differences are named where they have no effect.
NAMED = 3
#: How long the hashes of models are waited for, once all images are made.
FLUSH_SECONDS = 600.0


class VerifiedRun(Protocol):
    """What is needed of the run that is verified."""

    store: RunStore
    path: Path
    id: str

    @property
    def images(self) -> RunImages:
        """All images."""

    @property
    def index(self) -> RunIndex:
        """What its files say."""


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
    engines = _engines_of(engine)
    images = chosen(run, sample)
    damaged = tuple(_damaged(run.store, images))
    if sample is None:  # what was removed before the run was opened isn't among its images
        shown = {image.file for image in images}
        gone = (path for path in run.index.gone() if path not in shown)
        damaged += tuple(PurePosixPath(path).stem for path in gone)
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
        remakers = [Remaker(each, scratch) for each in engines]
        return _Verifier(run, remakers, scratch, tell).verify(images, damaged)


def _engines_of(thing: Any) -> list[Engine]:
    """Return the engines that make images again: one, those of a pool, or several in a list."""
    try:
        workers = [] if is_elsewhere(thing) else workers_of(thing)
    except ConfigurationError:
        workers = []
    engines = [worker.engine for worker in workers if isinstance(worker, EngineWorker)]
    if not engines or len(engines) < len(workers):
        msg = (
            f"A {type(thing).__name__} can't make images again: give an engine of "
            "fooocus_nb.start() or connect(), a Pool, or several in a list. Workers elsewhere "
            "can't compare."
        )
        raise ConfigurationError(msg)
    return engines


def chosen(run: VerifiedRun, sample: Any) -> list[RunImage]:
    """Return the images to make again; the same ones for the same number each time."""
    images = run.images
    total = len(images)
    if sample is None:
        return list(images)
    sample = plain_number(sample)
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
    place = resolved(keep, "keep")
    try:
        if place.exists() and any(place.iterdir()):
            msg = f"keep={str(place)!r} has something in it: give a new folder."
            raise RunError(msg)
    except OSError as error:
        msg = f"keep={keep!r} is no folder that can be used: {error}."
        raise RunError(msg) from error
    return place


def _damaged(store: RunStore, images: Sequence[RunImage]) -> Iterator[str]:
    """Yield the keys of images whose files are not what their manifests say."""
    for image in images:
        data = read_image(store, image.record)
        if data is None and store.thumbnail(image.record.path) is not None:
            continue  # a run that was shared need not have originals
        if data is None or sha256(data) != image.record.sha256:
            yield image.key


class _Verifier:
    """One verification: makes, compares, tries out, and says why."""

    def __init__(
        self, run: VerifiedRun, remakers: Sequence[Remaker], scratch: ScratchRun, tell: Tell
    ) -> None:
        self._run = run
        self._remakers = remakers
        self._scratch = scratch
        self._tell = tell

    def verify(self, images: Sequence[RunImage], damaged: tuple[str, ...]) -> Verification:
        remade = [Remade(image) for image in images]
        self._make_all(remade)
        self._scratch.flush(FLUSH_SECONDS)
        for one in remade:
            self._find_differences(one)
        for one in remade:
            remaker = one.remaker
            if one.error is None and not one.measures.same and remaker and not remaker.gone:
                remaker.try_out(one)
        rows = _explained(remade, damaged)
        return Verification(
            run=self._run.path,
            engine=", ".join(remaker.engine.name for remaker in self._remakers),
            total=len(self._run.images),
            rows=tuple(rows),
            damaged=damaged,
            archive=not self._run.store.writable,
        )

    # -- making -----------------------------------------------------------------------------

    def _make_all(self, remade: Sequence[Remade]) -> None:
        """Make all of them; what an engine leaves that is gone goes to the others."""
        self._tell(0, len(remade))
        left = list(remade)
        while left and (able := [each for each in self._remakers if not each.gone]):
            queue = _Queue(left, lambda count: self._tell(count, len(remade)), len(remade))
            if len(able) == 1:  # on this thread, which an interrupt reaches
                queue.work_off(able[0])
            else:
                self._on_threads(able, queue)
            left = queue.left
        for one in left:
            one.error = one.error or self._remakers[-1].gone
        self._tell(len(remade), len(remade))

    @staticmethod
    def _on_threads(able: Sequence[Remaker], queue: _Queue) -> None:
        with concurrent.futures.ThreadPoolExecutor(len(able)) as threads:
            futures = [threads.submit(queue.work_off, remaker) for remaker in able]
            try:
                for future in futures:
                    wait_future(future)
            except BaseException:  # an interrupt, too
                queue.close()
                for remaker in able:
                    remaker.stop()
                raise

    # -- why --------------------------------------------------------------------------------

    def _find_differences(self, one: Remade) -> None:
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


class _Queue:
    """Images to make again, for several engines at a time."""

    def __init__(self, waiting: Sequence[Remade], tell: Callable[[int], None], total: int) -> None:
        self._waiting = deque(waiting)
        self._tell = tell
        self._total = total
        self._given_back: list[Remade] = []
        self._in_progress = 0
        self._lock = threading.Lock()

    @property
    def left(self) -> list[Remade]:
        """What was not made."""
        return [*self._given_back, *self._waiting]

    def close(self) -> None:
        """Hand out nothing more."""
        with self._lock:
            self._waiting.clear()

    def work_off(self, remaker: Remaker) -> None:
        """Make what waits with one engine, as long as that can."""
        while remaker.gone is None:
            with self._lock:
                if not self._waiting:
                    return
                one = self._waiting.popleft()
                self._in_progress += 1
            try:
                remaker.make(one)
            finally:
                with self._lock:
                    self._in_progress -= 1
                    if remaker.gone is not None:
                        self._given_back.append(one)
                    done = self._total - len(self.left) - self._in_progress
                    self._tell(done)


def _explained(remade: Sequence[Remade], damaged: Sequence[str]) -> list[VerifiedImage]:
    """Return the rows, each with its causes."""
    evidence = _evidence(remade)
    return [_row(one, _causes(one, evidence)) for one in remade]


def _evidence(remade: Sequence[Remade]) -> dict[tuple[str, str, str, str], Evidence]:
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


def _causes(one: Remade, evidence: dict[tuple[str, str, str, str], Evidence]) -> tuple[Cause, ...]:
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
            each for each in one.found if each.kind != one.proven.kind and each.kind not in PROMPTS
        ]
        return (one.proven, *rest)
    found = ranked(one.found, little=one.measures.level == "close", evidence=evidence)
    if found[0].kind == NOT_IN_MANIFESTS and one.note and not found[0].text:
        found[0] = replace(found[0], text=one.note)
    return tuple(found)


def _failure(one: Remade) -> Cause:
    if one.error is None:
        return Cause("failed", text=next(iter(one.measures.reasons.values()), ""))
    reason = str(one.error).partition("\n")[0][:300]
    if isinstance(one.error, ParameterError):
        return Cause("parameter not possible here", text=reason)
    return Cause("failed", text=f"{type(one.error).__name__}: {reason}")


def _row(one: Remade, causes: tuple[Cause, ...]) -> VerifiedImage:
    measures = one.measures
    if one.error is not None:
        measures = Similarity.failed(f"{type(one.error).__name__}")
    return VerifiedImage(one.image, measures, causes)
