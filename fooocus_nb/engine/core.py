"""Engine: what users call. It is one supervised Fooocus process and its client."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from fooocus_nb._background import async_twin, twins
from fooocus_nb.engine.config import checked_seconds
from fooocus_nb.engine.facts import EngineFacts, register
from fooocus_nb.engine.free_memory import FreeMemory
from fooocus_nb.engine.health import check_health, worker_alive
from fooocus_nb.engine.image_tasks import ImageTasks
from fooocus_nb.engine.jobs.cell_requests import CellRequests
from fooocus_nb.engine.jobs.context import JobContext
from fooocus_nb.engine.jobs.found_job import FoundJob
from fooocus_nb.engine.jobs.job import Job
from fooocus_nb.engine.jobs.observers import trial_folder
from fooocus_nb.engine.jobs.records import JobRecords
from fooocus_nb.engine.lifecycle import READY_TIMEOUT, EngineLifecycle
from fooocus_nb.engine.liveness import STALL_TIMEOUT, Liveness
from fooocus_nb.engine.names import output_label
from fooocus_nb.engine.page_records import record_page
from fooocus_nb.engine.portable import portable_if_wanted
from fooocus_nb.engine.presenters import presenters, wait_shown
from fooocus_nb.engine.queries import Queries, answer
from fooocus_nb.engine.queue import JobQueue
from fooocus_nb.engine.sharing import Release
from fooocus_nb.engine.sleeping import checked_sleep_after
from fooocus_nb.engine.state import EngineState, StateMachine, UnresponsiveReason
from fooocus_nb.engine.submission import register as register_submission
from fooocus_nb.engine.submission import show_warnings
from fooocus_nb.errors import (
    ConfigurationError,
    FooocusError,
    GenerationError,
)
from fooocus_nb.fooocus.given import count_of
from fooocus_nb.fooocus.logs.diagnosis import notices
from fooocus_nb.fooocus.requests import build_request
from fooocus_nb.fooocus.requests.images import download, refuse_url
from fooocus_nb.fooocus.schema.parameters import Catalogue, plain
from fooocus_nb.results._views import open_gallery, open_log, open_monitor, open_page, open_panel
from fooocus_nb.results.file_names import ImageFacts, image_name
from fooocus_nb.results.history import ImageHistory
from fooocus_nb.results.thumbnails import is_image

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from types import TracebackType

    import PIL.Image

    from fooocus_nb.engine.child_process import EngineProcess
    from fooocus_nb.engine.config import ProcessSettings
    from fooocus_nb.engine.health import Health
    from fooocus_nb.engine.queries import Description, Query
    from fooocus_nb.engine.state import Transition
    from fooocus_nb.engine.watchdog import RestartPolicy
    from fooocus_nb.fooocus.logs.diagnosis import Notice
    from fooocus_nb.fooocus.logs.startup import Startup
    from fooocus_nb.fooocus.metadata import Metadata
    from fooocus_nb.fooocus.requests import Request
    from fooocus_nb.fooocus.schema import Schema
    from fooocus_nb.fooocus.schema.parameters import ParameterDiff, ParameterTable
    from fooocus_nb.fooocus.transport.login import Login
    from fooocus_nb.results import Result
    from fooocus_nb.results._views import EngineMonitor, Gallery, LogView, PageView, Panel
    from fooocus_nb.results.output_folder import OutputFolder

__all__ = ["Engine", "assemble", "presenters"]

_log = logging.getLogger(__name__)


class Engine(ImageTasks):
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
        The result of the last generation, also when it failed or was interrupted.
    allow_urls, allow_private_urls : bool
        Whether an image may be given as a web address, and one of this machine or of a private
        network at that. Default False: nothing is fetched.
    """

    def __init__(
        self,
        lifecycle: EngineLifecycle,
        queue: JobQueue,
        outputs: OutputFolder,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = lifecycle.name
        self.owned = lifecycle.owned
        self.stall_timeout = STALL_TIMEOUT
        self.last_result: Result | None = None
        self.allow_urls = self.allow_private_urls = False
        self._lifecycle = lifecycle
        self._state = lifecycle.state
        self._queue = queue
        self._outputs = outputs
        self._counter = itertools.count(1)  # of the images, for their names
        self._images = ImageHistory()
        self._free_memory = FreeMemory()
        liveness = Liveness(lifecycle, lambda: self.stall_timeout)
        self._queries = Queries(lifecycle, queue, liveness, self._fetch)
        self._records = JobRecords(self._run_dir)
        lifecycle.watchdog.others_generate = self._records.others_generate
        self._cell_requests = CellRequests(self.name, self._run_dir, arguments)
        self._context = JobContext(
            name=self.name,
            owned=self.owned,
            logged=lifecycle.logged,
            outputs=self._outputs,
            queue=queue,
            liveness=liveness,
            records=self._records,
            cell_requests=self._cell_requests,
            client=lifecycle.require_client,
            copy_image=self._copy_image,
            subscribe_log=lifecycle.lines.subscribe,
            temp_dir=lambda: process.temp_dir if (process := self._process) else None,
            add_images=self._images.add,
            publish=self._publish,
            facts=self._facts,
        )
        register_submission(
            self, self._request, self._submit, self._cell_requests, self._outputs.folder
        )
        register(self, self._facts)
        self._found: tuple[FoundJob, ...] = ()
        self._monitor: EngineMonitor | None = None
        lifecycle.on_connected = self._queries.reapply_preset
        lifecycle.on_started = self._find_orphaned_jobs
        lifecycle.labels.update(output_label(outputs.folder))
        lifecycle.requests.subscribe(self._take_request)
        # By the watchdog's looks: not after every generation, and on no thread that one needs.
        lifecycle.watchdog.well.subscribe(lambda _: self._free_memory.release())

    # -- what it is -------------------------------------------------------------------------

    def __repr__(self) -> str:
        where = f" at {self.url}" if self.url else ""
        return f"<Engine {self.name!r}: {self.title}{where}, {self.state}>"

    def __reduce__(self) -> NoReturn:
        where = f"fooocus_nb.connect({self.url!r})" if self.url else "its url"
        msg = (
            f"Engine {self.name!r} belongs to this kernel and cannot be pickled, so not be sent to "
            f"the workers of Dask or joblib. Let each use it by {where}, or generate here and send "
            "the images: they can be pickled."
        )
        raise ConfigurationError(msg)

    @property
    def _process(self) -> EngineProcess | None:
        return self._lifecycle.process

    def _run_dir(self) -> Path | None:
        return process.run_dir if (process := self._process) else None

    @property
    def title(self) -> str:
        """What runs, for people: ``Fooocus 2.5.5`` or ``demo engine``."""
        settings = self._lifecycle.settings
        if settings is not None and settings.installation is None:
            return "demo engine"
        return f"Fooocus {self.version}" if self._lifecycle.client else "Fooocus"

    @property
    def state(self) -> EngineState:
        """The state of the engine."""
        return self._state.state

    @property
    def history(self) -> tuple[Transition, ...]:
        """Every change of its state so far, with the time and the reason."""
        return self._state.history

    @property
    def stage_detail(self) -> str:
        """What the engine does or waits for while it starts, for people."""
        return self._lifecycle.tracker.detail if self._lifecycle.tracker else ""

    @property
    def startup(self) -> Startup | None:
        """The stages and downloads of its start; None for an engine that we only connected to."""
        return self._lifecycle.tracker.startup if self._lifecycle.tracker else None

    @property
    def pid(self) -> int | None:
        """The engine's process id; None for one that sleeps or that we only connected to."""
        if self.state is EngineState.ASLEEP:
            return None
        return process.child.pid if (process := self._process) else None

    @property
    def url(self) -> str | None:
        """Where its web server answers."""
        return self._lifecycle.url

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
        # Known also when it does not answer.
        client = self._lifecycle.client
        return self._lifecycle.require_schema() if client is None else client.schema

    @property
    def log_path(self) -> Path | None:
        """The log file; None for an engine that we only connected to."""
        return process.child.spec.log_path if (process := self._process) else None

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
        return self._lifecycle.tail(count_of("n", n, ConfigurationError))

    def notices(self) -> tuple[Notice, ...]:
        """Return what the log says that is no failure but worth knowing, such as ignored settings.

        Returns
        -------
        tuple of Notice
            Each with its meaning, what can be done, and the line; of the last 5,000 lines. Before
            them, what of the environment was not handed on to the engine.
        """
        left_out = process.left_out if (process := self._process) else ()
        return (*left_out, *notices(self.tail(5000)))

    def subscribe(self, listener: Callable[[Transition], None]) -> Callable[[], None]:
        """Call `listener` at every change of the engine's state; see :attr:`history`.

        Parameters
        ----------
        listener : callable
            Gets a :class:`~fooocus_nb.engine.state.Transition`, on any thread.

        Returns
        -------
        callable
            Ends the subscription.
        """
        return self._state.subscribe(listener)

    # -- starting and ending ----------------------------------------------------------------

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
        if timeout is not None:
            timeout = checked_seconds("timeout", timeout, endless=True)
        self._lifecycle.end("restarting", Release.END)
        on_tick = None if on_progress is None else functools.partial(on_progress, self)
        self._lifecycle.start(timeout, on_tick)

    arestart = async_twin(restart)

    def stop(self) -> None:
        """Stop the engine and all that it started. Harmless when it is stopped already.

        One that other kernels use, too, goes on until its last user has gone, unless it is
        detached: that one ends for everybody. One that we only connected to goes on.
        """
        how = Release.UNLESS_SHARED if self.lifetime == "kernel" else Release.END
        self._lifecycle.end("stopped on request", how)

    astop = async_twin(stop)

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

    @property
    def sleep_after(self) -> float | None:
        """Seconds of idleness after which it sleeps; None never. May be set at any time."""
        return self._lifecycle.sleep.after

    @sleep_after.setter
    def sleep_after(self, seconds: float | None) -> None:
        self._lifecycle.sleep.after = checked_sleep_after(seconds)

    def sleep(self) -> bool:
        """Let an idle engine sleep now: its process ends, and its memory is free, the GPU's too.

        The next generation, or :meth:`wait_ready`, starts it again. It has no async twin: its name
        would read as a state.

        Returns
        -------
        bool
            Whether it sleeps. False where other kernels use it: it sleeps once each of them has
            asked for it, here or by ``start(sleep_after=...)``.

        Raises
        ------
        ConfigurationError
            When we only connected to it.
        EngineError
            When it is not ready, such as in a generation.
        """
        return self._lifecycle.fall_asleep()

    # -- other kernels ----------------------------------------------------------------------

    @property
    def attached(self) -> bool:
        """Whether it ran already, for another kernel or an earlier one, when we started it."""
        return self._lifecycle.attachment.attached

    @property
    def lifetime(self) -> str:  # Lifetime, but that would cost the completion of every name
        """``kernel`` where it ends with its last user, ``detached`` where it goes on without."""
        return self._lifecycle.attachment.lifetime

    @property
    def idle_timeout(self) -> float | None:
        """Seconds that a detached engine may idle without users; None where it is not detached."""
        return self._lifecycle.attachment.idle_timeout

    def detach(self) -> None:
        """Release the engine without stopping it: it is stopped for this kernel alone.

        A detached engine goes on and finishes what it generates; another ends when nobody else
        uses it. ``restart()``, or a later :func:`fooocus_nb.start`, attaches to it again.
        """
        if self._lifecycle.inherited:
            return
        leave_records = self._records.orphan_all()
        self._lifecycle.end("detached", Release.DETACH)
        leave_records()

    adetach = async_twin(detach)

    @property
    def found_jobs(self) -> tuple[FoundJob, ...]:
        """The generations that earlier kernels had left running when we attached to the engine.

        The one that still runs is :attr:`current_job`: it can be watched, stopped and awaited as
        any other. Its images go where its own kernel wanted them.
        """
        return self._found

    def _take_request(self, request: tuple[str, str | None]) -> None:
        """Do what was asked for outside of this kernel, where it listens to no message itself."""
        # On a thread of its own: the one that brings it follows the log.
        threading.Thread(
            target=self._serve_request, args=request, name="fooocus-nb-request", daemon=True
        ).start()

    def _serve_request(self, verb: str, session: str | None) -> None:
        job = self._context.sessions.get(session or "")
        try:
            if verb == "restart":
                self.restart()
            elif job is not None and verb == "stop":
                job.stop()
            elif job is not None and verb == "skip":
                job.skip()
        except FooocusError as error:
            # Whoever asked sees the engine's state; in this kernel nobody waits for an answer.
            _log.warning("a %s that was asked for from outside failed: %s", verb, error)

    def _find_orphaned_jobs(self) -> None:
        """Re-attach to the jobs that were left running in an engine that we attached to."""
        left = self._records.orphaned() if self.attached else []
        self._found = tuple(FoundJob(self, record, self._context) for record in left)

    # -- health -----------------------------------------------------------------------------

    @property
    def watch_interval(self) -> float:
        """Seconds between two looks of the watchdog. Default 5; may be set at any time."""
        return self._lifecycle.watchdog.interval

    @watch_interval.setter
    def watch_interval(self, seconds: float) -> None:
        self._lifecycle.watchdog.interval = checked_seconds("watch_interval", seconds)

    @property
    def answer_timeout(self) -> float:
        """Seconds that web server and guardian may be silent before the engine is unresponsive.

        Default 10; may be set at any time.
        """
        return self._lifecycle.watchdog.answer_timeout

    @answer_timeout.setter
    def answer_timeout(self, seconds: float) -> None:
        self._lifecycle.watchdog.answer_timeout = checked_seconds("answer_timeout", seconds)

    @property
    def restart_policy(self) -> RestartPolicy | None:
        """What is done when the engine fails by itself; None is nothing."""
        return self._lifecycle.watchdog.policy

    def health(self) -> Health:
        """Look whether process, guardian, web server and worker are well, and at the memory.

        Returns
        -------
        Health
            True in a condition when the engine can generate. It takes 2 s at the most, and 2 more
            where ``nvidia-smi`` does not answer.
        """
        job = self.current_job
        silence = job.silence if job is not None else None
        unresponsive = self.state is EngineState.UNRESPONSIVE
        return check_health(
            self.state,
            None if self.state is EngineState.ASLEEP else self._process,
            self._lifecycle.client,
            worker=worker_alive(
                self._process,
                unresponsive
                and self._lifecycle.reason in (UnresponsiveReason.STALL, UnresponsiveReason.DEVICE),
                job.snapshot().text if job is not None else "",
                silence,
                self.stall_timeout,
            ),
            queued=len(self.jobs),
            silence=silence,
        )

    ahealth = async_twin(health)

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
        self._lifecycle.wait_ready(checked_seconds("timeout", timeout, zero=True))

    await_ready = async_twin(wait_ready)

    # -- generating -------------------------------------------------------------------------

    def submit(self, prompt: str = "", **parameters: Any) -> Job:
        """Submit a generation and return at once.

        With ``portable=True`` it returns once the engine has said how the prompt comes out, where
        that depends on this machine: it makes one small image for that.

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
            then. What is given and has no effect is a warning, :class:`IgnoredParameter`; what the
            metadata doesn't tell that the parameters come from is :class:`IncompleteMetadata`.
        EngineStopped, EngineDied
            When the engine does not run.
        OutputError
            When the images could not be copied into :attr:`output_dir`.
        """
        prompt, parameters = portable_if_wanted(self, prompt, parameters)
        request = self._request(prompt, parameters)
        show_warnings(request)
        self._require_submittable()
        return self._send(request, self._cell_requests.ask(request, self.output_dir))

    def _request(self, prompt: str, parameters: Mapping[str, Any]) -> Request:
        schema = self._lifecycle.require_schema()
        given = self._queries.with_recorded_styles(prompt, parameters)
        return build_request(schema, prompt, given, fetch=self._fetch)

    def _require_submittable(self) -> None:
        self._lifecycle.require_schema()
        self._outputs.require_writable()

    def _submit(self, request: Request, session: str = "") -> Job:
        self._require_submittable()
        return self._send(request, session)

    def _send(self, request: Request, session: str) -> Job:
        if (process := self._process) is not None and self.state is not EngineState.ASLEEP:
            process.restore_temp_dir()
        context = self._context
        if (folder := trial_folder()) is not None:
            context = replace(
                context,
                copy_image=functools.partial(self._copy_trial, folder),
                add_images=lambda images: None,
                publish=lambda result: None,
            )
        return Job(self, request, context, session=session)

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
            ``enhance=`` a list of :class:`~fooocus_nb.Enhance`. An image is a path, bytes, a
            Pillow image, an array or an :class:`~fooocus_nb.Image`. ``portable=True`` makes what
            can be made independent of this machine so, and warns of what it changes: noise drawn on
            the CPU, the expanded prompt in place of expansion, wildcards filled in.

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
        KeyboardInterrupt
            Within 10 s after Ctrl-C, the notebook's stop button, or Stop in the cell's monitor. It
            says how many images are done, which are in :attr:`last_result`, and whether the engine
            is still busy. A cell of the magics ends in the same way.
        """
        return wait_shown(self.submit(prompt, **parameters))

    async def agenerate(self, prompt: str = "", **parameters: Any) -> Result:
        """Generate images and await them; see :meth:`generate`."""
        if "portable" in parameters:  # the engine is asked, which takes its time
            change = portable_if_wanted
            prompt, parameters = await asyncio.to_thread(change, self, prompt, parameters)
        return await self.submit(prompt, **parameters)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The job that runs, then those that wait for their turn, in order."""
        return tuple(job for job in self._queue.jobs if isinstance(job, Job))

    @property
    def current_job(self) -> Job | None:
        """The job that runs, or is the next to run; None when there is none."""
        return next(iter(self.jobs), None)

    def _fetch(self, name: str, url: str) -> bytes:
        """Return the bytes behind a web address, if that is allowed."""
        if not (self.allow_urls or self.allow_private_urls):
            refuse_url(name, url)
        return download(name, url, private=self.allow_private_urls)

    def _facts(self) -> EngineFacts:
        """Return what a record of its images names."""
        settings = self._lifecycle.settings
        installation = settings.installation if settings is not None else None
        return EngineFacts(
            name=self.name,
            owned=self.owned,
            demo=settings is not None and installation is None,
            version=self.version,
            url=self.url,
            flags=settings.args if settings is not None else (),
            preset=self.current_preset,
            checkout=installation.path if installation is not None else None,
            python=installation.python if installation is not None else None,
            log_path=self.log_path,
            pid=self.pid,
        )

    async def _copy_image(
        self, server_path: str, facts: ImageFacts, before: Callable[[bytes], None]
    ) -> Path:
        """Copy an image of the server into the output folder; `before` gets its bytes first."""
        local = Path(server_path)
        facts = ImageFacts(
            {"engine": self.name, "number": next(self._counter), **facts.values}, facts.parameters
        )
        if self.owned and await asyncio.to_thread(local.is_file):
            return await asyncio.to_thread(self._outputs.copy, local, facts, before)
        data = await self._lifecycle.require_client().fetch(server_path)
        if not await asyncio.to_thread(is_image, data):
            msg = f"The server at {self.url} gave {len(data):,} bytes for {local.name}, no image."
            raise GenerationError(msg)
        return await asyncio.to_thread(self._outputs.write, local.name, data, facts, before)

    async def _copy_trial(
        self, folder: Path, server_path: str, facts: ImageFacts, before: Callable[[bytes], None]
    ) -> Path:
        """Copy an image of a trial into the folder of the trial."""
        data = await self._lifecycle.require_client().fetch(server_path)
        target = folder / image_name(server_path)
        await asyncio.to_thread(target.write_bytes, data)
        return target

    def _publish(self, result: Result) -> None:
        self.last_result = result
        self._images.add(result)
        self._free_memory.note()

    # -- what can be chosen -----------------------------------------------------------------

    @property
    def models(self) -> Catalogue:
        """The files of base models."""
        return self._queries.choices("base_model")

    @property
    def loras(self) -> Catalogue:
        """The files of LoRAs."""
        return Catalogue(name for name in self._queries.choices("lora_1_model") if name != "None")

    @property
    def styles(self) -> Catalogue:
        """The styles, ``Random Style`` among them where the server has it."""
        return self._queries.choices("style_selections")

    @property
    def samplers(self) -> Catalogue:
        """The samplers."""
        return self._queries.choices("sampler_name")

    @property
    def schedulers(self) -> Catalogue:
        """The schedulers."""
        return self._queries.choices("scheduler_name")

    @property
    def performances(self) -> Catalogue:
        """The performance modes, such as ``Speed`` or ``Lightning``."""
        return self._queries.choices("performance_selection")

    @property
    def aspect_ratios(self) -> Catalogue:
        """The sizes that the page offers, such as ``1152x896``."""
        return Catalogue(
            plain(choice).split(" ")[0]
            for choice in self._queries.choices("aspect_ratios_selection")
        )

    @property
    def presets(self) -> Catalogue:
        """The presets; none on a server that does not let one choose."""
        parameter = self._queries.preset_parameter
        return Catalogue(parameter.choices or () if parameter else ())

    @property
    def current_preset(self) -> str | None:
        """The preset that the defaults come from; None where the server does not say."""
        parameter = self._queries.preset_parameter
        return None if parameter is None else parameter.default

    def _preset(self, name: str) -> Query[ParameterDiff]:
        """Load a preset: what it sets is the default of the generations that follow.

        The server may have to download the preset's models first, which takes its time.

        Parameters
        ----------
        name : str
            One of :attr:`presets`.

        Returns
        -------
        ParameterDiff
            The parameters whose defaults have changed, before and now; shows as a table.

        Raises
        ------
        ParameterError
            When there is no such preset.
        UnsupportedServer
            When this server does not let one choose.
        EngineError
            When the engine fails to load it.
        """
        return self._queries.preset(name)

    preset, apreset = twins(_preset, answer)

    def _refresh(self) -> Query[ParameterDiff]:
        """Let the engine look for new model files.

        Returns
        -------
        ParameterDiff
            The parameters whose choices have changed, before and now; shows as a table.

        Raises
        ------
        EngineError
            When the engine fails.
        """
        return self._queries.refresh()

    refresh, arefresh = twins(_refresh, answer)

    # -- calls with an image ----------------------------------------------------------------

    def _describe(self, image: Any, content: str | Sequence[str] = "photo") -> Query[Description]:
        """Describe an image: let the engine say what it shows.

        Parameters
        ----------
        image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            The image.
        content : {"photo", "anime"} or both in a list
            What it is like. Default ``"photo"``.

        Returns
        -------
        Description
            A prompt, which is text with an attribute `styles`.

        Raises
        ------
        ParameterError
            When it is no image, or `content` is something else.
        EngineError
            When the engine cannot say.
        """
        return self._queries.describe(image, content)

    describe, adescribe = twins(_describe, answer)

    def _make_mask(
        self,
        image: Any,
        model: str | None = None,
        *,
        detect: str | None = None,
        cloth: str | None = None,
        sam_model: str | None = None,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        max_detections: int | None = None,
        dino_erode_or_dilate: int | None = None,
        debug: bool | None = None,
        **others: Any,
    ) -> Query[PIL.Image.Image]:
        """Make a mask: let the engine find what to paint in an image.

        Parameters
        ----------
        image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            The image.
        model : str, optional
            Who finds it; by default the server's own, or ``"sam"`` where `detect` is given.
        detect : str, optional
            What to find, in words; for the model ``sam``.
        cloth : {"full", "upper", "lower"}, optional
            For the model ``u2net_cloth_seg``.
        sam_model : str, optional
            Such as ``"vit_b"``.
        box_threshold, text_threshold : float, optional
            From 0 to 1: how sure the model must be.
        max_detections : int, optional
            How many at most; 0 is all.
        dino_erode_or_dilate : int, optional
            Pixels by which what was detected shrinks (below 0) or grows.
        debug : bool, optional
            Let the server show what it detected instead of the mask.
        **others
            Settings that no server of ours knows; refused by name.

        Returns
        -------
        PIL.Image.Image
            Of mode L and the image's size, white where it is found: a mask for
            :meth:`Engine.inpaint`.

        Raises
        ------
        ParameterError
            When a value is not possible.
        EngineError
            When the engine fails.
        """
        settings = {
            "model": model,
            "detect": detect,
            "cloth": cloth,
            "sam_model": sam_model,
            "box_threshold": box_threshold,
            "text_threshold": text_threshold,
            "max_detections": max_detections,
            "dino_erode_or_dilate": dino_erode_or_dilate,
            "debug": debug,
            **others,
        }
        return self._queries.make_mask(image, settings)

    make_mask, amake_mask = twins(_make_mask, answer)

    def _read_metadata(self, image: Any) -> Query[Metadata]:
        """Let the engine read how an image was made.

        Without a server :func:`fooocus_nb.read_metadata` does the same, but for the styles that
        the scheme ``a1111`` leaves out: they are found again from the full prompt, with the texts
        of the server's styles. It is also what is used where this server cannot, or finds nothing.

        Parameters
        ----------
        image : path-like, bytes or Image
            The image's file. Pixels in memory have no metadata.

        Returns
        -------
        Metadata
            Its `parameters` go into :meth:`Engine.generate`.

        Raises
        ------
        MetadataError
            When there is nothing in it.
        """
        return self._queries.read_metadata(image)

    read_metadata, aread_metadata = twins(_read_metadata, answer)

    # -- views ------------------------------------------------------------------------------

    def monitor(self) -> EngineMonitor:
        """Return a standing view of the engine: what it does, and Stop and Skip for it.

        Returns
        -------
        EngineMonitor
            The same one each time; show it as the last value of a cell.
        """
        if self._monitor is None:
            self._monitor = open_monitor(self)
        return self._monitor

    def panel(self, **values: Any) -> Panel:
        """Return a control panel: every parameter as a form, with the monitor and images below.

        Parameters
        ----------
        **values
            What is set in the beginning, by name, as :meth:`generate` takes it.

        Returns
        -------
        Panel
            Show it as the last value of a cell.

        Raises
        ------
        ParameterError
            When a name, type, choice or range is wrong.
        EngineStopped, EngineDied
            When the engine does not run.
        """
        self._lifecycle.require_schema()
        return open_panel(self, lambda: self._schema, values)

    def logs(self) -> LogView:
        """Show the engine's log live: it follows, searches, filters, and reaches back.

        Returns
        -------
        LogView
            A widget. Where widgets are not shown, and in a saved notebook, it is the last lines.
        """
        return open_log(self)

    def ui(self, *, height: int = 800) -> PageView:
        """Show the engine's own web page, complete, in the notebook.

        It comes through the Jupyter server, so also where the engine's port is out of reach of the
        browser. The server needs ``fooocus-nb[ui]``; the view says what is missing.

        Parameters
        ----------
        height : int, optional
            The height of the page in CSS pixels, from 240 to 10,000. Default 800.

        Returns
        -------
        PageView
            Show it as the last value of a cell.

        Raises
        ------
        ConfigurationError
            When the height is not possible.
        EngineStopped, EngineDied
            When the engine does not run.
        """
        self._lifecycle.require_client()
        if (process := self._process) is not None:
            return open_page(process.listed_name, height=height)
        return open_page(record_page(self.name, str(self.url)).name, height=height)

    def gallery(self) -> Gallery:
        """Show the images that this engine has made for this kernel, and each further one.

        Returns
        -------
        Gallery
            A widget: newest first, to zoom into, compare, select, filter, and make again.
        """
        return open_gallery(
            title=f"Images of {self.name}",
            newest_first=True,
            hint="No images yet: each appears here as soon as it is finished.",
            engine=self,
            schema=lambda: self._schema,
            history=self._images,
        )


def assemble(
    name: str,
    *,
    settings: ProcessSettings | None = None,
    url: str | None = None,
    log_file: Path | None = None,
    outputs: OutputFolder,
    restart: RestartPolicy | None = None,
    avoid: Collection[Path] = (),
    logins: Callable[[], Sequence[Login]] = tuple,
    arguments: Mapping[str, Any] | None = None,
) -> tuple[Engine, EngineLifecycle]:
    """Make an engine of its parts, and return it with the lifecycle that starts it.

    `arguments` are what another kernel would start it with, to attach to it.
    """
    state = StateMachine()
    queue = JobQueue(state)
    lifecycle = EngineLifecycle(
        name,
        state,
        queue,
        settings=settings,
        url=url,
        log_file=log_file,
        restart=restart,
        avoid=avoid,
        logins=logins,
    )
    return Engine(lifecycle, queue, outputs, arguments), lifecycle
