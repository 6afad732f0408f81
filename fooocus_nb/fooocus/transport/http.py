"""HTTP requests to a Gradio server, with our exceptions for httpx's, and bounds for what comes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import ipaddress
import json as json_module
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from fooocus_nb._secrets import redact
from fooocus_nb.errors import (
    ConfigurationError,
    ConnectionLost,
    EngineError,
    UnsupportedServer,
    warn_user,
)
from fooocus_nb.fooocus.limits import (
    FILE_VARIABLE,
    MESSAGE_VARIABLE,
    max_file_bytes,
    max_message_bytes,
)
from fooocus_nb.fooocus.transport.login import LOGIN_VARIABLE, split_login

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence

    from fooocus_nb.fooocus.transport.login import Login

__all__ = [
    "Answer",
    "HttpSession",
    "is_loopback",
    "login_advice",
    "normalise_url",
    "parse_json",
    "prefix_of",
]

#: Seconds to open a connection. A server that loads a model may hold its GIL for long.
CONNECT_TIMEOUT = 10.0
#: Seconds between two pieces of an answer.
READ_TIMEOUT = 30.0
#: Seconds for a whole answer where the call names none: an image over a slow line.
ANSWER_TIMEOUT = 300.0
MAX_REDIRECTS = 5
#: Gradio sets two for a login; each answer could set more, and all are sent with each request.
MAX_COOKIES = 50
#: A proxy may want a login, and then the server behind it.
LOGIN_ROUNDS = 2
#: Far more than a page with thousands of models has; small values take more room than their text,
#: and lists and objects the most, with or without a comma between them.
MAX_VALUES = 300_000
_BEFORE_VALUES = (",", "[", "{")
#: Where httpx, and curl, look for the certificates to trust, beside their own.
TRUST_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
#: Where httpx looks for proxies, and in lower case.
PROXY_VARIABLES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_SPACE = re.compile(r"\s")
#: A path of plain names: anything else could lead to another host.
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[\w.~-]+)*/?", re.ASCII)


def normalise_url(url: str) -> str:
    """Return a server's address in the form that paths can be appended to."""
    given = url.strip()
    refusal = f"{url!r} is no address of a server; write one like http://127.0.0.1:7865"
    try:
        parts = urlsplit(given if "://" in given else f"http://{given}")
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(refusal) from error
    if parts.scheme not in ("http", "https") or not host or _SPACE.search(parts.netloc):
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


def prefix_of(value: object, url: str) -> str:
    """Return the path that a server gives its functions; one that leads elsewhere is refused."""
    text = value if isinstance(value, str) else ""
    if (value and not text) or _PREFIX.fullmatch(text) is None or len(text) > 1000:
        msg = (
            f"The server at {url} gives its functions the path {str(value)[:200]!r}, which is none."
        )
        raise UnsupportedServer(msg)
    return text.rstrip("/")


