"""A look at an engine every few seconds, so that its state is true without anybody asking."""

from __future__ import annotations

import contextlib
import enum
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fooocus_nb._loop import run_sync
from fooocus_nb.lifecycle import EngineState
from fooocus_nb.restarting import Restarts
from fooocus_nb.vitals import take_vitals

if TYPE_CHECKING:
    from fooocus_nb.child import Child
    from fooocus_nb.engine import Engine
    from fooocus_nb.restarting import RestartPolicy
    from fooocus_nb.vitals import Vitals

__all__ = ["FINAL", "Trouble", "Watch"]

logger = logging.getLogger(__name__)

#: How often to look.
WATCH_INTERVAL = 5.0
#: How long web server and guardian may leave us without an answer before the engine counts as
#: unresponsive.
ANSWER_TIMEOUT = 10.0
#: How long the web server may take to answer one look.
PROBE_TIMEOUT = 2.0
#: A look that comes so late tells of us and not of the engine: the machine slept, or a cell held
#: the interpreter.
LATE_SECONDS = 5.0
JOIN_TIMEOUT = 30.0
FAILED = frozenset({EngineState.DEAD, EngineState.UNRESPONSIVE})


class Trouble(enum.StrEnum):
    """Why an engine whose process runs cannot generate."""

    DEVICE = "it has lost its GPU"
    GUARDIAN = "its guardian does not answer"
    HTTP = "its web server does not answer"
    STALL = "its generation showed no sign of life"
    WORKER = "its worker thread has ended"


#: From these only a restart helps.
FINAL = frozenset({Trouble.DEVICE, Trouble.WORKER})


