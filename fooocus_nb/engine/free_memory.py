"""Return memory to the system that generations have freed in this kernel.

The C library of Linux keeps what a thread has freed for that thread. A generation goes through
several of them, so a kernel of thousands of generations would hold some 20 MB for nobody.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FreeMemory"]


class FreeMemory:
    """Returns free memory to the system, at most once after each generation."""

    def __init__(self) -> None:
        self._trim = _malloc_trim()
        self._some = False

    def note(self) -> None:
        """Note that a generation has ended."""
        self._some = True

    def release(self) -> None:
        """Return what is free, which takes about a millisecond; nothing where nothing has ended."""
        if self._some and self._trim is not None:
            self._some = False
            self._trim(0)


def _malloc_trim() -> Callable[[int], int] | None:
    """Return glibc's function; other C libraries have none."""
    if sys.platform != "linux":
        return None
    import ctypes

    return getattr(ctypes.CDLL(None), "malloc_trim", None)
