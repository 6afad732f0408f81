"""What a kernel generates while a run is open is in it, with all that is known of how."""

from __future__ import annotations

import io
import json
import threading
from typing import TYPE_CHECKING

import PIL.Image
import pytest

import fooocus_nb
from fooocus_nb.engine.facts import facts_of
from fooocus_nb.engine.jobs.observers import Outcome
from fooocus_nb.errors import (
    ConfigurationError,
    DiskFull,
    GenerationError,
    ParameterError,
    RunError,
    RunWarning,
)
from fooocus_nb.experiment.folder import Position, RunFolder
from fooocus_nb.experiment.run import current_run, open_run
from fooocus_nb.results import Result

from .runs import SEED, files_of, listed_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fooocus_nb import Engine
    from fooocus_nb.experiment.manifest import Manifest
    from fooocus_nb.experiment.run import Run

SMALL = {"width": 64, "height": 64, "steps": 2}


def events(run: Run) -> list[str]:
    return [str(line["event"]) for line in RunFolder(run.path).lines("attempts", Position())]


def test_every_generation_inside_of_the_block_is_recorded(
    tmp_path: Path, start_demo: Callable[..., Engine]
) -> None:
    engine = start_demo()
    engine.generate("before", image_number=1, **SMALL)
    source = tmp_path / "photo.png"
    PIL.Image.new("RGB", (64, 64), "red").save(source)
    mask = PIL.Image.new("L", (64, 64))
    mask.paste(255, (8, 8, 40, 40))
    with open_run(tmp_path / "run") as run:
        result = engine.generate("a cat __animal__", image_number=2, seed=SEED, **SMALL)
        assert len(run.images) == 2  # they are there as soon as the result is
        assert [image.sha256 for image in run.images] == [image.sha256 for image in result]
        engine.upscale(source, by="1.5x", prompt="")
        engine.inpaint(run.images[0], mask, "a hat", image_number=1, steps=2)
        # A job that waits for another is recorded as that which it was submitted for.
        attempt = run.recorder.begin("cell", 70)
        jobs = [attempt.submit(engine, "of the cell", image_number=1, **SMALL)]
        jobs.append(engine.submit("of none", image_number=1, **SMALL))
        for job in jobs:
            job.result(60)
        assert attempt.manifest is not None
        assert attempt.manifest.cell == "cell"
        assert run.is_made("cell")
    engine.generate("after", image_number=1, **SMALL)

    first, upscaled, inpainted, _cell, _none = sorted(run.manifests, key=lambda one: one.created)
    assert [image.seed for image in first.images] == [SEED, SEED + 1]
    assert [image.number_in_request for image in first.images] == [1, 2]
    prompts = [image.prompt for image in first.images]
    assert all(prompt and "__" not in prompt for prompt in prompts)
    assert [image.expansion.startswith(image.prompt) for image in first.images] == [True, True]
    assert first.given == (
        "prompt", "image_number", "image_seed", "overwrite_width", "overwrite_height",
        "overwrite_step",
    )  # fmt: skip
    assert first.parameters["sampler_name"] == "dpmpp_2m_sde_gpu"  # a default of the server's
    assert len(first.parameters) > 100
    assert first.fooocus["version"] == engine.version
    assert first.fooocus["preset"] == engine.current_preset
    assert first.system["python"].startswith("3.")
    assert first.engine == {"name": engine.name, "demo": True, "owned": True}
    assert first.software["fooocus_nb"] == fooocus_nb.__version__
    assert len(first.timings["images"]) == 2
    assert first.timings["elapsed"] > 0
    assert first.models[0].name == first.parameters["base_model"]
    assert first.models[0].reason
    (given,) = upscaled.inputs
    assert (given.parameter, given.part, given.name) == ("uov_input_image", None, "photo.png")
    assert (run.path / given.path).read_bytes() == source.read_bytes()
    assert upscaled.parameters["uov_input_image"] == f"sha256:{given.sha256}"
    image, drawn = inpainted.inputs
    assert (image.part, drawn.part) == ("image", "mask")
    assert image.sha256 == first.images[0].sha256
    assert (run.path / drawn.path).is_file()

    assert len(run.images) == 6
    assert all(not manifest.pending for manifest in run.manifests)
    assert all(image.pixels_sha256 for image in run.images)
    # The next is sent while the one before is still being written down.
    assert sorted(events(run)) == ["made"] * 5 + ["sent"] * 5
    assert files_of(run.path) == listed_in(run)
    assert str(tmp_path) not in "".join(
        path.read_text() for path in run.path.rglob("*.json*") if path.is_file()
    )


