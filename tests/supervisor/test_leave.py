"""Leaving a child that others use never ends it, however slow or stopped its guardian is."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time

import pytest

from fooocus_nb.supervisor import Process, _platform, guardian_handle
from fooocus_nb.supervisor.protocol import MESSAGE, FrameReader, message

SLEEP = "\ntime.sleep(120)"
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


class RawClient:
    """A client that reads when it is told to, and not before."""

    def __init__(self, process: Process) -> None:
        known = json.loads((process.spec.run_dir / "guardian.json").read_text())
        self.connection = _platform.connect(known["address"], 5)
        self.connection.settimeout(10)
        self.send(op="hello", token=known["token"])

    def send(self, **content: object) -> None:
        self.connection.sendall(message(**content))

    def events(self, last: str | None) -> list[str]:
        """Return the events up to `last`, or to the connection's end."""
        reader, found = FrameReader(), []
        while data := self.connection.recv(1 << 16):
            for kind, payload in reader.feed(data):
                if kind == MESSAGE:
                    found.append(json.loads(payload)["event"])
                    if found[-1] == last:
                        return found
        return found


@pytest.fixture
def impatient(monkeypatch):
    """Start guardians that soon take clients for strangers, and always look for them."""
    code = "guardian.HELLO_TIMEOUT = 0.2; guardian.IDLE_LOOK_SECONDS = 0.0; guardian.main()"
    boot = (
        "import sys; sys.path.append(sys.argv[1]); "
        f"from fooocus_nb.supervisor import guardian; {code}"
    )
    monkeypatch.setattr(guardian_handle, "_BOOT", boot)


@pytest.fixture
def leaver(impatient, start, until):
    """A process that two clients use, and one of them, longer there than a stranger may be."""
    process = start("print('ready')" + SLEEP)
    client = RawClient(process)
    client.events("hello")
    known = time.monotonic()
    until(lambda: time.monotonic() > known + 0.3)
    yield process, client
    client.connection.close()


def test_who_leaves_is_told_before_it_is_hung_up_on(leaver):
    process, client = leaver
    client.send(op="leave", grace=0)
    assert "spared" in client.events("spared")
    assert process.alive()


def test_what_was_on_its_way_when_it_left_does_no_harm(leaver):
    process, client = leaver
    client.connection.sendall(
        message(op="leave", grace=0) + message(op="ping") + message(op="leave", grace=0)
        + message(op="stop", grace=0)
    )  # fmt: skip
    assert "spared" in client.events("spared")
    client.connection.shutdown(socket.SHUT_WR)
    assert "ending" not in client.events(None)
    assert process.alive()


@posix
def test_a_stopped_guardian_is_left_alone_while_others_use_it(start, until, gone):
    first = start("print('ready')" + SLEEP)
    second = Process.attach(first.spec.run_dir)
    os.kill(first.guardian_pid, signal.SIGSTOP)
    until(first.guardian_stopped)
    assert not second.leave()
    assert not gone(first.pid)
    os.kill(first.guardian_pid, signal.SIGCONT)
    until(lambda: first.guardian_answers())
    assert first.alive()
    assert first.leave()
    assert gone(first.pid)


@posix
def test_a_guardian_that_does_not_answer_in_time_is_left_alone_while_others_use_it(
    start, until, gone, monkeypatch
):
    monkeypatch.setattr("fooocus_nb.supervisor.process.ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr("fooocus_nb.supervisor.process.Process.guardian_stopped", lambda _: False)
    first = start("print('ready')" + SLEEP)
    second = Process.attach(first.spec.run_dir)
    os.kill(first.guardian_pid, signal.SIGSTOP)
    assert not first.leave()  # also the one that has started it
    assert not gone(second.pid)
    os.kill(first.guardian_pid, signal.SIGCONT)
    until(lambda: second.guardian_answers())
    assert second.leave()
    assert gone(first.pid)


@posix
def test_a_stopped_guardian_goes_with_its_only_user(start, until, gone):
    process = start("print('ready')" + SLEEP)
    until(lambda: process.tail() == ["ready"])
    os.kill(process.guardian_pid, signal.SIGSTOP)
    until(process.guardian_stopped)
    assert process.leave()
    assert gone(process.pid)
    assert gone(process.guardian_pid)


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_rounds_of_leaving_while_another_uses_it(start, until, rounds):
    """The other one writes commands all the time, and reads what the child prints."""
    process = start("while True: print('x' * 99)")
    over = threading.Event()

    def use() -> None:
        while not over.is_set():
            process.guardian_answers()
            process.label(ready=True)

    thread = threading.Thread(target=use)
    thread.start()
    try:
        for _ in range(rounds):
            other = Process.attach(process.spec.run_dir)
            other.guardian_answers()
            assert not other.leave()
            assert process.alive()
    finally:
        over.set()
        thread.join()
    assert process.exists()


@posix
def test_an_end_that_a_busy_kernel_hears_late_is_heard_whole(start, until, gone):
    """40 MB are printed while nothing of it is read; then the exit code and the last line come."""
    process = start(
        "block = b'x' * 99 + b'\\n'\nfor _ in range(400): os.write(1, block * 1000)\n"
        "print('the last line'); sys.exit(7)"
    )
    go_on = threading.Event()
    process.add_listener(lambda line: go_on.wait(60))
    until(lambda: gone(process.pid), 30)
    assert not process._guardian.wait(4.0)  # it waits for us
    go_on.set()
    assert process.wait(30) == 7
    assert process.tail(1) == ["the last line"]
    until(lambda: process.reason is not None)
    assert process.reason == "it ended by itself"
