"""The recorder of a run: what a kernel generates becomes attempts, images and manifests in it.

A generation waits only for its own lines and its manifest; the hashes of its pixels, of models,
and what takes a look at logs follow on a thread of the recorder, and are done before it closes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fooocus_nb._background import Signal
from fooocus_nb.engine.jobs.observers import observers
from fooocus_nb.errors import RunError, RunWarning, warn_user
from fooocus_nb.experiment.adoption import Adoption
from fooocus_nb.experiment.attempts import Attempt, chosen_attempt
from fooocus_nb.experiment.completion import completed, completed_later
from fooocus_nb.experiment.folder import MANIFESTS, dump, now
from fooocus_nb.experiment.hashing import file_hashes, sha256
from fooocus_nb.experiment.manifest import Manifest
from fooocus_nb.experiment.provenance import software

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from fooocus_nb.engine.facts import EngineFacts
    from fooocus_nb.engine.jobs.observers import JobFacts
    from fooocus_nb.experiment.attempts import BoundObserver
    from fooocus_nb.experiment.folder import RunFolder
    from fooocus_nb.experiment.index import RunIndex
    from fooocus_nb.experiment.provenance import Provenance

__all__ = ["Attempt", "Recorder", "current_recorder", "observe_jobs", "set_current"]

_log = logging.getLogger(__name__)

#: How long closing a run waits for hashes of its pixels, and of models, which may be large.
CLOSE_TIMEOUT = 120.0
#: How long the thread waits for more before it saves the index.
IDLE_SECONDS = 2.0
#: How many generations may wait for the thread; a further one waits for its turn.
MAX_WAITING = 1000


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
        self._untold: list[str] = []
        self._index = index
        self._held = held
        self._running: set[Attempt] = set()
        self._lock = threading.Lock()
        self._number = index.last_number()
        self._adoption = Adoption(folder, index, run_id, self.write)
        self._bases: dict[str, Mapping[str, Any]] = {
            line["engine"]: line for line in index.engines() if "engine" in line
        }
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(MAX_WAITING)
        self._waiting_models: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="fooocus-nb-recorder", daemon=True)
        self._closed = threading.Event()
        self._hashes = ThreadPoolExecutor(1, thread_name_prefix="fooocus-nb-hash")
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
        """Return the attempt that a job is which was submitted for none: a new one."""
        if job.found:
            return self._found(job)
        for text in self._untold:
            warn_user(text, RunWarning)
        self._untold.clear()
        attempt = self.begin()
        attempt.bind(job)
        return attempt

    def has_sent(self, session: str) -> bool:
        """Whether an earlier kernel has sent a generation for this run, and nobody took its end."""
        lines = self._index.recent_attempts()
        return bool(session) and any(line.get("session") == session for line in lines)

    def running(self, attempt: Attempt) -> None:
        """Note that an attempt is a job of this kernel now."""
        with self._lock:
            self._running.add(attempt)

    def ended(self, attempt: Attempt) -> None:
        """Note that the job of an attempt has ended."""
        with self._lock:
            self._running.discard(attempt)

    def _found(self, job: JobFacts) -> Attempt | None:
        """Go on with an attempt that an earlier kernel has sent, and that its engine went on with.

        Of others nothing is known here, and they belong to no run of ours.
        """
        for line in self._index.recent_attempts():
            if job.session_hash and line.get("session") == job.session_hash:
                attempt = Attempt(
                    self, line.get("cell"), int(line["number"]), int(line.get("try") or 1)
                )
                attempt.resume(line, self._adoption.draft_of(line), job)
                return attempt
        return None

    @property
    def closed(self) -> bool:
        """Whether the run is closed, and nothing more is written."""
        return self._closed.is_set()

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
        self.require_lease()
        record = {
            "attempt": attempt.id,
            "cell": attempt.cell,
            "number": attempt.number,
            "try": attempt.tries,
            "event": event,
            "time": now(),
            **extra,
        }
        self._index.add_lines("attempts", self.folder.append("attempts", record))

    def hashed(self, data: bytes) -> Future[str]:
        """Find out the SHA-256 of an image on a thread of its own, while it is written."""
        return self._hashes.submit(sha256, data)

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

    def _note_engine(self, key: str, manifest: Manifest) -> None:
        """Write down once what was found out of an engine, for manifests that are adopted."""
        with self._lock:
            line = self._bases.get(key)
            if line is None or line["system"] == manifest.system:
                return
            line = {**line, "fooocus": dict(manifest.fooocus), "system": dict(manifest.system)}
            self._bases[key] = line
            self.folder.append("engines", line)
        self._index.refresh_lines("engines")

    def write(self, manifest: Manifest) -> None:
        """Write a manifest, and tell who listens."""
        self.require_lease()
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
            done, waiting = completed(self.folder, manifest, files, log, facts)
            if waiting:
                self._when_hashed(waiting, manifest.name, facts)
            self.write(done)
            if attempt is not None:
                attempt.manifest = done
                self._note_engine(attempt.base, done)

        self._put(work)

    def _put(self, work: Callable[[], None]) -> None:
        if self._closed.is_set():
            return
        with contextlib.suppress(queue.Full):  # what is pending is done when the run opens next
            self._queue.put(work, timeout=30.0)

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
            done, waiting = completed(self.folder, manifest, (), (), facts)
            self.write(done)
            if waiting:  # one was changed meanwhile
                self._put(lambda: self._when_hashed(waiting, name, facts))
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
            self._untold.append(text)

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
        with self._lock:
            running = len(self._running)
        if running:
            self.problem(
                f"{running} of this kernel's generations had not ended when the run "
                f"{self.folder.path} was closed: what they make from now on is not in it. Wait "
                "for their results before."
            )
        done = self.flush(timeout)
        self._closed.set()
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=1.0)
        self._thread.join(5.0)
        self._hashes.shutdown(wait=False)
        return done

    # -- after a crash ----------------------------------------------------------------------

    def recover(self) -> list[Manifest]:
        """Adopt what an earlier kernel has left, and return the manifests that this made.

        What it had no time to find out is found out on the thread.
        """
        adopted = self._adoption.adopt_all()
        for name in self._index.pending_names():
            self._put(functools.partial(self._complete_left, name))
        return adopted

    def _complete_left(self, name: str) -> None:
        manifest = Manifest.from_json(self.folder.read(f"{MANIFESTS}/{name}"))
        done = completed_later(self.folder, manifest)
        if done != manifest:
            self.write(done)
        else:  # the index is older than the manifest
            self._index.add(manifest)

    def observe_jobs(self) -> None:
        """Observe the generations of this kernel from now on. Harmless twice."""
        observe_jobs()


# -- which run this kernel records in -------------------------------------------------------------

_current: Recorder | None = None


def current_recorder() -> Recorder | None:
    """Return who records the generations of this kernel."""
    return _current


def set_current(recorder: Recorder | None) -> Recorder | None:
    """Let a run record the generations of this kernel, and return who did before."""
    global _current
    before, _current = _current, recorder
    if recorder is not None:
        recorder.observe_jobs()
    return before


def observe_jobs() -> None:
    """Observe the generations of this process from now on. Harmless twice."""
    if _watch not in observers:
        observers.append(_watch)


def _watch(job: JobFacts) -> BoundObserver | None:
    chosen = chosen_attempt()
    if chosen is not None:
        chosen.bind(job)
        return chosen
    return _current.observe(job) if _current is not None else None
