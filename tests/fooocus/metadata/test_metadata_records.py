"""Records as people really have them: of every version, of forks, saved again by other programs."""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image, PngImagePlugin

from fooocus_nb.errors import MetadataError
from fooocus_nb.fooocus.metadata import (
    encode_metadata,
    parse_log,
    parse_metadata,
    read_log,
    read_metadata,
    write_metadata,
)

IMAGES = Path(__file__).resolve().parents[4] / "shared" / "fooocus" / "images"
OWN = {
    "Extreme Speed": "sdxl_lcm_lora",
    "Lightning": "sdxl_lightning_4step_lora",
    "Hyper-SD": "sdxl_hyper_sd_4step_lora",
}
A1111 = "a cat\nNegative prompt: fog\nSteps: 20, Sampler: Euler, Schedule type: Karras, Seed: 1"


def parameters(text: str | dict[str, Any], scheme: str | None = None) -> dict[str, Any]:
    text = text if isinstance(text, str) else json.dumps(text)
    return dict(parse_metadata(text, scheme).parameters)


def complete(**more: Any) -> dict[str, Any]:
    """Return a whole record of 2.5.5, as the scheme fooocus has it."""
    return {
        "adm_guidance": "(1.5, 0.8, 0.3)",
        "base_model": "m",
        "clip_skip": 2,
        "guidance_scale": 4.0,
        "loras": [],
        "negative_prompt": "",
        "performance": "Speed",
        "prompt": "a cat",
        "refiner_model": "None",
        "refiner_switch": 0.5,
        "resolution": "(1152, 896)",
        "sampler": "euler",
        "scheduler": "karras",
        "seed": "5",
        "sharpness": 2.0,
        "steps": 30,
        "styles": "['SAI Anime']",
        "version": "Fooocus v2.5.5",
        **more,
    }


# -- LoRAs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "loras"),
    [
        ({"lora_combined_1": "a : 0.1", "loras": [["a", 0.1, "hash"]]}, [("a", 0.1)]),
        (
            {"lora_combined_1": "x/a.safetensors : 0.1", "loras": [["a", 0.1, "hash"]]},
            [("a", 0.1)],
        ),
        (  # one file twice, with two weights
            {
                "loras": [["a", 0.1, "h"], ["a", 0.5, "h"]],
                "lora_combined_1": "a : 0.1",
                "lora_combined_2": "a : 0.5",
            },
            [("a", 0.1), ("a", 0.5)],
        ),
        ({"loras": []}, []),
        ({"lora_combined_1": "True : a : 0.5", "lora_combined_2": "False : b : 0.5"}, [("a", 0.5)]),
        ({"lora_combined_1": "None : 1.0"}, []),
        ({"LoRA [x-Y z.safetensors] weight": 0.1}, [("x-Y z.safetensors", 0.1)]),
        ({"LoRA [a [b]: c.safetensors] weight": "-0.5"}, [("a [b]: c.safetensors", -0.5)]),
        ({"LoRA 1": "x.safetensors : 0.1"}, [("x.safetensors", 0.1)]),
        ({"LoRA": "x.safetensors : 0.1"}, [("x.safetensors", 0.1)]),
        ({"loras": [["BFA3BB", "0.5 - moi\\h-b.safetensors"]]}, [("moi\\h-b.safetensors", 0.5)]),
        ({"loras": "Loras:<a.safetensors:0.5>,<b:-1.0>"}, [("a.safetensors", 0.5), ("b", -1.0)]),
        ({"loras": "Loras:"}, []),
        ({"loras": [{"name": "a", "weight": 0.5}]}, [("a", 0.5)]),
        ({"loras": [[True, "a", 0.5], [False, "b", 1.0]]}, [("a", 0.5)]),
        ({"l1": "None", "w1": 0.5, "l2": "a.safetensors", "w2": 0.3}, [("a.safetensors", 0.3)]),
    ],
)
def test_loras_in_every_spelling(record: dict[str, Any], loras: list[Any]) -> None:
    assert parameters(record)["loras"] == loras


def test_a_record_without_a_word_of_loras_says_nothing_unless_it_is_fooocuss_own() -> None:
    assert "loras" not in parameters({"prompt": "x"})
    whole = complete()
    del whole["loras"]  # as a log page has it
    assert parameters(whole)["loras"] == []
    assert parameters("x\nSteps: 3, Seed: 1, Version: Fooocus v2.3.1")["loras"] == []
    assert "loras" not in parameters("x\nSteps: 3, Seed: 1, Version: v1.10.1")


@pytest.mark.parametrize("mode", OWN)
@pytest.mark.parametrize("name", ["{}.safetensors", "{}"])
def test_the_performances_own_lora_is_left_out(mode: str, name: str) -> None:
    own = name.format(OWN[mode])
    assert parameters({"performance": mode, "lora_combined_1": f"{own} : 1.0"})["loras"] == []
    both = {
        "performance": mode,
        "loras": [["a", 0.5, "h"], [OWN[mode], 0.8, "h"]],
        "lora_combined_1": "a : 0.5",
        "lora_combined_2": f"{OWN[mode]} : 0.8",
    }
    assert parameters(both)["loras"] == [("a", 0.5)]
    text = f'x\nSteps: 4, Performance: {mode}, Lora weights: "a: 0.5, {own}: 1.0", Seed: 1'
    assert parameters(text)["loras"] == [("a", 0.5)]
    chosen = {"performance": mode, "loras": [[own, 0.3, "h"], [own, 1.0, "h"]]}
    assert parameters(chosen)["loras"] == [(own, 0.3)]


