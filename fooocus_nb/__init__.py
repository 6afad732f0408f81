"""Fooocus in a Jupyter notebook.

The public names are loaded when they are first used: importing this package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fooocus_nb._version import __version__

if TYPE_CHECKING:
    from fooocus_nb.checkup import adoctor, doctor
    from fooocus_nb.engine import Engine
    from fooocus_nb.errors import (
        ConfigurationError,
        EngineError,
        FooocusError,
        GenerationError,
        IgnoredParameter,
        IncompleteMetadata,
        ParameterError,
        StartError,
    )
    from fooocus_nb.fooocus.corrupted import restore_model
    from fooocus_nb.fooocus.metadata import Metadata, read_log, read_metadata, write_metadata
    from fooocus_nb.fooocus.tasks import (
        Enhance,
        EnhanceImage,
        ImagePrompt,
        Inpaint,
        Outpaint,
        Upscale,
        Vary,
    )
    from fooocus_nb.health import Health
    from fooocus_nb.job import Job
    from fooocus_nb.lifecycle import EngineState
    from fooocus_nb.listing import EngineInfo, EngineList, engines
    from fooocus_nb.magics import load_ipython_extension, unload_ipython_extension
    from fooocus_nb.manager import aconnect, astart, connect, current, get, running, start
    from fooocus_nb.questions import Description
    from fooocus_nb.restarting import RestartPolicy
    from fooocus_nb.results import Image, Result
    from fooocus_nb.snapshot import Snapshot
    from fooocus_nb.widgets.gallery import gallery
    from fooocus_nb.widgets.mask_editor import MaskEditor

_HOME = {
    "ConfigurationError": "errors",
    "Description": "questions",
    "Engine": "engine",
    "EngineError": "errors",
    "EngineInfo": "listing",
    "EngineList": "listing",
    "EngineState": "lifecycle",
    "Enhance": "fooocus.tasks",
    "EnhanceImage": "fooocus.tasks",
    "FooocusError": "errors",
    "GenerationError": "errors",
    "Health": "health",
    "IgnoredParameter": "errors",
    "IncompleteMetadata": "errors",
    "Image": "results",
    "ImagePrompt": "fooocus.tasks",
    "Inpaint": "fooocus.tasks",
    "Job": "job",
    "MaskEditor": "widgets.mask_editor",
    "Metadata": "fooocus.metadata",
    "Outpaint": "fooocus.tasks",
    "ParameterError": "errors",
    "RestartPolicy": "restarting",
    "Result": "results",
    "Snapshot": "snapshot",
    "StartError": "errors",
    "Upscale": "fooocus.tasks",
    "Vary": "fooocus.tasks",
    "aconnect": "manager",
    "adoctor": "checkup",
    "astart": "manager",
    "connect": "manager",
    "current": "manager",
    "doctor": "checkup",
    "engines": "listing",
    "gallery": "widgets.gallery",
    "get": "manager",
    "load_ipython_extension": "magics",
    "read_log": "fooocus.metadata",
    "read_metadata": "fooocus.metadata",
    "restore_model": "fooocus.corrupted",
    "running": "manager",
    "start": "manager",
    "unload_ipython_extension": "magics",
    "write_metadata": "fooocus.metadata",
}

__all__ = [
    "ConfigurationError",
    "Description",
    "Engine",
    "EngineError",
    "EngineInfo",
    "EngineList",
    "EngineState",
    "Enhance",
    "EnhanceImage",
    "FooocusError",
    "GenerationError",
    "Health",
    "IgnoredParameter",
    "Image",
    "ImagePrompt",
    "IncompleteMetadata",
    "Inpaint",
    "Job",
    "MaskEditor",
    "Metadata",
    "Outpaint",
    "ParameterError",
    "RestartPolicy",
    "Result",
    "Snapshot",
    "StartError",
    "Upscale",
    "Vary",
    "__version__",
    "aconnect",
    "adoctor",
    "astart",
    "connect",
    "current",
    "doctor",
    "engines",
    "gallery",
    "get",
    "load_ipython_extension",
    "read_log",
    "read_metadata",
    "restore_model",
    "running",
    "start",
    "unload_ipython_extension",
    "write_metadata",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
