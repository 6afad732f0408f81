"""The page of an engine through Jupyter: who gets it, and what is passed on in which direction."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import urllib.parse
from typing import TYPE_CHECKING, Any

import jupyter_server
import psutil
import pytest
from jupyter_server.auth import User
from tornado import httpserver, netutil, web, websocket
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from fooocus_nb.engine.page_records import page_records, record_page
from fooocus_nb.server import _proxy_rewrite as rewrite
from fooocus_nb.server import versions
from fooocus_nb.server.ui import ui_routes

from .conftest import NAME, quoted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tornado.httpclient import HTTPResponse

pytestmark = pytest.mark.skipif(
    jupyter_server.version_info[:2] < (2, 21), reason="below jupyter_server 2.21 there is no page"
)

SANDBOX = "sandbox allow-scripts allow-forms allow-popups allow-downloads allow-modals"
PAGE = b'<html><head lang="en"></head><script>window.gradio_config = {"root":""};</script></html>'
LIMIT = 2_000_000


class Told(web.RequestHandler):
    """An engine that tells what it was told, and answers with all that it should not."""

    def initialize(self, seen: list[Any]) -> None:
        self.seen = seen

    async def prepare(self) -> None:
        request = self.request
        self.seen.append((request.method, request.uri, dict(request.headers), request.body))
        self.set_header("Set-Cookie", "access-token=for-the-engine; Path=/; HttpOnly")
        for name in ("Clear-Site-Data", "Service-Worker-Allowed", "X-Accel-Redirect", "Link"):
            self.set_header(name, "x")
        self.set_header("Access-Control-Allow-Origin", "*")
        self.set_header("Cache-Control", "max-age=3600")
        self.set_header("Content-Security-Policy", "sandbox allow-same-origin")

    async def get(self) -> None:
        path = self.request.path
        if path == "/":
            self.write(PAGE)
        elif path.startswith("/to"):
            self.set_status(302)
            self.set_header("Location", self.get_query_argument("where"))
        elif path == "/stream":
            self.set_header("Content-Type", "text/event-stream")
            told = f'data: {{"url": "{rewrite.PLACEHOLDER}/file=a"}}\n\n'.encode()
            for piece in (told[:20], told[20:40], told[40:]):
                self.write(piece)
                await self.flush()
        elif path == "/broken":
            self.set_header("Content-Length", "100000")
            self.write(b"x" * 10)
            await self.flush()
            self.request.connection.stream.close()
        else:
            self.set_header("Content-Type", "image/png")
            self.write(b"data")

    post = get


class Echo(websocket.WebSocketHandler):
    """Sends back what it gets."""

    max_message_size = 100_000_000

    def initialize(self, seen: list[Any]) -> None:
        self.seen = seen

    def open(self) -> None:
        self.seen.append(("WS", self.request.uri, dict(self.request.headers), b""))

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


@pytest.fixture
def upstream(runtime: Any, jp_asyncio_loop: Any) -> Iterator[list[Any]]:
    """A server that this process is connected to as ``theirs``; gives what it has seen."""
    seen: list[Any] = []
    app = web.Application([("/queue/join", Echo, {"seen": seen}), (".*", Told, {"seen": seen})])

    async def start() -> tuple[Any, int]:
        (listener,) = netutil.bind_sockets(0, "127.0.0.1", family=socket.AF_INET)
        server = httpserver.HTTPServer(app)
        server.add_socket(listener)
        return server, listener.getsockname()[1]

    server, port = jp_asyncio_loop.run_until_complete(start())
    record = record_page("theirs", f"http://127.0.0.1:{port}")
    yield seen
    record.path.unlink(missing_ok=True)
    server.stop()
    jp_asyncio_loop.run_until_complete(server.close_all_connections())


@pytest.fixture
def jp_server_config(jp_server_config: dict[str, Any]) -> dict[str, Any]:
    jp_server_config["FooocusExtension"] |= {"max_page_message": LIMIT, "ping_interval": 0.2}
    return jp_server_config


@pytest.fixture
def fetch(
    extension: Any, http_server_client: Any, jp_base_url: str, jp_auth_header: dict[str, str]
) -> Callable[..., Awaitable[HTTPResponse]]:
    """Ask below ``/fooocus-nb/ui``, as a browser without a login unless `login` is set."""

    async def ask(path: str, *, login: bool = False, **options: Any) -> HTTPResponse:
        headers = options.pop("headers", {}) | (jp_auth_header if login else {})
        url = path if path.startswith("/") else f"{jp_base_url}fooocus-nb/ui/{path}"
        try:
            return await http_server_client.fetch(
                url, headers=headers, follow_redirects=False, allow_nonstandard_methods=True,
                request_timeout=60, **options,
            )  # fmt: skip
        except HTTPClientError as error:
            if error.response is None:
                raise
            return error.response

    return ask


async def opened(fetch: Any, name: str = "theirs") -> str:
    """The secret address of a page."""
    answer = await fetch(f"{name}/", login=True)
    assert answer.code == 302, answer.body
    return answer.headers["Location"]


#: What an engine that is broken, or somebody in its place, answers; and the status of it here.
ANSWERS = {
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nabc": 502,
    b"HTTP/1.1 099 Low\r\nContent-Length: 2\r\n\r\nok": 502,
    b"HTTP/1.1 999 High\r\nContent-Length: 2\r\n\r\nok": 502,
    b"HTTP/1.1 200 \xd6kay <b>\r\nContent-Length: 2\r\n\r\nok": 200,
    b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok": 200,
    b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok": 200,
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 502,
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok": 502,
    b"HTTP/1.1 200 OK\r\nContent-Type: " + b"x" * 200_000 + b"\r\n\r\n": 502,
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\x01\x7f\r\nContent-Length: 2\r\n\r\nok": 200,
    b"\x00 nonsense\r\n\r\n": 502,
    b"": 502,
}  # fmt: skip
NAMED = 'attachment; filename="é 中 \u2028.png"'.encode()


@pytest.fixture
def broken(runtime: Any, jp_asyncio_loop: Any) -> Iterator[dict[str, Any]]:
    """A server that this process is connected to as ``theirs``, which sends any bytes."""
    state: dict[str, Any] = {"answer": b"", "asked": asyncio.Event(), "left": asyncio.Event()}

    async def serve(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        state["asked"].set()
        if state["answer"] is None:  # none: whoever asks is waited for
            await reader.read()
            state["left"].set()
        else:
            writer.write(state["answer"])
        writer.close()

    server = jp_asyncio_loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    record = record_page("theirs", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    yield state
    record.path.unlink(missing_ok=True)
    server.close()


def apart(answer: HTTPResponse) -> bool:
    """Whether an answer is nobody to Jupyter and is not kept."""
    policies = answer.headers.get_list("Content-Security-Policy")
    return (
        any(SANDBOX in policy and "frame-ancestors 'self'" in policy for policy in policies)
        and not any("allow-same-origin" in policy for policy in policies)
        and not any("report" in policy for policy in policies)
        and answer.headers["Cache-Control"] == "no-store"
        and answer.headers["Referrer-Policy"] == "no-referrer"
        and answer.headers["Access-Control-Allow-Origin"] == "null"
    )


async def test_the_way_to_a_page_asks_for_the_login(fetch, upstream, jp_serverapp) -> None:
    answer = await fetch("theirs/")
    assert answer.code == 302
    assert "/login?next=" in answer.headers["Location"]
    assert apart(answer)
    place = await opened(fetch)
    assert re.fullmatch(r"/a%40b/fooocus-nb/ui/theirs/[\w-]{40,}/", place)
    again = await fetch(f"theirs/?token={jp_serverapp.identity_provider.token}&__theme=dark")
    assert again.headers["Location"].endswith("/?__theme=dark")
    assert (await fetch("nobody/", login=True)).code == 404


async def test_a_secret_belongs_to_one_identity(fetch, upstream, jp_serverapp, monkeypatch) -> None:
    found = []
    for name in ("ada", "ada", "bob"):
        monkeypatch.setattr(
            jp_serverapp.identity_provider, "get_user", lambda _, name=name: User(name)
        )
        found.append(await opened(fetch))
    assert found[0] == found[1] != found[2]


async def test_a_page_is_gone_after_the_logout(
    fetch, upstream, jp_serverapp, jp_base_url, monkeypatch
) -> None:
    places = {}
    for name in ("ada", "bob", "ada"):
        user = User(name)
        monkeypatch.setattr(jp_serverapp.identity_provider, "get_user", lambda _, user=user: user)
        places[name] = await opened(fetch)
    assert (await fetch(f"{jp_base_url}logout")).code == 200
    assert (await fetch(places["ada"])).code == 404
    assert (await fetch(places["bob"])).code == 200


async def test_who_may_not_execute_gets_no_page(fetch, upstream, jp_serverapp, monkeypatch) -> None:
    class Reader:
        def is_authorized(self, _handler: Any, _user: Any, action: str, resource: str) -> bool:
            assert resource == "fooocus"
            return action == "read"

    monkeypatch.setitem(jp_serverapp.web_app.settings, "authorizer", Reader())
    answer = await fetch("theirs/", login=True)
    assert answer.code == 403
    assert apart(answer)


async def test_a_page_needs_its_secret_and_nothing_else(fetch, upstream) -> None:
    place = await opened(fetch)
    assert (await fetch(place)).code == 200
    for wrong in ("theirs/x/", "theirs/" + "A" * 43 + "/", "theirs/.../"):
        for login in (False, True):
            answer = await fetch(wrong, login=login)
            assert answer.code == 404, wrong
            assert apart(answer)
            assert "Set-Cookie" not in answer.headers
    assert len(upstream) == 1


async def test_headers_are_passed_by_a_list(fetch, upstream) -> None:
    place = await opened(fetch)
    hidden = {
        "Cookie": "username-localhost-8888=login; _xsrf=2", "Authorization": "token x",
        "X-XSRFToken": "2", "Referer": "http://x/?token=t", "X-Forwarded-For": "1.2.3.4",
        "X-Real-Name": "Ada",
    }  # fmt: skip
    answer = await fetch(
        f"{place}file=a%20b%2520.png?token=t&x=%2F", headers=hidden | {"Range": "bytes=0-3"}
    )
    _, uri, headers, _ = upstream[-1]
    assert uri == "/file=a%20b%2520.png?x=%2F"
    assert headers["Range"] == "bytes=0-3"
    assert not {name.lower() for name in headers} & {name.lower() for name in hidden}
    assert apart(answer)
    assert answer.headers["Content-Type"] == "image/png"
    kept = {
        "Set-Cookie", "Clear-Site-Data", "Service-Worker-Allowed", "X-Accel-Redirect", "Link",
        "Access-Control-Allow-Credentials",
    }  # fmt: skip
    assert not kept & set(answer.headers)
    # The engine's own login is kept here.
    await fetch(f"{place}again", method="POST", body=b"{}")
    assert upstream[-1][2]["Cookie"] == "access-token=for-the-engine"


async def test_the_page_is_told_where_it_stands(fetch, upstream) -> None:
    place = await opened(fetch)
    body = (await fetch(place)).body.decode()
    assert f'{{"root": "{place.rstrip("/")}"}}' in body or f'"root":"{place.rstrip("/")}"' in body
    assert body.index("<script>") < body.index("gradio_config")
    assert f"const limit = {LIMIT};" in body
    secure = await fetch(f"{place}stream", headers={"X-Forwarded-Proto": "https"})
    host = re.search(r"https://[^/]+", secure.body.decode())
    assert f'{{"url": "{host[0]}{place}file=a"}}' in secure.body.decode()
    assert rewrite.PLACEHOLDER.encode() not in secure.body


@pytest.mark.parametrize(
    ("where", "code", "below"),
    [
        ("/login", 302, "login"),
        ("login?x=1", 302, "login?x=1"),
        ("http://evil.example/", 502, None),
        ("//evil.example/", 502, None),
        ("/\\evil.example", 502, None),
        ("javascript:alert(1)", 502, None),
        ("/%2e%2e/%2E%2e/lab", 502, None),
        ("/.%2e/%2E./lab", 502, None),
        ("http://[::1", 502, None),
        ("/a\tb", 502, None),
        ("/é", 302, "%E9"),  # as it comes, in Latin-1
    ],
)
async def test_a_redirect_stays_below_the_page(fetch, upstream, where, code, below) -> None:
    place = await opened(fetch)
    answer = await fetch(f"{place}to?where={urllib.parse.quote(where)}")
    assert answer.code == code
    assert answer.headers.get("Location") == (None if below is None else place + below)
    assert apart(answer)


async def test_only_the_page_itself_may_ask(fetch, upstream) -> None:
    place = await opened(fetch)
    for origin, code in (("null", 200), ("http://localhost", 403), ("http://evil.example", 403)):
        answer = await fetch(f"{place}run", method="POST", body=b"", headers={"Origin": origin})
        assert answer.code == code
    worker = await fetch(f"{place}sw.js", headers={"Service-Worker": "script"})
    assert worker.code == 403
    asked = {"Origin": "null", "Access-Control-Request-Headers": "content-type"}
    preflight = await fetch(f"{place}run", method="OPTIONS", headers=asked)
    assert preflight.code == 204
    assert preflight.headers["Access-Control-Allow-Headers"] == "content-type"
    for method in ("PUT", "DELETE", "PATCH"):
        assert (await fetch(f"{place}run", method=method, body=b"")).code == 405
    foreign = await fetch(place, headers={"Host": "evil.example"})
    assert foreign.code == 403
    assert all(seen[0] in ("GET", "POST") for seen in upstream)
    assert len(upstream) == 1


async def test_whatever_an_engine_answers_is_no_error_of_the_server(fetch, broken, caplog) -> None:
    place = await opened(fetch)
    for path in ("", "x"):
        for said, status in ANSWERS.items():
            broken["answer"] = said
            answer = await fetch(f"{place}{path}")
            assert answer.code == status, said
            assert apart(answer)
    broken["answer"] = (
        b"HTTP/1.1 200 OK\r\nContent-Disposition: " + NAMED + b"\r\nContent-Length: 2\r\n\r\nok"
    )
    named = (await fetch(f"{place}x")).headers["Content-Disposition"]
    assert named.encode("latin-1") == NAMED
    assert not [record for record in caplog.records if record.exc_info]


async def test_who_leaves_before_the_answer_is_waited_for_no_more(
    fetch, broken, jp_http_port
) -> None:
    place = await opened(fetch)
    broken["answer"] = None
    _, writer = await asyncio.open_connection("127.0.0.1", jp_http_port)
    writer.write(f"GET {place}x HTTP/1.1\r\nHost: 127.0.0.1:{jp_http_port}\r\n\r\n".encode())
    await asyncio.wait_for(broken["asked"].wait(), 20)
    writer.close()
    await asyncio.wait_for(broken["left"].wait(), 20)


async def test_without_its_last_slash_it_is_the_same_page(fetch, upstream) -> None:
    place = await opened(fetch)
    answer = await fetch(place.rstrip("/") + "?__theme=dark")
    assert (answer.code, answer.headers["Location"]) == (302, f"{place}?__theme=dark")
    assert apart(answer)
    assert not upstream


async def test_a_cut_answer_is_not_taken_for_the_whole(fetch, upstream) -> None:
    place = await opened(fetch)
    with pytest.raises(HTTPClientError):
        await fetch(f"{place}broken")


async def websocket_of(place: str, port: int, origin: str = "null") -> Any:
    url = f"ws://127.0.0.1:{port}{place}queue/join"
    headers = {"Origin": origin, "Cookie": "_xsrf=2", "Host": f"127.0.0.1:{port}"}
    return await websocket_connect(HTTPRequest(url, headers=headers), max_message_size=LIMIT * 2)


async def test_websockets_are_passed_on(fetch, upstream, jp_http_port) -> None:
    place = await opened(fetch)
    client = await websocket_of(place, jp_http_port)
    for message in ("text", b"\x00\x01", "x" * (LIMIT - 100)):
        client.write_message(message, binary=isinstance(message, bytes))
        assert await asyncio.wait_for(client.read_message(), 20) == message
    assert "Cookie" not in upstream[-1][2]
    client.write_message("x" * (LIMIT + 100))
    assert await asyncio.wait_for(client.read_message(), 20) is None
    assert client.close_code in (1009, None)
    for wrong, origin in ((place, "http://127.0.0.1"), ("/a%40b/fooocus-nb/ui/theirs/x/", "null")):
        with pytest.raises(HTTPClientError):
            await websocket_of(wrong, jp_http_port, origin)


def test_a_child_that_ends_meanwhile_hides_no_port_of_another(monkeypatch) -> None:
    from fooocus_nb.server import _proxy_pages as pages

    class Child:
        def net_connections(self, _kind: str) -> Any:
            raise psutil.NoSuchProcess(1)

    mine = psutil.Process()
    monkeypatch.setattr(pages, "_with_children", lambda _root: [Child(), mine])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert pages._listens(mine.pid, listener.getsockname()[1])
    assert not pages._listens(mine.pid, 1)


async def test_a_silent_websocket_is_pinged(fetch, upstream, jp_http_port, monkeypatch) -> None:
    pings = asyncio.Event()
    place = await opened(fetch)
    client = await websocket_of(place, jp_http_port)
    monkeypatch.setattr(client, "on_ping", lambda _: pings.set())
    await asyncio.wait_for(pings.wait(), 20)
    client.close()


async def test_the_secret_stands_in_no_log_line(fetch, upstream, jp_http_port, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    place = await opened(fetch)
    secret = place.split("/")[-2]
    await fetch(place)
    await fetch(f"{place}x", method="PUT", body=b"")
    await fetch(f"{place}x", method="PROPFIND")
    await fetch(f"{place}to?where=http://x/")
    await fetch(place.rstrip("/"))
    await fetch(place.replace("theirs/", "theirs//"))
    (await websocket_of(place, jp_http_port)).close()
    lines = [record.getMessage() for record in caplog.records]
    assert any("/ui/theirs/..." in line for line in lines)
    assert [line for line in lines if secret in line] == []


async def test_an_engine_of_ours_has_a_page_as_long_as_it_runs(fetch, start_demo) -> None:
    engine = start_demo(name=NAME)
    place = await opened(fetch, quoted())
    page = await fetch(place)
    assert page.code == 200
    assert (await fetch(f"{place}config")).code == 200
    await asyncio.to_thread(engine.restart)
    for gone in (place, f"{place}config"):
        answer = await fetch(gone)
        assert answer.code == 404
        assert b"Open it again" in answer.body
    assert await opened(fetch, quoted()) != place
    await asyncio.to_thread(engine.stop)
    assert (await fetch(f"{quoted()}/", login=True)).code == 404


async def test_a_record_counts_as_long_as_its_kernel_runs(fetch, upstream, runtime) -> None:
    place = await opened(fetch)
    (record,) = page_records()
    content = json.loads(record.path.read_text())
    record.path.write_text(json.dumps(content | {"created": "another start"}))
    assert page_records() == []
    assert not record.path.exists()
    assert (await fetch("theirs/", login=True)).code == 404
    for damaged in ("", "[]", '{"name": 1}', json.dumps(content | {"url": "file:///etc/passwd"})):
        record.path.write_text(damaged)
        assert page_records() == []
    await asyncio.sleep(0)
    assert place


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        (("importlib.metadata.version", lambda _: "2.20.0"), b"2.21"),
        (("importlib.util.find_spec", lambda _: None), b"fooocus-nb[ui]"),
    ],
)
async def test_without_what_it_needs_it_says_so(fetch, upstream, monkeypatch, patch, words) -> None:
    monkeypatch.setattr(f"{versions.__name__}.{patch[0]}", patch[1])
    answer = await fetch("theirs/", login=True)
    assert answer.code == 501
    assert words in answer.body
    assert all(handler.__name__ != "PageHandler" for _, handler in ui_routes())


def test_the_placeholder_is_found_however_an_answer_was_cut() -> None:
    whole = f"a {rewrite.PLACEHOLDER}/x http://engine {rewrite.PLACEHOLDER}".encode()
    for cut in range(len(whole)):
        replacer = rewrite.Replacer("https://host", "/p/")
        got = replacer.feed(whole[:cut]) + replacer.feed(whole[cut:]) + replacer.end()
        assert got == b"a https://host/p/x http://engine https://host/p"
