"""An engine of ours goes on when nobody hears it: its log and its folders tell what it made."""

from __future__ import annotations

import os
import signal

import pytest

from fooocus_nb import Enhance
from fooocus_nb._background import run_sync
from fooocus_nb.engine.jobs.recovery import is_of_request
from fooocus_nb.errors import EngineDied
from fooocus_nb.fooocus.client import Client
from fooocus_nb.fooocus.events import ImageFinished, Progress, Queued
from fooocus_nb.fooocus.requests import Request
from fooocus_nb.fooocus.schema.parameters import MAX_SEED

SMALL = {"steps": 4, "width": 64, "height": 64}


@pytest.fixture
def cut_off(cutting_proxy):
    """Let an engine of ours speak to its server through a proxy."""

    def interpose(engine):
        proxy = cutting_proxy(engine.url)
        run_sync(engine._lifecycle.client.aclose(), 5)
        engine._lifecycle.client = run_sync(Client.connect(proxy.url), 20)
        return proxy

    return interpose


def begun(engine, seed):
    return sum(line == f"[Parameters] Seed = {seed}" for line in engine.tail(1000))


@pytest.mark.parametrize(
    ("flags", "metadata"),
    [
        pytest.param((), True, id="log"),
        pytest.param(("--disable-image-log",), False, id="no log", marks=pytest.mark.slow),
    ],
)
def test_what_the_engine_finishes_alone_comes_home(start_demo, cut_off, flags, metadata):
    engine = start_demo(slow=True, args=flags)
    known = engine.generate("a lighthouse", seed=6, image_number=2, **SMALL)
    proxy = cut_off(engine)
    proxy.cut_after("image 2/3", 2)
    asked = {"seed": 6, "image_number": 3, "save_metadata_to_images": metadata}
    job = engine.submit("a lighthouse", **asked, **SMALL)
    result = job.result(60)
    assert proxy.cuts == 1
    assert [image.seed for image in result] == [6, 7, 8]
    assert [image.open().tobytes() for image in known] == [
        image.open().tobytes() for image in result[:2]
    ]
    assert len({*known.paths, *result.paths}) == 5
    assert begun(engine, 6) == 2
    texts = [event.text for event in job.events(timeout=5) if isinstance(event, Progress)]
    assert any(text.startswith("Connection lost") for text in texts)
    assert len(engine.generate("a lighthouse", seed=1, image_number=1, **SMALL)) == 1


@pytest.mark.slow
def test_enhancements_are_awaited_as_well(start_demo, cut_off):
    engine = start_demo(slow=True)
    proxy = cut_off(engine)
    proxy.cut_after("Enhancing image 1/1")
    parts = [Enhance("face"), Enhance("hand", "neon"), Enhance("eyes")]
    asked = {**SMALL, "steps": 48}
    result = engine.submit("a crowd", seed=6, image_number=1, enhance=parts, **asked).result(60)
    assert proxy.cuts == 1
    assert [image.seed for image in result] == [6] * 4
    assert begun(engine, 6) == 1


def test_an_engine_that_dies_leaves_what_it_has_finished(start_demo, cut_off):
    engine = start_demo(slow=True)
    proxy = cut_off(engine)
    proxy.cut_after("image 1/3", 2)  # so that it is the log page which tells of the first image
    job = engine.submit("a lighthouse", seed=6, image_number=3, **{**SMALL, "steps": 20})
    for event in job.events(timeout=60):
        if isinstance(event, ImageFinished):
            os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(EngineDied) as caught:
        job.result(60)
    assert caught.value.result[0].seed == 6
    assert caught.value.result[0].path.is_file()
    assert engine.last_result[0].path.is_file()


def test_many_jobs_queue_in_order_and_show_their_place(start_demo):
    engine = start_demo(slow=True)
    jobs = [engine.submit("a", seed=seed, image_number=1, **SMALL) for seed in range(12)]
    for job in jobs:
        next(iter(job.events(timeout=30)))
    assert engine.jobs == tuple(jobs)
    assert [job.snapshot().rank for job in jobs] == list(range(12))
    assert {job.snapshot().state for job in jobs[1:]} == {"queued"}
    for job in jobs[3:9]:
        job.stop()
    left = [*jobs[:3], *jobs[9:]]
    assert [job.result(60)[0].seed for job in left] == [0, 1, 2, 9, 10, 11]
    ranks = [event.rank for event in jobs[-1].events(timeout=5) if isinstance(event, Queued)]
    assert ranks[0] == 11
    assert ranks[-1] == 0
    assert ranks == sorted(ranks, reverse=True)
    assert engine.jobs == ()


# -- whose image is it? -------------------------------------------------------------------------


def request(prompt, seed, *, number=3, same_seed=False):
    values = {
        "prompt": prompt,
        "negative_prompt": "fog",
        "image_number": number,
        "disable_seed_increment": same_seed,
    }
    return Request(values=values, given=values, seed=seed)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a  lighthouse,\n dusk, ", "a lighthouse\ndusk"),
        ("a __color__ boat", "a red boat"),
        ("a [[red, green]] boat", "a green boat"),
        ("a boat <lora:wood:0.5>", "a boat"),
    ],
)
def test_an_image_is_known_by_its_seed_and_its_prompt_as_the_engine_tidies_it(prompt, said):
    wanted = request(prompt, 7)
    for number in range(3):
        raw = {"prompt": said, "negative_prompt": "fog", "seed": str(7 + number)}
        assert is_of_request(wanted, raw) == number


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"inpaint_additional_prompt": "a door"}, "a door\na house"),
        (
            {
                "enhance_checkbox": True,
                "enhance_1_enabled": False,
                "enhance_2_enabled": True,
                "enhance_2_prompt": "a face",
            },
            "a face",
        ),
    ],
)
def test_an_image_may_be_known_by_the_prompt_of_a_part_of_it(more, said):
    wanted = request("a house", 7)
    raw = {"prompt": said, "negative_prompt": "fog", "seed": "7"}
    assert is_of_request(wanted, raw) is None
    wanted = Request(values={**wanted.values, **more}, given={}, seed=7)
    assert is_of_request(wanted, raw) == 0
    assert is_of_request(wanted, {**raw, "prompt": "a house"}) == 0
    assert is_of_request(wanted, {**raw, "prompt": "a"}) is None


@pytest.mark.parametrize(
    "raw",
    [
        {"prompt": "a lighthouse", "seed": "6"},
        {"prompt": "a lighthouse", "seed": "10"},
        {"prompt": "a lighthouse at dusk", "seed": "7"},
        {"prompt": "a lighthouse", "negative_prompt": "rain", "seed": "7"},
        {"prompt": "a lighthouse"},
        {"prompt": "a lighthouse", "seed": "seven"},
        {},
    ],
)
def test_an_image_of_another_request_is_told_from_ours(raw):
    assert is_of_request(request("a lighthouse", 7), raw) is None


def test_seeds_begin_again_at_the_end_and_may_be_all_the_same():
    raw = {"prompt": "a", "seed": "0"}
    assert is_of_request(request("a", MAX_SEED), raw) == 1
    assert is_of_request(request("a", 0, same_seed=True), raw) == 0
    assert is_of_request(request("a", 0, same_seed=True), {**raw, "seed": "1"}) is None
