"""What other rooms may ask of the system about processes, folders and locks."""

from __future__ import annotations

from fooocus_nb.supervisor._debugger import without_debugger
from fooocus_nb.supervisor._place import here, where
from fooocus_nb.supervisor._platform import (
    creation_time,
    is_private,
    make_private,
    try_lock,
    unlock,
)

__all__ = [
    "creation_time",
    "here",
    "is_private",
    "make_private",
    "try_lock",
    "unlock",
    "where",
    "without_debugger",
]
