"""Run the workers of a sweep: a thread for each, one queue, every attempt recorded."""

from __future__ import annotations

import concurrent.futures
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import (
    ConfigurationError,
    DiskFull,
    EngineStopped,
    FooocusError,
    GenerationError,
    GenerationStopped,
    OutOfMemory,
    OutputError,
    RunError,
    UnsupportedServer,
)
from fooocus_nb.experiment.workers import NEEDS_RESTART

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.experiment.attempts import Attempt
    from fooocus_nb.experiment.cells import Cell
    from fooocus_nb.experiment.order import Key
    from fooocus_nb.experiment.progress import SweepProgress
    from fooocus_nb.experiment.sweep_protocols import OpenRun
    from fooocus_nb.experiment.workers import Task, Worker

    #: Decides what follows a cell's failure: False ends the sweep.
    OnError = Callable[[Cell, BaseException], object]

__all__ = ["SweepRunner", "TaskQueue"]

#: What no other cell would fare better with.
FATAL = (
    ConfigurationError,
    DiskFull,
    EngineStopped,
    OutputError,
    RunError,
    UnsupportedServer,
)
#: How often a worker may fail to stay well before it is given up.
MAX_RECOVERIES = 3
#: How often a worker that has nothing to do looks whether there is something again.
IDLE_SECONDS = 0.2
MAX_REASON = 300


