"""Which running engine another start means: the same Fooocus, started in the same way."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb._version import __version__
from fooocus_nb.errors import ConnectionLost
from fooocus_nb.supervisor import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from fooocus_nb.engine.child_process import ChildSettings
    from fooocus_nb.fooocus.checkout.command import Launch
    from fooocus_nb.supervisor.registry import Entry, Registry

__all__ = ["attach_or_start", "fits", "labels_of", "sharing_key"]

#: What others run is told apart by this, so that unlike versions of us never share.
PROTOCOL = 1
#: Inherited variables that decide what an engine is, by the beginnings of their names.
DECISIVE = ("CUDA_", "FOOOCUS_DEMO_", "HIP_", "HSA_", "PYTORCH_", "ROCR_")
#: How long another start may hold the lock. It only holds it until the process runs.
LOCK_TIMEOUT = 60.0
#: How long to wait for one that is ending: two would not fit into a GPU's memory.
ENDING_TIMEOUT = 25.0
POLL_SECONDS = 0.05


def sharing_key(settings: ChildSettings) -> str:
    """Return what two starts have in common exactly when they mean the same engine.

    Parameters
    ----------
    settings : ChildSettings
        How it is to be started.

    Returns
    -------
    str
        A digest of the checkout and its version, the interpreter, the flags, the GPU and the
        environment variables that were given or that decide about a GPU. The port is no part of
        it: who gives none takes any.
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


def labels_of(settings: ChildSettings, launch: Launch) -> dict[str, Any]:
    """Return what other kernels shall know about an engine that is being started."""
    installation = settings.installation
    return {
        "key": sharing_key(settings),
        "shared": settings.shared,
        "url": launch.url,
        "port": launch.port,
        "temp_dir": str(launch.temp_dir),
        "title": f"Fooocus {installation.version}" if installation else "demo engine",
        "ready": False,
    }


def fits(entry: Entry, settings: ChildSettings) -> bool:
    """Whether a running engine is what a start with these settings means."""
    labels = entry.labels
    return (
        labels.get("shared") is True
        and labels.get("key") == sharing_key(settings)
        and settings.port in (None, labels.get("port"))
        and isinstance(labels.get("url"), str)
    )


def attach_or_start(
    registry: Registry,
    settings: ChildSettings,
    start: Callable[[], Process],
    *,
    avoid: Collection[Path] = (),
) -> tuple[Process, bool]:
    """Take hold of the engine that others run with these settings, or start one.

    Two that come at the same instant end with one engine: whoever starts it holds the registry's
    lock until it can be found there.

    Parameters
    ----------
    registry : Registry
        Where to look.
    settings : ChildSettings
        How it would be started.
    start : callable
        Starts and returns it.
    avoid : collection of Path
        The run folders of engines that are not wanted.

    Returns
    -------
    tuple of (Process, bool)
        The process, and whether it was running.

    Raises
    ------
    EngineTimeout
        When another start has held the lock for a minute.
    """
    patience = time.monotonic() + ENDING_TIMEOUT
    while True:
        with registry.lock(LOCK_TIMEOUT):
            ending = False
            for entry in registry.entries():
                if entry.run_dir in avoid or not fits(entry, settings):
                    continue
                try:
                    return Process.attach(entry.run_dir), True
                except ConnectionLost:
                    ending = True  # or it does not answer: it is waited for, but not for ever
            if not ending or time.monotonic() > patience:
                return start(), False
        threading.Event().wait(POLL_SECONDS)