@pytest.mark.parametrize(
    "version",
    ["FooocusPlus 1.0.0", "1.0.9.Hotfix 2", "Fooocus v0.2", "Fooocus v2.6.5 (mashb1t)", "", None],
)
def test_the_log_of_a_fork_says_that_there_is_no_lora_by_naming_none(version: str | None) -> None:
    whole = complete(vae="Default (model)", version=version)
    del whole["loras"], whole["clip_skip"]
    found = parse_metadata(json.dumps(whole))
    assert found.parameters["loras"] == []
    assert found.parameters["clip_skip"] == 1
    assert found.missing == ()
    with_one = parameters({**whole, "lora_combined_1": "a.safetensors : 0.1"})
    assert with_one["loras"] == [("a.safetensors", 0.1)]


def test_a_fork_of_an_older_fooocus_has_no_clip_skip_and_may_lack_the_steps() -> None:
    whole = complete(version="0.2")
    del whole["loras"], whole["clip_skip"]
    found = parse_metadata(json.dumps(whole))
    assert "clip_skip" not in found.parameters
    assert found.missing == ()
    del whole["steps"]
    assert "overwrite_step" in parse_metadata(json.dumps(whole)).missing


def test_a_lora_of_another_performance_is_the_users() -> None:
    record = {"performance": "Speed", "loras": [["sdxl_lcm_lora", 1.0, "h"]]}
    assert parameters(record)["loras"] == [("sdxl_lcm_lora", 1.0)]


def test_the_loras_of_2_2_0_stand_beside_their_hashes() -> None:
    text = 'x\nSteps: 3, Seed: 1, Lora hashes: "a: abcdef1234: 0.5, b: 12345678: 1.0"'
    assert parameters(text)["loras"] == [("a", 0.5), ("b", 1.0)]
    comma = 'x\nSteps: 3, Seed: 1, Lora hashes: "a: abcd1234: -0.5, b, c: 1234: 1.0, d: 1234: 1"'
    assert parameters(comma)["loras"] == [("a", -0.5), ("b, c", 1.0), ("d", 1.0)]
    plain = 'x\nSteps: 3, Seed: 1, Lora hashes: "a: abcdef1234"'  # A1111: the prompt has weights
    assert "loras" not in parameters(plain)


@pytest.mark.recorded
def test_a_real_file_with_a_lora() -> None:
    found = read_metadata(IMAGES / "fooocus-scheme-with-lora.png")
    assert found.parameters["loras"] == [("tiny-lora", 0.7)]
    assert found.missing == ()


@pytest.mark.parametrize("scheme", ["fooocus", "a1111"])
def test_slots_and_bare_names_are_written_as_loras(scheme: str) -> None:
    slots = {
        "lora_1_enabled": True, "lora_1_model": "a.safetensors", "lora_1_weight": 0.5,
        "lora_2_enabled": False, "lora_2_model": "b.safetensors", "lora_2_weight": 0.5,
        "lora_3_enabled": True, "lora_3_model": "None", "lora_3_weight": 1.0,
    }  # fmt: skip
    assert parameters(encode_metadata(slots, scheme))["loras"] == [("a.safetensors", 0.5)]
    assert parameters(encode_metadata({"loras": ["a"]}, scheme))["loras"] == [("a", 1.0)]
    assert parameters(encode_metadata({"loras": []}, scheme))["loras"] == []


# -- plain text -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sampler", "scheduler"),
    [
        ("Sampler: DPM++ 2M Karras", "dpmpp_2m", "karras"),
        ("Sampler: DPM++ 2M, Schedule type: Karras", "dpmpp_2m", "karras"),
        ("Sampler: DPM++ 2M SDE Exponential", "dpmpp_2m_sde_gpu", "exponential"),
        ("Sampler: Euler A SGMUniform", "euler_ancestral", "sgm_uniform"),
        ("Sampler: DPM++ SDE, Schedule type: SGM Uniform", "dpmpp_sde_gpu", "sgm_uniform"),
        ("Sampler: Euler, Schedule type: Align Your Steps", "euler", "align_your_steps"),
        ("Sampler: Euler, Schedule type: Simple", "euler", "simple"),
        ("Sampler: LCM, Schedule type: DDIM", "lcm", "ddim_uniform"),
        ("Sampler: Euler Karras, Scheduler: normal", "euler", "normal"),
        ("Sampler: dpmpp_3m_sde, Scheduler: edm_playground_v2.5", "dpmpp_3m_sde",
         "edm_playground_v2.5"),
    ],
)  # fmt: skip
def test_samplers_and_schedules_of_other_programs(
    settings: str, sampler: str, scheduler: str
) -> None:
    found = parse_metadata(f"a\nSteps: 20, {settings}, Seed: 1")
    assert found.parameters["sampler"] == sampler
    assert found.parameters["scheduler"] == scheduler
    assert found.missing == ("style_selections",)


@pytest.mark.parametrize("schedule", ["", ", Schedule type: Automatic"])
def test_a_schedule_that_is_left_to_the_sampler_is_missing(schedule: str) -> None:
    found = parse_metadata(f"a\nSteps: 20, Sampler: Euler a{schedule}, Seed: 1")
    assert "scheduler" not in found.parameters
    assert found.missing == ("style_selections", "scheduler_name")


