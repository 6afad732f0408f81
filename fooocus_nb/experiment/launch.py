"""Launch a sweep: open its run, plan, compare the engine, make the cells, wait for the end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb._background import await_future, wait_future
from fooocus_nb.engine.interrupts import INTERRUPT_TIMEOUT
from fooocus_nb.errors import ConfigurationError, ParameterError, RunError, nearest, show_plainly
from fooocus_nb.experiment.cells import Cell
from fooocus_nb.experiment.estimates import with_defaults, work_of
from fooocus_nb.experiment.folder import INPUTS, RunFolder
from fooocus_nb.experiment.manifest import seeds_as_text
from fooocus_nb.experiment.order import Loaded
from fooocus_nb.experiment.plan import make_plan
from fooocus_nb.experiment.progress import SweepProgress
from fooocus_nb.experiment.resume import engine_differences, refuse_another_sweep
from fooocus_nb.experiment.run import open_run
from fooocus_nb.experiment.runner import SweepRunner
from fooocus_nb.experiment.workers import Task, workers_of
from fooocus_nb.results._views import open_sweep

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.experiment.plan import Plan
    from fooocus_nb.experiment.run import Run
    from fooocus_nb.experiment.runner import OnError
    from fooocus_nb.experiment.sweep import Sweep
    from fooocus_nb.experiment.workers import Worker

__all__ = ["Launch", "Options", "plan_sweep", "prepare", "retry_failed"]

#: How long the end of a sweep waits for the hashes of its last images.
FLUSH_SECONDS = 10.0
#: Of so many cells that were made before, the live grid shows the images.
SHOWN_EARLIER = 240
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
            isinstance(number, bool) or not isinstance(number, int) or number < 1
        ):
            msg = f"limit={number!r} is not possible: it must be a whole number above 0."
            raise ParameterError(msg)


def plan_sweep(
    sweep: Sweep, thing: Any, folder: str | os.PathLike[str] | None
) -> Plan:
    """Return the plan of a sweep; nothing is sent or written."""
    workers = [] if thing is None else workers_of(thing)
    path = None if folder is None else _path(folder)
    run = _existing(path)
    return make_plan(sweep, _first_engine(workers), run, path)


def _path(folder: str | os.PathLike[str]) -> Path:
    try:
        return Path(folder).expanduser().resolve()
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        msg = f"{folder!r} is no folder that can be used: {error}."
        raise RunError(msg) from error


def _existing(path: Path | None) -> Run | None:
    """Return the run of a folder to look at; None where there is none yet."""
    if path is None or not RunFolder(path).exists():
        return None
    return open_run(path, readonly=True)


def _engines(workers: Sequence[Worker]) -> list[Engine]:
    found = (getattr(worker, "engine", None) for worker in workers)
    return [engine for engine in found if engine is not None]


def _first_engine(workers: Sequence[Worker]) -> Engine | None:
    return next(iter(_engines(workers)), None)


def prepare(
    sweep: Sweep, thing: Any, folder: str | os.PathLike[str], options: Options
) -> Launch:
    """Check everything, write the plan, and return what makes it. Nothing has been sent yet."""
    options.check()
    workers = workers_of(thing)
    if not workers:
        msg = "There is no engine to make the sweep's cells: the pool is empty."
        raise ConfigurationError(msg)
    path = _path(folder)
    engine = _first_engine(workers)
    # Without a folder where there was none: a sweep with a slip of the pen leaves nothing behind.
    if not RunFolder(path).exists():
        make_plan(sweep, engine, None, path).require_ok()
    run = open_run(path)
    try:
        recorder = run.recorder  # or it says who writes to it
        plan = make_plan(sweep, engine, run, path)
        refuse_another_sweep(run, plan.planned)
        plan.require_ok()
        if plan.cells and not options.mix:
            _require_same_engine(run, _engines(workers), plan.planned)
        recorder.require_lease()
        numbers = _write_plan(sweep, run, plan)
    except BaseException:
        if not run.recording:
            run.close()
        raise
    now = plan.cells if options.limit is None else plan.cells[: options.limit]
    tasks = [Task(cell, numbers[cell.id], sweep.find_image) for cell in now]
    sizes = {name: len(values) for name, values in sweep.axes.items()}
    progress = SweepProgress(plan.planned, sizes, repr(sweep)[1:-1], str(run.path))
    _tell_earlier(progress, run, plan.planned)
    return Launch(run, tasks, workers, progress, options)


def _require_same_engine(run: Run, engines: Sequence[Engine], cells: Sequence[Cell]) -> None:
    for engine in engines:
        if differences := engine_differences(run, engine, cells):
            told = "\n".join(f"  - {each}" for each in differences[:20])
            msg = (
                f"The engine {engine.name!r} is not the one that made the cells of {run.path} so "
                f"far:\n{told}\nNothing has been sent. Give another folder, or mix=True: then each "
                "manifest says which."
            )
            raise RunError(msg)


def _write_plan(sweep: Sweep, run: Run, plan: Plan) -> dict[str, int]:
    """Write what is new in the plan, and return the number of each cell."""
    definition = sweep.describe()
    if plan.seed is not None:
        definition["drawn_seed"] = str(plan.seed)
    if not run.sweeps or run.sweeps[-1] != definition:
        run.add_sweep(definition)
    known = set(run.cells)
    numbers = itertools.count(run.index.last_number() + 1)
    run.add_cells(
        (cell.id, next(numbers), cell.values, cell.axes)
        for cell in plan.planned
        if cell.id not in known
    )
    return {cell.id: run.cells[cell.id].number for cell in plan.planned}


def _tell_earlier(progress: SweepProgress, run: Run, cells: Sequence[Cell]) -> None:
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


class Launch:
    """A sweep that is about to be made, and is waited for once."""

    def __init__(
        self,
        run: Run,
        tasks: Sequence[Task],
        workers: Sequence[Worker],
        progress: SweepProgress,
        options: Options,
    ) -> None:
        self.run = run
        self.progress = progress
        self._tasks = list(tasks)
        self._workers = list(workers)
        self._options = options

    def _begin(self) -> SweepRunner:
        engine = _first_engine(self._workers)
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
            task.cell.id: work_of(with_defaults(task.cell.values, defaults))
            for task in self._tasks
        }
        self.progress.begin(work)
        runner.start()
        return runner

    def _shown(self) -> contextlib.AbstractContextManager[object]:
        if self._options.watch is not None:
            self._options.watch(self.progress)
        self.progress.resume = self._resume
        show = self._options.show
        # Whether anybody can see it is asked only where there may be somebody: that loads widgets.
        if show is False or (show is None and "ipykernel" not in sys.modules):
            return contextlib.nullcontext()
        return open_sweep(self.progress, awaited=self._options.awaited)

    def wait(self) -> Run:
        """Make the cells, and wait until that has ended."""
        with self._shown():
            runner = self._begin()
            try:
                wait_future(runner.future)
            except KeyboardInterrupt:
                self._stop(runner)
                raise self._interruption() from None
            self._end()
        return self.run

    async def awaited(self) -> Run:
        """Make the cells, and await the end of that."""
        shown = self._shown()
        with shown:
            runner = self._begin()
            try:
                await await_future(runner.future)
            except asyncio.CancelledError:
                await asyncio.shield(asyncio.to_thread(self._stop, runner))
                error = asyncio.CancelledError(str(self._interruption()))
                show_plainly(error, "python")
                raise error from None
            await asyncio.to_thread(self._end)
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
            f"in {self.run.path}."
        )
        show_plainly(error, "python")
        return error

    def _resume(self) -> None:
        """Make what is left in the background, after a stop."""
        waiting = {
            cell.id
            for cell, state in zip(self.progress.cells, self.progress.states(), strict=True)
            if state == "waiting"
        }
        self._tasks = [task for task in self._tasks if task.cell.id in waiting]
        self._begin()


def retry_failed(run: Run, thing: Any, options: Options) -> Run:
    """Make the failed cells of a run again, as its plan has them."""
    options.check()
    workers = workers_of(thing)
    failed = list(dict.fromkeys(one.cell for one in run.failures if one.cell is not None))
    planned = [run.cells[cell] for cell in failed if cell in run.cells]
    cells = [
        Cell(one.id, seeds_as_text(one.values), seeds_as_text(one.axes)) for one in planned
    ]
    if not options.mix:
        _require_same_engine(run, _engines(workers), cells)
    run.retry()
    find = functools.partial(_input_of, run)
    tasks = [Task(cell, one.number, find) for cell, one in zip(cells, planned, strict=True)]
    title = f"{len(cells)} failed cells again"
    progress = SweepProgress(cells, {}, title, str(run.path))
    return Launch(run, tasks, workers, progress, options).wait()


def _input_of(run: Run, entry: Mapping[str, Any]) -> Any:
    """Return an input image of a planned cell from the copy in the run."""
    if "url" in entry:
        return entry["url"]
    sha256 = str(entry.get("sha256", ""))
    for name in run.store.names(INPUTS):
        if name.partition(".")[0] == sha256:
            return run.store.image_path(f"{INPUTS}/{name}")
    name = entry.get("name") or sha256[:12]
    msg = (
        f"The input image {name!r} is not in the run {run.path}: the cell was never sent. Run the "
        "sweep itself again, which knows where it is."
    )
    raise ParameterError(msg)
