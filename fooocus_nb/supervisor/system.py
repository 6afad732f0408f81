"""What other rooms may ask of the system about processes."""

from __future__ import annotations

from fooocus_nb.supervisor._platform import creation_time

__all__ = ["creation_time"]
