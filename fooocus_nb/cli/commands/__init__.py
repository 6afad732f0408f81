"""The commands of ``fooocus-nb``: one module each, called as the command, which holds ``COMMAND``.

To add one, add a module: nothing else lists them. What it needs is imported when it runs, so that
``fooocus-nb --help`` stays quick.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fooocus_nb.cli.command import Command

__all__ = ["commands"]


def commands() -> dict[str, Command]:
    """Return the commands by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").COMMAND for name in names}
