"""Launch a sweep: open its run, plan, compare the engine, and write the plan down."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ConfigurationError, RunError, RunWarning, warn_user
from fooocus_nb.experiment.folder import RunFolder, resolved
from fooocus_nb.experiment.making import (
    Options,
    PendingSweep,
    engines_of,
    first_engine,
    require_same_engine,
    shown_path,
    tell_earlier,
)
from fooocus_nb.experiment.plan import make_plan
from fooocus_nb.experiment.progress import SweepProgress
from fooocus_nb.experiment.resume import refuse_another_sweep
from fooocus_nb.experiment.run import open_run
from fooocus_nb.experiment.sweep_workers import workers_of
from fooocus_nb.experiment.workers import Task

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from fooocus_nb.experiment.plan import Plan
    from fooocus_nb.experiment.run import Run
    from fooocus_nb.experiment.sweep_protocols import PlannedSweep

__all__ = ["Options", "plan_sweep", "prepare"]


def plan_sweep(sweep: PlannedSweep, thing: Any, folder: str | os.PathLike[str] | None) -> Plan:
    """Return the plan of a sweep; nothing is sent or written."""
    workers = [] if thing is None else workers_of(thing)
    path = None if folder is None else resolved(folder, "folder")
    run = _existing(path)
    return make_plan(sweep, first_engine(workers), run, path)


def _existing(path: Path | None) -> Run | None:
    """Return the run of a folder to look at; None where there is none yet."""
    if path is None:
        return None
    if not path.is_file() and not RunFolder(path).exists():
        return None
    return open_run(path, readonly=True)


def _unpacked(path: Path) -> Path:
    """Return the folder in which a shared run goes on: beside its file, unpacked once."""
    if not path.is_file():
        return path
    shared, folder = open_run(path), path.with_suffix("")
    if RunFolder(folder).exists():
        if RunFolder(folder).header()["id"] != shared.id:
            msg = (
                f"{path.name} would go on in {folder}, which holds another run. Unpack it: "
                f"fooocus_nb.open_run({path.name!r}).restore('another folder')"
            )
            raise RunError(msg)
        return folder
    shared.restore(folder).close()
    warn_user(f"{path.name} was unpacked, and goes on in {folder}.", RunWarning)
    return folder


def prepare(
    sweep: PlannedSweep, thing: Any, folder: str | os.PathLike[str], options: Options
) -> PendingSweep[Run]:
    """Check everything, write the plan, and return what makes it. Nothing has been sent yet."""
    options.check()
    workers = workers_of(thing)
    if not workers:
        msg = "There is no engine to make the sweep's cells: the pool is empty."
        raise ConfigurationError(msg)
    path = _unpacked(resolved(folder, "folder"))
    engine = first_engine(workers)
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
            require_same_engine(run, engines_of(workers), plan.planned)
        recorder.require_lease()
        numbers = _write_plan(sweep, run, plan)
    except BaseException:
        if not run.recording:
            run.close()
        raise
    now = plan.cells if options.limit is None else plan.cells[: options.limit]
    tasks = [Task(cell, numbers[cell.id], sweep.find_image) for cell in now]
    sizes = {name: len(values) for name, values in sweep.axes.items()}
    progress = SweepProgress(plan.planned, sizes, sweep.title, shown_path(run.path))
    tell_earlier(progress, run, plan.planned)
    return PendingSweep(run, tasks, workers, progress, options)


def _write_plan(sweep: PlannedSweep, run: Run, plan: Plan) -> dict[str, int]:
    """Write what is new in the plan, and return the number of each cell."""
    definition = sweep.describe()
    if plan.seed is not None:
        definition["drawn_seed"] = str(plan.seed)
    if not run.sweeps or run.sweeps[-1] != definition:
        run.add_sweep(definition)
    known = set(run.cells)
    free = itertools.count(run.index.last_number() + 1)
    numbers = {
        cell.id: run.cells[cell.id].number if cell.id in known else next(free)
        for cell in plan.planned
    }
    run.add_cells(
        (cell.id, numbers[cell.id], cell.values, cell.axes)
        for cell in plan.planned
        if cell.id not in known
    )
    return numbers
