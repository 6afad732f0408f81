"""The wire of Gradio 3: a websocket per queued call, and JSON posts past the queue."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import json
import re
from collections import deque
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from fooocus_nb.errors import ConnectionLost, GenerationError, UnsupportedServer
from fooocus_nb.fooocus.transport import (
    POST_TIMEOUT,
    Completed,
    Transport,
    output_of,
    parse_message,
)
from fooocus_nb.fooocus.transport.http import HttpSession, is_loopback, parse_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from fooocus_nb.fooocus.transport import Message
    from fooocus_nb.fooocus.transport.login import Login

__all__ = ["Gradio3Transport"]

#: Seconds to open a websocket: a server that loads a model holds its GIL for long.
OPEN_TIMEOUT = 30.0
#: Seconds to hand in a call's values, images among them, over a slow line.
SEND_TIMEOUT = 300.0
#: Seconds for the closing handshake of a websocket; nothing depends on it.
CLOSE_TIMEOUT = 1.0
#: How often to look whether what we send is taken.
LOOK_SECONDS = 1.0
#: How long a large message may keep others from being read; Gradio gives each one second.
PAUSE_SECONDS = 0.5
#: How often to join the queue again when the server hung up before it had our data.
JOIN_ATTEMPTS = 3
#: Since its version 15 websockets obeys the environment's proxy, unless told not to.
_TAKES_PROXY = "proxy" in inspect.signature(connect).parameters
#: How a message begins that tells the state of a generation, in full.
_STATE = re.compile(rb'\s*\{\s*"msg"\s*:\s*"process_generating"')
#: How many messages a call may have, and how many may wait unread.
MAX_MESSAGES = 10_000_000
MAX_UNREAD = 100_000
#: With this code a websocket is closed on which too large a message comes.
TOO_BIG = 1009


class _Connect(connect):
    """Opens a websocket where it was asked for, and nowhere else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow no redirection: it may lead to another host, which would get the images."""
        return exc


class _Connection(ClientConnection):
    """Reads on only while the server takes what it is answered, such as to its pings."""

    def pause_writing(self) -> None:
        """Stop reading, too: each further ping would be answered into our memory."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on with both."""
        super().resume_writing()
        self.transport.resume_reading()


class _HungUpEarlyError(Exception):
    """The server closed the websocket before it had the data, so nothing ran."""


