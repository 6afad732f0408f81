"""The Windows calls that the standard library lacks: job objects and creation times."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes

if sys.platform != "win32":
    msg = "this module is for Windows"
    raise ImportError(msg)

__all__ = ["creation_time", "enter_job"]

_JOB_OBJECT_EXTENDED_LIMIT_INFORMATION = 9
_KILL_ON_JOB_CLOSE = 0x2000
_QUERY_LIMITED_INFORMATION = 0x1000

_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_kernel32.CreateJobObjectW.restype = wintypes.HANDLE
_kernel32.GetCurrentProcess.restype = wintypes.HANDLE
_kernel32.OpenProcess.restype = wintypes.HANDLE


class _BasicLimits(ctypes.Structure):
    _fields_ = (
        ("PerProcessUserTimeLimit", ctypes.c_int64),
        ("PerJobUserTimeLimit", ctypes.c_int64),
        ("LimitFlags", wintypes.DWORD),
        ("MinimumWorkingSetSize", ctypes.c_size_t),
        ("MaximumWorkingSetSize", ctypes.c_size_t),
        ("ActiveProcessLimit", wintypes.DWORD),
        ("Affinity", ctypes.c_size_t),
        ("PriorityClass", wintypes.DWORD),
        ("SchedulingClass", wintypes.DWORD),
    )


class _ExtendedLimits(ctypes.Structure):
    _fields_ = (
        ("BasicLimitInformation", _BasicLimits),
        ("IoInfo", ctypes.c_uint64 * 6),
        ("ProcessMemoryLimit", ctypes.c_size_t),
        ("JobMemoryLimit", ctypes.c_size_t),
        ("PeakProcessMemoryUsed", ctypes.c_size_t),
        ("PeakJobMemoryUsed", ctypes.c_size_t),
    )


def enter_job() -> object:
    """Put this process, and so all that it starts, into a job that ends with it.

    Returns
    -------
    object
        The job's handle. It is never closed by us: our end closes it, which ends the others.

    Raises
    ------
    OSError
        When Windows refuses.
    """
    job = wintypes.HANDLE(_kernel32.CreateJobObjectW(None, None))
    limits = _ExtendedLimits()
    limits.BasicLimitInformation.LimitFlags = _KILL_ON_JOB_CLOSE
    if not _kernel32.SetInformationJobObject(
        job, _JOB_OBJECT_EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), ctypes.sizeof(limits)
    ):
        raise ctypes.WinError(ctypes.get_last_error())
    process = wintypes.HANDLE(_kernel32.GetCurrentProcess())
    if not _kernel32.AssignProcessToJobObject(job, process):
        raise ctypes.WinError(ctypes.get_last_error())
    return job


def creation_time(pid: int) -> str | None:
    """Return when a process was created, as Windows counts it; None when it is gone."""
    handle = wintypes.HANDLE(_kernel32.OpenProcess(_QUERY_LIMITED_INFORMATION, False, pid))
    if not handle:
        return None
    try:
        times = [wintypes.FILETIME() for _ in range(4)]
        if not _kernel32.GetProcessTimes(handle, *(ctypes.byref(time) for time in times)):
            return None
        if times[1].dwLowDateTime or times[1].dwHighDateTime:
            return None  # it has ended, and somebody holds a handle on it
        return f"{times[0].dwHighDateTime:08x}{times[0].dwLowDateTime:08x}"
    finally:
        _kernel32.CloseHandle(handle)
