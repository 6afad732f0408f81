"""An attempt: one generation as a run records it, from before its request to its manifest."""

from __future__ import annotations

import contextlib
import functools
import secrets
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb._secrets import redact
from fooocus_nb.engine.jobs.observers import JobObserver
from fooocus_nb.errors import FooocusError, GenerationError, GenerationStopped, RunError
from fooocus_nb.experiment.folder import MANIFESTS, manifest_name, now
from fooocus_nb.experiment.hashing import image_size
from fooocus_nb.experiment.inputs import take_inputs
from fooocus_nb.experiment.manifest import (
    PENDING,
    ImageRecord,
    InputRecord,
    Manifest,
    jsonable,
    seeds_as_numbers,
    seeds_as_text,
)
from fooocus_nb.experiment.provenance import (
    Provenance,
    find_models,
    known_facts,
    log_timings,
    software,
)
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.requests import NO_SEED
from fooocus_nb.fooocus.schema.parameters import MAX_SEED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.facts import EngineFacts
    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.engine.jobs.observers import JobFacts, Outcome
    from fooocus_nb.experiment.folder import RunFolder
    from fooocus_nb.experiment.manifest import ModelRecord

__all__ = [
    "Attempt",
    "AttemptWriter",
    "BoundObserver",
    "chosen_attempt",
    "error_record",
    "seed_of",
    "watching_as",
]

_ERROR_LENGTH = 2000


class AttemptWriter(Protocol):
    """What an attempt needs of the recorder of its run."""

    folder: RunFolder
    run_id: str

    @property
    def closed(self) -> bool:
        """Whether the run is closed, and nothing more is written."""

    def observe_jobs(self) -> None:
        """Observe the generations of this kernel from now on."""

    def require_lease(self) -> None:
        """Raise where the run may not be written to."""

    def base_of(self, values: Mapping[str, Any], known: Provenance) -> tuple[str, dict[str, Any]]:
        """Return the line that values go out from, and in what they differ from it."""

    def line(self, attempt: Attempt, event: str, **extra: Any) -> None:
        """Write a line about an attempt."""

    def write(self, manifest: Manifest) -> None:
        """Write a manifest."""

    def complete(
        self,
        manifest: Manifest,
        files: Sequence[tuple[str, str, int]],
        log: Sequence[str],
        facts: EngineFacts | None,
        attempt: Attempt | None = None,
    ) -> None:
        """Find out what is pending of a manifest, later."""

    def hashed(self, data: bytes) -> Future[str]:
        """Find out the SHA-256 of an image, on a thread."""

    def running(self, attempt: Attempt) -> None:
        """Note that an attempt is a job of this kernel now."""

    def ended(self, attempt: Attempt) -> None:
        """Note that the job of an attempt has ended."""

    def problem(self, text: str) -> None:
        """Note what could not be recorded."""


class BoundObserver(JobObserver, Protocol):
    """Observes the one job that is submitted while it is chosen."""

    def bind(self, job: JobFacts) -> None:
        """Take the job."""


@dataclass
class _Arrived:
    """An image that lies in the run already."""

    path: str
    sha256: Future[str]
    bytes: int
    order: int
    width: int
    height: int
    format: str


