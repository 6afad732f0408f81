"""What is written about an image and read again sends the request that made the image."""

from __future__ import annotations

import json
import secrets
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import fooocus_nb
from fooocus_nb.demo.files import Files
from fooocus_nb.demo.inputs import Task
from fooocus_nb.demo.page import PRESETS, STYLES, Page
from fooocus_nb.demo.records import STYLE_TEXTS, record, styles_for_page
from fooocus_nb.fooocus.metadata import (
    parse_metadata,
    read_log,
    read_metadata,
    with_styles,
    write_metadata,
)
from fooocus_nb.fooocus.metadata.style_texts import full_prompts
from fooocus_nb.fooocus.requests import Request, build_request, incomplete
from fooocus_nb.fooocus.schema import Schema

from ..lanes import examples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fooocus_nb.fooocus.metadata import Metadata

#: The page begins with values that are nobody's, so that what is left out shows: those of a preset,
#: and of a user's config.txt.
PRESET = "sai"
CONFIGURED = {
    "overwrite_step": 17,
    "overwrite_switch": 7,
    "swap_method": "vae",
    "clip_skip": 5,
    "refiner": "animaPencilXL_v500.safetensors",
    "lora_3_model": "sd_xl_offset_example-lora_1.0.safetensors",
    "lora_3_weight": 1.25,
    "adm_positive": 2.5,
    "adm_end": 0.9,
    "sharpness": 21.0,
    "sampler": "heun",
    "scheduler": "turbo",
    "vae": "nobody's.safetensors",
    "overwrite_width": 640,
    "overwrite_height": 384,
    "negative_prompt": "nobody's",
    "prompt": "nobody's",
}


VAES = ["Default (model)", "mine.v1.safetensors", "folder/other.safetensors"]


def configured_page() -> Page:
    page = Page(PRESET)
    page.config["components"][page.ids["vae"] - 1]["props"]["choices"] = [*VAES, CONFIGURED["vae"]]
    for key, value in CONFIGURED.items():
        assert page.default(key) != value
        page.config["components"][page.ids[key] - 1]["props"]["value"] = value
    return page


PAGE = configured_page()
SCHEMA = Schema.from_config(PAGE.config)
MODELS = ["juggernautXL_v8Rundiffusion.safetensors", "animaPencilXL_v500.safetensors"]
LORA = "sd_xl_offset_example-lora_1.0.safetensors"
HURRIED = ("Extreme Speed", "Lightning", "Hyper-SD")
STEPS = {"Quality": 60, "Speed": 30, "Extreme Speed": 8, "Lightning": 4, "Hyper-SD": 4}
#: What a hurried performance doesn't look at.
FORCED = (
    *("sharpness", "guidance_scale", "adaptive_cfg", "refiner_model", "refiner_switch"),
    *("adm_scaler_positive", "adm_scaler_negative", "adm_scaler_end"),
    *("sampler_name", "scheduler_name", "overwrite_switch", "refiner_swap_method"),
)
#: How many images there are, where they go and what is shown meanwhile.
OUTSIDE = (
    *("image_number", "output_format", "save_metadata_to_images", "metadata_scheme"),
    *("disable_preview", "disable_intermediate_results", "disable_seed_increment"),
    *("read_wildcards_in_order", "aspect_ratios_selection", "overwrite_width", "overwrite_height"),
)
#: A record in ASCII may have lost letters of these, which is what "??" looks like.
LOST = {"prompt", "negative_prompt"}
#: Of these the plain text has one name for two, which draw the same image.
TWINS = {"dpmpp_sde": "dpmpp_sde_gpu", "dpmpp_2m_sde": "dpmpp_2m_sde_gpu"}


def test_what_is_left_out_would_show() -> None:
    """Where a default equals what a record leaves out, nothing that is lost would be noticed."""
    defaults = SCHEMA.parameters.defaults
    assert [defaults[f"lora_{slot}_model"] for slot in (1, 3)] == [LORA, LORA]
    nothing = {
        "overwrite_step": -1, "overwrite_switch": -1, "refiner_swap_method": "joint",
        "clip_skip": 1, "refiner_model": "None", "prompt": "", "negative_prompt": "",
    }  # fmt: skip
    assert not [name for name, value in nothing.items() if defaults[name] == value]


