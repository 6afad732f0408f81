"""Make images again: replay, verify, portable, and the command."""

from __future__ import annotations

import asyncio
import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import PIL.Image
import pytest

import fooocus_nb
from fooocus_nb import ConfigurationError, EngineStopped, ParameterError, RunError, Sweep, open_run
from fooocus_nb.cli import main
from fooocus_nb.cli.commands.verify import (
    NOT_AVAILABLE,
    NOT_FUNCTIONAL,
    NOT_REPRODUCED,
    exit_code,
)
from fooocus_nb.experiment.causes import Cause
from fooocus_nb.experiment.similarity import Similarity
from fooocus_nb.experiment.verification import Verification, VerifiedImage
from fooocus_nb.experiment.verify import verify_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fooocus_nb import Engine

SMALL = {"width": 64, "height": 64, "steps": 1, "image_number": 1, "styles": []}


# -- verify -----------------------------------------------------------------------------------


def test_the_same_engine_makes_the_same_bytes(demo: Engine, tmp_path: Path) -> None:
    sweep = Sweep(prompt=["a lighthouse", "a __color__ boat"], seed=[1, 2], base=SMALL)
    run = sweep.run(demo, tmp_path / "run")
    files = tmp_path / "run" / "images", tmp_path / "run" / "manifests"
    before = [sorted(folder.iterdir()) for folder in files]
    found = run.verify(demo)
    assert dict(found.counts) == {
        "bytes": 4, "pixels": 0, "close": 0, "different": 0, "failed": 0
    }  # fmt: skip
    assert found.ok
    assert {row.cause for row in found.rows} == {""}
    assert [row.image.key for row in found.rows] == [image.key for image in run.images]
    # What was made again belongs to no run, also where one records.
    with run:
        sampled = run.verify(demo, sample=2, keep=tmp_path / "kept")
    assert len(sampled.rows) == 2
    assert [sorted(folder.iterdir()) for folder in files] == before
    kept = open_run(tmp_path / "kept", readonly=True)
    assert {image.sha256 for image in kept.images} == {row.image.sha256 for row in sampled.rows}
    assert exit_code(found) == 0


@pytest.mark.slow
def test_several_engines_make_it_at_the_same_time(
    start_demo: Callable[..., Engine], tmp_path: Path
) -> None:
    engines = [start_demo(name=f"verify-{number}", step_seconds=0.02) for number in range(2)]
    sweep = Sweep(prompt="a lighthouse", seed=range(6), base=SMALL)
    run = sweep.run(engines[0], tmp_path / "run")
    told: list[int] = []
    scratch = tmp_path / "kept"
    with fooocus_nb.Pool(engines) as pool:
        found = verify_run(
            run, pool, open_run, keep=scratch, tell=lambda done, _: told.append(done)
        )
    assert found.ok
    assert [row.image.key for row in found.rows] == [image.key for image in run.images]
    assert found.engine == "verify-0, verify-1"
    made_by = {one.engine["name"] for one in open_run(scratch, readonly=True).manifests}
    assert made_by == {"verify-0", "verify-1"}
    assert (told[0], told[-1], max(told)) == (0, 6, 6)

    # One of them ends meanwhile: the other one makes the rest.
    def end(done: int, _total: int) -> None:
        if done == 1:
            engines[0].stop()

    again = verify_run(run, engines, open_run, tell=end)
    assert again.ok
    assert len(again.rows) == 6
    # Where both end, what is left says why it could not be made.
    engines[0].restart()
    nobody = verify_run(
        run, engines, open_run, tell=lambda done, _: done == 2 and [one.stop() for one in engines]
    )
    assert 2 <= nobody.counts["bytes"] < 6
    assert nobody.counts["failed"] == 6 - nobody.counts["bytes"]
    assert any("EngineStopped" in row.cause for row in nobody.rows)
    with pytest.raises(EngineStopped):
        run.verify(engines)
    run.close()


