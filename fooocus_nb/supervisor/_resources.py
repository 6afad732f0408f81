"""What processes have used: it tells a busy child from an idle one when both are silent."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from fooocus_nb.supervisor import _platform

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["usage_of"]

_DISK_COUNTERS = (b"read_bytes:", b"write_bytes:")


def usage_of(pids: Iterable[int]) -> tuple[float, int]:
    """Return the processor seconds and the bytes to and from disks that processes have used."""
    if sys.platform == "linux":
        used = [_linux_usage(pid) for pid in pids]
        return sum(seconds for seconds, _ in used), sum(moved for _, moved in used)
    if sys.platform == "win32":
        from fooocus_nb.supervisor import _windows

        return sum(_windows.processor_seconds(pid) for pid in pids), 0  # it tells no bytes
    wanted = ",".join(map(str, pids))
    rows = _platform.ps_lines("-o", "time=", "-p", wanted) if wanted else []
    return sum(map(_clock_seconds, rows)), 0


def _linux_usage(pid: int) -> tuple[float, int]:
    if sys.platform == "win32":
        return 0.0, 0
    fields = _platform.stat_fields(pid)
    seconds = 0.0
    if fields:  # time in user and in system mode, in ticks
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    moved = 0
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/io", "rb") as file:  # noqa: PTH123
        moved = sum(int(line.split()[1]) for line in file if line.startswith(_DISK_COUNTERS))
    return seconds, moved


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