class Gradio3Transport(Transport):
    """A connection to a Gradio 3 server."""

    def __init__(self, url: str, *, timeout: float = 10.0, logins: Sequence[Login] = ()) -> None:
        super().__init__(HttpSession(url, logins), timeout)
        self._sockets: set[ClientConnection] = set()
        self._closed = False

    async def call(
        self, fn_index: int, data: Sequence[Any], session_hash: str
    ) -> AsyncGenerator[Message, None]:
        """Run a queued function."""
        identity = {"fn_index": fn_index, "session_hash": session_hash}
        for attempt in range(1, JOIN_ATTEMPTS + 1):
            try:
                async with (
                    self._join() as socket,
                    aclosing(self._converse(socket, identity, list(data))) as messages,
                ):
                    async for message in messages:
                        yield message
            except _HungUpEarlyError as error:
                # A busy server, or a kernel that was busy for the five seconds which Gradio
                # grants for the hash. Nothing was handed in, so trying again repeats nothing.
                if attempt == JOIN_ATTEMPTS or self._closed:
                    raise self._lost(error.__cause__ or error) from error
            else:
                return

    async def post(
        self,
        fn_index: int,
        data: Sequence[Any],
        session_hash: str,
        *,
        timeout: float = POST_TIMEOUT,
    ) -> list[Any]:
        """Run a function past the queue."""
        body = {"fn_index": fn_index, "session_hash": session_hash, "data": list(data)}
        answer = await self._http.post("/run/predict", body, timeout)
        return list(answer.get("data") or ())

    async def aclose(self) -> None:
        """Close every websocket and connection."""
        self._closed = True
        await asyncio.gather(*(socket.close() for socket in list(self._sockets)))
        await super().aclose()

    # -- the websocket ------------------------------------------------------------------------

    @asynccontextmanager
    async def _join(self) -> AsyncIterator[ClientConnection]:
        """Open a websocket to the queue, with our exceptions for its own."""
        if self._closed:
            raise self._lost(ConnectionError("we have closed the connection"))
        try:
            socket = await self._connect()
        except InvalidStatus as error:
            status = error.response.status_code
            msg = f"The server at {self.url} has no queue for us (status {status})."
            if status >= 500:
                raise ConnectionLost(msg) from error
            raise UnsupportedServer(msg) from error
        except (OSError, WebSocketException) as error:
            raise self._lost(error) from error
        self._sockets.add(socket)
        try:
            if self._closed:
                raise self._lost(ConnectionError("we have closed the connection"))
            yield socket
        finally:
            self._sockets.discard(socket)
            await socket.close()

    async def _connect(self) -> ClientConnection:
        before = self._http.logins_done
        try:
            return await _Connect(self._queue_url(), **self._options())
        except InvalidStatus as error:
            # Starlette refuses a websocket with 403; a proxy says 401, and why.
            refused = error.response.status_code in (401, 403)
            headers = {name.lower(): value for name, value in error.response.headers.raw_items()}
            if not refused or not await self._http.log_in_again(headers, before):
                raise
        return await _Connect(self._queue_url(), **self._options())

    def _queue_url(self) -> str:
        return "ws" + self.url.removeprefix("http") + "/queue/join"

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "open_timeout": OPEN_TIMEOUT,
            "close_timeout": CLOSE_TIMEOUT,
            # A server in one long C call answers no ping and is healthy nevertheless; whether it
            # is responsive is judged by the engine, which reads the log too.
            "ping_timeout": None,
            # Previews and galleries come as one message each.
            "max_size": self._http.max_message,
            "additional_headers": self._http.headers(),
            # Images do not get smaller, and the server has only one thread.
            "compression": None,
            "create_connection": _Connection,
            "write_limit": self._http.max_message // 4,
        }
        if is_loopback(self.url) and _TAKES_PROXY:
            options["proxy"] = None
        return options

    async def _converse(
        self, socket: ClientConnection, identity: dict[str, Any], data: list[Any]
    ) -> AsyncGenerator[Message, None]:
        """Send what the server asks for, and yield its messages."""
        handed_in = False
        limit = self._http.max_message
        async with _Inbox(socket, 2 * limit) as inbox:
            for _ in range(MAX_MESSAGES):
                try:
                    answer = _decode(await inbox.take(), limit)
                    kind = answer.get("msg")
                    if kind == "send_hash":
                        await socket.send(json.dumps(identity))
                    elif kind == "send_data":
                        handed_in = True
                        async with asyncio.timeout(SEND_TIMEOUT):
                            await socket.send(json.dumps({**identity, "data": data}))
                except (ConnectionError, TimeoutError) as error:
                    lost = self._lost(error)
                    lost.handed_in = handed_in
                    raise lost from error
                except ConnectionClosed as error:
                    # What is too large is so at the next attempt, too.
                    if not handed_in and not _is_too_large(error):
                        raise _HungUpEarlyError from error
                    lost = self._lost(error)
                    lost.handed_in = handed_in
                    raise lost from error
                if kind == "queue_full":
                    msg = f"The queue of the server at {self.url} is full."
                    raise GenerationError(msg, remedy="Try again when it has less to do.")
                data_out = output_of(answer).get("data")
                outputs = tuple(data_out) if isinstance(data_out, list) else ()
                message = parse_message(answer, outputs)
                if message is not None:
                    yield message
                if isinstance(message, Completed):
                    return
        msg = f"The server at {self.url} sent more than {MAX_MESSAGES:,} messages."
        raise ConnectionLost(msg)

    def _lost(self, error: BaseException) -> ConnectionLost:
        if isinstance(error, ConnectionClosed) and _is_too_large(error):
            return self._http.too_large("a call", self._http.max_message)
        if isinstance(error, ConnectionClosed):
            return ConnectionLost(f"The server at {self.url} broke the connection: {error}.")
        if isinstance(error, TimeoutError):
            return ConnectionLost(f"The server at {self.url} did not answer in time.")
        reason = str(error).rstrip(".") or type(error).__name__
        return ConnectionLost(f"The server at {self.url} cannot be reached: {reason}.")


