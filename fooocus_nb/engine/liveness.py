"""Wait for work on an engine until it ends, the engine fails, or nothing moves for too long."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

from fooocus_nb._background import submit
from fooocus_nb.engine.failures import diagnosed, engine_failure, no_progress, stalled_call
from fooocus_nb.engine.health import PROBE_TIMEOUT
from fooocus_nb.engine.state import FINAL, RUNNING, EngineState, UnresponsiveReason
from fooocus_nb.errors import ConnectionLost, EngineError, GenerationError, GenerationStopped
from fooocus_nb.fooocus.logs.diagnosis import diagnose

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fooocus_nb.engine.lifecycle import EngineLifecycle
    from fooocus_nb.fooocus.logs.diagnosis import Diagnosis

__all__ = ["GENERATING", "REACHABLE", "STALL_TIMEOUT", "Liveness"]

T = TypeVar("T")

#: How long an engine may show no sign of life while it generates: neither an event nor a log line.
#: Loading a checkpoint from a slow disk is the longest honest silence that we know.
STALL_TIMEOUT = 900.0
#: How often to look for a sign of life.
LOOK_SECONDS = 0.5
#: How long a process may take to show that it has ended, once its web server is gone.
DEATH_LAG_SECONDS = 3.0
#: How long the log may lag behind what the server reports.
LOG_LAG_SECONDS = 1.0
#: How long to look there for the reason of a failure; on a busy machine it may take its time.
REASON_LAG_SECONDS = 3.0
#: How long the log has to be quiet before it is judged: a traceback may come in pieces.
LOG_QUIET_SECONDS = 0.1
#: The states in which a generation goes on.
GENERATING = RUNNING
#: Those in which another call goes on: it may be what keeps the web server from answering.
REACHABLE = RUNNING | {EngineState.STARTING, EngineState.UNRESPONSIVE}


class Liveness:
    """Runs work on an engine until it ends, the engine fails, or nothing moves for too long."""

    def __init__(self, lifecycle: EngineLifecycle, stall_timeout: Callable[[], float]) -> None:
        self.stall_timeout = stall_timeout
        self._lifecycle = lifecycle
        self._state = lifecycle.state
        self._alarms: dict[asyncio.Future[None], frozenset[EngineState]] = {}
        lifecycle.alarm.subscribe(self._alarm)

    def failure(self) -> EngineError:
        """Return the error that says why the engine cannot go on."""
        return engine_failure(self._lifecycle.facts())

    async def explain_failure(self) -> EngineError:
        """Return why the engine cannot go on, once its log has had the time to say so.

        The first line of a traceback is enough to know that the worker has ended; by what, its
        last one says, a moment later.
        """
        error = self.failure()
        # Of an engine of somebody else the log alone tells how it has ended.
        by_log = self._lifecycle.logged and not self._lifecycle.owned
        deadline = time.monotonic() + LOG_LAG_SECONDS
        while (by_log or self._lifecycle.reason in FINAL) and time.monotonic() < deadline:
            if self._state.state is not EngineState.UNRESPONSIVE:  # it is being restarted
                return error
            found = diagnose(self._lifecycle.facts().log)
            if found is not None and (by_log or found.because is not None or found.unrecoverable):
                return self.failure()
            await asyncio.sleep(0.05)
        return self.failure() if by_log else error

    def _alarm(self, _: None) -> None:
        """Wake all work that cannot go on in the state that the engine has just entered."""
        if not self._alarms:
            return  # what begins now looks at the state by itself
        entered = self._state.state

        async def ring() -> None:
            for alarm, states in list(self._alarms.items()):
                if entered not in states and not alarm.done():
                    alarm.set_result(None)

        submit(ring())

    async def run(
        self,
        work: Awaitable[T],
        *,
        states: frozenset[EngineState],
        silence: Callable[[], float],
        stalled: Callable[[], EngineError],
    ) -> T:
        """Run work for as long as the engine is in one of `states` and is not silent for too long.

        It is cancelled when the wait for it ends early. An alarm counts although the engine may
        have been restarted by the time that it is heard: what was in flight is lost all the same.
        """
        task = asyncio.ensure_future(work)
        alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        both: set[asyncio.Future[T] | asyncio.Future[None]] = {task, alarm}
        self._alarms[alarm] = states
        try:
            if self._state.state not in states:
                raise self.failure()
            while not task.done():
                await asyncio.wait(both, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if task.done():
                    break
                if alarm.done():
                    raise await self.explain_failure()
                if silence() > self.stall_timeout():
                    raise stalled()
            return await task
        finally:
            del self._alarms[alarm]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def await_failure(self, states: frozenset[EngineState]) -> EngineError | None:
        """Wait a moment for the failure behind a lost connection: mostly, the process has ended."""
        deadline = time.monotonic() + DEATH_LAG_SECONDS
        while self._state.state in states:
            if not self._lifecycle.owned or time.monotonic() > deadline:
                return None
            await asyncio.sleep(0.05)
        return self.failure()

    async def explain_lost_connection(self, error: ConnectionLost) -> EngineError:
        """Return what is behind a connection that a generation has lost, or the error itself."""
        failure = await self.await_failure(GENERATING)
        if failure is not None:
            return failure
        client = self._lifecycle.client
        if client is not None and not await client.healthy(timeout=PROBE_TIMEOUT):
            self._lifecycle.mark_unresponsive(UnresponsiveReason.HTTP)
        if self._state.state is not EngineState.UNRESPONSIVE:
            return error
        return await self.explain_failure()

    async def explain(
        self, error: EngineError, lines: Callable[[], Sequence[str]]
    ) -> EngineError | None:
        """Return what the log says of a failure that the server reported without a reason.

        The log may come a moment later than the report. None where it says nothing, either.
        """
        # A plain EngineError is a refusal of the server; the others are of our own finding.
        reported = type(error) is EngineError or isinstance(error, GenerationError)
        if isinstance(error, ConnectionLost):  # of an engine of ours, its process says more
            reported = not self._lifecycle.owned
        if not (self._lifecycle.logged and reported) or error.log:
            return None
        deadline = time.monotonic() + REASON_LAG_SECONDS
        seen, quiet_since = -1, 0.0
        while True:
            said, now = lines(), time.monotonic()
            if len(said) != seen:
                seen, quiet_since = len(said), now
            if now - quiet_since >= LOG_QUIET_SECONDS or now >= deadline:
                found = diagnose(said)
                if found is not None and not issubclass(found.error, GenerationStopped):
                    return self.diagnosed(found)
            if now >= deadline:
                return None
            await asyncio.sleep(0.05)

    def diagnosed(self, found: Diagnosis) -> EngineError:
        """Return the error that the log explains."""
        return diagnosed(self._lifecycle.facts(), found)

    def stalled_generation(self, said: str) -> EngineError:
        """Note that a generation does not move, and return the error for it."""
        error = no_progress(self._lifecycle.facts(), said, self.stall_timeout())
        if self._lifecycle.owned:
            self._lifecycle.mark_unresponsive(UnresponsiveReason.STALL)
        return error

    def stalled_call(self, verb: str) -> EngineError:
        """Return the error for a call beside the generations that nothing comes of."""
        return stalled_call(self._lifecycle.facts(), verb, self.stall_timeout())
