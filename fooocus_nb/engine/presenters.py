"""What shows the job of a plain ``engine.generate()`` while it is waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable

    from fooocus_nb.engine.jobs.job import Job

__all__ = ["presenters"]

#: Each is called with the job and entered for the time of the wait. The magics add theirs.
presenters: list[Callable[[Job], contextlib.AbstractContextManager[object]]] = []
