"""The wire of Gradio 3.41.2: the page's config, its queue, its direct calls, its files."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import mimetypes
import time
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tornado import web, websocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fooocus_nb.demo.faults import Faults
    from fooocus_nb.demo.functions import Functions
    from fooocus_nb.demo.page import Function

__all__ = ["MAX_BYTES", "EventQueue", "make_application"]

#: Images are sent inside messages, so these may be large.
MAX_BYTES = 256 * 2**20
#: A client that does not answer in time must not block the queue.
ANSWER_SECONDS = 30.0
#: What a client can cause that speaks wrongly, not at all, or leaves.
_BAD_CLIENT = (
    IndexError,
    KeyError,
    TimeoutError,
    TypeError,
    ValueError,
    websocket.WebSocketClosedError,
)
_HOME = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ background: #16121f; color: #efe8f5; font: 16px/1.6 sans-serif; margin: 15vh auto;
max-width: 34rem; padding: 0 1rem; }} code {{ color: #ffb46e; }}
</style></head><body><h1>{title}</h1>
<p>The demo engine of fooocus-nb: it speaks as Fooocus does and draws images without AI.</p>
<p>In a notebook: <code>fooocus_nb.connect("{url}").generate("a lighthouse at dusk")</code></p>
</body></html>
"""


class EventQueue:
    """Runs one event at a time, over all sessions, first in first out."""

    def __init__(self) -> None:
        self._events: list[_Join] = []
        self._seconds = 0.0
        self._count = 0

    @contextlib.asynccontextmanager
    async def slot(self, event: _Join) -> AsyncIterator[None]:
        """Wait until an event is the first, with an estimate whenever its rank changes."""
        self._events.append(event)
        try:
            rank = None
            while rank != 0:
                event.moved.clear()
                if rank != (rank := self._events.index(event)):
                    await event.estimate(rank, self)
                if rank and not event.moved.is_set():
                    await event.moved.wait()
            began = time.monotonic()
            yield
            self._seconds += time.monotonic() - began
            self._count += 1
        finally:
            self._events.remove(event)
            for other in self._events:
                other.moved.set()

    def __len__(self) -> int:
        return len(self._events)

    @property
    def average(self) -> float | None:
        """The seconds that an event takes on average; None before the first ended."""
        return self._seconds / self._count if self._count else None


class _Handler(web.RequestHandler):
    def initialize(self, functions: Functions) -> None:
        self.functions = functions

    def check_xsrf_cookie(self) -> None:  # Gradio has none either
        return


class _Home(_Handler):
    def get(self) -> None:
        title = html.escape(str(self.functions.page.config["title"]))
        url = html.escape(f"{self.request.protocol}://{self.request.host}")
        self.write(_HOME.format(title=title, url=url))


class _Config(_Handler):
    def get(self) -> None:
        self.write(self.functions.page.config)


class _Predict(_Handler):
    def post(self, *_: str) -> None:
        began = time.monotonic()
        try:
            body = json.loads(self.request.body)
            function = self.functions.page.functions[int(body["fn_index"])]
            data, session = list(body["data"]), str(body.get("session_hash") or "")
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise web.HTTPError(422) from error
        if function.queue is not False:
            self.set_status(401)
            self.write({"detail": "Not authorized to skip the queue"})
            return
        try:
            answer = self.functions.call(function, data, session)
        except Exception:  # noqa: BLE001 - as Gradio does: print, and answer that it failed
            traceback.print_exc()
            self.set_status(500)
            self.write({"error": None})
            return
        self.write(_output(answer, began, generating=False))


class _File(_Handler):
    async def get(self, name: str) -> None:
        path = self.functions.files.served(unquote(name))
        if path is None:
            raise web.HTTPError(403)
        self.set_header("Content-Type", mimetypes.guess_type(path.name)[0] or "text/plain")
        self.set_header("Last-Modified", datetime.fromtimestamp(path.stat().st_mtime, UTC))
        self.write(await asyncio.to_thread(path.read_bytes))

    head = get


class _Upload(_Handler):
    def post(self) -> None:
        uploads = [upload for group in self.request.files.values() for upload in group]
        paths = [self.functions.files.keep(item["body"], item["filename"]) for item in uploads]
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps([str(path) for path in paths]))


