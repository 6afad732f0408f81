"""Connections cut at every moment of a generation: nothing is lost, and nothing made twice."""

from __future__ import annotations

import contextlib
import threading

import pytest

import fooocus_nb
from fooocus_nb.engine.jobs import recovery
from fooocus_nb.errors import ConnectionLost, GenerationStopped
from fooocus_nb.fooocus.events import ImageFinished, Progress, Queued

#: What the server has just said when the connection breaks, and how often it has said it.
HARMLESS = [("send_hash", 1), ("send_data", 1), ("process_starts", 1), ("send_hash", 2)]
IN_THE_MIDDLE = [("Sampling step 1/3", 1), ("Sampling step 2/3", 2), ("Sampling step 3/3", 3)]
#: Gradio begins, and then finds that nobody listens: the worker may get the request, or not.
ON_THE_EDGE = [("send_data", 2), ("process_starts", 2), ("process_generating", 1)]


@pytest.fixture
def engine_behind(cutting_proxy, tmp_path):
    """Connect engines to servers through a proxy."""
    engines = []

    def connect(server):
        proxy = cutting_proxy(server.url)
        engine = fooocus_nb.connect(proxy.url, output_dir=tmp_path / "images")
        engines.append(engine)
        return engine, proxy

    yield connect
    for engine in engines:
        engine.stop()


def made(server, prompt):
    """Return the seeds of the images that the server has made for a prompt."""
    return [
        entry["seed"]
        for entry in server.calls()
        if entry["call"] == "image" and entry["prompt"] == prompt
    ]


def outcome(job):
    """Return what a job brought, and how it failed."""
    try:
        return job.result(60), None
    except ConnectionLost as error:
        return error.result, error


def colours(result):
    return [image.open().getpixel((0, 0)) for image in result]


@pytest.mark.parametrize(("said", "times"), HARMLESS + IN_THE_MIDDLE)
def test_a_cut_connection_costs_nothing_and_makes_nothing_twice(
    gradio3_server, engine_behind, said, times
):
    engine, proxy = engine_behind(gradio3_server)
    prompt = f"cut {said[-6:]} {times}".replace("/", "-")
    proxy.cut_after(said, times)
    result = engine.submit(prompt, seed=7, image_number=3).result(60)
    assert proxy.cuts == 1
    assert [image.seed for image in result] == [7, 8, 9]
    assert colours(result) == [(7, 0, 1), (8, 0, 2), (9, 0, 3)]
    assert made(gradio3_server, prompt) == ["7", "8", "9"]
    assert len(set(result.paths)) == 3
    assert engine.last_result is not None
    assert len(engine.generate("and on it goes", image_number=1)) == 1


@pytest.mark.slow
def test_the_same_on_a_gradio_of_today(modern_server, engine_behind):
    engine, proxy = engine_behind(modern_server)
    proxy.cut_after("Sampling step 2/3", 2)
    result = engine.submit("cut stream", seed=7, image_number=3).result(60)
    assert [image.seed for image in result] == [7, 8, 9]
    assert made(modern_server, "cut stream") == ["7", "8", "9"]


@pytest.mark.parametrize(("said", "times"), ON_THE_EDGE)
def test_where_nobody_knows_whether_it_began_it_is_not_sent_again(
    gradio3_server, engine_behind, monkeypatch, said, times
):
    monkeypatch.setattr(recovery, "MIN_SILENCE", 2.0)
    engine, proxy = engine_behind(gradio3_server)
    prompt = f"edge {said} {times}"
    proxy.cut_after(said, times)
    result, error = outcome(engine.submit(prompt, seed=7, image_number=2))
    assert made(gradio3_server, prompt) == [str(image.seed) for image in result]
    assert len(result) == (2 if error is None else 0)
    assert error is None or "not sent again" in str(error)


