"""Engine: one supervised Fooocus process and one client. What users hold."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb._loop import submit
from fooocus_nb.album import Album
from fooocus_nb.catalogues import Catalogues
from fooocus_nb.errors import EngineStopped, IgnoredParameter, warn_user
from fooocus_nb.failures import loss
from fooocus_nb.fooocus.diagnosis import notices
from fooocus_nb.fooocus.request import build_request
from fooocus_nb.guard import guard
from fooocus_nb.job import Job
from fooocus_nb.lifecycle import EngineState, Lifecycle, Transition
from fooocus_nb.living import Living
from fooocus_nb.outputs import Outputs
from fooocus_nb.turns import Turns
from fooocus_nb.verbs import ImageVerbs
from fooocus_nb.views import Views
from fooocus_nb.watch import FAILED, Trouble, Watch
from fooocus_nb.watched import Watched

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from fooocus_nb.child import Child, ChildSettings
    from fooocus_nb.fooocus.client import Client
    from fooocus_nb.fooocus.diagnosis import Notice
    from fooocus_nb.fooocus.parameter import ParameterTable
    from fooocus_nb.fooocus.schema import Schema
    from fooocus_nb.fooocus.startup import Startup
    from fooocus_nb.restarting import RestartPolicy
    from fooocus_nb.results import Result

__all__ = ["Engine", "presenters"]

#: How long an engine may show no sign of life while it generates: neither an event nor a log line.
#: Loading a checkpoint from a slow disk is the longest honest silence that we know.
STALL_TIMEOUT = 900.0


class Engine(ImageVerbs, Catalogues, Living, Turns, Watched, Views):
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
    allow_urls, allow_private_urls : bool
        Whether a picture may be given as a web address, and one of this machine or of a private
        network at that. Default False: nothing is fetched.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: ChildSettings | None = None,
        url: str | None = None,
        output_dir: Path,
        restart: RestartPolicy | None = None,
        avoid: Collection[Path] = (),
    ) -> None:
        self.name = name
        self.owned = settings is not None
        self.stall_timeout = STALL_TIMEOUT
        self.last_result: Result | None = None
        self.allow_urls = self.allow_private_urls = False
        self._settings = settings
        self._url = url
        self._outputs = Outputs(output_dir)
        self._album = Album()
        self._lifecycle = Lifecycle()
        self._child: Child | None = None
        self._connected: Client | None = None
        self._listeners: list[Callable[[str], None]] = []
        self._queue: deque[Job] = deque()
        self._slot = asyncio.Lock()
        self._guarding = threading.RLock()
        self._starting = threading.RLock()
        self._watchers: set[asyncio.Future[None]] = set()
        self._watch = Watch(self, restart)
        self._avoided = set(avoid)
        self._words: set[Path] = set()

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
        return self._schema.version

    @property
    def parameters(self) -> ParameterTable:
        """All that can be set, by name, with types, defaults, choices and ranges."""
        return self._schema.parameters

    @property
    def _schema(self) -> Schema:
        return (self._connected or self._client).schema  # known also when it does not answer

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

    def notices(self) -> tuple[Notice, ...]:
        """Return what the log says that is no failure but worth knowing, such as ignored settings.

        Returns
        -------
        tuple of Notice
            Each with its meaning, what can be done, and the line; of the last 5,000 lines. Before
            them, what of the environment was not handed on to the engine.
        """
        left_out = self._child.left_out if self._child else ()
        return (*left_out, *notices(self.tail(5000)))

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

    # -- generating -------------------------------------------------------------------------

    def submit(self, prompt: str = "", **parameters: Any) -> Job:
        """Hand in a generation and return at once.

        Parameters
        ----------
        prompt : str
            What to draw.
        **parameters
            As :meth:`generate` takes them.

        Returns
        -------
        Job
            Its events and, in the end, its images.

        Raises
        ------
        ParameterError
            When a name, type, choice or range is wrong, or a mask is empty. Nothing has been sent
            then. What is given and has no effect is a warning, :class:`IgnoredParameter`.
        EngineStopped, EngineDied
            When the engine does not run.
        """
        job = self._job(prompt, parameters)
        job._start()
        return job

    def _job(self, prompt: str, parameters: Mapping[str, Any]) -> Job:
        """Return a generation that is not handed in yet."""
        schema = self._client.schema
        request = build_request(schema, prompt, parameters, fetch=self._fetch)
        for text in request.warnings:
            warn_user(text, IgnoredParameter)
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
            What is not given is the server's own default; without a seed we draw one. Beside those,
            ``task=`` is an :class:`~fooocus_nb.Upscale`, ``Vary``, ``Inpaint``, ``Outpaint`` or
            ``EnhanceImage``, ``image_prompts=`` a list of :class:`~fooocus_nb.ImagePrompt`, and
            ``enhance=`` a list of :class:`~fooocus_nb.Enhance`. A picture is a path, bytes, a
            Pillow image, an array or an :class:`~fooocus_nb.Image`.

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
        with contextlib.ExitStack() as stack:

            def show(job: Job) -> None:
                for present in presenters:
                    stack.enter_context(present(job))

            return self._generate(prompt, parameters, show)

    def _generate(
        self, prompt: str, parameters: Mapping[str, Any], show: Callable[[Job], None]
    ) -> Result:
        """Generate and wait; an interrupt stops the generation, whenever it comes."""
        job = self._job(prompt, parameters)
        try:
            job._start()
            show(job)
            return job.result()
        except KeyboardInterrupt:
            if not job._orders.stop_asked:  # it came before the wait, and nobody else has the job
                job._stop_and_wait()
            raise

    async def agenerate(self, prompt: str = "", **parameters: Any) -> Result:
        """Generate images and await them; see :meth:`generate`."""
        return await self.submit(prompt, **parameters)

    # -- for jobs, on the background loop ---------------------------------------------------

    @property
    def _client(self) -> Client:
        client = self._connected
        if self.state in FAILED:
            raise loss(self)
        if client is not None:
            return client
        msg = f"Engine {self.name!r} is {self.state}, so it cannot do this."
        raise EngineStopped(msg, remedy="engine.restart() starts it again.")

    async def _guard(self, work: Awaitable[None], job: Job) -> None:
        """Run `work` until it ends, the engine fails, or nothing has moved for too long."""
        await guard(self, work, job)

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
            self._watch.ail(Trouble.WORKER)
        elif self._child is not None and self._child.device_lost:
            self._watch.ail(Trouble.DEVICE)

    def _alarm(self) -> None:
        """Wake every job that waits, for it to see what has become of the engine."""

        async def ring() -> None:
            for watcher in list(self._watchers):
                if not watcher.done():
                    watcher.set_result(None)

        submit(ring())


#: What shows a job while a plain ``engine.generate()`` waits for it. The magics add theirs.
presenters: list[Callable[[Job], contextlib.AbstractContextManager[object]]] = []
