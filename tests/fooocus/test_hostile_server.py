"""A server that sends without end, or leads elsewhere: bounded memory, and one of our errors."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import hashlib
import json
import socket
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from websockets.asyncio.server import ServerConnection, serve

import fooocus_nb
from fooocus_nb.errors import (
    ConfigurationError,
    ConnectionLost,
    EngineError,
    FooocusError,
    ParameterError,
    UnsupportedServer,
)
from fooocus_nb.fooocus.limits import (
    FILE_VARIABLE,
    MESSAGE_VARIABLE,
    max_file_bytes,
    max_message_bytes,
)
from fooocus_nb.fooocus.requests.images import download, encode_image
from fooocus_nb.fooocus.transport.gradio3 import Gradio3Transport
from fooocus_nb.fooocus.transport.gradio4 import Gradio4Transport
from fooocus_nb.fooocus.transport.http import HttpSession, parse_json, prefix_of
from fooocus_nb.fooocus.transport.login import Login

from ..lanes import slow_but

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from fooocus_nb.fooocus.transport import Message

    Handler = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

#: What a websocket's key is put together with.
WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
WINDOWS = sys.platform == "win32"
PAGE = {"protocol": "sse_v1", "components": [], "dependencies": [{"outputs": [], "inputs": []}]}
MOST = 100_000_000


def run(coroutine: Coroutine[object, object, object]) -> object:
    return asyncio.run(asyncio.wait_for(coroutine, 120))


@contextlib.asynccontextmanager
async def serving(handle: Handler, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serve with a handler that gets the path of each request, and writes what it wants."""
    tasks: set[asyncio.Task[object]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            await handle(head.split()[1].decode(), reader, writer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, host, 0)
    try:
        yield f"http://{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def heads(reply: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve one answer, and note the heads of the requests."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(reply)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    finally:
        server.close()


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def without_end(writer: asyncio.StreamWriter, piece: bytes, head: bytes = b"") -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + head + b"\r\n")
    while True:
        writer.write(piece)
        await writer.drain()


