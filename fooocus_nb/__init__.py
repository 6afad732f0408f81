"""Fooocus in a Jupyter notebook.

The public names stand in ``__init__.pyi``, each once, and are loaded when they are first used:
importing this package costs next to nothing.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType

__version__ = "0.2.0"

#: The rooms that are of no use without processes and sockets.
_NEED_PROCESSES = tuple(f"{__name__}.{room}" for room in ("doctor", "engine", "magics"))


@functools.cache
def _homes() -> dict[str, str]:
    """Return the module of each public name."""
    # Not for the guardian, which imports this package, too, and has to stay small.
    import ast
    from pathlib import Path

    stub = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    return {
        alias.name: node.module
        for node in ast.parse(stub).body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def __getattr__(name: str) -> object:
    if name == "__all__":
        return __dir__()
    if name.startswith("__") or name not in _homes():
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    if sys.platform == "emscripten" and _homes()[name].startswith(_NEED_PROCESSES):
        from fooocus_nb.errors import ConfigurationError

        msg = (
            f"fooocus_nb.{name} cannot be used in JupyterLite: Python runs inside of the browser "
            "there, where no process can be started and no connection be made. It takes a notebook "
            "server, such as JupyterLab on the computer with the GPU, Colab or Kaggle."
        )
        raise ConfigurationError(msg)
    value = getattr(importlib.import_module(_homes()[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*_homes(), "__version__"])


class _FrontDoor(ModuleType):
    """A package in which a public name wins over a subpackage of the same name."""

    def __setattr__(self, name: str, value: object) -> None:
        # The import system sets `fooocus_nb.doctor` to the subpackage as soon as anything in it is
        # imported; the public name `doctor` is the function.
        if not (isinstance(value, ModuleType) and name == "doctor"):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _FrontDoor
