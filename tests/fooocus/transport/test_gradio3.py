from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fooocus_nb.errors import (
    ConfigurationError,
    ConnectionLost,
    EngineError,
    GenerationError,
    UnsupportedServer,
)
from fooocus_nb.fooocus.transport import Completed, Estimation, Generating, Started
from fooocus_nb.fooocus.transport.gradio3 import Gradio3Transport
from fooocus_nb.fooocus.transport.http import is_loopback, normalise_url

pytestmark = pytest.mark.filterwarnings("error")

SETTER, GENERATOR = 67, 68


def run(coroutine):
    """Run a test's coroutine, which must not take for ever."""

    async def limited():
        async with asyncio.timeout(60):
            return await coroutine

    return asyncio.run(limited())


async def collect(transport, fn_index, data, session_hash="s"):
    async with aclosing(transport.call(fn_index, data, session_hash)) as messages:
        return [message async for message in messages]


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


# -- the recorded wire ------------------------------------------------------------------------


@pytest.mark.recorded
@pytest.mark.parametrize("case", ["two", "stop", "skip", "badmodel", "badperf", "jpeg_meta"])
def test_recorded_calls_are_followed_to_their_end(wire, case):
    calls = wire.recorded(case)

    async def talk():
        async with wire.serving(wire.replaying(calls)) as server:
            transport = Gradio3Transport(server.url)
            found = [await collect(transport, fn, [None, 1, "x"]) for fn in (SETTER, GENERATOR)]
            await transport.aclose()
            return found, server

    (setter, generator), server = run(talk())
    assert [type(message) for message in setter] == [Estimation, Started, Completed]
    assert setter[-1].success == (case != "badperf")
    assert isinstance(generator[-1], Completed)
    assert len(generator[-1].data) == 4
    yields = [entry for entry in calls[GENERATOR] if entry["msg"] == "process_generating"]
    assert [list(message.data) for message in generator if isinstance(message, Generating)] == [
        entry["output"]["data"] for entry in yields
    ]
    assert server.received == [
        {"fn_index": SETTER, "session_hash": "s"},
        {"fn_index": SETTER, "session_hash": "s", "data": [None, 1, "x"]},
        {"fn_index": GENERATOR, "session_hash": "s"},
        {"fn_index": GENERATOR, "session_hash": "s", "data": [None, 1, "x"]},
    ]


def test_the_place_in_the_queue_is_told(wire):
    async def handle(connection, _server):
        await connection.send('{"msg": "send_hash"}')
        await connection.recv()
        for rank in (2, 1, 0):
            message = {"msg": "estimation", "rank": rank, "queue_size": 3, "rank_eta": 1.5}
            await connection.send(json.dumps(message))
        for text in ('{"msg": "log", "log": "hi"}', "[]", "nonsense", '{"msg": 7}', "{}"):
            await connection.send(text)
        await connection.send('{"msg": "process_completed", "output": {"data": [1]}}')

    async def talk():
        async with wire.serving(handle) as server:
            transport = Gradio3Transport(server.url)
            messages = await collect(transport, 1, [])
            await transport.aclose()
            return messages

    messages = run(talk())
    assert messages[:3] == [Estimation(rank) for rank in (2, 1, 0)]
    assert messages[3:] == [Completed((1,))]


# -- faults -----------------------------------------------------------------------------------


def test_a_full_queue_is_an_error(wire):
    async def handle(connection, _server):
        await connection.send('{"msg": "send_hash"}')
        await connection.recv()
        await connection.send('{"msg": "queue_full"}')

    async def talk():
        async with wire.serving(handle) as server:
            transport = Gradio3Transport(server.url)
            with pytest.raises(GenerationError, match="is full"):
                await collect(transport, 1, [])
            await transport.aclose()

    run(talk())


@pytest.mark.recorded
def test_a_join_that_is_dropped_before_the_data_is_tried_again(wire):
    good = wire.replaying(wire.recorded("two"))

    async def handle(connection, server):
        if server.joins == 1:
            return
        if server.joins == 2:
            await connection.send('{"msg": "send_hash"}')
            await connection.recv()
            return
        await good(connection, server)

    async def talk():
        async with wire.serving(handle) as server:
            transport = Gradio3Transport(server.url)
            messages = await collect(transport, SETTER, [1])
            await transport.aclose()
            return messages, server

    messages, server = run(talk())
    assert isinstance(messages[-1], Completed)
    assert server.joins == 3
    assert sum("data" in entry for entry in server.received) == 1


def test_a_server_that_always_hangs_up_is_lost(wire):
    async def handle(_connection, _server):
        return

    async def talk():
        async with wire.serving(handle) as server:
            transport = Gradio3Transport(server.url)
            with pytest.raises(ConnectionLost, match=server.url):
                await collect(transport, 1, [])
            await transport.aclose()
            return server

    assert run(talk()).joins == 3


