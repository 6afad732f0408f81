"""The recorder of a run: what a kernel generates becomes attempts, images and manifests in it.

A generation waits only for its own lines and its manifest; the hashes of its pixels, of models,
and what takes a look at logs follow on a thread of the recorder, and are done before it closes.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import queue
import secrets
import threading
import time
import unicodedata
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from fooocus_nb._background import Signal
from fooocus_nb._secrets import redact
from fooocus_nb.engine.jobs.observers import observers
from fooocus_nb.errors import GenerationStopped, RunError
from fooocus_nb.experiment.folder import (
    IMAGES,
    INPUTS,
    MANIFESTS,
    dump,
    manifest_name,
    now,
    parse_image_name,
    parse_manifest_name,
)
from fooocus_nb.experiment.hashing import file_hashes, image_size, pixel_facts, sha256
from fooocus_nb.experiment.manifest import (
    ImageRecord,
    InputRecord,
    Manifest,
    jsonable,
    seeds_as_numbers,
    seeds_as_text,
)
from fooocus_nb.experiment.provenance import (
    Provenance,
    complete_models,
    find_models,
    find_prompts,
    known_facts,
    log_timings,
    provenance,
    software,
)
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.requests import NO_SEED
from fooocus_nb.fooocus.schema.parameters import MAX_SEED
from fooocus_nb.fooocus.transport.data_uris import decode_data_uri, is_data_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.facts import EngineFacts
    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.engine.jobs.observers import JobFacts, Outcome
    from fooocus_nb.experiment.folder import RunFolder
    from fooocus_nb.experiment.index import RunIndex

__all__ = ["Attempt", "Recorder", "current_recorder", "set_current"]

_log = logging.getLogger(__name__)

#: How long closing a run waits for hashes of its pixels, and of models, which may be large.
CLOSE_TIMEOUT = 120.0
#: How long the thread waits for more before it saves the index.
IDLE_SECONDS = 2.0
#: How many generations may wait for the thread; a further one waits for its turn.
MAX_WAITING = 1000
_KINDS = {"jpeg": "jpg"}
_ERROR_LENGTH = 2000


@dataclass
class _Arrived:
    """An image that lies in the run already."""

    path: str
    sha256: str
    bytes: int
    order: int


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
        ``new``, ``sent``, ``made``, ``failed``, ``interrupted`` or ``skipped``.
    manifest : Manifest or None
        Once it is written.
    """

    def __init__(self, recorder: Recorder, cell: str | None, number: int, tries: int) -> None:
        self.id = secrets.token_hex(16)
        self.cell = cell
        self.number = number
        self.tries = tries
        self.event = "new"
        self.manifest: Manifest | None = None
        self._recorder = recorder
        self._lock = threading.RLock()
        self._arrived: dict[str, _Arrived] = {}
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
        register()
        with self.watching():
            return engine.submit(prompt, **parameters)

    @property
    def recorder(self) -> Recorder:
        """Who records it."""
        return self._recorder

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Record the job that is submitted inside of the block as this attempt."""
        token = _attempt.set(self)
        try:
            yield
        finally:
            _attempt.reset(token)

    def bind(self, job: JobFacts) -> None:
        """Take the job that it is."""
        self._job = job
        self._facts = job.engine()

    # What follows is called for a job, as engine.jobs.observers says.

    def sending(self) -> None:
        """Write down what is about to be sent."""
        job = self._job
        if job is None or self.event != "new":
            return
        values, inputs = self._recorder.take_inputs(job.request.values, job.request.given)
        self.sent(
            values,
            given=tuple(job.request.given),
            seed=None if job.request.seed == NO_SEED else job.request.seed,
            inputs=inputs,
            facts=self._facts,
            session=job.session,
        )

    def image(self, server_path: str, data: bytes) -> None:
        """Take an image of the job."""
        self.add_image(server_path, data)

    def ended(self, outcome: Outcome) -> None:
        """Write down how the job has ended, with its manifest."""
        try:
            self._end(outcome)
        finally:
            self._done.set()

    def _end(self, outcome: Outcome) -> None:
        if self.event != "sent":  # it was stopped before it was sent, or skipped meanwhile
            if self.event == "new":
                self._finish("interrupted", outcome.error)
            return
        result, error = outcome.result, outcome.error
        with self._lock:
            for name in outcome.dropped & set(self._arrived):
                self._recorder.folder.remove(self._arrived.pop(name).path)
        stopped = isinstance(error, GenerationStopped) or bool(result and result.stopped)
        numbers = {file.server_path: file.number for file in outcome.files}
        log = () if result is None else result.log
        draft = self._draft
        if draft is not None:
            timings = {**draft.timings, **log_timings(log)}
            if result is not None:
                timings["elapsed"] = round(result.elapsed, 3)
            self._draft = replace(draft, timings=timings)
        self._write(numbers, error, complete=error is None and not stopped, log=log)
        if self._wanted_event is not None:
            event = self._wanted_event
        elif error is None and not stopped:
            event = "made"
        else:
            event = "interrupted" if stopped else "failed"
        self._finish(event, error)

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
            :meth:`Recorder.take_inputs`.
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
        self._expected = int(values.get("image_number") or 1)
        checkout = facts.checkout if facts is not None else None
        base, changed = self._recorder.base_of(values, known)
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
            engine=base,
            values=seeds_as_text(changed),
            given=list(given),
            inputs=[vars(one) for one in inputs],
        )
        self.event = "sent"

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
            if name in self._arrived or self.event == "new":
                return
            order = 1 + max((one.order for one in self._arrived.values()), default=0)
            kind = PurePath(name.replace("\\", "/")).suffix.lower().lstrip(".")
            if not (kind.isascii() and kind.isalnum() and len(kind) <= 4):
                kind = "png"
            draft = self._draft
            if draft is None:
                return
            path = draft.image_path(order, kind)
            self._recorder.folder.write(path, data)
            self._arrived[name] = _Arrived(path, sha256(data), len(data), order)

    def made(
        self, *, numbers: Mapping[str, int] | None = None, timings: Mapping[str, Any] | None = None
    ) -> Manifest:
        """Write the manifest of an attempt whose images were all added.

        Parameters
        ----------
        numbers : mapping, optional
            Which image of the request each name of :meth:`add_image` is, from 0. By default they
            are in order.
        timings : mapping, optional
            In seconds.

        Returns
        -------
        Manifest
            As it lies in the run by now.
        """
        draft = self._draft
        if draft is None:
            msg = "The attempt was not sent: call sent() first."
            raise RunError(msg)
        if timings:
            self._draft = replace(draft, timings={**draft.timings, **timings})
        manifest = self._write(numbers, None, complete=True, log=())
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
            error=_error(error),
            pending=("pixels", "prompts", "models", "engine"),
            timings={
                "elapsed": round(time.monotonic() - self._began, 3),
                **draft.timings,
            },
        )
        self.manifest = manifest
        self._recorder.write(manifest)
        self._recorder.complete(manifest, files, log, self._facts, self)
        return manifest

    def _image(self, one: _Arrived, number: int, draft: Manifest) -> ImageRecord:
        data = self._recorder.folder.read(one.path, max_file_bytes())
        width, height, kind = image_size(data)
        return ImageRecord(
            path=one.path,
            number_in_request=number + 1,
            seed=seed_of(draft.parameters, draft.seed, number),
            sha256=one.sha256,
            bytes=one.bytes,
            width=width,
            height=height,
            format=kind,
        )

    def _finish(self, event: str, error: BaseException | str | None) -> None:
        extra: dict[str, Any] = {}
        if (said := _error(error)) is not None:
            extra["error"] = said
        self._recorder.line(self, event, **extra)
        self.event = event


class Recorder:
    """Writes down what is generated for one run, which this kernel holds the lease of.

    Attributes
    ----------
    folder : RunFolder
        The run's folder.
    recorded : Signal of Manifest
        Each manifest that is written, and once more when it is complete; on any thread.
    problems : list of str
        What could not be recorded.
    """

    def __init__(
        self, folder: RunFolder, index: RunIndex, run_id: str, *, held: Callable[[], bool]
    ) -> None:
        self.folder = folder
        self.run_id = run_id
        self.recorded: Signal[Manifest] = Signal("a run's manifests")
        self.problems: list[str] = []
        self._index = index
        self._held = held
        self._lock = threading.Lock()
        self._number = index.last_number()
        self._bases: dict[str, Mapping[str, Any]] = {
            line["engine"]: line for line in index.engines() if "engine" in line
        }
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(MAX_WAITING)
        self._waiting_models: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="fooocus-nb-recorder", daemon=True)
        self._closed = threading.Event()
        self._thread.start()

    # -- attempts ---------------------------------------------------------------------------

    def begin(self, cell: str | None = None, number: int | None = None) -> Attempt:
        """Begin an attempt.

        Parameters
        ----------
        cell : str, optional
            The id of its cell; None is a generation of its own.
        number : int, optional
            The number of the cell in the plan. By default the next one that is free.

        Returns
        -------
        Attempt
            Nothing is written before it is sent.
        """
        self.require_lease()
        with self._lock:
            if number is None:
                self._number += 1
                number = self._number
            else:
                self._number = max(self._number, number)
        tries = 1 if cell is None else self._index.tries_of(cell) + 1
        return Attempt(self, cell, number, tries)

    def observe(self, job: JobFacts) -> Attempt | None:
        """Return the attempt that a job is: the one it was submitted for, or a new one."""
        chosen = _attempt.get()
        if chosen is not None and chosen.event == "new":
            chosen.bind(job)
            return chosen
        if job.found:
            return self._found(job)
        attempt = self.begin()
        attempt.bind(job)
        return attempt

    def _found(self, job: JobFacts) -> Attempt | None:
        """Go on with an attempt that an earlier kernel has sent, and that its engine went on with.

        Only what this run has sent is its own.
        """
        for line in self._index.recent_attempts():
            if job.session and line.get("session") == job.session:
                attempt = Attempt(
                    self, line.get("cell"), int(line["number"]), int(line.get("try") or 1)
                )
                attempt.id = str(line["attempt"])
                attempt.bind(job)
                return attempt
        return None

    def require_lease(self) -> None:
        """Raise a RunError where this kernel may not write to the run any more."""
        if self._closed.is_set():
            msg = f"The run {self.folder.path} is closed: open it again."
            raise RunError(msg)
        if not self._held():
            msg = (
                f"The run {self.folder.path} isn't held by this kernel any more: its lease was "
                "taken by force, or its folder was moved. Open it again where it is now."
            )
            raise RunError(msg)

    # -- what attempts write ----------------------------------------------------------------

    def line(self, attempt: Attempt, event: str, **extra: Any) -> None:
        """Write a line about an attempt."""
        record = {
            "attempt": attempt.id,
            "cell": attempt.cell,
            "number": attempt.number,
            "try": attempt.tries,
            "event": event,
            "time": now(),
            **extra,
        }
        self.folder.append("attempts", record)
        self._index.refresh_lines("attempts")

    def base_of(self, values: Mapping[str, Any], known: Provenance) -> tuple[str, dict[str, Any]]:
        """Return the name of a line of ``engines.jsonl``, and in what values differ from it.

        An attempt's line so holds little, and everything can be told from it all the same.
        """
        text = dump({"fooocus": dict(known.fooocus), "engine": dict(known.engine)})
        with self._lock:
            for key, line in reversed(self._bases.items()):
                if line.get("about") == sha256(text.encode())[:16]:
                    base = line["parameters"]
                    changed = {
                        name: value
                        for name, value in values.items()
                        if name not in base or base[name] != value
                    }
                    if len(changed) <= max(20, len(values) // 3) and not set(base) - set(values):
                        return key, changed
            base = {name: value for name, value in values.items() if name != "image_seed"}
            about = sha256(text.encode())[:16]
            key = hashlib.sha256(dump([about, base]).encode()).hexdigest()[:16]
            line = {
                "engine": key,
                "about": about,
                "parameters": base,
                "fooocus": dict(known.fooocus),
                "system": dict(known.system),
                "software": software(),
                "name": dict(known.engine),
            }
            self._bases[key] = line
            self.folder.append("engines", line)
        self._index.refresh_lines("engines")
        return key, {name: value for name, value in values.items() if name not in base}

    def take_inputs(
        self, values: Mapping[str, Any], given: Mapping[str, Any]
    ) -> tuple[dict[str, Any], tuple[InputRecord, ...]]:
        """Copy the images among the values of a request into the run.

        Parameters
        ----------
        values : mapping
            Wire values: an image is a data URI, and with a mask a mapping of two.
        given : mapping
            What was given, for the names of the files.

        Returns
        -------
        dict, tuple of InputRecord
            The values with ``sha256:...`` in place of the images, and where their copies are.
        """
        found: list[InputRecord] = []
        plain: dict[str, Any] = {}
        for name, value in values.items():
            source = given.get(name)
            if isinstance(value, str) and is_data_uri(value):
                plain[name] = self._input(found, name, None, value, source)
            elif isinstance(value, dict) and any(
                isinstance(part, str) and is_data_uri(part) for part in value.values()
            ):
                sources = source if isinstance(source, dict) else {"image": source}
                plain[name] = {
                    part: self._input(found, name, part, uri, sources.get(part))
                    if isinstance(uri, str) and is_data_uri(uri)
                    else jsonable(uri)
                    for part, uri in value.items()
                }
            elif value is not None:
                plain[name] = jsonable(value)
        return plain, tuple(found)

    def _input(
        self, found: list[InputRecord], name: str, part: str | None, uri: str, source: Any
    ) -> str:
        decoded = decode_data_uri(uri)
        data, mime = decoded if decoded is not None else (b"", "image/png")
        digest = sha256(data)
        kind = mime.partition("/")[2]
        kind = _KINDS.get(kind, kind)
        path = f"{INPUTS}/{digest}.{kind if kind.isascii() and kind.isalnum() else 'bin'}"
        if not (self.folder.path / path).is_file():
            self.folder.write(path, data)
        # Of a path only the name, in the one form of Unicode that all systems agree on.
        shown = ""
        if isinstance(source, str) and not source.startswith("sha256:"):
            shown = unicodedata.normalize("NFC", PurePath(source.replace("\\", "/")).name)[:200]
        found.append(InputRecord(name, part, digest, path, len(data), shown))
        return f"sha256:{digest}"

    def write(self, manifest: Manifest) -> None:
        """Write a manifest, and tell who listens."""
        self.folder.write(f"{MANIFESTS}/{manifest.name}", manifest.to_json())
        self._index.add(manifest)
        self.recorded.emit(manifest)

    # -- the thread -------------------------------------------------------------------------

    def complete(
        self,
        manifest: Manifest,
        files: Sequence[tuple[str, str, int]],
        log: Sequence[str],
        facts: EngineFacts | None,
        attempt: Attempt | None = None,
    ) -> None:
        """Let the thread find out what is pending of a manifest, and write it again."""

        def work() -> None:
            done = self._completed(manifest, files, log, facts)
            self.write(done)
            if attempt is not None:
                attempt.manifest = done

        self._put(work)

    def _put(self, work: Callable[[], None]) -> None:
        if self._closed.is_set():
            return
        with contextlib.suppress(queue.Full):  # what is pending is done when the run opens next
            self._queue.put(work, timeout=30.0)

    def _completed(
        self,
        manifest: Manifest,
        files: Sequence[tuple[str, str, int]],
        log: Sequence[str],
        facts: EngineFacts | None,
    ) -> Manifest:
        pending = set(manifest.pending)
        if "engine" in pending and facts is not None:
            found = provenance(facts)
            manifest = replace(
                manifest,
                fooocus={**manifest.fooocus, **found.fooocus},
                system={**manifest.system, **found.system},
            )
        if "pixels" in pending or "prompts" in pending:
            manifest = replace(manifest, images=self._images(manifest, files, log, facts))
        waiting: list[Path] = []
        if "models" in pending:
            checkout = facts.checkout if facts is not None else None
            if checkout is not None:
                models, waiting = complete_models(manifest.models, checkout)
                manifest = replace(manifest, models=models)
        manifest = replace(manifest, pending=("models",) if waiting else ())
        if waiting:
            self._when_hashed(waiting, manifest.name, facts)
        return manifest

    def _images(
        self,
        manifest: Manifest,
        files: Sequence[tuple[str, str, int]],
        log: Sequence[str],
        facts: EngineFacts | None,
    ) -> tuple[ImageRecord, ...]:
        places = [(self.folder.path / path, name, number) for path, name, number in files]
        prompts = find_prompts(log, places, local=facts is not None and facts.owned)
        said = {path: one for (path, _, _), one in zip(files, prompts, strict=True)}
        images = []
        for image in manifest.images:
            told = said.get(image.path)
            try:
                seen = pixel_facts(self.folder.read(image.path, max_file_bytes()))
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

    def _when_hashed(self, paths: Sequence[Path], name: str, facts: EngineFacts | None) -> None:
        """Complete a manifest once more when the hashes of its models are known."""
        left = len(paths)
        lock = threading.Lock()
        with self._lock:
            self._waiting_models.add(name)

        def tell(_digest: str | None) -> None:
            nonlocal left
            with lock:
                left -= 1
                if left:
                    return
            self._put(lambda: self._complete_again(name, facts))

        for path in paths:
            try:
                file_hashes().when_known(path, tell)
            except OSError:
                tell(None)

    def _complete_again(self, name: str, facts: EngineFacts | None) -> None:
        try:
            manifest = Manifest.from_json(self.folder.read(f"{MANIFESTS}/{name}"))
            self.write(self._completed(manifest, (), (), facts))
        finally:
            with self._lock:
                self._waiting_models.discard(name)

    def _work(self) -> None:
        while True:
            try:
                work = self._queue.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                self._index.save()
                continue
            try:
                if work is None:
                    return
                work()
            except Exception as error:  # noqa: BLE001 - the thread must go on
                _log.exception("a generation could not be recorded in full")
                self.problem(f"A generation could not be recorded in full: {error}")
            finally:
                self._queue.task_done()
            if self._queue.empty():
                self._index.save()

    def problem(self, text: str) -> None:
        """Note what could not be recorded, to be told where somebody looks."""
        if text not in self.problems:
            self.problems.append(text)

    def flush(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Wait until everything is found out, and return whether it is.

        What isn't, such as the hash of a checkpoint that is still being read, is found out when
        the run is opened next.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with self._lock:
                waiting = bool(self._waiting_models)
            if not waiting and not self._queue.unfinished_tasks:
                return True
            time.sleep(0.01)
        return False

    def close(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Find out what is pending, end the thread, and return whether all was found out."""
        done = self.flush(timeout)
        self._closed.set()
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=1.0)
        self._thread.join(5.0)
        return done

    # -- after a crash ----------------------------------------------------------------------

    def recover(self) -> list[Manifest]:
        """Adopt what an earlier kernel has left, and return the manifests that this made.

        Images that are whole and that no manifest lists get one, from what the line says that was
        written before their request, and from what they say themselves. What is torn is removed.
        """
        listed = set(self._index.all_image_paths())
        left: dict[tuple[int, str], list[str]] = {}
        for name in self.folder.names(IMAGES):
            parsed = parse_image_name(name)
            if parsed is not None and f"{IMAGES}/{name}" not in listed:
                left.setdefault(parsed[:2], []).append(name)
        adopted = []
        for (number, attempt), names in sorted(left.items()):
            line = self._index.sent_line(attempt)
            if line is not None and int(line.get("number", -1)) == number:
                manifest = self._adopt(line, names)
                if manifest is not None:
                    adopted.append(manifest)
        self._remove_torn()
        for line in self._index.open_attempts():
            self._note_end(line, "interrupted")
        for name in self._index.pending_names():
            self._put(lambda name=name: self._complete_left(name))
        return adopted

    def _adopt(self, line: Mapping[str, Any], names: Sequence[str]) -> Manifest | None:
        base = self._index.engine(str(line.get("engine"))) or {}
        values = seeds_as_numbers({**base.get("parameters", {}), **line.get("values", {})})
        seed = line.get("seed")
        whole = []
        for name in sorted(names, key=lambda name: parse_image_name(name) or ()):
            path = f"{IMAGES}/{name}"
            try:
                data = self.folder.read(path, max_file_bytes())
                whole.append((path, data, pixel_facts(data)))
            except Exception:  # noqa: BLE001 - Pillow raises all sorts for a file that is torn
                self.folder.remove(path)
        if not whole:
            return None
        first = int(seed) if seed is not None else None
        files = [(path, PurePath(path).name, place) for place, (path, _, _) in enumerate(whole, 1)]
        prompts = find_prompts(
            (),
            [(self.folder.path / path, name, number) for path, name, number in files],
            local=False,
        )
        images = []
        for place, ((path, data, seen), told) in enumerate(zip(whole, prompts, strict=True)):
            number = _number_of(values, first, told.seed, place)
            images.append(
                ImageRecord(
                    path=path,
                    number_in_request=number + 1,
                    seed=told.seed if told.seed is not None else seed_of(values, first, number),
                    sha256=sha256(data),
                    bytes=len(data),
                    width=seen.width,
                    height=seen.height,
                    format=seen.format,
                    pixels_sha256=seen.pixels_sha256,
                    dhash=seen.dhash,
                    prompt=told.prompt,
                    expansion=told.expansion,
                )
            )
        expected = int(line.get("images") or 1)
        complete = len({image.number_in_request for image in images}) >= expected
        manifest = Manifest(
            run=self.run_id,
            attempt=str(line["attempt"]),
            number=int(line["number"]),
            cell=line.get("cell"),
            tries=int(line.get("try") or 1),
            created=str(line.get("time") or now()),
            complete=complete,
            adopted=True,
            parameters=values,
            given=tuple(line.get("given") or ()),
            seed=first,
            images=tuple(images),
            inputs=tuple(InputRecord(**one) for one in line.get("inputs") or ()),
            models=find_models(values, None),
            fooocus=base.get("fooocus") or {},
            system=base.get("system") or {},
            software=base.get("software") or {},
            engine=base.get("name") or {},
        )
        self.write(manifest)
        self._note_end(line, "made" if complete else "interrupted", adopted=True)
        return manifest

    def _note_end(self, line: Mapping[str, Any], event: str, **extra: Any) -> None:
        record = {name: line.get(name) for name in ("attempt", "cell", "number", "try")}
        self.folder.append("attempts", {**record, "event": event, "time": now(), **extra})
        self._index.refresh_lines("attempts")

    def _remove_torn(self) -> None:
        """Remove the manifests that are torn: by now, their images have others or are none."""
        for name, reason in self._index.unfit().items():
            parsed = parse_manifest_name(name)
            if not reason.startswith("torn: ") or parsed is None:
                continue
            line = self._index.sent_line(parsed[1])
            if line is not None and manifest_name(int(line["number"]), line["attempt"]) == name:
                self.folder.remove(f"{MANIFESTS}/{name}")
                self._index.forget_unfit(name)

    def _complete_left(self, name: str) -> None:
        """Find out what an earlier kernel had no time for, as far as it can be found now."""
        manifest = Manifest.from_json(self.folder.read(f"{MANIFESTS}/{name}"))
        files = [
            (image.path, PurePath(image.path).name, image.number_in_request)
            for image in manifest.images
        ]
        done = self._completed(manifest, files, (), None)
        self.write(replace(done, pending=()))


