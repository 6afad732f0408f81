"""The page of an engine through Jupyter: requests and websockets below a page's secret address.

Needs jupyter-server-proxy; :mod:`fooocus_nb.server.ui` imports it only where that is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

import aiohttp
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server_proxy.handlers import ProxyHandler
from tornado import web
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError
from yarl import URL

from fooocus_nb.server import _proxy_rewrite as rewrite
from fooocus_nb.server._proxy_pages import Page, Refused
from fooocus_nb.server.page_answers import CLIENT, SECRET, PageAnswers, page_table

__all__ = ["PageHandler"]

CONNECT_TIMEOUT = 10.0
#: A function of Gradio 3 without a queue answers when it is done, such as after a download of
#: models; and a stream of Gradio 4 is open as long as its page.
REQUEST_TIMEOUT = 24 * 3600.0
CLOSE_TIMEOUT = 5.0
CHUNK_BYTES = 1 << 16
#: Answers in which an engine may say its own address.
TOLD = ("application/json", "text/event-stream", "text/html")
NO_BODY = (204, 304)
#: Below a page's prefix: the websocket that our script keeps open as long as the page is.
HOLD = "fooocus-nb-open"


class PageHandler(PageAnswers, ProxyHandler):  # type: ignore[misc]
    """Passes on what is below a page's secret address, and nothing that is Jupyter's."""

    _page: Page
    _upstream: aiohttp.ClientWebSocketResponse | None = None
    _asking: asyncio.Task[None] | None = None
    _tasks: tuple[asyncio.Task[Any], ...] = ()
    _hold: asyncio.StreamWriter | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Jupyter sets cookies on the way, such as for XSRF, but this is no page of its. The class
        # above has put its own functions over those of the class.
        self.set_cookie = _ignore  # type: ignore[method-assign]

    # -- who may ------------------------------------------------------------------------------

    async def prepare(self) -> None:  # type: ignore[override]
        """Check the host as Jupyter does, the origin, and the secret instead of a login."""
        # Not what is above us there, which asks for the login that this page must not have.
        await JupyterHandler.prepare(self)
        origin = self.request.headers.get("Origin", "null")
        if origin != "null":
            self.refuse(403, "Only the page itself, which has no origin, may ask for this.")
        elif self.request.headers.get("Service-Worker", "").lower() == "script":
            self.refuse(403, "A page must not register a service worker here.")
        else:
            try:
                self._page = await self._find_page()
            except Refused as refused:
                self.refuse(refused.status, refused.text)

    async def _find_page(self, *, afresh: bool = False) -> Page:
        table, secret = page_table(self.settings), self.path_kwargs["secret"]
        return await asyncio.to_thread(table.find, secret, afresh=afresh)

    def check_xsrf_cookie(self) -> None:
        """Check nothing: nobody who does not know the secret gets this far."""

    def check_origin(self, origin: str | None = None) -> bool:
        """Check nothing more: the secret and :meth:`prepare` stand in its place."""
        return True

    def _record_activity(self) -> None:
        """Record nothing: that a page is open, and asks now and then, is no activity."""

    def _count_as_activity(self) -> None:
        times = self.settings.setdefault("last_activity_times", {})
        times["fooocus_nb_page"] = _now()

    # -- HTTP ---------------------------------------------------------------------------------

    @allow_unauthenticated
    async def get(self, **given: str) -> None:
        """Pass a request or a websocket on."""
        path, mark, query = self.asked.partition("?")
        if f"{path}/" == self._prefix():  # what the page asks for stands below it
            self.redirect(f"{path}/{mark}{query}")
            return
        await ProxyHandler.get(self, **given)

    @allow_unauthenticated
    async def head(self, **_given: str) -> None:
        """Pass it on."""
        await self._pass_on()

    @allow_unauthenticated
    async def post(self, **_given: str) -> None:
        """Pass it on."""
        self._count_as_activity()
        await self._pass_on()

    @allow_unauthenticated
    async def options(self, **_given: str) -> None:
        """Answer what browsers ask before they ask from a page without an origin."""
        asked = self.request.headers.get("Access-Control-Request-Headers", "")
        self.set_header("Access-Control-Allow-Methods", "GET, HEAD, POST")
        if re.fullmatch(r"[\w ,-]{1,500}", asked):
            self.set_header("Access-Control-Allow-Headers", asked)
        self.set_header("Access-Control-Max-Age", "600")
        self.set_status(204)
        self.finish()

    @allow_unauthenticated
    def put(self, **_given: str) -> None:
        """Refuse what no page of Gradio asks."""
        self.refuse(405, "A page of Gradio does not ask that.")

    patch = delete = put

    async def http_get(self, **_given: str) -> None:
        """Pass it on."""
        await self._pass_on()

    async def _pass_on(self) -> None:
        asking = self._asking = asyncio.create_task(self._ask())
        await asyncio.wait((asking,))
        if not asking.cancelled():
            asking.result()

    async def _ask(self) -> None:
        """Ask the engine, and answer with what it says."""
        prefix, rest = self._prefix(), self._rest()
        timeout = aiohttp.ClientTimeout(REQUEST_TIMEOUT, sock_connect=CONNECT_TIMEOUT)
        url = self._url(rest)
        try:
            async with self._client().request(
                self.request.method,
                url,
                data=self.request.body or None,
                headers=self._headers_for_engine(),
                allow_redirects=False,
                timeout=timeout,
            ) as answer:
                await self._answer(answer, str(url), prefix, rest)
        except StreamClosedError:
            return  # the browser has gone
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            await self._fail(error)

    async def _answer(
        self, answer: aiohttp.ClientResponse, url: str, prefix: str, rest: str
    ) -> None:
        if not 200 <= answer.status < 600:
            # Above all 101: a proxy on the way would take the rest for a websocket.
            self.refuse(502, f"The engine answers with {answer.status}, which is no answer.")
            return
        self._page.keep_cookies(answer.headers.getall("Set-Cookie", []))
        self.set_status(answer.status)
        for name, value in rewrite.allowed_response_headers(answer.headers).items():
            self.set_header(name, value)
        if (location := answer.headers.get("Location")) is not None:
            below = rewrite.location_below(location, url, prefix)
            if below is None:
                self.refuse(502, "The engine sends the browser to another place.")
                return
            self.set_header("Location", below)
        if self.request.method == "HEAD" or answer.status in NO_BODY:
            self.finish()
            return
        origin = self._origin()
        if answer.content_type == "text/html" and not rest.partition("?")[0]:
            body = await _read(answer, rewrite.MAX_PAGE_BYTES)
            self.clear_header("Content-Length")
            limit = self.max_message_size
            self.finish(rewrite.rewrite_page(body, prefix, origin, limit))
            return
        replacer = rewrite.Replacer(origin, prefix) if answer.content_type in TOLD else None
        if replacer is not None:
            self.clear_header("Content-Length")
        async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
            if data := replacer.feed(chunk) if replacer else chunk:
                self.write(data)
                # That of the class above returns nothing to wait for.
                await web.RequestHandler.flush(self)
        if replacer is not None and (data := replacer.end()):
            self.write(data)
        self.finish()

    async def _fail(self, error: Exception) -> None:
        name = self._page.engine.name
        self.log.debug("The page of engine %r: %r", name, error)
        if not self._headers_written:
            try:
                # An engine that was just stopped or restarted was still proven a moment ago.
                await self._find_page(afresh=True)
            except Refused as refused:
                self.refuse(refused.status, refused.text)
            else:
                text = f"Engine {name!r} does not answer: it may be busy, or about to end."
                self.refuse(502, text)
        elif (stream := getattr(self.request.connection, "stream", None)) is not None:
            stream.close()  # so that nobody takes a part for the whole

    def on_connection_close(self) -> None:
        """Stop asking the engine for what nobody waits for any more, also before it answers."""
        if self._asking is not None:
            self._asking.cancel()
        super().on_connection_close()

    # -- websockets ---------------------------------------------------------------------------

    @property
    def max_message_size(self) -> int:
        """The largest message, in bytes."""
        return self.services.limits.max_page_message

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Select none: the queue of Gradio has none."""
        return None

    async def open(self, **_given: str) -> None:
        """Connect to the engine before anything is taken from the browser."""
        if self._rest().partition("?")[0] == HOLD:
            await self._hold_engine()
            return
        timeout = aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                upstream = await self._client().ws_connect(
                    self._url(self._rest()),
                    headers=self._headers_for_engine(),
                    max_msg_size=self.max_message_size,
                    timeout=timeout,
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.log.debug("A websocket of engine %r: %r", self._page.engine.name, error)
            self.close(1014, "the engine does not answer")
            return
        self._upstream = upstream
        self._tasks = (
            asyncio.create_task(self._relay(upstream)),
            asyncio.create_task(self._ping()),
        )

    async def _hold_engine(self) -> None:
        """Keep the engine awake as long as this page is open.

        Gradio 3 has no connection for a page that is only open. Whoever is connected to an engine's
        web server keeps it from falling asleep, whichever kernels use it; so this connects, and
        says nothing.
        """
        url = URL(self._page.engine.url)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, self._hold = await asyncio.open_connection(url.host, url.port)
        except (TimeoutError, OSError):
            self.close(1014, "the engine does not answer")
            return
        self._tasks = (asyncio.create_task(self._ping()),)

    async def on_message(self, message: str | bytes) -> None:
        """Pass a message of the browser on."""
        self._count_as_activity()
        upstream = self._upstream
        if upstream is None:
            return
        with contextlib.suppress(aiohttp.ClientError, OSError):
            if isinstance(message, bytes):
                await upstream.send_bytes(message)
            else:
                await upstream.send_str(message)

    async def _relay(self, upstream: aiohttp.ClientWebSocketResponse) -> None:
        """Pass the engine's messages on until it closes."""
        with contextlib.suppress(WebSocketClosedError, StreamClosedError):
            async for message in upstream:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await self.write_message(message.data)
                elif message.type is aiohttp.WSMsgType.BINARY:
                    await self.write_message(message.data, binary=True)
        code = upstream.close_code
        self.close(code if code is not None and _may_be_sent(code) else 1011)

    async def _ping(self) -> None:
        with contextlib.suppress(WebSocketClosedError):
            while True:
                await asyncio.sleep(self.services.limits.ping_interval)
                self.ping(b"")

    def on_ping(self, data: bytes) -> None:
        """Pass nothing on: each side has pings of its own."""

    def on_close(self) -> None:
        """Close the connection to the engine, too."""
        for task in self._tasks:
            task.cancel()
        if self._hold is not None:
            self._hold.close()
        if self._upstream is not None:
            self._tasks = (
                asyncio.create_task(self._upstream.close()),
            )  # a task that nobody holds may be collected

    # -- addresses ----------------------------------------------------------------------------

    def _prefix(self) -> str:
        """Return the path of the page as the browser has spelled it."""
        path = self.asked.partition("?")[0]
        found = SECRET.search(path)
        return path[: found.end()] + "/" if found else path

    def _rest(self) -> str:
        """Return what stands behind it, as it is: it must not be quoted twice."""
        path, _, query = self.asked.partition("?")
        rest = path[len(self._prefix()) :]
        query = rewrite.without_token(query)
        return f"{rest}?{query}" if query else rest

    def _policy_prefix(self) -> str:
        # They separate policies; a browser compares what is quoted with what is not.
        return self._prefix().replace(";", "%3B").replace(",", "%2C")

    def _url(self, rest: str) -> URL:
        return URL(f"{self._page.engine.url.rstrip('/')}/{rest}", encoded=True)

    def _origin(self) -> str:
        """Return where the browser has found us; TLS may end before Jupyter."""
        told = self.request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower()
        scheme = told if told in ("http", "https") else self.request.protocol
        return f"{scheme}://{self.request.host}"

    def _headers_for_engine(self) -> dict[str, str]:
        headers = rewrite.allowed_request_headers(self.request.headers)
        headers["Accept-Encoding"] = "identity"  # the page has to be changed
        headers["X-Forwarded-Host"] = rewrite.PLACEHOLDER.partition("//")[2]
        headers["X-Forwarded-Proto"] = "http"
        if cookie := self._page.cookie_header():
            headers["Cookie"] = cookie
        return headers

    def _client(self) -> aiohttp.ClientSession:
        """Return the client that all pages share; it keeps no cookies and knows no proxies."""
        client = self.settings.get(CLIENT)
        if client is None or client.closed:
            client = aiohttp.ClientSession(
                auto_decompress=False,
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
            self.settings[CLIENT] = client
        return client


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
        body += chunk
        if len(body) > limit:
            msg = f"a page of more than {limit:,} bytes"
            raise aiohttp.ClientPayloadError(msg)
    return bytes(body)


def _may_be_sent(code: int) -> bool:
    return code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011) or 3000 <= code < 5000


def _ignore(*_args: Any, **_options: Any) -> None:
    """Do nothing."""


def _now() -> Any:
    from jupyter_server._tz import utcnow

    return utcnow()
