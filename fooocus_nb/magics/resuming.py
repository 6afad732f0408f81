"""``%fooocus resume``: go on with what the cells of this notebook had asked for.

Shown is what the saved notebook does not show: finished images from their files, what still runs
when it is finished, and what was never sent is sent now. What an engine has or had is never sent
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from fooocus_nb.engine import manager
from fooocus_nb.engine.interrupts import interruption, interruption_of
from fooocus_nb.engine.jobs.cell_requests import (
    FAILED,
    WAITING,
    cell_requests_in,
    started_with,
)
from fooocus_nb.engine.jobs.job import never_begun, session_hash_of
from fooocus_nb.engine.names import notebook_path
from fooocus_nb.engine.state import EngineState
from fooocus_nb.engine.submission import records_of, resubmit
from fooocus_nb.errors import ConfigurationError, FooocusError
from fooocus_nb.magics.saved_notebook import SavedNotebook
from fooocus_nb.results import Image, Result
from fooocus_nb.widgets.display_backends import show
from fooocus_nb.widgets.job_monitor import JobMonitor, result_bundle

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.jobs.cell_requests import CellRequest
    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.experiment.making import PendingSweep
    from fooocus_nb.experiment.run import Run
    from fooocus_nb.magics.session import Session

__all__ = ["aresume", "resume"]


@dataclass
class _Resumption:
    """What one ``%fooocus resume`` has to do."""

    session: Session
    notebook: str
    #: In the order in which it was asked for.
    todo: list[CellRequest]
    #: The SHA-256 of images that are shown already.
    shown: set[str]
    engines: dict[Path, Engine] = field(default_factory=dict)
    errors: list[FooocusError] = field(default_factory=list)
    #: What cannot be gone on with, in sentences.
    notes: list[str] = field(default_factory=list)

    def parts(self) -> list[list[CellRequest]]:
        """Return what is shown together: a sweep by itself, generations in a row."""
        return [
            list(part)
            for _, part in itertools.groupby(
                self.todo, lambda requested: requested.session_hash if requested.run else ""
            )
        ]

    def engine(self, requested: CellRequest) -> Engine | None:
        """Return the engine that has it, or may be sent it; None where that has ended."""
        return self.engines.get(requested.run_dir)

    def attach(self) -> None:
        """Attach to the engines that something is to be awaited of."""
        wanted = {requested.run_dir for requested in self.todo if requested.state == WAITING}
        for known in started_with(self.notebook):
            if known.run_dir in wanted and known.run_dir not in self.engines:
                engine = manager.reattach(known.run_dir, known.arguments)
                if engine is not None:
                    self.engines[known.run_dir] = engine


@dataclass
class _Generations:
    """Some generations in a row: what there is of each, in order."""

    plan: _Resumption
    requested: Sequence[CellRequest]
    jobs: dict[str, Job] = field(default_factory=dict)

    def waiting(self) -> list[CellRequest]:
        """Return those that are not finished."""
        return [requested for requested in self.requested if requested.state == WAITING]

    def job(self, requested: CellRequest) -> Job | None:
        """Return the job of one that is not finished, sent where it never was; None without."""
        engine = self.plan.engine(requested)
        job = None if engine is None else _job_of(engine, requested.session_hash)
        if job is None and engine is not None and not requested.sent and requested.orphaned:
            job = self._send(engine, requested)
        elif job is None and not requested.orphaned:
            self.plan.notes.append(f"{_named(requested)}: another kernel is at it.")
        elif job is None:
            what = "was at it" if requested.sent else "was to make it"
            self.plan.notes.append(
                f"{_named(requested)}: the engine that {what} has ended. Run its cell again."
            )
        if job is not None:
            self.jobs[requested.session_hash] = job
        return job

    def again(self, requested: CellRequest, job: Job) -> Job | None:
        """Return a new job for one that the engine is known not to have begun with."""
        engine = self.plan.engine(requested)
        if engine is None or not never_begun(job):
            return None
        again = self._send(engine, requested)
        if again is not None:
            self.jobs[requested.session_hash] = again
        return again

    def _send(self, engine: Engine, requested: CellRequest) -> Job | None:
        job = resubmit(engine, requested)
        if job is None:
            self.plan.notes.append(
                f"{_named(requested)}: it was not begun, and the images for it are not kept any "
                "more. Run its cell again."
            )
        return job

    def drop(self) -> None:
        """Ask no more for what was not sent, because somebody has stopped all of it."""
        for requested in self.waiting():
            engine = self.plan.engine(requested)
            if engine is not None and requested.session_hash not in self.jobs:
                records = records_of(engine)
                records.resume(requested)
                records.drop([requested.session_hash])

    def failed(self, error: FooocusError) -> None:
        """Note a generation that has failed; its images are shown all the same."""
        self.plan.errors.append(error)

    def result(self) -> Result | None:
        """Return the images that are shown nowhere yet, each once; None where there are none."""
        images: list[Image] = []
        for requested in self.requested:
            for image in self._images_of(requested):
                with contextlib.suppress(OSError):  # somebody has removed it
                    if image.sha256 not in self.plan.shown:
                        self.plan.shown.add(image.sha256)
                        images.append(image)
        if not images:
            return None
        first = images[0].parameters
        return Result(
            images,
            elapsed=sum(job.snapshot().elapsed for job in self.jobs.values()),
            log=(),
            parameters=first,
            prompt=str(first.get("prompt", "")),
            engine=self.requested[0].engine,
        )

    def _images_of(self, requested: CellRequest) -> Iterable[Image]:
        if (job := self.jobs.get(requested.session_hash)) is not None:
            return _made_by(job)
        base = requested.request.record() if requested.request is not None else {}
        return [
            Image(
                image.path,
                seed=image.seed,
                parameters={**base, "image_seed": image.seed, "image_number": 1},
            )
            for image in requested.images
        ]


def resume(session: Session, options: Namespace) -> Result | None:
    """Go on with it, and block until all of it is there."""
    steps = _steps(session, options, awaited=False)
    sent: Any = None
    while True:
        try:
            step = steps.send(sent)
        except StopIteration as end:
            result: Result | None = end.value
            return result
        sent = _show(step) if isinstance(step, _Generations) else step.finish()


async def aresume(session: Session, options: Namespace) -> Result | None:
    """Go on with it and await it, with the kernel listening meanwhile."""
    steps = _steps(session, options, awaited=True)
    sent: Any = None
    while True:
        try:
            # Attaching to an engine takes a moment, in which the event loop must not block.
            step = await asyncio.to_thread(_next, steps, sent)
        except _End as end:
            return end.result
        if isinstance(step, _Generations):
            sent = await _ashow(step)
        else:
            sent = await _arun(step)


class _End(Exception):
    """The steps have ended; no StopIteration can leave a thread of asyncio's."""

    def __init__(self, result: Result | None) -> None:
        super().__init__()
        self.result = result


