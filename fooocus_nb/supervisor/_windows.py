"""The Windows calls that the standard library lacks: job objects and creation times."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes

if sys.platform != "win32":
    msg = "this module is for Windows"
    raise ImportError(msg)

__all__ = ["creation_time", "enter_job", "processor_seconds"]

# From winnt.h.
_JOB_OBJECT_EXTENDED_LIMIT_INFORMATION = 9
_KILL_ON_JOB_CLOSE = 0x2000
_QUERY_LIMITED_INFORMATION = 0x1000
_SYNCHRONIZE = 0x100000
_WAIT_OBJECT_0 = 0

_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_kernel32.CreateJobObjectW.restype = wintypes.HANDLE
_kernel32.GetCurrentProcess.restype = wintypes.HANDLE
_kernel32.OpenProcess.restype = wintypes.HANDLE
_kernel32.WaitForSingleObject.restype = wintypes.DWORD


class _BasicLimits(ctypes.Structure):
    _fields_ = (
        ("PerProcessUserTimeLimit", ctypes.c_int64),
        ("PerJobUserTimeLimit", ctypes.c_int64),
        ("LimitFlags", ctypes.c_uint32),
        ("MinimumWorkingSetSize", ctypes.c_size_t),
        ("MaximumWorkingSetSize", ctypes.c_size_t),
        ("ActiveProcessLimit", ctypes.c_uint32),
        ("Affinity", ctypes.c_size_t),
        ("PriorityClass", ctypes.c_uint32),
        ("SchedulingClass", ctypes.c_uint32),
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
    """Put this process, and so all that it starts, into a job that ends with it; or an OSError."""
    # The handle that is returned is never closed by us: our end closes it, which ends the others.
    job = wintypes.HANDLE(_kernel32.CreateJobObjectW(None, None))
    if not job:
        raise ctypes.WinError(ctypes.get_last_error())
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
    times = _times(pid)
    return None if times is None else f"{times[0]:016x}"


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used; none when it is gone."""
    times = _times(pid)
    return 0.0 if times is None else (times[2] + times[3]) * 1e-7


def _times(pid: int) -> list[int] | None:
    """Return creation, exit, kernel and user time of a process that runs, in steps of 100 ns."""
    access = _QUERY_LIMITED_INFORMATION | _SYNCHRONIZE
    handle = wintypes.HANDLE(_kernel32.OpenProcess(access, False, pid))
    if not handle:
        return None
    try:
        # One that has ended can be opened as long as somebody holds a handle on it.
        if _kernel32.WaitForSingleObject(handle, 0) == _WAIT_OBJECT_0:
            return None
        times = [ctypes.c_uint64() for _ in range(4)]
        if not _kernel32.GetProcessTimes(handle, *(ctypes.byref(time) for time in times)):
            return None
        return [time.value for time in times]
    finally:
        _kernel32.CloseHandle(handle)
