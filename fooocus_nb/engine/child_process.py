"""The child of one engine: launched, followed through its start, and cleaned up after."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from fooocus_nb.engine.folders import new_log_folder
from fooocus_nb.engine.reuse import attach_or_start, labels_of
from fooocus_nb.errors import (
    ConfigurationError,
    DiskFull,
    EngineError,
    StartError,
    StartTimeout,
    while_starting,
)
from fooocus_nb.fooocus.checkout.command import build_launch, free_port
from fooocus_nb.fooocus.logs.diagnosis import diagnose
from fooocus_nb.fooocus.logs.startup import Stage, StartupTracker
from fooocus_nb.results.output_folder import FULL
from fooocus_nb.supervisor import ChildSpec, Line, Process
from fooocus_nb.supervisor.registry import RUN_PREFIX, Registry
from fooocus_nb.supervisor.system import make_private

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from fooocus_nb.fooocus.checkout.installation import Installation
    from fooocus_nb.fooocus.logs.startup import Startup

__all__ = ["Child", "ChildSettings"]

#: How long a start may show no progress at all before it is given up.
DEFAULT_START_TIMEOUT = 300.0
TICK_SECONDS = 0.2
#: How long a process may take to end, once something of it has.
END_LAG_SECONDS = 1.0
#: Names another folder for what tells kernels of each other's engines.
RUNTIME_VARIABLE = "FOOOCUS_NB_RUNTIME_DIR"


@dataclass(frozen=True)
class ChildSettings:
    """How an engine is started; the same at every restart.

    Attributes
    ----------
    installation : Installation or None
        The Fooocus to start; None is the demo engine.
    args : tuple of str
        Further command line flags.
    port : int or None
        The port; None chooses a free one at every start.
    temp_dir : Path or None
        Where the child keeps its temporary files; None makes a folder of its own.
    gpu : int or None
        The index of the GPU.
    env : mapping
        Environment variables that win over the inherited ones.
    grace : float
        Seconds between asking the child to end and ending it. Default 10.
    shared : bool
        Whether other kernels may use it, too.
    reuse : bool
        Whether one that others share is used instead of a new one.
    idle_timeout : float or None
        None ends it with its last user; a number of seconds lets it live on until it was idle for
        so long.

    Raises
    ------
    ConfigurationError
        When the grace is no number of seconds.
    """

    installation: Installation | None
    args: tuple[str, ...] = ()
    port: int | None = None
    temp_dir: Path | None = None
    gpu: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    grace: float = 10.0
    shared: bool = False
    reuse: bool = False
    idle_timeout: float | None = None

    def __post_init__(self) -> None:
        if not self.grace >= 0:
            msg = f"grace={self.grace!r}: give a number of seconds from 0 up."
            raise ConfigurationError(msg)


class Child:
    """One run of an engine's process.

    Parameters
    ----------
    name : str
        The engine's name.
    settings : ChildSettings
        How to start it.
    on_line : callable
        Gets the text of each log line that is no redrawn progress bar, on the follower's thread.

    Attributes
    ----------
    attached : bool
        Whether it ran already when we came.
    idle_timeout : float or None
        How long it may be idle without users; None where it ends with its last one.
    """

    def __init__(
        self, name: str, settings: ChildSettings, *, on_line: Callable[[str], None]
    ) -> None:
        self.name = name
        self._settings = settings
        self._on_line = on_line
        self._tracker = StartupTracker()
        self._process: Process | None = None
        self.attached = False
        self.idle_timeout = settings.idle_timeout
        self._moved = threading.Event()
        self._temporary: list[Path] = []

    # -- what it is -------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The process id, once it runs."""
        return self._process.pid if self._process else None

    @property
    def url(self) -> str | None:
        """Where its web server will answer."""
        return self._process.spec.labels["url"] if self._process else None

    @property
    def run_dir(self) -> Path | None:
        """The folder by which other kernels find it."""
        return self._process.spec.run_dir if self._process else None

    @property
    def ready_before(self) -> bool:
        """Whether it was ready when we came."""
        return self.attached and bool(self._process and self._process.spec.labels.get("ready"))

    @property
    def ending(self) -> str | None:
        """Why its guardian ends it; None while it does not."""
        return self._process.ending if self._process else None

    @property
    def log_path(self) -> Path | None:
        """The log file of this run."""
        return self._process.spec.log_path if self._process else None

    @property
    def temp_dir(self) -> Path | None:
        """The folder for temporary files of this run."""
        folder = self._process.spec.labels.get("temp_dir") if self._process else None
        return Path(folder) if folder else None

    @property
    def detail(self) -> str:
        """What the child does or waits for while it starts."""
        return self._tracker.detail

    @property
    def startup(self) -> Startup:
        """How far its start has come."""
        return self._tracker.startup

    @property
    def worker_dead(self) -> bool:
        """Whether the log says that the worker thread has ended."""
        return self._tracker.worker_dead

    @property
    def last_movement(self) -> float:
        """When its log last moved, as `time.monotonic` counts."""
        return self._tracker.last_movement

    @property
    def guardian_pid(self) -> int | None:
        """The process id of its guardian, once there is one."""
        return self._process.shim_pid if self._process else None

    @property
    def guardian_lost(self) -> bool:
        """Whether the guardian ended without a word, which ends the child too."""
        process = self._process
        return process is not None and not process.alive() and process.returncode is None

    @property
    def lost(self) -> int:
        """How many bytes of the log never reached its file, as far as is known."""
        return self._process.lost if self._process else 0

    @property
    def returncode(self) -> int | None:
        """How the process ended, negative for a signal; None while it runs."""
        return self._process.returncode if self._process else None

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.alive()

    def exists(self) -> bool:
        """Whether the process runs, by what the system says."""
        return self._process is not None and self._process.exists()

    def ended(self) -> bool:
        """Whether the process has ended, or does so within a moment."""
        if self._process is not None:
            self._process.wait(END_LAG_SECONDS)
        return not self.alive()

    def guardian_answers(self) -> bool:
        """Whether the guardian lives up to its duty; never waits."""
        process = self._process
        return process is not None and process.guardian_answers() and not self.guardian_stopped()

    def guardian_stopped(self) -> bool:
        """Whether the guardian is stopped, so that nobody reads what the child prints."""
        return self._process is not None and self._process.guardian_stopped()

    def tail(self, n: int) -> list[str]:
        """Return the last `n` log lines, oldest first."""
        return self._process.tail(n) if self._process else []

    def on_exit(self, listener: Callable[[int | None], None]) -> None:
        """Call `listener` with the return code when the process ends."""
        if self._process is not None:
            self._process.add_exit_listener(listener)

    # -- life -------------------------------------------------------------------------------

    def start(self, avoid: Collection[Path] = ()) -> None:
        """Start the process under its guardian, or take hold of the one that others share.

        Parameters
        ----------
        avoid : collection of Path
            The run folders of running engines that are not wanted.

        Raises
        ------
        StartError
            When the guardian or the child cannot be started, or has no room for its folders.
        EngineTimeout
            When other kernels do not come to an end with starting theirs.
        """
        try:
            process = self._process = self._take_hold_or_spawn(runtime_folder(), avoid)
        except EngineError:
            raise
        except OSError as error:
            kind = while_starting(DiskFull) if error.errno in FULL else StartError
            msg = f"Engine {self.name!r} could not be given its folders: {error}."
            remedy = (
                "Make room there, or give the right to write. temp_dir=, and TMPDIR, "
                f"XDG_STATE_HOME and {RUNTIME_VARIABLE} in the environment, name other folders."
            )
            raise kind(msg, remedy=remedy) from error
        if self.attached:
            self._settle_in(process)
        process.add_listener(self._take)

    def _take_hold_or_spawn(self, folder: Path, avoid: Collection[Path]) -> Process:
        if not self._settings.reuse:
            return self._spawn(folder)
        process, self.attached = attach_or_start(
            Registry(folder, *runtime_paths()),
            self._settings,
            lambda: self._spawn(folder),
            avoid=avoid,
        )
        return process

    def _settle_in(self, process: Process) -> None:
        """Keep an engine that we found, or learn that it is kept already."""
        self.idle_timeout = process.spec.idle_timeout
        self.keep(self._settings.idle_timeout)

    def keep(self, idle_timeout: float | None) -> None:
        """Let it live on without users until it was idle for so long; None changes nothing."""
        if self._process is not None and idle_timeout is not None:
            self._process.keep(idle_timeout)
            self.idle_timeout = idle_timeout

    def _spawn(self, folder: Path) -> Process:
        settings = self._settings
        run_dir = self._temporary_folder(RUN_PREFIX, folder)
        temp_dir = settings.temp_dir or self._folder_named_after(run_dir)
        temp_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        launch = build_launch(
            settings.installation,
            port=settings.port or free_port(),
            temp_dir=temp_dir,
            gpu=settings.gpu,
            args=settings.args,
            env=settings.env,
        )
        spec = ChildSpec(
            argv=launch.argv,
            cwd=launch.cwd,
            env=launch.env,
            name=self.name,
            run_dir=run_dir,
            log_path=new_log_folder(self.name, run_dir) / "engine.log",
            grace=settings.grace,
            idle_timeout=settings.idle_timeout,
            cleanup=tuple(self._temporary),
            labels=labels_of(settings, launch),
            fallbacks=tuple(other for other in runtime_paths() if other != folder),
        )
        return Process.start(spec)

    def _folder_named_after(self, run_dir: Path) -> Path:
        """Make a temporary folder that is recognised as this run's when its guardian is dead."""
        name = f"fooocus-nb-{run_dir.name.removeprefix(RUN_PREFIX)}"
        folder = Path(tempfile.gettempdir()) / name
        folder.mkdir(mode=0o700)
        self._temporary.append(folder)
        return folder

    def _temporary_folder(self, prefix: str, parent: Path | None = None) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))  # mkdtemp makes it 0700
        self._temporary.append(folder)
        return folder

    def _take(self, line: Line) -> None:
        self._tracker.feed(line.text, line.transient)
        self._moved.set()
        if not line.transient:
            self._on_line(line.text)

    def wait_ready(self, timeout: float | None, on_tick: Callable[[], None]) -> None:
        """Wait until the worker is ready.

        Parameters
        ----------
        timeout : float or None
            Seconds without any progress after which to give up. None is 300.
        on_tick : callable
            Called about five times a second while waiting.

        Raises
        ------
        StartError
            When the child ends, or its worker does; the subclass and message tell the cause.
        StartTimeout
            When nothing has moved for `timeout` seconds.
        """
        patience = DEFAULT_START_TIMEOUT if timeout is None else timeout
        while self._tracker.stage is not Stage.READY or self._tracker.worker_dead:
            if not self.alive() or self._tracker.worker_dead:
                raise self.start_error()
            if self.ready_before:
                break
            if time.monotonic() - self._tracker.last_movement > patience:
                msg = (
                    f"Engine {self.name!r} is not ready: nothing has moved for {patience:g} s. "
                    f"It was waiting for: {self.detail}."
                )
                raise StartTimeout(
                    msg,
                    log=self.tail(10),
                    remedy="If it only needs longer, start it with a larger timeout=.",
                )
            on_tick()
            self._moved.wait(TICK_SECONDS)
            self._moved.clear()
        on_tick()
        if self._process is not None and not self.ready_before:
            self._process.label(ready=True)

    def start_error(self) -> StartError:
        """Return the error for a child that ended before it was ready, with the cause."""
        process = self._process
        if process is not None:
            process.wait(END_LAG_SECONDS)
        returncode = self.returncode
        if self._stopped():
            msg = f"Engine {self.name!r} was stopped while it started."
            return StartError(msg)
        lines = self.tail(200)
        found = diagnose(lines, returncode=returncode)
        what = "its worker died" if self._tracker.worker_dead else f"exit code {returncode}"
        cause = found.cause if found else f"While {self.detail}: {what}."
        kind = while_starting(found.error) if found else StartError
        return kind(
            f"Engine {self.name!r} ended while it started ({what}). {cause}",
            log=(found.lines if found else ()) or lines[-10:],
            remedy=found.remedy if found else None,
        )

    def _stopped(self) -> bool:
        return self._process is None or self._process.ending is not None

    def stop(self) -> None:
        """End the process with all that it started, and remove what was only its own."""
        if self._process is not None:
            self._process.stop()
        self._remove_temporary()

    def leave(self) -> None:
        """Do the same, unless others use it: then only let go of it."""
        if self._process is None or self._process.leave():
            self._remove_temporary()
        self._temporary.clear()

    def close(self) -> None:
        """Let go of it: it ends with its last user, or when it was idle for long enough."""
        if self._process is not None:
            self._process.close()
        self._temporary.clear()

    def _remove_temporary(self) -> None:
        for folder in self._temporary:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
        self._temporary.clear()