def test_workers_elsewhere_are_refused(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    with ThreadPoolExecutor(1) as executor:
        for thing in (executor, fooocus_nb.Workers(executor, demo=True), "demo", []):
            with pytest.raises(ConfigurationError, match="can't make images again: give an engine"):
                run.verify(thing)
    run.close()


def test_an_image_with_a_place_in_its_request(demo: Engine, tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        demo.generate("a lighthouse", **{**SMALL, "seed": 7, "image_number": 3})
        demo.generate("a [[red, green]] city", **{**SMALL, "seed": 7, "image_number": 2})
        found = run.verify(demo)
        images = list(run.images)
    # Alone, image 3 of seed 7 is seed 9; an element of a list goes by the place.
    assert [row.level for row in found.rows] == ["bytes"] * 4 + ["different"]
    cause = found.rows[-1].causes[0]
    assert (cause.kind, cause.proven) == ("position in request", True)
    assert exit_code(found) == NOT_REPRODUCED
    again = fooocus_nb.replay(images[2], demo)
    assert (again[0].seed, again[0].sha256) == (9, images[2].sha256)


def test_what_is_gone_or_changed_is_told(demo: Engine, tmp_path: Path) -> None:
    run = Sweep(prompt="a cat", seed=[1, 2], base=SMALL).run(demo, tmp_path / "run")
    first, second = run.images
    first.path.unlink()
    PIL.Image.new("RGB", (64, 64)).save(second.path)
    found = run.verify(demo)
    run.close()
    # The manifests still say what came out.
    assert [row.level for row in found.rows] == ["bytes", "bytes"]
    assert found.damaged == (first.key, second.key)
    assert dict(found.badges) == {"available": False, "functional": True, "reproduced": True}
    assert exit_code(found) == NOT_AVAILABLE
    # Opened anew, what is gone isn't among the images any more.
    run = open_run(run.path)
    assert len(run.images) == 1
    found = run.verify(demo)
    run.close()
    assert set(found.damaged) == {first.key, second.key}
    assert exit_code(found) == NOT_AVAILABLE


def test_what_cannot_be_made_here_is_told(demo: Engine, tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        demo.generate("a cat", seed=1, **SMALL)
        run.flush()
        manifest = next(run.manifests)
    parameters = {**manifest.parameters, "base_model": "mine.safetensors", "of_a_fork": 3}
    changed = replace(manifest, parameters=parameters)
    (tmp_path / "run" / "manifests" / manifest.name).write_bytes(changed.to_json())
    run = open_run(tmp_path / "run", readonly=True)
    found = run.verify(demo)
    assert found.rows[0].level == "failed"
    assert "mine.safetensors" in found.rows[0].cause
    assert exit_code(found) == NOT_FUNCTIONAL
    with pytest.warns(fooocus_nb.RunWarning, match="of_a_fork=3"):
        fooocus_nb.replay(run.images[0], demo, base_model=manifest.parameters["base_model"])


@pytest.mark.parametrize("sample", [0, -1, 1.5, True, "2"])
def test_a_wrong_sample_is_refused(demo: Engine, made_run, sample: object) -> None:
    with pytest.raises(ParameterError, match="sample="):
        made_run(image_seed=[1, 2]).verify(demo, sample=sample)


def test_a_folder_with_something_in_it_is_not_written_to(
    demo: Engine, made_run, tmp_path: Path
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="has something in it"):
        made_run(image_seed=[1]).verify(demo, keep=tmp_path / "kept")


def test_there_is_no_nan_in_json(made_run) -> None:
    image = made_run(image_seed=[2**63 - 1]).images[0]
    rows = (
        VerifiedImage(image, Similarity("bytes", 0, None, 0, {"psnr": "infinite"})),
        VerifiedImage(image, Similarity("close", 3, 36.2, 1), (Cause("driver", text="was 1"),)),
    )
    found = Verification(image.path, "demo", 9, rows)
    data = json.loads(json.dumps(found.as_data(), allow_nan=False))
    assert data["rows"][0]["measures"]["psnr"] is None
    assert data["rows"][0]["measures"]["reasons"] == {"psnr": "infinite"}
    assert data["rows"][0]["seed"] == str(2**63 - 1)
    assert data["rows"][1]["cause"] == "driver: was 1"
    assert "2 of 9 images" in str(found)
    assert "driver" in found._repr_html_()


# -- replay -----------------------------------------------------------------------------------


def test_an_image_is_made_again_from_all_that_says_how(demo: Engine, tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        first = demo.generate("a boat", **{**SMALL, "seed": 3, "image_number": 2})
        mask = PIL.Image.new("L", (64, 64))
        mask.paste(255, (0, 0, 30, 30))
        demo.inpaint(first[0], mask, "a cat", seed=3, image_number=1)
        run.flush()
        images = list(run.images)
        manifest = tmp_path / "run" / "manifests" / next(run.manifests).name
    for source in (images[1], images[1].path, first[1]):
        again = fooocus_nb.replay(source, demo)
        assert [one.sha256 for one in again] == [images[1].sha256]
    assert len(fooocus_nb.replay(manifest, demo)) == 2
    painted = images[2]
    assert fooocus_nb.replay(painted, demo)[0].sha256 == painted.sha256
    # Without its input image it says so, and finds it where it is told to look.
    moved = tmp_path / "elsewhere"
    (tmp_path / "run" / "inputs").rename(moved)
    with pytest.raises(ParameterError, match="isn't in the run"):
        fooocus_nb.replay(painted, demo)
    assert fooocus_nb.replay(painted, demo, inputs=moved)[0].sha256 == painted.sha256


def test_the_loras_that_an_image_file_names_are_loaded_again(demo: Engine, tmp_path: Path) -> None:
    name = "sd_xl_offset_example-lora_1.0.safetensors"
    wanted = {**SMALL, "save_metadata_to_images": True, "loras": [(name, 0.5)]}
    first = demo.generate("a boat", **wanted)[0]
    file = tmp_path / "mine.png"
    file.write_bytes(first.path.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = fooocus_nb.replay(file, demo)[0]
    assert (again.parameters["lora_1_model"], again.parameters["lora_1_weight"]) == (name, 0.5)
    for source in (file, first):
        other = fooocus_nb.replay(source, demo, loras=[(name, 0.2)])[0]
        assert other.parameters["lora_1_weight"] == 0.2
    assert fooocus_nb.replay(file, demo, loras=[])[0].parameters["lora_1_model"] == "None"
    with pytest.raises(ConfigurationError, match="A str can't"):
        fooocus_nb.replay(file, "demo")


def test_a_path_in_a_manifest_is_not_followed(demo: Engine, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    PIL.Image.new("RGB", (64, 64), "red").save(secret)
    with open_run(tmp_path / "run") as run:
        demo.generate("a boat", seed=1, **SMALL)
        run.flush()
        manifest = next(run.manifests)
    parameters = {
        **manifest.parameters,
        "input_image_checkbox": True,
        "uov_input_image": str(secret),
        "uov_method": "Upscale (1.5x)",
    }
    path = tmp_path / "run" / "manifests" / manifest.name
    path.write_bytes(replace(manifest, parameters=parameters).to_json())
    with pytest.raises(ParameterError, match="no image of the run"):
        fooocus_nb.replay(path, demo)


def test_what_cannot_be_replayed_is_refused(demo: Engine, tmp_path: Path) -> None:
    (tmp_path / "000001-1a2b3c4d.json").write_text("{")
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    with pytest.raises(ParameterError, match="int can't be made again"):
        fooocus_nb.replay(3, demo)
    with pytest.raises(ParameterError, match="is a folder"):
        fooocus_nb.replay(tmp_path, demo)
    with pytest.raises(ParameterError, match=r"plain\.png"):
        fooocus_nb.replay(tmp_path / "plain.png", demo)
    with pytest.raises(RunError, match="can't be read"):
        fooocus_nb.replay(tmp_path / "000001-1a2b3c4d.json", demo)


# -- portable ---------------------------------------------------------------------------------


def test_a_generation_is_made_portable(demo: Engine, tmp_path: Path) -> None:
    wanted = {**SMALL, "seed": 5, "styles": ["Fooocus V2", "Fooocus Sharp"]}
    with open_run(tmp_path / "run") as run:
        with pytest.warns(UserWarning, match="portable") as told:
            result = demo.generate("a __color__ boat", portable=True, **wanted)
        assert len(run.images) == 1  # the small image that was asked first is none of it
    used = result[0].parameters
    assert used["sampler_name"] == "dpmpp_2m_sde"
    assert "__" not in used["prompt"]
    assert used["prompt"].count(",") == 4
    assert used["styles"] == ["Fooocus Sharp"]
    assert sum("portable" in str(warning.message) for warning in told) == 4
    with pytest.raises(ParameterError, match="Give image_number=1"):
        demo.generate("a __color__ boat", portable=True, **{**wanted, "image_number": 2})


def test_a_portable_job_is_submitted(demo: Engine, tmp_path: Path) -> None:
    """What was tried out before is no result of the engine, and no file in its output folder."""
    before, there = demo.last_result, set(demo.output_dir.iterdir())
    wanted = {**SMALL, "seed": 5, "styles": ["Fooocus V2"]}
    with pytest.warns(UserWarning, match="portable: the expanded prompt"):
        job = demo.submit("a boat", portable=True, **wanted)
    assert demo.last_result is before
    result = job.result()
    assert result.parameters["styles"] == []
    assert set(demo.output_dir.iterdir()) - there == set(result.paths)
    with pytest.raises(ParameterError, match="portable='yes'"):
        demo.submit("a boat", portable="yes")
    with pytest.warns(UserWarning, match="portable: the expanded prompt"):
        awaited = asyncio.run(demo.agenerate("a boat", portable=True, **wanted))
    assert awaited[0].sha256 == result[0].sha256


def test_a_sweep_is_made_portable(demo: Engine, tmp_path: Path) -> None:
    sweep = Sweep(prompt="a __color__ boat", seed=[1, 2], base=SMALL, portable=True)
    assert any("portable=True" in note for note in sweep.plan(demo).notes)
    run = sweep.run(demo, tmp_path / "run")
    assert {image.parameters["sampler_name"] for image in run.images} == {"dpmpp_2m_sde"}
    assert all("__" not in image.parameters["prompt"] for image in run.images)
    assert run.counts["made"] == 2
    assert run.verify(demo).ok
    run.close()
    problems = Sweep(prompt="a", base=SMALL, portable="yes").plan(demo).problems
    assert any("portable='yes'" in problem for problem in problems)


# -- from a shell -----------------------------------------------------------------------------


def test_the_command_says_what_was_shown(
    demo: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Sweep(prompt="a cat", seed=[1, 2], base=SMALL).run(demo, tmp_path / "run").close()
    monkeypatch.setenv("FOOOCUS_DEMO_STEP_SECONDS", "0")
    monkeypatch.setenv("FOOOCUS_DEMO_DIFFERS", "quiet-much")
    words = ["verify", str(tmp_path / "run"), "--demo", "--sample", "1", "--json"]
    assert main([*words, "--save", str(tmp_path / "again")]) == NOT_REPRODUCED
    data = json.loads(capsys.readouterr().out)
    assert [row["level"] for row in data["rows"]] == ["different"]
    assert data["badges"]["reproduced"] == {"shown": False, "name": "Results Reproduced"}
    assert len(open_run(tmp_path / "again", readonly=True).images) == 2  # tried once more
    assert main(["verify", str(tmp_path / "none"), "--demo"]) == 2
