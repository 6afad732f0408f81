"""Runs in Fooocus's own interpreter, and says what it finds there; nothing of ours is needed.

It is handed over as text (``python -c``), so it has to run on any Python from 3.7 on. What it finds
is written line by line, each as soon as it is known: importing PyTorch may hang, or crash.
"""

from __future__ import annotations

import json
import sys
from typing import Any

__all__ = ["MARK"]

#: What its lines begin with; packages print when they are imported.
MARK = "fooocus-nb-probe:"


def _say(**facts: Any) -> None:
    sys.stdout.write("\n" + MARK + json.dumps(facts) + "\n")
    sys.stdout.flush()


def _interpreter() -> None:
    import importlib.util
    import os
    import struct
    import sysconfig

    in_environment = sys.prefix != sys.base_prefix
    marker = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")  # noqa: PTH118
    _say(
        version=".".join(map(str, sys.version_info[:3])),
        bits=struct.calcsize("P") * 8,
        pip=importlib.util.find_spec("pip") is not None,
        managed=not in_environment and os.path.exists(marker),  # noqa: PTH110
    )


def _packages(names: list[str]) -> None:
    from importlib import metadata

    found: dict[str, Any] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except Exception:  # noqa: BLE001 - broken metadata is as good as none
            found[name] = None
    _say(packages=found)


def _torch() -> None:
    try:
        import torch  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError as error:
        missing = error.name == "torch"
        _say(torch=None, error="" if missing else f"{type(error).__name__}: {error}")
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we want to know
        _say(torch=None, error=f"{type(error).__name__}: {error}")
        return
    _say(torch=str(torch.__version__), **_device(torch))


def _device(torch: Any) -> dict[str, Any]:
    try:
        if torch.cuda.is_available():
            properties = torch.cuda.get_device_properties(0)
            wanted = f"sm_{properties.major}{properties.minor}"
            built = [name for name in torch.cuda.get_arch_list() if name.startswith("sm_")]
            # Within a generation, what was built for an older chip runs on a newer one.
            fits = any(name[3:-1] == wanted[3:-1] and name[-1] <= wanted[-1] for name in built)
            return {
                "device": "cuda",
                "device_name": properties.name,
                "device_memory": properties.total_memory,
                "device_fits": fits or not built,
            }
        mps = getattr(torch.backends, "mps", None)
        if mps is not None and mps.is_available():
            return {"device": "mps", "device_name": "Apple GPU"}
        if getattr(torch, "xpu", None) is not None and torch.xpu.is_available():
            return {"device": "xpu", "device_name": torch.xpu.get_device_name(0)}
    except Exception as error:  # noqa: BLE001
        return {"device": None, "device_error": f"{type(error).__name__}: {error}"}
    return {"device": "cpu", "device_name": "CPU"}


if __name__ == "__main__":
    _interpreter()
    _packages(sys.argv[1:])
    _torch()