@pytest.mark.parametrize(
    ("text", "prompt", "negative"),
    [
        ("Negative prompt: blur\nSteps: 20, Seed: 2", "", "blur"),
        ("Negative prompt:\nSteps: 20, Seed: 2", "", ""),
        ("Steps: 20, Seed: 2", "", ""),
        ("a\nb\nNegative prompt: c\nd\nSteps: 20, Seed: 2", "a\nb", "c\nd"),
        ("a\r\nb\r\nNegative prompt: c\r\nSteps: 20, Seed: 2\r\n", "a\nb", "c"),
        ("a\nSteps: 20, Seed: 2\n\n", "a", ""),
        ("a\nSteps: 20, Seed: 2\nTemplate: {a|b}\nNegative Template: c", "a", ""),
        ("a\nSteps: 7, he said\nSteps: 20, Seed: 2", "a\nSteps: 7, he said", ""),
        ("\ufeffa\nSteps: 20, Seed: 2\0", "a", ""),
    ],
)
def test_the_lines_of_a_plain_text(text: str, prompt: str, negative: str) -> None:
    found = parameters(text)
    assert (found["prompt"], found["negative_prompt"]) == (prompt, negative)
    assert (found["overwrite_step"], found["image_seed"]) == (20, "2")


@pytest.mark.parametrize(
    ("settings", "prompt"),
    [
        ('Raw prompt: "lighthouse", Seed: 2', '"lighthouse"'),  # the quotes are the prompt's
        ('Raw prompt: "big" and "small", Seed: 2', '"big" and "small"'),
        ('Raw prompt: "open, Seed: 2', '"open'),
        ('Raw prompt: "a, \\"b\\": c", Seed: 2', 'a, "b": c'),
        ("Raw prompt, Seed: 2", "Raw prompt"),
        ("Raw prompt: , Seed: 2", ""),
    ],
)
def test_fooocus_quotes_for_commas_colons_and_new_lines_alone(settings: str, prompt: str) -> None:
    found = parameters(f"full prompt\nSteps: 20, {settings}")
    assert (found["prompt"], found["image_seed"]) == (prompt, "2")


def test_an_unquoted_list_does_not_hide_what_follows() -> None:
    text = 'a\nSteps: 20, Civitai resources: [{"type":"x","weight":1},{"a":2}], Seed: 2'
    assert parameters(text)["image_seed"] == "2"


def test_the_labels_of_fooocuss_plain_text() -> None:
    text = (
        "a\nSteps: 20, Seed: 2, Refiner: r [abcdef1234], Refiner hash: abcdef1234, "
        'Refiner switch at: 0.7, Adaptive CFG: 5.0, Overwrite Switch: 12, FreeU: "(1, 2, 3, 4)", '
        "Refiner Swap Method: vae"
    )
    found = parameters(text)
    assert found["refiner_model"] == "r"
    assert found["refiner_switch"] == 0.7
    assert found["adaptive_cfg"] == 5.0
    assert found["overwrite_switch"] == 12
    assert found["refiner_swap_method"] == "vae"
    assert (found["freeu_enabled"], found["freeu_s2"]) == (True, 4)


# -- JSON of forks and of old versions --------------------------------------------------------


def test_keys_of_old_log_pages() -> None:
    found = parameters(
        {"CFG Mimicking from TSNR": 5.5, "overwrite_switch": 12.0, "Overwrite Step": 1}
    )
    assert (found["adaptive_cfg"], found["overwrite_switch"]) == (5.5, 12)


def test_a_record_of_ruined_fooocus() -> None:
    found = parameters(
        {
            "Prompt": "a", "Negative": "b", "steps": 24, "cfg": 4.5, "width": 1024, "height": 768,
            "seed": 7, "sampler_name": "dpmpp_2m", "scheduler": "simple", "denoise": None,
            "base_model_name": "j.safetensors", "loras": [["BFA3", "1.0 - h.safetensors"]],
            "start_step": 0, "software": "RuinedFooocus",
        }
    )  # fmt: skip
    assert found == {
        "prompt": "a", "negative_prompt": "b", "overwrite_step": 24, "guidance_scale": 4.5,
        "overwrite_width": 1024, "overwrite_height": 768, "image_seed": "7",
        "sampler_name": "dpmpp_2m", "scheduler_name": "simple", "base_model": "j.safetensors",
        "loras": [("h.safetensors", 1.0)],
    }  # fmt: skip


def test_a_record_of_mre() -> None:
    record = {
        "prompt": "a", "styles": ["x"], "real_prompt": ["a, b"], "seed": 7, "width": 896,
        "height": 1152, "cfg": 7.0, "switch": 20, "freeu": False, "img2img": False,
        "l1": "a.safetensors", "w1": 0.5, "l2": "None", "w2": 0.5,
    }  # fmt: skip
    found = parse_metadata(json.dumps(record))
    assert found.missing == ()
    assert found.parameters["loras"] == [("a.safetensors", 0.5)]
    assert found.parameters["freeu_enabled"] is False
    assert found.parameters["width"] == 896
    changed = parse_metadata(json.dumps({**record, "freeu": True, "img2img": True}))
    assert changed.missing == ("freeu_b1", "freeu_b2", "freeu_s1", "freeu_s2", "input_image")
    assert found.parameters["overwrite_switch"] == 20
    more = {"prompt_expansion": True, "base_clip_skip": -2, "revision": True}
    expanded = parse_metadata(json.dumps({**record, **more}))
    assert expanded.parameters["styles"] == ["Fooocus V2", "x"]
    assert expanded.parameters["clip_skip"] == 2
    assert expanded.missing == ("input_image",)