def _is_too_large(error: ConnectionClosed) -> bool:
    """Whether we have closed the connection because of a message that is too large."""
    return error.sent is not None and error.sent.code == TOO_BIG


class _Inbox:
    """Takes messages off a websocket as they come, and keeps those not read yet, in bounds.

    No back-pressure from unread messages: Gradio gives each one second to be received and then
    drops the client for good, without hanging up.
    """

    def __init__(self, socket: ClientConnection, limit: int) -> None:
        self._socket = socket
        self._limit = limit
        self._messages: deque[bytes] = deque()
        self._size = 0
        self._error: Exception | None = None
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def take(self) -> str:
        """Return the next message as text; what ended the connection is raised behind the last."""
        while not self._messages:
            if self._error is not None:
                raise self._error
            self._require_taken()
            self._arrived.clear()
            # Not wait_for(), which in Python 3.11 may swallow that it is cancelled.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._arrived.wait()
        message = self._messages.popleft()
        self._size -= len(message)
        self._taken.set()
        return message.decode("utf-8", "replace")

    def _require_taken(self) -> None:
        """Raise where the answers to pings pile up, since the server reads none of them."""
        waiting = self._socket.transport.get_write_buffer_size()
        if waiting > self._limit // 8:
            msg = f"it takes nothing of {waiting / 1e6:.0f} MB of answers to its pings"
            raise ConnectionError(msg)

    async def _read(self) -> None:
        try:
            while True:
                message = await _received(self._socket)
                large = self._is_large(message)
                self._keep(message)
                del message
                self._arrived.set()
                if large:
                    await self._until_taken()
        except Exception as error:  # noqa: BLE001 - who reads must hear of it
            self._error = error
            self._arrived.set()

    async def _until_taken(self) -> None:
        """Read nothing while a large message waits, but for a time that Gradio allows."""
        self._taken.clear()
        self._socket.transport.pause_reading()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_SECONDS):
                    await self._taken.wait()
        finally:
            self._socket.transport.resume_reading()

    def _is_large(self, message: bytes) -> bool:
        """Whether it takes too much room, and that several times while it is read."""
        return len(message) > self._limit // 16

    def _keep(self, message: bytes) -> None:
        self._messages.append(message)
        self._size += len(message)
        large = self._is_large(message)  # fewer of them may wait
        room = self._limit // 8 if large else self._limit
        if self._size <= room and len(self._messages) <= MAX_UNREAD:
            return
        # Each tells the whole state, so an older one is no loss.
        place = next((n for n, each in enumerate(self._messages) if _STATE.match(each)), None)
        if place is None or place == len(self._messages) - 1:
            if large and self._size <= self._limit // 2:
                return
            msg = f"it sends more than {self._limit / 1e6:g} MB that nobody can take"
            raise ConnectionError(msg)
        self._size -= len(self._messages[place])
        del self._messages[place]


async def _received(socket: ClientConnection) -> bytes:
    """Return the next message; as text it could take four times the room."""
    # Put together as its fragments come: recv() keeps them all, and the smallest take the most.
    whole = b""
    joined: io.BytesIO | None = None
    async for piece in socket.recv_streaming(decode=False):
        if joined is None and not whole:
            whole = piece
        else:
            joined = joined or _holding(whole)
            joined.write(piece)
    return whole if joined is None else joined.getvalue()


def _holding(data: bytes) -> io.BytesIO:
    buffer = io.BytesIO()
    buffer.write(data)
    return buffer


def _decode(data: str, limit: int) -> dict[str, Any]:
    answer = parse_json(data, limit)
    return answer if isinstance(answer, dict) else {}