class Attempt:
    """One generation that is recorded: an attempt at a cell, or one of its own.

    Made by :meth:`Recorder.begin`. The job that :meth:`submit` returns is recorded by itself, to
    its end. For what is generated elsewhere, call :meth:`sent`, :meth:`add_image` and one of
    :meth:`made`, :meth:`failed`, :meth:`interrupted` and :meth:`skipped`.

    Attributes
    ----------
    id : str
        32 hexadecimal digits.
    cell : str or None
        The cell's id.
    number : int
        The number in the names of its files.
    tries : int
        Which attempt of the cell it is, from 1.
    event : str
        ``new``, ``sent``, ``made``, ``failed``, ``interrupted``, ``skipped``, or ``unrecorded``
        where the run was closed before it was sent.
    manifest : Manifest or None
        Once it is written.
    base : str
        The line of ``engines.jsonl`` that its own line goes out from, once it is sent.
    forgiven : tuple of type
        The errors after which the cell is tried again: they count as an interruption, so that the
        cell is missing and not failed if this kernel ends before that.
    """

    def __init__(self, recorder: AttemptWriter, cell: str | None, number: int, tries: int) -> None:
        self.id = secrets.token_hex(16)
        self.cell = cell
        self.number = number
        self.tries = tries
        self.event = "new"
        self.manifest: Manifest | None = None
        self.base = ""
        self.forgiven: tuple[type[BaseException], ...] = ()
        self._recorder = recorder
        self._lock = threading.RLock()
        self._arrived: dict[str, _Arrived] = {}
        #: Lets the thread find out what is pending of the manifest.
        self._later: Callable[[], None] | None = None
        self._draft: Manifest | None = None
        self._expected = 1
        self._began = time.monotonic()
        self._job: JobFacts | None = None
        self._facts: EngineFacts | None = None
        self._wanted_event: str | None = None
        self._done = threading.Event()

    def __repr__(self) -> str:
        return f"<Attempt {self.number:06d}-{self.id[:8]}, try {self.tries}: {self.event}>"

    # -- a job of this kernel ---------------------------------------------------------------

    def submit(self, engine: Engine, prompt: str = "", **parameters: Any) -> Job:
        """Submit a generation as this attempt; see :meth:`fooocus_nb.Engine.submit`.

        Returns
        -------
        Job
            Its attempt is written down before its request is sent, and its images and manifest
            are in the run before its result is there.
        """
        with self.watching():
            return engine.submit(prompt, **parameters)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Record the job that is submitted inside of the block as this attempt."""
        self._recorder.observe_jobs()
        with watching_as(self):
            yield

    def bind(self, job: JobFacts) -> None:
        """Take the job that it is.

        Raises a RunError where it has one: an attempt is one generation.
        """
        if self._job is not None or self.event != "new":
            msg = "An attempt is one generation: begin another for each that is submitted."
            raise RunError(msg)
        self._facts = job.engine()
        self._job = job
        self._recorder.running(self)

    def resume(self, line: Mapping[str, Any], draft: Manifest, job: JobFacts) -> None:
        """Go on with what an earlier kernel has sent."""
        self.id = draft.attempt
        self._draft = draft
        self._expected = int(line.get("images") or 1)
        self._job = job
        self.event = "sent"
        self._recorder.running(self)

    # What follows is called for a job, as engine.jobs.observers says.

    def sending(self) -> None:
        """Write down what is about to be sent."""
        job = self._job
        if job is None or self.event != "new":
            return
        if self._recorder.closed:  # it waited for longer than the run was open
            self.event = "unrecorded"
            return
        values, inputs = take_inputs(self._recorder.folder, job.request.values, job.request.given)
        self.sent(
            values,
            given=tuple(job.request.given),
            seed=None if job.request.seed == NO_SEED else job.request.seed,
            inputs=inputs,
            facts=self._facts,
            session=job.session_hash,
        )

    def image(self, server_path: str, data: bytes) -> None:
        """Take an image of the job; where that fails it is tried again at the end."""
        try:
            self.add_image(server_path, data)
        except FooocusError as error:
            self._recorder.problem(str(error))

    def ended(self, outcome: Outcome) -> None:
        """Write down how the job has ended, with its manifest."""
        try:
            self._end(outcome)
        finally:
            self._done.set()
            self._recorder.ended(self)

    def _end(self, outcome: Outcome) -> None:
        if self._recorder.closed:  # it is adopted when the run is opened next
            return
        if self.event != "sent":  # it was stopped before it was sent, or skipped meanwhile
            if self.event == "new":
                self._finish("interrupted", outcome.error)
            return
        result, error = outcome.result, outcome.error
        with self._lock:
            for name in outcome.dropped & set(self._arrived):
                self._recorder.folder.remove(self._arrived.pop(name).path)
        try:
            for file in outcome.files:
                if file.server_path not in self._arrived:
                    self.add_image(file.server_path, read_plain_file(file.path, max_file_bytes()))
        except (FooocusError, OSError) as failure:
            self._recorder.problem(f"Images are not in the run: {failure}")
            error = error or failure
        # A result without an image is an empty sequence.
        stopped = isinstance(error, GenerationStopped) or (result is not None and result.stopped)
        numbers = {file.server_path: file.number for file in outcome.files}
        log = () if result is None else result.log
        draft = self._draft
        if draft is not None:
            timings = {**draft.timings, **log_timings(log)}
            if result is not None:
                timings["elapsed"] = round(result.elapsed, 3)
            self._draft = replace(draft, timings=timings)
        manifest = self._write(numbers, error, complete=error is None and not stopped, log=log)
        if error is None and not stopped and not (manifest is not None and manifest.complete):
            error = GenerationError(
                f"The engine has made {len(outcome.files)} of {self._expected} images, and told no "
                "error."
            )
        if self._wanted_event is not None:
            event = self._wanted_event
        elif error is None and not stopped:
            event = "made"
        else:
            again = stopped or isinstance(error, self.forgiven)
            event = "interrupted" if again else "failed"
        self._finish(event, error)

    @property
    def manifest_path(self) -> Path:
        """Where its manifest lies once it is written."""
        return self._recorder.folder.path / MANIFESTS / manifest_name(self.number, self.id)

    # -- step by step -----------------------------------------------------------------------

    def sent(
        self,
        parameters: Mapping[str, Any],
        *,
        given: Sequence[str] = (),
        seed: int | None = None,
        inputs: Sequence[InputRecord] = (),
        facts: EngineFacts | None = None,
        known: Provenance | None = None,
        session: str = "",
    ) -> None:
        """Write down an attempt before its request is sent.

        Parameters
        ----------
        parameters : mapping
            All values by canonical name, images as ``sha256:...``; see
            :func:`~fooocus_nb.experiment.inputs.take_inputs`.
        given : sequence of str, optional
            The names of those that were given.
        seed : int, optional
            The seed that is sent.
        inputs : sequence of InputRecord, optional
            The images that it begins with, which lie in the run.
        facts : EngineFacts, optional
            The engine, where it is one of this kernel.
        known : Provenance, optional
            What is known of an engine elsewhere.
        session : str, optional
            The session hash of its job, by which a later kernel finds it again.

        Raises
        ------
        RunError
            When this kernel doesn't hold the run's lease any more.
        OutputError
            When the run cannot be written to.
        """
        self._recorder.require_lease()
        values = seeds_as_numbers({name: jsonable(value) for name, value in parameters.items()})
        known = known or (known_facts(facts) if facts is not None else Provenance())
        self._facts = facts
        self._expected = int(values.get("image_number") or 1)
        checkout = facts.checkout if facts is not None else None
        self.base, changed = self._recorder.base_of(values, known)
        self._draft = Manifest(
            run=self._recorder.run_id,
            attempt=self.id,
            number=self.number,
            cell=self.cell,
            tries=self.tries,
            created=now(),
            complete=False,
            parameters=values,
            given=tuple(given),
            seed=seed,
            images=(),
            inputs=tuple(inputs),
            models=find_models(values, checkout),
            fooocus=known.fooocus,
            system=known.system,
            software=software(),
            engine=known.engine,
        )
        self._began = time.monotonic()
        self._recorder.line(
            self,
            "sent",
            seed=None if seed is None else str(seed),
            images=self._expected,
            session=session,
            engine=self.base,
            values=seeds_as_text(changed),
            given=list(given),
            inputs=[vars(one) for one in inputs],
            models=[
                {**vars(one), "mtime_ns": str(one.mtime_ns)}
                for one in self._draft.models
                if one.mtime_ns is not None
            ],
        )
        self.event = "sent"

    def learned(
        self,
        parameters: Mapping[str, Any],
        *,
        given: Mapping[str, Any],
        seed: int | None,
        known: Provenance,
        models: Sequence[ModelRecord],
        software: Mapping[str, Any],
    ) -> None:
        """Take what only who made the images elsewhere knows.

        Parameters
        ----------
        parameters : mapping
            The wire values of the request; input images in them are copied into the run.
        given : mapping
            What was given, for the names of their files.
        seed : int or None
            The seed that was sent.
        known : Provenance
            The engine.
        models : sequence of ModelRecord
            The models, with their hashes.
        software : mapping
            Our own version, Python and platform there.
        """
        draft = self._draft
        if draft is None or self.event != "sent":
            return
        plain, inputs = take_inputs(self._recorder.folder, parameters, given)
        values = seeds_as_numbers({name: jsonable(value) for name, value in plain.items()})
        self._expected = int(values.get("image_number") or 1)
        self._draft = replace(
            draft,
            parameters=values,
            given=tuple(given),
            seed=seed,
            inputs=inputs,
            models=tuple(models),
            fooocus=known.fooocus,
            system=known.system,
            software=software,
            engine=known.engine,
        )

    def add_image(self, name: str, data: bytes) -> None:
        """Put an image into the run. What was put there stays, whatever comes then.

        Parameters
        ----------
        name : str
            The name of its file where it was made; tells it from the others of the attempt.
        data : bytes
            The file.
        """
        with self._lock:
            if name in self._arrived or self.event != "sent" or self._recorder.closed:
                return
            order = 1 + max((one.order for one in self._arrived.values()), default=0)
            kind = PurePath(name.replace("\\", "/")).suffix.lower().lstrip(".")
            if not (kind.isascii() and kind.isalnum() and len(kind) <= 4):
                kind = "png"
            draft = self._draft
            if draft is None:
                return
            path = draft.image_path(order, kind)
            hashed = self._recorder.hashed(data)
            self._recorder.folder.write(path, data)
            self._arrived[name] = _Arrived(path, hashed, len(data), order, *image_size(data))

    def made(
        self,
        *,
        numbers: Mapping[str, int] | None = None,
        timings: Mapping[str, Any] | None = None,
        log: Sequence[str] = (),
    ) -> Manifest:
        """Write the manifest of an attempt whose images were all added.

        Parameters
        ----------
        numbers : mapping, optional
            Which image of the request each name of :meth:`add_image` is, from 0. By default they
            are in order.
        timings : mapping, optional
            In seconds.
        log : sequence of str, optional
            What the engine printed meanwhile: it tells of the expanded prompts.

        Returns
        -------
        Manifest
            As it lies in the run by now.
        """
        draft = self._draft
        if draft is None:
            msg = "The attempt was not sent: call sent() first."
            raise RunError(msg)
        if timings or log:
            found = {**draft.timings, **log_timings(log), **(timings or {})}
            self._draft = replace(draft, timings=found)
        manifest = self._write(numbers, None, complete=True, log=log)
        self._finish("made", None)
        self._done.set()
        if manifest is None:
            msg = "The attempt has no images: add them with add_image() before."
            raise RunError(msg)
        return manifest

    def failed(self, error: BaseException | str) -> None:
        """Write down that the attempt has failed; images that were added are kept."""
        if self.event in ("new", "sent"):
            self._write(None, error, complete=False, log=())
            self._finish("failed", error)
        self._done.set()

    def interrupted(self) -> None:
        """Write down that the attempt was stopped; images that were added are kept."""
        if self.event in ("new", "sent"):
            self._write(None, None, complete=False, log=())
            self._finish("interrupted", None)
        self._done.set()

    def skipped(self) -> None:
        """Write down that the attempt, or the cell, is skipped: it isn't missing any more.

        While its job runs, this says how its end is to be written down.
        """
        if self._job is not None and self.event == "sent" and not self._done.is_set():
            self._wanted_event = "skipped"
            return
        self._finish("skipped", None)
        self._done.set()

    def wait(self, timeout: float) -> Manifest | None:
        """Wait until it is written down, and return its manifest; None where it has none."""
        self._done.wait(timeout)
        return self.manifest

    # -- how it is written ------------------------------------------------------------------

    def _write(
        self,
        numbers: Mapping[str, int] | None,
        error: BaseException | str | None,
        *,
        complete: bool,
        log: Sequence[str],
    ) -> Manifest | None:
        """Write the manifest with what is known at once, and let the thread add the rest."""
        draft = self._draft
        with self._lock:
            arrived = dict(self._arrived)
        if draft is None or not arrived:
            return None
        known = {} if numbers is None else numbers
        order = {name: place for place, name in enumerate(known)}
        names = sorted(arrived, key=lambda name: (order.get(name, len(order)), arrived[name].order))
        images, files = [], []
        for place, name in enumerate(names):
            number = known.get(name, place)
            one = arrived[name]
            images.append(self._image(one, number, draft))
            files.append((one.path, PurePath(name.replace("\\", "/")).name, number + 1))
        whole = complete and len({image.number_in_request for image in images}) >= self._expected
        manifest = replace(
            draft,
            complete=whole,
            images=tuple(images),
            error=error_record(error),
            pending=PENDING,
            timings={
                "elapsed": round(time.monotonic() - self._began, 3),
                **draft.timings,
            },
        )
        self.manifest = manifest
        self._recorder.write(manifest)
        self._later = functools.partial(
            self._recorder.complete, manifest, files, log, self._facts, self
        )
        return manifest

    def _image(self, one: _Arrived, number: int, draft: Manifest) -> ImageRecord:
        return ImageRecord(
            path=one.path,
            number_in_request=number + 1,
            seed=seed_of(draft.parameters, draft.seed, number),
            sha256=one.sha256.result(),
            bytes=one.bytes,
            width=one.width,
            height=one.height,
            format=one.format,
        )

    def _finish(self, event: str, error: BaseException | str | None) -> None:
        extra: dict[str, Any] = {}
        if (said := error_record(error)) is not None:
            extra["error"] = said
        try:
            self._recorder.line(self, event, **extra)
            self.event = event
        finally:
            # Last: the thread would take the interpreter from who writes the line.
            later, self._later = self._later, None
            if later is not None:
                later()


_chosen: ContextVar[BoundObserver | None] = ContextVar("fooocus_nb_attempt", default=None)


def chosen_attempt() -> BoundObserver | None:
    """Return the attempt that the next job of this thread or task was said to be."""
    return _chosen.get()


@contextlib.contextmanager
def watching_as(observer: BoundObserver) -> Iterator[None]:
    """Let one observer only observe the job that is submitted inside of the block."""
    token = _chosen.set(observer)
    try:
        yield
    finally:
        _chosen.reset(token)


def seed_of(parameters: Mapping[str, Any], seed: int | None, number: int) -> int | None:
    """Return the seed of one image of a request, from 0; that of a grid of all is the first."""
    if seed is None or parameters.get("disable_seed_increment"):
        return seed
    count = int(parameters.get("image_number") or 1)
    if parameters.get("generate_image_grid") and number >= count:
        return seed
    return (seed + number) % (MAX_SEED + 1)


def error_record(error: BaseException | str | None) -> dict[str, Any] | None:
    """Return an error as lines and manifests hold it, without secrets."""
    if error is None:
        return None
    if isinstance(error, str):
        return {"type": "", "message": redact(error)[:_ERROR_LENGTH]}
    message = str(error) or type(error).__name__
    return {"type": type(error).__name__, "message": redact(message)[:_ERROR_LENGTH]}