@pytest.mark.parametrize("text", ['{"Prompt": "a", "Seed": "5"}', "a\nSteps: 3, Seed: 5"])
def test_the_scheme_simple(text: str) -> None:
    found = parse_metadata(text, "simple")
    assert found.scheme == ("fooocus" if text.startswith("{") else "a1111")
    assert (found.parameters["prompt"], found.parameters["seed"]) == ("a", "5")


# -- what is missing --------------------------------------------------------------------------


def test_a_whole_record_misses_nothing() -> None:
    found = parse_metadata(json.dumps(complete()))
    assert found.missing == ()
    assert type(found.parameters["seed"]) is str


@pytest.mark.parametrize("name", ["sampler", "guidance_scale", "styles", "resolution"])
def test_what_fooocus_always_writes_is_missed(name: str) -> None:
    record = complete()
    del record[name]
    assert parse_metadata(json.dumps(record)).missing
    record["version"] = ""  # somebody's own record tells what he wanted it to tell
    assert parse_metadata(json.dumps(record)).missing == ()


def test_what_fooocus_leaves_out_because_it_is_off() -> None:
    record = complete()
    del record["clip_skip"], record["steps"]
    found = parse_metadata(json.dumps(record))
    assert (found.parameters["clip_skip"], found.parameters["steps"]) == (1, 30)
    assert found.missing == ()
    old = parse_metadata(json.dumps({**record, "version": "Fooocus v2.3.1"}))
    assert "clip_skip" not in old.parameters  # there was none
    text = parse_metadata("x\nSteps: 3, Seed: 1, Version: Fooocus v2.5.5")
    assert text.parameters["refiner_model"] == "None"


def test_the_log_of_2_2_0_has_no_steps() -> None:
    """From 2.2.1 on they are left out where they are the performance mode's own."""
    record = complete()
    del record["steps"]
    for version in ("Fooocus v2.2.0", "Fooocus v2.2.0-rc1"):
        found = parse_metadata(json.dumps({**record, "version": version}))
        assert "steps" not in found.parameters
        assert found.missing == ("overwrite_step",)
    later = parse_metadata(json.dumps({**record, "version": "Fooocus v2.2.1"}))
    assert later.parameters["steps"] == 30


@pytest.mark.parametrize("scheme", ["fooocus", "a1111"])
def test_a_refiners_settings_are_left_out_where_they_are_off(scheme: str) -> None:
    """What a server's own preset has for them must not take their place."""
    text = encode_metadata(complete(refiner_model="r"), scheme)
    found = parameters(text)
    assert (found["overwrite_switch"], found["refiner_swap_method"]) == (-1, "joint")
    chosen = complete(refiner_model="r", overwrite_switch=12, refiner_swap_method="vae")
    found = parameters(encode_metadata(chosen, scheme))
    assert (found["overwrite_switch"], found["refiner_swap_method"]) == (12, "vae")
    assert "overwrite_switch" not in parameters(complete())  # without one it does nothing


@pytest.mark.parametrize("version", ["v2.1.864", "v2.1.852"])
def test_each_name_is_missing_once(version: str) -> None:
    record = complete(version=version, refiner_model="r")
    del record["steps"]
    missing = parse_metadata(json.dumps(record)).missing
    assert sorted(missing) == sorted(set(missing))
    assert set(missing) == {
        *("overwrite_step", "adaptive_cfg", "freeu_enabled"),
        *("overwrite_switch", "refiner_swap_method"),
    }


def test_a_refiner_in_plain_text_lacks_its_switch() -> None:
    found = parse_metadata("x\nSteps: 3, Seed: 1, Refiner: r, Version: Fooocus v2.5.5")
    assert "refiner_switch" in found.missing


@pytest.mark.parametrize(
    "more",
    [
        {"upscale_fast": "2x"},
        {"resolution": "(2304, 1792)"},
        {"resolution": "(1728, 1344)", "steps": 18},
        {"input_image": "a.png"},
        {"denoise": 0.5},
        {"uov_method": "Vary (Subtle)"},
        {"inpaint": True},
        {"image_prompt_1": "x.png"},
        {"input_image_checkbox": True},
    ],
)
def test_an_image_that_it_was_made_from_is_missing(more: dict[str, Any]) -> None:
    found = parse_metadata(json.dumps(complete(**more)))
    assert found.missing == ("input_image",)
    assert found.parameters["seed"].missing == ("input_image",)


@pytest.mark.parametrize(
    "more",
    [
        {"steps": 18},
        {"resolution": "(1728, 1344)"},
        {"denoise": 1.0},
        {"uov_method": "Disabled"},
        {"img2img": False},
        {"inpaint_engine": "v2.6"},
        {"hires_upscale": 2, "denoising_strength": 0.5},
        {"input_image_checkbox": False, "uov_method": "Vary (Subtle)"},
    ],
)
def test_a_text_to_image_is_not_mistaken(more: dict[str, Any]) -> None:
    assert parse_metadata(json.dumps(complete(**more))).missing == ()


