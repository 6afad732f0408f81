"""Whether there is room on the disks, before anything is downloaded."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import platformdirs

from fooocus_nb.doctor.machine import existing
from fooocus_nb.doctor.report import format_bytes
from fooocus_nb.errors import InstallError

__all__ = ["check_room"]

MB = 1_000_000
#: Beside what is asked for: logs, bytecode, a system that goes on.
MARGIN = 200 * MB


def check_room(target: Path, needed: int, download: int) -> str:
    """Compare what is free with what is needed, and return it for people.

    Parameters
    ----------
    target : Path
        Where the environment will be.
    needed : int
        Bytes that it will take.
    download : int
        Bytes that are downloaded: pip unpacks them in the temporary folder, and keeps them in its
        cache for the next time.

    Raises
    ------
    InstallError
        When a disk has too little.
    """
    wanted: dict[int, int] = {}
    places: dict[int, tuple[Path, int]] = {}
    for folder, number in (
        (target, needed + MARGIN),
        (_cache(), download),
        (Path(tempfile.gettempdir()), download),
    ):
        place = existing(folder)
        try:
            disk, free = place.stat().st_dev, shutil.disk_usage(place).free
        except OSError:
            continue
        places.setdefault(disk, (folder, free))
        wanted[disk] = wanted.get(disk, 0) + number
    for disk, (folder, free) in places.items():
        if free < wanted[disk]:
            msg = (
                f"There is not enough room on the disk of {str(folder)!r}: {format_bytes(free)} "
                f"are free, and {format_bytes(wanted[disk])} are needed. Make room, or give a "
                "folder on another disk; PIP_CACHE_DIR and TMPDIR name other places for what is "
                "downloaded. Nothing was downloaded."
            )
            raise InstallError(msg)
    free = next(iter(places.values()), (target, 0))[1]
    return f"{format_bytes(free)} are free, some {format_bytes(needed + download)} are needed"


def _cache() -> Path:
    given = os.environ.get("PIP_CACHE_DIR", "")
    try:
        return Path(given) if given else platformdirs.user_cache_path("pip")
    except RuntimeError:  # no home
        return Path(tempfile.gettempdir())
