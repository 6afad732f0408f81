"""Run a program of somebody else's for its answer, and never wait for it longer than allowed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fooocus_nb.supervisor.system import without_debugger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Answer", "ask"]

END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said.

    Attributes
    ----------
    returncode : int or None
        How it ended; None where it was ended for taking too long.
    output : str
        What it wrote to its standard output.
    errors : str
        What it wrote to its standard error.
    """

    returncode: int | None
    output: str
    errors: str


def ask(
    argv: Sequence[str],
    timeout: float,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Answer:
    """Run a program.

    Parameters
    ----------
    argv : sequence of str
        Its command line.
    timeout : float
        Seconds after which it is ended, with all that it has started.
    env : mapping, optional
        Its environment; by default ours.
    cwd : Path, optional
        Its working folder; by default ours.

    Returns
    -------
    Answer
        What it said until its end.

    Raises
    ------
    OSError
        When it cannot be started.
    """
    with without_debugger():
        process = subprocess.Popen(
            list(argv),
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=sys.platform != "win32",
        )
    returncode: int | None = None
    try:
        output, errors = process.communicate(timeout=timeout)
        returncode = process.returncode
    except subprocess.TimeoutExpired:
        _end(process)
        output, errors = _rest(process)
    except BaseException:
        _end(process)
        _rest(process)
        raise
    return Answer(returncode, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace"))


def _rest(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Return what an ended program had said; one that left its group may hold the pipes open."""
    try:
        return process.communicate(timeout=END_SECONDS)
    except subprocess.TimeoutExpired as error:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        return error.output or b"", error.stderr or b""


def _end(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
