"""How far a sweep is, and what people ask of it meanwhile: stop, skip, continue."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fooocus_nb._background import Signal
from fooocus_nb.experiment.identity import short_name, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.experiment.cells import Cell

__all__ = ["ENDED", "CellState", "SweepProgress", "SweepSnapshot"]

#: How many cells that were made are remembered in the order of their coming.
LAST_MADE = 100
#: The states of a cell that are final in one run of a sweep.
ENDED = frozenset({"made", "failed", "skipped"})


@dataclass(frozen=True)
class CellState:
    """One cell, as it is shown.

    Attributes
    ----------
    state : str
        ``waiting``, ``running``, ``made``, ``failed``, ``skipped`` or ``later``.
    label : str
        Where it is on the axes, for people.
    path : Path or None
        Its first image.
    reason : str
        Why it failed.
    """

    state: str
    label: str
    path: Path | None = None
    reason: str = ""


@dataclass(frozen=True)
class SweepSnapshot:
    """A sweep at one moment.

    Attributes
    ----------
    planned, made, failed, skipped, missing : int
        Cells; planned is the sum of the others.
    earlier : int
        How many of those that are made were there before.
    images : int
        How many images were made now.
    state : str
        ``running``, ``stopping``, ``stopped``, ``done`` or ``failed``.
    elapsed : float
        Seconds since it began.
    remaining : float or None
        Seconds that are left; None where nobody can tell.
    running : tuple of (int, Job or None)
        What runs now, with the cell's place; a job where it is one of this kernel.
    states : tuple of str
        The states of all cells.
    """

    planned: int
    made: int
    failed: int
    skipped: int
    missing: int
    earlier: int
    images: int
    state: str
    elapsed: float
    remaining: float | None
    running: tuple[tuple[int, Job | None], ...] = field(default=(), repr=False)
    states: tuple[str, ...] = field(default=(), repr=False)

    @property
    def counts(self) -> str:
        """The numbers, for people."""
        parts = [f"{self.made} of {self.planned} made"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.skipped} skipped"] if self.skipped else []
        return ", ".join(parts)


class SweepProgress:
    """The cells of a sweep and what happens to them. Safe from any thread.

    Parameters
    ----------
    cells : sequence of Cell
        All of them, in the order in which they are shown.
    axes : mapping
        How many places each axis has, by name, in order.
    title, where : str
        What is shown above, and the folder of the run.
    """

    def __init__(
        self, cells: Sequence[Cell], axes: Mapping[str, int], title: str, where: str
    ) -> None:
        self.cells = tuple(cells)
        self.axes = dict(axes)
        self.title = title
        self.where = where
        #: Makes what is left, after a stop; None where nobody can.
        self.resume: Callable[[], object] | None = None
        self._places = {cell.id: place for place, cell in enumerate(self.cells)}
        self._labels = [_label(cell) for cell in self.cells]
        self._states = ["later" if cell.later else "waiting" for cell in self.cells]
        self._paths: list[Path | None] = [None] * len(self.cells)
        self._reasons: dict[int, str] = {}
        self._made_last: list[int] = []
        self._jobs: dict[int, Job | None] = {}
        self._skips: dict[int, Callable[[], None]] = {}
        self._work = [1.0] * len(self.cells)
        self._earlier = 0
        self._images = 0
        self._done_now = 0.0
        self._state = "running"
        self._began: float | None = None
        self._before = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._changed: Signal[int] = Signal("the progress of a sweep")

    # -- looking ----------------------------------------------------------------------------

    def subscribe(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Call `listener` with the place of each cell that changes, -1 for the whole sweep."""
        return self._changed.subscribe(listener)

    def cell(self, place: int) -> CellState:
        """Return a cell as it is shown."""
        with self._lock:
            return CellState(
                self._states[place],
                self._labels[place],
                self._paths[place],
                self._reasons.get(place, ""),
            )

    def states(self) -> tuple[str, ...]:
        """Return the states of all cells."""
        with self._lock:
            return tuple(self._states)

    def newest(self, count: int) -> list[int]:
        """Return the places of the cells that were made last, the oldest of them first."""
        with self._lock:
            return self._made_last[-count:]

    def table(self) -> tuple[str, list[str], list[str]]:
        """Return the last axis, its labels, and those of the rows, where the cells are a table."""
        varied = [name for name, count in self.axes.items() if count > 1]
        if not varied or not self.cells:
            return "", [], []
        last, others = varied[-1], varied[:-1]
        width = self.axes[last]
        cells = self.cells
        rows = [cells[start : start + width] for start in range(0, len(cells), width)]
        columns = [value_text(cell.axes.get(last), 40) for cell in rows[0]]
        labels = []
        for row in rows:
            texts = {
                ", ".join(value_text(cell.axes.get(name), 40) for name in others) for cell in row
            }
            same = [value_text(cell.axes.get(last), 40) for cell in row] == columns
            if not same or len(texts) != 1:
                return "", [], []  # conditions or a sample have left gaps
            labels.append(texts.pop())
        return short_name(last), columns, labels

    def snapshot(self) -> SweepSnapshot:
        """Return what the sweep looks like now."""
        with self._lock:
            count = self._states.count
            made, failed, skipped = count("made"), count("failed"), count("skipped")
            elapsed = self._elapsed()
            return SweepSnapshot(
                planned=len(self.cells),
                made=made,
                failed=failed,
                skipped=skipped,
                missing=len(self.cells) - made - failed - skipped,
                earlier=self._earlier,
                images=self._images,
                state=self._state,
                elapsed=elapsed,
                remaining=self._remaining(elapsed),
                running=tuple(self._jobs.items()),
                states=tuple(self._states),
            )

    def _elapsed(self) -> float:
        return self._before + (time.monotonic() - self._began if self._began is not None else 0.0)

    def _remaining(self, elapsed: float) -> float | None:
        """Return the seconds that are left, by what was done since the beginning."""
        done = self._done_now + sum(
            self._work[place] * min(job.snapshot().percent, 100) / 100
            for place, job in self._jobs.items()
            if job is not None
        )
        left = sum(
            work
            for work, state in zip(self._work, self._states, strict=True)
            if state in ("waiting", "running")
        ) - (done - self._done_now)
        # The share of the first cell alone says little: much of it is loading.
        if self._state not in ("running", "stopping") or self._done_now <= 0 or elapsed <= 0:
            return None
        return max(left, 0.0) * elapsed / done

    # -- what the runner says ---------------------------------------------------------------

    def begin(self, work: Mapping[str, float]) -> None:
        """Start the clock; `work` is how much there is to do for each cell, by id."""
        with self._lock:
            for cell_id, amount in work.items():
                self._work[self._places[cell_id]] = amount
            self._began = time.monotonic()
            self._state = "running"
            self._stop.clear()
        self._changed.emit(-1)

    def known(self, cell_id: str, state: str, path: Path | None = None, reason: str = "") -> None:
        """Take what was there before."""
        place = self._places[cell_id]
        with self._lock:
            self._states[place] = state
            self._paths[place] = path
            if reason:
                self._reasons[place] = reason
            self._earlier += state == "made"

    def running(self, cell_id: str, job: Job | None, skip: Callable[[], None]) -> None:
        """Note that a cell is being made; `skip` notes that somebody skips it."""
        place = self._places[cell_id]
        with self._lock:
            self._states[place] = "running"
            self._jobs[place] = job
            self._skips[place] = skip
            stopping = self._stop.is_set()
        if job is not None:
            job.subscribe(lambda _event: self._changed.emit(place))
            if stopping:  # the stop came while it was submitted
                _on_thread(job.stop)
        self._changed.emit(place)

    def ended(
        self, cell_id: str, state: str, path: Path | None = None, images: int = 0, reason: str = ""
    ) -> None:
        """Note what happened to a cell: a state of ENDED, or ``waiting`` where it is to come."""
        place = self._places[cell_id]
        with self._lock:
            self._jobs.pop(place, None)
            self._skips.pop(place, None)
            self._states[place] = state
            if state == "made":
                self._made_last = [*self._made_last[-LAST_MADE:], place]
                self._paths[place] = path
                self._images += images
            if state in ENDED:
                self._done_now += self._work[place] if state == "made" else 0.0
            if reason:
                self._reasons[place] = reason
            else:
                self._reasons.pop(place, None)
        self._changed.emit(place)

    def finish(self, state: str) -> None:
        """Note how all of it ended: ``done``, ``stopped`` or ``failed``."""
        with self._lock:
            self._before, self._began = self._elapsed(), None
            self._state = state
        self._changed.emit(-1)

    # -- what people ask --------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Stop: what runs is ended, what waits is left for later. Returns at once."""
        with self._lock:
            if self._state != "running":
                return
            self._stop.set()
            self._state = "stopping"
            jobs = list(self._jobs.values())
        self._changed.emit(-1)
        for job in jobs:
            if job is not None:
                _on_thread(job.stop)

    def skip(self, place: int | None = None) -> None:
        """Skip what runs now, or one cell; a cell that waits is left out and nothing is ended."""
        with self._lock:
            if place is not None and self._states[place] == "waiting":
                self._states[place] = "skipped"
            chosen = [one for one in self._jobs if place in (None, one)]
            marks = [self._skips[one] for one in chosen]
            jobs = [self._jobs[one] for one in chosen]
        for mark in marks:  # first, so that its end is written down as what it is
            mark()
        self._changed.emit(-1 if place is None else place)
        for job in jobs:
            if job is not None:
                _on_thread(job.stop)

    def skip_running(self, places: Iterable[int]) -> None:
        """Skip those of the given cells that run now: what was seen, and nothing newer."""
        seen = set(places)
        with self._lock:
            running = [place for place in self._jobs if place in seen]
        for place in running:
            self.skip(place)

    def is_skipped(self, cell_id: str) -> bool:
        """Whether somebody skipped a cell while it waited."""
        with self._lock:
            return self._states[self._places[cell_id]] == "skipped"


def _on_thread(call: Callable[[], Any]) -> None:
    """Call something that may take seconds; what it raises shows in the generation itself."""

    def guarded() -> None:
        with contextlib.suppress(Exception):  # an engine that is gone needs no stop
            call()

    threading.Thread(target=guarded, name="fooocus-nb-sweep-stop", daemon=True).start()


def _label(cell: Cell) -> str:
    axes = ", ".join(
        f"{short_name(name)}={value_text(value, 40)}" for name, value in cell.axes.items()
    )
    return axes or value_text(cell.values.get("prompt", ""), 60) or cell.id[:8]
