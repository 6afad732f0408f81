"""Settings: those of one engine, and those given in the environment or the IPython config."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from traitlets import Unicode
from traitlets.config import Configurable

from fooocus_nb.engine.names import running_shell
from fooocus_nb.errors import ConfigurationError
from fooocus_nb.fooocus.given import path_of, shown
from fooocus_nb.supervisor.protocol import DEFAULT_GRACE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fooocus_nb.fooocus.checkout.installation import Installation

__all__ = [
    "Fooocus",
    "Lifetime",
    "ProcessSettings",
    "checked_path",
    "checked_seconds",
    "configuration",
    "configured_path",
]

#: Longer waits are none: the system's clocks do not count so far.
MAX_SECONDS = 1e9

#: Whether an engine ends with its last user, or goes on without one.
Lifetime = Literal["kernel", "detached"]


class Fooocus(Configurable):
    """The section ``c.Fooocus`` of ``ipython_config.py`` or ``ipython_kernel_config.py``."""

    path = Unicode("", help="The folder of the Fooocus checkout.").tag(config=True)
    python = Unicode("", help="The interpreter that Fooocus is installed in.").tag(config=True)


def configuration() -> Fooocus:
    """Return the settings of the running IPython, or the defaults outside of one."""
    shell = running_shell()
    return Fooocus(config=shell.config) if shell is not None else Fooocus()


def configured_path(path: str | os.PathLike[str] | None) -> Path:
    """Return the folder of Fooocus: what was given, ``FOOOCUS_HOME`` or ``c.Fooocus.path``."""
    given = path or os.environ.get("FOOOCUS_HOME") or configuration().path
    if not given:
        msg = (
            "Where is Fooocus installed? Say it in one of these ways:\n"
            "    fooocus_nb.start('~/Fooocus')\n"
            "    export FOOOCUS_HOME=~/Fooocus            before the notebook is started\n"
            "    c.Fooocus.path = '/home/me/Fooocus'      in ipython_config.py\n"
            "Without an installed Fooocus, the demo engine draws images without AI:\n"
            "    fooocus_nb.start(demo=True)"
        )
        raise ConfigurationError(msg)
    return checked_path("path", given)


def checked_path(name: str, given: object) -> Path:
    """Return a path, or raise what says that no system could have it."""
    return path_of(name, given, ConfigurationError)


def checked_seconds(
    name: str, given: object, *, zero: bool = False, endless: bool = False, more: str = ""
) -> float:
    """Return a number of seconds, or raise what says that it is none."""
    try:
        odd = type(given).__name__ in ("bool", "bool_")  # numpy has its own
        number = math.nan if odd else float(given)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - the value's own
        number = math.nan
    enough = number >= 0 if zero else number > 0
    if isinstance(given, str) or not enough or not (number <= MAX_SECONDS or endless):
        least = "from 0 up" if zero else "above 0"
        msg = f"{name}={shown(given)} is not possible: give a number of seconds {least}{more}."
        raise ConfigurationError(msg)
    return number


@dataclass(frozen=True)
class ProcessSettings:
    """How an engine's process is started; the same at every restart."""

    #: The Fooocus to start; None is the demo engine.
    installation: Installation | None
    args: tuple[str, ...] = ()
    #: None chooses a free one at every start.
    port: int | None = None
    #: None makes a folder of its own.
    temp_dir: Path | None = None
    #: Its index among the visible ones, or its name.
    gpu: int | str | None = None
    #: Wins over what is inherited.
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: Seconds between asking the child to end and killing it.
    grace: float = DEFAULT_GRACE
    #: Whether other kernels may use it, too.
    shared: bool = False
    #: Whether one that others share is used instead of a new one.
    reuse: bool = False
    #: None ends it with its last user; else it may idle for so many seconds without one.
    idle_timeout: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "grace", checked_seconds("grace", self.grace, zero=True))
