"""Workers make the cells of a sweep: the protocol, and the worker that is an engine here.

:func:`make_cell` is the one step that all of them share: this cell, with this engine, recorded.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb.engine.health import gpus
from fooocus_nb.engine.jobs.job import observers_of, session_hash_of
from fooocus_nb.engine.portable import make_portable
from fooocus_nb.engine.state import EngineState
from fooocus_nb.engine.submission import check_request, submit_request
from fooocus_nb.errors import (
    ConnectionLost,
    EngineDied,
    EngineError,
    EngineTimeout,
    EngineUnresponsive,
    FooocusError,
    GPUUnusable,
    WorkerDead,
)
from fooocus_nb.experiment.checks import PORTABLE, PRESET, request_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.experiment.attempts import Attempt
    from fooocus_nb.experiment.cells import Cell
    from fooocus_nb.experiment.recorder import Recorder

__all__ = ["NEEDS_RESTART", "EngineWorker", "Task", "Worker", "make_cell", "take_found"]

#: After these errors an engine is of no use before it was restarted.
NEEDS_RESTART = (
    ConnectionLost,
    EngineDied,
    EngineTimeout,
    EngineUnresponsive,
    GPUUnusable,
    WorkerDead,
)
#: How long a GPU's memory is watched until it is free again, and how much has to be.
FREE_SECONDS, FREE_SHARE = 10.0, 0.25
FREE_POLL = 0.5
#: How long an engine may take that comes back by itself.
READY_SECONDS = 300.0


@dataclass(frozen=True)
class Task:
    """One cell to make.

    Attributes
    ----------
    cell : Cell
        What to make.
    number : int
        Its number in the plan of the run.
    find : callable
        Returns an input image by its entry in the cell's values.
    """

    cell: Cell
    number: int
    find: Callable[[Mapping[str, Any]], Any] = field(repr=False, compare=False)


class Worker(Protocol):
    """Who makes cells, one at a time. All calls come from one thread of the runner."""

    @property
    def name(self) -> str:
        """What it is called where it fails."""

    def make(self, task: Task, attempt: Attempt, begun: Callable[[Job | None], None]) -> None:
        """Make a cell and record it in the attempt; raise what went wrong.

        `begun` is called when it has begun, with its job where that is one of this kernel.
        """

    def free_memory(self, *, restart: bool) -> None:
        """Give memory back after running out of it; `restart` where waiting was not enough."""

    def recover(self, error: BaseException) -> None:
        """Recover after an error of NEEDS_RESTART, or raise why that is not possible."""

    def finish(self) -> None:
        """Be again as it was before the sweep."""


def make_cell(
    engine: Engine,
    task: Task,
    attempt: Attempt,
    begun: Callable[[Job | None], None] = lambda job: None,
) -> None:
    """Make one cell with one engine, and record it.

    Parameters
    ----------
    engine : Engine
        Who makes it. Its preset is changed where the cell gives another one.
    task : Task
        The cell.
    attempt : Attempt
        One of :meth:`Recorder.begin`. Whether its images are in the run is told by its manifest.
    begun : callable, optional
        Gets the job.

    Raises
    ------
    FooocusError
        What :meth:`Engine.generate` raises; it is recorded by then, if it was sent.
    """
    preset = task.cell.values.get(PRESET)
    if preset is not None and preset != engine.current_preset:
        engine.preset(preset)
    prompt, given = request_parameters(task.cell, task.find)
    if task.cell.values.get(PORTABLE):
        made = make_portable(engine, prompt, given)
        prompt, given = made.prompt, made.parameters
    # The plan has shown what it warns of, once for all cells.
    request = check_request(engine, prompt, given)
    with attempt.watching():
        job = submit_request(engine, request)
    begun(job)
    job.result()


def take_found(engine: Engine, recorder: Recorder) -> None:
    """Wait for what an earlier kernel had sent for a run, and record it there.

    Else the sweep would make it a second time.
    """
    for job in engine.found_jobs:
        if recorder.has_sent(session_hash_of(job)):
            with contextlib.suppress(FooocusError):  # which is recorded, too
                job.result()
            observers_of(job).tell_late(recorder.observe)


class EngineWorker:
    """An engine of this kernel."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._preset = engine.current_preset

    @property
    def name(self) -> str:
        """The engine's name."""
        return self.engine.name

    def make(self, task: Task, attempt: Attempt, begun: Callable[[Job | None], None]) -> None:
        """Make a cell."""
        make_cell(self.engine, task, attempt, begun)

    def free_memory(self, *, restart: bool) -> None:
        """Wait until the GPU's memory is free again; restart the engine where that is needed.

        Fooocus releases what it holds when the failed generation has ended, and its driver gives
        it back a moment later. Where nothing can be measured there is nothing to wait for.
        """
        deadline = time.monotonic() + FREE_SECONDS
        while not restart and (cards := gpus()):
            if all(card.total - card.used >= card.total * FREE_SHARE for card in cards):
                return
            restart = time.monotonic() > deadline
            time.sleep(FREE_POLL)
        if restart and self.engine.owned:
            self.engine.restart()

    def recover(self, error: BaseException) -> None:
        """Restart the engine if it is ours, or wait for it where it comes back by itself."""
        engine = self.engine
        if engine.state is EngineState.STOPPED:
            raise error  # somebody wanted it to end
        if not engine.owned or engine.restart_policy is not None:
            engine.wait_ready(READY_SECONDS)
        elif engine.state not in (EngineState.READY, EngineState.STARTING) or isinstance(
            error, (GPUUnusable, EngineTimeout, WorkerDead)
        ):
            engine.restart()
        else:
            engine.wait_ready(READY_SECONDS)

    def finish(self) -> None:
        """Load the preset that was there before the sweep."""
        engine = self.engine
        if self._preset is not None and engine.state is EngineState.READY:
            try:
                if engine.current_preset != self._preset:
                    engine.preset(self._preset)
            except EngineError:  # the images are there; the next preset is loaded by name
                return
