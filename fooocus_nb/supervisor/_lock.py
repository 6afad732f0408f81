"""A lock between processes that dies with its holder, however that ends."""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["release", "take"]


def take(folder: str) -> int | None:
    """Try to lock a folder.

    Parameters
    ----------
    folder : str
        An existing folder.

    Returns
    -------
    int or None
        What :func:`release` needs; None when somebody else holds the lock.

    Raises
    ------
    OSError
        When the folder is on a file system without locks.
    """
    if sys.platform == "win32":
        return _take_on_windows(folder)
    import fcntl

    # The folder itself, so that there is no file of which nobody knows when it may go.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _take_on_windows(folder: str) -> int | None:
    if sys.platform != "win32":
        return None
    import msvcrt

    path = os.path.join(folder, "start.lock")  # noqa: PTH118
    try:
        # The system removes the file with its last handle.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TEMPORARY | os.O_NOINHERIT)
    except PermissionError:  # it is being removed at this moment
        return None
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def release(descriptor: int) -> None:
    """Unlock what :func:`take` has locked."""
    if sys.platform != "win32":
        import fcntl

        # Closing is not enough where a fork has inherited it.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