def task_of(request: Request) -> Task:
    """Return the task that the demo engine makes of what is sent."""
    function = PAGE.functions[PAGE.index("get_task")]
    (setter,) = (step for step in SCHEMA.steps if len(step.inputs) == len(function.inputs))
    return Task(dict(zip(function.inputs, SCHEMA.payload(setter, request.values), strict=True)))


def effective(request: Request) -> dict[str, Any]:
    """Return every field that is sent, as far as it makes a difference to the image."""
    values = {name: value for name, value in request.values.items() if name not in OUTSIDE}
    task = task_of(request)
    values["size"] = task.size
    mode = str(values["performance_selection"])
    if values["overwrite_step"] <= 0:
        values["overwrite_step"] = STEPS[mode]
    values["loras"] = [
        (values.pop(f"lora_{slot}_model"), values.pop(f"lora_{slot}_weight"))
        for slot in range(1, 6)
        if values.pop(f"lora_{slot}_enabled")
    ]
    values["loras"] = [lora for lora in values["loras"] if lora[0] != "None"]
    values["sampler_name"] = TWINS.get(values["sampler_name"], values["sampler_name"])
    styles = [name for name in values["style_selections"] if name != "Fooocus V2"]
    # Fooocus drops empty lines, and expands no empty prompt.
    lines = [line for line in str(values["prompt"]).splitlines() if line.strip()]
    expanded = "Fooocus V2" in values["style_selections"] and bool(lines)
    # Styles are what they write; two that don't meet in a text may be found in either order.
    texts = full_prompts(STYLE_TEXTS, styles, str(values["prompt"]), str(values["negative_prompt"]))
    values["style_selections"] = (sorted(styles), texts, expanded)
    if mode in HURRIED:
        values |= dict.fromkeys(FORCED)
    if values["refiner_model"] == "None":
        values |= dict.fromkeys(("refiner_switch", "overwrite_switch", "refiner_swap_method"))
    if not values["freeu_enabled"]:
        values |= dict.fromkeys(f"freeu_{key}" for key in ("b1", "b2", "s1", "s2"))
    return values


PROMPTS = st.text(
    st.characters(
        codec="utf-8", exclude_characters="[]_<>\0", exclude_categories=("Cc", "Cs", "Zl")
    ),
    max_size=30,
)
#: Hypothesis likes short texts and small numbers; these are like those of people and of Fooocus.
TYPED = st.sampled_from(
    [
        "a cat, at dusk",
        'a "pier": fog, rain',
        "灯塔, Nebel, café",
        "Steps: 3, Seed: 9",
        "Raw prompt",
    ]
)
SEEDS = st.integers(0, 2**63 - 1)
#: What each image of a request has its own words for.
DRAWN = st.sampled_from(["__animal__, ", "__color__ [[cat, dog]]", "[[a, b, c]] of __nobody__"])
NUMBERS = st.integers(0, 20)
#: Among hundreds of styles they would hardly ever be drawn.
SPECIAL_STYLES = st.sampled_from(["Fooocus V2", "Random Style"])
LINES = TYPED | PROMPTS | st.tuples(DRAWN, PROMPTS).map("".join)
REQUESTS = st.fixed_dictionaries(
    {
        "prompt": st.lists(
            TYPED | PROMPTS | st.tuples(DRAWN, PROMPTS).map("".join), max_size=3
        ).map("\n".join),
        "negative_prompt": PROMPTS | TYPED,
        "performance": st.sampled_from(list(STEPS)),
        "styles": st.lists(SPECIAL_STYLES | st.sampled_from(STYLES), max_size=4, unique=True),
        "loras": st.lists(st.tuples(st.just(LORA), st.sampled_from([0.1, 0.5, -1.0])), max_size=3),
        "seed": SEEDS | SEEDS.map(lambda seed: 2**63 - 1 - seed),
        "sampler": st.sampled_from(SCHEMA.parameters["sampler_name"].choices),
        "scheduler": st.sampled_from(SCHEMA.parameters["scheduler_name"].choices),
        "base_model": st.sampled_from(MODELS),
        "vae": st.sampled_from(VAES),
        "refiner_model": st.sampled_from(["None", *MODELS]),
    },
    optional={
        "aspect_ratio": st.sampled_from(SCHEMA.parameters["aspect_ratios_selection"].choices),
        "steps": st.integers(1, 200),
        "overwrite_switch": st.integers(1, 200),
        "refiner_switch": NUMBERS.map(lambda n: 0.1 + n / 25),
        "refiner_swap_method": st.sampled_from(["joint", "separate", "vae"]),
        "sharpness": NUMBERS.map(float),
        "guidance_scale": NUMBERS.map(lambda n: 1 + n / 4),
        "adaptive_cfg": NUMBERS.map(lambda n: 1 + n / 2),
        "adm_scaler_positive": NUMBERS.map(lambda n: 0.1 + n / 10),
        "adm_scaler_end": NUMBERS.map(lambda n: n / 20),
        "clip_skip": st.integers(1, 12),
        "freeu_enabled": st.booleans(),
        "freeu_b1": NUMBERS.map(lambda n: n / 10),
    },
)


