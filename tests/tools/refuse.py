"""Run a command to which the system refuses some calls, as a mounted bucket does.

``python refuse.py chmod,rename,link python -c ...``; Linux only. The kernel itself refuses them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

#: The numbers of the system calls behind a name.
CALLS = {
    "x86_64": {
        "chmod": (90, 91, 268, 452),
        "rename": (82, 264, 316),
        "link": (86, 265),
        "process": (56, 57, 58, 435),
    },
    "aarch64": {"chmod": (52, 53, 452), "rename": (38, 276), "link": (37,), "process": (220, 435)},
}
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO = 0x7FFF0000, 0x00050000
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def refuse(*names: str) -> None:
    """Have every such call of this process and its children fail with EPERM, for good."""
    numbers = CALLS[platform.machine()]
    code = [(LOAD, 0, 0, 0)]
    for number in (number for name in names for number in numbers[name]):
        code += [
            (JUMP_IF_EQUAL, 0, 1, number),
            (RETURN, 0, 0, SECCOMP_RET_ERRNO | errno.EPERM),
        ]
    code.append((RETURN, 0, 0, SECCOMP_RET_ALLOW))
    raw = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in code))
    program = _Program(len(code), ctypes.cast(raw, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0
    )
    if failed:
        raise OSError(ctypes.get_errno(), "no call can be refused here")


if __name__ == "__main__":
    refuse(*sys.argv[1].split(","))
    os.execvp(sys.argv[2], sys.argv[2:])