def test_nothing_is_handed_in_twice(wire):
    async def handle(connection, server):
        await connection.send('{"msg": "send_data"}')
        server.received.append(json.loads(await connection.recv()))
        await connection.send('{"msg": "process_starts"}')

    async def talk():
        async with wire.serving(handle) as server:
            transport = Gradio3Transport(server.url)
            with pytest.raises(ConnectionLost, match="broke the connection"):
                await collect(transport, 1, [])
            await transport.aclose()
            return server

    assert run(talk()).joins == 1


def test_nobody_there():
    async def talk():
        transport = Gradio3Transport(f"http://127.0.0.1:{closed_port()}")
        for attempt in (
            transport.config(),
            collect(transport, 1, []),
            transport.post(1, [], "s"),
            transport.fetch("/x.png"),
        ):
            with pytest.raises(ConnectionLost, match=transport.url):
                await attempt
        assert not await transport.answers(1.0)
        await transport.aclose()

    run(talk())


def test_a_server_that_is_silent_is_lost():
    async def talk(port):
        transport = Gradio3Transport(f"http://127.0.0.1:{port}", timeout=0.3)
        with pytest.raises(ConnectionLost, match="in time"):
            await transport.config()
        with pytest.raises(ConnectionLost, match="in time"):
            await transport.post(1, [], "s", timeout=0.3)
        assert not await transport.answers(0.3)
        await transport.aclose()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        run(talk(silent.getsockname()[1]))


def test_a_broken_handshake_is_lost():
    async def rude(_reader, writer):
        writer.write(b"SSH-2.0-no\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def talk():
        server = await asyncio.start_server(rude, "127.0.0.1", 0)
        transport = Gradio3Transport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(ConnectionLost):
            await collect(transport, 1, [])
        with pytest.raises(ConnectionLost):
            await transport.config()
        await transport.aclose()
        server.close()
        await server.wait_closed()

    run(talk())


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, "<html>hello", UnsupportedServer),
        (200, "[1]", UnsupportedServer),
        (404, "{}", UnsupportedServer),
        (401, "{}", UnsupportedServer),
        (502, "", ConnectionLost),
    ],
)
def test_what_is_no_gradio_is_told(wire, status, body, error):
    async def talk():
        async with wire.serving(answers={"/config": (status, body, {})}) as server:
            transport = Gradio3Transport(server.url)
            with pytest.raises(error, match=server.url):
                await transport.config()
            with pytest.raises(UnsupportedServer, match="no queue"):
                await collect(transport, 1, [])
            assert await transport.answers(2.0)
            await transport.aclose()

    run(talk())


# -- size, pace and ending ----------------------------------------------------------------------


def test_a_slow_listener_never_pushes_back(wire):
    """Gradio forgets a client that does not take a message within a second."""
    taken = asyncio.Event()
    big = {"msg": "process_generating", "output": {"data": ["x" * 1_500_000]}}

    async def handle(connection, _server):
        await connection.send('{"msg": "send_data"}')
        await connection.recv()
        for _ in range(40):
            async with asyncio.timeout(1.0):
                await connection.send(json.dumps(big))
        taken.set()
        await connection.send('{"msg": "process_completed", "output": {"data": []}}')

    async def talk():
        async with wire.serving(handle) as server:
            transport = Gradio3Transport(server.url)
            count = 0
            async with aclosing(transport.call(1, ["y" * 20_000_000], "s")) as messages:
                async for _ in messages:
                    count += 1
                    await taken.wait()
            await transport.aclose()
            return count

    assert run(talk()) == 41


@pytest.mark.parametrize("how", ["cancel", "leave", "close"])
def test_every_way_to_end_a_call_closes_its_socket(wire, how):
    async def handle(connection, _server):
        await connection.send('{"msg": "process_starts"}')
        await connection.wait_closed()

    async def talk():
        async with wire.serving(handle) as server:
            transport = Gradio3Transport(server.url)
            if how == "leave":
                async with aclosing(transport.call(1, [], "s")) as messages:
                    assert await anext(messages) == Started()
            else:
                task = asyncio.create_task(collect(transport, 1, []))
                await until(lambda: server.joins == 1)
                if how == "cancel":
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                else:
                    await transport.aclose()
                    with pytest.raises(ConnectionLost):
                        await task
            await until(lambda: server.closed >= 1)
            await transport.aclose()
            await transport.aclose()
            with pytest.raises(ConnectionLost):
                await transport.config()

    run(talk())


# -- addresses ----------------------------------------------------------------------------------


