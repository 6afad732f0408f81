"""Where a process runs: only from the same place can its process id be judged."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from fooocus_nb.supervisor import _platform

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["here", "same_system", "where"]

_own: tuple[int, dict[str, str | None]] | None = None


def here() -> dict[str, str | None]:
    """Return the host, its boot and the pid namespace that this process runs in."""
    global _own
    if _own is None or _own[0] != os.getpid():
        place = {
            "host": socket.gethostname(),
            "boot": _platform.boot_id(),
            "pid_namespace": _platform.pid_namespace(),
        }
        _own = os.getpid(), place
    return _own[1]


def same_system(place: Mapping[str, Any]) -> bool:
    """Whether the place that was recorded is under the very system that runs here."""
    boot = here()["boot"]
    # The id is drawn anew at every start of a system. Hosts are named alike, and renamed.
    return boot is not None and place.get("boot") == boot


def where(place: Mapping[str, Any]) -> str | None:
    """Say how the place that was recorded differs from here; None where it is the same."""
    own = here()
    if not same_system(place):
        host, boot = place.get("host"), place.get("boot")
        if host != own["host"]:
            return f"on the host {str(host)[:100]!r}"
        if boot != own["boot"]:
            return "on another machine of this name, or on this one before it was started"
    if (
        own["pid_namespace"] == _platform.UNKNOWN
        or place.get("pid_namespace") != own["pid_namespace"]
    ):
        return "in another container of this machine"
    return None
