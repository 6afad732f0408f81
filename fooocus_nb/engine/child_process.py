"""The process of one engine: spawned, followed through its start, and cleaned up after."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fooocus_nb.engine.folders import new_log_folder, runtime_paths
from fooocus_nb.engine.names import NAME_LABEL, listed_name, unique_name, user_label
from fooocus_nb.engine.old_logs import mark_failed
from fooocus_nb.errors import StartError, StartTimeout, while_starting
from fooocus_nb.fooocus.checkout.command import LEFT_OUT_ADVICE, build_launch, free_port
from fooocus_nb.fooocus.logs.diagnosis import Notice, diagnose
from fooocus_nb.fooocus.logs.startup import Stage
from fooocus_nb.supervisor import ChildSpec, Line, Process
from fooocus_nb.supervisor.registry import RUN_PREFIX, Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb.engine.config import ProcessSettings
    from fooocus_nb.fooocus.checkout.command import Launch
    from fooocus_nb.fooocus.logs.startup import StartupTracker
    from fooocus_nb.supervisor.registry import Entry

__all__ = ["EngineProcess", "spawn"]

#: How long a start may neither print nor use a processor or a disk before it is given up.
DEFAULT_START_TIMEOUT = 300.0
#: How often a silent start is asked whether it works.
WORK_SECONDS = 5.0
TICK_SECONDS = 0.2
#: How long a process may take to end, once something of it has.
END_LAG_SECONDS = 1.0
#: How many lines are read for why a start failed: what pip could not install stands far above.
LOOK_BACK = 1000


class EngineProcess:
    """One run of an engine's process, its `child`, from when it runs.

    `tracker` reads its log. `attached` tells whether it ran already when we came, and
    `idle_timeout` how long it may idle without users; None where it ends with its last one.
    """

    def __init__(
        self,
        child: Process,
        tracker: StartupTracker,
        on_line: Callable[[str], None],
        *,
        attached: bool = False,
        temporary: tuple[Path, ...] = (),
        left_out: tuple[Notice, ...] = (),
    ) -> None:
        self.child = child
        self.tracker = tracker
        self.attached = attached
        self.idle_timeout = child.spec.idle_timeout
        #: The folders that are removed when it has ended.
        self.temporary = list(temporary)
        #: What of our environment was not handed on, because it cannot work.
        self.left_out = left_out
        self._on_line = on_line
        self._moved = threading.Event()
        self._asked_work = 0.0
        child.add_listener(self._take)

    # -- what is known of it ----------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where its web server answers, or will."""
        return str(self.child.spec.labels["url"])

    @property
    def listed_name(self) -> str:
        """The name by which all kernels list it."""
        return listed_name(self.child.spec.name, self.child.spec.labels)

    @property
    def run_dir(self) -> Path:
        """The folder by which other kernels find it."""
        return self.child.spec.run_dir

    @property
    def temp_dir(self) -> Path | None:
        """The folder for temporary files of this run."""
        folder = self.child.spec.labels.get("temp_dir")
        return Path(folder) if folder else None

    def restore_temp_dir(self) -> None:
        """Make the folder for temporary files again where a cleaner of the system has removed it.

        Uploads and previews go there, and Fooocus's worker ends where it is not.
        """
        folder = self.temp_dir
        if folder is not None and not folder.exists():
            with contextlib.suppress(OSError):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def ready_before(self) -> bool:
        """Whether it was ready when we came."""
        return self.attached and bool(self.child.spec.labels.get("ready"))

    @property
    def guardian_lost(self) -> bool:
        """Whether the guardian was killed, which ends the child too."""
        return not self.child.alive() and self.child.returncode is None

    def guardian_answers(self) -> bool:
        """Whether the guardian answers and drains the child's output; never waits."""
        return self.child.guardian_answers() and not self.child.guardian_stopped()

    def ended(self) -> bool:
        """Whether the process has ended, or does so within a moment."""
        self.child.wait(END_LAG_SECONDS)
        return not self.child.alive()

    # -- its start --------------------------------------------------------------------------

    def _take(self, line: Line) -> None:
        self.tracker.feed(line.text, line.transient)
        self._moved.set()
        if not line.transient:
            self._on_line(line.text)

    def wait_ready(self, timeout: float | None, on_tick: Callable[[], None]) -> None:
        """Wait until the worker is ready; give up after `timeout` s without a sign of work.

        `on_tick` is called about five times a second, and ends the wait by raising.
        """
        seconds = DEFAULT_START_TIMEOUT if timeout is None else timeout
        while self.tracker.stage is not Stage.READY or self.tracker.worker_dead:
            if not self.child.alive() or self.tracker.worker_dead:
                if self.child.ending is None:
                    self.note_failure()
                raise self.start_error()
            if self.ready_before:
                break
            if self._has_been_quiet_for(seconds):
                self.note_failure()
                msg = (
                    f"Engine {self.child.spec.name!r} is not ready: for {seconds:g} s "
                    "it printed nothing, and used neither a processor nor a disk. "
                    f"It was waiting for: {self.tracker.detail}."
                )
                raise StartTimeout(
                    msg,
                    log=self.child.tail(10),
                    remedy="If it only needs longer, start it with a larger timeout=.",
                )
            on_tick()
            self._moved.wait(TICK_SECONDS)
            self._moved.clear()
        on_tick()
        if not self.ready_before:
            self.child.label(ready=True)

    def _has_been_quiet_for(self, seconds: float) -> bool:
        """Whether the start has neither printed nor worked for so long."""
        now, interval = time.monotonic(), min(WORK_SECONDS, seconds / 4)
        if now - self.tracker.last_movement < interval:
            return False
        # An import, or a checkpoint from a slow disk, takes minutes without a word.
        if now - self._asked_work >= interval:
            self._asked_work = now
            self.child.ask_work(interval / 2)
        return now - max(self.tracker.last_movement, self.child.last_work or 0.0) > seconds

    def start_error(self) -> StartError:
        """Return the error for a child that ended before it was ready, with the cause."""
        name = self.child.spec.name
        returncode = self.child.wait(END_LAG_SECONDS)
        if self.child.ending is not None:
            msg = f"Engine {name!r} was stopped while it started."
            return StartError(msg)
        lines = self.child.tail(LOOK_BACK)
        found = diagnose(lines, returncode=returncode)
        what = "its worker died" if self.tracker.worker_dead else f"exit code {returncode}"
        cause = found.cause if found else f"While {self.tracker.detail}: {what}."
        kind = while_starting(found.error) if found else StartError
        if found is not None and found.because is not None:  # a restart alone does not mend it
            found = replace(found, remedy=found.because.remedy)
        return kind(
            f"Engine {name!r} ended while it started ({what}). {cause}",
            log=(found.lines if found else ()) or lines[-10:],
            remedy=found.remedy if found else None,
        )

    # -- its end ----------------------------------------------------------------------------

    def note_failure(self) -> None:
        """Note that it has failed, so that its log is kept for longer."""
        mark_failed(self.child.spec.log_path.parent)

    def keep(self, idle_timeout: float | None) -> None:
        """Let it go on without users until it was idle for so long; None changes nothing."""
        if idle_timeout is not None:
            self.child.keep(idle_timeout)
            self.idle_timeout = idle_timeout

    def stop(self) -> None:
        """End the process with all that it started, and remove its temporary folders."""
        self.child.stop()
        _remove(self.temporary)

    def release(self, grace: float | None = None) -> None:
        """Do the same, unless others use it: then only detach from it."""
        self.child.label(**user_label(uses=False))
        if self.child.leave(grace=grace):
            _remove(self.temporary)
        self.temporary.clear()

    def detach(self) -> None:
        """Close the connection to it: it ends with its last user, or when it idles for too long."""
        self.child.label(**user_label(uses=False))
        self.child.close()
        self.temporary.clear()


