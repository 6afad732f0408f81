"""``/engines/NAME/log``: pages of an engine's log, all of it, and a websocket that follows."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, ClassVar

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import authorized, ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import iostream, web, websocket

from fooocus_nb.engine.log_pages import (
    ROTATED,
    LostPlaceError,
    Page,
    batch_of,
    lines_of,
    page_after,
    page_before,
    text_of,
    whole,
)
from fooocus_nb.fooocus.logs.levels import Classifier
from fooocus_nb.server.base import AUTH_RESOURCE, Handler, RefusedError, running_engine
from fooocus_nb.supervisor import LineSplitter, LogReader

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from fooocus_nb.engine.listing import Listed
    from fooocus_nb.server.services import Services

__all__ = ["LogFileHandler", "LogFollower", "LogHandler"]

PAGE_BYTES = 65_536
MAX_PAGE_BYTES = 1 << 20
#: What a follower gets at once, of what was there before it.
FIRST_BYTES = 65_536
BATCH_BYTES = 131_072
#: A follower that is further behind goes on near the end.
MAX_BEHIND = 4 << 20
INTERVAL = 0.1
#: How often it is looked whether the engine still runs.
ALIVE_SECONDS = 1.0
#: Of a line that has not ended yet, such as a question, so much is shown.
MAX_PENDING = 400
#: Whatever a follower says is not for us.
MAX_MESSAGE = 4096


class LogHandler(Handler):
    """Pages of a log."""

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """Return the lines before or after a place; without one, the last."""
        size = self.number("bytes", PAGE_BYTES, 1, MAX_PAGE_BYTES)
        before, after = self.text("before"), self.text("after")
        if before is not None and after is not None:
            raise RefusedError(400, "before= and after= exclude each other.")
        path = (await self.engine(name)).info.log_path
        try:
            if after is not None:
                page = await self.run(page_after, path, after, size)
            else:
                page = await self.run(page_before, path, before, size)
        except LostPlaceError as error:
            raise RefusedError(410, f"There is no such place: {error}.") from error
        await self.finish(await self.run(_told, page))


class LogFileHandler(Handler):
    """A log as one file."""

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """Send all that is kept, oldest first."""
        info = (await self.engine(name)).info
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")
        safe = re.sub(r"[^\w.-]+", "_", info.name, flags=re.ASCII) or "engine"
        self.set_header("Content-Disposition", f'attachment; filename="{safe}.log"')
        pieces = whole(info.log_path)
        try:
            while (piece := await self.run(_next_text, pieces)) is not None:
                self.write(piece)
                await self.flush()
        except LostPlaceError:
            self.write(f"{ROTATED}\n")
        except iostream.StreamClosedError:
            return
        await self.finish(set_content_type="text/plain; charset=utf-8")


class LogFollower(WebSocketMixin, websocket.WebSocketHandler, JupyterHandler):
    """A websocket that sends a log's last lines and each further one, in batches."""

    auth_resource = AUTH_RESOURCE
    followers: ClassVar[set[LogFollower]] = set()

    def initialize(self, services: Services, **_: Any) -> None:
        """Take what all handlers share."""
        self.services = services
        self._listed: Listed | None = None
        self._task: asyncio.Task[None] | None = None
        self._left = False

    @property
    def ping_interval(self) -> float:
        """Seconds between two pings; the server's own setting is none, and proxies close then."""
        return self.services.limits.ping_interval

    @property
    def ping_timeout(self) -> float:
        """Seconds that the answer to a ping may take: it comes before the next one."""
        return self.services.limits.ping_interval

    @property
    def max_message_size(self) -> int:
        """A follower has nothing to say."""
        return MAX_MESSAGE

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Open the websocket for who may read, and for a log that is there."""
        allowed = await ensure_async(
            self.authorizer.is_authorized(self, self.current_user, "read", AUTH_RESOURCE)
        )
        if not allowed:
            raise web.HTTPError(403)
        name = str(kwargs.get("name", args[0] if args else ""))
        self._listed = await running_engine(self.services, name)
        # From here to open() nothing waits, so that no more get in than are counted.
        if len(self.followers) >= self.services.limits.max_log_followers:
            raise RefusedError(503, "Too many follow a log already.")
        opening: Awaitable[None] = super().get(*args, **kwargs)
        await opening

    def open(self, *_: Any, **__: Any) -> None:
        """Begin to follow. Not by the mixin's way, which would ping a second time."""
        self.followers.add(self)
        self._task = asyncio.ensure_future(self._follow())

    def on_message(self, message: str | bytes) -> None:
        """Ignore it."""

    def on_pong(self, data: bytes) -> None:
        """Leave it to Tornado, which looks after the pings here."""

    def on_close(self) -> None:
        """Stop following. A thread may be reading, so the task is not cancelled: it ends soon."""
        self.followers.discard(self)
        self._left = True

    async def _follow(self) -> None:
        """Send what comes, and close where that fails: a follower that hears nothing would wait."""
        if self._listed is None:
            return
        try:
            await self._send_lines(self._listed)
        except websocket.WebSocketClosedError:
            pass
        except RuntimeError:  # the threads have ended, and the server is about to
            self.close(1001, "the server ends")
        except Exception:
            self.log.warning("a log could not be followed", exc_info=True)
            self.close(1011, "the log could not be read")

    async def _send_lines(self, listed: Listed) -> None:
        loop = asyncio.get_running_loop()
        run, pool = loop.run_in_executor, self.services.pool
        reader = await run(pool, LogReader, listed.info.log_path, FIRST_BYTES)
        splitter, classifier = LineSplitter(), Classifier()
        looked, runs = 0.0, True
        try:
            while not self._left:
                skipped = 0
                if await run(pool, reader.behind) > MAX_BEHIND:
                    skipped = await run(pool, reader.skip, BATCH_BYTES)
                    splitter = LineSplitter()
                data = await run(pool, reader.read, BATCH_BYTES)
                if data or skipped:
                    # On a thread: many followers of much would keep the event loop from all else.
                    text = await run(pool, _batch, splitter, classifier, data, skipped)
                    # Waits until it is sent, so that who takes nothing fills no memory.
                    await self.write_message(text)
                elif not runs:
                    self.close(1000, "the engine has ended")
                    return
                if loop.time() - looked > ALIVE_SECONDS:
                    looked, runs = loop.time(), await run(pool, listed.info.runs)
                await asyncio.sleep(INTERVAL)
        finally:
            reader.close()


def _batch(splitter: LineSplitter, classifier: Classifier, data: bytes, skipped: int) -> str:
    """Return what a follower is sent of the next bytes."""
    batch = batch_of(splitter.feed(data), classifier)
    batch["pending"] = splitter.rest[:MAX_PENDING] or batch["pending"]
    return json.dumps({**batch, "skipped": skipped})


def _told(page: Page) -> dict[str, Any]:
    place = {"begin": page.begin, "end": page.end, "more": page.before, "behind": page.after}
    return {**batch_of(lines_of(page.data), Classifier()), **place}


def _next_text(pieces: Any) -> str | None:
    """Return the next piece as it is saved; None at the end."""
    data = next(pieces, None)
    return None if data is None else text_of(data)