class TaskQueue:
    """The cells to make. Each worker gets one that needs what it has loaded, where there is one."""

    def __init__(self, tasks: Sequence[Task], key: Callable[[Mapping[str, Any]], Key]) -> None:
        self._tasks = [(key(task.cell.values), task) for task in tasks]
        self._changed = threading.Condition()
        self._in_progress = 0
        self._loaded: dict[Worker, Key] = {}
        self._closed = False

    def take(self, worker: Worker) -> Task | None:
        """Return the next cell for a worker; None when there will be none."""
        with self._changed:
            while not self._closed:
                if self._tasks:
                    place = self._place_for(worker)
                    self._loaded[worker], task = self._tasks.pop(place)
                    self._in_progress += 1
                    return task
                if not self._in_progress:
                    return None
                # What another worker makes now is put back if that one fails.
                self._changed.wait(IDLE_SECONDS)
        return None

    def _place_for(self, worker: Worker) -> int:
        own = self._loaded.get(worker)
        elsewhere = {key for other, key in self._loaded.items() if other is not worker}
        for wanted in (lambda key: key == own, lambda key: key not in elsewhere):
            for place, (key, _) in enumerate(self._tasks):
                if wanted(key):
                    return place
                if not elsewhere:
                    break  # alone, a worker keeps to the order of the plan
        return 0

    def done(self) -> None:
        """Note that a worker does not make its cell any more."""
        with self._changed:
            self._in_progress -= 1
            self._changed.notify_all()

    def put_back(self, task: Task, worker: Worker) -> None:
        """Give a cell to somebody else, because its worker is of no use any more."""
        with self._changed:
            self._tasks.insert(0, (self._loaded.pop(worker), task))
            self._in_progress -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class SweepRunner:
    """Makes cells on threads of its own, from :meth:`start` until its future is done.

    Parameters
    ----------
    run : Run
        Where they are recorded.
    tasks : sequence of Task
        What to make, in this order.
    workers : sequence of Worker
        Who makes it; there is a thread for each.
    progress : SweepProgress
        What is shown, and what people ask for.
    on_error : callable
        Called with a cell that has failed and its error; where it returns False, the sweep ends
        with that error.
    key : callable
        Returns what a cell's values need loaded.
    """

    def __init__(
        self,
        run: OpenRun,
        tasks: Sequence[Task],
        workers: Sequence[Worker],
        progress: SweepProgress,
        on_error: OnError,
        key: Callable[[Mapping[str, Any]], Key],
    ) -> None:
        self._run = run
        self._recorder = run.recorder
        self._workers = tuple(workers)
        self._progress = progress
        self._on_error = on_error
        self._tasks = tuple(tasks)
        self._queue = TaskQueue(tasks, key)
        self._left = len(self._workers)
        self._error: BaseException | None = None
        self._given_up: BaseException | None = None
        self._skipped: set[str] = set()
        self._lock = threading.Lock()
        self.future: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.future.set_running_or_notify_cancel()  # so that nobody who waits can cancel it

    def start(self) -> None:
        """Begin, and return at once."""
        if not self._tasks:
            self._finish()
            return
        for number, worker in enumerate(self._workers):
            threading.Thread(
                target=self._work,
                args=(worker,),
                name=f"fooocus-nb-sweep-{number}",
                daemon=True,
            ).start()

    # -- one worker -------------------------------------------------------------------------

    def _work(self, worker: Worker) -> None:
        health = _Health()
        try:
            while not self._progress.stopping and self._error is None:
                task = self._queue.take(worker)
                if task is None:
                    break
                try:
                    self._make(worker, task, health)
                except _GivenUp as gone:
                    self._progress.ended(task.cell.id, "waiting")
                    self._queue.put_back(task, worker)
                    self._given_up = gone.__cause__
                    break
                except BaseException:
                    self._progress.ended(task.cell.id, "waiting")
                    self._queue.done()
                    raise
                self._queue.done()
        except BaseException as error:  # noqa: BLE001 - it is told to who waits
            self._fail(error)
        finally:
            try:
                worker.finish()
            except Exception as error:  # noqa: BLE001 - the same
                self._fail(error)
            with self._lock:
                self._left -= 1
                last = not self._left
            if last:
                self._finish()

    def _fail(self, error: BaseException) -> None:
        """End the sweep with an error: the first one counts."""
        with self._lock:
            self._error = self._error or error
        self._queue.close()
        self._progress.stop()

    def _finish(self) -> None:
        progress = self._progress
        try:
            for task in self._tasks:
                # What somebody skipped while it waited is skipped also when the sweep was stopped.
                if progress.is_skipped(task.cell.id):
                    self._run.mark_skipped(task.cell.id)
            snapshot = progress.snapshot()
            if self._error is None and snapshot.missing and not progress.stopping:
                self._error = self._given_up
            self._check_counts()
        except Exception as error:  # noqa: BLE001 - the same
            self._error = self._error or error
        if self._error is not None:
            progress.finish("failed")
            self.future.set_exception(self._error)
        else:
            progress.finish("stopped" if progress.stopping else "done")
            self.future.set_result(None)

    def _check_counts(self) -> None:
        """Raise where what is shown is not what is recorded."""
        now = self._progress.snapshot()
        states = dict.fromkeys(("made", "failed", "skipped", "missing"), 0)
        made, events = self._run.made_cells(), self._run.index.cell_events()
        for cell in self._progress.cells:
            event = events.get(cell.id, "")
            ended = event if event in ("failed", "skipped") else "missing"
            states["made" if cell.id in made else ended] += 1
        shown = {name: getattr(now, name) for name in states}
        if states != shown or sum(states.values()) != now.planned:
            msg = (
                f"The counts of the sweep do not fit: {shown} of {now.planned} were noted, and the "
                f"run {self._run.path} has {states}. Run the sweep again: it makes what is missing."
            )
            raise RunError(msg)

    # -- one cell ---------------------------------------------------------------------------

    def _make(self, worker: Worker, task: Task, health: _Health) -> None:
        """Make a cell, once more where that may help."""
        cell, repeats = task.cell, _Repeats()
        while not self._is_over(cell):
            attempt = self._recorder.begin(cell.id, task.number)
            # After these the cell is tried again, also by another kernel if this one ends now.
            attempt.forgiven = repeats.forgiven
            error = self._try(worker, task, attempt)
            if self._has_ended(cell, attempt, error, health):
                return
            if not self._may_succeed_now(worker, error, repeats, health):
                self._failed(cell, error or _incomplete(attempt))
                return

    def _is_over(self, cell: Cell) -> bool:
        """Whether a cell is not to be made any more, which is shown then."""
        if self._run.is_made(cell.id):  # by another kernel's generation, found again
            self._made(cell)
        elif self._progress.is_skipped(cell.id):
            self._progress.ended(cell.id, "skipped")
        elif self._progress.stopping:
            self._progress.ended(cell.id, "waiting")
        else:
            return False
        return True

    def _has_ended(
        self, cell: Cell, attempt: Attempt, error: BaseException | None, health: _Health
    ) -> bool:
        """Whether an attempt made its cell, or was skipped or stopped; it has failed otherwise."""
        progress = self._progress
        if error is None and attempt.manifest is not None and attempt.manifest.complete:
            health.well()
            self._made(cell)
            return True
        if error is None and attempt.event == "sent":
            raise self._not_recorded()
        if cell.id in self._skipped:
            # Skipped before it was sent, or in that moment: then nothing says so yet.
            if attempt.event != "skipped":
                self._run.mark_skipped(cell.id)
            progress.ended(cell.id, "skipped")
            return True
        stopped = progress.stopping and attempt.event != "failed"
        if isinstance(error, FATAL) and not stopped:
            raise error
        if stopped or _was_stopped(error, attempt):
            progress.ended(cell.id, "waiting")
            return True
        return False

    def _may_succeed_now(
        self, worker: Worker, error: BaseException | None, repeats: _Repeats, health: _Health
    ) -> bool:
        """Do what may help a worker after a failure; return whether its cell is tried once more."""
        if isinstance(error, OutOfMemory) and not repeats.was_out_of_memory:
            repeats.was_out_of_memory = True
            # Where one failed before in the same way, waiting did not help.
            worker.free_memory(restart=health.out_of_memory)
            return True
        if isinstance(error, NEEDS_RESTART):
            # Also where the cell is not tried again: the next one needs the worker.
            self._bring_back(worker, error, health)
            if not repeats.was_restarted:
                repeats.was_restarted = True
                return True
        if isinstance(error, OutOfMemory):
            health.out_of_memory = True
        return False

    def _try(self, worker: Worker, task: Task, attempt: Attempt) -> BaseException | None:
        """Make one attempt; return what went wrong, which is recorded by then."""
        cell = task.cell

        def skip() -> None:
            self._skipped.add(cell.id)
            if attempt.event == "sent":
                attempt.skipped()

        def begun(job: Job | None) -> None:
            self._progress.running(cell.id, job, skip)

        try:
            worker.make(task, attempt, begun)
        except FooocusError as error:
            if attempt.event == "new":
                if isinstance(error, (GenerationStopped, *attempt.forgiven)):
                    attempt.interrupted()
                else:
                    attempt.failed(error)
            return error
        return None

    def _bring_back(self, worker: Worker, error: BaseException, health: _Health) -> None:
        health.recoveries += 1
        if health.recoveries > MAX_RECOVERIES:
            raise _GivenUp from error
        try:
            worker.recover(error)
        except FooocusError as gone:
            raise _GivenUp from gone

    def _made(self, cell: Cell) -> None:
        images = self._run.images_of(cell.id)
        path = images[0].path if images else None
        self._progress.ended(cell.id, "made", path, len(images))

    def _failed(self, cell: Cell, error: BaseException) -> None:
        reason = str(error).partition("\n")[0][:MAX_REASON]
        self._progress.ended(cell.id, "failed", reason=f"{type(error).__name__}: {reason}")
        if self._on_error(cell, error) is False:
            raise error

    def _not_recorded(self) -> RunError:
        problems = "; ".join(self._recorder.problems[-3:]) or "the log of this kernel says why"
        msg = f"A generation could not be recorded in the run {self._run.path}: {problems}."
        return RunError(msg)