@pytest.mark.recorded
def test_a_path_prefix_is_kept_everywhere(wire):
    good = wire.replaying(wire.recorded("two"))
    answers = {
        "/some/where/config": (200, "{}", {}),
        "/some/where/file=/t/a.png": (200, "image", {}),
    }

    async def talk():
        async with wire.serving(good, prefix="/some/where", answers=answers) as server:
            transport = Gradio3Transport(server.url + "/")
            assert await transport.config() == {}
            assert await transport.fetch("/t/a.png") == b"image"
            assert isinstance((await collect(transport, SETTER, []))[-1], Completed)
            await transport.aclose()

    run(talk())


def test_a_redirection_of_the_config_moves_all(wire):
    async def talk():
        async with wire.serving(answers={"/new/config": (200, '{"a": 1}', {})}) as target:
            there = {"Location": f"{target.url}/new/config"}
            async with wire.serving(answers={"/config": (307, "", there)}) as server:
                transport = Gradio3Transport(server.url)
                assert await transport.config() == {"a": 1}
                assert transport.url == f"{target.url}/new"
                await transport.aclose()

    run(talk())


def test_a_file_is_never_fetched_from_elsewhere(wire):
    there = {"Location": "http://127.0.0.1:1/x"}

    async def talk():
        async with wire.serving(answers={"/file=/t/a.png": (302, "", there)}) as server:
            transport = Gradio3Transport(server.url)
            with pytest.raises(EngineError, match="does not give out"):
                await transport.fetch("/t/a.png")
            await transport.aclose()

    run(talk())


@pytest.mark.recorded
def test_a_proxy_in_the_environment_is_not_asked_for_loopback(wire, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    good = wire.replaying(wire.recorded("two"))

    async def talk():
        async with wire.serving(good, answers={"/config": (200, "{}", {})}) as server:
            transport = Gradio3Transport(server.url)
            assert await transport.config() == {}
            assert isinstance((await collect(transport, SETTER, []))[-1], Completed)
            await transport.aclose()

    run(talk())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://127.0.0.1:7865", "http://127.0.0.1:7865"),
        (" http://127.0.0.1:7865/ \n", "http://127.0.0.1:7865"),
        ("localhost:7865", "http://localhost:7865"),
        ("127.0.0.1:7865/a/b/", "http://127.0.0.1:7865/a/b"),
        ("https://x.gradio.live/?__theme=dark#top", "https://x.gradio.live"),
        ("http://[::1]:7865/", "http://[::1]:7865"),
    ],
)
def test_addresses_as_people_copy_them(given, expected):
    assert normalise_url(given) == expected
    assert normalise_url(expected) == expected


@pytest.mark.parametrize("url", ["", "ftp://host/", "http://", "http://host:port/", "/tmp/x"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigurationError, match="no address"):
        normalise_url(url)


@given(st.text())
def test_any_text_is_an_address_or_refused(text):
    try:
        url = normalise_url(text)
    except ConfigurationError:
        return
    assert normalise_url(url) == url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.9.9.9", True),
        ("http://localhost:1", True),
        ("http://[::1]:1", True),
        ("http://0.0.0.0:7865", True),
        ("http://10.0.0.1", False),
        ("https://example.org", False),
    ],
)
def test_loopback_is_known(url, expected):
    assert is_loopback(url) is expected


# -- a real Gradio 3.41.2 -------------------------------------------------------------------------


def _function_of(config, elem_id):
    (button,) = (c["id"] for c in config["components"] if c["props"].get("elem_id") == elem_id)
    dependencies = enumerate(config["dependencies"])
    return next(index for index, each in dependencies if button in each["targets"])


def test_a_real_server_answers_all(gradio3_server):
    async def talk():
        transport = Gradio3Transport(gradio3_server.url)
        config = await transport.config()
        assert config["version"] == "3.41.2"
        assert await transport.answers(5.0)
        stop = _function_of(config, "stop_button")
        assert len(await transport.post(stop, [None], "real")) == 1
        with pytest.raises(EngineError, match=f"refused function {stop}"):
            await transport.post(stop, [], "real")
        with pytest.raises(EngineError, match="does not give out"):
            await transport.fetch("/etc/hostname")
        await transport.aclose()

    run(talk())
    assert gradio3_server.last("stop")


@pytest.mark.parametrize("name", ["plain.png", "a b #1 100% ü 漢.png", "q?x=1&y;z.png"])
def test_files_of_any_name_come_unchanged(gradio3_server, name):
    path = gradio3_server.temp_path / name
    path.write_bytes(bytes(range(256)) * 50)

    async def talk():
        transport = Gradio3Transport(gradio3_server.url)
        data = await transport.fetch(str(path))
        await transport.aclose()
        return data

    assert run(talk()) == path.read_bytes()
