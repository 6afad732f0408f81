"""Who may use the API and who may not, and what it refuses: every handler, every verb."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from jupyter_server.auth import Authorizer, IdentityProvider, User
from jupyter_server.auth.identity import PasswordIdentityProvider
from jupyter_server.auth.security import passwd
from tornado.httpclient import HTTPClientError

from fooocus_nb.engine.grants import grant
from fooocus_nb.server.base_url import route
from fooocus_nb.server.routes import API, API_ROUTES
from fooocus_nb.server.status import UnknownHandler, document

from .conftest import as_root, quoted

if TYPE_CHECKING:
    from pathlib import Path

ENGINE = f"/engines/{quoted()}"
#: A request to each route, by the pattern in the table; `{image}` is one of the engine's.
REQUESTS = {
    "/status": ["GET /status"],
    "/openapi\\.json": ["GET /openapi.json"],
    "/engines": ["GET /engines"],
    "/engines/NAME": [f"GET {ENGINE}"],
    "/engines/NAME/stop": [f"POST {ENGINE}/stop"],
    "/engines/NAME/restart": [f"POST {ENGINE}/restart"],
    "/engines/NAME/generation/VERB": [
        f"POST {ENGINE}/generation/stop",
        f"POST {ENGINE}/generation/skip",
    ],
    "/engines/NAME/log": [f"GET {ENGINE}/log"],
    "/engines/NAME/log/file": [f"GET {ENGINE}/log/file"],
    "/engines/NAME/log/follow": [f"GET {ENGINE}/log/follow"],
    "/engines/NAME/images": [f"GET {ENGINE}/images"],
    "/images/IDENTITY": ["GET /images/{image}", "HEAD /images/{image}"],
    "/images/IDENTITY/thumbnail": [
        "GET /images/{image}/thumbnail",
        "HEAD /images/{image}/thumbnail",
    ],
}


@pytest.fixture
def requests(engine) -> list[tuple[str, str]]:
    image = grant(engine.last_result[0].path)
    words = [word for each in REQUESTS.values() for word in each]
    return [tuple(word.format(image=image).split(" ", 1)) for word in words]


def test_every_route_and_verb_is_asked_for_and_documented():
    def plain(pattern: str) -> str:
        named = re.sub(r"\(\?P<(\w+)>(?:\[[^\]]*\]\+|[^)]*)\)", lambda m: m[1].upper(), pattern)
        return named.removeprefix(API)

    patterns = {plain(pattern): handler for pattern, handler in API_ROUTES}
    assert patterns.pop("/.*") is UnknownHandler
    assert patterns.keys() == REQUESTS.keys()
    told = {
        f"{verb.upper()} {path}"
        for path, item in document("/")["paths"].items()
        for verb in item
        if verb in ("get", "post", "head", "put", "patch", "delete")
    }
    asked = {
        word.replace(ENGINE, "/engines/{name}").replace("{image}", "{identity}")
        for words in REQUESTS.values()
        for word in words
    }
    assert told == asked
    for pattern, handler in patterns.items():
        for verb in ("get", "head", "post", "put", "patch", "delete"):
            if getattr(handler, verb) is not getattr(type(handler).mro(handler)[-2], verb, None):
                made = getattr(handler, verb).__name__ != "_unimplemented_method"
                assert made == any(w.startswith(verb.upper()) for w in REQUESTS[pattern]), pattern


@pytest.mark.parametrize("token", ["", "token wrong", "Bearer wrong", "Basic dXNlcjpwYXNz"])
async def test_nobody_gets_in_without_the_token(ask, requests, engine, token):
    for method, path in requests:
        answer = await ask(path, method, headers={"Authorization": token} if token else {})
        assert answer.status == 403, (method, path)
        if method != "HEAD" and not path.endswith("follow"):
            assert set(answer.json) <= {"message", "reason"}
    answer = await ask(f"/status?token={token.partition(' ')[2] or 'x'}", headers={})
    assert answer.status == 403
    assert engine.state == "ready"


async def test_the_token_opens_all_of_it(ask, requests):
    expected = {"POST": 409, "GET": 200, "HEAD": 200}  # nothing is generated
    for method, path in requests:
        if path.endswith(("/stop", "/restart")) and "generation" not in path:
            continue  # they would
        answer = await ask(path, method)
        fine = 400 if path.endswith("/follow") else expected[method]
        assert answer.status == fine, (method, path, answer.body)


async def cookies(ask) -> dict[str, str]:
    """Log in by the token once, and return what a browser would send from then on."""
    answer = await ask("/status")
    (login,) = answer.headers.get_list("Set-Cookie")
    return {"Cookie": login.partition(";")[0]}


async def test_a_cookie_alone_changes_nothing(
    ask, requests, engine, http_server_client, jp_base_url
):
    browser = await cookies(ask)
    assert (await ask("/status", headers=browser)).status == 200
    for method, path in requests:
        if method == "POST":
            answer = await ask(path, method, headers=browser)
            assert (answer.status, "_xsrf" in answer.message) == (403, True), path
            other = {**browser, "Cookie": f"{browser['Cookie']}; _xsrf=one", "X-XSRFToken": "two"}
            assert (await ask(path, method, headers=other)).status == 403, path
    assert engine.state == "ready"
    page = await http_server_client.fetch(f"{jp_base_url}login")
    found = [each for each in page.headers.get_list("Set-Cookie") if each.startswith("_xsrf=")]
    token = found[0].partition(";")[0].partition("=")[2]
    whole = {"Cookie": f"{browser['Cookie']}; _xsrf={token}", "X-XSRFToken": token}
    assert (await ask(f"{ENGINE}/generation/stop", "POST", headers=whole)).status == 409


async def test_no_get_changes_anything(ask, engine):
    for path in ("stop", "restart", "generation/stop", "generation/skip"):
        for method in ("GET", "HEAD"):
            assert (await ask(f"{ENGINE}/{path}", method)).status == 405
    assert (await ask("/engines", "POST")).status == 405
    assert engine.state == "ready"


async def test_a_foreign_origin_is_refused(ask, engine, jp_http_port, jp_auth_header):
    headers = {**await cookies(ask), "Origin": "https://evil.example"}
    for path in ("/engines", ENGINE, f"{ENGINE}/log"):
        assert (await ask(path, headers=headers)).status == 404
    assert (await ask(f"{ENGINE}/log/follow", headers=upgrade(headers))).status == 403
    own = {**headers, "Origin": f"http://127.0.0.1:{jp_http_port}"}
    assert (await ask("/engines", headers=own)).status == 200


def upgrade(headers: dict[str, str]) -> dict[str, str]:
    return {
        **headers,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }


async def test_a_websocket_is_for_who_may_read(ask, engine, http_server_client):
    answer = await ask(f"{ENGINE}/log/follow", headers=upgrade({}))
    assert answer.status == 403


# -- other ways to log in ---------------------------------------------------------------------


class Refusing(Authorizer):
    asked: ClassVar[list[tuple[str, str]]] = []
    allowed: ClassVar[set[str]] = set()

    async def is_authorized(self, handler: Any, user: User, action: str, resource: str) -> bool:
        self.asked.append((action, resource))
        return action in self.allowed


class TestAuthorizer:
    @pytest.fixture
    def jp_server_config(self, jp_server_config):
        jp_server_config["ServerApp"]["authorizer_class"] = Refusing
        return jp_server_config

    async def test_what_an_authorizer_refuses_is_refused(self, ask, requests, jp_auth_header):
        Refusing.allowed = set()
        for method, path in requests:
            Refusing.asked.clear()
            headers = jp_auth_header
            if path.endswith("/follow"):
                headers = upgrade(jp_auth_header)
            assert (await ask(path, method, headers=headers)).status == 403, path
            action = "write" if method == "POST" else "read"
            assert Refusing.asked == [(action, "fooocus")], path

    async def test_who_may_only_read_only_reads(self, ask, requests, engine):
        Refusing.allowed = {"read"}
        for method, path in requests:
            answer = await ask(path, method)
            assert (answer.status == 403) == (method == "POST"), (method, path)
        assert engine.state == "ready"


class ByHeader(IdentityProvider):
    """As hubs have it: something before the server knows who asks."""

    async def get_user(self, handler: Any) -> User | None:
        name = handler.request.headers.get("X-Who")
        return User(username=name) if name else None


class TestIdentityProvider:
    @pytest.fixture
    def jp_server_config(self, jp_server_config):
        jp_server_config["ServerApp"]["identity_provider_class"] = ByHeader
        return jp_server_config

    async def test_another_identity_provider_decides(self, ask, requests):
        for method, path in requests:
            assert (await ask(path, method, headers={})).status == 403, path
        assert (await ask("/engines", headers={"X-Who": "ann"})).status == 200
        # Who it knows is no token: the XSRF cookie is asked for.
        answer = await ask(f"{ENGINE}/generation/stop", "POST", headers={"X-Who": "ann"})
        assert answer.status == 403


class TestPassword:
    @pytest.fixture
    def jp_server_config(self, jp_server_config):
        jp_server_config["ServerApp"]["identity_provider_class"] = PasswordIdentityProvider
        jp_server_config["PasswordIdentityProvider"] = {
            "hashed_password": passwd("geheim"),
            "token": "",
        }
        return jp_server_config

    async def test_a_password_opens_it(self, ask, http_server_client, jp_base_url):
        async def log_in(word: str) -> str:
            page = await http_server_client.fetch(f"{jp_base_url}login")
            xsrf = page.headers["Set-Cookie"].partition(";")[0]
            answer = await http_server_client.fetch(
                f"{jp_base_url}login", method="POST", follow_redirects=False, raise_error=False,
                body=f"password={word}&{xsrf}", headers={"Cookie": xsrf},
            )  # fmt: skip
            found = [each.partition(";")[0] for each in answer.headers.get_list("Set-Cookie")]
            return "; ".join(found)

        assert (await ask("/engines", headers={})).status == 403
        assert (await ask("/engines", headers={"Cookie": await log_in("wrong")})).status == 403
        assert (await ask("/engines", headers={"Cookie": await log_in("geheim")})).status == 200


# -- what is behind it ------------------------------------------------------------------------

ESCAPES = [
    "..",
    ".",
    "..%2F..%2Fetc%2Fpasswd",
    "%2E%2E",
    "run-x%00",
    "%FF",
    "x" * 4000,
    "%2e%2e%2f",
]


@pytest.mark.parametrize("name", ESCAPES)
async def test_no_name_leads_anywhere_else(ask, engine, name):
    for path in ("", "/log", "/log/file", "/images"):
        answer = await ask(f"/engines/{name}{path}")
        assert answer.status in (400, 404), (path, answer.body)
        assert b"root:" not in answer.body
    for path in ("/stop", "/restart", "/generation/stop"):
        assert (await ask(f"/engines/{name}{path}", "POST")).status in (400, 404)


@pytest.mark.skipif(os.name == "nt", reason="a pipe in a folder is POSIX")
async def test_no_id_leads_to_what_was_not_shown(ask, engine, tmp_path: Path):
    import base64

    image = engine.last_result[0].path
    good = grant(image)
    forged = base64.urlsafe_b64encode(b"\0" * 16 + b"/etc/passwd").decode().rstrip("=")
    other = grant(tmp_path / "x.png")[:22] + good[22:]
    (tmp_path / "text.png").write_text("no image at all")
    os.mkfifo(tmp_path / "pipe.png")
    known = [tmp_path / name for name in ("text.png", "pipe.png", "gone.png")] + [tmp_path]
    identities = [forged, other, good[:-2], "A", "x" * 7000, *map(grant, known)]
    for identity in identities:
        assert (await ask(f"/images/{identity}")).status == 404, identity
        assert (await ask(f"/images/{identity}", "HEAD")).status == 404
        assert (await ask(f"/images/{identity}/thumbnail")).status == 404
    for escape in ("..%2F..%2Fetc%2Fpasswd", "../../etc/passwd", "a.b", ""):
        assert (await ask(f"/images/{escape}")).status == 404, escape


async def test_what_is_no_image_of_the_folder_is_not_listed(ask, engine, tmp_path: Path):
    folder = engine.output_dir
    extra = [folder / name for name in ("link.png", "notes.txt", ".hidden.png", "sub.png")]
    secret = tmp_path / "secret.png"
    shutil.copy(engine.last_result[0].path, secret)
    extra[0].symlink_to(secret)
    extra[1].write_text("x")
    shutil.copy(secret, extra[2])
    extra[3].mkdir()
    try:
        answer = await ask(f"{ENGINE}/images")
        names = {each["name"] for each in answer.json["images"]}
        assert names == {image.path.name for image in engine.last_result}
    finally:
        for path in extra[:3]:
            path.unlink()
        extra[3].rmdir()


@pytest.mark.may_skip
async def test_an_engine_of_another_user_is_not_there(ask, engine, runtime: Path):
    if not as_root():
        pytest.skip("takes root, who gives files away")
    (own,) = runtime.glob("run-*")
    foreign = runtime / "run-foreign1"
    shutil.copytree(own, foreign, ignore=shutil.ignore_patterns("*.sock"))
    known = json.loads((foreign / "guardian.json").read_text())
    known["labels"]["listed"] = known["name"] = "theirs"
    (foreign / "guardian.json").write_text(json.dumps(known))
    try:
        assert (await ask("/engines/theirs/log")).status == 200  # as long as it is ours
        for path in (foreign, foreign / "guardian.json"):
            os.chown(path, 4321, 4321)
        assert "theirs" not in str((await ask("/engines")).json)
        for path in ("", "/log", "/log/file", "/images"):
            assert (await ask(f"/engines/theirs{path}")).status == 404
        for path in ("/stop", "/restart", "/generation/stop", "/generation/skip"):
            assert (await ask(f"/engines/theirs{path}", "POST")).status == 404
        assert foreign.is_dir()
        assert engine.health().ok
    finally:
        shutil.rmtree(foreign)


# -- malformed and oversized ------------------------------------------------------------------

QUERIES = {
    "/log?bytes=x": 400, "/log?bytes=0": 400, "/log?bytes=-1": 400, "/log?bytes=99999999": 400,
    "/log?bytes=1e3": 400, "/log?bytes=%D9%A1": 400, "/log?bytes=1&bytes=2": 400,
    "/log?before=a&after=b": 400, "/log?before=nonsense": 410, "/log?after=../../x": 410,
    "/log?before=1-2-3-4-5": 410, "/log?before=%00": 410,
    "/log?before=fffffffffffffffff-1-1-1-1": 410,
    "/images?limit=0": 400, "/images?limit=501": 400, "/images?offset=-1": 400,
    "/images?offset=999999999999999999999": 400,
}  # fmt: skip
BODIES = {
    b"{": 400, b"[]": 400, b"null": 400, b'"x"': 400, b"\xff\xfe": 400, b'{"other": "x"}': 400,
    b'{"session": 5}': 400, b'{"session": "../x"}': 400, b'{"session": "' + b"x" * 500 + b'"}': 400,
    b"[" * 16_000: 400, b"x" * 16_385: 413, b" " * 5_000_000: 413,
    b'{"session": "0000000000000000"}': 409, b"  ": 409, b"{}": 409,
}  # fmt: skip


async def test_a_malformed_question_is_refused(ask, engine):
    for query, status in QUERIES.items():
        answer = await ask(f"{ENGINE}{query}")
        assert answer.status == status, (query, answer.body)
        assert answer.message
    image = grant(engine.last_result[0].path)
    for size in ("0", "100", "x", "99999", "-320", "320&size=96", "", "%00"):
        assert (await ask(f"/images/{image}/thumbnail?size={size}")).status == 400, size


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:20]))
async def test_a_malformed_or_oversized_body_is_refused(ask, engine, body):
    answer = await ask(f"{ENGINE}/generation/skip", "POST", body=body)
    assert answer.status == BODIES[body], answer.body
    if BODIES[body] != 409:
        for path in ("/stop", "/restart"):
            assert (await ask(f"{ENGINE}{path}", "POST", body=body)).status == BODIES[body]
    assert engine.state == "ready"


@pytest.mark.parametrize(
    ("length", "status"),
    [
        ("2, 2", 409), ("2\r\nContent-Length: 2", 409), ("2, 3", 400), ("two", 400), ("2 2", 400),
        ("9" * 300, 413), ("16385", 413),
    ],
)  # fmt: skip
async def test_a_length_that_is_none_or_two_is_no_error_of_the_server(
    ask, engine, jp_http_port, jp_base_url, jp_auth_header, length, status
):
    path = f"{jp_base_url}fooocus-nb/api{ENGINE}/generation/skip"
    headers = f"Host: 127.0.0.1:{jp_http_port}\r\nAuthorization: {jp_auth_header['Authorization']}"
    reader, writer = await asyncio.open_connection("127.0.0.1", jp_http_port)
    request = f"POST {path} HTTP/1.1\r\n{headers}\r\nContent-Length: {length}\r\n\r\n{{}}"
    writer.write(request.encode())
    answer = await asyncio.wait_for(reader.readline(), 20)
    writer.close()
    assert answer.split()[1] == str(status).encode()
    assert engine.state == "ready"


async def test_an_oversized_body_in_pieces_is_refused(ask, engine):
    async def pieces(write: Any) -> None:
        for _ in range(100):
            await write(b" " * 10_000)

    try:
        answer = await ask(f"{ENGINE}/stop", "POST", body=None, body_producer=pieces)
    except (HTTPClientError, AssertionError, OSError):
        pass  # the connection was closed under it
    else:
        assert answer.status in (400, 413, 599)
    assert engine.state == "ready"


async def test_an_unknown_verb_or_path_is_none(ask, engine):
    for path in ("/nonsense", f"{ENGINE}/nonsense", f"{ENGINE}/generation/start", "/engines/"):
        for method in ("GET", "POST", "DELETE"):
            answer = await ask(path, method)
            assert (answer.status, "no such address" in answer.message) == (404, True), path
        assert (await ask(path, headers={})).status == 403


# -- behind a base URL ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "fine", "wrong"),
    [
        ("/", ["/x"], ["/a/x", "//x"]),
        ("/user/x%40y.org/", ["/user/x%40y.org/x", "/user/x@y.org/x"], ["/user/x@yzorg/x"]),
        (
            "/user/VRook%20%28WMF%29/",
            ["/user/VRook%20%28WMF%29/x", "/user/VRook%20(WMF)/x"],
            ["/user/VRook/x"],
        ),
        ("/user/a~b/", ["/user/a~b/x", "/user/a%7Eb/x", "/user/a%7eb/x"], ["/user/ab/x"]),
        ("/user/é/", ["/user/%C3%A9/x", "/user/%c3%a9/x"], ["/user/e/x"]),
        ("/user/a+b(/", ["/user/a+b(/x", "/user/a%2Bb%28/x"], ["/user/aab(/x"]),
    ],
)
def test_a_base_url_is_known_by_all_of_its_spellings(base, fine, wrong):
    pattern = re.compile(route(base, "/x") + "$")
    assert all(map(pattern.match, fine))
    assert not any(map(pattern.match, wrong))


async def test_both_spellings_are_served(ask, http_server_client, jp_auth_header, jp_base_url):
    assert jp_base_url == "/a%40b/"
    for base in (jp_base_url, "/a@b/"):
        answer = await http_server_client.fetch(
            f"{base}fooocus-nb/api/status", headers=jp_auth_header
        )
        assert answer.code == 200
    assert (await ask("/openapi.json")).json["servers"] == [{"url": "/a%40b/fooocus-nb/api"}]
