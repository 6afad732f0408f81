"""The magics for pictures, presets and catalogues in a real kernel, on a demo engine."""

from __future__ import annotations

import pytest
from IPython.core import completer

SIZE = "--size 96x64 --steps 1 -n 1"


@pytest.fixture(scope="module")
def photo(notebook):
    notebook.run(f"%%fooocus {SIZE} --seed 3 -o photo\na lighthouse, it's dusk")
    notebook.run("photo[0].open().save('photo.png')")
    return notebook


PROMPT = "a lighthouse, it's dusk"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("upscale photo --by 1.5x --steps 1", ["Upscale (1.5x)", "uov", PROMPT]),
        ("upscale photo[0] --steps 1 --by 'fast 2x'", ["Upscale (Fast 2x)", "uov", PROMPT]),
        (f"vary photo.png --strength strong {SIZE} it's 7", ["Vary (Strong)", "uov", "it's 7"]),
        (f"outpaint photo --sides left,top {SIZE}", ["Disabled", "inpaint", PROMPT]),
    ],
)
def test_a_line_begins_with_a_picture(photo, line, expected):
    cell = photo.run(f"made = %fooocus {line}")
    names = ("uov_method", "current_tab", "prompt")
    assert photo.value(f"[made[0].parameters[n] for n in {names}]") == expected
    assert len(cell.bundles) == 1


def test_a_mask_goes_into_a_cell(photo):
    cell = photo.run("%fooocus mask photo --detect light -o mask")
    assert "image/png" in cell.bundles[0]
    assert photo.value("[mask.mode, list(mask.size)]") == ["L", [96, 64]]
    photo.run(
        "%%fooocus inpaint photo[0] --mask mask --mode modify --invert -n 1 --steps 1 -o painted\n"
        "a door, (red:1.2)"
    )
    assert photo.value("painted.prompt") == "a door, (red:1.2)"
    assert photo.value("painted[0].parameters['inpaint_disable_initial_latent']") is True
    assert photo.value("painted[0].parameters['invert_mask_checkbox']") is True


def test_enhance_and_image_prompts(photo):
    photo.run("%fooocus enhance photo --detect face --detect 'left hand' -o better")
    assert photo.value("len(better)") == 2
    name = "better[0].parameters['enhance_2_mask_dino_prompt_text']"
    assert photo.value(name) == "left hand"
    photo.run(f"%%fooocus {SIZE} --image-prompt photo.png --image-prompt photo -o guided\na lake")
    assert photo.value("guided[0].parameters['ip_1_image']") == "photo.png"
    assert photo.value("guided[0].parameters['current_tab']") == "ip"


def test_describe(photo):
    cell = photo.run("words = %fooocus describe photo --as photo,anime -o same")
    assert photo.value("words == same and 'anime' in words")
    assert not cell.bundles


def test_presets_and_catalogues(photo):
    assert "The preset is initial" in photo.run("%fooocus preset").text
    cell = photo.run("%fooocus preset lightning")
    assert "Lightning" in cell.bundles[0]["text/html"]
    assert "performance_selection" in cell.bundles[0]["text/plain"]
    assert "The preset is lightning" in photo.run("%fooocus preset").text
    photo.run("%fooocus preset initial")
    assert "SAI Anime" in photo.run("%fooocus styles anime").bundles[0]["text/plain"]
    assert "juggernautXL" in photo.run("%fooocus models").bundles[0]["text/plain"]
    assert "offset" in photo.run("%fooocus loras").bundles[0]["text/plain"]
    assert "no difference" in photo.run("%fooocus refresh").bundles[0]["text/plain"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("%fooocus vary photos", "Did you mean 'photo'?"),
        ("%fooocus vary colors in a garden", "%fooocus generate vary ..."),
        ("%fooocus vary --strength subtle", "the image is missing"),
        ("%fooocus vary photo --stength subtle", "Did you mean '--strength'?"),
        ("%fooocus vary photo --strength sutble", "Did you mean 'subtle'?"),
        ("%fooocus upscale photo[7]", "photo[7] is not there"),
        ("%fooocus inpaint photo", "--mask"),
        ("%fooocus inpaint photo --mask photo.png --invert x --n 3", "Did you mean"),
        ("%fooocus upscale https://example.org/x.png", "allow_urls"),
        ("%fooocus preset lightnin", "Did you mean 'lightning'?"),
        ("%fooocus models walking on a runway", "%fooocus generate models walking on a runway"),
        ("%%fooocus vary\nx", "the image is missing"),
    ],
)
def test_mistakes(photo, code, told):
    cell = photo.run(code, fails=True)
    assert told in cell.error + cell.text
    assert "fooocus_nb/" not in cell.error


def test_a_result_of_several_images_needs_a_number(photo):
    photo.run("%fooocus --size 96x64 --steps 1 -n 2 -o pair a pair")
    cell = photo.run("%fooocus vary pair", fails=True)
    assert "say which, such as pair[0]" in cell.error + cell.text


def test_values_without_effect_are_told(photo):
    code = f"%fooocus {SIZE} --performance Lightning --set guidance_scale=9 a boat"
    assert "guidance_scale has no effect" in photo.run(code).text


@pytest.mark.skipif(
    not hasattr(completer, "context_matcher"), reason="matchers came with IPython 8.6"
)
def test_completion(photo):
    assert "photo.png" in photo.complete("%fooocus vary pho")
    assert "photo" in photo.complete("%fooocus upscale ")
    assert "lightning" in photo.complete("%fooocus preset li")
    assert "strong" in photo.complete("%fooocus vary photo --strength st")
    assert "photo" in photo.complete("%%fooocus inpaint photo --mask ph")
    assert "--detect" in photo.complete("%fooocus enhance photo --d")
    assert not photo.complete("%fooocus vary photo a bea")