def _next(
    steps: Generator[_Generations | PendingSweep[Run], Any, Result | None], sent: Any
) -> _Generations | PendingSweep[Run]:
    try:
        return steps.send(sent)
    except StopIteration as end:
        raise _End(end.value) from None


def _steps(
    session: Session, options: Namespace, *, awaited: bool
) -> Generator[_Generations | PendingSweep[Run], Any, Result | None]:
    """Yield what is to be shown, one after the other; what is sent back is its result."""
    plan = _plan(session, options)
    plan.attach()
    results: list[Result] = []
    for part in plan.parts():
        if part[0].run is not None:
            launch = _launch(plan, part[0], awaited=awaited)
            if launch is not None:
                yield launch
        else:
            plan.notes += [
                f"{_named(requested)}: it has failed. Run its cell again."
                for requested in part
                if requested.state == FAILED
            ]
            made = yield _Generations(plan, part)
            if made is not None:
                results.append(made)
    for note in plan.notes:
        session.write(note)
    result = Result.combined(results) if results else None
    if result is not None:
        session.keep(options.output, result)
    elif not (plan.notes or plan.errors or any(requested.run for requested in plan.todo)):
        session.write(
            "Nothing to resume: all that the cells of this notebook have asked for is shown in it."
        )
    if plan.errors:
        raise plan.errors[0]
    return result


def _plan(session: Session, options: Namespace) -> _Resumption:
    notebook = options.notebook or notebook_path()
    if not notebook:
        msg = (
            "%fooocus resume: this frontend does not say which notebook this is. Give its whole "
            "path with --notebook."
        )
        raise UsageError(msg)
    requested = cell_requests_in(notebook)
    saved = SavedNotebook.read(notebook)
    if not options.all:
        requested = [one for group in _groups(requested) if _is_open(group, saved) for one in group]
    shown = set() if options.all or saved is None else set(saved.images)
    known = {path for one in requested if (path := one.run_dir)}
    engines = {
        run_dir: engine
        for engine in manager.running().values()
        if (run_dir := _run_dir_of(engine)) in known and run_dir is not None
    }
    return _Resumption(session, notebook, requested, shown, engines)


def _run_dir_of(engine: Engine) -> Path | None:
    return None if engine.state is EngineState.STOPPED else records_of(engine).run_dir


def _groups(requested: Sequence[CellRequest]) -> list[list[CellRequest]]:
    """Return what was asked for together, in one execution of a cell, in order."""
    groups: dict[str, list[CellRequest]] = {}
    for one in requested:
        groups.setdefault(one.execution.message, []).append(one)
    return list(groups.values())


