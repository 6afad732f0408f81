"""Check everything that a first start needs, before it: ``fooocus-nb doctor``.

It starts no engine, downloads nothing, writes nothing, and imports neither PyTorch nor Fooocus into
this process: its interpreter is asked in a process of its own.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from fooocus_nb.doctor.environment import environment_checks
from fooocus_nb.doctor.installation import (
    config_checks,
    corrupted_check,
    login_checks,
    models_check,
    permission_check,
    version_check,
    written_folders,
)
from fooocus_nb.doctor.interpreter import interpreter_checks
from fooocus_nb.doctor.leftovers import engines_check, unmanaged_checks
from fooocus_nb.doctor.machine import disk_check, gpu_check, memory_check, port_check
from fooocus_nb.doctor.report import Check, Report, Status
from fooocus_nb.engine.config import checked_seconds, configuration, configured_path
from fooocus_nb.errors import ConfigurationError, InstallError, RestoreError
from fooocus_nb.fooocus.checkout.config_txt import read_settings
from fooocus_nb.fooocus.checkout.installation import find_checkout, locate_checkout
from fooocus_nb.fooocus.checkout.model_files import find_renamed_models, restore_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Check", "Report", "Status", "adoctor", "doctor", "restore_all"]

#: Importing PyTorch for the first time, from a slow disk, takes the better part of a minute.
DEFAULT_TIMEOUT = 90.0


def doctor(
    path: str | os.PathLike[str] | None = None,
    *,
    python: str | os.PathLike[str] | None = None,
    port: int | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> Report:
    """Check whether a Fooocus can be started here, and say what to do where it can't.

    Nothing is started but the checkout's interpreter, which is asked for its packages and its
    device; nothing is downloaded or written.

    Parameters
    ----------
    path : path-like, optional
        The checkout. By default ``FOOOCUS_HOME``, then ``c.Fooocus.path``.
    python : path-like, optional
        The interpreter that it is installed in. By default ``c.Fooocus.python``, then the one
        inside or beside the checkout.
    port : int, optional
        The port that will be asked for. By default a free one is chosen at each start.
    timeout : float
        Seconds for the interpreter to answer. Default 90.

    Returns
    -------
    Report
        A line for each of ``checkout``, ``interpreter``, ``packages``, ``torch``, ``models``,
        ``disk``, ``memory``, ``gpu``, ``port``, ``config``, ``permissions``, ``corrupted`` and
        ``engines``. Without a checkout only those that need none. ``login``, ``environment``
        and ``running`` are there only where there is something to say. What is wrong is a line of
        the report and never an exception.

    Raises
    ------
    ConfigurationError
        When `timeout` is no number of seconds.
    """
    timeout = checked_seconds("timeout", timeout)
    return Report(list(_checks(path, python, port, timeout)))


async def adoctor(
    path: str | os.PathLike[str] | None = None,
    *,
    python: str | os.PathLike[str] | None = None,
    port: int | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> Report:
    """Check whether a Fooocus can be started here; see :func:`doctor`."""
    return await asyncio.to_thread(doctor, path, python=python, port=port, timeout=timeout)


def restore_all(path: str | os.PathLike[str] | None = None) -> tuple[list[Path], list[str]]:
    """Rename back every whole ``*.corrupted`` file of a checkout's model folders.

    Parameters
    ----------
    path : path-like, optional
        The checkout. By default ``FOOOCUS_HOME``, then ``c.Fooocus.path``.

    Returns
    -------
    tuple of (list of Path, list of str)
        What has its own name again, and why the others have not.

    Raises
    ------
    ConfigurationError
        When nothing says where Fooocus is.
    InstallError
        When there is no checkout.
    """
    settings = read_settings(find_checkout(configured_path(path)))
    restored, refused = [], []
    for file in find_renamed_models(settings.model_folders()):
        try:
            restored.append(restore_model(file.path))
        except RestoreError as error:
            refused.append(str(error))
    return restored, refused


def _checks(
    path: str | os.PathLike[str] | None,
    python: str | os.PathLike[str] | None,
    port: int | None,
    timeout: float,
) -> Iterator[Check]:
    place = _located(path)
    if isinstance(place, Check):
        yield place
        yield from _machine_checks([], None, 0, port)
        return
    checkout = place.resolve()
    settings = read_settings(checkout)
    models, missing = models_check(settings)
    needed = sum(model.size or 0 for model in missing)
    yield version_check(checkout)
    yield from interpreter_checks(place, python or configuration().python or None, timeout)
    yield models
    folders = settings.folders("path_checkpoints") or [checkout / "models"]
    yield from _machine_checks(written_folders(settings), folders[0], needed, port)
    yield from config_checks(settings)
    yield from login_checks(checkout)
    yield permission_check(settings)
    yield corrupted_check(settings)
    yield engines_check()
    yield from unmanaged_checks(checkout)


def _located(path: str | os.PathLike[str] | None) -> Path | Check:
    """Return where the checkout is, or the line that says why there is none."""
    if not (path or os.environ.get("FOOOCUS_HOME") or configuration().path):
        text = "Nothing says where Fooocus is installed."
        advice = "Name its folder: fooocus-nb doctor --path ~/Fooocus, or FOOOCUS_HOME=~/Fooocus."
        return Check("checkout", "checkout", Status.FAILURE, text, advice)
    try:
        return locate_checkout(configured_path(path))
    except (ConfigurationError, InstallError) as error:
        return Check("checkout", "checkout", Status.FAILURE, str(error), "Correct the path.")


def _machine_checks(
    folders: list[Path], models: Path | None, needed: int, port: int | None
) -> Iterator[Check]:
    yield disk_check(folders, models, needed)
    yield memory_check()
    yield gpu_check()
    yield port_check(port)
    yield from environment_checks()
    if models is None:
        yield engines_check()