def completed(found: Metadata) -> Metadata:
    """Return what an engine with the demo's styles makes of it."""
    return with_styles(found, styles_for_page(found)) if found.scheme == "a1111" else found


@settings(
    max_examples=examples(240),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    asked=REQUESTS,
    index=st.integers(0, 3),
    scheme=st.sampled_from(["fooocus", "a1111"]),
    form=st.sampled_from(["png", "jpeg", "webp"]),
)
def test_a_file_and_the_log_send_the_request_that_made_the_image(
    tmp_path: Path, asked: dict[str, Any], index: int, scheme: str, form: str
) -> None:
    wanted = {"save_metadata_to_images": True, "metadata_scheme": scheme, "output_format": form}
    task = task_of(build_request(SCHEMA, **split({**asked, **wanted})))
    # The request for this image alone: with the words and the style that were drawn for it.
    own = {
        "prompt": task.prompt_of(index),
        "seed": task.seed(index),
        "styles": list(task.styles_of(index)),
    }
    request = build_request(SCHEMA, **split({**asked, **wanted, **own}))
    # Each example has a log page of its own, as a page is written and read as a whole.
    folder = tmp_path / secrets.token_hex(8)
    files = Files(folder / "outputs", folder / "temp")
    path = files.save(Image.new("RGB", (8, 8)), form, record(task, index, task.size), task.scheme)
    found = read_metadata(path)
    if scheme == "a1111":
        left_out = {"style_selections"} | (
            {"refiner_switch"} if found.parameters["refiner_model"] != "None" else set()
        )
        assert set(found.missing) - LOST == left_out
    else:
        assert found.missing == ()
    found = completed(found)
    sent = dict(found.parameters)
    if scheme == "a1111" and "refiner_switch" in found.missing:
        sent["refiner_switch"] = request.values["refiner_switch"]  # nobody can know it
    again = build_request(SCHEMA, **split(sent))
    if "style_selections" in found.missing:
        # A style that is there twice isn't found, nor guessed: it is said.
        assert len(set(own["styles"])) < len(own["styles"])
        assert "style_selections" in again.missing
        return
    assert effective(again) == effective(request)
    assert set(again.missing) <= LOST
    (logged,) = (entry.metadata for entry in read_log(files.log_page()) if entry.path == path)
    assert logged.missing == ()
    again = build_request(SCHEMA, **split(logged.parameters))
    assert effective(again) == effective(request)


def split(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt": parameters["prompt"],
        "parameters": {name: value for name, value in parameters.items() if name != "prompt"},
    }


