"""Supervises any child process: drains its output, and ends it with its kernel.

Standard library only. Knows nothing of Fooocus, Gradio or Jupyter.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fooocus_nb.supervisor._rotate import RotatingWriter
    from fooocus_nb.supervisor.guardian_handle import ChildSpec
    from fooocus_nb.supervisor.log_files import Line, LineSplitter, LogReader, Tail
    from fooocus_nb.supervisor.process import Process

__all__ = ["ChildSpec", "Line", "LineSplitter", "LogReader", "Process", "RotatingWriter", "Tail"]

# Loaded when first used, because the guardian imports this package and must stay small.
_HOME = {
    "ChildSpec": "guardian_handle",
    "Line": "log_files",
    "LineSplitter": "log_files",
    "LogReader": "log_files",
    "Process": "process",
    "RotatingWriter": "_rotate",
    "Tail": "log_files",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
