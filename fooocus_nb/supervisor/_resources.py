"""How much processes have worked: what tells a busy child from an idle one when both are silent."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from fooocus_nb.supervisor import _platform

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["work_of"]


def work_of(pids: Iterable[int]) -> tuple[float, int]:
    """Return what processes have done since they began.

    Parameters
    ----------
    pids : iterable of int
        The processes; one that has ended counts for nothing.

    Returns
    -------
    tuple of (float, int)
        Seconds of processor time, and bytes read from disks. The bytes are 0 where the platform
        does not tell.
    """
    if sys.platform == "linux":
        works = [_linux_work(pid) for pid in pids]
        return sum(seconds for seconds, _ in works), sum(read for _, read in works)
    if sys.platform == "win32":
        from fooocus_nb.supervisor import _windows

        return sum(_windows.processor_seconds(pid) for pid in pids), 0
    wanted = ",".join(map(str, pids))
    rows = _platform._ps("-o", "time=", "-p", wanted) if wanted else []
    return sum(map(_clock_seconds, rows)), 0


def _linux_work(pid: int) -> tuple[float, int]:
    if sys.platform == "win32":
        return 0.0, 0
    fields = _platform._stat_fields(pid)
    seconds = 0.0
    if fields:  # time in user and in system mode, in ticks
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    read = 0
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/io", "rb") as file:  # noqa: PTH123
        read = next(int(line.split()[1]) for line in file if line.startswith(b"read_bytes:"))
    return seconds, read


def _clock_seconds(text: str) -> float:
    """Return the seconds in ``[[days-]hours:]minutes:seconds``."""
    days, _, clock = text.strip().rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        try:
            seconds = 60 * seconds + float(part)
        except ValueError:
            return 0.0
    return seconds + 86_400 * int(days or 0)
