"""Keeps any child process alive, drained and mortal. Standard library only.

Knows nothing of Fooocus, Gradio or Jupyter.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fooocus_nb.supervise.follow import LogReader
    from fooocus_nb.supervise.log import Line, LineSplitter, Tail
    from fooocus_nb.supervise.process import Process
    from fooocus_nb.supervise.rotate import RotatingWriter
    from fooocus_nb.supervise.spec import ChildSpec

__all__ = ["ChildSpec", "Line", "LineSplitter", "LogReader", "Process", "RotatingWriter", "Tail"]

# Loaded when first used, because the guardian imports this package and must stay small.
_HOME = {
    "ChildSpec": "spec",
    "Line": "log",
    "LineSplitter": "log",
    "LogReader": "follow",
    "Process": "process",
    "RotatingWriter": "rotate",
    "Tail": "log",
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
