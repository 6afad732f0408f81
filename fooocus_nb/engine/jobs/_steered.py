"""The part of a job that takes orders: stop and skip, from any thread."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from fooocus_nb._background import run_sync
from fooocus_nb.errors import EngineTimeout, FooocusError

if TYPE_CHECKING:
    import concurrent.futures

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.jobs._orders import Orders
    from fooocus_nb.engine.jobs.snapshot import Snapshot
    from fooocus_nb.results import Result

__all__ = ["Steered"]

#: How long a stop or skip may take to be accepted by the server.
CONTROL_TIMEOUT = 5.0
#: How soon a server without a queue begins.
EARLY_SECONDS = 1.0


class Steered:
    """The methods of a job that steer it."""

    engine: Engine
    _began: float | None
    _future: concurrent.futures.Future[Result]
    _orders: Orders
    _runner: asyncio.Task[Any] | None
    _session: str
    _snapshot: Snapshot
    _started: asyncio.Event

    def stop(self) -> None:
        """Stop the generation; the images that are done are kept. Safe from any thread.

        Raises
        ------
        ConnectionLost, EngineTimeout
            When the engine did not take the order.
        """
        self._control("stop")

    def skip(self) -> None:
        """Skip the image in the making and go on with the next. Safe from any thread.

        Raises
        ------
        ConnectionLost, EngineTimeout
            When the engine did not take the order.
        """
        self._control("skip")

    async def astop(self) -> None:
        """Stop the generation; see :meth:`stop`."""
        await asyncio.to_thread(self.stop)

    async def askip(self) -> None:
        """Skip the image in the making; see :meth:`skip`."""
        await asyncio.to_thread(self.skip)

    def _control(self, verb: str) -> None:
        if self._future.done():
            return
        try:
            run_sync(self._order(verb), CONTROL_TIMEOUT)
        except TimeoutError as error:
            msg = f"Engine {self.engine.name!r} did not take the {verb} in {CONTROL_TIMEOUT:g} s."
            raise EngineTimeout(msg) from error

    async def _order(self, verb: str) -> None:
        if self._began is None:
            if verb == "stop":
                self._orders.stop_asked = True
                self._cancel()
            return
        await self._orders.give(verb)
        if verb == "stop" and not self._started.is_set():
            await self._leave_queue()

    async def _leave_queue(self) -> None:
        """Stop while the server has others before us; it has not begun, so nothing is lost."""
        # With nobody before us it begins in a moment, and then the order goes to the generation.
        moment = 0 if self._snapshot.rank else EARLY_SECONDS
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._started.wait(), moment)
            return
        self._cancel()
        # Where we lag behind the server it has begun after all, and would go on without us.
        with contextlib.suppress(FooocusError):
            await self._send_order("stop")

    def _cancel(self) -> None:
        if self._runner is not None:
            self._runner.cancel()

    async def _send_order(self, verb: str) -> None:
        client = self.engine._client
        await (client.stop if verb == "stop" else client.skip)(self._session)
