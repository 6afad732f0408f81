"""Requests: what is refused before it is sent, and what is sent."""

from __future__ import annotations

import io
import json
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fooocus_nb.errors import ParameterError, UnsupportedParameter
from fooocus_nb.fooocus.requests import build_request
from fooocus_nb.fooocus.requests.lint import _PERFORMANCES
from fooocus_nb.fooocus.requests.tasks import (
    Enhance,
    EnhanceImage,
    ImagePrompt,
    Inpaint,
    Outpaint,
    Upscale,
    Vary,
)
from fooocus_nb.fooocus.schema import Schema
from fooocus_nb.fooocus.schema.calls import Outputs
from fooocus_nb.fooocus.schema.config import Component
from fooocus_nb.fooocus.schema.parameters import MAX_SEED, ParameterTable, make_parameter
from fooocus_nb.fooocus.transport.data_uris import decode_data_uri

RATIOS = [
    '1024×1024 <span style="color: grey;"> ∣ 1:1</span>',
    '1152×896 <span style="color: grey;"> ∣ 9:7</span>',
]


def _slider(low: float, high: float, step: float, value: float) -> tuple[str, dict[str, Any]]:
    return "slider", {"minimum": low, "maximum": high, "step": step, "value": value}


ITEMS: dict[str, tuple[str, dict[str, Any]]] = {
    "prompt": ("textbox", {"value": ""}),
    "negative_prompt": ("textbox", {"value": "ugly"}),
    "style_selections": (
        "checkboxgroup",
        {"choices": [["Fooocus V2", "Fooocus V2"], ["SAI Anime", "SAI Anime"]], "value": []},
    ),
    "performance_selection": ("radio", {"choices": ["Quality", "Speed"], "value": "Speed"}),
    "aspect_ratios_selection": ("radio", {"choices": RATIOS, "value": RATIOS[1]}),
    "image_number": _slider(1, 32, 1, 2),
    "image_seed": ("textbox", {"value": "0"}),
    "guidance_scale": _slider(1.0, 30.0, 0.01, 4.0),
    "sharpness": _slider(0.0, 30.0, 0.001, 2.0),
    "base_model": ("dropdown", {"choices": [], "value": "gone.safetensors"}),
    "lora_1_enabled": ("checkbox", {"value": True}),
    "lora_1_model": ("dropdown", {"choices": ["None", "a", "b"], "value": "a"}),
    "lora_1_weight": _slider(-2, 2, 0.01, 0.1),
    "lora_2_enabled": ("checkbox", {"value": True}),
    "lora_2_model": ("dropdown", {"choices": ["None", "a", "b"], "value": "None"}),
    "lora_2_weight": _slider(-2, 2, 0.01, 1.0),
    "uov_input_image": ("image", {"tool": "editor"}),
    "inpaint_input_image": ("image", {"tool": "sketch"}),
    "disable_seed_increment": ("checkbox", {"value": False}),
    "overwrite_step": _slider(-1, 200, 1, -1),
    "metadata_scheme": (
        "radio",
        {"choices": [["fooocus (json)", "fooocus"], ["a1111 (plain text)", "a1111"]]},
    ),
}


def make_schema(items: dict[str, tuple[str, dict[str, Any]]] = ITEMS) -> Schema:
    parameters = {
        name: make_parameter(name, Component(i, kind, props))
        for i, (name, (kind, props)) in enumerate(items.items())
    }
    return Schema(
        version="2.5.5",
        parameters=ParameterTable(parameters),
        steps=(),
        stop=None,
        skip=None,
        outputs=Outputs(0, 1, 2, 3),
    )


SCHEMA = make_schema()


def build(**parameters: Any) -> dict[str, Any]:
    return dict(build_request(SCHEMA, "a cat", parameters).values)


# -- what is sent -----------------------------------------------------------------------------


def test_what_is_not_given_is_the_servers_default() -> None:
    values = build(seed=1)
    assert values["negative_prompt"] == "ugly"
    assert values["aspect_ratios_selection"] == RATIOS[1]
    assert values["base_model"] == "gone.safetensors"
    assert values["uov_input_image"] is None
    assert values["overwrite_step"] == -1
    assert set(values) == set(ITEMS)


