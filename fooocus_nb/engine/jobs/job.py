"""One generation: submitted, watched, stopped or skipped, and its images brought home."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from fooocus_nb._background import submit, wait_future
from fooocus_nb.engine.failures import diagnosed, lost_connection, no_images
from fooocus_nb.engine.jobs import records
from fooocus_nb.engine.jobs._orders import Orders
from fooocus_nb.engine.jobs._steered import Steered
from fooocus_nb.engine.jobs.image_collector import Harvest
from fooocus_nb.engine.jobs.job_log import OwnLines
from fooocus_nb.engine.jobs.recovery import Recovery
from fooocus_nb.engine.jobs.snapshot import Snapshot
from fooocus_nb.engine.jobs.stream import Feed
from fooocus_nb.errors import (
    ConnectionLost,
    EngineError,
    EngineTimeout,
    FooocusError,
    GenerationStopped,
)
from fooocus_nb.fooocus.client import new_session_hash
from fooocus_nb.fooocus.events import (
    Event,
    Finished,
    ImageFinished,
    Preview,
    Progress,
    Queued,
    Started,
)
from fooocus_nb.fooocus.logs.diagnosis import diagnose, stopped
from fooocus_nb.results import Result

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
    from pathlib import Path

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.fooocus.requests import Request

__all__ = ["Job"]

#: How long the log may lag behind the reply before we judge a generation by what it says.
LOG_LAG_SECONDS = 1.0
#: How long the images of a generation that failed may take to be found and copied.
RESCUE_SECONDS = 10.0
#: How long it may take to copy what a generation that failed had announced, also from far away.
COPY_SECONDS = 120.0
#: How often an awaiting call wakes the event loop, for an interrupt to get through.
WAKE_SECONDS = 0.1
#: How long an interrupted call waits for the engine to end its current step.
INTERRUPT_TIMEOUT = 30.0


class Job(Steered):
    """A generation that runs in the background.

    Iterate it for its events, await it or call :meth:`result` for its images. Jobs of one
    engine run one after the other, in the order in which they were submitted.

    Parameters
    ----------
    engine : Engine
        Where it runs.
    request : Request
        What to generate, already validated.

    Attributes
    ----------
    engine : Engine
        Where it runs.
    request : Request
        What was asked for.
    log : tuple of str
        The engine's log lines of this generation so far.
    """

    def __init__(self, engine: Engine, request: Request, *, session: str = "") -> None:
        self.engine = engine
        self.request = request
        self._session = session or new_session_hash()
        self._harvest = Harvest(request, self._bring_home)
        self._lock = threading.Lock()
        self._snapshot = Snapshot()
        self._submitted = time.monotonic()
        self._began: float | None = None
        self._ended: float | None = None
        self._feed = Feed()
        self._lines = OwnLines(request.seed)
        self._orders = Orders(self._send_order)
        self._recovery = Recovery(self)
        self._worked_since: float | None = None
        self._last_movement = time.monotonic()
        self._future: concurrent.futures.Future[Result] = concurrent.futures.Future()
        self._future.set_running_or_notify_cancel()  # so that nobody who waits can cancel it

    def _start(self) -> None:
        """Hand it in. Whoever makes a job has it in hand by then, and can stop what has begun."""
        submit(self._run())

    def __repr__(self) -> str:
        return f"<Job on {self.engine.name!r}: {self.snapshot().state}>"

    # -- watching ---------------------------------------------------------------------------

    @property
    def log(self) -> tuple[str, ...]:
        """The engine's log lines of this generation so far, oldest first (the last 2,000)."""
        return tuple(self._lines)

    def snapshot(self) -> Snapshot:
        """Return what the generation looks like now. Cheap, and safe from any thread."""
        with self._lock:
            snapshot, began, ended = self._snapshot, self._began, self._ended
        now = ended or time.monotonic()
        remaining = None
        if began is not None and ended is None and 5 <= snapshot.percent < 100:
            remaining = (now - began) * (100 - snapshot.percent) / snapshot.percent
        return dataclasses.replace(
            snapshot,
            elapsed=now - self._submitted,
            remaining=remaining,
            last_line=self._lines.last,
        )

    @property
    def silence(self) -> float | None:
        """Seconds since the engine last gave a sign of life for it; None unless it runs."""
        if self._began is None or self._ended is not None:
            return None
        return time.monotonic() - self._last_movement

    def subscribe(self, listener: Callable[[Event | None], None]) -> Callable[[], None]:
        """Call `listener` with each event, those of the past first, and None at the end.

        Parameters
        ----------
        listener : callable
            Gets an event, or None when the generation has ended. It is called on the thread that
            talks to the engine, so it must return at once. Previews of the past are left out.

        Returns
        -------
        callable
            Ends the subscription.
        """
        return self._feed.subscribe(listener)

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Iterate the events until the generation has ended.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait for each event; by default as long as it takes.

        Yields
        ------
        Event
            Of the kinds in :mod:`fooocus_nb.fooocus.events`.

        Raises
        ------
        EngineTimeout
            When no event came in time. The generation goes on.
        """
        inbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        unsubscribe = self.subscribe(inbox.put)
        try:
            while True:
                try:
                    event = inbox.get(timeout=timeout)
                except queue.Empty:
                    msg = f"Engine {self.engine.name!r} sent nothing for {timeout:g} s."
                    raise EngineTimeout(msg, log=self.log[-5:]) from None
                if event is None:
                    return
                yield event
        finally:
            unsubscribe()

    __iter__ = events

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate the events, awaiting each."""
        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[Event | None] = asyncio.Queue()

        def pass_on(event: Event | None) -> None:
            loop.call_soon_threadsafe(inbox.put_nowait, event)

        unsubscribe = self.subscribe(pass_on)
        try:
            while (event := await inbox.get()) is not None:
                yield event
        finally:
            unsubscribe()

    # -- waiting ----------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether the generation has ended, well or badly."""
        return self._future.done()

    def exception(self) -> BaseException | None:
        """Return what went wrong, or None while it runs and when all went well."""
        return self._future.exception() if self._future.done() else None

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the images.

        Ctrl-C, or the notebook's stop button, stops the generation and not the engine: the images
        that are done stay in the output folder and in ``engine.last_result``.

        Parameters
        ----------
        timeout : float, optional
            Seconds; by default as long as the engine makes progress.

        Returns
        -------
        Result
            The images, in order.

        Raises
        ------
        GenerationError
            When the engine failed. Its `result` holds the images that were finished before.
        EngineTimeout
            When it is not done in time. The generation goes on.
        """
        try:
            return wait_future(self._future, timeout)
        except TimeoutError as error:
            if self._future.done():
                raise
            msg = f"The generation on engine {self.engine.name!r} is not done after {timeout:g} s."
            raise EngineTimeout(
                msg, log=self.log[-5:], remedy="It goes on: wait again, or call stop()."
            ) from error
        except KeyboardInterrupt:
            self._stop_and_wait()
            raise

    def __await__(self) -> Generator[Any, None, Result]:
        return self._wait().__await__()

    async def _wait(self) -> Result:
        waiter = asyncio.wrap_future(self._future)
        waiter.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            while not waiter.done():
                # ipykernel's way to cancel an interrupted cell does not wake the event loop. One
                # that wakes by itself now and then lets the interrupt through.
                await asyncio.wait({waiter}, timeout=WAKE_SECONDS)
            return waiter.result()
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.to_thread(self._stop_and_wait))
            raise

    def _stop_and_wait(self) -> None:
        """Stop, then give the engine the time to end its step and us to copy what is done."""
        with contextlib.suppress(Exception):
            self.stop()
        with contextlib.suppress(Exception):
            wait_future(self._future, INTERRUPT_TIMEOUT)

    # -- running, on the background loop ----------------------------------------------------

    async def _run(self) -> None:
        try:
            self._future.set_result(await self._outcome())
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is told to who waits
            self._future.set_exception(error)

    async def _outcome(self) -> Result:
        self._started = asyncio.Event()
        # No task of its own for the turn: it would take its place a moment late, behind what was
        # handed in after it.
        self._runner = asyncio.current_task()
        try:
            result = await self._in_turn()
        except asyncio.CancelledError:
            msg = "The generation was stopped while it waited for its turn."
            self._finish("stopped")
            raise GenerationStopped(msg) from None
        except Exception as error:
            if isinstance(error, EngineError) and error.result is None:
                error.result = self._result()
            self._finish("stopped" if isinstance(error, GenerationStopped) else "failed")
            raise
        self._finish("stopped" if result.stopped else "done")
        return result

    async def _in_turn(self) -> Result:
        async with self.engine._turn(self):
            self._begin()
            remove = self.engine._listen(self._take_line)
            forget = self.engine._leave_word(self)
            try:
                await self.engine._guard(self._consume(), self)
                await self._await_log()
                return self._judge()
            except Exception:
                # Whatever went wrong: what is on disk is brought home.
                with contextlib.suppress(Exception):
                    await self._rescue()
                raise
            finally:
                remove()
                forget()
                self.engine.last_result = self._result()
                self.engine._album.add(self.engine.last_result)

    def _begin(self) -> None:
        with self._lock:
            self._began = self._last_movement = time.monotonic()
            self._snapshot = dataclasses.replace(self._snapshot, state="starting", rank=0)

    def _record(self, run_dir: Path) -> Path | None:
        """Write down what is being generated, and return the file."""
        return records.write(
            run_dir, self.request, session=self._session, output_dir=self.engine.output_dir
        )

    def _age(self) -> float:
        """Return how many seconds ago the generation began, as far as is known."""
        return time.monotonic() - (self._worked_since or self._began or self._submitted)

    def _queued(self, rank: int) -> None:
        """Note how many are before it, of ours and of those who share the server."""
        with self._lock:
            changed = rank != self._snapshot.rank or not self._feed
            self._snapshot = dataclasses.replace(self._snapshot, rank=rank)
        if changed:
            self._feed.publish(Queued(rank))

    async def _consume(self) -> None:
        """Take in all that the engine tells, by the wire, and without one by what it leaves."""
        client = self.engine._client
        try:
            await self._follow(client.generate(self.request.values, session_hash=self._session))
        except ConnectionLost as error:
            ended = await lost_connection(self.engine, error)
            if ended is not error or not error.handed_in:
                raise ended from error
            await self._follow(self._recovery.events(error))

    async def _follow(self, stream: AsyncGenerator[Event, None]) -> None:
        async with contextlib.aclosing(stream):
            async for event in stream:
                self._last_movement = time.monotonic()
                await self._handle(event)
                if isinstance(event, Progress):
                    with contextlib.suppress(FooocusError):  # it must not cost the images
                        await self._orders.progress()

    async def _handle(self, event: Event) -> None:
        now = self._snapshot
        changes: dict[str, Any] = {}
        match event:
            case Queued(rank=rank) if now.state in ("queued", "starting"):
                changes = {"state": "queued" if rank else "starting", "rank": rank}
            case Started():
                self._started.set()
                changes = {"state": "starting", "rank": 0}
            case Progress():
                self._harvest.note(event.text)
                changes = {
                    "state": "running",
                    "percent": max(now.percent, event.percent)
                    if event.image in (None, now.image)
                    else event.percent,
                    "text": event.text,
                    "step": event.step,
                    "steps": event.steps,
                    "image": event.image or now.image,
                    "images": event.images or now.images,
                }
            case Preview():
                changes = {"preview": event}
            case ImageFinished():
                with contextlib.suppress(ConnectionLost):  # asked for again at the end
                    await self._harvest.take(event.path)
                    self.engine._album.add(self._result())
                changes = {"paths": self._harvest.paths}
            case Finished():
                self._harvest.final = event.paths
                await self._harvest.take_all()
                changes = {"paths": self._harvest.paths}
        with self._lock:
            self._snapshot = dataclasses.replace(self._snapshot, **changes)
        if "rank" in changes:
            self.engine._tell_ranks()
        self._feed.publish(event)

    async def _bring_home(self, server_path: str) -> Path:
        return await self.engine._bring_home(server_path)

    async def _rescue(self) -> None:
        """Bring home what the server announced, and what it finished without telling us."""
        async with asyncio.timeout(COPY_SECONDS):
            await self._harvest.take_all()
        if self._started.is_set():
            async with asyncio.timeout(RESCUE_SECONDS):
                for path in await self._recovery.sweep():
                    await self._harvest.take(path)
            with self._lock:
                self._snapshot = dataclasses.replace(self._snapshot, paths=self._harvest.paths)

    def _take_line(self, text: str) -> None:
        self._lines.feed(text)
        if text == f"[Parameters] Seed = {self.request.seed}":
            self._worked_since = time.monotonic()
        self._last_movement = time.monotonic()

    async def _await_log(self) -> None:
        """Wait until the log of this generation is whole, or long enough."""
        if self.engine.owned and not self._lines.ended.is_set():
            await asyncio.to_thread(self._lines.ended.wait, LOG_LAG_SECONDS)

    # -- judging ----------------------------------------------------------------------------

    def _judge(self) -> Result:
        """Tell a good end from the failures that the server reports as success."""
        result = self._result()
        diagnosis = diagnose(list(self._lines)) if self.engine.owned else None
        if diagnosis is not None and not issubclass(diagnosis.error, GenerationStopped):
            raise diagnosed(self.engine, diagnosis)
        if self._harvest.final or self._orders.given:
            return result
        raise no_images(self)

    def _result(self) -> Result:
        parameters = self._harvest.parameters
        return Result(
            self._harvest.images(),
            elapsed=(self._ended or time.monotonic()) - self._submitted,
            log=self.log,
            parameters=parameters,
            prompt=str(parameters.get("prompt", "")),
            stopped=self._orders.given or stopped(self.log),
            engine=self.engine.name,
        )

    def _finish(self, state: str) -> None:
        with self._lock:
            self._ended = time.monotonic()
            percent = 100 if state == "done" else self._snapshot.percent
            self._snapshot = dataclasses.replace(self._snapshot, state=state, percent=percent)
        self._feed.end()