def plain(prompt: str, negative: str = "fog") -> str:
    """Return the plain text of 2.5.5, in which quotes are for commas, colons and new lines."""

    def quoted(text: str) -> str:
        return json.dumps(text, ensure_ascii=False) if set(text) & set(",:\n") else text

    return (
        f"{prompt}\nNegative prompt: {negative}\nSteps: 30, Sampler: DPM++ 2M SDE Karras, Seed: 5, "
        'Size: 1152x896, CFG scale: 4.0, Sharpness: 2.0, ADM Guidance: "(1.5, 0.8, 0.3)", '
        f"Model: m, Performance: Speed, Scheduler: karras, VAE: Default (model), "
        f"Raw prompt: {quoted(prompt)}, Raw negative prompt: {quoted(negative)}, Clip skip: 2, "
        "Version: Fooocus v2.5.5"
    )


def fooocuss_own(kind: str, text: str) -> bytes:
    """Return an image with a text as Fooocus writes it: into EXIF by Pillow, so in ASCII."""
    if kind == "png":
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", text)
        info.add_text("fooocus_scheme", "a1111")
        return image(kind, pnginfo=info)
    exif = Image.Exif()
    exif[0x9286], exif[0x0131], exif[0x927C] = text, "Fooocus v2.5.5", "a1111"
    return image(kind, exif=exif)


LETTERS = ["灯塔 at dusk", "München, fog", "café, warm light", "Ångström", "Москва", "a 🦊🦊"]


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
@pytest.mark.parametrize("prompt", LETTERS)
def test_letters_that_fooocus_lost_are_missing(tmp_path: Path, kind: str, prompt: str) -> None:
    file = tmp_path / "x.bin"
    file.write_bytes(fooocuss_own(kind, plain(prompt)))
    found = read_metadata(file)
    assert found.parameters["prompt"] == prompt.encode("ascii", "replace").decode()
    assert set(found.missing) == {"style_selections", "prompt"}
    assert found.parameters["prompt"].missing == found.missing
    file.write_bytes(fooocuss_own(kind, plain("a lighthouse", prompt)))
    assert set(read_metadata(file).missing) == {"style_selections", "negative_prompt"}


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-8-as-ascii"])
def test_lost_letters_stay_lost_when_a_viewer_saves_the_file(tmp_path: Path, coding: str) -> None:
    lost = plain("?? at dusk")
    file = tmp_path / "x.jpeg"
    file.write_bytes(image("jpeg", exif=exif_of(COMMENTS[coding](lost))))
    assert "prompt" in read_metadata(file).missing
    file.write_bytes(image("jpeg", exif=exif_of(COMMENTS[coding](plain("what?? Ü")))))
    assert read_metadata(file).missing == ("style_selections",)


@pytest.mark.parametrize("prompt", ["who is it?", "why? because, that is why"])
def test_a_question_is_no_lost_letter(tmp_path: Path, prompt: str) -> None:
    file = tmp_path / "x.jpeg"
    file.write_bytes(fooocuss_own("jpeg", plain(prompt)))
    assert read_metadata(file).missing == ("style_selections",)


@pytest.mark.parametrize("prompt", [*LETTERS, "what?? no"])
def test_a_png_keeps_all_letters(tmp_path: Path, prompt: str) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(fooocuss_own("png", plain(prompt)))
    found = read_metadata(file)
    assert found.parameters["prompt"] == prompt
    assert found.missing == ("style_selections",)


# -- what is another program's ----------------------------------------------------------------

