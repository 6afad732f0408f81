"""How long the logs of engines are kept: by their age, those of failures longer."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fooocus_nb.errors import GenerationStopped
from fooocus_nb.fooocus.logs.diagnosis import diagnose
from fooocus_nb.supervisor.system import here, where

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["describe_run", "mark_failed", "remove_old_logs"]

DAY_SECONDS = 86_400.0
#: How long a log is kept after its engine's end.
KEPT_DAYS = 14.0
#: How long one is kept that tells of a failure.
FAILED_DAYS = 60.0
#: How long one is kept whose engine may run where it cannot be seen from here, such as in another
#: container. While it runs its guardian touches the log, so this is long after its end.
ELSEWHERE_DAYS = 90.0
#: How much the logs of ended engines may come to; then the oldest go, those of failures last.
MAX_BYTES = 500_000_000
#: The files that tell which run a folder belongs to, where that is, and that it failed.
_RUN, _PLACE, _FAILED = "run", "place", "failed"
#: How much of the end of a log is read for whether it tells of a failure.
TAIL_BYTES = 100_000
TAIL_LINES = 500


@dataclass(frozen=True)
class _Ended:
    """The log folder of an engine that does not run any more, as far as can be told."""

    folder: Path
    #: When it was last written.
    time: float
    size: int
    #: Whether its run may be somewhere that cannot be seen from here.
    elsewhere: bool


def describe_run(folder: Path, run_dir: Path) -> None:
    """Write into a log folder which run it belongs to, and where that runs."""
    # As bytes: in an ASCII locale a path with other letters is no text.
    (folder / _RUN).write_bytes(os.fsencode(run_dir))
    (folder / _PLACE).write_text(json.dumps(here()), encoding="utf-8")


def mark_failed(folder: Path) -> None:
    """Note that the engine of a log folder has failed, so that its log is kept for longer."""
    with contextlib.suppress(OSError):
        if folder.is_dir():
            (folder / _FAILED).touch()


def remove_old_logs(root: Path, newest: Path, runtime: Sequence[Path]) -> None:
    """Remove the log folders of ended engines that are too old, or too many.

    `newest` is never removed, and `runtime` has the folders that run folders may have moved to.
    """
    ended = [
        found
        for folder in root.iterdir()
        if folder != newest and (found := _look(folder, runtime)) is not None
    ]
    left: list[_Ended] = []
    removed: list[_Ended] = []
    for found in ended:
        (removed if _is_too_old(found) else left).append(found)
    removed += _beyond(MAX_BYTES, left)
    for found in removed:
        shutil.rmtree(found.folder, ignore_errors=True)


def _beyond(most: int, ended: Sequence[_Ended]) -> list[_Ended]:
    """Return what has to go for the rest to have so many bytes: the old ones, and failures last."""
    total = sum(found.size for found in ended)
    if total <= most:
        return []  # without a look into them, which every start would wait for
    removed = []
    for found in sorted(ended, key=lambda found: (_has_failed(found), found.time)):
        if total <= most:
            break
        # One that its guardian has not touched for so long is over, wherever it ran.
        if not found.elsewhere or _days_since(found) > KEPT_DAYS:
            total -= found.size
            removed.append(found)
    return removed


def _look(folder: Path, runtime: Iterable[Path]) -> _Ended | None:
    """Return what is known of a log folder; None for one whose engine runs, and for other files."""
    try:
        elsewhere = _is_elsewhere(folder)
        if not elsewhere and _runs(folder, runtime):
            return None
        status = [path.stat() for path in (folder, *folder.iterdir())]
    except OSError:  # no folder, or somebody else has just removed it
        return None
    last = max(each.st_mtime for each in status)
    return _Ended(folder, last, sum(each.st_size for each in status[1:]), elsewhere)


def _runs(folder: Path, runtime: Iterable[Path]) -> bool:
    """Whether the run folder of a log is there, which a guardian removes at the end."""
    run_dir = _read(folder / _RUN)
    if not run_dir:
        return False
    run = folder / run_dir  # which is an absolute path
    return any(each.is_dir() for each in (run, *(parent / run.name for parent in runtime)))


def _is_elsewhere(folder: Path) -> bool:
    """Whether it cannot be told from here whether the run of a log goes on."""
    try:
        place = json.loads(_read(folder / _PLACE))
    except (ValueError, RecursionError):  # of a version that did not say
        return True
    return not isinstance(place, dict) or where(place) is not None


def _is_too_old(found: _Ended) -> bool:
    days = _days_since(found)
    if days <= KEPT_DAYS:
        return False
    if found.elsewhere:
        return days > ELSEWHERE_DAYS
    return days > FAILED_DAYS or not _has_failed(found)


def _days_since(found: _Ended) -> float:
    """Return for how many days nobody has written to a log, or touched it."""
    return (time.time() - found.time) / DAY_SECONDS


def _has_failed(ended: _Ended) -> bool:
    """Whether an engine has failed, or a generation in it, as its log tells."""
    folder = ended.folder
    if (folder / _FAILED).exists():
        return True
    found = diagnose(_tail(folder / "engine.log"))
    if found is None or issubclass(found.error, GenerationStopped):
        return False
    # So that it is read once only; that is no reason to keep it for longer.
    mark_failed(folder)
    with contextlib.suppress(OSError):
        for path in (folder / _FAILED, folder):
            os.utime(path, (ended.time, ended.time))
    return True


def _tail(path: Path) -> Sequence[str]:
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(path.stat().st_size - TAIL_BYTES, 0))
        text = file.read(TAIL_BYTES).decode("utf-8", "replace")
        return deque(text.splitlines(), TAIL_LINES)
    return ()


def _read(path: Path) -> str:
    """Return a small file's text; nothing where it is none."""
    with contextlib.suppress(OSError, ValueError):
        if path.is_file():
            with path.open("rb") as file:
                return os.fsdecode(file.read(4096))
    return ""