def test_the_text_is_shaped_as_fooocuss_own(tmp_path: Path) -> None:
    """What a real 2.5.5 wrote has these keys: LoRAs twice, and no styles in plain text."""
    asked = {"performance": "Lightning", "loras": [(LORA, 0.5)], "styles": ["SAI Anime"]}
    files = Files(tmp_path / "outputs", tmp_path / "temp")
    texts = {}
    for scheme in ("fooocus", "a1111"):
        wanted = {"save_metadata_to_images": True, "metadata_scheme": scheme}
        task = task_of(build_request(SCHEMA, "a pier", {**asked, **wanted, "seed": 7}))
        path = files.save(Image.new("RGB", (8, 8)), "png", record(task, 0, task.size), task.scheme)
        texts[scheme] = read_metadata(path)
    raw, stem = texts["fooocus"].raw, LORA.removesuffix(".safetensors")
    assert [lora[:2] for lora in raw["loras"]] == [
        [stem, 0.5],
        ["sdxl_lightning_4step_lora", 1.0],
    ]
    assert raw["lora_combined_1"] == f"{stem} : 0.5"
    assert raw["lora_combined_2"] == "sdxl_lightning_4step_lora : 1.0"
    assert raw["base_model"] == MODELS[0].removesuffix(".safetensors")
    assert "Styles:" not in texts["a1111"].text
    assert f'Lora weights: "{stem}: 0.5, sdxl_lightning_4step_lora: 1.0"' in texts["a1111"].text
    (newest, _) = read_log(files.log_page())
    assert newest.metadata.raw["base_model"] == MODELS[0]
    assert newest.metadata.raw["lora_combined_1"] == f"{LORA} : 0.5"
    assert "loras" not in newest.metadata.raw


def lossy(path: Path, prompt: str) -> Path:
    """Write a plain text into a JPEG as Fooocus does, by Pillow: in ASCII."""
    text = (
        f"{prompt}\nSteps: 30, Sampler: Euler, Seed: 5, Size: 96x64, CFG scale: 4.0, "
        "Sharpness: 2.0, "
        f'ADM Guidance: "(1.5, 0.8, 0.3)", Model: {MODELS[0].removesuffix(".safetensors")}, '
        f"Performance: Speed, Scheduler: karras, VAE: Default (model), Raw prompt: {prompt}, "
        "Raw negative prompt: , Clip skip: 2, Version: Fooocus v2.5.5"
    )
    exif = Image.Exif()
    exif[0x9286], exif[0x927C] = text, "a1111"
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    return path


def test_lost_letters_are_missing_until_a_prompt_is_given(tmp_path: Path) -> None:
    found = dict(read_metadata(lossy(tmp_path / "x.jpeg", "灯塔 at dusk")).parameters)
    again = build_request(SCHEMA, **split(found))
    assert again.values["prompt"] == "?? at dusk"
    assert again.missing == ("style_selections", "prompt")
    assert "question marks" in incomplete(again.missing)
    other = build_request(SCHEMA, **split({**found, "prompt": "灯塔 at dusk"}))
    assert other.missing == ("style_selections",)
    assert "question marks" not in incomplete(other.missing)


def test_a_style_that_is_there_twice_is_sent_twice() -> None:
    """A random style may be one that is chosen already, and adds its text once more."""
    styles = ["Fooocus Sharp", "SAI Anime", "Fooocus Sharp"]
    record = {"prompt": "a pier", "styles": str(styles), "seed": "7"}
    found = parse_metadata(json.dumps(record)).parameters
    assert build_request(SCHEMA, **split(found)).values["style_selections"] == styles


# -- over the wire ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with fooocus_nb.start(
        demo=True,
        env={"FOOOCUS_DEMO_STEP_SECONDS": "0"},
        output_dir=tmp_path_factory.mktemp("written"),
        args=["--preset", PRESET],
        timeout=60,
    ) as engine:
        yield engine


def pixels(image: fooocus_nb.Image) -> bytes:
    return image.open().tobytes()


