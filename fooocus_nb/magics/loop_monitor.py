"""One line for all the generations of a cell that calls ``engine.generate()`` in a loop."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from IPython.core.getipython import get_ipython

from fooocus_nb.widgets.display_backends import choose_backend
from fooocus_nb.widgets.job_monitor import JobMonitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.widgets.display_backends import DisplayBackend

__all__ = ["LoopMonitor"]


class LoopMonitor:
    """Shows jobs in one place of the cell that runs, and counts them together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cell: str | None = None
        self._place: DisplayBackend | None = None
        self._jobs: list[Job] = []

    @contextlib.contextmanager
    def show(self, job: Job) -> Iterator[None]:
        """Show a job while the block runs, below nothing that its cell showed of others."""
        with self._lock:
            place, jobs = self._take()
        with JobMonitor(job, result=False, backend=place, earlier=jobs):
            yield
        # Not after an error: what is shown of a failure stays.
        with self._lock:
            self._place, self._jobs = place, [*jobs, job]

    def _take(self) -> tuple[DisplayBackend, list[Job]]:
        """Return the cell's place, or a new one where another thread draws in it."""
        cell = _current_cell()
        place, jobs = self._place, self._jobs
        self._place, self._jobs = None, []
        if place is None or cell is None or cell != self._cell:
            place, jobs = choose_backend(buttons=True), []
        self._cell = cell
        return place, jobs


def _current_cell() -> str | None:
    """Return the id of the message that runs this cell; None where there are no cells."""
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return None  # in a terminal, what is printed stays
    parent: dict[str, dict[str, str]] = kernel.get_parent() or {}
    found: str | None = parent.get("header", {}).get("msg_id")
    return found