def seed_of(parameters: Mapping[str, Any], seed: int | None, number: int) -> int | None:
    """Return the seed of one image of a request, from 0; that of a grid of all is the first."""
    if seed is None or parameters.get("disable_seed_increment"):
        return seed
    count = int(parameters.get("image_number") or 1)
    if parameters.get("generate_image_grid") and number >= count:
        return seed
    return (seed + number) % (MAX_SEED + 1)


def _number_of(values: Mapping[str, Any], first: int | None, seed: int | None, place: int) -> int:
    """Return which image of its request a file is: by its seed, or by the order of its coming."""
    if first is None or seed is None or values.get("disable_seed_increment"):
        return place
    number = (seed - first) % (MAX_SEED + 1)
    return number if number < int(values.get("image_number") or 1) else place


def _error(error: BaseException | str | None) -> dict[str, Any] | None:
    if error is None:
        return None
    if isinstance(error, str):
        return {"type": "", "message": redact(error)[:_ERROR_LENGTH]}
    message = str(error) or type(error).__name__
    return {"type": type(error).__name__, "message": redact(message)[:_ERROR_LENGTH]}


# -- which run this kernel records in -------------------------------------------------------------

_attempt: ContextVar[Attempt | None] = ContextVar("fooocus_nb_attempt", default=None)
_current: Recorder | None = None


def current_recorder() -> Recorder | None:
    """Return who records the generations of this kernel."""
    return _current


def set_current(recorder: Recorder | None) -> Recorder | None:
    """Let a run record the generations of this kernel, and return who did before."""
    global _current
    before, _current = _current, recorder
    if recorder is not None:
        register()
    return before


def register() -> None:
    """Look on at the generations of this kernel; once."""
    if _watch not in observers:
        observers.append(_watch)


def _watch(job: JobFacts) -> Attempt | None:
    chosen = _attempt.get()
    if chosen is not None:
        return chosen.recorder.observe(job)
    return _current.observe(job) if _current is not None else None