class Watch:
    """Looks at one engine, moves its state, and restarts it where its policy says so.

    It has a thread of its own, from the engine's start to its stop, also while it restarts the
    engine. An idle engine costs one small request to its web server, one message to its guardian
    and one look at the process table each time.

    Parameters
    ----------
    engine : Engine
        Whom to watch.
    policy : RestartPolicy or None
        What to do when it fails by itself.

    Attributes
    ----------
    answer_timeout : float
        Seconds that web server and guardian may be silent before the engine is unresponsive.
    trouble : Trouble or None
        What last made it unresponsive.
    vitals : Vitals or None
        Its memory, as of the last look.
    """

    def __init__(self, engine: Engine, policy: RestartPolicy | None) -> None:
        self.answer_timeout = ANSWER_TIMEOUT
        self.policy = policy
        self.trouble: Trouble | None = None
        self.vitals: Vitals | None = None
        self._engine = engine
        self._interval = WATCH_INTERVAL
        self._troubled_since = 0.0
        self._restarts: Restarts | None = None
        self._gave_up = False
        self._failing: dict[Trouble, float] = {}
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
        self._wake.set()

    # -- its own life -----------------------------------------------------------------------

    def begin(self) -> None:
        """Begin to look, unless it is our own thread that has just restarted the engine."""
        self.trouble = None
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
            name=f"fooocus-nb-watch-{self._engine.name}",
            daemon=True,
        )
        self._thread.start()

    def end(self) -> None:
        """Look no more, and restart nothing any more."""
        self._over.set()
        self._wake.set()

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
                self._follow_up(over)
            except Exception:
                logger.exception("a look at engine %r failed", self._engine.name)

    # -- judging ----------------------------------------------------------------------------

    def ail(self, trouble: Trouble) -> None:
        """Note that the engine cannot generate although its process runs."""
        before, self.trouble = self.trouble, trouble  # who hears of the state asks for the reason
        if self._engine._lifecycle.move(EngineState.UNRESPONSIVE, str(trouble)):
            self._troubled_since = time.monotonic()
            self._engine._alarm()
            self._wake.set()
        else:
            self.trouble = before

    def child_exited(self, child: Child, returncode: int | None) -> None:
        """Note that a process has ended by itself."""
        if child is not self._engine._child:
            return  # one before the last restart
        if self._engine._ended_by_others(child):
            return
        how = "with its guardian" if child.guardian_lost else f"with {returncode}"
        if self._engine._lifecycle.move(EngineState.DEAD, f"the process ended {how}"):
            self._engine._alarm()
            self._wake.set()

    def _get_well(self) -> None:
        """Note that a look found nothing wrong."""
        engine, child = self._engine, self._engine._child
        if engine.state is not EngineState.UNRESPONSIVE or engine._slot.locked():
            return
        if self.trouble is Trouble.STALL and (
            child is None or child.last_movement <= self._troubled_since
        ):
            return
        engine._lifecycle.move(
            EngineState.READY, "it answers again", only_from=EngineState.UNRESPONSIVE
        )

    # -- looking ----------------------------------------------------------------------------

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked > self._interval + LATE_SECONDS:
            self._failing.clear()
        self._looked = now
        if self._engine.state not in (
            EngineState.READY,
            EngineState.BUSY,
            EngineState.UNRESPONSIVE,
        ):
            return
        child = self._engine._child
        if child is not None and not self._child_is_well(child):
            return
        if self._fails(Trouble.HTTP, self._http_answers()):
            self.ail(Trouble.HTTP)
        elif not self._failing:
            self._get_well()

    def _child_is_well(self, child: Child) -> bool:
        """Look at the process, its memory, its worker and its guardian."""
        if not child.alive():
            self.child_exited(child, child.returncode)
            return False
        self.vitals = take_vitals(child.pid)
        if child.worker_dead:
            self.ail(Trouble.WORKER)
            return False
        if child.device_lost:
            self.ail(Trouble.DEVICE)
            return False
        if not self._fails(Trouble.GUARDIAN, self._guardian_answers(child)):
            return True
        if child.exists():
            self.ail(Trouble.GUARDIAN)
        else:
            self.child_exited(child, None)
        return False

    def _guardian_answers(self, child: Child) -> bool:
        if child.guardian_answers():
            return True
        # One that is merely slow, on a machine with too much to do, still drains: that is no
        # reason to give a generation up.
        return self._engine.state is EngineState.BUSY and not child.guardian_stopped()

    def _fails(self, trouble: Trouble, well: bool) -> bool:
        """Whether something has not been well for longer than an engine may take to answer."""
        if well:
            self._failing.pop(trouble, None)
            return False
        since = self._failing.setdefault(trouble, time.monotonic())
        return time.monotonic() - since >= self.answer_timeout

    def _http_answers(self) -> bool:
        client = self._engine._connected
        if client is None:  # it is being stopped
            return True
        if self._engine.state is EngineState.BUSY:
            # While it loads a model, Fooocus may leave a request waiting for long. The way to
            # somebody else's server may lead through a proxy; there the generation's own
            # connection tells.
            return self._engine._child is None or _listens(client.url)
        patience = min(PROBE_TIMEOUT, self.answer_timeout)
        with contextlib.suppress(TimeoutError):  # of our own event loop, which tells nothing
            return run_sync(client.healthy(timeout=patience), patience + 1)
        return True

    # -- restarting -------------------------------------------------------------------------

    def _follow_up(self, over: threading.Event) -> None:
        """Do what a failed engine's policy says; at a dead one without, there is no more to see."""
        state = self._engine.state
        if state not in FAILED:
            self._gave_up = False
        elif self._restarts is not None and not self._gave_up:
            self._restart(self._restarts, over)
        elif state is EngineState.DEAD:
            over.set()

    def _restart(self, restarts: Restarts, over: threading.Event) -> None:
        engine, policy = self._engine, restarts.policy
        while engine.state in FAILED:
            delay, number = restarts.next_delay(), restarts.count + 1
            if delay is None:
                self._gave_up = True
                engine._lifecycle.note(
                    f"not restarted again: it failed after {policy.limit} restarts "
                    f"within {policy.window:g} s"
                )
                return
            what = f"restart {number} of at most {policy.limit} within {policy.window:g} s"
            engine._lifecycle.note(f"{what} follows in {delay:g} s")
            if over.wait(delay):
                return
            self._look()  # it may have come to itself meanwhile
            if engine.state not in FAILED:
                return
            restarts.add()
            try:
                engine._restart_by_itself(what)
            except Exception as error:  # noqa: BLE001 - the next attempt, or the end, follows
                if over.is_set():
                    return
                engine._lifecycle.note(f"{what} failed: {str(error).partition(chr(10))[0]}")


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
