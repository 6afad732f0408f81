"""Keeps a debugger of this process from the processes that it starts."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["without_debugger"]


@contextlib.contextmanager
def without_debugger() -> Iterator[None]:
    """Keep a debugger of this process from attaching itself to the ones that it starts."""
    # pydevd rewrites the command lines of each Python, which would then load the debugger, print
    # its warnings, and wait for a client that nobody is.
    monkey = sys.modules.get("_pydev_bundle.pydev_monkey")
    skip = getattr(monkey, "skip_subprocess_arg_patch", None)
    if skip is None:
        yield
        return
    with skip():
        yield
