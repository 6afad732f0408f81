"""The server's regular look at all engines: events, activity and the backstop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING

from fooocus_nb.engine.listing import survey
from fooocus_nb.engine.names import users_in
from fooocus_nb.server.backstop import Backstop, end, is_left_behind
from fooocus_nb.server.server_record import ServerRecord, records_of_dead

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from concurrent.futures import Executor
    from pathlib import Path

    from fooocus_nb.engine.listing import Listed
    from fooocus_nb.server.directory import Directory
    from fooocus_nb.server.events import Changes

__all__ = ["Watch", "is_moving"]

_log = logging.getLogger(__name__)

#: How long a generation may be silent and count as moving: a step of a slow machine takes minutes.
MOVING_SECONDS = 300.0
#: How long the kernels of a server that ends may take; it waits for 5 s itself.
KERNELS_SECONDS = 10.0
#: How long their guardians get then; they need about a second.
GUARDIANS_SECONDS = 3.0
POLL_SECONDS = 0.1


class Watch:
    """Looks at all engines every `interval` seconds, on the event loop of the server."""

    def __init__(
        self,
        directory: Directory,
        backstop: Backstop,
        changes: Changes,
        *,
        pool: Executor,
        interval: float,
        kernels: Callable[[], Collection[str]],
        note_activity: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._backstop = backstop
        self._changes = changes
        self._pool = pool
        self._interval = interval
        self._kernels = kernels
        self._note_activity = note_activity
        self._record = ServerRecord()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look; what servers have left behind that were killed is ended by the way."""
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Look no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        failure = ""
        adopted = False
        while True:
            try:
                if not adopted:
                    await self._adopt()
                    adopted = True
                await self.look()
                failure = ""
            except Exception as error:  # noqa: BLE001 - the next look may go well
                if repr(error) != failure:  # said once, and not with every look
                    _log.warning("a look at the engines failed", exc_info=True)
                failure = repr(error)
            await asyncio.sleep(self._interval)

    async def _adopt(self) -> None:
        """Take over the kernels of servers that were killed."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._pool, records_of_dead)
        for kernels in found.values():
            self._backstop.note_kernels(kernels)
        await loop.run_in_executor(
            self._pool, self._replace, tuple(self._backstop.kernels), tuple(found)
        )

    def _replace(self, kernels: Collection[str], records: Collection[Path]) -> None:
        """Remove records of others once ours has what is in them."""
        if self._record.write(kernels):
            for path in records:
                with contextlib.suppress(OSError):
                    path.unlink()

    async def look(self) -> None:
        """Look once."""
        loop = asyncio.get_running_loop()
        self._backstop.note_kernels(self._kernels())
        kernels = tuple(self._backstop.kernels)
        await loop.run_in_executor(self._pool, self._record.write, kernels)
        found = await self._directory.glance()
        if self._changes.note(found):
            self._directory.forget()  # who is told asks at once, and must not get what was before
        if any(map(is_moving, found)):
            self._note_activity()
        for listed in self._backstop.overdue(found):
            await loop.run_in_executor(self._pool, end, listed)

    def finish(self) -> None:
        """End what the kernels of a server that ends have left behind, once they are gone.

        A server ends its extensions before its kernels, so this goes on beside that, on a thread
        that Python waits for. It takes as long as the kernels and their guardians do.
        """
        self._backstop.note_kernels(self._kernels())
        threading.Thread(target=self._finish, name="fooocus-nb-finish").start()

    def _finish(self) -> None:
        try:
            kernels = self._backstop.kernels
            deadline = time.monotonic() + KERNELS_SECONDS
            while _used_by(kernels, found := survey(probe=False)) and time.monotonic() < deadline:
                threading.Event().wait(POLL_SECONDS)
            deadline = time.monotonic() + GUARDIANS_SECONDS
            while _left(kernels, found) and time.monotonic() < deadline:
                threading.Event().wait(POLL_SECONDS)
                found = survey(probe=False)
            gone = [end(listed) for listed in self._backstop.overdue(found, 0.0)]
            # Else the next server ends it.
            if all(gone) and not _left(kernels, survey(probe=False)):
                self._record.remove()
        except Exception:  # noqa: BLE001 - the server ends all the same
            _log.warning("what the kernels have left behind could not be ended", exc_info=True)


def is_moving(listed: Listed) -> bool:
    """Whether an engine of this machine is at a generation, and says something now and then."""
    said = listed.said
    return (
        listed.entry.elsewhere is None
        and listed.generation is not None
        and said is not None
        and said.silence < MOVING_SECONDS
    )


def _used_by(kernels: Collection[str], found: list[Listed]) -> list[Listed]:
    """Return the engines that kernels of these still use."""
    return [
        listed
        for listed in found
        if listed.entry.elsewhere is None
        and any(user.kernel in kernels and user.runs() for user in users_in(listed.entry.labels))
    ]


def _left(kernels: Collection[str], found: list[Listed]) -> list[Listed]:
    return [listed for listed in found if is_left_behind(listed, kernels)]
