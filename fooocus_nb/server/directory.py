"""The engines of this user, as they are now: what all handlers ask, and what is told of one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

from fooocus_nb._html import clip
from fooocus_nb.engine.health import gpu_memory_of
from fooocus_nb.engine.listing import Asleep, Listed, asleep, find, survey
from fooocus_nb.engine.names import users_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from fooocus_nb.engine.listing import EngineInfo

__all__ = ["Directory", "describe", "describe_asleep", "generation_of", "kernels_of"]

T = TypeVar("T")

#: Who asks within so long gets what was found for somebody else.
FRESH_SECONDS = 1.0
MAX_PROMPT = 2000


class Directory:
    """Finds engines on threads, for all who ask on one event loop."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._lock = asyncio.Lock()
        self._found: list[Listed] = []
        self._found_at = float("-inf")
        self._changes = 0

    async def engines(self) -> list[Listed]:
        """Return all engines, oldest first; web servers are asked whether they answer."""
        async with self._lock:
            if time.monotonic() - self._found_at > FRESH_SECONDS:
                changes = self._changes
                self._found = await self._run(survey)
                # What has changed while it was looked for may not be in it.
                self._found_at = time.monotonic() if changes == self._changes else float("-inf")
            return self._found

    def forget(self) -> None:
        """Look again for the next who asks: an engine has changed."""
        self._changes += 1
        self._found_at = float("-inf")

    async def asleep(self) -> list[Asleep]:
        """Return the engines that sleep; none has the name of one that runs."""
        # Not of what was found a moment ago: one that sleeps since then would be there twice.
        taken = {listed.info.name for listed in await self.glance()}
        return await self._run(lambda: asleep(taken))

    async def glance(self) -> list[Listed]:
        """Return all engines without asking any web server."""
        return await self._run(lambda: survey(probe=False))

    async def engine(self, name: str) -> Listed | Asleep:
        """Return the engine of a name or a process id, as it is at this moment.

        A ConfigurationError says that there is none, or several.
        """
        return await self._run(lambda: find(name))

    async def describe(self, listed: Listed) -> dict[str, Any]:
        """Return what is told of an engine, fit for JSON."""
        return await self._run(lambda: describe(listed))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def describe(listed: Listed) -> dict[str, Any]:
    """Return what is told of an engine, fit for JSON."""
    here = listed.entry.elsewhere is None
    return {
        **_described(listed.info),
        "id": listed.entry.run_dir.name,
        "elsewhere": listed.entry.elsewhere,
        "kernels": kernels_of(listed),
        "generation": generation_of(listed),
        "vram": gpu_memory_of(listed.info.pid) if here else None,
    }


def describe_asleep(one: Asleep) -> dict[str, Any]:
    """Return what is told of an engine that sleeps, in the same form."""
    return {
        **_described(one.info),
        # It has no run; the folder of its log tells it from all others.
        "id": f"asleep-{one.info.log_path.parent.name}",
        "elsewhere": None,
        "kernels": [
            {"id": None, "pid": pid, "notebook": notebook or None} for pid, notebook in one.kernels
        ],
        "generation": None,
        "vram": None,
    }


def _described(info: EngineInfo) -> dict[str, Any]:
    """Return what is told alike of engines that run and that sleep."""
    return {
        "name": info.name,
        "title": info.title,
        "version": info.title.removeprefix("Fooocus ") if "Fooocus " in info.title else None,
        "pid": info.pid,
        "url": info.url,
        "state": info.state,
        "users": info.users,
        "lifetime": info.lifetime,
        "idle_timeout": info.idle_timeout,
        "shared": info.shared,
        "since": info.since,
        "memory": info.memory,
    }


def kernels_of(listed: Listed) -> list[dict[str, Any]]:
    """Return the kernels and scripts that use an engine."""
    elsewhere = listed.entry.elsewhere is not None
    return [
        {"id": user.kernel or None, "pid": user.pid, "notebook": user.notebook or None}
        for user in users_in(listed.entry.labels)
        if elsewhere or user.runs()
    ]


def generation_of(listed: Listed) -> dict[str, Any] | None:
    """Return what is told of the generation that runs; None where there is none."""
    record = listed.generation
    if record is None:
        return None
    values = record.request.values
    count = values.get("image_number")
    return {
        "session": record.session_hash,
        "prompt": clip(str(record.request.given.get("prompt", "")), MAX_PROMPT),
        "seed": str(record.request.seed),
        "images": count if isinstance(count, int) else None,
        "started": record.started,
        "kernel": None if record.orphaned else record.kernel,
    }
