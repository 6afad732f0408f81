"""Causes are ranked by what can matter, by how much an image has changed, and by other images."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import PIL.Image
import pytest

from fooocus_nb.experiment.causes import (
    NOT_IN_MANIFESTS,
    Cause,
    Evidence,
    differences,
    ranked,
)
from fooocus_nb.experiment.hashing import pixel_facts, sha256
from fooocus_nb.experiment.manifest import ImageRecord, Manifest, ModelRecord
from fooocus_nb.experiment.relevance import flag_groups, gpu_sampler, parameter_matters
from fooocus_nb.experiment.similarity import compare_files

IMAGE = ImageRecord("images/000001-1a2b3c4d-1.png", 1, 7, "0" * 64, 9, 64, 64, "png", prompt="a")
PARAMETERS = {"prompt": "a", "sampler_name": "dpmpp_2m_sde", "freeu_enabled": False, "freeu_b1": 1}
FIRST = Manifest(
    run="r", attempt="1a2b3c4d" * 4, number=1, cell=None, tries=1, created="t", complete=True,
    parameters=PARAMETERS, given=("prompt",), seed=7, images=(IMAGE,),
    models=(ModelRecord("base_model", "x.safetensors", "a" * 64, 5),),
    fooocus={"version": "2.5.5", "fork": "a/Fooocus", "flags": ["--port", "1"], "preset": "p"},
    system={"torch": "2.1.0+cu121", "cuda": "12.1", "gpu": "RTX", "driver": None, "python": "3.10"},
    engine={"name": "e", "demo": False, "owned": True},
)  # fmt: skip


def kinds(changed: dict[str, Any], *, little: bool = False, image: Any = IMAGE) -> list[str]:
    after = replace(FIRST, **changed)
    return [cause.kind for cause in ranked(differences(FIRST, after, IMAGE, image), little=little)]


def system(**facts: Any) -> dict[str, Any]:
    return {"system": {**FIRST.system, **facts}}


def fooocus(**facts: Any) -> dict[str, Any]:
    return {"fooocus": {**FIRST.fooocus, **facts}}


MODEL = {"models": (ModelRecord("base_model", "x.safetensors", "b" * 64, 5),)}


@pytest.mark.parametrize(
    ("changed", "little", "expected"),
    [
        ({}, False, [NOT_IN_MANIFESTS]),
        # What isn't known on one side is no difference, and a port makes no image.
        (system(driver="550"), False, [NOT_IN_MANIFESTS]),
        (fooocus(flags=["--port", "2"]), False, [NOT_IN_MANIFESTS, "flag"]),
        (system(python="3.11"), False, [NOT_IN_MANIFESTS, "Python"]),
        (fooocus(preset="q"), True, [NOT_IN_MANIFESTS, "preset"]),
        # Rounding changes a little, and content much.
        ({**MODEL, **system(torch="2.2")}, False, ["model hash", "torch"]),
        ({**MODEL, **system(torch="2.2")}, True, ["torch", "model hash"]),
        # One follows from the other.
        (system(torch="2.4+cu124", cuda="12.4"), True, ["torch", "CUDA"]),
        (system(torch="2.1.0+cu118", cuda="11.8"), True, ["CUDA"]),
        (fooocus(version="2.4", fork="b/Fooocus"), False, ["fork", "version"]),
        (
            {**fooocus(flags=["--attention-split"]), **system(gpu="A100")},
            True,
            ["flag", "GPU", "flag"],
        ),
    ],
)
def test_the_likeliest_cause_comes_first(changed: Any, little: bool, expected: list[str]) -> None:
    assert kinds(changed, little=little) == expected


def test_noise_of_the_gpu_goes_before_the_gpu() -> None:
    before = replace(FIRST, parameters={**PARAMETERS, "sampler_name": "dpmpp_2m_sde_gpu"})
    after = replace(before, **system(gpu="A100"))
    found = ranked(differences(before, after, IMAGE, IMAGE), little=False)
    assert [cause.kind for cause in found] == ["GPU noise", "GPU"]
    assert "portable=True" in found[0].text


def test_prompts_and_parameters() -> None:
    other = replace(IMAGE, prompt="b", expansion="b, c")
    found = differences(FIRST, FIRST, replace(IMAGE, expansion="a, c"), other)
    assert [cause.kind for cause in found] == ["wildcard file", "prompt expansion"]
    found = differences(FIRST, FIRST, IMAGE, IMAGE, missing=("sampler_name", "freeu_b1"))
    assert [(cause.kind, cause.matters) for cause in found] == [
        ("parameter missing here", True), ("parameter missing here", False)
    ]  # fmt: skip


def test_other_images_say_what_it_is_not() -> None:
    driver, model = Cause("driver", "driver", "1", "2"), Cause("model hash", "m", "1", "2")
    evidence = {driver.key: Evidence(same=0, close=0, different=3), model.key: Evidence(5, 0, 3)}
    found = ranked([model, driver], little=False, evidence=evidence)
    assert [cause.kind for cause in found] == ["driver", "model hash"]
    # Where all that differs is there with images of the same pixels, it is something else.
    evidence = {driver.key: Evidence(same=9, close=0, different=1)}
    assert ranked([driver], little=False, evidence=evidence)[0].kind == NOT_IN_MANIFESTS


def test_what_can_change_pixels() -> None:
    values = {"enhance_checkbox": False, "freeu_enabled": True, "performance_selection": "Hyper-SD"}
    assert parameter_matters("freeu_b1", values)
    assert not parameter_matters("enhance_1_prompt", values)
    assert not parameter_matters("disable_preview", values)
    assert parameter_matters("something_of_a_fork", values)
    assert gpu_sampler(values) == "dpmpp_sde_gpu"
    assert flag_groups(["--port=1", "--share", "--gpu-device-id", "0"]) == {
        "--port": "1", "--share": "", "--gpu-device-id": "0"
    }  # fmt: skip


# -- pixels -----------------------------------------------------------------------------------


def png(image: PIL.Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def record(data: bytes) -> ImageRecord:
    facts = pixel_facts(data)
    return replace(
        IMAGE, sha256=sha256(data), width=facts.width, height=facts.height,
        pixels_sha256=facts.pixels_sha256, dhash=facts.dhash,
    )  # fmt: skip


def test_images_are_compared_at_four_levels() -> None:
    image = PIL.Image.radial_gradient("L").convert("RGB")
    first = png(image)
    assert compare_files(record(first), first, first).level == "bytes"
    packed = compare_files(record(first), first, png(image, compress_level=0))
    assert (packed.level, packed.psnr, packed.reasons["psnr"][:8]) == ("pixels", None, "infinite")
    little = png(image.point(lambda level: min(255, level + 2)))
    close = compare_files(record(first), first, little)
    assert (close.level, close.largest_difference) == ("close", 2)
    assert close.psnr == pytest.approx(42.1, abs=0.2)
    much = compare_files(record(first), first, png(image.point(lambda level: 255 - level)))
    assert (much.level, much.largest_difference) == ("different", 255)
    # Of an archive without originals there are hashes only.
    assert compare_files(record(first), None, little).level == "close"
    assert "hashes" in compare_files(record(first), None, little).reasons["psnr"]
    smaller = compare_files(record(first), first, png(image.resize((64, 64))))
    assert (smaller.level, smaller.psnr) == ("different", None)
    assert "256x256 before, 64x64 now" in smaller.reasons["psnr"]
