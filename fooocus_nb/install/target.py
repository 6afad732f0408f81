"""The folder that an installation is made in, with the state that makes it repeatable.

All that we note is in ``.fooocus-nb`` inside of it: ``state.json``, the log of what was run, and
the constraints that were used. A folder without it is not ours, and nothing in it is touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import InstallError
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.supervisor.system import creation_time, try_lock, unlock

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NOTES", "Target", "resolve_target"]

#: Our folder in the target.
NOTES = ".fooocus-nb"
STATE = "state.json"
FORMAT = 1
MAX_STATE_BYTES = 1_000_000
#: What an interrupted run may have left there before it could write its state.
FIRST_FILES = {STATE, f"{STATE}.new", "install.log", "start.lock"}
#: How long the end of a run that was killed is waited for: its child has two seconds to end.
LINGER_SECONDS = 30.0
POLL_SECONDS = 0.1
#: What :meth:`Target.remove` names a folder that it is about to remove, by the nanosecond.
_DOOMED = re.compile(r"[\w-]+-\d{19}")


def resolve_target(given: str | os.PathLike[str]) -> Path:
    """Return the absolute folder; one inside of this Python's environment is refused."""
    try:
        path = Path(os.path.expandvars(os.fspath(given))).expanduser().resolve()
        os.fsencode(path)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        msg = f"{os.fspath(given)!r} is no folder that can be used: {error}."
        raise InstallError(msg) from error
    for prefix in {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}:
        if path == prefix or (prefix in path.parents and _is_environment(prefix)):
            msg = (
                f"{str(path)!r} is inside of {str(prefix)!r}, the environment that this runs in: "
                "Fooocus would get into its way. Give another folder."
            )
            raise InstallError(msg)
    return path


def _is_environment(prefix: Path) -> bool:
    """Whether a prefix is an environment of its own, and not the system's ``/usr``."""
    return (prefix / "pyvenv.cfg").exists() or (prefix / "conda-meta").exists()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Target:
    """The folder, and what was done in it so far.

    Parameters
    ----------
    path : Path
        The folder. It is made when it is not there.

    Raises
    ------
    InstallError
        When it holds something that we did not make, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes = path / NOTES
        self.log = self.notes / "install.log"
        self._state: dict[str, Any] = {}
        self._prepare()

    def _prepare(self) -> None:
        try:
            there = _names(self.path) if self.path.exists() else []
            if there and NOTES not in there:
                shown = ", ".join(there[:3]) + (", ..." if len(there) > 3 else "")
                msg = (
                    f"{str(self.path)!r} is not empty (it holds {shown}), and not from an earlier "
                    "run of this: nothing in it is touched. Give a new or an empty folder. A "
                    f"Fooocus that is there already is checked with: fooocus-nb doctor --path "
                    f"{self.path}"
                )
                raise InstallError(msg)
            self.path.mkdir(parents=True, exist_ok=True)
            self.notes.mkdir(exist_ok=True)
            self._state = self._read(there)
        except OSError as error:
            msg = f"{str(self.path)!r} cannot be used: {error.strerror or error}."
            raise InstallError(msg) from error

    def _read(self, there: list[str]) -> dict[str, Any]:
        """Return the state; an empty one where an earlier run had not come to writing it."""
        try:
            found = json.loads(read_plain_file(self.notes / STATE, MAX_STATE_BYTES))
            if found["format"] == FORMAT and isinstance(found["steps"], dict):
                return dict(found)
        except FileNotFoundError:
            if set(there) <= {NOTES} and set(_names(self.notes)) <= FIRST_FILES:
                return {"format": FORMAT, "steps": {}}
        except (KeyError, TypeError, ValueError, RecursionError):
            pass
        msg = (
            f"{str(self.notes / STATE)!r} is missing, or not from this version: it can't be told "
            "what in this folder was made by an installation. Give a new folder."
        )
        raise InstallError(msg)

    # -- what was done ------------------------------------------------------------------------

    def get(self, name: str) -> Any:
        """Return something that was noted; None where it was not."""
        return self._state.get(name)

    def note(self, **values: Any) -> None:
        """Note something; it is on the disk when this returns."""
        self._state |= values
        self._write()

    def step(self, name: str) -> str | None:
        """Return the key with which a step was done; None where it was not, or begun anew."""
        found = self._state["steps"].get(name)
        return found if isinstance(found, str) else None

    def begin(self, name: str) -> None:
        """Note that a step, and with it those that follow, is to be done again."""
        steps = self._state["steps"]
        if steps.pop(name, None) is not None:
            self._write()

    def finish(self, name: str, key: str) -> None:
        """Note that a step was done, and with what."""
        self._state["steps"][name] = key
        self._write()

    def _write(self) -> None:
        # Not by `writing_whole`: a run that is killed in it leaves a file of a known name, which
        # tells the next run that the folder is ours (FIRST_FILES), and which that writes over.
        fresh = self.notes / f"{STATE}.new"
        try:
            with fresh.open("w", encoding="utf-8") as file:
                json.dump(self._state, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.notes / STATE)
        except OSError as error:
            msg = (
                f"{str(self.notes)!r} cannot be written: {error.strerror or error}. What was done "
                "stays: where the disk is full make room, and run the same again."
            )
            raise InstallError(msg) from error

    def holds_more_than(self, *names: str) -> bool:
        """Whether something else than our notes and what is named stands in it."""
        return not set(_names(self.path)) <= {NOTES, *names}

    # -- one run at a time --------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let nobody else install here meanwhile, and wait for what a killed run had started."""
        try:
            lock = try_lock(str(self.notes))
        except OSError:  # a file system without locks, such as some network disks
            lock = -1
        if lock is None:
            msg = f"Another installation is at work in {str(self.path)!r}: wait for its end."
            raise InstallError(msg)
        try:
            self._state = self._read([NOTES])
            self._await_earlier()
            yield
        finally:
            if lock >= 0:
                unlock(lock)

    def _await_earlier(self) -> None:
        """Wait for the programs of an earlier run, which end with it but not at once."""
        deadline = time.monotonic() + LINGER_SECONDS
        for pid, created in self.get("programs") or ():
            # Without a time, as earlier versions noted what ended at once, it tells nothing.
            while created is not None and creation_time(int(pid)) == created:
                if time.monotonic() > deadline:
                    msg = (
                        f"Process {pid}, of an installation in {str(self.path)!r} that was ended, "
                        "still runs. Wait for its end, or end it."
                    )
                    raise InstallError(msg)
                time.sleep(POLL_SECONDS)

    def remove(self, name: str) -> None:
        """Remove a folder in the target that an earlier run had begun to make."""
        folder = self.path / name
        if folder.is_symlink() or not folder.is_dir():
            return
        # Renamed first: what is removed half never looks like the whole.
        doomed = self.notes / f"{name.strip('.')}-{time.time_ns()}"
        try:
            folder.rename(doomed)
            shutil.rmtree(doomed)
        except OSError as error:
            msg = f"{str(folder)!r}, of an earlier run, cannot be removed: {error}."
            raise InstallError(msg) from error

    def tidy(self) -> None:
        """Remove what an interrupted :meth:`remove` has left."""
        for folder in self.notes.iterdir():
            # By its name: a list of generations keeps its notes in a folder that is called the
            # same, where somebody lets it write into the checkout.
            ours = _DOOMED.fullmatch(folder.name) is not None
            if ours and folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)
