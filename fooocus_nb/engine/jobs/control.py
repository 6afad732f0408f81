"""Stop and skip for one generation, sent when the server can take them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Control"]

#: How long a stop may seem to have been overheard before it is sent again.
REPEAT_SECONDS = 2.0


class Control:
    """The stop and skip commands of one generation, sent when the server can take them.

    The server writes a stop or a skip on the task that the generation works on, and a new one is
    made at its beginning: what comes before that is lost. So early commands wait for the first
    sign of progress. `send` sends ``stop`` or ``skip`` to the server.
    """

    def __init__(self, send: Callable[[str], Awaitable[None]]) -> None:
        self.stop_asked = False
        self.skip_asked = False
        #: When the stop was asked for, by the monotonic clock.
        self.stop_asked_at: float | None = None
        self._send = send
        self._working = False
        self._waiting: list[str] = []
        self._stopped_at = 0.0

    @property
    def used(self) -> bool:
        """Whether anything was asked for."""
        return self.stop_asked or self.skip_asked

    async def command(self, verb: str) -> None:
        """Send a command now, or as soon as the generation works."""
        if verb == "stop":
            self.stop_asked = True
            self.stop_asked_at = self.stop_asked_at or time.monotonic()
        else:
            self.skip_asked = True
        if self._working:
            await self._pass_on(verb)
        else:
            self._waiting.append(verb)

    async def progress(self) -> None:
        """Note that the generation works on its task."""
        self._working = True
        waiting, self._waiting = self._waiting, []
        for verb in waiting:
            await self._pass_on(verb)
        if self.stop_asked and time.monotonic() - self._stopped_at > REPEAT_SECONDS:
            await self._pass_on("stop")

    async def _pass_on(self, verb: str) -> None:
        if verb == "stop":
            self._stopped_at = time.monotonic()
        await self._send(verb)
