"""The part of an Engine that looks after itself: its health, its troubles and its restarts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, cast

from fooocus_nb._loop import run_sync
from fooocus_nb.errors import ConfigurationError, EngineTimeout
from fooocus_nb.failures import loss
from fooocus_nb.fooocus.progress import WAITING_FOR_WORKER
from fooocus_nb.health import Health
from fooocus_nb.lifecycle import EngineState
from fooocus_nb.vitals import gpus, take_vitals
from fooocus_nb.watch import FINAL, PROBE_TIMEOUT, Trouble

if TYPE_CHECKING:
    from fooocus_nb.engine import Engine
    from fooocus_nb.restarting import RestartPolicy

__all__ = ["Watched"]

READY_TIMEOUT = 300.0
#: A watch that gives up a restart says so in the history only, so waiting looks for itself.
SLICE_SECONDS = 0.5


class Watched:
    """The methods of an Engine about its health."""

    @property
    def watch_interval(self) -> float:
        """Seconds between two looks of the background watch. Default 5; may be set at any time."""
        return _whole(self)._watch.interval

    @watch_interval.setter
    def watch_interval(self, seconds: float) -> None:
        _whole(self)._watch.interval = _seconds("watch_interval", seconds)

    @property
    def answer_timeout(self) -> float:
        """Seconds that web server and guardian may be silent before the engine is unresponsive.

        Default 10; may be set at any time.
        """
        return _whole(self)._watch.answer_timeout

    @answer_timeout.setter
    def answer_timeout(self, seconds: float) -> None:
        _whole(self)._watch.answer_timeout = _seconds("answer_timeout", seconds)

    @property
    def restart_policy(self) -> RestartPolicy | None:
        """What is done when the engine fails by itself; None is nothing."""
        return _whole(self)._watch.policy

    def health(self) -> Health:
        """Look whether process, guardian, web server and worker are well, and at the memory.

        Returns
        -------
        Health
            True in a condition when the engine can generate. It takes 2 s at the most, and 2 more
            where ``nvidia-smi`` does not answer.
        """
        engine = _whole(self)
        child, client, job = engine._child, engine._connected, engine.current_job
        process = None if child is None else child.alive() and child.exists()
        http = False
        if client is not None and process is not False:
            with contextlib.suppress(TimeoutError):
                http = run_sync(client.healthy(timeout=PROBE_TIMEOUT), PROBE_TIMEOUT + 1)
        vitals = take_vitals(child.pid) if child is not None else None
        return Health(
            state=engine.state,
            process=process,
            http=http,
            worker=_worker_lives(engine),
            queued=len(engine._queue),
            memory=vitals.memory if vitals else None,
            guardian=not child.guardian_stopped() if child is not None and process else None,
            silence=job.silence if job is not None else None,
            available=vitals.available if vitals else None,
            total=vitals.total if vitals else None,
            gpus=gpus() if child is not None else (),
            lost=child.lost if child is not None else 0,
        )

    async def ahealth(self) -> Health:
        """Look whether all is well; see :meth:`health`."""
        return await asyncio.to_thread(self.health)

    def wait_ready(self, timeout: float = READY_TIMEOUT) -> None:
        """Wait until the engine can generate, such as after a restart that it does by itself.

        Parameters
        ----------
        timeout : float
            Seconds to wait at most. Default 300.

        Raises
        ------
        EngineTimeout
            When it is not ready in time.
        EngineError
            When it has failed or was stopped, and nothing restarts it. The subclass and message
            tell why.
        """
        engine = _whole(self)
        changed = threading.Event()
        unsubscribe = engine.subscribe(lambda _: changed.set())
        deadline = time.monotonic() + timeout
        try:
            while engine.state not in (EngineState.READY, EngineState.BUSY):
                left = deadline - time.monotonic()
                if not _may_become_ready(engine):
                    raise loss(engine)
                if left <= 0:
                    msg = (
                        f"Engine {engine.name!r} is not ready after {timeout:g} s: "
                        f"it is {engine.state} ({engine.history[-1].reason})."
                    )
                    raise EngineTimeout(msg, log=engine.tail(5))
                changed.wait(min(left, SLICE_SECONDS))
                changed.clear()
        finally:
            unsubscribe()

    async def await_ready(self, timeout: float = READY_TIMEOUT) -> None:
        """Wait until the engine can generate; see :meth:`wait_ready`."""
        await asyncio.to_thread(self.wait_ready, timeout)


def _whole(part: Watched) -> Engine:
    """Return the engine that these methods are a part of."""
    return cast("Engine", part)


def _seconds(name: str, value: float) -> float:
    """Return a number of seconds, or raise what says that it is none."""
    if isinstance(value, bool) or not value > 0:
        msg = f"{name}={value!r}: give a number of seconds above 0."
        raise ConfigurationError(msg)
    return value


def _worker_lives(engine: Engine) -> bool | None:
    """Tell from the log, and from whether the running generation has been taken up."""
    child, job = engine._child, engine.current_job
    if child is not None and child.worker_dead:
        return False
    useless = (Trouble.STALL, Trouble.DEVICE)
    if engine.state is EngineState.UNRESPONSIVE and engine._watch.trouble in useless:
        return False
    silence = job.silence if job is not None else None
    if job is not None and silence is not None:
        text = job.snapshot().text
        if text.startswith(WAITING_FOR_WORKER):
            return None if silence < engine.stall_timeout else False
        if text:
            return True
    return None if child is None else True


def _may_become_ready(engine: Engine) -> bool:
    if engine.state is EngineState.STARTING or engine._watch.will_restart():
        return True
    ails = engine.state is EngineState.UNRESPONSIVE
    return ails and engine._watch.trouble not in FINAL
