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
from fooocus_nb.fooocus.transport import Completed, Estimation, Generating, Message, Started
from fooocus_nb.fooocus.transport.http import HttpSession, is_loopback, normalise_url

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from websockets.asyncio.client import ClientConnection

__all__ = ["Gradio3Transport"]

#: Seconds to open a websocket: a server that loads a model holds its GIL for long.
OPEN_TIMEOUT = 30.0
#: Seconds for the farewell of a websocket; nothing depends on it.
CLOSE_TIMEOUT = 1.0
#: How often to join the queue again when the server hung up before it had our data.
JOIN_ATTEMPTS = 3
#: Since its version 15 websockets obeys the environment's proxy, unless told not to.
_TAKES_PROXY = "proxy" in inspect.signature(connect).parameters


class _HungUpEarlyError(Exception):
    """The server closed the websocket before it had the data, so nothing ran."""


class Gradio3Transport:
    """A connection to a Gradio 3 server.

    Parameters
    ----------
    url : str
        The server's address, a path prefix included.
    timeout : float, optional
        Seconds to wait for the server's description.
    """

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        self._http = HttpSession(normalise_url(url))
        self._timeout = timeout
        self._sockets: set[ClientConnection] = set()
        self._closed = False

    @property
    def url(self) -> str:
        """The server's address, without a slash at its end."""
        return self._http.url

    async def config(self) -> dict[str, Any]:
        """Return what ``/config`` answers.

        Returns
        -------
        dict
        """
        return await self._http.config(self._timeout)

    async def call(
        self, fn_index: int, data: Sequence[Any], session_hash: str
    ) -> AsyncGenerator[Message, None]:
        """Run a queued function.

        Parameters
        ----------
        fn_index : int
            Which function.
        data : sequence
            Its inputs, in order.
        session_hash : str
            Calls with the same hash share the server's state.

        Yields
        ------
        Message
            `Completed` is the last.

        Raises
        ------
        ConnectionLost
            When the server cannot be reached, or breaks the connection before the end.
        GenerationError
            When the server does not take the call.
        """
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
        timeout: float = 30.0,
    ) -> list[Any]:
        """Run a function past the queue.

        Parameters
        ----------
        fn_index : int
            Which function.
        data : sequence
            Its inputs, in order.
        session_hash : str
            Calls with the same hash share the server's state.
        timeout : float, optional
            Seconds to wait for the answer.

        Returns
        -------
        list
            Its outputs.
        """
        body = {"fn_index": fn_index, "session_hash": session_hash, "data": list(data)}
        answer = await self._http.post("/run/predict", body, timeout)
        return list(answer.get("data") or ())

    async def fetch(self, path: str) -> bytes:
        """Return the bytes of a file that the server offers.

        Parameters
        ----------
        path : str
            As the server named it.

        Returns
        -------
        bytes
        """
        return await self._http.fetch(path)

    async def age(self, path: str) -> float | None:
        """Return how long ago a file was written, by the server's own clock.

        Parameters
        ----------
        path : str
            As the server named it.

        Returns
        -------
        float or None
            Seconds; None where the server does not tell, or has no such file.
        """
        return await self._http.age(path)

    async def answers(self, timeout: float) -> bool:
        """Whether the web server answers.

        Parameters
        ----------
        timeout : float
            Seconds to wait.

        Returns
        -------
        bool
        """
        return await self._http.answers(timeout)

    async def aclose(self) -> None:
        """Close every websocket and connection."""
        self._closed = True
        await asyncio.gather(*(socket.close() for socket in list(self._sockets)))
        await self._http.aclose()

    # -- the websocket ------------------------------------------------------------------------

    @asynccontextmanager
    async def _join(self) -> AsyncIterator[ClientConnection]:
        """Hold a websocket to the queue, and give every failure our own name."""
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
            # A server in one long C call answers no ping and is well nevertheless; whether
            # anything still moves is judged by the engine, which sees the log too.
            "ping_timeout": None,
            # Previews and galleries come as one message each.
            "max_size": None,
            # Never let what is unread push back: Gradio gives each message one second to be
            # taken and then forgets the client for good, without hanging up. (A number, since
            # websockets 13 knows no None here.)
            "max_queue": 1_000_000,
            # Pictures do not get smaller, and the server's only thread has better to do.
            "compression": None,
        }
        if is_loopback(self.url) and _TAKES_PROXY:
            options["proxy"] = None
        return options

    async def _converse(
        self, socket: ClientConnection, identity: dict[str, Any], data: list[Any]
    ) -> AsyncGenerator[Message, None]:
        """Answer what the server asks, and hand on what it tells."""
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
            message = _translate(answer)
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
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {}


def _translate(answer: dict[str, Any]) -> Message | None:
    """Return a message of the wire as ours; None for one that tells us nothing."""
    output = answer.get("output")
    output = output if isinstance(output, dict) else {}
    data = output.get("data")
    outputs = tuple(data) if isinstance(data, list) else ()
    match answer.get("msg"):
        case "estimation":
            eta = answer.get("rank_eta")
            return Estimation(
                rank=_count(answer.get("rank")),
                queue_size=_count(answer.get("queue_size")),
                eta=float(eta) if isinstance(eta, (int, float)) else None,
            )
        case "process_starts":
            return Started()
        case "process_generating":
            return Generating(outputs)
        case "process_completed":
            error = output.get("error")
            success = bool(answer.get("success", True))
            return Completed(outputs, success, None if error is None else str(error))
        case _:
            return None


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
