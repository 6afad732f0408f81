"""Which engines' pages are open, by the secrets in their addresses.

A page is served to whoever knows its secret, because it must not have the login: it has no origin
of its own, so no cookie comes with what it asks for. A secret is made for one identity and one
start of an engine, and is good for nothing once that engine has ended or this server has.
"""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import psutil

from fooocus_nb.engine.listing import AmbiguousName, Asleep, find
from fooocus_nb.engine.page_records import page_records
from fooocus_nb.errors import ConfigurationError
from fooocus_nb.supervisor.registry import Entry

if TYPE_CHECKING:
    from fooocus_nb.engine.page_records import PageRecord

__all__ = ["Page", "PageTable", "Refused"]

#: More than anybody has open; the oldest give way.
MAX_PAGES = 256
#: A page that nobody has used for so long has to be opened again.
IDLE_SECONDS = 24 * 3600.0
#: What was proven a moment ago holds for the requests that come together with a page.
FRESH_SECONDS = 1.0
MAX_COOKIES = 20
MAX_COOKIE = 4096
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Refused(Exception):
    """Why a page is not served, for people, with the status that says so."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Engine(NamedTuple):
    """The start of an engine that a page belongs to."""

    name: str
    url: str
    #: What tells it from every other start.
    key: tuple[str, ...]
    source: Entry | PageRecord


@dataclass
class Page:
    """The page of one start of an engine, for one identity."""

    engine: Engine
    user: str
    secret: str = field(repr=False)
    #: The engine's own login: its cookies stay here, and never reach the browser.
    cookies: dict[str, str] = field(default_factory=dict, repr=False)
    used: float = field(default_factory=time.monotonic)
    proven: float = float("-inf")

    def cookie_header(self) -> str:
        """Return what the engine is told of the cookies that it has set."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def keep_cookies(self, headers: list[str]) -> None:
        """Keep the cookies that the engine sets, as many as a login needs."""
        for text in headers:
            if len(text) > MAX_COOKIE:
                continue
            try:
                found = SimpleCookie(text)
            except CookieError:
                continue
            for name, morsel in found.items():
                gone = morsel["max-age"] == "0" or not morsel.value
                if gone:
                    self.cookies.pop(name, None)
                elif name in self.cookies or len(self.cookies) < MAX_COOKIES:
                    self.cookies[name] = morsel.coded_value


class PageTable:
    """The pages of one Jupyter server. Its calls ask guardians, so they belong on threads."""

    def __init__(self) -> None:
        self._pages: dict[str, Page] = {}

    def open(self, name: str, user: str) -> Page:
        """Return the page of an engine for an identity; a Refused says why there is none."""
        engine = _find(name)
        for page in list(self._pages.values()):
            if page.user == user and page.engine.key == engine.key:
                page.used = time.monotonic()
                return page
        self._make_room()
        page = Page(engine, user, secrets.token_urlsafe(32))
        self._pages[page.secret] = page
        return page

    def find(self, secret: str, *, afresh: bool = False) -> Page:
        """Return the page of a secret, proven to be its engine's; a Refused where it is not.

        A proof holds for :data:`FRESH_SECONDS`, unless one is asked for ``afresh``.
        """
        page = next(
            (
                page
                for known, page in list(self._pages.items())
                if hmac.compare_digest(known.encode(), secret.encode())
            ),
            None,
        )
        if page is None:
            raise Refused(404, _AGAIN)
        now = time.monotonic()
        if now - page.used > IDLE_SECONDS:
            self._pages.pop(page.secret, None)
            raise Refused(404, _AGAIN)
        if afresh or now - page.proven > FRESH_SECONDS:
            try:
                _prove(page.engine)
            except Refused as refused:
                if refused.status == 404:
                    self._pages.pop(page.secret, None)
                raise
            page.proven = now
        page.used = now
        return page

    def forget(self, user: str) -> None:
        """Forget the pages of an identity that has logged out."""
        for page in list(self._pages.values()):
            if page.user == user:
                self._pages.pop(page.secret, None)

    def _make_room(self) -> None:
        oldest = sorted(self._pages.values(), key=lambda page: page.used)
        for page in oldest[: max(len(oldest) - MAX_PAGES + 1, 0)]:
            self._pages.pop(page.secret, None)


_AGAIN = (
    "This page is no longer served: its engine was stopped or started anew, or the Jupyter server "
    "was. Open it again from JupyterLab, or with %fooocus ui in a notebook."
)


def _find(name: str) -> Engine:
    """Return the running engine of a name."""
    try:
        found = find(name)
    except AmbiguousName as error:
        raise Refused(409, str(error)) from error
    except ConfigurationError as error:
        return _connected(name, Refused(404, str(error)))
    if isinstance(found, Asleep):
        return _connected(name, Refused(409, found.advice))
    info, entry = found.info, found.entry
    if entry.elsewhere is not None:
        text = f"Engine {name!r} was started {entry.elsewhere}: open its page from there."
        raise Refused(404, text)
    if not entry.genuine():
        raise Refused(404, f"Engine {name!r} cannot be proven to be yours.")
    if not entry.labels.get("ready"):
        raise Refused(503, f"Engine {name!r} is still starting. This page looks again by itself.")
    engine = Engine(info.name, info.url, _key(entry), entry)
    _prove(engine)
    return engine


def _connected(name: str, refused: Refused) -> Engine:
    """Return the engine of a name that a kernel is only connected to; else it is refused."""
    for record in reversed(page_records()):
        if record.name == name:
            return Engine(name, record.url, (str(record.path), record.url), record)
    raise refused


def _key(entry: Entry) -> tuple[str, ...]:
    known = (entry.run_dir, entry.marker, entry.pid, entry.created, entry.labels.get("url"))
    return tuple(map(str, known))


def _prove(engine: Engine) -> None:
    """Ask whether the port is still the engine's; a Refused says that it is not."""
    if not isinstance(engine.source, Entry):
        if not engine.source.runs():
            raise Refused(404, _AGAIN)
        return
    try:
        entry = Entry.read(engine.source.run_dir)
    except (OSError, ValueError) as error:
        raise Refused(404, _AGAIN) from error
    if _key(entry) != engine.key or not entry.proven():
        raise Refused(404, _AGAIN)
    said = entry.look()
    if said is None:
        what = f"The guardian of engine {engine.name!r} does not answer"
        raise Refused(503, f"{what}: nobody can tell whose port it is.")
    if said.returncode is not None or said.ending is not None:
        raise Refused(404, _AGAIN)
    parts = urlsplit(engine.url)
    if parts.hostname not in LOOPBACK or parts.port is None:
        raise Refused(404, f"Engine {engine.name!r} has no address on this machine.")
    if not _listens(entry.pid, parts.port):
        text = f"Engine {engine.name!r} runs, but does not listen on its port {parts.port}."
        raise Refused(503, text)


def _listens(pid: int, port: int) -> bool:
    """Whether a process or one of its children listens on a port; True where nobody may ask."""
    try:
        root = psutil.Process(pid)
        return any(_listens_itself(process, port) for process in _with_children(root))
    except (psutil.AccessDenied, AttributeError):  # psutil before 6 has another name for it
        return True
    except psutil.Error:
        return False


def _with_children(root: psutil.Process) -> list[psutil.Process]:
    return [root, *root.children(recursive=True)]


def _listens_itself(process: psutil.Process, port: int) -> bool:
    try:
        connections = process.net_connections("tcp")
    except psutil.NoSuchProcess:  # a child that has ended since: another one may listen
        return False
    return any(
        connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        for connection in connections
    )