@pytest.mark.parametrize("mode", [*HURRIED, "Quality"])
@pytest.mark.parametrize(("scheme", "form"), [("fooocus", "webp"), ("a1111", "png")])
def test_an_engine_makes_it_again(
    engine: fooocus_nb.Engine, mode: str, scheme: str, form: str
) -> None:
    first = engine.generate(
        "a pier, at dusk\nfog",
        performance=mode,
        styles=["Fooocus Sharp", "Fooocus Enhance"],
        loras=[(LORA, 0.3)],
        width=96,
        height=64,
        steps=2,
        image_number=1,
        save_metadata_to_images=True,
        metadata_scheme=scheme,
        output_format=form,
        seed=2**63 - 1,
    )
    found = fooocus_nb.read_metadata(first[0].path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", fooocus_nb.IncompleteMetadata)
        again = engine.generate(**found.parameters, image_number=1, output_format=form)
    assert pixels(again[0]) == pixels(first[0])
    assert again.parameters["styles"] == first.parameters["styles"]
    whole = engine.read_metadata(first[0])
    assert whole.missing == ()
    assert whole.parameters["styles"] == ["Fooocus Sharp", "Fooocus Enhance"]


def test_no_lora_is_no_lora(engine: fooocus_nb.Engine) -> None:
    """The page's own LoRA isn't applied to an image that was made without."""
    assert engine.parameters["lora_1_model"].default == LORA
    first = engine.generate(
        "a pier", loras=[], width=96, height=64, steps=1, image_number=1,
        save_metadata_to_images=True,
    )  # fmt: skip
    found = fooocus_nb.read_metadata(first[0].path)
    assert found.parameters["loras"] == []
    again = engine.generate(**found.parameters, image_number=1)
    assert {again.parameters[f"lora_{slot}_model"] for slot in range(1, 6)} == {"None"}


def test_an_engine_says_that_letters_were_lost(engine: fooocus_nb.Engine, tmp_path: Path) -> None:
    file = lossy(tmp_path / "x.jpeg", "灯塔 at dusk")
    assert engine.read_metadata(file).missing == ("prompt",)
    found = fooocus_nb.read_metadata(file).parameters
    with pytest.warns(fooocus_nb.IncompleteMetadata, match="question marks .* in prompt"):
        engine.generate(**found, image_number=1)


def test_what_was_made_from_an_image_is_said(engine: fooocus_nb.Engine) -> None:
    size = {"steps": 18, "image_number": 1, "save_metadata_to_images": True}
    made = engine.upscale(Image.new("RGB", (1400, 1040)), "1.5x", "a pier", **size)
    found = fooocus_nb.read_metadata(made[0].path)
    assert found.missing == ("input_image",)
    with pytest.warns(fooocus_nb.IncompleteMetadata, match="no input image"):
        engine.generate(**found.parameters, image_number=1)
    assert PRESETS[PRESET]["styles"]  # what would be taken in silence otherwise


def test_the_texts_of_a_checkouts_styles_are_used(tmp_path: Path) -> None:
    """Where the engine is a checkout's, its files say exactly what each style adds."""
    checkout = tmp_path / "Fooocus"
    (checkout / "sdxl_styles").mkdir(parents=True)
    (checkout / "fooocus_version.py").write_text("version = '2.5.5'\n")
    root = str(Path(fooocus_nb.__file__).parents[1])
    (checkout / "launch.py").write_text(
        f"import runpy, sys\nsys.path.insert(0, {root!r})\n"
        "runpy.run_module('fooocus_nb.demo', run_name='__main__')\n"
    )
    entries = [{"name": "sai-anime", "prompt": "ink of {prompt}", "negative_prompt": "photo"}]
    (checkout / "sdxl_styles" / "own.json").write_text(json.dumps(entries))
    file = tmp_path / "x.png"
    Image.new("RGB", (8, 8)).save(file)
    text = (
        "ink of a pier, a pier, calm\nNegative prompt: photo, fog\nSteps: 1, Sampler: Euler, "
        "Seed: 7, Size: 96x64, Scheduler: karras, Raw prompt: a pier, Raw negative prompt: fog"
    )
    write_metadata(file, parse_metadata(text))
    with fooocus_nb.start(
        checkout, python=sys.executable, output_dir=tmp_path / "images", timeout=60
    ) as engine:
        found = engine.read_metadata(file)
        assert found.parameters["styles"] == ["Fooocus V2", "SAI Anime"]
        assert found.missing == ()
        parameters = fooocus_nb.read_metadata(file).parameters
        again = engine.generate(**parameters, image_number=1)
        assert again.parameters["styles"] == ["Fooocus V2", "SAI Anime"]
