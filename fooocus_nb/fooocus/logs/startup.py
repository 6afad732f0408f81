"""How far a starting engine has come, read from its log."""

from __future__ import annotations

import enum
import re
import time
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from fooocus_nb.fooocus.logs._log_events import (
    ANSI,
    CONNECTORS,
    RAISED_ALONE,
    THREAD,
    THREAD_FRAME,
    TRACEBACK,
    WORKER_FRAME,
)
from fooocus_nb.fooocus.logs.rules import UNRECOVERABLE
from fooocus_nb.fooocus.logs.torn_lines import Mender, is_sentence

__all__ = ["Download", "Stage", "Startup", "StartupTracker"]

#: Longer lines are looked at only up to here: a flood without newlines must cost nothing.
MAX_LINE = 4000


class Stage(enum.Enum):
    """The stages of a start, in order. Installing and downloading come only where needed."""

    SPAWNED = "spawned"
    INSTALLING = "installing"
    DOWNLOADING = "downloading"
    LOADING = "loading"
    HTTP_UP = "http up"
    READY = "ready"

    @property
    def order(self) -> int:
        """The place in the sequence, from 0."""
        return list(Stage).index(self)


@dataclass(frozen=True, slots=True)
class Download:
    """A model download as its progress bar shows it.

    Attributes
    ----------
    name : str
        The file's name.
    done : int or None
        Bytes so far, as exactly as the bar says.
    total : int or None
        Bytes in all.
    speed : float or None
        Bytes per second.
    url : str
        Where it comes from, as far as known.
    path : str
        Where it goes, as far as known.
    """

    name: str
    done: int | None = None
    total: int | None = None
    speed: float | None = None
    url: str = ""
    path: str = ""

    def __str__(self) -> str:
        """Say how far the download is, for people."""
        if self.done is None or self.total is None:
            return f"Downloading {self.name}"
        unit, size = ("GB", 1e9) if self.total >= 1e9 else ("MB", 1e6)
        text = f"Downloading {self.name}: {self.done / size:.1f} of {self.total / size:.1f} {unit}"
        return f"{text}, {self.speed / 1e6:.1f} MB/s" if self.speed is not None else text


@dataclass(frozen=True, slots=True)
class Startup:
    """How far a start has come at one moment.

    Attributes
    ----------
    stage : Stage
        The stage that it is in.
    visited : frozenset of Stage
        All stages that it has been in, this one included.
    download : Download or None
        The download that runs.
    """

    stage: Stage
    visited: frozenset[Stage]
    download: Download | None