@contextlib.asynccontextmanager
async def flooding(first: bytes, frames: bytes) -> AsyncIterator[str]:
    """Serve websockets that write frames as they are, again and again, and read nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            named = dict(line.split(b": ", 1) for line in head.splitlines() if b": " in line)
            key = {name.lower(): value for name, value in named.items()}[b"sec-websocket-key"]
            told = base64.b64encode(hashlib.sha1(key + WEBSOCKET).digest())
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + told + b"\r\n\r\n" + first
            )
            while True:
                writer.write(frames)
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1000)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


# -- without end: each stage in a process of its own, whose memory is looked at ----------------

STAGES = {
    "config": """
        async def handle(path, reader, writer):
            await without_end(writer, b"[" + b" " * 1_000_000)
        async def talk(url):
            await Gradio3Transport(url, timeout=60).config()
    """,
    "config in drops": """
        async def handle(path, reader, writer):
            writer.write(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
        async def talk(url):
            await Gradio3Transport(url, timeout=1.0).config()
    """,
    "file": """
        async def handle(path, reader, writer):
            await without_end(writer, b"\\x89PNG" + b"x" * 1_000_000)
        async def talk(url):
            await Gradio3Transport(url).fetch("/x.png")
    """,
    "headers": """
        async def handle(path, reader, writer):
            await without_end(writer, b"X-More: " + b"x" * 50_000 + b"\\r\\n", b"X: y\\r\\n")
        async def talk(url):
            await Gradio3Transport(url, timeout=20).config()
    """,
    "packed": """
        import gzip
        async def handle(path, reader, writer):
            body = gzip.compress(b" " * 1_000_000) * 300
            writer.write(answer(body, "200 OK", "Content-Encoding: gzip"))
        async def talk(url):
            await Gradio3Transport(url).config()
    """,
    "post": """
        async def handle(path, reader, writer):
            await without_end(writer, b" " * 1_000_000)
        async def talk(url):
            await Gradio3Transport(url).post(1, [], "s", timeout=60)
    """,
    "events in one line": """
        async def handle(path, reader, writer):
            if "join" in path:
                writer.write(answer(b'{"event_id": "e"}'))
            else:
                await without_end(writer, b"x" * 1_000_000)
        async def talk(url):
            async for _ in Gradio4Transport(url, PAGE).call(0, [], "s"):
                pass
    """,
    "events of others": """
        async def handle(path, reader, writer):
            if "join" in path:
                writer.write(answer(b'{"event_id": "e"}'))
            else:
                event = json.dumps({"msg": "log", "event_id": "other", "log": "x" * 1_000_000})
                await without_end(writer, f"data: {event}\\n\\n".encode())
        async def talk(url):
            async for _ in Gradio4Transport(url, PAGE).call(0, [], "s"):
                pass
    """,
    "a websocket's message": """
        from websockets.asyncio.server import serve
        async def pieces():
            while True:
                yield "x" * 1_000_000
        async def talk(_url):
            async def handle(socket):
                await socket.send(pieces())
            async with serve(handle, "127.0.0.1", 0, max_size=None, compression=None) as server:
                port = next(iter(server.sockets)).getsockname()[1]
                async for _ in Gradio3Transport(f"http://127.0.0.1:{port}").call(1, [], "s"):
                    pass
        handle = None
    """,
    "messages that are not read": """
        from websockets.asyncio.server import serve
        async def talk(_url):
            async def handle(socket):
                await socket.send('{"msg": "process_starts"}')
                while True:
                    await socket.send('{"msg": "estimation", "x": "' + "x" * 1_000_000 + '"}')
            async with serve(handle, "127.0.0.1", 0, max_size=None, compression=None) as server:
                port = next(iter(server.sockets)).getsockname()[1]
                async for message in Gradio3Transport(f"http://127.0.0.1:{port}").call(1, [], "s"):
                    await asyncio.sleep(0.05)
        handle = None
    """,
    "large messages": """
        far = True
        def hosted():
            text = json.dumps({"msg": "process_generating", "output": {"data": ["x" * 16_000_000]}})
            frame = bytes([0x81, 127]) + len(text).to_bytes(8, "big") + text.encode()
            return flooding(b"", frame)
        async def talk(url):
            async with asyncio.timeout(5):
                async for message in Gradio3Transport(url).call(1, [], "s"):
                    await asyncio.sleep(0.1)
    """,
    "fragments of nothing": """
        far = True
        def hosted():
            return flooding(bytes([1, 0]), bytes([0, 0]) * 50_000)
        async def talk(url):
            async with asyncio.timeout(5):
                async for _ in Gradio3Transport(url).call(1, [], "s"):
                    pass
    """,
    "pings whose answers nobody reads": """
        far = True
        def hosted():
            return flooding(b"", (bytes([0x89, 125]) + b"x" * 125) * 5_000)
        async def talk(url):
            os.environ[MESSAGE_VARIABLE] = "8000000"
            async for _ in Gradio3Transport(url).call(1, [], "s"):
                pass
    """,
    "lists in lists": """
        far = True
        async def handle(path, reader, writer):
            nested = b"[" * 900 + b"]" * 900
            writer.write(answer(b"[" + b",".join([nested] * 15_000) + b"]"))
        async def talk(url):
            await Gradio3Transport(url, timeout=60).config()
    """,
    "objects": """
        far = True
        async def handle(path, reader, writer):
            each = b",".join(b'{"%d":[]}' % number for number in range(400_000))
            writer.write(answer(b"[" + each + b"]"))
        async def talk(url):
            await Gradio3Transport(url, timeout=60).config()
    """,
    "updates that add up": """
        far = True
        async def handle(path, reader, writer):
            if "join" in path:
                writer.write(answer(b'{"event_id": "e"}'))
                return
            def event(data):
                told = {"msg": "process_generating", "event_id": "e", "output": {"data": data}}
                return f"data: {json.dumps(told)}\\n\\n".encode()
            piece = event([[["append", [], "x" * 4_000_000]]])
            writer.write(b"HTTP/1.1 200 OK\\r\\n\\r\\n" + event(["x"]))
            while True:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.1)
        async def talk(url):
            page = {**PAGE, "protocol": "sse_v3"}
            async for _ in Gradio4Transport(url, page).call(0, [], "s"):
                pass
    """,
    "previews": """
        far = True
        async def handle(path, reader, writer):
            if "file=" in path:
                writer.write(answer(b"\\x89PNG" + b"x" * 60_000_000))
            elif "join" in path:
                writer.write(answer(b'{"event_id": "e"}'))
            else:
                told = {"msg": "process_generating", "event_id": "e",
                        "output": {"data": [{"path": "/x.png"}]}}
                done = {"msg": "process_completed", "event_id": "e", "success": False,
                        "output": {"error": "the end"}}
                events = "".join(f"data: {json.dumps(each)}\\n\\n" for each in [told] * 3 + [done])
                writer.write(b"HTTP/1.1 200 OK\\r\\n\\r\\n" + events.encode())
        async def talk(url):
            page = {**PAGE, "components": [{"id": 1, "type": "image"}],
                    "dependencies": [{"outputs": [1], "inputs": []}]}
            async for message in Gradio4Transport(url, page).call(0, [], "s"):
                pass
            raise EngineError(f"{url}: {message.error}")
    """,
    "the head of a stream in drops": """
        async def handle(path, reader, writer):
            if "join" in path:
                writer.write(answer(b'{"event_id": "e"}'))
                return
            writer.write(b"HTTP/1.1 200 OK\\r\\n")
            while True:
                writer.write(b"X: y\\r\\n")
                await writer.drain()
                await asyncio.sleep(0.1)
        async def talk(url):
            from fooocus_nb.fooocus.transport import gradio4
            gradio4.SILENCE = 1.0
            async for _ in Gradio4Transport(url, PAGE).call(0, [], "s"):
                pass
    """,
    "cookies": """
        async def handle(path, reader, writer):
            lines = [f"Set-Cookie: {len(path)}-{n}-{id(writer)}={'x' * 3000}" for n in range(30)]
            writer.write(answer(b"{}", "200 OK", *lines))
        async def talk(url):
            transport = Gradio3Transport(url)
            for number in range(600):
                await transport.config()
            raise EngineError(url)
    """,
    "an image from the web in drops": """
        async def handle(path, reader, writer):
            writer.write(b"HTTP/1.1 200 OK\\r\\n")
            while True:
                writer.write(b"X: y\\r\\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        async def talk(url):
            from fooocus_nb.fooocus.requests import images
            images.WHOLE_TIMEOUT = 1.5
            await asyncio.to_thread(download, "image", url, private=True)
    """,
    "an image from the web": """
        async def handle(path, reader, writer):
            await without_end(writer, b"\\x89PNG" + b"x" * 1_000_000)
        async def talk(url):
            await asyncio.to_thread(download, "image", url, private=True)
    """,
}
EVERYDAY = (
    *("config", "config in drops", "file", "headers", "packed", "post", "events in one line"),
    *("events of others", "a websocket's message", "messages that are not read", "lists in lists"),
    *("updates that add up", "an image from the web in drops"),
)
FRAME = """
import asyncio, json, os, resource, sys
sys.path.insert(0, {folder!r})
from tests.fooocus.test_hostile_server import *
import httpx, websockets.asyncio.server
from gradio_client import utils
far = False
def hosted():
    return serving(handle)
{stage}
async def main():
    if sys.argv[1:]:
        async with hosted() as url:
            print(url, flush=True)
            await asyncio.Event().wait()
    elif far:
        with subprocess.Popen(sys.orig_argv + ["serve"], stdout=subprocess.PIPE) as server:
            try:
                await talk(server.stdout.readline().decode().strip())
            finally:
                server.kill()
    elif handle is None:
        await talk("")
    else:
        async with serving(handle) as url:
            await talk(url)
def peak():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
before = peak()
try:
    asyncio.run(asyncio.wait_for(main(), 110))
except FooocusError as error:
    print(json.dumps([type(error).__name__, str(error), peak() - before]))
except TimeoutError:
    print(json.dumps(["EngineTimeout", "127.0.0.1 does not end", peak() - before]))
"""


@pytest.mark.skipif(WINDOWS, reason="asks POSIX for the memory")
@pytest.mark.parametrize("stage", slow_but(STAGES, *EVERYDAY))
def test_what_does_not_end_is_bounded(stage: str) -> None:
    code = FRAME.format(folder=str(Path(__file__).parents[2]), stage=textwrap.dedent(STAGES[stage]))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout, done.stderr[-2000:]
    kind, message, grown = json.loads(done.stdout)
    assert issubclass(getattr(fooocus_nb, kind, getattr(fooocus_nb.errors, kind)), FooocusError)
    assert "127.0.0.1" in message
    # The process serves as well, which costs a little.

    assert grown < MOST, f"{grown / 1e6:.0f} MB"


# -- leading elsewhere --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix",
    [
        "@127.0.0.2:{port}/x?",
        "//127.0.0.2:{port}",
        ".127.0.0.2",
        "/a/../b",
        "/x?y",
        "/x#",
        7,
        ["/x"],
    ],
)
def test_a_prefix_that_leads_elsewhere_is_refused(prefix: object) -> None:
    with pytest.raises(UnsupportedServer, match="path"):
        Gradio4Transport("http://127.0.0.1:1", {**PAGE, "api_prefix": prefix})


@pytest.mark.parametrize("prefix", ["", "/", "/gradio_api", "/gradio_api/", "/a/b-c/d.e_f~g"])
def test_a_prefix_that_is_a_path(prefix: str) -> None:
    assert prefix_of(prefix, "http://host") == prefix.rstrip("/")


@pytest.mark.parametrize(
    "location", ["http://127.0.0.2:{port}/config", "//127.0.0.2:{port}/config"]
)
def test_a_redirection_to_another_host_is_not_followed(location: str) -> None:
    asked = []

    async def other(path: str, reader: object, writer: asyncio.StreamWriter) -> None:
        asked.append(path)
        writer.write(answer(b"{}"))

    async def talk() -> None:
        async with serving(other, "127.0.0.2") as elsewhere:
            there = location.format(port=elsewhere.rpartition(":")[2])

            async def handle(path: str, reader: object, writer: asyncio.StreamWriter) -> None:
                writer.write(answer(b"", "302 Found", f"Location: {there}"))

            async with serving(handle) as url:
                transport = Gradio3Transport(url)
                with pytest.raises(UnsupportedServer, match=r"another host, http://127\.0\.0\.2"):
                    await transport.config()
                assert transport.url == url
                await transport.aclose()

    run(talk())
    assert not asked


@pytest.mark.parametrize("host", ["127.0.0.2", "127.0.0.1"], ids=["another host", "another port"])
def test_a_websocket_is_opened_nowhere_else(host: str) -> None:
    """It would get the prompt and the images that the user gives."""
    asked = []

    async def other(path: str, reader: object, writer: asyncio.StreamWriter) -> None:
        asked.append(path)

    async def talk() -> None:
        async with serving(other, host) as elsewhere:
            there = elsewhere.replace("http", "ws") + "/queue/join"

            async def handle(path: str, reader: object, writer: asyncio.StreamWriter) -> None:
                writer.write(answer(b"", "302 Found", f"Location: {there}"))

            async with serving(handle) as url:
                transport = Gradio3Transport(url)
                with pytest.raises(UnsupportedServer, match="302"):
                    async for _ in transport.call(1, ["a prompt"], "s"):
                        pass
                await transport.aclose()

    run(talk())
    assert not asked


def test_a_login_is_carried_to_no_other_port() -> None:
    """Another user may listen there."""
    asked = []

    async def other(path: str, reader: object, writer: asyncio.StreamWriter) -> None:
        asked.append(path)
        writer.write(answer(b"{}"))

    async def talk() -> None:
        async with serving(other) as elsewhere:

            async def handle(path: str, reader: object, writer: asyncio.StreamWriter) -> None:
                writer.write(answer(b"", "302 Found", f"Location: {elsewhere}/config"))

            async with serving(handle) as url:
                transport = Gradio3Transport(url, logins=[Login("me", "sesame-4711")])
                with pytest.raises(UnsupportedServer, match="another port"):
                    await transport.config()
                await transport.aclose()

    run(talk())
    assert not asked


class Nothing(httpx.AsyncByteStream):
    """An empty body."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b""


@pytest.mark.parametrize(
    ("own", "there", "followed"),
    [
        ("http://host", "https://host/config", True),
        ("http://host:7865", "https://host/config", True),
        ("https://host", "/new/config", True),
        ("https://host", "http://host/config", False),
        ("https://host", "https://host.example/config", False),
        ("https://host", "https://host@other/config", False),
        ("https://host", "//other/config", False),
        ("https://host", "ftp://host/config", False),
        ("https://host", "file:///etc/passwd", False),
        ("https://host", "data:text/plain,x", False),
        ("https://host", "javascript:x", False),
    ],
)
def test_which_redirections_are_followed(
    monkeypatch: pytest.MonkeyPatch, own: str, there: str, followed: bool
) -> None:
    statuses = [302, 200]

    def reply(_: httpx.Request) -> httpx.Response:
        return httpx.Response(statuses.pop(0), headers={"Location": there}, stream=Nothing())

    making = functools.partial(httpx.AsyncClient, transport=httpx.MockTransport(reply))
    monkeypatch.setattr(httpx, "AsyncClient", making)

    async def talk() -> None:
        session = HttpSession(own)
        try:
            asking = session.request("GET", "/config", follow=True)
            if followed:
                assert (await asking).redirected
            else:
                with pytest.raises(FooocusError):
                    await asking
                assert statuses == [200]
        finally:
            await session.aclose()

    run(talk())


def test_a_redirection_without_end() -> None:
    async def handle(path: str, reader: object, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"", "302 Found", "Location: /config"))

    async def talk() -> None:
        async with serving(handle) as url:
            transport = Gradio3Transport(url)
            with pytest.raises(UnsupportedServer, match="more than 5 times"):
                await transport.config()
            await transport.aclose()

    run(talk())


