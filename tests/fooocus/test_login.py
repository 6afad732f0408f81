"""Logging in: Gradio's own login of three generations, HTTP basic authentication, and both."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from fooocus_nb.errors import ConfigurationError, LoginError, UnsupportedServer
from fooocus_nb.fooocus.checkout.login_file import logins_of
from fooocus_nb.fooocus.client import Client, new_session_hash
from fooocus_nb.fooocus.events import Finished
from fooocus_nb.fooocus.transport.login import (
    Login,
    login_from_environment,
    parse_login,
    split_login,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence
    from pathlib import Path

SECRET = f"sesame-{os.getpid()}-5173"
GOOD = Login("me", SECRET)
BAD = Login("me", "wrong-5173")


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 120))


async def images_of(url: str, *logins: Login) -> tuple[str, ...]:
    """Log in, generate, stop something, fetch an image, and return the paths of all."""
    async with await Client.connect(url, logins=logins) as client:
        assert SECRET not in client.url
        session = new_session_hash()
        last: object = None
        values = {"prompt": "x", "image_number": 1}
        async with aclosing(client.generate(values, session_hash=session)) as events:
            async for event in events:
                last = event
        await client.stop(session)
        assert isinstance(last, Finished)
        for path in last.paths:
            assert await client.fetch(path)
        return last.paths


@contextlib.asynccontextmanager
async def basic_proxy(target: str, login: Login) -> AsyncIterator[str]:
    """Stand before a server and let nobody through without a user and a password."""
    wanted = b"authorization: " + login.basic.lower().encode()
    host, _, port = target.removeprefix("http://").partition(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        if wanted not in head.lower():
            writer.write(
                b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\n"
                b"Content-Length: 0\r\nConnection: close\r\n\r\n"
            )
            await writer.drain()
            writer.close()
            return
        there, back = await asyncio.open_connection(host, int(port))
        with contextlib.closing(back), contextlib.closing(writer):  # also when it is cancelled
            back.write(head)
            await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def through_a_proxy(target: str, *logins: Login, in_url: bool = False) -> tuple[str, ...]:
    async def talk() -> tuple[str, ...]:
        async with basic_proxy(target, GOOD) as url:
            if in_url:
                url = url.replace("://", f"://me:{SECRET}@")
            return await images_of(url, *logins)

    return run(talk())


def refusal_of(url: str, *logins: Login) -> str:
    with pytest.raises(LoginError) as caught:
        run(Client.connect(url, logins=logins))
    assert isinstance(caught.value, UnsupportedServer | ConfigurationError)
    return str(caught.value)


def check_a_server_with_a_login(url: str) -> None:
    assert run(images_of(url, GOOD))
    assert run(images_of(url, BAD, GOOD))
    assert run(images_of(url.replace("://", f"://me:{SECRET}@")))
    missing, wrong = refusal_of(url), refusal_of(url, BAD)
    assert "wants a login" in missing
    assert "does not take" in wrong
    for told in (missing, wrong):
        assert "auth=" in told
        assert "FOOOCUS_NB_AUTH" in told
        assert BAD.secret not in told
    assert through_a_proxy(url, GOOD)


def test_gradio_3(start_gradio3) -> None:
    check_a_server_with_a_login(start_gradio3("--auth", f"me:{SECRET}").url)


@pytest.mark.parametrize(
    "later_gradio",
    [pytest.param(4, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.slow), 6],
    ids=lambda major: f"gradio{major}",
    indirect=True,
)
def test_gradio_of_today(start_modern) -> None:
    check_a_server_with_a_login(start_modern("--auth", f"me:{SECRET}").url)


def test_basic_authentication(gradio3_server) -> None:
    assert through_a_proxy(gradio3_server.url, BAD, GOOD)
    assert through_a_proxy(gradio3_server.url, in_url=True)


@pytest.mark.slow
def test_basic_authentication_before_a_gradio_of_today(modern_server) -> None:
    assert through_a_proxy(modern_server.url, GOOD)


def test_a_wrong_login_at_a_proxy(gradio3_server) -> None:
    async def talk() -> None:
        async with basic_proxy(gradio3_server.url, GOOD) as url:
            for logins, says in (((), "wants a login"), ((BAD,), "does not take")):
                with pytest.raises(LoginError, match=says):
                    await Client.connect(url, logins=logins)

    run(talk())


# -- what a login is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [("me", SECRET), ["me", SECRET], f"me:{SECRET}"], ids=["tuple", "list", "text"]
)
def test_a_login_as_people_write_it(given: object) -> None:
    assert parse_login(given) == GOOD
    assert SECRET not in repr(parse_login(given))


@pytest.mark.parametrize("given", ["me", "", (), ("me",), ("me", 3), 7, ("", "x"), ("a", "b", "c")])
def test_what_is_no_login_is_refused(given: object) -> None:
    with pytest.raises(ConfigurationError, match="auth holds no user"):
        parse_login(given)


def test_a_colon_may_be_in_the_secret() -> None:
    assert parse_login("me:a:b") == Login("me", "a:b")
    assert base64.b64decode(parse_login("me:a:b").basic.split()[1]) == b"me:a:b"


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOOCUS_NB_AUTH", f"me:{SECRET}")
    assert login_from_environment() == GOOD
    monkeypatch.setenv("FOOOCUS_NB_AUTH", SECRET)
    with pytest.raises(ConfigurationError, match="FOOOCUS_NB_AUTH") as caught:
        login_from_environment()
    assert SECRET not in str(caught.value)
    monkeypatch.setenv("FOOOCUS_NB_AUTH", "")
    assert login_from_environment() is None


@pytest.mark.parametrize(
    ("url", "bare", "login"),
    [
        ("http://host:1", "http://host:1", None),
        ("http://me:a%40b@host:1/x", "http://host:1/x", Login("me", "a@b")),
        ("me:a@host", "http://host", Login("me", "a")),
        ("http://@host", "http://host", None),
        ("http://[", "http://[", None),
    ],
)
def test_a_login_in_an_address(url: str, bare: str, login: Login | None) -> None:
    assert split_login(url) == (bare, login)


def test_the_users_of_a_checkout(tmp_path: Path) -> None:
    def users(content: object) -> Sequence[Login]:
        (tmp_path / "auth.json").write_text(json.dumps(content))
        return logins_of(tmp_path)

    assert logins_of(tmp_path) == []
    assert users([{"user": "me", "pass": SECRET}]) == [GOOD]
    assert users([{"user": "me", "hash": "00"}, {"user": "me", "pass": SECRET}, 3, {}]) == [GOOD]
    for nonsense in ({}, None, 3, [[]], [{"user": 1, "pass": 2}]):
        assert users(nonsense) == []
    (tmp_path / "auth.json").write_text("[" * 100_000)
    assert logins_of(tmp_path) == []