_SIZE = r"(\d+(?:\.\d+)?)([kKMGT]?)i?B?"
_BAR = re.compile(rf"(\d{{1,3}})%\|[^|]*\|\s*{_SIZE}/{_SIZE}\s+\[[^\]]*?(?:,\s*{_SIZE}/s)?\]?\s*$")
_DOWNLOADING = re.compile(r'^Downloading: "([^"]+)" to (.+?)\s*$')
_LOCAL_URL = re.compile(r"^Running on local URL:\s+(\S+)")
_STARTED = re.compile(r"^App started successful\b(?:.*?(https?://\S+))?")
_RAISED = re.compile(r"^(?:\w+\.)*\w+: ")
_MISMATCH = re.compile(r"^Version mismatch for ([^:]+)")
_PIP = re.compile(
    r"^\s*(?:Collecting|Requirement already satisfied:|Installing|Using cached|Building wheels? for"
    r"|Preparing metadata|Successfully (?:installed|uninstalled|built)|Attempting uninstall:"
    r"|Found existing installation:|Looking in (?:indexes|links):|Downloading https?:"
    r"|Downloading \S+\.(?:whl|tar\.gz|zip))"
)
_LOADING = (
    (re.compile(r"^Fooocus version: (\S+)"), "Starting Fooocus {}"),
    (re.compile(r"^\[Cleanup\]"), "Emptying the temp folder"),
    (re.compile(r"^Total VRAM (\d+) MB"), "Looking at the hardware ({} MB of VRAM)"),
    (re.compile(r"^Device: (.+)"), "Using the device {}"),
    (re.compile(r"^model_type\b"), "Loading the base model"),
    (re.compile(r"^(?:Base model loaded|VAE loaded):"), "Loading the models"),
    (re.compile(r"^Requested to load (\S+)"), "Loading {}"),
    (re.compile(r"^Fooocus Expansion engine loaded"), "Loading the prompt expansion"),
    (re.compile(r"^Loading \d+ new models?"), "Moving the models to the device"),
    (re.compile(r"^Started worker with PID"), "Starting the worker"),
)
_FACTORS = {"": 1, "k": 2**10, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class StartupTracker:
    """Follows the log of one engine, line by line, from its first one.

    Attributes
    ----------
    stage : Stage
        How far it has come. From `Stage.HTTP_UP` on it never goes back.
    detail : str
        What it does or waits for, for people.
    download : Download or None
        The download that runs.
    url : str or None
        What the log says about where the web server answers.
    worker_dead : bool
        Whether the log says that the worker thread has ended.
    device_lost : bool
        Whether the log says that the GPU does no more of this process's work.
    last_movement : float
        When something last moved, as `time.monotonic` counts. A progress bar that is redrawn
        without having moved does not count.
    """

    def __init__(self) -> None:
        self.stage = Stage.SPAWNED
        self.detail = "Waiting for the first line of the log"
        self.download: Download | None = None
        self.url: str | None = None
        self.worker_dead = False
        self.device_lost = False
        self._thread_ends = False
        self._mender = Mender()
        self.last_movement = time.monotonic()
        self._visited = {self.stage}
        self._last_transient = ""

    @property
    def startup(self) -> Startup:
        """How far it has come by now."""
        return Startup(self.stage, frozenset(self._visited), self.download)

    def feed(self, text: str, transient: bool = False) -> None:
        """Take in one line of the log.

        Parameters
        ----------
        text : str
            The line without its ending.
        transient : bool
            Whether it is a progress bar that will be redrawn.
        """
        line = text[:MAX_LINE].rstrip()
        if not line.strip():
            if not transient:
                self._take("")
            return
        if self.download is not None and (bar := _BAR.search(line)):
            self._advance(self.download, bar)
            return
        if transient and line == self._last_transient:
            return
        self._last_transient = line if transient else ""
        self.last_movement = time.monotonic()
        if not transient:
            self._take(line)

    def _take(self, line: str) -> None:
        for whole in filter(None, self._mender.take(line)):
            if not is_sentence(whole):
                self._look_for_ends(ANSI.sub("", whole))
            self._read(whole)

    def _look_for_ends(self, line: str) -> None:
        """Look for the end of the worker, and for that of the GPU's work."""
        if match := THREAD.match(line):
            # Up to Python 3.9 the heading does not say whose thread it is; the traceback does.
            self._thread_ends = not match["target"]
            if match["target"] == "worker":
                self._mark_worker_dead()
        elif THREAD_FRAME.search(line):
            self._thread_ends = True
        elif self._thread_ends:
            if WORKER_FRAME.match(line):
                self._mark_worker_dead()
            elif not line.startswith((" ", TRACEBACK, *CONNECTORS)) and not _RAISED.match(line):
                self._thread_ends = False
        if RAISED_ALONE.match(line) and any(rule.pattern.match(line) for rule in UNRECOVERABLE):
            self.device_lost = True

    def _mark_worker_dead(self) -> None:
        self.worker_dead = True
        self.detail = "The worker has died"
        self._thread_ends = False

    def _advance(self, download: Download, bar: re.Match[str]) -> None:
        done, total = _bytes(bar[2], bar[3]), _bytes(bar[4], bar[5])
        speed = float(_bytes(bar[6], bar[7])) if bar[6] else None
        if done != download.done:
            self.last_movement = time.monotonic()
        self.download = Download(download.name, done, total, speed, download.url, download.path)
        self.detail = str(self.download)
        if done >= total:
            self.download = None

    def _read(self, line: str) -> None:
        if match := _LOCAL_URL.match(line):
            self.url = match[1].rstrip("/")
            self._enter(Stage.HTTP_UP, "The web page answers; the models are being loaded")
        elif match := _STARTED.match(line):
            self.url = self.url or (match[1].rstrip("/") if match[1] else None)
            self.download = None
            self._enter(Stage.READY, "Ready")
        elif match := _DOWNLOADING.match(line):
            self._begin_download(match[1], match[2])
        elif self.stage is not Stage.READY:
            self._read_minor(line)

    def _read_minor(self, line: str) -> None:
        if match := _MISMATCH.match(line):
            self._enter(Stage.INSTALLING, f"Installing {match[1].strip()}")
        elif _PIP.match(line):
            self._enter(Stage.INSTALLING, f"Installing: {line.strip()[:120]}")
        else:
            for pattern, detail in _LOADING:
                if match := pattern.match(line):
                    self.download = None
                    self._enter(Stage.LOADING, detail.format(*match.groups()))
                    return

    def _begin_download(self, url: str, path: str) -> None:
        name = PurePosixPath(unquote(_path_of(url))).name or url[:80]
        self.download = Download(name, url=url, path=path)
        if self.stage is not Stage.READY:
            self._enter(Stage.DOWNLOADING, str(self.download))

    def _enter(self, stage: Stage, detail: str) -> None:
        # Before HTTP is up, installing, downloading and loading take turns.
        if stage.order >= self.stage.order or self.stage.order < Stage.HTTP_UP.order:
            self.stage = stage
            self._visited.add(stage)
        self.detail = detail


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _bytes(number: str, unit: str) -> int:
    return int(float(number) * _FACTORS[unit])