def test_the_copies_are_the_bytes_of_the_engine(
    tmp_path: Path, start_demo: Callable[..., Engine]
) -> None:
    engine = start_demo()
    with open_run(tmp_path / "run") as run:
        result = engine.generate("x", image_number=2, output_format="webp", **SMALL)
    assert [path.read_bytes() for path in result.paths] == [
        image.path.read_bytes() for image in run.images
    ]
    assert [image.record.format for image in run.images] == ["webp", "webp"]
    assert [image.path.suffix for image in run.images] == [".webp", ".webp"]


def test_failed_stopped_and_refused(tmp_path: Path, start_demo: Callable[..., Engine]) -> None:
    engine = start_demo("oom")
    with open_run(tmp_path / "run") as run:
        with pytest.raises(GenerationError):
            engine.generate("x", image_number=2, **SMALL)
        with pytest.raises(ParameterError):
            engine.generate("x", image_number="many")
    (failure,) = run.failures
    assert failure.error["type"] == "OutOfVRAM"
    assert events(run) == ["sent", "failed"]
    assert len(run.images) == 0
    assert files_of(run.path) == listed_in(run)


def test_what_was_done_before_a_stop_is_kept(
    tmp_path: Path, start_demo: Callable[..., Engine]
) -> None:
    engine = start_demo(step_seconds=0.05)
    with open_run(tmp_path / "run") as run:
        job = engine.submit("x", image_number=20, seed=3, **SMALL)
        waiting = engine.submit("never begun", **SMALL)
        done = threading.Event()
        job.subscribe(lambda event: done.set() if type(event).__name__ == "ImageFinished" else None)
        assert done.wait(30)
        waiting.stop()
        job.stop()
        result = job.result(30)
        assert 1 <= len(result) < 20
        with pytest.raises(GenerationError):
            waiting.result(10)
    (manifest,) = run.manifests
    assert not manifest.complete
    assert len(manifest.images) == len(result) == len(run.images)
    assert [image.seed for image in run.images] == [image.seed for image in result]
    assert sorted(events(run)) == ["interrupted", "interrupted", "sent"]
    assert files_of(run.path) == listed_in(run)


@pytest.mark.parametrize(
    ("images", "stopped", "event"),
    [(0, True, "interrupted"), (1, True, "interrupted"), (1, False, "failed"), (2, False, "made")],
)
def test_what_came_of_an_attempt_says_how_it_ended(
    tmp_path: Path, images: int, stopped: bool, event: str
) -> None:
    result = Result(
        [], elapsed=1.0, log=(), parameters={}, prompt="x", engine="demo", stopped=stopped
    )
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(buffer, "PNG")
    with open_run(tmp_path / "run") as run:
        attempt = run.recorder.begin("cell", 1)
        attempt.sent({"prompt": "x", "image_number": 2, "image_seed": 7}, seed=7)
        for number in range(images):
            attempt.add_image(f"{number}.png", buffer.getvalue())
        attempt.ended(Outcome(result, None, (), frozenset()))
        assert events(run) == ["sent", event]
        assert run.is_made("cell") is (event == "made")
        assert [failure.error["type"] for failure in run.failures] == (
            ["GenerationError"] if event == "failed" else []
        )