class _Health:
    """What is known of one worker."""

    def __init__(self) -> None:
        self.out_of_memory = False
        self.recoveries = 0

    def well(self) -> None:
        """Note that it has made a cell."""
        self.out_of_memory = False
        self.recoveries = 0


@dataclass
class _Repeats:
    """After what a cell was tried again: once after each."""

    was_out_of_memory: bool = False
    was_restarted: bool = False

    @property
    def forgiven(self) -> tuple[type[FooocusError], ...]:
        """After what it will be tried again."""
        return (
            *(() if self.was_out_of_memory else (OutOfMemory,)),
            *(() if self.was_restarted else NEEDS_RESTART),
        )


class _GivenUp(Exception):
    """A worker is of no use any more."""


def _was_stopped(error: BaseException | None, attempt: Attempt) -> bool:
    """Whether somebody stopped the generation, here or on the engine's own page.

    What the attempt says counts, whatever error the stop has led to, but for those that are tried
    again.
    """
    return isinstance(error, GenerationStopped) or (
        attempt.event == "interrupted" and not isinstance(error, attempt.forgiven)
    )


def _incomplete(attempt: Attempt) -> GenerationError:
    manifest = attempt.manifest
    there = len(manifest.images) if manifest is not None else 0
    msg = f"The engine has made {there} images, and not all that were asked for."
    return GenerationError(msg)
