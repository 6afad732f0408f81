"""Records of what the cells of a notebook asked for, so that a later kernel can resume it.

It is in the user's own state folder and not in the engine's run folder, which goes with the engine:
what was finished can be shown when the engine has idled out. One file for each generation, written
aside and renamed, as the folder may be on a shared disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.engine.folders import state_folder
from fooocus_nb.engine.jobs.records import (
    SESSION,
    kernel_has_ended,
    record_path,
    replace_file,
    small,
)
from fooocus_nb.engine.names import notebook_path, running_shell
from fooocus_nb.fooocus.client import new_session_hash
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.requests import Request
from fooocus_nb.fooocus.whole_files import writing_whole
from fooocus_nb.supervisor.system import creation_time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from fooocus_nb.results import Image

__all__ = [
    "DONE",
    "FAILED",
    "STOPPED",
    "WAITING",
    "CellRequest",
    "CellRequests",
    "Execution",
    "FinishedImage",
    "StartedWith",
    "cell_requests_in",
    "started_with",
    "this_execution",
]

#: How long it can be resumed; the logs are kept as long.
KEPT_SECONDS = 14 * 86_400.0
#: How many generations of one notebook are remembered.
MAX_RECORDS = 500
#: What is larger was not written by us; a sweep names all of its cells.
MAX_BYTES = 8 << 20
#: On users' disks: it keeps its name, whatever the modules are called.
FOLDER = "asked"
ENGINE_PREFIX = "engine-"
#: The images of one generation, as they are sent: a file of its own, which goes when it has ended.
VALUES_PREFIX, VALUES_SUFFIX = "values-", ".txt"
#: How large all of them may be for one notebook; what is beyond that is not kept.
MAX_VALUES_BYTES = 256 << 20
WAITING, DONE, STOPPED, FAILED = "waiting", "done", "stopped", "failed"
_STATES = frozenset({WAITING, DONE, STOPPED, FAILED})


@dataclass(frozen=True)
class Execution:
    """One execution of a cell."""

    #: The path of the notebook.
    notebook: str
    #: The id of the message that asked for it.
    message: str
    #: The id of the cell in the notebook; of its text where the frontend does not tell.
    cell: str
    #: The number that the notebook shows beside the cell.
    count: int


@dataclass(frozen=True)
class FinishedImage:
    """A finished image."""

    path: Path
    sha256: str
    seed: int | None


@dataclass(frozen=True)
class StartedWith:
    """How the engine of a notebook was started, so that it can be attached to again."""

    run_dir: Path
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class CellRequest:
    """A generation that a cell has asked for, or a sweep, which has a `run` and no request."""

    session_hash: str
    execution: Execution
    #: Seconds since the epoch; orders them.
    time: float
    state: str
    #: The name and the run folder of its engine.
    engine: str
    run_dir: Path
    kernel: int
    kernel_created: str | None
    request: Request | None = None
    #: The parameters that are too large for the record: images. See :attr:`whole_request`.
    left_out: tuple[str, ...] = ()
    output_dir: Path | None = None
    #: The folder of a sweep's run, and its cells.
    run: Path | None = None
    cells: tuple[str, ...] = ()
    ended: float | None = None
    images: tuple[FinishedImage, ...] = field(default=())

    @property
    def whole_request(self) -> Request | None:
        """The request with its images; None for a sweep, or where they have not been kept."""
        if self.request is None or not self.left_out:
            return self.request
        path = _values_file(_folder_of(self.execution.notebook), self.session_hash)
        try:
            known = json.loads(read_plain_file(path, MAX_VALUES_BYTES))
            large = {name: known[name] for name in self.left_out}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return replace(self.request, values={**self.request.values, **large})

    @property
    def sent(self) -> bool:
        """Whether an engine has it, or had it when its kernel ended."""
        return record_path(self.run_dir, self.session_hash).exists()

    @property
    def orphaned(self) -> bool:
        """Whether the kernel that asked for it has ended."""
        return kernel_has_ended(self.kernel, self.kernel_created)


def this_execution() -> Execution | None:
    """Return the execution of a cell that this runs in; None where no notebook is known."""
    notebook = notebook_path()
    shell = running_shell()
    kernel = getattr(shell, "kernel", None)
    if not notebook or shell is None or kernel is None:
        return None
    try:
        parent = kernel.get_parent("shell")
        header, metadata = parent["header"], parent.get("metadata") or {}
        if header["msg_type"] != "execute_request":
            return None  # the callback of a widget: its images are in the widget
        text = str(parent["content"].get("code", ""))
        cell = metadata.get("cellId") or hashlib.sha256(text.encode()).hexdigest()[:16]
        return Execution(notebook, str(header["msg_id"]), str(cell), int(shell.execution_count))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None  # a kernel that is none of ipykernel's


class CellRequests:
    """Writes down what the cells of this kernel ask one engine for.

    `run_dir` is None for an engine that is none of ours: nobody can go on with what it does.
    `arguments` are those of the start, for who attaches to the engine again.
    """

    def __init__(
        self, name: str, run_dir: Callable[[], Path | None], arguments: Mapping[str, Any] | None
    ) -> None:
        self._name = name
        self._run_dir = run_dir
        self._arguments = arguments
        self._files: dict[str, Path] = {}
        self._values: dict[str, Path] = {}
        self._told: set[tuple[str, Path]] = set()

    @property
    def run_dir(self) -> Path | None:
        """The run folder of the engine; None where it has none now."""
        return self._run_dir()

    def ask(self, request: Request, output_dir: Path) -> str:
        """Write down a generation that is about to be submitted; return its session hash."""
        kept = small(request.values)
        large = {name: value for name, value in request.values.items() if name not in kept}
        return self._ask(
            large,
            request=Request(kept, small(request.given), request.seed),
            left_out=tuple(large),
            output_dir=output_dir,
        )

    def ask_sweep(self, run: Path, cells: Iterable[str]) -> str:
        """Write down a sweep that is about to be made; return what :meth:`end` takes."""
        return self._ask({}, run=run, cells=tuple(cells))

    def resume(self, requested: CellRequest) -> None:
        """Look after what an earlier kernel has asked for, and this one goes on with."""
        with contextlib.suppress(OSError):
            folder = _notebook_folder(requested.execution.notebook)
            self._files[requested.session_hash] = _file(folder, requested.session_hash)

    def adopt(self, session_hash: str) -> None:
        """Look after one that an engine goes on with, of whatever notebook and earlier kernel."""
        with contextlib.suppress(OSError, KeyError, TypeError, ValueError):
            for path in state_folder(FOLDER).glob(f"*/{session_hash}.json"):
                if _read(path).state == WAITING:
                    self._files[session_hash] = path

    def drop(self, session_hashes: Iterable[str]) -> None:
        """Note that some will never be sent."""
        for session_hash in session_hashes:
            self._change(session_hash, state=STOPPED, ended=time.time())

    def end(self, session_hash: str, state: str, images: Collection[Image] = ()) -> None:
        """Note how one has ended."""
        if session_hash not in self._files:  # of a script or a sweep's cell: no image need be read
            return
        found = []
        for image in images:
            with contextlib.suppress(OSError):  # somebody has removed it
                found.append(FinishedImage(image.path, image.sha256, image.seed))
        self._change(session_hash, state=state, ended=time.time(), images=tuple(found))

    def _ask(self, large: Mapping[str, Any], **what: Any) -> str:
        session_hash, execution, run_dir = new_session_hash(), this_execution(), self._run_dir()
        if execution is None or run_dir is None:
            return session_hash
        requested = CellRequest(
            session_hash=session_hash,
            execution=execution,
            time=time.time(),
            state=WAITING,
            engine=self._name,
            run_dir=run_dir,
            kernel=os.getpid(),
            kernel_created=creation_time(os.getpid()),
            **what,
        )
        # What cannot be written down must not cost the generation.
        with contextlib.suppress(OSError, TypeError, ValueError):
            folder = _notebook_folder(execution.notebook)
            self._tell_start(folder, execution.notebook, run_dir)
            path = _file(folder, session_hash)
            if large:
                self._keep_values(_values_file(folder, session_hash), large)
            replace_file(path, _content(requested))
            self._files[session_hash] = path
        return session_hash

    def _keep_values(self, path: Path, large: Mapping[str, Any]) -> None:
        """Keep the images of a generation until it has ended; those of many are one file."""
        data = json.dumps(large).encode()
        digest = hashlib.sha256(data).hexdigest()
        known = self._values.get(digest)
        with contextlib.suppress(OSError):
            if known is not None:
                os.link(known, path)
                self._values[digest] = path
                return
        if len(data) + _kept_bytes(path.parent) > MAX_VALUES_BYTES:
            return
        with contextlib.suppress(OSError):
            with writing_whole(path, private=True) as part:
                part.write_bytes(data)
            self._values[digest] = path

    def _tell_start(self, folder: Path, notebook: str, run_dir: Path) -> None:
        """Write down how the engine was started, and remove what is old; once for each start."""
        if self._arguments is None or (notebook, run_dir) in self._told:
            return
        self._told.add((notebook, run_dir))
        content = {"run_dir": str(run_dir), "arguments": dict(self._arguments)}
        replace_file(folder / f"{ENGINE_PREFIX}{run_dir.name}.json", content)
        _remove_old(folder)

    def _change(self, session_hash: str, **changes: Any) -> None:
        path = self._files.get(session_hash)
        if path is not None:
            # First: whoever is killed before the second leaves no images behind for two weeks.
            with contextlib.suppress(OSError):
                _values_file(path.parent, session_hash).unlink(missing_ok=True)
            with contextlib.suppress(OSError, KeyError, TypeError, ValueError):
                replace_file(path, _content(replace(_read(path), **changes)))


def cell_requests_in(notebook: str) -> list[CellRequest]:
    """Return what the cells of a notebook have asked for, oldest first, of each its last execution.

    Whoever runs a cell again does not want what it had asked for before.
    """
    found = []
    for path in _folder_of(notebook).glob("*.json"):
        if not path.name.startswith(ENGINE_PREFIX):
            with contextlib.suppress(OSError, KeyError, TypeError, ValueError):
                found.append(_read(path))
    found.sort(key=lambda each: each.time)
    last = {each.execution.cell: each.execution.message for each in found}
    return [
        requested
        for requested in found
        if last[requested.execution.cell] == requested.execution.message
    ]


def started_with(notebook: str) -> list[StartedWith]:
    """Return how the engines of a notebook were started, the newest first."""
    files = sorted(_folder_of(notebook).glob(f"{ENGINE_PREFIX}*.json"), key=_time, reverse=True)
    found = []
    for path in files:
        with contextlib.suppress(OSError, KeyError, TypeError, ValueError):
            known = _load(path)
            found.append(StartedWith(Path(known["run_dir"]), dict(known["arguments"])))
    return found


def _folder_of(notebook: str) -> Path:
    digest = hashlib.sha256(os.fsencode(notebook)).hexdigest()[:24]
    return state_folder(FOLDER) / digest


def _notebook_folder(notebook: str) -> Path:
    folder = _folder_of(notebook)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _file(folder: Path, session_hash: str) -> Path:
    return folder / f"{session_hash}.json"


def _values_file(folder: Path, session_hash: str) -> Path:
    return folder / f"{VALUES_PREFIX}{session_hash}{VALUES_SUFFIX}"


def _kept_bytes(folder: Path) -> float:
    """Return how much all images in a folder take; what has several names counts once."""
    total = 0.0
    for path in folder.glob(f"{VALUES_PREFIX}*{VALUES_SUFFIX}"):
        with contextlib.suppress(OSError):
            status = path.stat()
            total += status.st_size / max(status.st_nlink, 1)
    return total


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _remove_old(folder: Path) -> None:
    """Remove what nobody resumes any more, of this notebook and of others."""
    oldest = time.time() - KEPT_SECONDS
    files = sorted(folder.glob("*.json"), key=_time, reverse=True)
    for place, path in enumerate(files):
        if place >= MAX_RECORDS or _time(path) < oldest:
            path.unlink(missing_ok=True)
    for path in folder.glob(f"{VALUES_PREFIX}*{VALUES_SUFFIX}"):
        if not _file(folder, path.name[len(VALUES_PREFIX) : -len(VALUES_SUFFIX)]).exists():
            path.unlink(missing_ok=True)
    for other in folder.parent.iterdir():
        # A folder is as old as the last file that came or went.
        if other != folder and _time(other) < oldest:
            shutil.rmtree(other, ignore_errors=True)


def _content(requested: CellRequest) -> dict[str, Any]:
    request, execution = requested.request, requested.execution
    return {
        "session": requested.session_hash,
        "notebook": execution.notebook,
        "message": execution.message,
        "cell": execution.cell,
        "count": execution.count,
        "time": requested.time,
        "state": requested.state,
        "engine": requested.engine,
        "run_dir": str(requested.run_dir),
        "kernel": requested.kernel,
        "kernel_created": requested.kernel_created,
        "request": request
        and {"values": request.values, "given": request.given, "seed": str(request.seed)},
        "left_out": requested.left_out,
        "output_dir": requested.output_dir and str(requested.output_dir),
        "run": requested.run and str(requested.run),
        "cells": requested.cells,
        "ended": requested.ended,
        "images": [
            {"path": str(image.path), "sha256": image.sha256, "seed": _text(image.seed)}
            for image in requested.images
        ],
    }


def _text(seed: int | None) -> str | None:
    return None if seed is None else str(seed)


def _load(path: Path) -> dict[str, Any]:
    known: dict[str, Any] = json.loads(read_plain_file(path, MAX_BYTES))
    return known


def _read(path: Path) -> CellRequest:
    known = _load(path)
    if not SESSION.fullmatch(known["session"]) or known["state"] not in _STATES:
        msg = f"{path} is no record of ours"
        raise ValueError(msg)
    request, images = known["request"], known["images"]
    return CellRequest(
        session_hash=known["session"],
        execution=Execution(
            known["notebook"], known["message"], known["cell"], int(known["count"])
        ),
        time=float(known["time"]),
        state=known["state"],
        engine=known["engine"],
        run_dir=Path(known["run_dir"]),
        kernel=int(known["kernel"]),
        kernel_created=known["kernel_created"],
        request=request
        and Request(dict(request["values"]), dict(request["given"]), int(request["seed"])),
        left_out=tuple(known["left_out"]),
        output_dir=known["output_dir"] and Path(known["output_dir"]),
        run=known["run"] and Path(known["run"]),
        cells=tuple(known["cells"]),
        ended=known["ended"],
        images=tuple(
            FinishedImage(
                Path(image["path"]),
                str(image["sha256"]),
                None if image["seed"] is None else int(image["seed"]),
            )
            for image in images
        ),
    )
