"""The extension: ``%load_ext fooocus_nb`` registers ``%fooocus`` and ``%%fooocus``.

It costs next to nothing: verbs, engine, widgets and doctor are loaded when they are first used.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fooocus_nb.engine.presenters import presenters
from fooocus_nb.magics import completion
from fooocus_nb.magics.magic import FooocusMagics
from fooocus_nb.magics.transform import AwaitingTransformer

if TYPE_CHECKING:
    import contextlib

    from IPython.core.interactiveshell import InteractiveShell

    from fooocus_nb.engine.jobs.job import Job

__all__ = ["FooocusMagics", "load_ipython_extension", "unload_ipython_extension"]

_LOADED = "_fooocus_nb_extension"
_ENGINES = "fooocus_nb.engine.manager"


class _Extension:
    """What is registered with one shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._transformer = AwaitingTransformer(shell)
        self._probes = True

    def load(self) -> None:
        """Register everything."""
        shell = self._shell
        shell.register_magics(FooocusMagics)
        self._transformer.register()
        completion.register(shell)
        shell.events.register("post_run_cell", self._probe)
        presenters.append(_present)

    def unload(self) -> None:
        """Take everything away again."""
        shell = self._shell
        self._transformer.unregister()
        completion.unregister(shell)
        self._stop_probing()
        if _present in presenters:
            presenters.remove(_present)
        manager_of_magics = shell.magics_manager
        for kind in ("line", "cell"):
            manager_of_magics.magics[kind].pop("fooocus", None)
        manager_of_magics.registry.pop(FooocusMagics.__name__, None)

    def _probe(self, *_: object) -> None:
        # Asking whether the frontend has widgets loads them, so it waits for the first cell that
        # uses an engine. The answer comes between that cell and the next.
        if _ENGINES in sys.modules:
            from fooocus_nb.widgets.display_backends import probe_frontend

            self._stop_probing()
            probe_frontend()

    def _stop_probing(self) -> None:
        if self._probes:
            self._probes = False
            self._shell.events.unregister("post_run_cell", self._probe)


def _present(job: Job) -> contextlib.AbstractContextManager[object]:
    """Show the job of a plain ``engine.generate()``."""
    from fooocus_nb.magics.generation import present

    return present(job)


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Register the magics: ``%load_ext fooocus_nb``.

    Parameters
    ----------
    ipython : InteractiveShell
        The shell to register with.
    """
    unload_ipython_extension(ipython)
    extension = _Extension(ipython)
    extension.load()
    setattr(ipython, _LOADED, extension)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Take the magics away again; engines go on.

    Parameters
    ----------
    ipython : InteractiveShell
        The shell to leave.
    """
    extension: _Extension | None = getattr(ipython, _LOADED, None)
    if extension is not None:
        extension.unload()
        delattr(ipython, _LOADED)
