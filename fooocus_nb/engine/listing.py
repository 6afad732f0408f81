"""All engines of a user, whichever kernel has started them: listed and stopped from outside."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, overload
from urllib.parse import urlsplit

from fooocus_nb import _html
from fooocus_nb.engine.asleep_records import asleep_records
from fooocus_nb.engine.folders import runtime_paths
from fooocus_nb.engine.health import memory_of
from fooocus_nb.engine.jobs.records import records_in
from fooocus_nb.engine.names import listed_name, notebooks_in, unique_name
from fooocus_nb.errors import ConfigurationError, ConnectionLost, EngineError, nearest
from fooocus_nb.supervisor import Process
from fooocus_nb.supervisor.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from fooocus_nb.engine.jobs.records import JobRecord
    from fooocus_nb.supervisor.registry import Entry, State

__all__ = [
    "AmbiguousName",
    "Asleep",
    "EngineInfo",
    "EngineList",
    "Listed",
    "asleep",
    "engines",
    "find",
    "named",
    "survey",
]

#: How long an engine's web server and guardian may take to answer who lists them: a person waits,
#: while the watchdog, which nobody waits for, is more patient.
LOOK_TIMEOUT = 2.0
#: How long one that is ending already is waited for.
END_TIMEOUT = 25.0
POLL_SECONDS = 0.05
#: An engine that goes on without a kernel says something with each step.
SILENCE_SECONDS = 60.0
HEADINGS = (
    *("name", "what", "pid", "address", "state", "users", "notebook"),
    *("lifetime", "since", "memory"),
)


class AmbiguousName(ConfigurationError):
    """More than one engine has the name that was given."""


@dataclass(frozen=True)
class EngineInfo:
    """A running engine, as it was when it was listed.

    Attributes
    ----------
    name : str
        What it was called when it was started, with a number where another engine of the user
        had that name already: each kernel has its own names, but here they are unique.
    title : str
        What runs: ``Fooocus 2.5.5`` or ``demo engine``.
    pid : int
        The process id; 0 for one that is asleep.
    url : str
        Where its web server answers.
    state : str
        ``starting``, ``ready``, ``busy``, ``asleep``, ``stopping``, ``unresponsive`` where its
        guardian or its web server does not answer, or ``elsewhere`` where it cannot be judged from
        here whether it runs: it was started in another container or on another host.
    users : int or None
        How many kernels use it; None where its guardian does not answer.
    notebooks : tuple of str
        The notebooks and scripts that use it, as far as they are known: their paths, or the id of
        the kernel.
    lifetime : str
        ``kernel`` or ``detached``.
    idle_timeout : float or None
        Seconds that it may idle without users, where it is detached.
    shared : bool
        Whether other kernels can use it.
    since : float
        When it was started, in seconds since the epoch.
    memory : int or None
        Resident memory of it and its children, in bytes.
    log_path : Path
        Its log file.
    """

    name: str
    title: str
    pid: int
    url: str
    state: str
    users: int | None
    notebooks: tuple[str, ...]
    lifetime: str
    idle_timeout: float | None
    shared: bool
    since: float
    memory: int | None
    log_path: Path
    #: None for one that sleeps.
    _entry: Entry | None = dataclasses.field(repr=False, compare=False)

    def runs(self) -> bool:
        """Whether it still runs; also one of which that cannot be judged from here."""
        entry = self._entry
        return entry is not None and (entry.elsewhere is not None or entry.proven())

    def stop(self) -> None:
        """Stop it, whoever uses it. One that has ended meanwhile is no error.

        It has its grace to end by itself, 10 s by default; then it is ended.

        Raises
        ------
        EngineError
            When it was started in another container or on another host, sleeps, or its processes
            are not what its guardian has published.
        """
        entry = self._entry
        if entry is None:
            msg = f"Engine {self.name!r} is asleep: nothing of it runs that could be stopped."
            raise EngineError(msg, remedy="engine.stop() in its notebook keeps it from waking up.")
        if entry.elsewhere is not None:
            msg = f"Engine {self.name!r} was started {entry.elsewhere}."
            remedy = f"Stop it there. If nothing runs there, remove {entry.run_dir}."
            raise EngineError(msg, remedy=remedy)
        deadline = time.monotonic() + END_TIMEOUT
        while self.runs() and entry.look() is not None and time.monotonic() < deadline:
            try:
                Process.attach(entry.run_dir).stop()
            except ConnectionLost:  # it is ending already
                threading.Event().wait(POLL_SECONDS)
        if not self.runs():
            return
        # Its guardian has not ended it; but what is published can be forged, or damaged.
        if not entry.genuine():
            msg = (
                f"Engine {self.name!r} is left alone: process {self.pid} does not prove to be what "
                "its guardian has started."
            )
            raise EngineError(msg, remedy=f"If it is none, remove {entry.run_dir}.")
        entry.kill_tree()

    def as_dict(self) -> dict[str, Any]:
        """Return what is known of it, fit for JSON."""
        fields = (field.name for field in dataclasses.fields(self) if field.name[0] != "_")
        known = {name: getattr(self, name) for name in fields}
        return {**known, "log_path": str(self.log_path)}

    def cells(self) -> tuple[str, ...]:
        """Return its row in a table for people."""
        unit, size = ("GB", 1e9) if (self.memory or 0) >= 1e9 else ("MB", 1e6)
        memory = "" if self.memory is None else f"{self.memory / size:.1f} {unit}"
        lifetime = self.lifetime
        if self.idle_timeout is not None:
            lifetime += f", idles up to {_html.duration(self.idle_timeout)}"
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.since))
        notebooks = ", ".join(PurePath(notebook).name for notebook in self.notebooks)
        users = "?" if self.users is None else str(self.users)
        return (
            *(self.name, self.title, str(self.pid or ""), self.url),
            *(self.state, users, notebooks, lifetime, since, memory),
        )


class EngineList(Sequence[EngineInfo]):
    """Engines, oldest first; a notebook shows them as a table.

    Parameters
    ----------
    engines : sequence of EngineInfo
        The engines.
    """

    def __init__(self, engines: Sequence[EngineInfo]) -> None:
        self._engines = tuple(engines)

    @overload
    def __getitem__(self, index: int) -> EngineInfo: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[EngineInfo, ...]: ...
    def __getitem__(self, index: int | slice) -> EngineInfo | tuple[EngineInfo, ...]:
        return self._engines[index]

    def __len__(self) -> int:
        return len(self._engines)

    def __repr__(self) -> str:
        if not self._engines:
            return "No engine of yours runs."
        rows = [HEADINGS, *(map(_html.clean, info.cells()) for info in self._engines)]
        table = [tuple(row) for row in rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = (zip(row, widths, strict=True) for row in table)
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in line).rstrip() for line in lines
        )

    def _repr_html_(self) -> str:
        if not self._engines:
            return _html.wrap(_html.escape(repr(self)))
        rows = [info.cells() for info in self._engines]
        return _html.wrap(_html.data_table(HEADINGS, rows, title="Your engines"))


def engines() -> EngineList:
    """List all engines of this user on this machine, whichever kernel has started them.

    What killed guardians have left behind is removed on the way; what may run in another container
    or on another host is listed, but left alone. An engine that does not answer costs 4 s at most.

    Returns
    -------
    EngineList
        Oldest first.
    """
    found = {listed.info.name: listed.info for listed in survey()}
    found |= {one.info.name: one.info for one in asleep(found)}
    return EngineList(list(found.values()))


@dataclass(frozen=True)
class Asleep:
    """An engine that sleeps: nothing of it runs, and its kernels start it when they need it."""

    info: EngineInfo
    #: The process ids of its kernels, each with its notebook, as far as that is known.
    kernels: tuple[tuple[int, str], ...]

    @property
    def advice(self) -> str:
        """Why it can't be asked for anything."""
        return (
            f"Engine {self.info.name!r} is asleep: nothing of it runs. The next generation in its "
            "notebook starts it again; engine.stop() there keeps it from waking up."
        )


