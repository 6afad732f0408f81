"""Make the cells of a plan with workers, show it, and wait for the end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import numbers
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fooocus_nb._background import await_future, wait_future
from fooocus_nb.engine.interrupts import INTERRUPT_TIMEOUT
from fooocus_nb.engine.jobs.cell_requests import DONE, FAILED, STOPPED
from fooocus_nb.engine.names import running_shell
from fooocus_nb.engine.submission import records_of
from fooocus_nb.errors import ParameterError, RunError, nearest, show_plainly
from fooocus_nb.experiment.cells import Cell
from fooocus_nb.experiment.estimates import with_defaults, work_of
from fooocus_nb.experiment.folder import INPUTS
from fooocus_nb.experiment.manifest import seeds_as_text
from fooocus_nb.experiment.order import Loaded
from fooocus_nb.experiment.progress import SweepProgress
from fooocus_nb.experiment.resume import engine_differences
from fooocus_nb.experiment.runner import SweepRunner
from fooocus_nb.experiment.sweep_workers import workers_of
from fooocus_nb.experiment.workers import Task, take_found
from fooocus_nb.results._views import open_sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.jobs.cell_requests import CellRequest
    from fooocus_nb.experiment.runner import OnError
    from fooocus_nb.experiment.sweep_protocols import OpenRun
    from fooocus_nb.experiment.workers import Worker

__all__ = [
    "SHOWN_EARLIER",
    "Options",
    "PendingSweep",
    "engines_of",
    "first_engine",
    "require_same_engine",
    "resume_cells",
    "retry_failed",
    "shown_path",
    "tell_earlier",
]

R = TypeVar("R", bound="OpenRun")

#: Of so many cells that were made before, the live grid shows the images.
SHOWN_EARLIER = 240
#: How long the end of a sweep waits for the hashes of its last images.
FLUSH_SECONDS = 10.0
_ON_ERROR = ("continue", "stop")


@dataclass(frozen=True)
class Options:
    """How a sweep is run; see :meth:`Sweep.run`."""

    on_error: OnError | str = "continue"
    mix: bool = False
    limit: int | None = None
    show: bool | None = None
    awaited: bool = False
    #: Called with the progress before the first cell, such as by what shows it in a terminal.
    watch: Callable[[SweepProgress], None] | None = None

    def decide(self) -> OnError:
        """Return what is called with a cell that has failed, or raise what is wrong with it."""
        if callable(self.on_error):
            return self.on_error
        if self.on_error not in _ON_ERROR:
            msg = (
                f"on_error={self.on_error!r} is not possible: it must be 'continue', 'stop' or a "
                f"function.{nearest(str(self.on_error), _ON_ERROR)}"
            )
            raise ParameterError(msg)
        goes_on = self.on_error == "continue"
        return lambda cell, error: goes_on

    def check(self) -> None:
        """Raise what is wrong with them."""
        self.decide()
        number = self.limit
        if number is not None and (
            isinstance(number, bool) or not isinstance(number, numbers.Integral) or number < 1
        ):
            msg = f"limit={number!r} is not possible: it must be a whole number above 0."
            raise ParameterError(msg)


def shown_path(path: Path) -> str:
    """Return a folder as it is shown: from here where it is below, so that no home is told."""
    with contextlib.suppress(ValueError, OSError):
        return path.relative_to(Path.cwd().resolve()).as_posix()
    return str(path)


def engines_of(workers: Sequence[Worker]) -> list[Engine]:
    """Return the engines of this kernel among those who make cells."""
    found = (getattr(worker, "engine", None) for worker in workers)
    return [engine for engine in found if engine is not None]


def first_engine(workers: Sequence[Worker]) -> Engine | None:
    """Return the engine that cells are checked with; None where all are elsewhere."""
    return next(iter(engines_of(workers)), None)


def require_same_engine(run: OpenRun, engines: Sequence[Engine], cells: Sequence[Cell]) -> None:
    """Raise where an engine is not the one that made the cells so far."""
    for engine in engines:
        if differences := engine_differences(run, engine, cells):
            told = "\n".join(f"  - {each}" for each in differences[:20])
            msg = (
                f"The engine {engine.name!r} is not the one that made the cells of {run.path} so "
                f"far:\n{told}\nNothing has been sent. Give another folder, or mix=True: then each "
                "manifest says which."
            )
            raise RunError(msg)


class PendingSweep(Generic[R]):
    """A sweep that is about to be made, and is waited for once."""

    def __init__(
        self,
        run: R,
        tasks: Sequence[Task],
        workers: Sequence[Worker],
        progress: SweepProgress,
        options: Options,
        requested: CellRequest | None = None,
    ) -> None:
        self.run = run
        self.progress = progress
        self._requested = requested
        self._tasks = list(tasks)
        self._workers = list(workers)
        self._options = options

    def _begin(self) -> SweepRunner:
        engine = first_engine(self._workers)
        defaults: Mapping[str, Any] = {} if engine is None else engine.parameters.defaults
        preset = None if engine is None else engine.current_preset
        runner = SweepRunner(
            self.run,
            self._tasks,
            self._workers,
            self.progress,
            self._options.decide(),
            Loaded({**defaults, "preset": preset}).key,
        )
        work = {
            task.cell.id: work_of(with_defaults(task.cell.values, defaults)) for task in self._tasks
        }
        self.progress.begin(work)
        runner.start()
        return runner

    def _shown(self) -> contextlib.AbstractContextManager[object]:
        if self._options.watch is not None:
            self._options.watch(self.progress)
        self.progress.resume = self.resume
        show = self._options.show
        if show is False or (show is None and getattr(running_shell(), "kernel", None) is None):
            return contextlib.nullcontext()
        return open_sweep(self.progress, awaited=self._options.awaited)

    def _take_found(self) -> None:
        """Record what an earlier kernel has left running, before it would be made again."""
        for engine in engines_of(self._workers):
            take_found(engine, self.run.recorder)

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """Write down that the cell of the notebook asks for this, and how that ends."""
        engine = first_engine(self._workers)
        if engine is None:
            yield
            return
        records, state = records_of(engine), FAILED
        if self._requested is None:
            session_hash = records.ask_sweep(self.run.path, [task.cell.id for task in self._tasks])
        else:
            session_hash = self._requested.session_hash
            records.resume(self._requested)
        try:
            yield
            state = DONE
        except (KeyboardInterrupt, asyncio.CancelledError):
            state = STOPPED
            raise
        finally:
            records.end(session_hash, state)

    def finish(self) -> R:
        """Make the cells, and wait until that has ended."""
        with self._noted(), self._shown():
            self._take_found()
            runner = self._begin()
            try:
                wait_future(runner.future)
            except KeyboardInterrupt:
                self._stop(runner)
                raise self._interruption() from None
            self._end()
        return self.run

    async def awaited(self) -> R:
        """Make the cells, and await the end of that."""
        with self._noted():
            return await self._awaited()

    async def _awaited(self) -> R:
        shown = self._shown()
        shown.__enter__()
        try:
            await asyncio.to_thread(self._take_found)
            runner = self._begin()
            try:
                await await_future(runner.future)
            except asyncio.CancelledError:
                await asyncio.shield(asyncio.to_thread(self._stop, runner))
                error = asyncio.CancelledError(str(self._interruption()))
                show_plainly(error, "python")
                raise error from None
            await asyncio.to_thread(self._end)
        finally:
            # Making thumbnails takes a moment, in which the event loop must not block.
            await asyncio.shield(asyncio.to_thread(shown.__exit__, None, None, None))
        return self.run

    def _stop(self, runner: SweepRunner) -> None:
        """Stop, and wait until what runs has ended."""
        self.progress.stop()
        deadline = time.monotonic() + INTERRUPT_TIMEOUT
        with contextlib.suppress(Exception, KeyboardInterrupt):
            wait_future(runner.future, max(deadline - time.monotonic(), 0.0))

    def _end(self) -> None:
        self.run.flush(FLUSH_SECONDS)
        if self.progress.snapshot().state == "stopped":  # the button ends it as an interrupt does
            raise self._interruption()

    def _interruption(self) -> KeyboardInterrupt:
        now = self.progress.snapshot()
        error = KeyboardInterrupt(
            f"The sweep was stopped: {now.counts}. Run it again to make the rest; what is made is "
            f"in {self.progress.where}."
        )
        show_plainly(error, "python")
        return error

    def resume(self) -> SweepRunner:
        """Make what is left in the background, after a stop."""
        waiting = {
            cell.id
            for cell, state in zip(self.progress.cells, self.progress.states(), strict=True)
            if state == "waiting"
        }
        self._tasks = [task for task in self._tasks if task.cell.id in waiting]
        return self._begin()


def retry_failed(run: R, thing: Any, options: Options) -> R:
    """Make the failed cells of a run again, as its plan has them."""
    options.check()
    workers = workers_of(thing)
    failed = list(dict.fromkeys(one.cell for one in run.failures if one.cell is not None))
    tasks = _planned_tasks(run, failed)
    cells = [task.cell for task in tasks]
    if not options.mix:
        require_same_engine(run, engines_of(workers), cells)
    run.mark_missing([cell.id for cell in cells])
    title = f"{len(cells)} failed cells again"
    progress = SweepProgress(cells, {}, title, shown_path(run.path))
    return PendingSweep(run, tasks, workers, progress, options).finish()


def tell_earlier(progress: SweepProgress, run: OpenRun, cells: Sequence[Cell]) -> None:
    """Tell the progress what was there before."""
    made, events = run.made_cells(), run.index.cell_events()
    shown = 0
    for cell in cells:
        if cell.id in made:
            path = None
            if shown < SHOWN_EARLIER:
                with contextlib.suppress(RunError, IndexError):
                    path = run.images_of(cell.id)[0].path
                shown += 1
            progress.known(cell.id, "made", path)
        elif (event := events.get(cell.id)) in ("failed", "skipped"):
            error = run.cells[cell.id].error or {}
            reason = f"{error.get('type', '')}: {str(error.get('message', ''))[:300]}"
            progress.known(cell.id, str(event), reason=reason if error else "")


def resume_cells(
    run: R, thing: Any, cells: Sequence[str], options: Options, requested: CellRequest
) -> PendingSweep[R]:
    """Return what makes the cells of a run that are missing, of those that a sweep was to make.

    The others are shown as they are. It goes on with what was asked for.
    """
    workers = workers_of(thing)
    tasks = _planned_tasks(run, cells)
    known = [task.cell for task in tasks]
    if not options.mix:
        require_same_engine(run, engines_of(workers), known)
    progress = SweepProgress(
        known, _sizes(run, len(known)), f"{len(known)} cells, resumed", shown_path(run.path)
    )
    tell_earlier(progress, run, known)
    waiting = [
        task for task, state in zip(tasks, progress.states(), strict=True) if state == "waiting"
    ]
    return PendingSweep(run, waiting, workers, progress, options, requested)


def _planned_tasks(run: OpenRun, cells: Sequence[str]) -> list[Task]:
    """Return the cells of these ids as the plan of the run has them, ready to be made."""
    find = functools.partial(_input_of, run)
    planned = [run.cells[cell] for cell in cells if cell in run.cells]
    return [
        Task(Cell(one.id, seeds_as_text(one.values), seeds_as_text(one.axes)), one.number, find)
        for one in planned
    ]


def _sizes(run: OpenRun, cells: int) -> dict[str, int]:
    """Return how many places each axis has, where the cells are the whole product of them."""
    axes = run.sweeps[-1].get("axes") or [] if run.sweeps else []
    sizes = {name: len(values) for axis in axes for name, values in axis.items()}
    return sizes if math.prod(sizes.values()) == cells else {}


def _input_of(run: OpenRun, entry: Mapping[str, Any]) -> Any:
    """Return an input image of a planned cell from the copy in the run."""
    if "url" in entry:
        return entry["url"]
    sha256 = str(entry.get("sha256", ""))
    for name in run.store.names(INPUTS):
        if name.partition(".")[0] == sha256:
            return run.store.image_path(f"{INPUTS}/{name}")
    name = entry.get("name") or sha256[:12]
    msg = (
        f"The input image {name!r} is not in the run {run.path} as it was given. Call run.retry() "
        "without an engine, and run the sweep itself again: it knows where the image is."
    )
    raise ParameterError(msg)
