"""HTTP requests to a Gradio server, with our exceptions for httpx's."""

from __future__ import annotations

import ipaddress
import json as json_module
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from fooocus_nb.errors import (
    ConfigurationError,
    ConnectionLost,
    EngineError,
    UnsupportedServer,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

__all__ = ["HttpSession", "decode", "is_loopback", "normalise_url"]

#: Seconds to open a connection. A server that loads a model may hold its GIL for long.
CONNECT_TIMEOUT = 10.0
#: Seconds between two pieces of an answer.
READ_TIMEOUT = 30.0


def normalise_url(url: str) -> str:
    """Return a server's address in the form that paths can be appended to."""
    given = url.strip()
    refusal = f"{url!r} is no address of a server; write one like http://127.0.0.1:7865"
    try:
        parts = urlsplit(given if "://" in given else f"http://{given}")
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(refusal) from error
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError(refusal)
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # 0.0.0.0 is what people copy from a server that listens everywhere.
    return address.is_loopback or address.is_unspecified


class HttpSession:
    """Requests to one server."""

    # No connection is kept: on an idle one the server may hang up at the very moment that a stop is
    # sent, and a repeated POST is not always harmless.

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(max_keepalive_connections=0),
            # A proxy named in the environment cannot reach this machine's loopback.
            trust_env=not is_loopback(url),
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        files: Any = None,
        timeout: float | None = None,
        follow: bool = False,
    ) -> httpx.Response:
        """Send one request, whatever its status then is."""
        limits = (
            httpx.USE_CLIENT_DEFAULT
            if timeout is None
            else httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT))
        )
        with self._our_errors(f"{method} {_brief(path)}"):
            return await self._client.request(
                method,
                self.url + path,
                json=json,
                files=files,
                timeout=limits,
                follow_redirects=follow,
            )

    async def bounded(
        self, path: str, *, most: int, timeout: float | None = None
    ) -> tuple[httpx.Response, bytes]:
        """Get a page of at most so many bytes, wherever a redirection leads."""
        limits = httpx.Timeout(timeout or READ_TIMEOUT, connect=CONNECT_TIMEOUT)
        content = bytearray()
        with self._our_errors(f"GET {_brief(path)}"):
            async with self._client.stream(
                "GET", self.url + path, timeout=limits, follow_redirects=True
            ) as answer:
                async for part in answer.aiter_bytes():
                    content += part
                    if len(content) > most:
                        msg = f"The server at {self.url} sends more than {most:,} bytes for {path}."
                        raise UnsupportedServer(msg)
        return answer, bytes(content)

    async def events(self, path: str, silence: float) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the JSON objects of a stream of server-sent events."""
        limits = httpx.Timeout(silence, connect=CONNECT_TIMEOUT)
        with self._our_errors(f"GET {_brief(path)}"):
            async with self._client.stream("GET", self.url + path, timeout=limits) as answer:
                if answer.status_code != 200:
                    msg = f"The server at {self.url} has no event stream ({answer.status_code})."
                    raise ConnectionLost(msg)
                async for line in answer.aiter_lines():
                    if line.startswith("data:"):
                        event = decode(line.removeprefix("data:"))
                        if isinstance(event, dict):
                            yield event

    @contextmanager
    def _our_errors(self, what: str) -> Iterator[None]:
        """Raise our exceptions for httpx's."""
        try:
            yield
        except httpx.TimeoutException as error:
            msg = f"The server at {self.url} did not answer {what} in time."
            raise _lost(msg, error) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            msg = f"The server at {self.url} cannot be reached: {_reason(error)}."
            raise _lost(msg, error) from error
        except RuntimeError as error:
            if not self._client.is_closed:
                raise
            msg = f"The connection to {self.url} has been closed."
            raise ConnectionLost(msg) from error

    async def post(self, path: str, body: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Post JSON and return the JSON object that is answered."""
        answer = await self.request("POST", path, json=dict(body), timeout=timeout)
        content = self.json_of(answer)
        if answer.status_code != 200 or not isinstance(content, dict):
            reason = content.get("error") if isinstance(content, dict) else None
            msg = (
                f"The server at {self.url} refused function {body.get('fn_index')} "
                f"({answer.status_code}): {reason or 'it gave no reason'}."
            )
            raise EngineError(msg)
        return content

    @staticmethod
    def json_of(answer: httpx.Response) -> object:
        """Return the JSON of an answer; None where there is none."""
        try:
            return answer.json()
        except (ValueError, RecursionError):
            return None

    def move(self, url: str) -> None:
        """Send further requests to where a redirection led."""
        self.url = normalise_url(url)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def decode(text: str | bytes) -> object:
    """Return parsed JSON; None for what is none, or of absurd depth."""
    try:
        return json_module.loads(text)
    except (ValueError, RecursionError):
        return None


def _lost(message: str, error: Exception) -> ConnectionLost:
    lost = ConnectionLost(message)
    # Without a connection nothing was sent; after that nobody knows how much has arrived.
    lost.handed_in = isinstance(error, httpx.TransportError) and not isinstance(
        error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol)
    )
    return lost


def _reason(error: Exception) -> str:
    """Return an exception's message, or its type: httpx's messages are often empty."""
    return str(error).strip().rstrip(".") or type(error).__name__


def _brief(path: str) -> str:
    return path if len(path) <= 80 else path[:77] + "..."