def test_only_images_of_this_very_request_are_taken(gradio3_server, engine_behind, tmp_path):
    engine, proxy = engine_behind(gradio3_server)
    other = fooocus_nb.connect(gradio3_server.url, output_dir=tmp_path / "other")
    other.generate("hers", seed=8, image_number=1)
    before = engine.generate("mine", seed=7, image_number=1)
    proxy.cut_after("Sampling step 1/3", 1)
    job = engine.submit("mine", seed=7, image_number=2)
    queued = threading.Thread(target=other.generate, args=("hers too",), kwargs={"seed": 7})
    queued.start()
    result = job.result(60)
    queued.join(60)
    assert len(before) == 1
    assert [image.seed for image in result] == [7, 8]
    assert all("mine" in path.name for path in result.paths)
    other.stop()


def test_a_recovery_can_be_watched_and_stopped(gradio3_server, engine_behind, monkeypatch):
    monkeypatch.setattr(recovery, "STOP_SECONDS", 1.5)
    engine, proxy = engine_behind(gradio3_server)
    proxy.cut_after("image 2/3", 2)
    job = engine.submit("slow", seed=7, image_number=3)
    for event in job.events(timeout=60):
        if isinstance(event, Progress) and event.text.startswith("Connection lost"):
            job.stop()
            break
    result = job.result(60)
    assert result.stopped
    assert 1 <= len(result) < 3
    assert [image.seed for image in result] == [7, 8][: len(result)]
    assert sum(isinstance(event, ImageFinished) for event in job.events(timeout=5)) == len(result)


def test_a_server_without_a_log_page_is_reported_at_once(start_gradio3, engine_behind):
    server = start_gradio3("--disable-image-log")
    engine, proxy = engine_behind(server)
    proxy.cut_after("image 2/2", 1)
    with pytest.raises(ConnectionLost, match=r"1 of 2 images could be copied") as caught:
        engine.generate("cat", seed=7, image_number=2)
    assert [image.seed for image in caught.value.result] == [7]
    assert caught.value.result[0].path.is_file()


def test_a_server_that_is_gone_for_good_is_reported(gradio3_server, engine_behind, monkeypatch):
    monkeypatch.setattr(recovery, "GONE_SECONDS", 1.0)
    engine, proxy = engine_behind(gradio3_server)
    job = engine.submit("slow", seed=1, image_number=1)
    for event in job.events(timeout=60):
        if isinstance(event, Progress) and event.step == 2:
            proxy.refuse()
    with pytest.raises(ConnectionLost, match=r"0 of 1|does not answer"):
        job.result(60)


# -- the server's own queue ---------------------------------------------------------------------


def test_the_place_in_a_shared_servers_queue_is_shown_and_can_be_left(
    gradio3_server, engine_behind, tmp_path
):
    engine, _proxy = engine_behind(gradio3_server)
    others = [
        fooocus_nb.connect(gradio3_server.url, name=f"other {number}", output_dir=tmp_path / "o")
        for number in range(2)
    ]
    # They go on until they are stopped, so that they are still there however slow this machine is.
    theirs = [others[0].submit("slow", seed=70, image_number=32)]
    assert any(isinstance(event, Progress) for event in theirs[0].events(timeout=60))
    # Before ours, or there would be nobody to wait for: we say that it waits, and then the server.
    theirs.append(others[1].submit("slow", seed=70, image_number=32))
    queued = (event for event in theirs[1].events(timeout=60) if isinstance(event, Queued))
    assert [next(queued).rank, next(queued).rank] == [0, 0]
    mine, next_one = engine.submit("wait 1", seed=1), engine.submit("wait 2", seed=2)
    assert any(isinstance(event, Queued) and event.rank for event in mine.events(timeout=60))
    assert mine.snapshot().state == "queued"
    assert next_one.snapshot().rank == mine.snapshot().rank + 1
    mine.stop()
    with pytest.raises(GenerationStopped):
        mine.result(10)
    for job in theirs:
        job.stop()
    assert [image.seed for image in next_one.result(60)] == [2, 3]
    for job in theirs:
        with contextlib.suppress(GenerationStopped):  # had it not begun yet
            job.result(60)
        assert job.snapshot().state == "stopped"
    assert made(gradio3_server, "wait 1") == []
    for other in others:
        other.stop()
