"""What shows the job of a plain ``engine.generate()`` while it is waited for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from fooocus_nb.engine.interrupts import interruption, stop_and_wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.results import Result

__all__ = ["presenters", "wait_shown"]

#: Each is called with the job and entered for the time of the wait. The magics add theirs.
presenters: list[Callable[[Job], contextlib.AbstractContextManager[object]]] = []


def wait_shown(job: Job) -> Result:
    """Show a job and wait for it; an interrupt stops it, whenever it comes."""
    with contextlib.ExitStack() as stack:
        waiting = False
        try:
            for present in presenters:
                stack.enter_context(present(job))
            waiting = True  # from here on it stops itself where it is interrupted
            return job.result()
        except KeyboardInterrupt:
            if waiting:
                raise
            stop_and_wait(job.stop, job.result)
            raise interruption(len(job.snapshot().paths), ended=job.done()) from None