@dataclass(frozen=True)
class Listed:
    """An engine as it is listed, with what its guardian has published and said."""

    info: EngineInfo
    entry: Entry
    #: What the guardian says; None where it does not answer.
    said: State | None
    #: The generations that its kernels wait for, and those that go on without a kernel.
    records: tuple[JobRecord, ...]

    @property
    def generation(self) -> JobRecord | None:
        """The one that runs, as far as its kernels have written it down."""
        moving = [record for record in self.records if _moves(record, self.said)]
        return moving[0] if moving else None


def survey(*, probe: bool = True) -> list[Listed]:
    """Return all engines of this user, as :func:`engines` lists them.

    Without `probe` no web server is asked whether it answers, which takes no time of an engine.
    """
    found: dict[str, Listed] = {}
    for entry in Registry(*runtime_paths()).survey():
        listed = _listed(entry, probe=probe)
        # Those that were started at the same instant could not know of each other.
        name = unique_name(listed.info.name, found)
        info = dataclasses.replace(listed.info, name=name)
        found[name] = dataclasses.replace(listed, info=info)
    return list(found.values())


def asleep(taken: Collection[str] = ()) -> list[Asleep]:
    """Return the engines that sleep; one that several kernels used is one, as its log tells.

    Their names are none of those that are taken.
    """
    found: dict[Path, EngineInfo] = {}
    kernels: dict[Path, list[tuple[int, str]]] = {}
    for known in asleep_records():
        with contextlib.suppress(KeyError, TypeError, ValueError):
            one = _sleeper(known)
            kernels.setdefault(one.log_path, []).append(
                (int(known["kernel"]), str(known["notebook"]))
            )
            same = found.get(one.log_path)
            found[one.log_path] = (
                one
                if same is None
                else dataclasses.replace(
                    same, users=(same.users or 0) + 1, notebooks=(*same.notebooks, *one.notebooks)
                )
            )
    listed: dict[str, Asleep] = {}
    for path, info in found.items():
        name = unique_name(info.name, {*taken, *listed})
        listed[name] = Asleep(dataclasses.replace(info, name=name), tuple(kernels[path]))
    return list(listed.values())


