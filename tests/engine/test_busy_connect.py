"""A server, or a machine, that is too busy to answer: an error of ours, and no engine is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

import pytest

import fooocus_nb
from fooocus_nb._background import background_loop
from fooocus_nb.engine import lifecycle
from fooocus_nb.errors import ConnectionLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb import Engine


def test_a_loop_that_is_held_up_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine is too busy for is not done in time, and nothing says why."""
    monkeypatch.setattr(lifecycle, "CONNECT_TIMEOUT", -4.5)
    release = threading.Event()
    background_loop().call_soon_threadsafe(release.wait, 20)
    try:
        with pytest.raises(ConnectionLost, match="in time"):
            fooocus_nb.connect("http://127.0.0.1:1")
    finally:
        release.set()
    assert not fooocus_nb.running()


def test_a_server_that_takes_the_connection_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "CONNECT_TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ConnectionLost):
        fooocus_nb.connect(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert not fooocus_nb.running()


@pytest.mark.skipif(sys.platform == "win32", reason="stops a process")
def test_a_ready_engine_that_is_slow_to_answer_is_asked_again(
    start_demo: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "CONNECT_TIMEOUT", 1.0)
    connect = lifecycle.Client.connect
    pids: list[int] = []

    async def connect_when_busy(url: str, **options: object) -> object:
        """Stop the engine before it is asked the first time, as a busy machine does."""
        pid = 0 if pids else next(one.pid for one in fooocus_nb.engines() if one.name == "busy")
        if pid:
            pids.append(pid)
            os.kill(pid, signal.SIGSTOP)
            try:
                return await connect(url, **options)
            finally:
                os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(0)
        return await connect(url, timeout=20)

    monkeypatch.setattr(lifecycle.Client, "connect", connect_when_busy)
    engine = start_demo(name="busy")
    assert [engine.pid] == pids
    assert len(engine.generate("x", image_number=1, steps=1)) == 1
