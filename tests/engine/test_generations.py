"""Generations, one after the other, on one demo engine that stays well."""

from __future__ import annotations

import pytest

import fooocus_nb
from fooocus_nb import EngineState
from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.events import Finished, ImageFinished, Progress

SMALL = {"width": 64, "height": 64, "steps": 2}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with fooocus_nb.start(
        demo=True,
        env={"FOOOCUS_DEMO_STEP_SECONDS": "0"},
        output_dir=tmp_path_factory.mktemp("images"),
        timeout=120,
    ) as started:
        yield started


def test_images_of_a_request_carry_the_seeds_that_made_them(engine):
    result = engine.generate("a forest", seed=10, image_number=3, **SMALL)
    assert [image.seed for image in result] == [10, 11, 12]
    again = engine.generate("a forest", seed=11, image_number=1, **SMALL)
    assert again[0].open().tobytes() == result[1].open().tobytes()


def test_what_made_an_image_makes_it_again(engine):
    image = engine.generate("a harbour", image_number=2, aspect_ratio="704x1408", steps=4)[1]
    again = engine.generate(**image.parameters)
    assert len(again) == 1
    assert again[0].open().tobytes() == image.open().tobytes()


def test_bad_parameters_raise_before_anything_is_sent(engine):
    before = engine.tail(1000)
    with pytest.raises(ParameterError, match="Did you mean 'guidance_scale'"):
        engine.generate("x", guidance_scal=3)
    with pytest.raises(ParameterError, match=r"sampler_name='eulr'.*'euler'"):
        engine.generate("x", sampler="eulr")
    assert engine.tail(1000) == before
    assert engine.state is EngineState.READY


def test_a_job_tells_its_events_in_order(start_demo):
    # Of steps without any time between them the server tells only the last.
    engine = start_demo(slow=True)
    job = engine.submit("a mountain", image_number=2, seed=1, **{**SMALL, "steps": 20})
    events = list(job.events(timeout=60))
    assert isinstance(events[-1], Finished)
    assert sum(isinstance(event, ImageFinished) for event in events) == 2
    assert any(isinstance(event, Progress) and event.step for event in events)
    assert job.snapshot().state == "done"
    assert job.snapshot().percent == 100
    assert len(job.result()) == 2


def test_jobs_run_one_by_one_in_order(engine):
    jobs = [engine.submit("a cat", seed=seed, image_number=1, **SMALL) for seed in range(4)]
    assert [job.result(60)[0].seed for job in jobs] == [0, 1, 2, 3]
