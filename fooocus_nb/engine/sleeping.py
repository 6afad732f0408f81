"""When an idle engine may sleep: what counts as use of it, and what the user asked for.

An engine that sleeps has no process, so its memory, that of the GPU too, is free. Each kernel says
for itself that it can do without the engine for now; its guardian ends it once all have said so.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil

from fooocus_nb.engine.config import checked_seconds
from fooocus_nb.engine.names import users_in
from fooocus_nb.engine.state import EngineState
from fooocus_nb.supervisor.guardian_handle import read_published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fooocus_nb.engine.child_process import EngineProcess
    from fooocus_nb.engine.queue import JobQueue
    from fooocus_nb.engine.state import StateMachine

__all__ = ["Sleep", "checked_sleep_after"]

#: Over how many seconds the use of processors is measured that shows work without a word.
WORK_SECONDS = 5.0


def checked_sleep_after(value: float | None) -> float | None:
    """Return the seconds of ``sleep_after=``, or raise what says that they are none."""
    if value is None:
        return None
    return checked_seconds("sleep_after", value, more=", or None")


class Sleep:
    """Watches for how long an engine has been idle, and offers to do without it.

    It is idle while nobody of this kernel generates or waits, it neither prints nor works, and
    nobody else is connected to its web server, as a page is that loads or generates.
    """

    def __init__(
        self, state: StateMachine, queue: JobQueue, process: Callable[[], EngineProcess | None]
    ) -> None:
        #: Seconds of idleness after which it may sleep; None never lets it.
        self.after: float | None = None
        self._state = state
        self._queue = queue
        self._process = process
        self._lock = threading.Lock()
        # Held while the guardian is told, so that what is said last holds. Taken before the other.
        self._telling = threading.Lock()
        #: How many are about to use it.
        self._held = 0
        #: The process that we have offered to do without.
        self._offered: EngineProcess | None = None
        #: Whether the user has asked for it, whatever time has passed.
        self._wanted = False
        self._used_at = time.monotonic()

    @property
    def offered(self) -> bool:
        """Whether we have said of the present process that we can do without it."""
        process = self._process()
        return process is not None and self._offered is process

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep it awake while the block runs; what was offered before is not taken back by this."""
        with self._lock:
            self._held += 1
        try:
            yield
        finally:
            with self._lock:
                self._held -= 1
                self._used_at = time.monotonic()

    def ask(self) -> None:
        """Let it sleep now, as soon as all its users do."""
        self._wanted = True
        self._offer()

    def withdraw(self) -> bool:
        """Take back what was offered; False where the engine is on its way to sleep already."""
        self._wanted = False
        with self._telling:
            with self._lock:
                process, self._offered = self._offered, None
            if process is None or process is not self._process():
                return True
            return process.child.spare(spares=False)

    def look(self) -> None:
        """Offer to do without it, or take that back; the watchdog calls this at each look."""
        process = self._process()
        if process is None or (self.after is None and not self._wanted):
            if self.offered:
                self.withdraw()
            return
        process.child.ask_work(WORK_SECONDS)
        if self._used_by_others(process):
            self._used_at = time.monotonic()
        idle = self.after is not None and self._idle_seconds(process) >= self.after
        if idle or self._wanted:
            self._offer()
        elif self.offered:
            self.withdraw()

    def _offer(self) -> None:
        with self._telling:
            with self._lock:
                process = self._process()
                if process is None or self._offered is process or not self._is_free():
                    return
                self._offered = process
            process.child.spare()

    def _is_free(self) -> bool:
        """Whether nobody of this kernel uses it, or is about to."""
        used = self._held or self._queue.jobs or self._queue.busy
        return not used and self._state.state is EngineState.READY

    def _idle_seconds(self, process: EngineProcess) -> float:
        if not self._is_free():
            return 0.0
        worked = process.child.last_work or 0.0
        return time.monotonic() - max(self._used_at, process.tracker.last_movement, worked)

    def started(self) -> None:
        """Begin to count anew, as at each start."""
        self._wanted = False
        self._used_at = time.monotonic()

    def _used_by_others(self, process: EngineProcess) -> bool:
        """Whether anybody but the kernels that use it is connected to its web server."""
        port = process.child.spec.labels.get("port")
        try:
            peers = {
                (connection.raddr.ip, connection.raddr.port)
                for connection in _connections(process.child.pid)
                if connection.status == psutil.CONN_ESTABLISHED
                and connection.laddr.port == port
                and connection.raddr
            }
            if not peers:
                return False
            for pid in _users(process):
                with contextlib.suppress(psutil.NoSuchProcess):
                    peers -= {
                        (connection.laddr.ip, connection.laddr.port)
                        for connection in _connections(pid)
                        if connection.laddr
                    }
        except (psutil.Error, OSError, ValueError):
            return False  # it cannot be seen here
        return bool(peers)


def _users(process: EngineProcess) -> set[int]:
    """Return the process ids of the kernels that use an engine: their watchdogs ask its server."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        labels = read_published(process.run_dir).get("labels", {})
        return {user.pid for user in users_in(labels)}
    return set()


def _connections(pid: int) -> list[Any]:
    process = psutil.Process(pid)
    # Its name since psutil 6, and before.
    find = getattr(process, "net_connections", None) or process.connections
    found: list[Any] = find(kind="tcp")
    return found
