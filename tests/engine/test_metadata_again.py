"""What an image says about itself makes the same image again."""

from __future__ import annotations

import json

import pytest
from PIL import Image

import fooocus_nb

SCHEMES = ("fooocus", "a1111")
ASKED = {
    "negative_prompt": "fog, rain: heavy",
    "styles": ["Fooocus V2", "Fooocus Sharp"],
    "performance": "Speed",
    "aspect_ratio": "1152x896",
    "seed": 2**62 + 1,
    "image_number": 1,
    "sharpness": 5.0,
    "guidance_scale": 6.5,
    "save_metadata_to_images": True,
}


def pixels(image):
    picture = image.open()
    return picture.mode, picture.size, picture.tobytes()


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("again")
    with fooocus_nb.start(
        demo=True, env={"FOOOCUS_DEMO_STEP_SECONDS": "0"}, output_dir=folder, timeout=30
    ) as engine:
        yield engine


@pytest.mark.parametrize(
    ("form", "scheme"),
    [
        *(("png", "fooocus"), ("jpeg", "a1111"), ("webp", "fooocus")),
        *(
            pytest.param(form, scheme, marks=pytest.mark.slow)
            for form, scheme in (("png", "a1111"), ("jpeg", "fooocus"), ("webp", "a1111"))
        ),
    ],
)
def test_an_image_is_made_again_from_its_file(engine, scheme, form):
    asked = {**ASKED, "metadata_scheme": scheme, "output_format": form}
    first = engine.generate('a "lighthouse" at dusk, Steps: 3', **asked)
    found = fooocus_nb.read_metadata(first[0].path)
    assert found.scheme == scheme
    # Of the format and of how many there were, a file says nothing.
    again = engine.generate(**found.parameters, image_number=1, output_format=form)
    assert pixels(again[0]) == pixels(first[0])
    assert again[0].seed == first[0].seed == ASKED["seed"]


def test_models_and_loras_are_named_as_the_file_does(engine):
    """Files name models without their extension; a server lists them with it."""
    names = [name for name in engine.parameters["lora_1_model"].choices if name != "None"]
    first = engine.generate(
        "a forest", loras=[(names[0], 0.5)], **{**ASKED, "metadata_scheme": "fooocus"}
    )
    found = fooocus_nb.read_metadata(first[0].path).parameters
    assert found["loras"] == [(names[0].removesuffix(".safetensors"), 0.5)]
    assert not found["base_model"].endswith(".safetensors")
    again = engine.generate(**found, image_number=1)
    assert pixels(again[0]) == pixels(first[0])
    assert again.parameters["base_model"] == first.parameters["base_model"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_a_file_of_any_verb_says_is_accepted(engine, scheme):
    small = {"width": 96, "height": 64, "steps": 1}
    photo = engine.generate("a pier", image_number=1, **small)[0]
    mask = Image.new("L", (96, 64))
    mask.paste(255, (0, 0, 40, 40))
    asked = {
        "image_number": 1,
        "overwrite_step": 1,
        "save_metadata_to_images": True,
        "metadata_scheme": scheme,
    }
    for made in (
        engine.upscale(Image.new("RGB", (1032, 64)), "2x", "a pier", **asked),
        engine.vary(photo, **asked),
        engine.inpaint(photo, mask, "a boat", **asked),
        engine.outpaint(photo, "left", **asked),
        engine.enhance(photo, [fooocus_nb.Enhance("face")], **asked),
    ):
        found = fooocus_nb.read_metadata(made[-1].path)
        assert found.scheme == scheme
        again = engine.generate(**found.parameters, image_number=1)
        assert again.parameters["prompt"] == made.parameters["prompt"]
        assert again[0].seed == made[-1].seed


def test_a_log_page_makes_its_images_again(engine, tmp_path):
    first = engine.generate("a canal in winter", **ASKED)
    raw = fooocus_nb.read_metadata(first[0].path).raw
    (tmp_path / "log.html").write_text(
        '<img src="x.png"><button onclick="to_clipboard(\''
        + json.dumps(raw).encode().hex(" ").upper().replace(" ", "%").join(["%", ""])
        + "')\">Copy</button>"
    )
    (entry,) = fooocus_nb.read_log(tmp_path / "log.html")
    again = engine.generate(**entry.metadata.parameters, image_number=1)
    assert pixels(again[0]) == pixels(first[0])


def test_a_file_is_told_how_it_was_made(engine, tmp_path):
    first = engine.generate("a bridge", **{**ASKED, "save_metadata_to_images": False})
    path = first[0].path
    before = pixels(first[0])
    fooocus_nb.write_metadata(path, first[0].parameters)
    assert pixels(first[0]) == before
    found = fooocus_nb.read_metadata(path)
    assert isinstance(found, fooocus_nb.Metadata)
    again = engine.generate(**found.parameters, image_number=1)
    assert pixels(again[0]) == before
