"""Engine: one supervised Fooocus process and one client. What users hold."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb._loop import run_sync, submit
from fooocus_nb.errors import EngineStopped, StartError
from fooocus_nb.failures import death, loss, stalled
from fooocus_nb.fooocus.client import Client
from fooocus_nb.fooocus.request import build_request
from fooocus_nb.health import Health, memory_of
from fooocus_nb.job import Job
from fooocus_nb.lifecycle import EngineState, Lifecycle, Transition
from fooocus_nb.outputs import Outputs
from fooocus_nb.views import Views

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import TracebackType

    from fooocus_nb.child import Child, ChildSettings
    from fooocus_nb.fooocus.parameter import ParameterTable
    from fooocus_nb.fooocus.startup import Startup
    from fooocus_nb.results import Result

__all__ = ["Engine", "presenters"]

#: How long an engine may show no sign of life while it generates: neither an event nor a log line.
#: Loading a checkpoint from a slow disk is the longest honest silence that we know.
STALL_TIMEOUT = 900.0
CONNECT_TIMEOUT = 20.0


class Engine(Views):
    """A Fooocus that generates images for this kernel.

    Made by :func:`fooocus_nb.start` and :func:`fooocus_nb.connect`. As a context manager, plain
    or async, it stops at the end of the block.

    Attributes
    ----------
    name : str
        What messages and the magics call it.
    owned : bool
        Whether we started it, and so may stop it and read its log.
    stall_timeout : float
        Seconds without any sign of life after which a generation fails. Default 900.
    last_result : Result or None
        What the last generation brought, also when it failed or was interrupted.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: ChildSettings | None = None,
        url: str | None = None,
        output_dir: Path,
    ) -> None:
        self.name = name
        self.owned = settings is not None
        self.stall_timeout = STALL_TIMEOUT
        self.last_result: Result | None = None
        self._settings = settings
        self._url = url
        self._outputs = Outputs(output_dir)
        self._lifecycle = Lifecycle()
        self._child: Child | None = None
        self._connected: Client | None = None
        self._listeners: list[Callable[[str], None]] = []
        self._watchers: set[asyncio.Future[None]] = set()
        self._queue: deque[Job] = deque()
        self._slot = asyncio.Lock()
        self._guarding = threading.RLock()

    # -- what it is -------------------------------------------------------------------------

    def __repr__(self) -> str:
        where = f" at {self.url}" if self.url else ""
        return f"<Engine {self.name!r}: {self.title}{where}, {self.state}>"

    @property
    def title(self) -> str:
        """What runs, for people: ``Fooocus 2.5.5`` or ``demo engine``."""
        if self._settings is not None and self._settings.installation is None:
            return "demo engine"
        return f"Fooocus {self.version}" if self._connected else "Fooocus"

    @property
    def state(self) -> EngineState:
        """Where the engine is in its life."""
        return self._lifecycle.state

    @property
    def history(self) -> tuple[Transition, ...]:
        """Every change of its state so far, with the time and the reason."""
        return self._lifecycle.history

    @property
    def stage_detail(self) -> str:
        """What the engine does or waits for while it starts, for people."""
        return self._child.detail if self._child else ""

    @property
    def startup(self) -> Startup | None:
        """The stages and downloads of its start; None for an engine that we only connected to."""
        return self._child.startup if self._child else None

    @property
    def pid(self) -> int | None:
        """The engine's process id; None for one that we only connected to."""
        return self._child.pid if self._child else None

    @property
    def url(self) -> str | None:
        """Where its web server answers."""
        return self._child.url if self._child else self._url

    @property
    def version(self) -> str:
        """The version of Fooocus, as its web page says."""
        return self._client.schema.version

    @property
    def parameters(self) -> ParameterTable:
        """All that can be set, by name, with types, defaults, choices and ranges."""
        return self._client.schema.parameters

    @property
    def log_path(self) -> Path | None:
        """The log file; None for an engine that we only connected to."""
        return self._child.log_path if self._child else None

    @property
    def output_dir(self) -> Path:
        """Where the images are copied to."""
        return self._outputs.folder

    def tail(self, n: int = 40) -> list[str]:
        """Return the last log lines.

        Parameters
        ----------
        n : int
            How many at most. Default 40.

        Returns
        -------
        list of str
            Oldest first; empty for an engine that we only connected to.
        """
        return self._child.tail(n) if self._child else []

    def subscribe(self, listener: Callable[[Transition], None]) -> Callable[[], None]:
        """Call `listener` at every change of the engine's state; see :class:`Lifecycle`.

        Parameters
        ----------
        listener : callable
            Gets a :class:`~fooocus_nb.lifecycle.Transition`, on any thread.

        Returns
        -------
        callable
            Ends the subscription.
        """
        return self._lifecycle.subscribe(listener)

    # -- life -------------------------------------------------------------------------------

    def _start(
        self, timeout: float | None, on_progress: Callable[[Engine], None] | None = None
    ) -> None:
        """Start the child, or connect to the server, and wait until it can generate."""
        self._lifecycle.move(EngineState.STARTING, "starting")
        try:
            if self._settings is not None:
                self._spawn(self._settings, timeout, on_progress)
            url = self.url
            if url is None:
                msg = f"Engine {self.name!r} has no address."
                raise StartError(msg)
            self._connected = run_sync(
                Client.connect(url, timeout=CONNECT_TIMEOUT), CONNECT_TIMEOUT + 5
            )
        except BaseException as error:
            self._release(f"could not start: {type(error).__name__}")
            raise
        self._lifecycle.move(EngineState.READY, "ready to generate")

    def _spawn(
        self,
        settings: ChildSettings,
        timeout: float | None,
        on_progress: Callable[[Engine], None] | None,
    ) -> None:
        from fooocus_nb.child import Child

        child = Child(self.name, settings, on_line=self._take_line)
        self._child = child
        child.start()
        child.on_exit(self._child_exited)
        child.wait_ready(timeout, lambda: on_progress(self) if on_progress else None)

    def restart(self, timeout: float | None = None) -> None:
        """Stop the engine, whatever its state, and start it again with the same settings.

        Parameters
        ----------
        timeout : float, optional
            Seconds without progress after which the start is given up; see
            :func:`fooocus_nb.start`.
        """
        self.stop()
        self._start(timeout)

    def stop(self) -> None:
        """Stop the engine and all that it started. Harmless when it is stopped already.

        An engine that we only connected to goes on; we just let go of it.
        """
        with self._guarding:
            if self.state is EngineState.STOPPED:
                return
            self._release("stopped on request")

    def _release(self, reason: str) -> None:
        self._lifecycle.move(EngineState.STOPPING, reason)
        self._alarm()
        child, client = self._child, self._connected
        self._connected = None
        if client is not None:
            with contextlib.suppress(Exception):
                run_sync(client.aclose(), 5.0)
        if child is not None:
            child.stop()
        self._lifecycle.move(EngineState.STOPPED, reason)

    async def arestart(self, timeout: float | None = None) -> None:
        """Restart the engine; see :meth:`restart`."""
        await asyncio.to_thread(self.restart, timeout)

    async def astop(self) -> None:
        """Stop the engine; see :meth:`stop`."""
        await asyncio.to_thread(self.stop)

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.astop()

    # -- health -----------------------------------------------------------------------------

    def health(self) -> Health:
        """Look whether process, web server and worker are well. Takes 2 s at the most."""
        process = self._child.alive() if self._child else None
        client = self._connected
        http = False
        if client is not None and process is not False:
            with contextlib.suppress(TimeoutError):
                http = run_sync(client.healthy(timeout=2.0), 3.0)
        worker = None if self._child is None else not self._child.worker_dead
        return Health(
            state=self.state,
            process=process,
            http=http,
            worker=worker,
            queued=len(self._queue),
            memory=memory_of(self.pid),
        )

    async def ahealth(self) -> Health:
        """Look whether all is well; see :meth:`health`."""
        return await asyncio.to_thread(self.health)

    # -- generating -------------------------------------------------------------------------

    def submit(self, prompt: str = "", **parameters: Any) -> Job:
        """Hand in a generation and return at once.

        Parameters
        ----------
        prompt : str
            What to draw.
        **parameters
            Anything in :attr:`parameters`, by its name.

        Returns
        -------
        Job
            Its events and, in the end, its images.

        Raises
        ------
        ParameterError
            When a name, type, choice or range is wrong. Nothing has been sent then.
        EngineStopped, EngineDied
            When the engine does not run.
        """
        request = build_request(self._client.schema, prompt, parameters)
        return Job(self, request)

    def generate(self, prompt: str = "", **parameters: Any) -> Result:
        """Generate images and wait for them.

        Parameters
        ----------
        prompt : str
            What to draw.
        **parameters
            Anything in :attr:`parameters`, by its name, such as ``seed=7``, ``image_number=2``,
            ``performance="Speed"``, ``aspect_ratio="1152x896"`` or ``loras=[("name", 0.8)]``.
            What is not given is the server's own default; without a seed we draw one.

        Returns
        -------
        Result
            The images; their files are in :attr:`output_dir` already.

        Raises
        ------
        ParameterError
            When a name, type, choice or range is wrong. Nothing has been sent then.
        GenerationError
            When the engine failed, with the cause from its log.
        """
        job = self.submit(prompt, **parameters)
        with contextlib.ExitStack() as stack:
            for present in presenters:
                stack.enter_context(present(job))
            return job.result()

    @property
    def current_job(self) -> Job | None:
        """The job that runs, or is the next to run; None when there is none."""
        jobs = list(self._queue)
        return jobs[0] if jobs else None

    async def agenerate(self, prompt: str = "", **parameters: Any) -> Result:
        """Generate images and await them; see :meth:`generate`."""
        return await self.submit(prompt, **parameters)

    # -- for jobs, on the background loop ---------------------------------------------------

    @property
    def _client(self) -> Client:
        client = self._connected
        if client is not None and self.state is not EngineState.DEAD:
            return client
        if self.state is EngineState.DEAD:
            raise death(self)
        msg = f"Engine {self.name!r} is {self.state}, so it cannot do this."
        raise EngineStopped(msg, remedy="engine.restart() starts it again.")

    @contextlib.asynccontextmanager
    async def _turn(self, job: Job) -> AsyncIterator[None]:
        """Wait for the job's turn; jobs run one by one, so that the log says whose each line is."""
        self._queue.append(job)
        try:
            job._queued(len(self._queue) - 1)
            async with self._slot:
                self._lifecycle.move(EngineState.BUSY, "generating")
                try:
                    yield
                finally:
                    self._lifecycle.move(EngineState.READY, "generation ended")
        finally:
            self._queue.remove(job)
            for rank, waiting in enumerate(self._queue):
                if rank:
                    waiting._queued(rank)

    async def _guard(self, work: Awaitable[None], job: Job) -> None:
        """Run `work` until it ends, the engine dies, or nothing has moved for too long."""
        task = asyncio.ensure_future(work)
        alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers.add(alarm)
        try:
            if self.state in (EngineState.DEAD, EngineState.STOPPING, EngineState.STOPPED):
                raise loss(self)
            while not task.done():
                await asyncio.wait({task, alarm}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
                if task.done():
                    break
                if alarm.done():
                    raise loss(self)
                if time.monotonic() - job._last_movement > self.stall_timeout:
                    raise stalled(self, job)
            await task
        finally:
            self._watchers.discard(alarm)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def _bring_home(self, server_path: str) -> Path:
        """Copy an image of the server into the output folder."""
        local = Path(server_path)
        if self.owned and await asyncio.to_thread(local.is_file):
            return await asyncio.to_thread(self._outputs.copy, local)
        data = await self._client.fetch(server_path)
        return await asyncio.to_thread(self._outputs.write, local.name, data)

    # -- when things go wrong ---------------------------------------------------------------

    def _take_line(self, text: str) -> None:
        for listener in list(self._listeners):
            listener(text)
        if self._child is not None and self._child.worker_dead:
            self._alarm()

    def _child_exited(self, returncode: int | None) -> None:
        if self._lifecycle.move(EngineState.DEAD, f"the process ended with {returncode}"):
            self._alarm()

    def _alarm(self) -> None:
        """Wake every job that waits, for it to see what has become of the engine."""

        async def ring() -> None:
            for watcher in list(self._watchers):
                if not watcher.done():
                    watcher.set_result(None)

        submit(ring())


#: What shows a job while a plain ``engine.generate()`` waits for it. The magics add theirs.
presenters: list[Callable[[Job], contextlib.AbstractContextManager[object]]] = []