class Spawned(NamedTuple):
    """A process that was just started, and what belongs to it."""

    child: Process
    #: The folders that were made for it.
    temporary: tuple[Path, ...]
    #: What of our environment was not handed on.
    left_out: tuple[Notice, ...]


def spawn(name: str, settings: ProcessSettings, runtime_dir: Path, key: str) -> Spawned:
    """Start a process under its guardian."""
    temporary: list[Path] = []

    def make_folder(prefix: str, parent: Path) -> Path:
        temporary.append(Path(tempfile.mkdtemp(prefix=prefix, dir=parent)))  # its mode is 0700
        return temporary[-1]

    def make_folder_named_after(run_dir: Path) -> Path:
        # So it is recognised as this run's when the guardian is dead.
        name = f"fooocus-nb-{run_dir.name.removeprefix(RUN_PREFIX)}"
        folder = Path(tempfile.gettempdir()) / name
        folder.mkdir(mode=0o700)
        temporary.append(folder)
        return folder

    try:
        run_dir = make_folder(RUN_PREFIX, runtime_dir)
        temp_dir = settings.temp_dir or make_folder_named_after(run_dir)
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
            name=name,
            run_dir=run_dir,
            log_path=new_log_folder(name, run_dir) / "engine.log",
            grace=settings.grace,
            idle_timeout=settings.idle_timeout,
            cleanup=tuple(temporary),
            labels=_labels(settings, launch, key) | _name_labels(name),
            fallbacks=tuple(other for other in runtime_paths() if other != runtime_dir),
        )
        return Spawned(Process.start(spec), tuple(temporary), _left_out(launch))
    except BaseException:
        _remove(temporary)
        raise


def _left_out(launch: Launch) -> tuple[Notice, ...]:
    return tuple(
        Notice(f"{reason}, so the engine does without it.", LEFT_OUT_ADVICE, name)
        for name, reason in launch.left_out.items()
    )


def _labels(settings: ProcessSettings, launch: Launch, key: str) -> dict[str, Any]:
    """Return what other kernels shall know about an engine that is being started."""
    installation = settings.installation
    return {
        "key": key,
        "shared": settings.shared,
        "url": launch.url,
        "port": launch.port,
        "temp_dir": str(launch.temp_dir),
        "title": f"Fooocus {installation.version}" if installation else "demo engine",
        "ready": False,
    }


def _name_labels(name: str) -> dict[str, Any]:
    """Return the name by which it is listed, which no other engine of the user has, and its user.

    What starts at the same instant may get the same one: then the listing tells them apart.
    """
    taken = {
        listed
        for entry in Registry(*runtime_paths()).survey()
        if (listed := listed_name(entry.name, entry.labels)).startswith(name) and not _ends(entry)
    }
    return {NAME_LABEL: unique_name(name, taken), **user_label()}


def _ends(entry: Entry) -> bool:
    """Whether it is ending, such as that of a kernel that was just restarted."""
    said = entry.look()
    return said is not None and said.ending is not None


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
    folders.clear()
