"""The watchdog: looks at an engine every few seconds, so that its state is true without a call.

It emits what it finds, and asks for the restarts that its policy allows. What follows is decided by
the lifecycle.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fooocus_nb._background import Signal
from fooocus_nb.engine.config import checked_seconds
from fooocus_nb.engine.health import PROBE_TIMEOUT, measure_usage, web_server_answers
from fooocus_nb.engine.state import FAILED, RUNNING, EngineState, UnresponsiveReason
from fooocus_nb.errors import ConfigurationError, nearest
from fooocus_nb.fooocus.given import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb.engine.child_process import EngineProcess
    from fooocus_nb.engine.health import ResourceUsage
    from fooocus_nb.engine.state import StateMachine
    from fooocus_nb.fooocus.client import Client

__all__ = ["RestartPolicy", "Restarts", "Watchdog", "restart_policy"]

logger = logging.getLogger(__name__)

#: How often to look.
WATCH_INTERVAL = 5.0
#: How long web server and guardian may leave us without an answer before the engine counts as
#: unresponsive.
ANSWER_TIMEOUT = 10.0
#: A look that comes so late tells of us and not of the engine: the machine slept, or a cell held
#: the interpreter.
LATE_SECONDS = 5.0
#: How long a stop waits for the watchdog's thread: it may be ending what it has just started.
JOIN_TIMEOUT = 30.0

NEVER = "never"
ON_FAILURE = "on-failure"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How an engine that dies, or does not answer any more, is restarted without being asked.

    A generation that was in flight raises all the same, and is never sent again.

    Attributes
    ----------
    limit : int
        How many restarts there may be within `window`; one more failure is final. Default 5.
    window : float
        Seconds that a restart counts. Default 600.
    first_delay : float
        Seconds before the first restart of a window; each further one waits twice as long as the
        one before. Default 1.
    longest_delay : float
        Seconds that a restart waits at most. Default 60.

    Raises
    ------
    ConfigurationError
        When a number is out of range.
    """

    limit: int = 5
    window: float = 600.0
    first_delay: float = 1.0
    longest_delay: float = 60.0

    def __post_init__(self) -> None:
        for name in ("window", "first_delay", "longest_delay"):
            object.__setattr__(self, name, checked_seconds(name, getattr(self, name), zero=True))
        if isinstance(self.limit, bool) or not isinstance(self.limit, int) or self.limit < 1:
            msg = f'limit={shown(self.limit)}: give a whole number from 1 up, or restart="{NEVER}".'
            raise ConfigurationError(msg)

    def delay(self, before: int) -> float | None:
        """Return how long to wait after `before` restarts in the window; None after too many."""
        if before >= self.limit:
            return None
        # A large exponent is no number any more, long after the longest delay.
        return min(self.first_delay * 2.0 ** min(before, 60), self.longest_delay)


def restart_policy(given: RestartPolicy | str | None) -> RestartPolicy | None:
    """Return the policy that ``start(restart=...)`` means; None never restarts."""
    if isinstance(given, RestartPolicy):
        return given
    word = given if isinstance(given, str) else ""
    if given is None or word == NEVER:
        return None
    if word == ON_FAILURE:
        return RestartPolicy()
    hint = nearest(word, (NEVER, ON_FAILURE))
    msg = f'restart={shown(given)}: give "{NEVER}", "{ON_FAILURE}" or a RestartPolicy.{hint}'
    raise ConfigurationError(msg)


class Restarts:
    """Counts the restarts of one engine within the window of its policy."""

    def __init__(self, policy: RestartPolicy) -> None:
        self.policy = policy
        self._times: deque[float] = deque()

    @property
    def count(self) -> int:
        """How many there were within the policy's window."""
        oldest = time.monotonic() - self.policy.window
        while self._times and self._times[0] < oldest:
            self._times.popleft()
        return len(self._times)

    def next_delay(self) -> float | None:
        """Return how many seconds the next one has to wait; None when there were too many."""
        return self.policy.delay(self.count)

    def add(self) -> None:
        """Count one."""
        self._times.append(time.monotonic())


