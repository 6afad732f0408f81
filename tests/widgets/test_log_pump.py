"""What the log view is sent: in batches, bounded, and only while somebody looks."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fooocus_nb.engine.log_pages import batch_of
from fooocus_nb.engine.state import EngineState, StateMachine
from fooocus_nb.fooocus.logs.levels import Classifier
from fooocus_nb.supervisor import LineSplitter
from fooocus_nb.widgets import log_view
from fooocus_nb.widgets.log_view import LogPump


class Engine(SimpleNamespace):
    """As much of an engine as the pump looks at."""

    def __init__(self, path):
        lifecycle = StateMachine()
        super().__init__(name="e", log_path=path, lifecycle=lifecycle)
        self.subscribe = lifecycle.subscribe
        self.move = lifecycle.move
        self.move(EngineState.STARTING)
        self.move(EngineState.READY)

    @property
    def state(self):
        return self.lifecycle.state


class Browser:
    """What a browser makes of the messages."""

    def __init__(self):
        self.news = threading.Condition()
        self.messages = []
        self.lines = []
        self.pending = ""
        self.parts = []

    def take(self, message, buffers):
        with self.news:
            self.messages.append(message)
            if message["kind"] == "reset":
                self.lines = []
            if message["kind"] in ("reset", "lines") and message["count"]:
                assert message.get("at", 0) == len(self.lines)
                self.lines += message["text"].split("\n")
                assert len(message["levels"]) == message["count"]
            if message["kind"] in ("reset", "lines"):
                self.pending = message["pending"]
            if message["kind"] == "earlier":
                self.lines = message["text"].split("\n") + self.lines
            if message["kind"] == "part":
                self.parts += buffers
            self.news.notify_all()

    def until(self, condition):
        with self.news:
            assert self.news.wait_for(lambda: condition(self), 30), self.messages[-3:]


@pytest.fixture
def setting(tmp_path):
    path = tmp_path / "engine.log"
    path.write_bytes(b"first\n")
    engine, browser = Engine(path), Browser()
    pump = LogPump(engine, browser.take)
    yield engine, browser, pump
    pump.close()
    until(lambda: not pump.running)


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def write(engine, data):
    with engine.log_path.open("ab") as log:
        log.write(data)


@given(st.lists(st.sampled_from(["a\n", "10%\r", "\r", "20%\r", "b\r\n", "\n", "c\n"])))
def test_a_batch_is_what_a_terminal_would_show(pieces):
    splitter = LineSplitter()
    lines = splitter.feed("".join(pieces).encode()) + splitter.flush()
    batch = batch_of(lines, Classifier())
    shown = batch["text"].split("\n") if batch["count"] else []
    assert shown == [line.text for line in lines if not line.transient]
    assert batch["pending"] == (lines[-1].text if lines and lines[-1].transient else "")


def test_it_reads_only_while_somebody_looks(setting):
    engine, browser, pump = setting
    assert not pump.running
    pump.open("v", -1, 0)
    browser.until(lambda b: b.lines == ["first"])
    write(engine, b"\r 10%\r 20%")
    browser.until(lambda b: b.pending == " 20%")
    write(engine, b"\rdone\nsecond\n")
    browser.until(lambda b: b.lines == ["first", "done", "second"] and not b.pending)
    pump.shut("v")
    until(lambda: not pump.running)
    count = len(browser.messages)
    write(engine, b"unseen\n")
    pump.open("v", -1, 0)  # and what was missed is there when it looks again
    browser.until(lambda b: b.lines[-1:] == ["unseen"] and len(b.messages) > count)


def test_it_does_not_go_on_for_a_viewer_that_left(setting):
    _, browser, pump = setting
    assert pump.begin(float("inf"))["count"] == 1  # shown, before any browser has confirmed it
    assert pump.running
    pump.open("one", -1, 0)
    pump.open("two", -1, 0)
    pump.shut("one")
    browser.until(lambda b: sum(m["kind"] == "reset" for m in b.messages) >= 1)
    assert pump.running  # for the other one
    pump.shut("two")
    until(lambda: not pump.running)


def test_it_ends_with_the_engine_and_goes_on_with_the_next_run(setting, tmp_path):
    engine, browser, pump = setting
    pump.open("v", -1, 0)
    browser.until(lambda b: b.lines)
    write(engine, b"last words\n")
    engine.move(EngineState.STOPPING)
    engine.move(EngineState.STOPPED)
    browser.until(lambda b: b.messages[-1].get("state") == "stopped")
    until(lambda: not pump.running)
    assert browser.lines[-1] == "last words"
    engine.log_path = tmp_path / "second.log"
    engine.log_path.write_bytes(b"hello again\n")
    engine.move(EngineState.STARTING)
    browser.until(lambda b: b.lines[-2:] == ["[started again]", "hello again"])


def test_messages_are_bounded_whatever_comes(setting):
    engine, browser, pump = setting
    pump.open("v", -1, 0)
    browser.until(lambda b: b.lines)
    for _ in range(20):
        write(engine, b"x" * 79 + b"\n" + b"y" * 100_000 + b"\n")
    write(engine, b"the end\n")
    browser.until(lambda b: b.lines[-1] == "the end")
    sizes = [len(m["text"]) for m in browser.messages if m["kind"] == "lines"]
    assert max(sizes) <= log_view.BATCH_BYTES
    assert max(len(line) for line in browser.lines) <= log_view.MAX_LINE


def test_who_falls_behind_is_told_how_much_is_left_out(setting, monkeypatch):
    monkeypatch.setattr(log_view, "MAX_BEHIND", 100_000)
    engine, browser, pump = setting
    pump.open("v", -1, 0)
    browser.until(lambda b: b.lines)
    write(engine, b"0123456789\n" * 50_000 + b"the end\n")
    browser.until(lambda b: b.lines[-1] == "the end")
    assert any("bytes left out here" in line for line in browser.lines)
    pump.whole("v")
    browser.until(lambda b: b.messages[-1]["kind"] == "part" and b.messages[-1]["last"])
    assert b"".join(browser.parts) == engine.log_path.read_bytes()


def test_a_log_that_is_saved_has_no_secret(setting):
    engine, browser, pump = setting
    write(engine, b"HF_TOKEN=hf_0123456789abcdefghij\n")
    pump.open("v", -1, 0)
    browser.until(lambda b: b.lines)
    pump.whole("v")
    browser.until(lambda b: b.messages[-1]["kind"] == "part" and b.messages[-1]["last"])
    assert b"".join(browser.parts) == b"first\nHF_TOKEN=***\n"


@pytest.mark.parametrize("content", [{}, {"epoch": 1}, {"epoch": float("inf"), "end": 0}])
def test_what_says_no_place_opens_nothing(content):
    opened = []
    view = SimpleNamespace(note="", _pump=SimpleNamespace(open=lambda *_: opened.append(1)))
    log_view.LogView._handle(view, None, {"kind": "open", **content}, [])
    assert not opened


def test_the_past_comes_when_asked_for(setting):
    engine, browser, pump = setting
    write(engine, b"".join(b"line %d of the past\n" % n for n in range(20_000)))
    pump.open("v", -1, 0)
    browser.until(lambda b: b.lines)
    while not any(m["kind"] == "earlier" and not m["more"] for m in browser.messages):
        count = len(browser.messages)
        pump.earlier()
        browser.until(lambda b, n=count: any(m["kind"] == "earlier" for m in b.messages[n:]))
    assert browser.lines == ["first", *(f"line {n} of the past" for n in range(20_000))]
