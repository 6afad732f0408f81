"""The lifecycle of an engine: it starts, restarts, sleeps and stops, and reacts to failures."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from fooocus_nb._background import Signal, run_sync
from fooocus_nb.engine.asleep_records import AsleepMarker
from fooocus_nb.engine.failures import RESTART, FailureFacts, engine_failure
from fooocus_nb.engine.interrupts import INTERRUPT_GRACE, start_interruption
from fooocus_nb.engine.log_follower import LogFollower
from fooocus_nb.engine.sharing import Attachment, Release, open_process
from fooocus_nb.engine.sleeping import Sleep
from fooocus_nb.engine.state import FAILED, FINAL, RUNNING, EngineState, UnresponsiveReason
from fooocus_nb.engine.watchdog import JOIN_TIMEOUT, Watchdog
from fooocus_nb.errors import (
    PROCESS_LIMIT,
    ConfigurationError,
    ConnectionLost,
    EngineError,
    EngineStopped,
    EngineTimeout,
    PortTaken,
    StartError,
    is_process_limit,
)
from fooocus_nb.fooocus.client import Client
from fooocus_nb.fooocus.logs.startup import StartupTracker
from fooocus_nb.supervisor.protocol import ASLEEP, STOPPED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence
    from pathlib import Path

    from fooocus_nb.engine.child_process import EngineProcess
    from fooocus_nb.engine.config import ProcessSettings
    from fooocus_nb.engine.queue import JobQueue
    from fooocus_nb.engine.state import StateMachine
    from fooocus_nb.engine.watchdog import RestartPolicy
    from fooocus_nb.fooocus.schema import Schema
    from fooocus_nb.fooocus.transport.login import Login

__all__ = ["READY_TIMEOUT", "EngineLifecycle"]

#: How long the web page of an engine that is ready may take to describe itself.
CONNECT_TIMEOUT = 20.0
CONNECT_ATTEMPTS = 3
CLOSE_TIMEOUT = 5.0
#: A port can be taken between choosing it and binding it; then we choose another.
PORT_ATTEMPTS = 3
#: How long wait_ready() waits by default: a start that loads a checkpoint from a slow disk.
READY_TIMEOUT = 300.0
#: A watchdog that gives up a restart says so in the history only, so waiting looks for itself.
SLICE_SECONDS = 0.5
#: How long an engine that falls asleep may take to be gone, beyond its grace.
FALL_ASLEEP_TIMEOUT = 20.0
WAKING = "The engine was asleep: it is started again"
ASLEEP_REASON = "it was idle: its memory is free, and the next generation starts it again"
#: How much of the log an error is made from.
FAILURE_LINES = 400


class EngineLifecycle:
    """Starts, restarts and stops an engine, and decides what its failures mean.

    Watchdog and process emit events; this decides, and only this writes `process`, `client` and
    `tracker`. `settings` is None for an engine that we only connect to, at `url`; its log is known
    where `log_file` is given.
    """

    # The order of the locks, from the one that is taken first:
    #   0. `_waking`: held by one of those that want an engine that sleeps, through its start.
    #   1. `_starting`: held through a whole start. A stop does not wait for it: it moves the state,
    #      which the start notices at its next tick, and releases what it has.
    #   2. `_guarding`: held while something is released, so that a stop and a restart by the
    #      watchdog never do it at once. on_progress may call stop() within a start: 1 before 2.
    #   3. the queue's slot, on the background loop: releasing waits for jobs to stop, which hold
    #      it. Whoever holds the slot never waits for 1 or 2.
    # Nobody waits for `_starting` or for the watchdog's thread while holding `_guarding`: the
    # thread itself takes it to restart the engine.

    def __init__(
        self,
        name: str,
        state: StateMachine,
        queue: JobQueue,
        *,
        settings: ProcessSettings | None = None,
        url: str | None = None,
        log_file: Path | None = None,
        restart: RestartPolicy | None = None,
        avoid: Collection[Path] = (),
        logins: Callable[[], Sequence[Login]] = tuple,
    ) -> None:
        self.name = name
        self.state = state
        self.settings = settings
        self.process: EngineProcess | None = None
        self.client: Client | None = None
        self.tracker: StartupTracker | None = None
        #: What last made it unresponsive.
        self.reason: UnresponsiveReason | None = None
        #: Each line of its log that is no redrawn progress bar, on the follower's thread.
        self.lines: Signal[str] = Signal("the engine's log")
        #: The engine has just failed, or is being stopped: nothing in flight can go on.
        self.alarm: Signal[None] = Signal("the engine's failures")
        #: What somebody outside of this kernel asks of it: a verb, and the session it is about.
        self.requests: Signal[tuple[str, str | None]] = Signal("requests to the engine")
        #: What others are told of its process, beside what every process tells.
        self.labels: dict[str, Any] = {}
        #: Called in each start with its new client, before the engine is ready.
        self.on_connected: Callable[[Client], None] = lambda _client: None
        #: Called at the end of each start.
        self.on_started: Callable[[], None] = lambda: None
        self.attachment = Attachment(lambda: self.process)
        self.watchdog = Watchdog(
            name,
            restart,
            state,
            process=lambda: self.process,
            client=lambda: self.client,
            restart=self._restart_by_itself,
        )
        self.watchdog.unresponsive.subscribe(self.mark_unresponsive)
        self.watchdog.exited.subscribe(lambda event: self._exited(*event))
        self.watchdog.well.subscribe(lambda _: self.mark_recovered())
        #: When it may sleep.
        self.sleep = Sleep(state, queue, lambda: self.process)
        self.watchdog.well.subscribe(lambda _: self.sleep.look())
        queue.awake = self.awake
        self._queue = queue
        self._kernel = os.getpid()
        self._url = url
        self._log_file = log_file
        self._follower: LogFollower | None = None
        self._schema: Schema | None = None
        self._marker = AsleepMarker()
        self._avoided = set(avoid)
        # Asked at each start: the checkout's own file may have changed.
        self._logins = logins
        self._unresponsive_since = 0.0
        self._starting = threading.RLock()
        self._waking = threading.Lock()
        self._guarding = threading.RLock()

    @property
    def owned(self) -> bool:
        """Whether it is ours: we start it, and so may stop it and read its log."""
        return self.settings is not None

    @property
    def inherited(self) -> bool:
        """Whether it is the engine of a process that this one is a fork of."""
        return os.getpid() != self._kernel

    def _require_own(self) -> None:
        """Raise in a fork of the kernel, which has its connections and none of its threads."""
        if self.inherited:
            msg = (
                f"Engine {self.name!r} is that of process {self._kernel}, and this is a fork of "
                f"it. To use it from here, connect to it: fooocus_nb.connect({self.url!r})."
            )
            raise ConfigurationError(msg)

    @property
    def logged(self) -> bool:
        """Whether its log is known here."""
        return self.owned or self._log_file is not None

    @property
    def url(self) -> str | None:
        """Where its web server answers; None for one that sleeps."""
        if self.state.state is EngineState.ASLEEP:
            return None
        return process.url if (process := self.process) else self._url

    def tail(self, n: int) -> list[str]:
        """Return the last log lines, oldest first."""
        if (process := self.process) is not None:
            return process.child.tail(n)
        return [] if (follower := self._follower) is None else follower.tail(n)

    def require_client(self) -> Client:
        """Return the client of an engine that can generate, or raise why it cannot."""
        client = self.client
        if self.state.state in FAILED:
            raise engine_failure(self.facts())
        if client is not None:
            return client
        msg = f"Engine {self.name!r} is {self.state.state}, so it cannot do this."
        raise EngineStopped(msg, remedy=RESTART)

    def require_schema(self) -> Schema:
        """Return what is known of its parameters, also of one that sleeps, or raise why not."""
        if self.state.state is EngineState.ASLEEP and self._schema is not None:
            return self._schema
        return self.require_client().schema

    def facts(self) -> FailureFacts:
        """Return what an error says of the engine in its present state."""
        facts = FailureFacts(
            name=self.name,
            state=self.state.state,
            owned=self.owned,
            logged=self.logged,
            url=self.url,
            log=self.tail(FAILURE_LINES),
            reason=self.reason,
            will_restart=self.watchdog.will_restart(),
            answer_timeout=self.watchdog.answer_timeout,
            usage=self.watchdog.usage,
        )
        process = self.process  # a restart on another thread may replace it at any time
        return facts if process is None else facts.with_process(process)

    # -- starting ---------------------------------------------------------------------------

    def start(
        self,
        timeout: float | None,
        on_tick: Callable[[], None] | None = None,
        reason: str = "starting",
    ) -> None:
        """Start the process, or connect to the server, and wait until it can generate."""
        self._require_own()
        # A start that was ended on another thread has to be through with it.
        if not self._starting.acquire(timeout=JOIN_TIMEOUT):
            msg = f"Engine {self.name!r} is still ending what was started before."
            raise EngineTimeout(msg, remedy="Try again in a moment.")
        try:
            if not self.state.move(EngineState.STARTING, reason):
                msg = f"Engine {self.name!r} is {self.state.state}, so it cannot be started."
                raise EngineError(msg)
            self._marker.remove()
            self._run_start(timeout, on_tick)
        finally:
            self._starting.release()

    def _run_start(
        self,
        timeout: float | None,
        on_tick: Callable[[], None] | None = None,
        *,
        by_itself: bool = False,
    ) -> None:
        try:
            self.on_connected(self._open(timeout, on_tick))
            if not self.state.move(EngineState.READY, "ready to generate"):
                msg = f"Engine {self.name!r} was stopped while it started."
                raise EngineStopped(msg)
        except BaseException as error:
            reason = f"could not start: {type(error).__name__}"
            if by_itself and self.state.move(EngineState.DEAD, reason):
                self._discard(Release.UNLESS_SHARED)
            elif isinstance(error, KeyboardInterrupt):
                self._release(reason, Release.UNLESS_SHARED, INTERRUPT_GRACE)
                raise start_interruption(self.name) from None
            else:
                self._release(reason, Release.UNLESS_SHARED)
            self._explain_limit(error)
            raise
        process = self.process
        if process is not None:
            # Told at once where it has ended meanwhile.
            process.child.add_exit_listener(functools.partial(self._exited, process))
        self.reason = None
        self.sleep.started()
        try:
            self.watchdog.begin()
        except RuntimeError as error:
            self._release(f"could not be watched: {error}", Release.UNLESS_SHARED)
            self._explain_limit(error)
            raise
        self.on_started()

    def _explain_limit(self, error: BaseException) -> None:
        """Raise what helps, where there can be no further process or thread."""
        if is_process_limit(error):
            msg = f"Engine {self.name!r} could not be started: {error}."
            raise StartError(msg, remedy=PROCESS_LIMIT) from error

    def _open(
        self, timeout: float | None, on_tick: Callable[[], None] | None, *, again: bool = True
    ) -> Client:
        try:
            if self.settings is not None:
                self._spawn(self.settings, timeout, on_tick)
            self.client = self._connect()
            if self._log_file is not None:
                self._follower = LogFollower(self._log_file, self.lines.emit)
        except EngineError:
            if not again or not self._avoid_unfit():
                raise
            return self._open(timeout, on_tick, again=False)
        return self.client

    def _connect(self) -> Client:
        url, process = self.url, self.process
        if url is None:
            msg = f"Engine {self.name!r} has no address."
            raise StartError(msg)
        # A machine that is busy is no reason to give up an engine that is ready.
        for attempt in range(1, CONNECT_ATTEMPTS + 1):
            try:
                return self._connect_once(url)
            except ConnectionLost as error:
                # Mostly the process has just ended, which says more.
                if process is not None and process.ended():
                    raise process.start_error() from error
                if process is None or not error.timed_out or attempt == CONNECT_ATTEMPTS:
                    raise
                self._require_starting()
        raise AssertionError

    def _connect_once(self, url: str) -> Client:
        connecting = Client.connect(url, timeout=CONNECT_TIMEOUT, logins=self._logins())
        try:
            return run_sync(connecting, CONNECT_TIMEOUT + 5)
        except TimeoutError as error:
            msg = f"The server at {url} could not be asked for its description in time."
            lost = ConnectionLost(msg, remedy="Try again when this machine has less to do.")
            lost.timed_out = True
            raise lost from error

    def _spawn(
        self,
        settings: ProcessSettings,
        timeout: float | None,
        on_tick: Callable[[], None] | None,
    ) -> None:
        def tick() -> None:
            self._require_starting()
            if on_tick is not None:
                on_tick()

        attempts = PORT_ATTEMPTS if settings.port is None else 1
        for attempt in range(1, attempts + 1):
            self.process, self.tracker = None, StartupTracker()
            try:
                process = open_process(
                    self.name, settings, self.tracker, self._take_line, self._avoided
                )
                self.process = process
                process.child.label(**self.labels)
                process.child.add_request_listener(functools.partial(self._take_request, process))
                process.wait_ready(timeout, tick)
            except PortTaken:
                if attempt == attempts or self.process is None:
                    raise
                self.process.release()
                self.state.note("its port was taken meanwhile; starting with another one")
            except StartError:
                self._require_starting()  # else it failed because it was stopped
                raise
            else:
                return

    def _require_starting(self) -> None:
        """Raise where the start has been ended meanwhile, also before there was a process."""
        if self.state.state is not EngineState.STARTING:
            msg = f"Engine {self.name!r} was stopped while it started."
            raise EngineStopped(msg)

    def _avoid_unfit(self) -> bool:
        """Release an engine that we attached to and that is not fit; whether there was one."""
        process = self.process
        if process is None or not process.ready_before:
            return False
        self._avoided.add(process.run_dir)
        self.process = None  # it is nothing of ours any more
        process.release()
        return True

    def _take_line(self, text: str) -> None:
        self.lines.emit(text)
        if self.tracker is not None and self.tracker.worker_dead:
            self.mark_unresponsive(UnresponsiveReason.WORKER)
        elif self.tracker is not None and self.tracker.device_lost:
            self.mark_unresponsive(UnresponsiveReason.DEVICE)

    # -- sleeping ---------------------------------------------------------------------------

    def fall_asleep(self) -> bool:
        """Let an idle engine sleep; False where others that use it keep it awake."""
        self._require_own()
        if self._asleep:
            return True
        if self.settings is None:
            msg = f"Engine {self.name!r} is somebody else's, so it cannot be put to sleep."
            raise ConfigurationError(msg)
        if self.state.state is not EngineState.READY or self._queue.jobs or self._queue.busy:
            msg = f"Engine {self.name!r} is {self.state.state}: only one that is ready can sleep."
            raise EngineError(msg)
        self.sleep.ask()
        process = self.process
        if process is None or process.child.ending is None:
            return False
        self._await_asleep()
        return self._asleep

    @property
    def _asleep(self) -> bool:
        return self.state.state is EngineState.ASLEEP

    def _await_asleep(self) -> None:
        """Wait until an engine that is on its way to sleep does, or is something else."""
        changed = threading.Event()
        unsubscribe = self.state.subscribe(lambda _: changed.set())
        grace = self.settings.grace if self.settings else 0.0
        deadline = time.monotonic() + grace + FALL_ASLEEP_TIMEOUT
        try:
            while self.state.state is EngineState.READY and time.monotonic() < deadline:
                changed.wait(SLICE_SECONDS)
                changed.clear()
        finally:
            unsubscribe()

    @contextlib.asynccontextmanager
    async def awake(self, say: Callable[[str], None]) -> AsyncIterator[None]:
        """Keep the engine awake while the block runs; one that sleeps is started, and `say` told.

        It is called on the background loop, with or without the queue's slot.
        """
        with self.sleep.held():
            if self.sleep.offered or self._asleep:
                say(WAKING)
                await asyncio.to_thread(self.wake)
                say("")
            yield

    def wake(self, timeout: float | None = None) -> None:
        """Start an engine that sleeps, or is about to; harmless for one that is awake."""
        if not self.sleep.withdraw():
            self._await_asleep()
        with self._waking:
            with self._guarding:  # what it was is released by then
                asleep = self._asleep
            if asleep:
                self.start(timeout, reason="it was asleep, and is started again")

    def _note_asleep(self, process: EngineProcess) -> None:
        """Note that an idle engine has ended, as all that use it have agreed."""
        with self._guarding:
            if process is not self.process:
                return
            client = self.client
            self._schema = client.schema if client is not None else self._schema
            self._marker.write(self.name, process)
            if self.state.move(EngineState.ASLEEP, ASLEEP_REASON, only_from=EngineState.READY):
                self._discard(Release.DETACH)
            else:
                self._marker.remove()

    # -- ending -----------------------------------------------------------------------------

    def end(self, reason: str, how: Release) -> None:
        """End it in any state. Harmless when it has ended already, and in a fork of the kernel."""
        if self.inherited:
            return  # such as one that leaves a `with`; the kernel goes on using it
        self.watchdog.end()
        with self._guarding:
            self._marker.remove()
            if self.state.state is not EngineState.STOPPED:
                self._release(reason, how)
        self.watchdog.join()  # it may have been about to restart the engine

    def _restart_by_itself(self, reason: str) -> None:
        """Restart an engine that has failed, unless somebody has come before."""
        with self._guarding:
            if self.state.state not in FAILED:
                return
            self._release(reason, Release.END)
            self.state.move(EngineState.STARTING, reason)
        # Without a lock: a stop must get through to it. The state has it to itself.
        self._run_start(None, by_itself=True)

    def _release(self, reason: str, how: Release, grace: float | None = None) -> None:
        self.state.move(EngineState.STOPPING, reason)
        self._discard(how, grace)
        self.state.move(EngineState.STOPPED, reason)

    def _discard(self, how: Release, grace: float | None = None) -> None:
        """End every job and connection, and release the process."""
        if how is Release.UNLESS_SHARED and self.settings is not None and self.settings.shared:
            # It may go on for others, and must not go on with what was asked for us.
            for job in reversed(self._queue.jobs):
                with contextlib.suppress(Exception):  # the engine may be what is wrong
                    job.stop()
        self.alarm.emit(None)
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.stop()
        client, self.client = self.client, None
        if client is not None:
            with contextlib.suppress(Exception):
                run_sync(client.aclose(), CLOSE_TIMEOUT)
        self.attachment.release(how, grace)

    # -- what happens to it -----------------------------------------------------------------

    def mark_unresponsive(self, reason: UnresponsiveReason) -> None:
        """Note that the engine cannot generate although its process runs."""
        before, self.reason = self.reason, reason  # who hears of the state asks for the reason
        if self.state.move(EngineState.UNRESPONSIVE, str(reason)):
            self._unresponsive_since = time.monotonic()
            if (process := self.process) is not None:
                process.note_failure()
            self.alarm.emit(None)
            self.watchdog.wake()
        else:
            self.reason = before

    def mark_recovered(self) -> None:
        """Note that a look found nothing wrong any more."""
        process = self.process
        if self.state.state is not EngineState.UNRESPONSIVE or self._queue.busy:
            return
        if self.reason is UnresponsiveReason.STALL and (
            process is None or process.tracker.last_movement <= self._unresponsive_since
        ):
            return
        self.state.move(EngineState.READY, "it answers again", only_from=EngineState.UNRESPONSIVE)

    def _exited(self, process: EngineProcess, returncode: int | None) -> None:
        """Note that a process has ended, by itself or by another of its users."""
        if process is not self.process:
            return  # one before the last restart
        if process.child.ending == ASLEEP and self.state.state is EngineState.READY:
            # On a thread of its own: the one that tells of the end must not wait for it.
            threading.Thread(
                target=self._note_asleep, args=(process,), name="fooocus-nb-asleep"
            ).start()
            return
        asked = process.child.ending in (ASLEEP, STOPPED)
        if asked and self.state.state is not EngineState.STARTING:
            if self.state.state not in (EngineState.STOPPING, EngineState.STOPPED):
                # On a thread of its own: the one that tells of the end must not wait for it.
                threading.Thread(target=self._follow_others, name="fooocus-nb-ended").start()
            return
        how = "with its guardian" if process.guardian_lost else f"with {returncode}"
        if self.state.move(EngineState.DEAD, f"the process ended {how}"):
            process.note_failure()
            self.alarm.emit(None)
            self.watchdog.wake()

    def _take_request(self, process: EngineProcess, verb: str, session: str | None) -> None:
        if process is self.process:
            self.requests.emit((verb, session))

    def _follow_others(self) -> None:
        self.end("stopped by another of its users", Release.DETACH)

    # -- waiting ----------------------------------------------------------------------------

    def wait_ready(self, timeout: float) -> None:
        """Wait until the engine can generate, such as after a restart that it does by itself."""
        if self.state.state is EngineState.ASLEEP:
            self.wake(timeout)
        changed = threading.Event()
        unsubscribe = self.state.subscribe(lambda _: changed.set())
        deadline = time.monotonic() + timeout
        try:
            while self.state.state not in RUNNING:
                left = deadline - time.monotonic()
                if not self._may_become_ready():
                    raise engine_failure(self.facts())
                if left <= 0:
                    msg = (
                        f"Engine {self.name!r} is not ready after {timeout:g} s: "
                        f"it is {self.state.state} ({self.state.history[-1].reason})."
                    )
                    raise EngineTimeout(msg, log=self.tail(5))
                changed.wait(min(left, SLICE_SECONDS))
                changed.clear()
        finally:
            unsubscribe()

    def _may_become_ready(self) -> bool:
        state = self.state.state
        if state is EngineState.STARTING or self.watchdog.will_restart():
            return True
        return state is EngineState.UNRESPONSIVE and self.reason not in FINAL