def test_a_run_that_cannot_be_written_to_is_said_before_anything_is_generated(
    tmp_path: Path, start_demo: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_demo()
    with open_run(tmp_path / "run") as run:

        def full(self: RunFolder, *args: object) -> None:
            raise DiskFull("The run could not be written: No space left on device.")

        with monkeypatch.context() as patched:
            patched.setattr(RunFolder, "append", full)
            with pytest.raises(DiskFull, match="No space left"):
                engine.generate("x", image_number=1, **SMALL)
        # Full only when the image comes: it is in the output folder, and the user is told.
        with monkeypatch.context() as patched:
            patched.setattr(RunFolder, "write", full)
            result = engine.generate("x", image_number=1, **SMALL)
        assert result[0].path.is_file()
        with pytest.warns(RunWarning, match="No space left"):
            engine.generate("y", image_number=1, **SMALL)
        with pytest.warns(RunWarning, match="No space left"):
            run.close()
    assert events(run) == ["sent", "failed", "sent", "made"]


def test_a_run_that_is_lost_takes_no_generation(
    tmp_path: Path, start_demo: Callable[..., Engine]
) -> None:
    engine = start_demo()
    with open_run(tmp_path / "run") as run:
        owner = run.path / "lease" / "owner.json"
        owner.write_text(owner.read_text().replace('"token": "', '"token": "another'))
        deadline = threading.Event()
        for _ in range(600):
            if run.readonly:
                break
            deadline.wait(0.05)
        with pytest.raises(RunError, match="isn't held by this kernel any more"):
            engine.generate("x", image_number=1, **SMALL)


def test_the_current_run_is_the_innermost(
    tmp_path: Path, start_demo: Callable[..., Engine]
) -> None:
    engine = start_demo()
    with open_run(tmp_path / "outer") as outer:
        with open_run(tmp_path / "inner") as inner:
            assert current_run() is inner
            engine.generate("inside", image_number=1, **SMALL)
        assert current_run() is outer
        engine.generate("outside", image_number=1, **SMALL)
    assert current_run() is None
    assert [image.parameters["prompt"] for image in (*inner.images, *outer.images)] == [
        "inside",
        "outside",
    ]


def test_closed_in_the_middle_of_a_generation(
    tmp_path: Path, start_demo: Callable[..., Engine]
) -> None:
    """Nothing is written into a run that may be somebody else's by then; it is adopted later."""
    engine = start_demo(step_seconds=0.05)
    run = open_run(tmp_path / "run")
    run.record()
    job = engine.submit("x", image_number=6, seed=3, **SMALL)
    waiting = engine.submit("y", image_number=1, **SMALL)
    came = threading.Event()
    job.subscribe(lambda event: came.set() if type(event).__name__ == "ImageFinished" else None)
    assert came.wait(60)
    with pytest.warns(RunWarning, match="2 of this kernel's generations had not ended"):
        run.close()
    before = files_of(run.path)
    assert len(job.result(60)) == 6
    assert len(waiting.result(60)) == 1
    assert files_of(run.path) == before
    assert events(run) == ["sent"]
    run = open_run(run.path)
    (manifest,) = run.manifests
    assert manifest.adopted
    assert not manifest.complete
    assert [image.seed for image in run.images] == [3 + n for n in range(len(manifest.images))]
    assert events(run) == ["sent", "interrupted"]
    run.close()


def test_a_listener_gets_each_manifest_and_once_more_when_it_is_complete(
    tmp_path: Path, start_demo: Callable[..., Engine]
) -> None:
    engine = start_demo()
    heard: list[Manifest] = []
    with open_run(tmp_path / "run") as run:
        run.subscribe(heard.append)
        engine.generate("x", image_number=1, **SMALL)
        run.flush()
    assert [bool(manifest.pending) for manifest in heard] == [True, False]
    assert heard[0].attempt == heard[1].attempt


def test_an_image_of_a_run_goes_where_an_image_goes(
    tmp_path: Path, start_demo: Callable[..., Engine]
) -> None:
    import pickle

    engine = start_demo()
    with open_run(tmp_path / "run") as run:
        engine.generate("a cat", image_number=1, seed=SEED, **SMALL)
        varied = engine.vary(run.images[0], image_number=1)
    assert varied.prompt == "a cat"
    assert "text/html" in run.images[0]._repr_mimebundle_()
    assert run.images[0].thumbnail(32)[:4] == b"RIFF"
    plain = pickle.loads(pickle.dumps(run.images[0]))
    assert type(plain) is fooocus_nb.Image
    assert (plain.seed, plain.path) == (SEED, run.images[0].path)
    assert [image.key for image in run.images[:1]] == run.images.keys()[:1]
    assert run.image(run.images.keys()[0]).seed == SEED
    assert "2 images" in run._repr_html_()
    json.dumps(run.images[0].manifest.system)


def test_an_attempt_is_one_generation(tmp_path: Path, start_demo: Callable[..., Engine]) -> None:
    engine = start_demo()
    run = open_run(tmp_path / "run")
    attempt = run.recorder.begin("a")
    attempt.submit(engine, "x", image_number=1, **SMALL).result(60)
    assert attempt.wait(10) is not None
    with pytest.raises(RunError, match="one generation"):
        attempt.submit(engine, "x", image_number=1, **SMALL)
    # One that was refused is still the cell's to be written down.
    refused = run.recorder.begin("b")
    with pytest.raises(ParameterError):
        refused.submit(engine, "x", stepz=3)
    refused.failed("no such parameter")
    assert refused.event == "failed"
    run.close()


def test_what_is_known_of_an_engine(start_demo: Callable[..., Engine]) -> None:
    engine = start_demo()
    facts = facts_of(engine)
    assert (facts.name, facts.demo, facts.owned, facts.pid) == (engine.name, True, True, engine.pid)
    with pytest.raises(ConfigurationError, match="no engine of this kernel"):
        facts_of("demo")


def test_a_server_that_we_only_connect_to(
    tmp_path: Path, demo_server: Callable[..., object]
) -> None:
    server = demo_server()
    with (
        fooocus_nb.connect(server.url, output_dir=tmp_path / "outputs") as engine,
        open_run(tmp_path / "run") as run,
    ):
        result = engine.generate("a cat", image_number=2, seed=SEED, **SMALL)
    assert [image.sha256 for image in run.images] == [image.sha256 for image in result]
    (manifest,) = run.manifests
    assert manifest.engine["owned"] is False
    assert manifest.system["gpu"] is None
    assert not manifest.pending
