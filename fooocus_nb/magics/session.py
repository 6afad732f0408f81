"""What the verbs know of the notebook: its variables, its engines, and where they write."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from fooocus_nb._html import clean
from fooocus_nb._secrets import redact
from fooocus_nb.engine import manager
from fooocus_nb.widgets.start_monitor import StartMonitor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from fooocus_nb.engine.core import Engine

__all__ = ["Session"]


class Session:
    """One shell, as the verbs see it."""

    def __init__(self, shell: InteractiveShell | None) -> None:
        self._shell = shell

    @property
    def variables(self) -> Mapping[str, Any]:
        """The user's variables."""
        return {} if self._shell is None else self._shell.user_ns

    def keep(self, name: str | None, value: object) -> None:
        """Bind a value to a name of the user's, where there is one."""
        if self._shell is not None and name:
            self._shell.user_ns[name] = value

    def engine(self, name: str | None) -> Engine:
        """Return the engine of that name, or the current one."""
        return manager.get(name) if name else manager.current()

    def write(self, text: str) -> None:
        """Print a line without control characters and secrets."""
        sys.stdout.write(f"{clean(redact(text))}\n")

    @contextlib.contextmanager
    def starting(self) -> Iterator[StartMonitor]:
        """Show a start while the block runs."""
        monitor = StartMonitor()
        try:
            yield monitor
        except BaseException:
            monitor.failed()
            raise
