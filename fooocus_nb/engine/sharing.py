"""Sharing engines between kernels: which one a start means, attaching to it, releasing it."""

from __future__ import annotations

import enum
import hashlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb import __version__
from fooocus_nb.engine.child_process import EngineProcess, spawn
from fooocus_nb.engine.folders import RUNTIME_VARIABLE, runtime_folder, runtime_paths
from fooocus_nb.engine.names import user_label
from fooocus_nb.errors import ConnectionLost, DiskFull, EngineError, StartError, while_starting
from fooocus_nb.results.output_folder import FULL_DISK
from fooocus_nb.supervisor import Process
from fooocus_nb.supervisor.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from fooocus_nb.engine.config import Lifetime, ProcessSettings
    from fooocus_nb.fooocus.logs.startup import StartupTracker
    from fooocus_nb.supervisor.registry import Entry

__all__ = ["Attachment", "Release", "fits", "open_process", "sharing_key"]

#: What others run is told apart by this, so that unlike versions of us never share.
PROTOCOL = 1
#: Inherited variables that decide what an engine is, by the beginnings of their names.
DECISIVE = ("CUDA_", "FOOOCUS_DEMO_", "HIP_", "HSA_", "PYTORCH_", "ROCR_")
#: How long another start may hold the lock. It only holds it until the process runs.
LOCK_TIMEOUT = 60.0
#: How long to wait for one that is ending: two would not fit into a GPU's memory.
ENDING_TIMEOUT = 25.0
POLL_SECONDS = 0.05


class Release(enum.Enum):
    """How an engine's process is released."""

    #: End it, whoever else uses it.
    END = enum.auto()
    #: End it unless others use it.
    UNLESS_SHARED = enum.auto()
    #: Detach from it.
    DETACH = enum.auto()


class Attachment:
    """How this kernel holds an engine that others may hold as well: attached, kept, released."""

    def __init__(self, process: Callable[[], EngineProcess | None]) -> None:
        self._process = process

    @property
    def attached(self) -> bool:
        """Whether it ran already when we came."""
        process = self._process()
        return process is not None and process.attached

    @property
    def idle_timeout(self) -> float | None:
        """Seconds that it may idle without users; None where it ends with its last one."""
        process = self._process()
        return process.idle_timeout if process else None

    @property
    def lifetime(self) -> Lifetime:
        """Whether it ends with its last user, or goes on without one."""
        return "kernel" if self.idle_timeout is None else "detached"

    def keep(self, idle_timeout: float | None) -> None:
        """Let it go on without users until it was idle for so long; None changes nothing."""
        process = self._process()
        if process is not None:
            process.keep(idle_timeout)

    def release(self, how: Release, grace: float | None = None) -> None:
        """End the process, or detach from it; the `grace` is that of one that others may use."""
        process = self._process()
        if process is None:
            return
        match how:
            case Release.END:
                process.stop()
            case Release.UNLESS_SHARED:
                process.release(grace)
            case Release.DETACH:
                process.detach()


def open_process(
    name: str,
    settings: ProcessSettings,
    tracker: StartupTracker,
    on_line: Callable[[str], None],
    avoid: Collection[Path] = (),
) -> EngineProcess:
    """Start an engine's process under its guardian, or attach to the one that others share.

    `avoid` has the run folders of running engines that are not wanted.
    """

    def start() -> EngineProcess:
        child, temporary, left_out = spawn(name, settings, folder, sharing_key(settings))
        return EngineProcess(child, tracker, on_line, temporary=temporary, left_out=left_out)

    def attach(child: Process) -> EngineProcess:
        process = EngineProcess(child, tracker, on_line, attached=True)
        process.keep(settings.idle_timeout)
        child.label(**user_label())
        return process

    try:
        folder = runtime_folder()
        if not settings.reuse:
            return start()
        return _attach_or_spawn(Registry(folder, *runtime_paths()), settings, attach, start, avoid)
    except EngineError:
        raise
    except OSError as error:
        kind = while_starting(DiskFull) if error.errno in FULL_DISK else StartError
        msg = f"Engine {name!r} could not be given its folders: {error}."
        remedy = (
            "Make room there, or give the right to write. temp_dir=, and TMPDIR, "
            f"XDG_STATE_HOME and {RUNTIME_VARIABLE} in the environment, name other folders."
        )
        raise kind(msg, remedy=remedy) from error


def sharing_key(settings: ProcessSettings) -> str:
    """Return a digest that two starts have in common exactly when they mean the same engine.

    It is of the checkout and its version, the interpreter, the flags, the GPU and the environment
    variables that were given or that decide about a GPU. The port is no part of it: who gives none
    takes any.
    """
    installation = settings.installation
    given = {str(name): str(value) for name, value in settings.env.items()}
    inherited = {name: value for name, value in os.environ.items() if name.startswith(DECISIVE)}
    what = {
        "protocol": PROTOCOL,
        "path": str(installation.path) if installation else str(Path(__file__).parents[1]),
        "version": installation.version if installation else __version__,
        "python": str(installation.python.absolute()) if installation else sys.executable,
        "args": [str(word) for word in settings.args if word != "--disable-in-browser"],
        "gpu": settings.gpu,
        "temp_dir": str(settings.temp_dir) if settings.temp_dir else None,
        "env": inherited | given,
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def fits(entry: Entry, settings: ProcessSettings) -> bool:
    """Whether a running engine is what a start with these settings means."""
    labels = entry.labels
    return (
        labels.get("shared") is True
        and labels.get("key") == sharing_key(settings)
        and settings.port in (None, labels.get("port"))
        and isinstance(labels.get("url"), str)
    )


def _attach_or_spawn(
    registry: Registry,
    settings: ProcessSettings,
    attach: Callable[[Process], EngineProcess],
    start: Callable[[], EngineProcess],
    avoid: Collection[Path],
) -> EngineProcess:
    """Attach to the engine that others run with these settings, or start one.

    Two that come at the same instant end with one engine: whoever starts it holds the registry's
    lock until it can be found there.
    """
    deadline = time.monotonic() + ENDING_TIMEOUT
    while True:
        with registry.lock(LOCK_TIMEOUT):
            ending = False
            for entry in registry.entries():
                if entry.run_dir in avoid or not fits(entry, settings):
                    continue
                try:
                    return attach(Process.attach(entry.run_dir))
                except ConnectionLost:
                    ending = True  # or it does not answer: it is waited for, but not for ever
            if not ending or time.monotonic() > deadline:
                return start()
        threading.Event().wait(POLL_SECONDS)