class Watchdog:
    """Looks at one engine, tells of what it finds, and restarts it where its policy says so.

    It has a thread of its own, from the engine's start to its stop, also while it restarts the
    engine. An idle engine costs one small request to its web server, one message to its guardian
    and one look at the process table each time.
    """

    def __init__(
        self,
        name: str,
        policy: RestartPolicy | None,
        state: StateMachine,
        *,
        process: Callable[[], EngineProcess | None],
        client: Callable[[], Client | None],
        restart: Callable[[str], None],
    ) -> None:
        self.answer_timeout = ANSWER_TIMEOUT
        self.policy = policy
        #: Whether other kernels that share the engine wait for a generation of theirs.
        self.others_generate: Callable[[], bool] = lambda: False
        #: The engine's memory, as of the last look.
        self.usage: ResourceUsage | None = None
        #: It cannot generate although its process runs.
        self.unresponsive: Signal[UnresponsiveReason] = Signal("an unresponsive engine")
        #: A look found nothing wrong.
        self.well: Signal[None] = Signal("an engine that is well")
        #: Its process has ended, with a return code where that is known.
        self.exited: Signal[tuple[EngineProcess, int | None]] = Signal("the end of an engine")
        self._name = name
        self._state = state
        self._process = process
        self._client = client
        self._restart = restart
        self._interval = WATCH_INTERVAL
        self._restarts: Restarts | None = None
        self._gave_up = False
        self._failing: dict[UnresponsiveReason, float] = {}
        self._looked = 0.0
        self._wake = threading.Event()
        self._over = threading.Event()
        self._over.set()
        self._thread: threading.Thread | None = None

    @property
    def interval(self) -> float:
        """Seconds between two looks."""
        return self._interval

    @interval.setter
    def interval(self, seconds: float) -> None:
        self._interval = seconds
        self.wake()

    # -- its own thread ---------------------------------------------------------------------

    def begin(self) -> None:
        """Begin to look, unless it is our own thread that has just restarted the engine."""
        self._gave_up = False
        self._failing.clear()
        if not self._over.is_set():
            return
        self._looked = time.monotonic()
        self._restarts = Restarts(self.policy) if self.policy else None
        self._over = threading.Event()
        self._thread = threading.Thread(
            target=self._run,
            args=(self._over,),
            name=f"fooocus-nb-watch-{self._name}",
            daemon=True,
        )
        self._thread.start()

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    def end(self) -> None:
        """Look no more, and restart nothing any more."""
        self._over.set()
        self.wake()

    def join(self) -> None:
        """Wait until the thread has ended, unless it is the one that asks."""
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join(JOIN_TIMEOUT)

    def will_restart(self) -> bool:
        """Whether a failed engine is, or will be, restarted."""
        return self._restarts is not None and not self._gave_up and not self._over.is_set()

    def _run(self, over: threading.Event) -> None:
        while not over.is_set():
            self._wake.wait(self._interval)
            self._wake.clear()
            if over.is_set():
                return
            try:
                self._look()
                self._follow_policy(over)
            except Exception:
                logger.exception("a look at engine %r failed", self._name)

    # -- looking ----------------------------------------------------------------------------

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked > self._interval + LATE_SECONDS:
            self._failing.clear()
        self._looked = now
        if self._state.state not in RUNNING | {EngineState.UNRESPONSIVE}:
            return
        process = self._process()
        if process is not None and not self._process_is_well(process):
            return
        if self._fails(UnresponsiveReason.HTTP, self._http_answers(process)):
            self.unresponsive.emit(UnresponsiveReason.HTTP)
        elif not self._failing:
            self.well.emit(None)

    def _process_is_well(self, process: EngineProcess) -> bool:
        """Look at the process, its memory, its worker and its guardian."""
        if not process.child.alive():
            self.exited.emit((process, process.child.returncode))
            return False
        self.usage = measure_usage(process.child.pid)
        if process.tracker.worker_dead:
            self.unresponsive.emit(UnresponsiveReason.WORKER)
            return False
        if process.tracker.device_lost:
            self.unresponsive.emit(UnresponsiveReason.DEVICE)
            return False
        if not self._fails(UnresponsiveReason.GUARDIAN, self._guardian_answers(process)):
            return True
        if process.child.exists():
            self.unresponsive.emit(UnresponsiveReason.GUARDIAN)
        else:
            self.exited.emit((process, None))
        return False

    def _guardian_answers(self, process: EngineProcess) -> bool:
        if process.guardian_answers():
            return True
        # One that is merely slow, on a machine with too much to do, still drains: that is no
        # reason to give a generation up.
        busy = self._state.state is EngineState.BUSY or self.others_generate()
        return busy and not process.child.guardian_stopped()

    def _fails(self, reason: UnresponsiveReason, well: bool) -> bool:
        """Whether something has not been well for longer than an engine may take to answer."""
        if well:
            self._failing.pop(reason, None)
            return False
        since = self._failing.setdefault(reason, time.monotonic())
        return time.monotonic() - since >= self.answer_timeout

    def _http_answers(self, process: EngineProcess | None) -> bool:
        client = self._client()
        if client is None:  # it is being stopped
            return True
        if self._state.state is not EngineState.BUSY:
            # Where our own event loop does not answer in time, that tells nothing of the engine.
            timeout = min(PROBE_TIMEOUT, self.answer_timeout)
            if web_server_answers(client, timeout, unknown=True):
                return True
            if not self.others_generate():
                return False
        # While it loads a model, Fooocus may leave a request waiting for long. The way to somebody
        # else's server may lead through a proxy; there the generation's own connection tells. The
        # system accepts connections also for one that is stopped.
        return process is None or (not process.child.stopped() and _listens(client.url))

    # -- restarting -------------------------------------------------------------------------

    def _follow_policy(self, over: threading.Event) -> None:
        """Do what a failed engine's policy says; at a dead one without, there is no more to see."""
        state = self._state.state
        if state not in FAILED:
            self._gave_up = False
        elif self._restarts is not None and not self._gave_up:
            self._restart_in_time(self._restarts, over)
        elif state is EngineState.DEAD:
            over.set()

    def _restart_in_time(self, restarts: Restarts, over: threading.Event) -> None:
        policy = restarts.policy
        while self._state.state in FAILED:
            delay, number = restarts.next_delay(), restarts.count + 1
            if delay is None:
                self._gave_up = True
                self._state.note(
                    f"not restarted again: it failed after {policy.limit} restarts "
                    f"within {policy.window:g} s"
                )
                return
            what = f"restart {number} of at most {policy.limit} within {policy.window:g} s"
            self._state.note(f"{what} follows in {delay:g} s")
            if over.wait(delay):
                return
            self._look()  # it may have recovered meanwhile
            if self._state.state not in FAILED:
                return
            restarts.add()
            try:
                self._restart(what)
            except Exception as error:  # noqa: BLE001 - the next attempt, or the end, follows
                if over.is_set():
                    return
                self._state.note(f"{what} failed: {str(error).partition(chr(10))[0]}")


def _listens(url: str) -> bool:
    """Whether anything accepts connections there; also a server that is busy does."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), PROBE_TIMEOUT).close()
    except TimeoutError:
        return True  # a full backlog, or a slow way: no proof of anything
    except OSError:
        return False
    return True