def _sleeper(known: Mapping[str, Any]) -> EngineInfo:
    """Return what is listed of an engine that sleeps."""
    idle_timeout = known["idle_timeout"]
    return EngineInfo(
        name=str(known["name"]),
        title=str(known["title"]),
        pid=0,
        url="",
        state="asleep",
        users=1,
        notebooks=(str(known["notebook"]),) if known["notebook"] else (),
        lifetime="kernel" if idle_timeout is None else "detached",
        idle_timeout=idle_timeout,
        shared=bool(known["shared"]),
        since=float(known["since"]),
        memory=None,
        log_path=Path(known["log_path"]),
        _entry=None,
    )


def find(name: str) -> Listed | Asleep:
    """Return the engine of a name or a process id that runs, or of a name that sleeps.

    Raises
    ------
    AmbiguousName
        When several that run answer to it.
    ConfigurationError
        When there is none.
    """
    found = survey(probe=False)
    try:
        info = named(name, [listed.info for listed in found])
    except AmbiguousName:
        raise
    except ConfigurationError:
        for sleeper in asleep({listed.info.name for listed in found}):
            if sleeper.info.name == name:
                return sleeper
        raise
    return next(listed for listed in found if listed.info is info)


def named(name: str, found: Sequence[EngineInfo]) -> EngineInfo:
    """Return the engine of a name or a process id, of those that run."""
    fitting = [info for info in found if name in (info.name, str(info.pid))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        pids = ", ".join(str(info.pid) for info in fitting)
        msg = f"{len(fitting)} engines are named {name!r}. Say which by its process id: {pids}."
        raise AmbiguousName(msg)
    names = [info.name for info in found]
    told = [
        info.name if names.count(info.name) == 1 else f"{info.name} (process {info.pid})"
        for info in found
    ]
    known = f"There are: {', '.join(told)}." if told else "None runs."
    msg = f"There is no engine named {name!r}. {known}{nearest(name, names)}"
    raise ConfigurationError(msg)


def _listed(entry: Entry, *, probe: bool) -> Listed:
    said = entry.look(LOOK_TIMEOUT)
    records = tuple(records_in(entry.run_dir))
    url = str(entry.labels.get("url", ""))
    if entry.elsewhere is not None:
        state = "elsewhere"
    elif said is None:
        state = "unresponsive"
    elif said.ending is not None or said.returncode is not None:
        state = "stopping"
    elif not entry.labels.get("ready"):
        state = "starting"
    elif probe and not _answers(url):
        state = "unresponsive"
    else:
        state = "busy" if any(_moves(record, said) for record in records) else "ready"
    info = EngineInfo(
        name=listed_name(entry.name, entry.labels),
        title=str(entry.labels.get("title", "")),
        pid=entry.pid,
        url=url,
        state=state,
        users=None if said is None else said.users,
        notebooks=notebooks_in(entry.labels, elsewhere=entry.elsewhere is not None),
        lifetime="kernel" if entry.idle_timeout is None else "detached",
        idle_timeout=entry.idle_timeout,
        shared=entry.labels.get("shared") is True,
        since=entry.started_at,
        memory=memory_of(entry.pid) if entry.elsewhere is None else None,
        log_path=entry.log_path,
        _entry=entry,
    )
    return Listed(info, entry, said, records)


def _moves(record: JobRecord, said: State | None) -> bool:
    """Whether a kernel is waiting for a generation, or it goes on without its kernel."""
    return not record.orphaned or (said is not None and said.silence < SILENCE_SECONDS)


def _answers(url: str) -> bool:
    """Whether a web server answers there, whatever it says."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port or 80, timeout=LOOK_TIMEOUT
    )
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            return False
    return True
