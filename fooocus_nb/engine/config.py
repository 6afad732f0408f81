"""Settings that a user gives once, in the environment or in the IPython configuration."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from traitlets import Unicode
from traitlets.config import Configurable

from fooocus_nb.errors import ConfigurationError

__all__ = ["Fooocus", "configured_path"]


class Fooocus(Configurable):
    """The section ``c.Fooocus`` of ``ipython_config.py`` or ``ipython_kernel_config.py``."""

    path = Unicode("", help="The folder of the Fooocus checkout.").tag(config=True)
    python = Unicode("", help="The interpreter that Fooocus is installed in.").tag(config=True)


def configuration() -> Fooocus:
    """Return the settings of the running IPython, or the defaults outside of one."""
    ipython = sys.modules.get("IPython")  # where IPython runs, it is imported
    shell = ipython.get_ipython() if ipython else None
    return Fooocus(config=shell.config) if shell is not None else Fooocus()


def configured_path(path: str | os.PathLike[str] | None) -> Path:
    """Return where Fooocus is installed.

    Parameters
    ----------
    path : path-like or None
        What the user gave. None looks at ``FOOOCUS_HOME``, then at ``c.Fooocus.path``.

    Returns
    -------
    Path
        The folder, with ``~`` expanded. Whether it holds a checkout is not looked at.

    Raises
    ------
    ConfigurationError
        When nothing says where Fooocus is.
    """
    given = os.fspath(path) if path else os.environ.get("FOOOCUS_HOME") or configuration().path
    if not given:
        msg = (
            "Where is Fooocus installed? Say it in one of these ways:\n"
            "    fooocus_nb.start('~/Fooocus')\n"
            "    export FOOOCUS_HOME=~/Fooocus            before the notebook is started\n"
            "    c.Fooocus.path = '/home/me/Fooocus'      in ipython_config.py\n"
            "Without an installed Fooocus, the demo engine draws pictures without AI:\n"
            "    fooocus_nb.start(demo=True)"
        )
        raise ConfigurationError(msg)
    return Path(given).expanduser()