def parse_json(data: bytes | bytearray | str, limit: int) -> object:
    """Parse JSON of unknown origin; None for what is none, or too large, too deep or too much."""
    # A text takes four bytes a character as soon as one of them is far from ASCII.
    if len(data) > (limit if data.isascii() else limit // 4):
        return None
    text = data if isinstance(data, str) else str(data, "utf-8", "replace")
    if sum(map(text.count, _BEFORE_VALUES)) > MAX_VALUES:
        return None
    try:
        return json_module.loads(text)
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request, whole."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    #: Where it came from, after any redirections.
    url: str
    redirected: bool = False


@functools.cache
def _trusted(trust_env: bool, _file: str | None, _folder: str | None) -> ssl.SSLContext:
    """Return whose certificates count; read once, since that takes longer than most requests."""
    try:
        return httpx.create_ssl_context(trust_env=trust_env)
    except OSError as error:
        if not trust_env:
            raise
        names = " and ".join(filter(os.environ.get, TRUST_VARIABLES))
        warn_user(
            f"No certificates can be read from what {names} names ({error}), so those that come "
            "with Python are trusted. Correct it where the kernel is started.",
            UserWarning,
        )
        return httpx.create_ssl_context(trust_env=False)


@functools.cache
def _proxies_are_usable(*_values: str | None) -> bool:
    """Whether httpx can use the proxies of these variables; told once where it can't."""
    try:
        httpx.Client(trust_env=True, verify=_trusted(False, None, None)).close()
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        names = " and ".join(name for name in _proxy_names() if os.environ.get(name))
        warn_user(
            f"No proxy can be used as {names} would have it ({redact(str(error))}), so servers are "
            "reached without one. Correct it where the kernel is started.",
            UserWarning,
        )
        return False
    return True


def _proxy_names() -> tuple[str, ...]:
    return (*PROXY_VARIABLES, *map(str.lower, PROXY_VARIABLES))


class HttpSession:
    """Requests to one server, which are logged in where it wants that and `logins` has one."""

    # No connection is kept: on an idle one the server may hang up at the very moment that a stop is
    # sent, and a repeated POST is not always harmless.

    def __init__(self, url: str, logins: Sequence[Login] = ()) -> None:
        bare, login = split_login(url)
        self.url = normalise_url(bare)
        self.logins = (login, *logins) if login else tuple(logins)
        self.max_message = max_message_bytes()
        self.max_file = max_file_bytes()
        # A proxy named in the environment cannot reach this machine's loopback.
        outside = not is_loopback(self.url)
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=outside and _proxies_are_usable(*map(os.environ.get, _proxy_names())),
            verify=_trusted(outside, *map(os.environ.get, TRUST_VARIABLES)),
            # Unpacking could make much of little.
            headers={"Accept-Encoding": "identity"},
        )
        self._login_lock = asyncio.Lock()
        self._logged_in = 0

    # -- requests -----------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        files: Any = None,
        timeout: float | None = None,
        limit: int | None = None,
        follow: bool = False,
    ) -> Answer:
        """Send one request, whatever its status then is; at most `limit` bytes are taken."""
        for _ in range(LOGIN_ROUNDS):
            before = self._logged_in
            answer = await self._send(method, path, json, files, timeout, limit, follow)
            if answer.status != 401 or not await self._log_in(answer, before):
                return answer
        return await self._send(method, path, json, files, timeout, limit, follow)

    async def _send(
        self,
        method: str,
        path: str,
        json: Any,
        files: Any,
        timeout: float | None,
        limit: int | None,
        follow: bool,
    ) -> Answer:
        what = f"{method} {_brief(path)}"
        whole = ANSWER_TIMEOUT if timeout is None else timeout
        silence = READ_TIMEOUT if timeout is None else timeout
        limits = httpx.Timeout(silence, connect=min(silence, CONNECT_TIMEOUT))
        target = httpx.URL(self.url + path) if self._is_address(path) else None
        if target is None:
            msg = f"The server at {self.url} has no address for {what}."
            raise EngineError(msg)
        with self._our_errors(what):
            async with asyncio.timeout(whole):
                for redirections in range(MAX_REDIRECTS + 1):
                    async with self._client.stream(
                        method, target, json=json, files=files, timeout=limits
                    ) as answer:
                        self._bound_cookies()
                        if follow and answer.has_redirect_location:
                            target = self._redirected(target, answer.headers["location"])
                            continue
                        content = await self._content(answer, what, limit or self.max_message)
                        return Answer(
                            answer.status_code,
                            answer.headers,
                            content,
                            str(target),
                            redirections > 0,
                        )
        msg = f"The server at {self.url} redirects more than {MAX_REDIRECTS} times."
        raise UnsupportedServer(msg)

    def _bound_cookies(self) -> None:
        """Forget all cookies where they are too many; a login is then repeated."""
        if len(self._client.cookies.jar) > MAX_COOKIES:
            self._client.cookies.clear()

    def _is_address(self, path: str) -> bool:
        """Whether a path leads to the server, as httpx reads it."""
        try:
            target, own = httpx.URL(self.url + path), httpx.URL(self.url)
        except (httpx.InvalidURL, ValueError):
            return False
        return (target.host, target.port) == (own.host, own.port) and not target.userinfo

    def _redirected(self, target: httpx.URL, location: str) -> httpx.URL:
        """Return where a redirection leads; another host than the one that was named is refused."""
        there = target.join(location)
        elsewhere = self._elsewhere(there)
        if elsewhere:
            where = str(there.copy_with(userinfo=b"", query=None, fragment=None))[:200]
            msg = (
                f"The server at {self.url} sends us on to {elsewhere}, {where}, where nothing is "
                "asked unless you name it. If you know it, connect to that address."
            )
            raise UnsupportedServer(msg)
        return there.copy_with(userinfo=b"")

    def _elsewhere(self, there: httpx.URL) -> str:
        """Return what is wrong with an address to go on to; nothing where it is the same host."""
        own = httpx.URL(self.url)
        if there.scheme not in ("http", "https") or there.host != own.host:
            return "another host"
        if own.scheme == "https" and there.scheme == "http":
            return "an address without encryption"
        # On a machine of many users another port is another user's, who would get the login.
        if self.logins and there.scheme == own.scheme and there.port != own.port:
            return "another port"
        return ""

    async def _content(self, answer: httpx.Response, what: str, limit: int) -> bytes:
        if answer.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            msg = f"The server at {self.url} packed its answer to {what}, which was not asked for."
            raise ConnectionLost(msg)
        # Its content is not copied when it is read as a whole, as that of a bytearray is.
        data = io.BytesIO()
        async for part in answer.aiter_raw():
            if data.tell() + len(part) > limit:
                raise self.too_large(what, limit)
            data.write(part)
        return data.getvalue()

    def too_large(self, what: str, limit: int) -> ConnectionLost:
        """Return the error for an answer that does not end within its bounds."""
        name = FILE_VARIABLE if limit == self.max_file else MESSAGE_VARIABLE
        msg = f"The server at {self.url} answered {what} with more than {limit / 1e6:g} MB."
        return ConnectionLost(msg, remedy=f"{name} in the environment allows more.")

    async def events(
        self, path: str, silence: float
    ) -> AsyncGenerator[tuple[dict[str, Any], int], None]:
        """Yield the JSON objects of a stream of server-sent events, each with its size."""
        limits = httpx.Timeout(silence, connect=CONNECT_TIMEOUT)
        what = f"GET {_brief(path)}"
        for attempt in range(LOGIN_ROUNDS + 1):
            before = self._logged_in
            with self._our_errors(what):
                async with contextlib.AsyncExitStack() as stack:
                    stream = self._client.stream("GET", self.url + path, timeout=limits)
                    async with asyncio.timeout(silence):  # its head may come in drops
                        answer = await stack.enter_async_context(stream)
                    self._bound_cookies()
                    if answer.status_code == 200:
                        async for line in self._lines(answer.aiter_raw(), what):
                            if line.startswith(b"data:"):
                                del line[: len(b"data:")]
                                event = parse_json(line, self.max_message)
                                if isinstance(event, dict):
                                    yield event, len(line)
                        return
                    refused = Answer(answer.status_code, answer.headers, b"", self.url)
            if attempt == LOGIN_ROUNDS or refused.status != 401:
                break
            if not await self._log_in(refused, before):
                break
        msg = f"The server at {self.url} has no event stream ({refused.status})."
        raise ConnectionLost(msg)

    async def _lines(self, parts: AsyncIterator[bytes], what: str) -> AsyncIterator[bytearray]:
        """Yield the lines of a stream; one that does not end within the bounds is an error."""
        rest = bytearray()
        async for part in parts:
            rest += part
            if b"\n" in part:
                *lines, rest = rest.split(b"\n")
                lines.reverse()
                while lines:  # let each go as it is taken: one may be as large as a message
                    yield lines.pop()
            if len(rest) > self.max_message:
                raise self.too_large(what, self.max_message)

    @contextlib.contextmanager
    def _our_errors(self, what: str) -> Iterator[None]:
        """Raise our exceptions for httpx's."""
        try:
            yield
        except (httpx.TimeoutException, TimeoutError) as error:
            msg = f"The server at {self.url} did not answer {what} in time."
            lost = _lost(msg, error)
            lost.timed_out = True
            raise lost from error
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
        if answer.status != 200 or not isinstance(content, dict):
            reason = content.get("error") if isinstance(content, dict) else None
            msg = (
                f"The server at {self.url} refused function {body.get('fn_index')} "
                f"({answer.status}): {reason or 'it gave no reason'}."
            )
            raise EngineError(msg)
        return content

    def json_of(self, answer: Answer) -> object:
        """Return the JSON of an answer; None where there is none."""
        return parse_json(answer.content, self.max_message)

    # -- login --------------------------------------------------------------------------------

    async def log_in_again(self, headers: Mapping[str, str], before: int) -> bool:
        """Log in after a refusal that did not come through :meth:`request`."""
        return await self._log_in(Answer(401, headers, b"", self.url), before)

    @property
    def logins_done(self) -> int:
        """How often we have logged in."""
        return self._logged_in

    def headers(self) -> dict[str, str]:
        """Return the headers of our login, for a connection that is not made here."""
        request = self._client.build_request("GET", self.url + "/")
        names = ("authorization", "cookie")
        return {name: request.headers[name] for name in names if name in request.headers}

    async def _log_in(self, refusal: Answer, before: int) -> bool:
        """Answer a refusal with the first login that is taken; whether there was one.

        `before` is how often we had logged in when the refused request was sent.
        """
        async with self._login_lock:
            if self._logged_in != before:
                return True  # another request has done it meanwhile
            challenge = refusal.headers.get("www-authenticate", "").lower()
            basic = challenge.startswith("basic")
            for login in self.logins:
                taken = await (self._try_basic(login) if basic else self._try_form(login))
                if taken:
                    self._logged_in += 1
                    return True
            return False

    async def _try_basic(self, login: Login) -> bool:
        before = self._client.headers.get("Authorization")
        self._client.headers["Authorization"] = login.basic
        answer = await self._send("GET", "/config", None, None, CONNECT_TIMEOUT, None, False)
        if (
            answer.status == 401
            and answer.headers.get("www-authenticate", "").lower()[:5] == "basic"
        ):
            del self._client.headers["Authorization"]
            if before is not None:
                self._client.headers["Authorization"] = before
            return False
        return True

    async def _try_form(self, login: Login) -> bool:
        form = {"username": login.user, "password": login.secret}
        with self._our_errors("POST /login"):
            async with (
                asyncio.timeout(READ_TIMEOUT),
                self._client.stream("POST", self.url + "/login", data=form) as answer,
            ):
                return answer.status_code == 200 and "set-cookie" in answer.headers

    def move(self, url: str) -> None:
        """Send further requests to where a redirection led."""
        self.url = normalise_url(url)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def login_advice(given: bool) -> str:
    """Return what to do about a login that is missing, or was not taken."""
    what = "Correct the user or the password" if given else "Give user and password"
    return (
        f'{what}: auth=("user", "secret") in start() or connect(), --auth user:secret in a magic, '
        f"or {LOGIN_VARIABLE}=user:secret in the environment."
    )


def _lost(message: str, error: Exception) -> ConnectionLost:
    lost = ConnectionLost(message)
    # Without a connection nothing was sent; after that nobody knows how much has arrived.
    lost.handed_in = isinstance(error, httpx.TransportError | TimeoutError) and not isinstance(
        error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol)
    )
    return lost


def _reason(error: Exception) -> str:
    """Return an exception's message, or its type: httpx's messages are often empty."""
    return str(error).strip().rstrip(".") or type(error).__name__


def _brief(path: str) -> str:
    return path if len(path) <= 80 else path[:77] + "..."