OTHERS = {
    "ComfyUI": [
        {"3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 20, "cfg": 8.0}}},
        {"last_node_id": 9, "nodes": [], "links": [], "version": 0.4},
    ],
    "InvokeAI": [
        {
            "generation_mode": "sdxl_txt2img", "positive_prompt": "a cat", "seed": 5, "steps": 30,
            "cfg_scale": 7.0, "model": {"name": "x", "base": "sdxl"}, "app_version": "4.2.0",
        },
        {"model_weights": "stable-diffusion-1.5", "image": {"seed": 42, "steps": 50}},
    ],
    "SwarmUI": [{"sui_image_params": {"prompt": "a cat", "seed": 5}}],
    "another program": [{"uc": "fog", "request_type": "PromptGenerateRequest"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("program", "record"), [(name, record) for name in OTHERS for record in OTHERS[name]]
)
def test_another_programs_record_is_called_so(program: str, record: dict[str, Any]) -> None:
    with pytest.raises(MetadataError, match=program):
        parse_metadata(json.dumps(record))


@pytest.mark.parametrize(
    ("chunk", "program"),
    [
        *(("invokeai_metadata", "InvokeAI"), ("sd-metadata", "InvokeAI"), ("Dream", "InvokeAI")),
        *(("prompt", "ComfyUI"), ("workflow", "ComfyUI")),
    ],
)
def test_another_programs_file_is_called_so(tmp_path: Path, chunk: str, program: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text(chunk, '{"seed": 5}')
    file = tmp_path / "x.png"
    file.write_bytes(image("png", pnginfo=info))
    with pytest.raises(MetadataError, match=f"no metadata of Fooocus, but of {program}"):
        read_metadata(file)
    write_metadata(file, {"prompt": "ours"})
    assert read_metadata(file).parameters == {"prompt": "ours"}


def test_civitais_resources_have_commas_and_labels_of_their_own() -> None:
    resources = json.dumps(
        [
            {"type": "checkpoint", "modelVersionId": 456, "modelName": "J, VAE: x, Model: y"},
            {"type": "lora", "weight": 0.8, "modelName": "a, Scheduler: lcm"},
        ]
    )
    text = (
        "a cat\nNegative prompt: fog\nSteps: 30, Sampler: Euler, Schedule type: Karras, Seed: 1, "
        f"Civitai resources: {resources}, Civitai metadata: {{}}, Size: 1024x768"
    )
    found = parse_metadata(text)
    assert "vae" not in found.parameters
    assert found.parameters["scheduler"] == "karras"
    assert found.parameters["width"] == 1024
    assert found.missing == ("style_selections", "base_model", "loras")


# -- where other programs put it --------------------------------------------------------------


def image(kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, kind, **options)
    return stream.getvalue()


def exif_of(comment: bytes, **more: Any) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    exif.get_ifd(0x8769)[0x9286] = comment
    for tag, value in more.items():
        exif.get_ifd(0x8769)[int(tag[1:], 16)] = value
    return exif


UNICODE, ASCII = b"UNICODE\0", b"ASCII\0\0\0"
JSON = json.dumps({"prompt": "灯塔, é", "seed": "5"}, ensure_ascii=False)
PLAIN = f"灯塔, é\n{A1111.partition(chr(10))[2]}"
COMMENTS = {
    "utf-16-be": lambda text: UNICODE + text.encode("utf-16-be"),
    "utf-16-le": lambda text: UNICODE + text.encode("utf-16-le"),
    "utf-16-le-padded": lambda text: UNICODE + text.encode("utf-16-le") + b"\0\0",
    "utf-16-bom-le": lambda text: UNICODE + b"\xff\xfe" + text.encode("utf-16-le"),
    "utf-16-bom-be": lambda text: UNICODE + b"\xfe\xff" + text.encode("utf-16-be"),
    "utf-8-as-unicode": lambda text: UNICODE + text.encode(),
    "utf-8-as-ascii": lambda text: ASCII + text.encode(),
    "utf-8-bom": lambda text: ASCII + b"\xef\xbb\xbf" + text.encode(),
    "utf-8-undefined": lambda text: b"\0" * 8 + text.encode() + b"\0",
    "utf-8-bare": lambda text: text.encode(),
    "utf-16-bare": lambda text: text.encode("utf-16"),
}


@pytest.mark.parametrize("text", [JSON, PLAIN], ids=["json", "plain"])
@pytest.mark.parametrize("coding", COMMENTS)
@pytest.mark.parametrize("kind", ["jpeg", "webp", "png"])
def test_a_comment_in_exifs_own_directory(
    tmp_path: Path, kind: str, coding: str, text: str
) -> None:
    file = tmp_path / f"x.{kind}"
    file.write_bytes(image(kind, exif=exif_of(COMMENTS[coding](text))))
    found = read_metadata(file)
    assert found.text == text
    assert found.parameters["prompt"] == "灯塔, é"


def test_a_cameras_notes_are_no_scheme(tmp_path: Path) -> None:
    file = tmp_path / "x.jpeg"
    exif = exif_of(ASCII + JSON.encode(), x927C=b"Camera\0\1\2")
    file.write_bytes(image("jpeg", exif=exif))
    assert read_metadata(file).parameters["prompt"] == "灯塔, é"
    file.write_bytes(image("jpeg", exif=exif_of(ASCII + A1111.encode(), x927C=b"a1111")))
    assert read_metadata(file).scheme == "a1111"


@pytest.mark.parametrize("text", [JSON, PLAIN], ids=["json", "plain"])
def test_a_comment_of_the_file_itself(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.png"
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text)
    file.write_bytes(image("png", pnginfo=info))
    assert read_metadata(file).text == text
    file.write_bytes(image("jpeg", comment=text.encode()))
    assert read_metadata(file).text == text
    write_metadata(file, {"prompt": "new"})
    assert read_metadata(file).parameters == {"prompt": "new"}


@pytest.mark.parametrize("comment", ["a holiday", "Steps to heaven"])
def test_anybodys_comment_is_no_record(tmp_path: Path, comment: str) -> None:
    file = tmp_path / "x.jpeg"
    file.write_bytes(image("jpeg", comment=comment.encode()))
    with pytest.raises(MetadataError, match="no metadata of Fooocus"):
        read_metadata(file)


def test_a_png_text_that_is_utf8_after_all(tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    body = b"parameters\0\xef\xbb\xbf" + JSON.encode()
    kind = b"tEXt"
    chunk = struct.pack(">I", len(body)) + kind + body
    chunk += struct.pack(">I", zlib.crc32(kind + body))
    data = image("png")
    file.write_bytes(data[:33] + chunk + data[33:])
    assert read_metadata(file).parameters["prompt"] == "灯塔, é"


# -- log pages before the button --------------------------------------------------------------

ROWS = [
    ("Prompt", "a <b> & c,\nlaw: <lora:x:1>"),
    ("Negative Prompt", "fog"),
    ("Fooocus V2 Expansion", "a, deep"),
    ("Styles", "['Fooocus V2', \"it's\"]"),
    ("Performance", "Speed"),
    ("Resolution", "(1152, 896)"),
    ("Sharpness", "2.0"),
    ("Guidance Scale", "4.0"),
    ("ADM Guidance", "(1.5, 0.8)"),
    ("Base Model", "m: a, b.safetensors"),
    ("Refiner Model", "r.safetensors"),
    ("Sampler", "dpmpp_2m_sde_gpu"),
    ("Scheduler", "karras"),
    ("Seed", "9223372036854775807"),
    ("LoRA [a: b, c.safetensors] weight", "0.5"),
]
EXPECTED = {
    "prompt": "a <b> & c,\nlaw: <lora:x:1>",
    "negative_prompt": "fog",
    "style_selections": ["Fooocus V2", "it's"],
    "performance_selection": "Speed",
    "overwrite_width": 1152,
    "overwrite_height": 896,
    "sharpness": 2.0,
    "guidance_scale": 4.0,
    "adm_scaler_positive": 1.5,
    "adm_scaler_negative": 0.8,
    "base_model": "m: a, b.safetensors",
    "refiner_model": "r.safetensors",
    "sampler_name": "dpmpp_2m_sde_gpu",
    "scheduler_name": "karras",
    "image_seed": "9223372036854775807",
    "loras": [("a: b, c.safetensors", 0.5)],
}
#: What 2.0 and 2.1 didn't write, with a refiner.
UNWRITTEN = {
    "adm_scaler_end", "overwrite_step", "adaptive_cfg", "freeu_enabled", "refiner_switch",
    "overwrite_switch", "refiner_swap_method",
}  # fmt: skip


def paragraphs(rows: list[tuple[str, str]]) -> str:
    """Return rows as up to 2.1.851: the first three alone, then two in a line."""
    shown = [f"<p>{label}: <b>{value}</b> </p>\n" for label, value in rows[:3]]
    for number, (label, value) in enumerate(rows[3:]):
        both = f"{label}: <b>{value}</b>"
        shown.append(f"<p>{both}, " if number % 2 == 0 else f"{both}</p>\n")
    return "".join(shown)


def old_page(name: str, rows: list[tuple[str, str]], form: str) -> str:
    picture = f'<img src="{name}" width=512 onerror="hide(\'{name}\')"></img>'
    key = name.replace(".", "_")
    if form == "2.0":
        shown = f"<p>{name}</p>\n{paragraphs(rows)}<p>{picture}</p>"
        return f'<div id="{key}"><hr>\n{shown}</div>\n'
    if form == "2.1.828":
        cells = f"<td>{picture}</p></td><td><p>{name}</p>\n{paragraphs(rows)}</td>"
        return f'<div id="{key}">\n<table><tr>{cells}</tr></table><hr></div>\n'
    cells = "".join(
        f"<tr><td class='key'>{label}</td><td class='value'>{value}</td></tr>\n"
        for label, value in rows
    )
    return (
        f'<div id="{key}" class="image-container"><hr><table><tr>\n<td>{picture}</td>'
        f"<td><table class='metadata'>{cells}</table></td></tr></table></div>\n\n"
    )


@pytest.mark.parametrize("form", ["2.0", "2.1.828", "2.1.852"])
def test_log_pages_without_a_button(tmp_path: Path, form: str) -> None:
    other = [("Prompt", "b"), *ROWS[1:-2], ("Seed", "1")]
    page = tmp_path / "log.html"
    page.write_text(
        "<p>Fooocus Log 2023-10-10 (private)</p>\n"
        + old_page("one_1.png", ROWS, form)
        + old_page("two_2.png", other, form),
        encoding="utf-8",
    )
    first, second = read_log(page)
    assert first.path == tmp_path / "one_1.png"
    assert first.metadata.parameters == EXPECTED
    assert set(first.metadata.missing) == UNWRITTEN
    assert second.path == tmp_path / "two_2.png"
    assert second.metadata.parameters["prompt"] == "b"
    assert second.metadata.parameters["loras"] == []


def test_the_loras_of_2_1_852_share_a_label() -> None:
    rows = [*ROWS[:-1], ("LoRA", "a.safetensors : 0.5"), ("LoRA", "b.safetensors : 1.0")]
    ((_, found),) = parse_log(old_page("x.png", rows, "2.1.852").encode())
    assert found.parameters["loras"] == [("a.safetensors", 0.5), ("b.safetensors", 1.0)]


def test_a_log_page_of_mre() -> None:
    rows = [
        ("Prompt", "a pier"), ("Negative Prompt", "fog"),
        ("Fooocus V2 (Prompt Expansion)", "a pier, calm"), ("Styles", "['x']"),
        ("Real Prompt", "['a pier']"), ("Seed", "7"), ("Resolution", "1152×896 (9:7)"),
        ("Performance", "('Speed', 30, 20)"), ("Sampler & Scheduler", "('euler', 'karras')"),
        ("Sharpness", "2.0"), ("CFG & CLIP Skips", "(7.0, -2, -2)"),
        ("Base Model", "m.safetensors"), ("Refiner Model", "None"), ("FreeU", "False"),
        ("Image-2-Image", "False"),
        ("Revision", "False"), ("Canny", "False"), ("LoRA [a.safetensors] weight", "0.5"),
        ("Software", "Fooocus 2.0.78.5 MRE"),
    ]  # fmt: skip
    ((_, found),) = parse_log(old_page("x.png", rows, "2.0").encode())
    assert found.parameters == {
        "prompt": "a pier", "negative_prompt": "fog", "styles": ["Fooocus V2", "x"], "seed": "7",
        "width": 1152, "height": 896, "performance": "Speed", "steps": 30, "overwrite_switch": 20,
        "sampler": "euler", "scheduler": "karras", "sharpness": 2.0, "guidance_scale": 7.0,
        "clip_skip": 2, "base_model": "m.safetensors", "refiner_model": "None",
        "freeu_enabled": False, "loras": [("a.safetensors", 0.5)],
    }  # fmt: skip
    assert "input_image" not in found.missing


def newer_page(*names: str) -> str:
    """Return a page as 2.5.5 writes it, of images with two LoRAs each."""
    blocks = ""
    for name in names:
        raw = {**complete(), "lora_combined_1": "a : 0.5", "lora_combined_2": "b : 1.0"}
        del raw["loras"]
        rows = "".join(
            f"<tr><td class='label'>{key}</td><td class='value'>{value}</td></tr>\n"
            for key, value in raw.items()
        )
        blocks += (
            f'<div id="{name.replace(".", "_")}" class="image-container"><hr><table><tr>\n'
            f"<td><a href=\"{name}\"><img src='{name}' loading='lazy'/></a><div>{name}</div></td>"
            f"<td><table class='metadata'>{rows}</table></br><button onclick=\"to_clipboard("
            f"'{quote(json.dumps(raw, indent=0), safe='')}')\">Copy to Clipboard</button></td>"
            "</tr></table></div>\n\n"
        )
    return (
        "<!DOCTYPE html><html><head><title>Fooocus Log</title></head><body>"
        f"<!--fooocus-log-split-->\n\n{blocks}\n<!--fooocus-log-split--></body></html>"
    )


@pytest.mark.parametrize("skip_damaged", [False, True])
@pytest.mark.parametrize("form", ["2.0", "2.1.828", "2.1.852", "2.5.5"])
def test_a_page_that_ends_early_gives_whole_entries_or_none(form: str, skip_damaged: bool) -> None:
    rows = [*ROWS, ("LoRA [b.safetensors] weight", "1.0")]
    page = (
        newer_page("one.png", "two.png")
        if form == "2.5.5"
        else old_page("one.png", rows, form) + old_page("two.png", rows, form)
    ).encode()
    whole = parse_log(page)
    assert len(whole) == 2
    assert len(whole[1][1].parameters["loras"]) == 2
    counts = set()
    for end in range(len(page)):
        try:
            found = parse_log(page[:end], skip_damaged=skip_damaged)
        except MetadataError:
            continue
        assert found == whole[: len(found)]
        counts.add(len(found))
    assert not skip_damaged or counts == {0, 1, 2}


@pytest.mark.parametrize("form", ["2.0", "2.1.828"])
def test_a_lora_in_two_slots_and_the_order_of_loras(form: str) -> None:
    loras = [("z, y.safetensors", "0.5"), ("a.safetensors", "1.0"), ("z, y.safetensors", "-0.25")]
    rows = [*ROWS[:-1], *((f"LoRA [{name}] weight", weight) for name, weight in loras)]
    ((_, found),) = parse_log(old_page("x.png", rows, form).encode())
    assert found.parameters["loras"] == [(name, float(weight)) for name, weight in loras]


def test_a_page_that_went_on_over_an_update(tmp_path: Path) -> None:
    button = "<button onclick=\"to_clipboard('%7B%22Prompt%22%3A%22new%22%7D')\">Copy</button>"
    new = f'<div id="new_png" class="image-container"><img src="new.png">{button}</div>\n'
    page = new + old_page("old.png", ROWS, "2.1.852")
    found = parse_log(page.encode())
    assert [(name, entry.parameters["prompt"]) for name, entry in found] == [
        ("new.png", "new"),
        ("old.png", ROWS[0][1]),
    ]


def test_a_damaged_row_is_said_or_skipped() -> None:
    page = old_page("a.png", [("Prompt", "x"), ("Seed", "none")], "2.1.852")
    page += old_page("b.png", ROWS, "2.1.852")
    with pytest.raises(MetadataError, match=r"'a\.png' is damaged.*seed"):
        parse_log(page.encode())
    assert [name for name, _ in parse_log(page.encode(), skip_damaged=True)] == ["b.png"]


# -- bounds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60_000,
        '{"a":' * 60_000,
        '{"loras": ' + "[" * 60_000,
        '{"styles": "' + "[" * 60_000 + '"}',
        '{"seed": ' + "1" * 4000 + "}",
        '{"seed": "' + "1" * 100_000 + '"}',
        '{"loras": [["a", ' + "9" * 4000 + "]]}",
        "a\nSteps: " + "9" * 100_000,
        '{"prompt": "x"',
    ],
)
def test_absurd_texts_end_in_our_error(text: str) -> None:
    for scheme in (None, "fooocus", "simple"):
        with pytest.raises(MetadataError):
            parse_metadata(text, scheme)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
@pytest.mark.parametrize("work", [read_metadata, read_log, lambda path: write_metadata(path, {})])
def test_only_plain_files_are_read(tmp_path: Path, work: Any) -> None:
    pipe = tmp_path / "log.html"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path):
        with pytest.raises(MetadataError, match="no plain file"):
            work(path)


def test_large_files_are_refused_unless_they_are_allowed(tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(image("png"))
    write_metadata(file, {"prompt": "x"})
    size = file.stat().st_size
    with pytest.raises(MetadataError, match=r"too large: over .* max_bytes="):
        read_metadata(file, max_bytes=size - 1)
    assert read_metadata(file, max_bytes=size).parameters == {"prompt": "x"}
    os.truncate(file, 5_000_000_000)  # takes no room on the disk
    for work in (read_metadata, read_log, lambda path: write_metadata(path, {})):
        with pytest.raises(MetadataError, match="too large: over 64 MB"):
            work(file)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_behind_a_link_its_target_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "x.png", tmp_path / "link.png"
    target.write_bytes(image("png"))
    link.symlink_to(target)
    write_metadata(link, {"prompt": "x"})
    assert link.is_symlink()
    assert read_metadata(target).parameters == {"prompt": "x"}