def test_a_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second answer leads to this machine, as a server of names can do that means harm."""
    real = socket.getaddrinfo
    lookups = []

    def rebinding(host: str, *more: object, **options: object) -> object:
        if host not in ("rebinding.example", b"rebinding.example"):
            return real(host, *more, **options)  # type: ignore[arg-type]
        lookups.append(host)
        address = "192.0.2.1" if len(lookups) > 1 else "127.0.0.1"
        return real(address, *more, **options)  # type: ignore[arg-type]

    async def handle(path: str, reader: object, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"image"))

    async def talk() -> bytes:
        async with serving(handle) as url:
            port = url.rpartition(":")[2]
            monkeypatch.setattr(socket, "getaddrinfo", rebinding)
            address = f"http://rebinding.example:{port}/x.png"
            return await asyncio.to_thread(download, "image", address, private=True)

    assert run(talk()) == b"image"
    assert lookups == ["rebinding.example"]


# -- what is no image, no file, no number ----------------------------------------------------------


@pytest.mark.skipif(WINDOWS, reason="such files are POSIX's")
def test_only_plain_files_are_read(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(5_000_000_000)
    (tmp_path / "link.png").symlink_to("/dev/zero")
    for name in ("/dev/zero", *(tmp_path / n for n in ("pipe.png", "large.png", "link.png", "."))):
        with pytest.raises(ParameterError, match=r"plain file|too large|directory"):
            encode_image("image", name)
        with pytest.raises(FooocusError):
            fooocus_nb.read_metadata(name)
    gallery = fooocus_nb.gallery(tmp_path)
    assert len(gallery) == 3
    assert gallery._repr_mimebundle_()


@pytest.mark.parametrize("variable", [MESSAGE_VARIABLE, FILE_VARIABLE])
def test_the_bounds_can_be_changed(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = max_message_bytes if variable == MESSAGE_VARIABLE else max_file_bytes
    default = read()
    monkeypatch.setenv(variable, "1000")
    assert read() == 1000

    async def handle(path: str, reader: object, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"{" + b" " * 1000 + b"}"))

    async def talk() -> None:
        async with serving(handle) as url:
            transport = Gradio3Transport(url)
            with pytest.raises(ConnectionLost, match=variable):
                await (transport.config() if read is max_message_bytes else transport.fetch("/x"))
            await transport.aclose()

    run(talk())
    for nonsense in ("many", "-1", "0", "1e6", "9" * 5000):
        monkeypatch.setenv(variable, nonsense)
        with pytest.raises(ConfigurationError, match=variable):
            read()
    monkeypatch.setenv(variable, "")
    assert read() == default


def test_a_path_that_cannot_be_sent() -> None:
    async def handle(path: str, reader: object, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"", "404 Not Found"))

    async def talk() -> None:
        async with serving(handle) as url:
            transport = Gradio3Transport(url)
            for path in ("\ud800.png", "\0.png", "a\r\nb.png", "@127.0.0.2/x", "x" * 100_000):
                with pytest.raises(EngineError):
                    await transport.fetch(path)
            await transport.aclose()

    run(talk())


@pytest.mark.parametrize("secret_in", ["login", "query", "redirection"])
def test_no_error_of_a_download_holds_a_secret(secret_in: str) -> None:
    """Nor does any of its causes, which are shown below it."""
    secret = "sesame-4711-there"

    async def handle(path: str, reader: object, writer: asyncio.StreamWriter) -> None:
        if secret_in == "redirection" and "token" not in path:
            writer.write(answer(b"", "302 Found", f"Location: /x?token={secret}"))
        else:
            writer.write(answer(b"", "404 Not Found"))

    async def talk() -> str:
        async with serving(handle) as url:
            given = {
                "login": url.replace("://", f"://me:{secret}@"),
                "query": f"{url}/x.png?X-Amz-Signature={secret}",
                "redirection": url,
            }[secret_in]
            with pytest.raises(ParameterError) as caught:
                await asyncio.to_thread(download, "image", given, private=True)
            return "".join(traceback.format_exception(caught.value))

    assert secret not in str(run(talk()))


def test_a_login_of_an_image_is_sent_to_its_own_host_only() -> None:
    async def talk() -> None:
        async with (
            heads(answer(b"image")) as (other, seen),
            heads(answer(b"", "302 Found", f"Location: {other}/x")) as (own, first),
        ):
            given = own.replace("://", "://me:sesame-4711@")
            assert await asyncio.to_thread(download, "image", given, private=True) == b"image"
        assert b"authorization: basic" in first[0].lower()
        assert b"authorization" not in seen[0].lower()

    run(talk())


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" + "0," * 600_000 + "0]",
        "[" + ("[" * 900 + "]" * 900 + ",") * 400 + "0]",
        "[" + ('{"a":' * 900 + "0" + "}" * 900 + ",") * 400 + "0]",
        "9" * 10_000,
        "{",
        '"' + "é" * 300 + '"',
    ],
)
def test_json_that_would_cost_too_much(text: str) -> None:
    assert parse_json(text.encode(), 1000 if "é" in text else 32_000_000) is None


def test_a_rank_of_four_hundred_digits(wire) -> None:
    async def handle(connection, _server) -> None:
        await connection.send('{"msg": "estimation", "rank": ' + "9" * 400 + ', "rank_eta": 1e999}')
        await connection.send('{"msg": "process_completed", "output": {"data": [1]}}')

    async def talk() -> list[Message]:
        async with wire.serving(handle) as server:
            transport = Gradio3Transport(server.url)
            found = [message async for message in transport.call(1, [], "s")]
            await transport.aclose()
            return found

    assert len(run(talk())) == 2  # type: ignore[arg-type]


def test_a_message_that_is_too_large_is_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MESSAGE_VARIABLE, "1000000")
    joined = 0

    async def talk() -> None:
        async def handle(socket: ServerConnection) -> None:
            nonlocal joined
            joined += 1
            await socket.send("x" * 2_000_000)
            await socket.wait_closed()

        async with serve(handle, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            transport = Gradio3Transport(f"http://127.0.0.1:{port}")
            with pytest.raises(ConnectionLost, match="more than 1 MB"):
                async for _ in transport.call(1, [], "s"):
                    pass
            await transport.aclose()

    run(talk())
    assert joined == 1


def test_server_text_in_an_error_is_bounded() -> None:
    error = EngineError("it says " + "x" * 1_000_000, log=["y" * 1_000_000] * 10, remedy="z")
    assert len(str(error)) < 15_000
    assert str(error).endswith("z")
    assert len(str(FooocusError("x" * 1_000_000))) < 5000