def _is_open(group: Sequence[CellRequest], saved: SavedNotebook | None) -> bool:
    """Whether what an execution has asked for may be missing in the saved notebook."""
    if any(requested.state == WAITING for requested in group):
        return True
    if saved is None:
        return False
    execution = group[0].execution
    # The number beside a cell is written when the browser has seen its end, with all its outputs.
    ended = max(requested.ended or 0.0 for requested in group)
    return not (saved.counts.get(execution.cell) == execution.count and saved.time >= ended)


def _named(requested: CellRequest) -> str:
    prompt = "" if requested.request is None else str(requested.request.values.get("prompt", ""))
    return repr(prompt if len(prompt) <= 60 else f"{prompt[:59]}…")


def _job_of(engine: Engine, session_hash: str) -> Job | None:
    """Return the job of a session hash: one of this kernel's, or one that was found running."""
    jobs = (*engine.found_jobs, *engine.jobs)
    return next((job for job in jobs if session_hash_of(job) == session_hash), None)


def _made_by(job: Job) -> Iterable[Image]:
    if not job.done():
        return ()
    error = job.exception()
    made = job.result(0) if error is None else getattr(error, "result", None)
    return made or ()


def _launch(
    plan: _Resumption, requested: CellRequest, *, awaited: bool
) -> PendingSweep[Run] | None:
    """Return what goes on with a sweep; None where that is not possible, which is noted."""
    from fooocus_nb.experiment.making import Options, resume_cells
    from fooocus_nb.experiment.run import open_run

    engine = plan.engine(requested)
    if engine is None:
        with contextlib.suppress(ConfigurationError):
            engine = manager.current()
    if engine is None or requested.run is None:
        plan.notes.append(
            f"The sweep in {requested.run}: its engine has ended. Run its cell again."
        )
        return None
    run = open_run(requested.run)
    options = Options(show=True, awaited=awaited)
    return resume_cells(run, engine, requested.cells, options, requested)


def _jobs(part: _Generations, monitor: JobMonitor) -> Generator[Job, FooocusError | None, None]:
    """Yield each job to wait for; what is sent back is the error that it has ended with."""
    for requested in part.waiting():
        job = None if monitor.stopped else part.job(requested)
        while job is not None:
            error = yield job
            again = None if error is None else part.again(requested, job)
            if error is not None and again is None:
                part.failed(error)
            job = again


def _next_job(
    jobs: Generator[Job, FooocusError | None, None], error: FooocusError | None = None
) -> Job | None:
    """Return the next job to wait for; None after the last."""
    try:
        return jobs.send(error)
    except StopIteration:
        return None


def _show(part: _Generations) -> Result | None:
    """Show generations in a row, and block until they are there."""
    shown = _Shown(part)
    if not part.waiting():
        shown.static()
        return shown.made
    with JobMonitor(total=len(part.waiting()), final=shown.result) as monitor:
        jobs = _jobs(part, monitor)
        try:
            job = _next_job(jobs)
            while job is not None:
                monitor.watch(job)
                error = None
                try:
                    job.result()
                except FooocusError as failure:
                    error = failure
                job = _next_job(jobs, error)
        except KeyboardInterrupt:
            part.drop()
            raise
        _end_if_stopped(part, monitor)
    shown.static()
    return shown.made


async def _ashow(part: _Generations) -> Result | None:
    """Show generations in a row, and await them."""
    shown = _Shown(part)
    if not part.waiting():
        await asyncio.to_thread(shown.static)
        return shown.made
    async with JobMonitor(total=len(part.waiting()), awaited=True, final=shown.result) as monitor:
        jobs = _jobs(part, monitor)
        job = await asyncio.to_thread(_next_job, jobs)
        while job is not None:
            monitor.watch(job)
            error = None
            try:
                await job
            except FooocusError as failure:
                error = failure
            except (asyncio.CancelledError, KeyboardInterrupt):
                part.drop()
                raise interruption(monitor.count, ended=monitor.ended) from None
            job = await asyncio.to_thread(_next_job, jobs, error)
        _end_if_stopped(part, monitor)
    await asyncio.to_thread(shown.static)
    return shown.made


def _end_if_stopped(part: _Generations, monitor: JobMonitor) -> None:
    """Raise what ends the cell where the button was pressed, as after an interrupt."""
    if monitor.stopped:
        part.drop()
        raise interruption(monitor.count, ended=monitor.ended)


class _Shown:
    """The images of some generations, which are shown once: by the monitor, or without one."""

    def __init__(self, part: _Generations) -> None:
        self._part = part
        self._taken = False
        self.made: Result | None = None

    def result(self) -> Result | None:
        """Return them, for who shows them now."""
        self._taken = True
        self.made = self._part.result()
        return self.made

    def static(self) -> None:
        """Show them where no monitor has."""
        if not self._taken and (made := self.result()) is not None:
            show(result_bundle(made))


async def _arun(launch: PendingSweep[Run]) -> Run:
    try:
        return await launch.awaited()
    except asyncio.CancelledError as cancelled:
        raise interruption_of(cancelled) from None
