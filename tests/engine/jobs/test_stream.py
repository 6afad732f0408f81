"""The events of a generation: told to those who come late, and to others when one fails."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from fooocus_nb.engine.jobs.stream import EventStream
from fooocus_nb.fooocus.events import Preview, Progress, Queued

SMALL = {"image_number": 1, "steps": 1, "width": 64, "height": 64}


def test_who_comes_late_is_told_of_the_past_but_for_previews():
    stream, early, late = EventStream(), [], []
    stream.subscribe(early.append)
    preview, progress = Preview(b"", "image/png"), Progress(10, "Sampling")
    for event in (preview, progress):
        stream.publish(event)
    end = stream.subscribe(late.append)
    stream.set_rank(2)
    stream.set_rank(2)  # nothing new
    end()
    stream.finish("done")
    assert early == [preview, progress, Queued(2), None]
    assert late == [progress, Queued(2)]
    after = []
    stream.subscribe(after.append)
    assert after == [progress, Queued(2), None]
    assert (stream.now.state, stream.now.percent) == ("done", 100)


@pytest.mark.timeout(30)
def test_a_listener_may_look_and_publish_while_it_is_told_of_the_past():
    stream, heard = EventStream(), []
    first, second, third = (Progress(percent, "Sampling") for percent in (10, 20, 30))
    stream.publish(first)
    stream.publish(second)

    def listen(event):
        heard.append((event, stream.snapshot("").state))
        if event is first:
            other = threading.Thread(target=stream.publish, args=(third,))
            other.start()
            other.join()

    stream.subscribe(listen)
    assert [event for event, _ in heard] == [first, second, third]


def test_a_listener_that_raises_costs_no_generation(start_demo, caplog):
    engine, heard, failed = start_demo(), [], []

    def fail(event):
        failed.append(event)
        raise RuntimeError

    job = engine.submit("x", **SMALL)
    job.subscribe(fail)
    job.subscribe(heard.append)
    assert len(job.result(60)) == 1
    assert heard[-1] is None
    assert failed == heard
    assert "a listener for the events of a generation failed" in caplog.text


def test_the_remaining_time_is_told_only_from_the_pace_of_steps(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr("fooocus_nb.engine.jobs.stream.time", clock)
    stream = EventStream()
    assert stream.snapshot("").remaining is None
    stream.begin()
    # Loading models and encoding the prompt are percents, too, and have another pace.
    clock.now += 60
    stream.change(state="running", percent=13, text="Encoding positive #1 ...")
    assert stream.snapshot("").remaining is None
    stream.change(percent=15, step=1, steps=30)
    assert stream.snapshot("").remaining is None
    clock.now += 5
    stream.change(percent=40, step=10)
    assert stream.snapshot("").remaining == pytest.approx(12)  # 25 % took 5 s, and 60 % are left
    stream.finish("done")
    assert stream.snapshot("").remaining is None