def runtime_paths() -> tuple[Path, ...]:
    """Return where the user's own folder for sockets and the like can be, the best first."""
    if given := os.environ.get(RUNTIME_VARIABLE):
        return (Path(given).expanduser().absolute(),)
    if sys.platform == "win32":
        return (platformdirs.user_runtime_path("fooocus-nb", appauthor=False),)
    found = []
    if (runtime := os.environ.get("XDG_RUNTIME_DIR")) and not _is_foreign(Path(runtime)):
        # Not by platformdirs, which knows fallbacks of its own, other ones in each version.
        found.append(Path(runtime).absolute() / "fooocus-nb")
    # Containers and macOS seldom have one; what the system empties at its start is next best. There
    # anybody may have taken the name, so the last resort is at home.
    found.append(Path(tempfile.gettempdir()) / f"fooocus-nb-{os.getuid()}")
    found.append(platformdirs.user_cache_path("fooocus-nb", appauthor=False) / "run")
    return tuple(found)


def _is_foreign(folder: Path) -> bool:
    """Whether a folder is somebody else's, as after a change of the user."""
    with contextlib.suppress(OSError):
        return sys.platform != "win32" and folder.stat().st_uid != os.getuid()
    return False


def runtime_folder() -> Path:
    """Make and return the first folder for sockets that can be used, of mode 0700.

    Raises
    ------
    StartError
        When none can be used: each is somebody else's, or others can write into it.
    """
    failures: list[OSError] = []
    for folder in runtime_paths():
        try:
            make_private(str(folder))
        except OSError as error:
            failures.append(error)
        else:
            return folder
    first = failures[0]
    if not isinstance(first, PermissionError) or first.errno is not None:
        raise first
    msg = f"The folder {runtime_paths()[0]} cannot hold an engine's socket: {first}."
    raise StartError(msg, remedy=f"Set {RUNTIME_VARIABLE} to a folder of your own.")
