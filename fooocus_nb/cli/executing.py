"""What the commands that execute a notebook have in common."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fooocus_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jupyter_client.manager import AsyncKernelManager
    from nbformat import NotebookNode

__all__ = ["heading_above", "kernel_manager", "require_packages"]


def require_packages(needed: Iterable[str], what: str, extra: str) -> None:
    """Raise a ConfigurationError where a package is missing that `what` needs."""
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        msg = (
            f"{what} needs {', '.join(missing)} to execute a notebook.\n"
            f'Install them: python -m pip install "fooocus-nb[{extra}]"'
        )
        raise ConfigurationError(msg)


def heading_above(cells: Sequence[NotebookNode], place: int) -> str:
    """Return the last heading above a cell; empty where there is none."""
    for cell in reversed(cells[:place]):
        if cell.cell_type == "markdown":
            for line in reversed(cell.source.splitlines()):
                if line.startswith("#"):
                    return str(line.lstrip("#").strip())
    return ""


def kernel_manager() -> type[AsyncKernelManager]:
    """Return a kernel manager for the interpreter that runs this, registered or not."""
    # Else the debugger of a kernel warns of itself on the terminal, here and there: nobody uses it.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class OwnKernelManager(AsyncKernelManager):
        kernel_spec = KernelSpec(**get_kernel_dict())

    return OwnKernelManager
