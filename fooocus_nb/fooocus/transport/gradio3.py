"""The wire of Gradio 3: a websocket per queued call, and JSON posts past the queue."""

from __future__ import annotations

import asyncio
import inspect
import json
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
)

from fooocus_nb.errors import ConnectionLost, GenerationError, UnsupportedServer
from fooocus_nb.fooocus.transport import (
    POST_TIMEOUT,
    Completed,
    Transport,
    output_of,
    parse_message,
)
from fooocus_nb.fooocus.transport.http import HttpSession, is_loopback, normalise_url

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from websockets.asyncio.client import ClientConnection

    from fooocus_nb.fooocus.transport import Message

__all__ = ["Gradio3Transport"]

#: Seconds to open a websocket: a server that loads a model holds its GIL for long.
OPEN_TIMEOUT = 30.0
#: Seconds for the closing handshake of a websocket; nothing depends on it.
CLOSE_TIMEOUT = 1.0
#: How often to join the queue again when the server hung up before it had our data.
JOIN_ATTEMPTS = 3
#: Since its version 15 websockets obeys the environment's proxy, unless told not to.
_TAKES_PROXY = "proxy" in inspect.signature(connect).parameters


class _HungUpEarlyError(Exception):
    """The server closed the websocket before it had the data, so nothing ran."""


class Gradio3Transport(Transport):
    """A connection to a Gradio 3 server."""

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        super().__init__(HttpSession(normalise_url(url)), timeout)
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
            socket = await connect(self._queue_url(), **self._options())
        except InvalidStatus as error:
            status = error.response.status_code
            msg = f"The server at {self.url} has no queue for us (status {status})."
            if status >= 500:
                raise ConnectionLost(msg) from error
            raise UnsupportedServer(msg) from error
        except (OSError, TimeoutError, InvalidHandshake, InvalidMessage, InvalidURI) as error:
            raise self._lost(error) from error
        self._sockets.add(socket)
        try:
            if self._closed:
                raise self._lost(ConnectionError("we have closed the connection"))
            yield socket
        finally:
            self._sockets.discard(socket)
            await socket.close()

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
            "max_size": None,
            # No back-pressure from unread messages: Gradio gives each one second to be received
            # and then drops the client for good, without hanging up. (A number, since
            # websockets 13 knows no None here.)
            "max_queue": 1_000_000,
            # Images do not get smaller, and the server has only one thread.
            "compression": None,
        }
        if is_loopback(self.url) and _TAKES_PROXY:
            options["proxy"] = None
        return options

    async def _converse(
        self, socket: ClientConnection, identity: dict[str, Any], data: list[Any]
    ) -> AsyncGenerator[Message, None]:
        """Send what the server asks for, and yield its messages."""
        handed_in = False
        while True:
            try:
                answer = _decode(await socket.recv())
                kind = answer.get("msg")
                if kind == "send_hash":
                    await socket.send(json.dumps(identity))
                elif kind == "send_data":
                    handed_in = True
                    await socket.send(json.dumps({**identity, "data": data}))
            except ConnectionClosed as error:
                if not handed_in:
                    raise _HungUpEarlyError from error
                lost = self._lost(error)
                lost.handed_in = True
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

    def _lost(self, error: BaseException) -> ConnectionLost:
        if isinstance(error, ConnectionClosed):
            return ConnectionLost(f"The server at {self.url} broke the connection: {error}.")
        if isinstance(error, TimeoutError):
            return ConnectionLost(f"The server at {self.url} did not answer in time.")
        reason = str(error).rstrip(".") or type(error).__name__
        return ConnectionLost(f"The server at {self.url} cannot be reached: {reason}.")


def _decode(text: str | bytes) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    return answer if isinstance(answer, dict) else {}
