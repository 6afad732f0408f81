"""The life of an engine: started, restarted and stopped, and what is left of it then."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Self, cast

from fooocus_nb._background import run_sync
from fooocus_nb.engine.sharing import Leaving, Sharing, leave
from fooocus_nb.engine.state import EngineState
from fooocus_nb.engine.watchdog import FAILED, JOIN_TIMEOUT
from fooocus_nb.errors import (
    ConnectionLost,
    EngineError,
    EngineStopped,
    EngineTimeout,
    PortTaken,
    StartError,
)
from fooocus_nb.fooocus.client import Client

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from types import TracebackType

    from fooocus_nb.engine.child_process import ChildSettings
    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.watchdog import Watch

__all__ = ["Living"]

CONNECT_TIMEOUT = 20.0
#: A port can be taken between choosing it and binding it; then we choose another.
PORT_ATTEMPTS = 3


class Living(Sharing):
    """The methods of an Engine that begin and end it."""

    _settings: ChildSettings | None
    _connected: Client | None
    _guarding: threading.RLock
    _starting: threading.RLock
    _watch: Watch

    @property
    def _engine(self) -> Engine:
        return cast("Engine", self)

    def _start(
        self, timeout: float | None, on_progress: Callable[[Engine], None] | None = None
    ) -> None:
        """Start the child, or connect to the server, and wait until it can generate."""
        # A start that was ended on another thread has to be through with it.
        if not self._starting.acquire(timeout=JOIN_TIMEOUT):
            msg = f"Engine {self.name!r} is still ending what was started before."
            raise EngineTimeout(msg, remedy="Try again in a moment.")
        try:
            if not self._lifecycle.move(EngineState.STARTING, "starting"):
                msg = f"Engine {self.name!r} is {self._lifecycle.state}, so it cannot be started."
                raise EngineError(msg)
            self._come_up(timeout, on_progress)
        finally:
            self._starting.release()

    def _come_up(
        self,
        timeout: float | None,
        on_progress: Callable[[Engine], None] | None = None,
        *,
        by_itself: bool = False,
    ) -> None:
        try:
            self._open(timeout, on_progress)
            self._engine._adopt_preset()
            if not self._lifecycle.move(EngineState.READY, "ready to generate"):
                msg = f"Engine {self.name!r} was stopped while it started."
                raise EngineStopped(msg)
        except BaseException as error:
            reason = f"could not start: {type(error).__name__}"
            if by_itself and self._lifecycle.move(EngineState.DEAD, reason):
                self._let_go(Leaving.SPARE)
            else:
                self._release(reason, Leaving.SPARE)
            raise
        if self._child is not None:
            # Told at once where it has ended meanwhile.
            self._child.on_exit(functools.partial(self._watch.child_exited, self._child))
        self._watch.begin()
        self._settled_in()

    def _open(
        self,
        timeout: float | None,
        on_progress: Callable[[Engine], None] | None,
        *,
        again: bool = True,
    ) -> None:
        try:
            if self._settings is not None:
                self._spawn(self._settings, timeout, on_progress)
            self._connected = self._connect()
        except EngineError:
            if not again or not self._forsake():
                raise
            self._open(timeout, on_progress, again=False)

    def _connect(self) -> Client:
        url = self._engine.url
        if url is None:
            msg = f"Engine {self.name!r} has no address."
            raise StartError(msg)
        try:
            return run_sync(Client.connect(url, timeout=CONNECT_TIMEOUT), CONNECT_TIMEOUT + 5)
        except ConnectionLost as error:
            # Mostly the child has just ended, which says more.
            if self._child is not None and self._child.ended():
                raise self._child.start_error() from error
            raise

    def _spawn(
        self,
        settings: ChildSettings,
        timeout: float | None,
        on_progress: Callable[[Engine], None] | None,
    ) -> None:
        from fooocus_nb.engine.child_process import Child

        def tick() -> None:
            self._require_starting()
            if on_progress is not None:
                on_progress(self._engine)

        attempts = PORT_ATTEMPTS if settings.port is None else 1
        for attempt in range(1, attempts + 1):
            child = Child(self.name, settings, on_line=self._engine._take_line)
            self._child = child
            try:
                child.start(self._avoided)
                child.wait_ready(timeout, tick)
            except PortTaken:
                if attempt == attempts:
                    raise
                child.leave()
                self._lifecycle.note("its port was taken meanwhile; starting with another one")
            except StartError:
                self._require_starting()  # else it failed because it was stopped
                raise
            else:
                return

    def _require_starting(self) -> None:
        """Raise where the start has been ended meanwhile, also before there was a process."""
        if self._lifecycle.state is not EngineState.STARTING:
            msg = f"Engine {self.name!r} was stopped while it started."
            raise EngineStopped(msg)

    def restart(
        self,
        timeout: float | None = None,
        *,
        on_progress: Callable[[Engine], None] | None = None,
    ) -> None:
        """Stop the engine, whatever its state and whoever uses it, and start it again.

        Parameters
        ----------
        timeout : float, optional
            Seconds without progress after which the start is given up; see
            :func:`fooocus_nb.start`.
        on_progress : callable, optional
            Called with the engine about five times a second while it starts.
        """
        self._end("restarting", Leaving.END)
        self._start(timeout, on_progress)

    def stop(self) -> None:
        """Stop the engine and all that it started. Harmless when it is stopped already.

        One that other kernels use, too, goes on until its last user has gone, unless it is
        detached: that one ends for everybody. One that we only connected to goes on.
        """
        self._end("stopped on request", Leaving.SPARE if self.lifetime == "kernel" else Leaving.END)

    def _end(self, reason: str, how: Leaving) -> None:
        self._watch.end()
        with self._guarding:
            if self._lifecycle.state is not EngineState.STOPPED:
                self._release(reason, how)
        self._watch.join()  # it may have been about to restart the engine

    def _restart_by_itself(self, reason: str) -> None:
        """Restart an engine that has failed, unless somebody has come before."""
        with self._guarding:
            if self._lifecycle.state not in FAILED:
                return
            self._release(reason, Leaving.END)
            self._lifecycle.move(EngineState.STARTING, reason)
        self._come_up(None, by_itself=True)

    def _release(self, reason: str, how: Leaving) -> None:
        self._lifecycle.move(EngineState.STOPPING, reason)
        self._let_go(how)
        self._lifecycle.move(EngineState.STOPPED, reason)

    def _let_go(self, how: Leaving) -> None:
        """End or leave the child, and end every connection and job."""
        if how is Leaving.SPARE and self._settings is not None and self._settings.shared:
            self._stop_own_jobs()
        self._engine._alarm()
        child, client = self._child, self._connected
        self._connected = None
        if client is not None:
            with contextlib.suppress(Exception):
                run_sync(client.aclose(), 5.0)
        if child is not None:
            leave(child, how)

    async def arestart(
        self,
        timeout: float | None = None,
        *,
        on_progress: Callable[[Engine], None] | None = None,
    ) -> None:
        """Restart the engine; see :meth:`restart`."""
        await asyncio.to_thread(self.restart, timeout, on_progress=on_progress)

    async def astop(self) -> None:
        """Stop the engine; see :meth:`stop`."""
        await asyncio.to_thread(self.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.astop()
