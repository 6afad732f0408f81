"""A job: one generation submitted, followed, stopped or skipped, and its images copied."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import queue
import time
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

from fooocus_nb._background import async_twin, await_future, run_sync, submit, wait_future
from fooocus_nb.engine.config import checked_seconds
from fooocus_nb.engine.failures import no_images, not_enhanced
from fooocus_nb.engine.interrupts import interruption, interruption_text, stop_and_wait
from fooocus_nb.engine.jobs.cell_requests import DONE, FAILED, STOPPED
from fooocus_nb.engine.jobs.control import Control
from fooocus_nb.engine.jobs.image_collector import ImageCollector
from fooocus_nb.engine.jobs.job_log import JobLog
from fooocus_nb.engine.jobs.observers import JobFacts, JobObservers, Outcome
from fooocus_nb.engine.jobs.recovery import Recovery
from fooocus_nb.engine.jobs.stream import EventStream
from fooocus_nb.engine.liveness import GENERATING, LOG_LAG_SECONDS
from fooocus_nb.errors import (
    PROCESS_LIMIT,
    ConfigurationError,
    ConnectionLost,
    DiskFull,
    EngineError,
    EngineTimeout,
    FooocusError,
    GenerationError,
    GenerationStopped,
    OutputError,
    is_process_limit,
    show_plainly,
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
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Callable,
        Collection,
        Generator,
        Iterator,
    )
    from pathlib import Path

    from fooocus_nb.engine.core import Engine as Engine
    from fooocus_nb.engine.jobs.context import JobContext
    from fooocus_nb.engine.jobs.stream import Snapshot
    from fooocus_nb.fooocus.requests import Request
    from fooocus_nb.results.file_names import ImageFacts

__all__ = ["Job", "never_begun", "note_never_begun", "observers_of", "session_hash_of"]

_log = logging.getLogger(__name__)

#: By what the server, and so everybody outside of this kernel, knows a job.
_sessions: weakref.WeakKeyDictionary[Job, str] = weakref.WeakKeyDictionary()
#: Those that the engine is known not to have begun with.
_never_begun: weakref.WeakSet[Job] = weakref.WeakSet()
#: Weak also for the observers: they know the engine, which knows the job.
_observers: weakref.WeakKeyDictionary[Job, weakref.ref[JobObservers]] = weakref.WeakKeyDictionary()

#: How long the images of a generation that failed may take to be found and copied.
RESCUE_SECONDS = 10.0
#: How long it may take to copy what a generation that failed had announced, also from far away.
COPY_SECONDS = 120.0
#: How long a stop or skip may take to be accepted by the server.
CONTROL_TIMEOUT = 5.0
#: How soon a server without a queue begins.
EARLY_SECONDS = 1.0


def _without_record(note: Callable[[], None]) -> None:
    """Note the end of a job that has no record."""
    note()


def _keep_record(_note: Callable[[], None]) -> None:
    """Leave a record where it is, and the end unsaid: a later kernel goes on with it."""


def _note_nothing() -> None:
    """Say nothing of how a job has ended."""


class Job:
    """A generation that runs in the background.

    Iterate it for its events, await it or call :meth:`result` for its images. Jobs of one
    engine run one after the other, in the order in which they were submitted.

    Parameters
    ----------
    engine : Engine
        Where it runs.
    request : Request
        What to generate, already validated.
    context : JobContext
        What it needs of the engine.
    session : str, optional
        The session hash of one that runs already.
    waited : float, optional
        How many seconds ago it was submitted.

    Attributes
    ----------
    engine : Engine
        Where it runs.
    request : Request
        What was asked for.
    log : tuple of str
        The engine's log lines of this generation so far.
    """

    #: Whether an earlier kernel has submitted it.
    _earlier_kernels = False

    def __init__(
        self,
        engine: Engine,
        request: Request,
        context: JobContext,
        *,
        session: str = "",
        waited: float = 0.0,
    ) -> None:
        self.engine = engine
        self.request = request
        self._context = context
        self._session = _sessions[self] = session or new_session_hash()
        self._stream = EventStream(waited)
        self._lines = JobLog(request.seed)
        self._collector = ImageCollector(request, self._copy_image)
        self._not_here: list[ImageFinished] = []
        self._control = Control(self._send)
        self._recovery = Recovery(
            request,
            context,
            stream=self._stream,
            lines=self._lines,
            collector=self._collector,
            control=self._control,
            age=self._age,
            taken=self._taken,
        )
        self._runner: asyncio.Task[Any] | None = None
        self._end_record: Callable[[Callable[[], None]], None] = _without_record
        self._result: Result | None = None
        self._future: concurrent.futures.Future[Result] = concurrent.futures.Future()
        self._future.set_running_or_notify_cancel()  # so that nobody who waits can cancel it
        self._observers = JobObservers(
            JobFacts(request, self._session, self._earlier_kernels, context.facts)
        )
        _observers[self] = weakref.ref(self._observers)
        try:
            submit(self._run())
        except KeyboardInterrupt:  # nobody else has the job yet, and it may have begun
            raise self._interrupted() from None

    def __reduce__(self) -> NoReturn:
        msg = (
            f"A job of engine {self.engine.name!r} belongs to this kernel and cannot be pickled. "
            "Its result can: job.result()."
        )
        raise ConfigurationError(msg)

    def __repr__(self) -> str:
        return f"<Job on {self._context.name!r}: {self.snapshot().state}>"

    # -- watching ---------------------------------------------------------------------------

    @property
    def log(self) -> tuple[str, ...]:
        """The engine's log lines of this generation so far, oldest first (the last 2,000)."""
        return tuple(self._lines)

    def snapshot(self) -> Snapshot:
        """Return what the generation looks like now. Cheap, and safe from any thread."""
        return self._stream.snapshot(self._lines.last)

    @property
    def silence(self) -> float | None:
        """Seconds since the engine last gave a sign of life for it; None unless it runs."""
        return self._stream.silence

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
        return self._stream.subscribe(listener)

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
        if timeout is not None:
            timeout = checked_seconds("timeout", timeout, zero=True)
        inbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        unsubscribe = self.subscribe(inbox.put)
        try:
            while True:
                try:
                    event = inbox.get(timeout=timeout)
                except queue.Empty:
                    msg = f"Engine {self._context.name!r} sent nothing for {timeout:g} s."
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

        Ctrl-C, or the notebook's stop button, stops the generation and not the engine. The call
        ends within 10 s with a KeyboardInterrupt that says how many images are done, and whether
        the engine is still busy; these images are in the output folder and in
        ``engine.last_result``.

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
        if timeout is not None:
            timeout = checked_seconds("timeout", timeout, zero=True, endless=True)
        try:
            return wait_future(self._future, timeout)
        except TimeoutError as error:
            if self._future.done():
                raise
            msg = (
                f"The generation on engine {self._context.name!r} is not done after {timeout:g} s."
            )
            raise EngineTimeout(
                msg, log=self.log[-5:], remedy="It goes on: wait again, or call stop()."
            ) from error
        except KeyboardInterrupt:
            raise self._interrupted() from None

    def __await__(self) -> Generator[Any, None, Result]:
        return self._wait().__await__()

    async def _wait(self) -> Result:
        try:
            return await await_future(self._future)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.to_thread(self._stop_and_wait))
            text = interruption_text(len(self._collector.paths), ended=self.done())
            error = asyncio.CancelledError(text)
            show_plainly(error, "python")
            raise error from None

    def _interrupted(self) -> KeyboardInterrupt:
        """Stop after an interrupt, and return what ends the call; a second one ends it at once."""
        with contextlib.suppress(KeyboardInterrupt):
            self._stop_and_wait()
        return interruption(len(self._collector.paths), ended=self.done())

    def _stop_and_wait(self) -> None:
        """Stop, then give the engine the time to end its step and us to copy what is done."""
        stop_and_wait(self.stop, lambda seconds: wait_future(self._future, seconds))
        if not self.done() and self._collector.paths:  # else it was published when it ended
            self._context.publish(self._made())

    # -- control ----------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop the generation; the images that are done are kept. Safe from any thread.

        Raises
        ------
        ConnectionLost, EngineTimeout
            When the engine did not take the command.
        """
        self._give("stop")

    def skip(self) -> None:
        """Skip the image in the making and go on with the next. Safe from any thread.

        Raises
        ------
        ConnectionLost, EngineTimeout
            When the engine did not take the command.
        """
        self._give("skip")

    astop = async_twin(stop)
    askip = async_twin(skip)

    def _give(self, verb: str) -> None:
        if self._future.done():
            return
        try:
            run_sync(self._command(verb), CONTROL_TIMEOUT)
        except TimeoutError as error:
            msg = f"Engine {self._context.name!r} did not take the {verb} in {CONTROL_TIMEOUT:g} s."
            raise EngineTimeout(msg) from error

    async def _command(self, verb: str) -> None:
        if self._stream.began is None:
            if verb == "stop":
                self._control.stop_asked = True
                self._cancel()
            return
        await self._control.command(verb)
        if verb == "stop" and not self._started.is_set():
            await self._leave_queue()

    async def _leave_queue(self) -> None:
        """Stop while the server has others before us; it has not begun, so nothing is lost."""
        # With nobody before us it begins in a moment, and then the stop goes to the generation.
        moment = 0 if self._stream.rank else EARLY_SECONDS
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._started.wait(), moment)
            return
        self._cancel()
        # Where we lag behind the server it has begun after all, and would go on without us.
        with contextlib.suppress(FooocusError):
            await self._send("stop")

    def _cancel(self) -> None:
        if self._runner is not None:
            self._runner.cancel()

    async def _send(self, verb: str) -> None:
        client = self._context.client()
        await (client.stop if verb == "stop" else client.skip)(self._session)

    # -- running, on the background loop ----------------------------------------------------

    async def _run(self) -> None:
        try:
            result = await self._outcome()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is told to who waits
            made = getattr(error, "result", None) or self._result
            await self._record_end(made, error)
            self._future.set_exception(error)
        else:
            await self._record_end(result, None)
            self._future.set_result(result)

    async def _record_end(self, result: Result | None, error: BaseException | None) -> None:
        """Tell the observers how it ended and write it down; who waits is told in any case."""
        for step in (self._tell_observers, self._note_end):
            # A stop that comes now comes too late to matter.
            with contextlib.suppress(asyncio.CancelledError):
                try:
                    await step(result, error)
                except Exception as failure:  # noqa: BLE001 - such as that of a Python that ends
                    _log.warning("the end of a generation could not be recorded: %s", failure)

    async def _tell_observers(self, result: Result | None, error: BaseException | None) -> None:
        """Tell the observers how it ended."""
        outcome = Outcome(result, error, tuple(self._collector.files()), self._collector.dropped)
        await self._observers.ended(outcome)

    async def _note_end(self, made: Result | None, error: BaseException | None) -> None:
        """Write down how it ended, for who goes on with what its notebook had asked for.

        Only then is its record removed: without both it would be taken for one that was never sent.
        """
        if never_begun(self):
            await asyncio.to_thread(self._end_record, _note_nothing)
            return
        stopped = isinstance(error, GenerationStopped) or (made is not None and made.stopped)
        state = STOPPED if stopped else DONE if error is None else FAILED
        images = tuple(made) if made is not None else ()
        end = self._context.cell_requests.end
        note = functools.partial(end, self._session, state, images)
        await asyncio.to_thread(self._end_record, note)

    async def _outcome(self) -> Result:
        self._started = asyncio.Event()
        # No task of its own for the turn: it would take its place a moment late, behind what was
        # submitted after it.
        self._runner = asyncio.current_task()
        try:
            result = await self._in_turn()
        except asyncio.CancelledError:
            msg = "The generation was stopped while it waited for its turn."
            self._stream.finish("stopped")
            raise GenerationStopped(msg) from None
        except Exception as error:
            if isinstance(error, EngineError) and error.result is None:
                error.result = self._result or self._made()
            self._stream.finish("stopped" if isinstance(error, GenerationStopped) else "failed")
            if isinstance(error, RuntimeError) and is_process_limit(error):
                msg = f"The generation could not go on: {error}."
                failure = EngineError(msg, remedy=PROCESS_LIMIT)
                failure.result = self._result or self._made()
                raise failure from error
            raise
        self._stream.finish("stopped" if result.stopped else "done")
        return result

    async def _in_turn(self) -> Result:
        async with self._context.queue.turn(self, self._stream):
            self._stream.begin()
            self._context.sessions[self._session] = self
            unsubscribe = self._context.subscribe_log(self._take_line)
            self._end_record = self._write_record()
            try:
                await self._observers.sending()
                await self._run_with_liveness()
                await self._await_log()
                self._check()
            except Exception as error:
                # Whatever went wrong: what is on disk is copied.
                with contextlib.suppress(Exception):
                    await self._rescue()
                if not isinstance(error, FooocusError):
                    # Such as that of a Python that is ending: it starts no thread any more. The
                    # engine goes on, and a later kernel finds the generation by its record.
                    self._end_record = _keep_record
                raise
            finally:
                self._context.sessions.pop(self._session, None)
                unsubscribe()
                self._result = self._made()
                self._context.publish(self._result)
            return self._result

    async def _run_with_liveness(self) -> None:
        """Run the generation until it ends, the engine fails, or nothing moves for too long."""
        liveness = self._context.liveness
        try:
            await liveness.run(
                self._consume(),
                states=GENERATING,
                silence=lambda: self._stream.silence or 0.0,
                stalled=lambda: liveness.stalled_generation(self._stream.now.text),
            )
        # The server mostly says no reason, or has ended without a word, but its log does.
        except (GenerationError, ConnectionLost) as error:
            if (found := await liveness.explain(error, lambda: self.log)) is not None:
                raise found from error
            raise
        except (DiskFull, OutputError):  # ours; the server would keep the next one waiting
            with contextlib.suppress(Exception):
                await self._send("stop")
            raise

    def _write_record(self) -> Callable[[Callable[[], None]], None]:
        """Write the record for later kernels, and return what notes its end and removes it."""
        return self._context.records.write(
            self.request, session_hash=self._session, output_dir=self._context.outputs.folder
        )

    def _age(self) -> float:
        """Return how many seconds ago the generation began, as far as is known."""
        stream = self._stream
        return time.monotonic() - (self._lines.begun_at or stream.began or stream.submitted)

    def _taken(self) -> Collection[str]:
        """Return the server's names of the images that earlier requests have copied."""
        return self._context.outputs.taken

    async def _consume(self) -> None:
        """Take in all that the engine tells, by the wire, and without one by what it leaves."""
        values = self.request.values
        try:
            await self._follow(self._context.client().generate(values, session_hash=self._session))
        except ConnectionLost as error:
            failure = await self._context.liveness.explain_lost_connection(error)
            if failure is not error or not error.handed_in:
                raise failure from error
            await self._follow(self._recovery.events(error))

    async def _follow(self, events: AsyncGenerator[Event, None]) -> None:
        async with contextlib.aclosing(events):
            async for event in events:
                self._stream.moved()
                await self._handle(event)
                if isinstance(event, Progress):
                    with contextlib.suppress(FooocusError):  # it must not cost the images
                        await self._control.progress()

    async def _handle(self, event: Event) -> None:
        now = self._stream.now
        changes: dict[str, Any] = {}
        match event:
            case Queued(rank=rank) if now.state in ("queued", "starting"):
                changes = {"state": "queued" if rank else "starting", "rank": rank}
            case Started():
                self._started.set()
                changes = {"state": "starting", "rank": 0}
            case Progress():
                self._collector.note(event.text)
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
                try:
                    await self._collector.take(event.path)
                except ConnectionLost:
                    # It is told when it is here: fetched at the end, or found by the recovery.
                    self._not_here.append(event)
                    return
                self._context.add_images(self._collector.images())
                changes = {"paths": self._collector.paths}
            case Finished():
                self._collector.final = event.paths
                await self._collector.take_all()
                self._stream.change(paths=self._collector.paths)
                self._tell_late()
        self._stream.change(**changes)
        if "rank" in changes:
            self._context.queue.tell_ranks()
        self._stream.publish(event)

    def _tell_late(self) -> None:
        """Tell of the images that could not be copied when the server announced them."""
        for event in self._not_here:
            if self._collector.has_copied(event.path):
                self._stream.publish(event)
        self._not_here.clear()

    async def _copy_image(self, server_path: str, facts: ImageFacts) -> Path:
        before = functools.partial(self._observers.image, server_path)
        return await self._context.copy_image(server_path, facts, before)

    async def _rescue(self) -> None:
        """Copy what the server announced, and what it finished without telling us."""
        async with asyncio.timeout(COPY_SECONDS):
            await self._collector.take_all()
        if self._started.is_set():
            async with asyncio.timeout(RESCUE_SECONDS):
                for path in await self._recovery.look_once():
                    await self._collector.take(path)
            self._stream.change(paths=self._collector.paths)

    def _take_line(self, text: str) -> None:
        self._lines.feed(text)
        self._stream.moved()

    async def _await_log(self) -> None:
        """Wait until the log of this generation is whole, or long enough."""
        if self._context.logged and not self._lines.ended.is_set():
            await asyncio.to_thread(self._lines.ended.wait, LOG_LAG_SECONDS)

    # -- its outcome ------------------------------------------------------------------------

    def _check(self) -> None:
        """Tell a good end from the failures that the server reports as success."""
        context, log = self._context, self.log
        answered = bool(self._collector.final)
        diagnosis = diagnose(log, answered=answered) if context.logged else None
        if diagnosis is not None and not issubclass(diagnosis.error, GenerationStopped):
            raise context.liveness.diagnosed(diagnosis)
        if not (self._collector.final or self._control.used):
            raise no_images(context.name, self.engine.url, context.logged, log)
        if self._collector.unchanged and not self._control.used:
            raise not_enhanced(context.name, self.engine.url, context.logged, log)

    def _made(self) -> Result:
        parameters = self._collector.parameters
        return Result(
            self._collector.images(),
            elapsed=self._stream.elapsed,
            log=self.log,
            parameters=parameters,
            prompt=str(parameters.get("prompt", "")),
            stopped=self._control.used or stopped(self.log),
            engine=self._context.name,
        )


def session_hash_of(job: Job) -> str:
    """Return the session hash by which the server knows a job."""
    return _sessions[job]


def observers_of(job: Job) -> JobObservers:
    """Return the observers of a job."""
    found = _observers[job]()
    if found is None:  # a job holds its own
        raise KeyError(job)
    return found


def note_never_begun(job: Job) -> None:
    """Note that the engine has not begun with a job and never will."""
    _never_begun.add(job)


def never_begun(job: Job) -> bool:
    """Whether the engine is known not to have begun with a job, so that it may be sent again."""
    return job in _never_begun
