"""A proxy before Jupyter that is as strict as those that some people have."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from urllib.parse import urlsplit

from ..loop_thread import LoopThread

#: A head of a request of a browser has a few hundred bytes.
MAX_HEAD = 1 << 16


class StrictProxy:
    """Stands before a server.

    Parameters
    ----------
    target : str
        The server's address.
    max_body : int, optional
        Bytes that a request may have, and what a websocket may send before the server answers.
    max_silence : float, optional
        Seconds after which a websocket is closed on which nobody has sent anything.
    websockets : bool, optional
        Whether any is let through.
    """

    def __init__(
        self,
        target: str,
        *,
        max_body: int | None = None,
        max_silence: float | None = None,
        websockets: bool = True,
    ) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._max_body = max_body
        self._max_silence = max_silence
        self._websockets = websockets
        #: How many websockets were closed for their silence, and requests refused for their size.
        self.closed = self.refused = 0
        self._loop = LoopThread()
        self._server = self._loop.run(
            asyncio.start_server(self._serve, "127.0.0.1", 0, limit=MAX_HEAD)
        )
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{parts.path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            is_socket = re.search(rb"(?im)^upgrade: *websocket", head) is not None
            length = re.search(rb"(?im)^content-length: *(\d+)", head)
            if is_socket and not self._websockets:
                writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                return
            if length and self._max_body is not None and int(length[1]) > self._max_body:
                self.refused += 1
                left = int(length[1])  # who is refused in the middle sees no answer
                while left and (data := await reader.read(65536)):
                    left -= len(data)
                writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                return
            if not is_socket:  # one request for each connection: each is looked at
                head = re.sub(rb"(?im)^connection:.*\r\n", b"", head)
                head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
            there_reader, there_writer = await asyncio.open_connection(*self._target)
            with contextlib.closing(there_writer):
                there_writer.write(head)
                await _Relay(self, is_socket).run(reader, writer, there_reader, there_writer)

    def close(self) -> None:
        """End it, with all connections."""
        self._loop.run(self._end())
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()

    @property
    def max_body(self) -> int | None:
        """Bytes that may come at once."""
        return self._max_body

    @property
    def max_silence(self) -> float | None:
        """Seconds that a websocket may be silent."""
        return self._max_silence


class _Relay:
    """One connection that is let through."""

    def __init__(self, proxy: StrictProxy, is_socket: bool) -> None:
        self._proxy = proxy
        self._is_socket = is_socket
        self._sent = 0
        self._moved = time.monotonic()

    async def run(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there_reader: asyncio.StreamReader,
        there_writer: asyncio.StreamWriter,
    ) -> None:
        tasks = [
            asyncio.ensure_future(self._pump(reader, there_writer, upwards=True)),
            asyncio.ensure_future(self._pump(there_reader, writer, upwards=False)),
        ]
        if self._is_socket and self._proxy.max_silence is not None:
            tasks.append(asyncio.ensure_future(self._watch(self._proxy.max_silence)))
        try:
            # An upload is over before its answer is; all else ends with its first end.
            await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            writer.transport.abort() if self._is_socket else None

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, upwards: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self._moved = time.monotonic()
                self._sent = self._sent + len(data) if upwards else 0
                limit = self._proxy.max_body
                if self._is_socket and limit is not None and self._sent > limit:
                    self._proxy.refused += 1
                    writer.transport.abort()
                    return
                writer.write(data)
                await writer.drain()

    async def _watch(self, seconds: float) -> None:
        while time.monotonic() - self._moved < seconds:
            await asyncio.sleep(0.05)
        self._proxy.closed += 1
