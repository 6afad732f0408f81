"""Changes of engines, as events on the bus of the Jupyter server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.server.directory import generation_of, kernels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fooocus_nb.engine.listing import Listed

__all__ = ["SCHEMA_ID", "SCHEMA_PATH", "Changes"]

SCHEMA_ID = "https://github.com/fooocus-nb/fooocus-nb/events/engine/v1"
SCHEMA_PATH = Path(__file__).parent / "event_schemas" / "engine.yaml"


class Changes:
    """Compares the engines with those of the last look, and emits what has changed."""

    def __init__(self, emit: Callable[[dict[str, Any]], None]) -> None:
        self._emit = emit
        self._known: dict[str, dict[str, Any]] = {}

    def note(self, found: Iterable[Listed]) -> bool:
        """Emit an event for each engine that has appeared, changed or gone; whether any has."""
        now = {listed.entry.run_dir.name: _told(listed) for listed in found}
        changed = now != self._known
        for identity, told in now.items():
            before = self._known.get(identity)
            if before != told:
                self._emit({"action": "appeared" if before is None else "changed", **told})
        for identity, told in self._known.items():
            if identity not in now:
                self._emit({"action": "gone", **told, "state": "stopped", "generating": False})
        self._known = now
        return changed


def _told(listed: Listed) -> dict[str, Any]:
    info = listed.info
    kernels = [each["id"] for each in kernels_of(listed) if each["id"]]
    return {
        "id": listed.entry.run_dir.name,
        "name": info.name,
        "pid": info.pid,
        "state": info.state,
        "kernels": sorted(kernels),
        "generating": generation_of(listed) is not None,
    }