@pytest.mark.parametrize(
    "ratio",
    [
        "1152x896",
        "1152×896",
        "1152*896",
        " 1152 X 896 ",
        "1152x896 | 9:7",
        "1152×896 ∣ 9:7",
        RATIOS[1],
    ],
)
def test_aspect_ratio_as_people_write_it(ratio: str) -> None:
    request = build_request(SCHEMA, "", {"aspect_ratio": ratio})
    assert request.values["aspect_ratios_selection"] == RATIOS[1]
    assert request.given["aspect_ratios_selection"] == "1152x896 | 9:7"


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("styles", ["SAI Anime", "fooocus v2"], ["SAI Anime", "Fooocus V2"]),
        ("styles", (), []),
        ("performance", "quality", "Quality"),
        ("guidance_scale", 7, 7.0),
        ("guidance_scale", np.float32(7.5), 7.5),
        ("sharpness", 0.29, 0.29),
        ("image_number", np.int64(3), 3),
        ("image_number", 4.0, 4),
        ("steps", -1, -1),
        ("base_model", "gone.safetensors", "gone.safetensors"),
        ("metadata_scheme", "a1111", "a1111"),
        ("disable_seed_increment", True, True),
        ("negative_prompt", "日本 𝄞 \n{}$", "日本 𝄞 \n{}$"),
    ],
)
def test_good_values(name: str, value: Any, sent: Any) -> None:
    canonical = SCHEMA.resolve(name)
    result = build(**{name: value})[canonical]
    assert result == sent
    assert type(result) is type(sent)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("guidance_scale", 31, "from 1 to 30"),
        ("guidance_scale", 0.5, "from 1 to 30"),
        ("guidance_scale", 4.005, r"multiple of 0\.01"),
        ("guidance_scale", float("nan"), "a number"),
        ("guidance_scale", float("inf"), "a number"),
        ("guidance_scale", "7", "a number"),
        ("guidance_scale", True, "a number"),
        ("image_number", 1.5, "a whole number"),
        ("image_number", 0, "from 1 to 32"),
        ("image_number", [1], "a whole number"),
        ("disable_seed_increment", 1, "True or False"),
        ("disable_seed_increment", "yes", "True or False"),
        ("performance", "Sped", r"Did you mean 'Speed'\?"),
        ("performance", 3, "one of"),
        ("styles", "SAI Anme", r"Did you mean 'SAI Anime'\?"),
        ("styles", 3, "a list of"),
        ("styles", ["SAI Anme"], r"Did you mean 'SAI Anime'\?"),
        ("styles", [3], "one of"),
        ("base_model", "other", "offers nothing else"),
        ("aspect_ratio", "1x1", "1152x896"),
        ("negative_prompt", 3, "text"),
        ("negative_prompt", "\ud800", "can be encoded"),
        ("guidance_scal", 3, r"Did you mean 'guidance_scale'\?"),
        ("uov_input_image", "/no/such/file.png", "cannot be read"),
        ("uov_input_image", b"not a picture", "not an image"),
        ("uov_input_image", 3, "must be a path"),
    ],
)
def test_bad_values_are_refused(name: str, value: Any, says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        build(**{name: value})


def test_one_style_is_a_list_of_one() -> None:
    assert build(styles="SAI Anime", seed=1) == build(styles=["SAI Anime"], seed=1)
    assert build(styles="SAI Anime", seed=1) != build(styles=["SAI Anime", "Fooocus V2"], seed=1)


def test_what_this_server_lacks_is_told_from_a_typo() -> None:
    with pytest.raises(UnsupportedParameter, match=r"Fooocus 2\.5\.5"):
        build(clip_skip=2)
    with pytest.raises(UnsupportedParameter, match="It has 2 of lora_"):
        build(lora_3_model="a")


def test_one_thing_under_two_names() -> None:
    with pytest.raises(ParameterError, match="two names"):
        build(seed=1, image_seed=2)
    with pytest.raises(ParameterError, match="twice"):
        build(prompt="another")


def test_none_is_as_good_as_not_given() -> None:
    request = build_request(SCHEMA, "a cat", {"steps": None, "loras": None})
    assert set(request.given) == {"prompt", "image_seed"}


# -- seeds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 7, "7", MAX_SEED, str(MAX_SEED), np.int64(9)])
def test_seeds_travel_as_text(seed: Any) -> None:
    request = build_request(SCHEMA, "", {"seed": seed})
    assert request.seed == int(seed)
    assert request.values["image_seed"] == str(int(seed))
    assert request.given["image_seed"] == int(seed)


@pytest.mark.parametrize(
    "seed", [-1, MAX_SEED + 1, "x", "-1", "", "1.0", 1.0, True, "٣", " 1", "9" * 19]
)
def test_bad_seeds_are_refused(seed: Any) -> None:
    with pytest.raises(ParameterError, match="a whole number from 0 to"):
        build(seed=seed)


def test_a_seed_is_drawn_when_none_is_given() -> None:
    seeds = [build_request(SCHEMA, "", {}, rng=random.Random(5)).seed for _ in range(2)]
    assert seeds[0] == seeds[1]
    assert 0 <= seeds[0] <= MAX_SEED
    assert build_request(SCHEMA, "", {}).seed != build_request(SCHEMA, "", {}).seed


def test_seed_of_each_image() -> None:
    request = build_request(SCHEMA, "", {"seed": MAX_SEED})
    assert [request.seed_of(i) for i in range(3)] == [MAX_SEED, 0, 1]
    fixed = build_request(SCHEMA, "", {"seed": 5, "disable_seed_increment": True})
    assert [fixed.seed_of(i) for i in range(3)] == [5, 5, 5]


# -- LoRAs ------------------------------------------------------------------------------------


def test_loras_fill_the_slots_and_empty_the_rest() -> None:
    values = build(loras=[("b", 0.8)])
    assert [values[f"lora_1_{m}"] for m in ("enabled", "model", "weight")] == [True, "b", 0.8]
    assert values["lora_2_model"] == "None"
    assert build(loras=[])["lora_1_model"] == "None"
    assert build(loras=["a", ["b", 1]])["lora_2_weight"] == 1.0


@pytest.mark.parametrize(
    ("loras", "says"),
    [
        ([("a", 1), ("b", 1), ("a", 1)], "has 3 items, but this server has 2"),
        ([("c", 1)], "lora_1_model='c'"),
        ([("a", 3)], "from -2 to 2"),
        ([("a", "x")], "a number"),
        ("a", "must be a list"),
        ([3], "neither a name nor a pair"),
        ([("a", 1, 2)], "neither a name nor a pair"),
    ],
)
def test_bad_loras_are_refused(loras: Any, says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        build(loras=loras)


def test_loras_beside_single_slots_contradict() -> None:
    with pytest.raises(ParameterError, match="fills all slots"):
        build(loras=[], lora_1_weight=0.5)


def test_a_server_without_lora_slots() -> None:
    schema = make_schema({k: v for k, v in ITEMS.items() if not k.startswith("lora_")})
    with pytest.raises(UnsupportedParameter, match="no slots for LoRAs"):
        build_request(schema, "", {"loras": ["a"]})


# -- pictures ---------------------------------------------------------------------------------


def _png(size: tuple[int, int] = (6, 4), color: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def _open(uri: str) -> Image.Image:
    decoded = decode_data_uri(uri)
    assert decoded is not None
    return Image.open(io.BytesIO(decoded[0]))


def test_files_are_sent_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "a picture.png"
    path.write_bytes(_png())
    for given_as in (path, str(path), _png()):
        decoded = decode_data_uri(build(uov_input_image=given_as)["uov_input_image"])
        assert decoded == (_png(), "image/png")


def test_pictures_in_memory() -> None:
    array = np.zeros((4, 6, 3), dtype=np.uint8)
    for given_as in (Image.new("RGB", (6, 4)), array):
        assert _open(build(uov_input_image=given_as)["uov_input_image"]).size == (6, 4)


def test_a_picture_without_a_mask_gets_an_empty_one() -> None:
    sent = build(inpaint_input_image=_png())["inpaint_input_image"]
    assert set(sent) == {"image", "mask"}
    assert _open(sent["mask"]).size == (6, 4)
    assert _open(sent["mask"]).getextrema() == ((0, 0), (0, 0), (0, 0))


def test_a_mask_goes_with_its_picture() -> None:
    mask = Image.new("L", (6, 4), 255)
    for given_as in ((_png(), mask), {"image": _png(), "mask": mask}):
        sent = build(inpaint_input_image=given_as)["inpaint_input_image"]
        # With one channel only, the engine's worker would crash.
        assert _open(sent["mask"]).getextrema() == ((255, 255),) * 3
    with pytest.raises(ParameterError, match="another size"):
        build(inpaint_input_image=(_png(), Image.new("L", (5, 4))))
    for bad in ({"mask": mask}, (_png(), mask, mask), {}, {"image": _png(), "x": 1}):
        with pytest.raises(ParameterError, match="must be an image"):
            build(inpaint_input_image=bad)


# -- records ----------------------------------------------------------------------------------


def test_what_is_recorded_can_be_given_again(tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    path.write_bytes(_png())
    first = build_request(
        SCHEMA,
        "a cat",
        {
            "styles": ("SAI Anime",),
            "aspect_ratio": "1024x1024",
            "loras": [("b", 0.5)],
            "uov_input_image": path,
            "steps": 5,
        },
    )
    record = json.loads(json.dumps(first.given))
    prompt = record.pop("prompt")
    again = build_request(SCHEMA, prompt, record)
    assert again.values == first.values
    assert again.seed == first.seed


def test_a_record_holds_no_pictures() -> None:
    request = build_request(SCHEMA, "", {"uov_input_image": _png()})
    assert request.given["uov_input_image"].startswith("sha256:")
    json.dumps(request.given)


# -- properties -------------------------------------------------------------------------------


@given(st.integers(100, 3000))
def test_every_step_of_a_slider_is_allowed(hundredths: int) -> None:
    assert build(guidance_scale=hundredths / 100)["guidance_scale"] == hundredths / 100


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_number_passes_that_the_page_would_not_offer(value: float) -> None:
    try:
        sent = build(guidance_scale=value)["guidance_scale"]
    except ParameterError:
        return
    assert 1 <= sent <= 30
    assert abs(Fraction(sent) * 100 - round(Fraction(sent) * 100)) < Fraction(1, 1000)


@given(st.text(), st.one_of(st.none(), st.text(), st.integers(), st.lists(st.text()), st.binary()))
def test_anything_else_is_a_parameter_error(name: str, value: Any) -> None:
    for key in (name, "styles", "performance", "seed", "loras", "aspect_ratio", "uov_input_image"):
        try:
            request = build_request(SCHEMA, "", {key: value})
        except ParameterError:
            continue
        json.dumps(request.values)
        json.dumps(request.given)


class Unreadable:
    def __float__(self) -> float:
        raise RuntimeError

    def __repr__(self) -> str:
        raise RuntimeError


FOREIGN = [
    10**400,
    10**5000,
    float("nan"),
    np.array([1, 2]),
    np.array(5.5),
    np.zeros((0, 0, 3), np.uint8),
    np.zeros((4, 4), object),
    Image.new("RGB", (0, 5)),
    "\0",
    "\ud800",
    "/dev/zero",
    ["\ud800"],
    [["a", 10**400]],
    [[]],
    {"image": "\0", "mask": "\ud800"},
    complex(1, 2),
    Unreadable(),
    Upscale(b"x", 10**400),
    Upscale(np.zeros((0, 0), np.uint8)),
    [ImagePrompt(np.zeros((0, 0), np.uint8))],
]


@pytest.mark.parametrize("value", FOREIGN, ids=[str(n) for n in range(len(FOREIGN))])
def test_no_foreign_error_for_any_value(value: Any) -> None:
    names = ("styles", "seed", "loras", "aspect_ratio", "task", "image_prompts", "enhance")
    for name in (*ITEMS, *names, "\0", "\ud800"):
        try:
            request = build_request(SCHEMA, "", {name: value})
        except ParameterError:
            continue
        json.dumps(request.values)


# -- servers on which one does not paint ---------------------------------------------------------


@pytest.mark.parametrize("upload", ["sketch", "editor"])
def test_a_mask_is_uploaded_where_the_picture_is_not_painted_on(
    tmp_path: Path, upload: str
) -> None:
    boxes = ("input_image_checkbox", "invert_mask_checkbox", "inpaint_mask_upload_checkbox")
    plain = {
        **ITEMS,
        **{name: ("checkbox", {"value": False}) for name in boxes},
        "current_tab": ("textbox", {"value": "uov"}),
        "outpaint_selections": ("checkboxgroup", {"choices": ["Left", "Top"], "value": []}),
        "inpaint_input_image": ("image", {"tool": "editor"}),
    }
    schema = make_schema({**plain, "inpaint_mask_image": ("image", {"tool": upload})})
    path = tmp_path / "mask.png"
    see_through = Image.new("RGBA", (6, 4), "white")
    see_through.paste((255, 255, 255, 0), (3, 0, 6, 4))
    see_through.save(path)
    request = build_request(schema, "x", {"task": Inpaint(_png(), path)})
    assert _open(request.values["inpaint_input_image"]).size == (6, 4)
    sent = request.values["inpaint_mask_image"]
    mask = _open(sent["image"] if upload == "sketch" else sent)
    assert [mask.getpixel((x, 0)) for x in (0, 5)] == [(255, 255, 255), (0, 0, 0)]
    assert request.values["inpaint_mask_upload_checkbox"] is True
    assert request.given["inpaint_mask_image"] == str(path)
    assert build_request(schema, "x", {"task": Outpaint(_png(), "left")}).values["current_tab"]
    for bad, says in (
        (Image.new("L", (5, 4), 255), "the mask is 5x4, its image 6x4"),
        (Image.new("L", (6, 4)), "The mask is empty"),
    ):
        with pytest.raises(ParameterError, match=says):
            build_request(schema, "x", {"task": Inpaint(_png(), bad)})
    two = {"task": Inpaint(_png(), path), "inpaint_mask_image": path}
    with pytest.raises(ParameterError, match="There are two masks"):
        build_request(schema, "x", two)
    with pytest.raises(UnsupportedParameter, match="takes no mask with an image"):
        build_request(make_schema(plain), "x", {"task": Inpaint(_png(), path)})


# -- tasks on the servers of old ----------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded_schema():
    folder = Path(__file__).resolve().parents[4] / "shared" / "fooocus" / "config"

    def read(version: str) -> Schema:
        return Schema.from_config(json.loads((folder / f"{version}.json").read_text("utf-8")))

    return read


@pytest.mark.recorded
@pytest.mark.parametrize("version", ["2.1.864", "2.4.3", "2.5.5", "2.5.5-disable-metadata"])
def test_tasks_fit_every_recorded_server(recorded_schema, version: str) -> None:
    schema = recorded_schema(version)
    mask = Image.new("1", (6, 4), 1)
    for task in (
        Upscale(_png(), "fast 2x"),
        Vary(_png(), "strong"),
        Inpaint(_png(), mask, "detail", "left"),
        Outpaint(_png(), ["top"]),
    ):
        prompts = [ImagePrompt(_png(), kind) for kind in ("FaceSwap", "CPDS")]
        request = build_request(schema, "x", {"task": task, "image_prompts": prompts})
        assert request.values["input_image_checkbox"] is True
        assert request.values[task.mixing] is True
        assert request.values["ip_2_type"] == "CPDS"
        assert not request.warnings


@pytest.mark.recorded
@pytest.mark.parametrize("version", ["2.1.864", "2.4.3"])
def test_what_an_old_server_lacks_names_its_version(recorded_schema, version: str) -> None:
    for wanted in ({"enhance": [Enhance()]}, {"task": EnhanceImage(_png(), [Enhance()])}):
        with pytest.raises(UnsupportedParameter, match=rf"Fooocus {version}\) has no tabs"):
            build_request(recorded_schema(version), "x", wanted)


@pytest.mark.recorded
def test_the_page_restricts_what_we_warn_of() -> None:
    """Choosing a performance on the page greys these out; the negative prompt is hidden."""
    path = Path(__file__).resolve().parents[4] / "shared" / "fooocus" / "config" / "2.5.5.json"
    config = json.loads(path.read_text("utf-8"))
    schema = Schema.from_config(config)
    labels = {item["id"]: item["props"].get("label") for item in config["components"]}
    (restricting,) = (
        item
        for item in config["dependencies"]
        if item["trigger"] == "change" and [labels[n] for n in item["inputs"]] == ["Performance"]
    )
    restricted = {labels[number] for number in restricting["outputs"]}
    assert {schema.parameters[name].label for name in _PERFORMANCES["Lightning"]} <= restricted
    assert set(_PERFORMANCES) <= set(schema.parameters["performance_selection"].choices)