def _output(data: list[Any], began: float, *, generating: bool) -> dict[str, Any]:
    duration = time.monotonic() - began
    return {
        "data": data,
        "is_generating": generating,
        "duration": duration,
        "average_duration": duration,
    }


class _Join(websocket.WebSocketHandler):
    """One event: it says who it is, waits in the queue, runs, and the connection ends."""

    def initialize(self, functions: Functions, queue: EventQueue, faults: Faults) -> None:
        self._functions = functions
        self._queue = queue
        self._faults = faults
        self._replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._event: asyncio.Task[None] | None = None
        self.moved = asyncio.Event()

    async def open(self, *args: str, **kwargs: str) -> None:
        # Otherwise small messages wait for the client's delayed acknowledgements, 40 ms each.
        self.set_nodelay(True)
        self._event = asyncio.create_task(self._serve())

    def on_message(self, message: str | bytes) -> None:
        with contextlib.suppress(ValueError):
            self._replies.put_nowait(json.loads(message))

    def on_close(self) -> None:
        if self._event is not None:
            self._event.cancel()  # the worker finishes its task all the same, as in Fooocus

    async def _serve(self) -> None:
        with contextlib.suppress(*_BAD_CLIENT):
            hello = await self._ask("send_hash")
            session = str(hello.get("session_hash") or "")
            function = self._functions.page.functions[int(hello["fn_index"])]
            async with self._queue.slot(self):
                data = list((await self._ask("send_data"))["data"])
                await self.write_message({"msg": "process_starts"})
                await self._run(function, data, session)
        self.close()

    async def _ask(self, message: str) -> dict[str, Any]:
        await self.write_message({"msg": message})
        return await asyncio.wait_for(self._replies.get(), ANSWER_SECONDS)

    async def estimate(self, rank: int, queue: EventQueue) -> None:
        """Send the rank in the queue and how long it will take."""
        await self.write_message(
            {
                "msg": "estimation",
                "rank": rank,
                "queue_size": len(queue),
                "avg_event_process_time": queue.average,
                "avg_event_concurrent_process_time": queue.average,
                "rank_eta": None if queue.average is None else (rank + 1) * queue.average,
                "queue_eta": 0.0 if queue.average is None else rank * queue.average,
            }
        )

    async def _run(self, function: Function, data: list[Any], session: str) -> None:
        began = time.monotonic()
        try:
            if function.generator:
                answer, generating = await self._stream(session, began)
            else:
                answer, generating = self._functions.call(function, data, session), False
        except websocket.WebSocketClosedError:
            raise
        except Exception:  # noqa: BLE001 - as Gradio does: print, and answer that it failed
            traceback.print_exc()
            failed = {"output": {"error": None}, "success": False}
            await self.write_message({"msg": "process_completed", **failed})
            return
        await self._send("process_completed", _output(answer, began, generating=generating))

    async def _stream(self, session: str, began: float) -> tuple[list[Any], bool]:
        last: list[Any] | None = None
        async with contextlib.aclosing(self._functions.generate(session)) as stream:
            async for last in stream:
                await self._send("process_generating", _output(last, began, generating=True))
                if self._faults.server_is_dead:
                    asyncio.get_running_loop().stop()
        # A generator that yields nothing at all answers with nothing for each of its outputs.
        return ([None] * 4, False) if last is None else (last, True)

    async def _send(self, kind: str, output: dict[str, Any]) -> None:
        await self.write_message({"msg": kind, "output": output, "success": True})


def make_application(functions: Functions, faults: Faults) -> web.Application:
    """Return the web application, ready to listen."""
    given = {"functions": functions}
    return web.Application(
        [
            (r"/", _Home, given),
            (r"/config/?", _Config, given),
            (r"/(?:run|api)/(predict)/?", _Predict, given),
            (r"/queue/join/?", _Join, {**given, "queue": EventQueue(), "faults": faults}),
            (r"/upload/?", _Upload, given),
            (r"/file=(.*)", _File, given),
        ],
        websocket_max_message_size=MAX_BYTES,
        log_function=lambda handler: None,  # Fooocus's log has no line for each request
    )
