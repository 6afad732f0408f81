"""Servers that are read in part: what is doubtful stays at its default, and all else works."""

from __future__ import annotations

import copy
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from fooocus_nb.demo.page import Page
from fooocus_nb.errors import ParameterError, UnsupportedParameter, UnsupportedServer
from fooocus_nb.fooocus.requests import NO_SEED, build_request
from fooocus_nb.fooocus.schema import Schema
from fooocus_nb.fooocus.schema._template import OTHER_NAMES
from fooocus_nb.fooocus.schema.naming import is_known_parameter

from ...lanes import examples
from .test_schema import make_config, translate

FORKS = Path(__file__).resolve().parents[4] / "shared" / "fooocus" / "config" / "forks"
TRUTHS = sorted(FORKS.glob("*.inputs.json")) if FORKS.is_dir() else []
CONFIG = Page().config
NAMES = [name for name in Schema.from_config(CONFIG).steps[0].inputs if name is not None]


def page() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a page like that of Fooocus 2.5.5, and the function that takes its parameters."""
    config = copy.deepcopy(CONFIG)
    return config, max(config["dependencies"], key=lambda item: len(item["inputs"]))


def component(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a component by our name of it."""
    setter = max(CONFIG["dependencies"], key=lambda item: len(item["inputs"]))
    number = setter["inputs"][NAMES.index(name)]
    found: dict[str, Any] = next(item for item in config["components"] if item["id"] == number)
    return found


def names_of(schema: Schema) -> list[str | None]:
    return list(max(schema.steps, key=lambda call: len(call.inputs)).inputs)


# -- one doubtful label -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "label", "called"),
    [
        ("sharpness", "Crispness", "crispness"),
        ("overwrite_upscale_strength", "Upscale Force", "upscale_force"),
        ("uov_input_image", "Source", "source"),
        ("black_out_nsfw", "Family mode", "family_mode"),
    ],
)
def test_one_doubtful_label_is_left_at_its_default(name: str, label: str, called: str) -> None:
    config, _ = page()
    component(config, name)["props"]["label"] = label
    schema = Schema.from_config(config)
    found = names_of(schema)
    place = NAMES.index(name)
    assert found[:place] + found[place + 1 :] == NAMES[:place] + NAMES[place + 1 :]
    assert found[place] == called
    assert [item.name for item in schema.parameters.doubtful] == [called]
    assert name in schema.parameters[called].doubt
    assert "only its default" in schema.parameters[called].allowed
    assert called in repr(schema.parameters)
    with pytest.raises(UnsupportedParameter, match=called):
        schema.resolve(name)
    with pytest.raises(UnsupportedParameter, match="at its default"):
        build_request(schema, "a cat", {called: 3})
    request = build_request(schema, "a cat", {"guidance_scale": 5})
    assert request.values[called] == schema.parameters[called].default
    assert request.values["guidance_scale"] == 5


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("overwrite_upscale_strength", "\N{LEVEL SLIDER} Upscale Denoising Strength"),
        ("save_final_enhanced_image_only", "Save only final enhanced/ADetailer image"),
        ("sharpness", "\N{SPARKLES} Image Sharpness"),
    ],
)
def test_a_label_with_the_same_words_in_another_dress_is_known(name: str, label: str) -> None:
    """Forks put emoji, quotes and slashes into labels."""
    config, _ = page()
    component(config, name)["props"]["label"] = label
    schema = Schema.from_config(config)
    assert names_of(schema) == NAMES
    assert not schema.parameters.doubtful


def test_a_label_that_says_the_opposite_is_not_known() -> None:
    config, _ = page()
    component(config, "black_out_nsfw")["props"]["label"] = "(Don't) Black Out NSFW"
    schema = Schema.from_config(config)
    assert "black_out_nsfw" not in schema.parameters


def test_a_doubtful_value_is_never_taken() -> None:
    config, _ = page()
    component(config, "sharpness")["props"]["label"] = "Crispness"
    parameter = Schema.from_config(config).parameters["crispness"]
    assert parameter.check(parameter.default) == parameter.default
    with pytest.raises(ParameterError, match="the server's default"):
        parameter.check(3)


def test_what_was_made_on_a_server_read_in_part_can_be_made_there_again() -> None:
    config, _ = page()
    component(config, "sharpness")["props"]["label"] = "Crispness"
    component(config, "black_out_nsfw")["props"]["label"] = "Family mode"
    schema = Schema.from_config(config)
    request = build_request(schema, "a cat", {"guidance_scale": 5, "seed": 7})
    record = {name: value for name, value in request.record().items() if name != "prompt"}
    assert record["crispness"] == 2.0
    assert build_request(schema, "a cat", record).values == request.values
    component(config, "sharpness")["props"]["value"] = 3
    with pytest.raises(UnsupportedParameter, match="crispness"):
        build_request(Schema.from_config(config), "a cat", record)


# -- steps ------------------------------------------------------------------------------------


def insert_before_the_generator(config: dict[str, Any], inputs: list[int]) -> None:
    functions = config["dependencies"]
    place = next(
        i
        for i, item in enumerate(functions)
        if item["types"]["generator"] and item["trigger_after"] is not None
    )
    before = functions[place]["trigger_after"]
    new = {
        **copy.deepcopy(functions[before]),
        "inputs": inputs,
        "outputs": [],
        "trigger_after": before,
    }
    functions.append(new)
    functions[place]["trigger_after"] = len(functions) - 1


def test_a_step_without_outputs_is_no_setter() -> None:
    config, _ = page()
    props = {"label": "Fill the prompt again", "value": False}
    config["components"].append({"id": 9000, "type": "checkbox", "props": props})
    insert_before_the_generator(config, [9000])
    schema = Schema.from_config(config)
    assert names_of(schema) == NAMES
    assert len(schema.steps) == 2
    assert "fill_the_prompt_again" not in schema.parameters


@pytest.mark.parametrize("where", ["root", "setter", "generator", "stop"])
def test_what_the_page_does_by_itself_is_a_link_of_the_chain(where: str) -> None:
    """A fork scrolls, plays a sound or hides something before the server is asked."""
    config, setter = page()
    expected = Schema.from_config(config)
    functions = config["dependencies"]
    root, generator, stop = (
        functions[index]
        for index in (
            setter["trigger_after"],
            expected.steps[-1].fn_index,
            expected.stop.fn_index if expected.stop is not None else 0,
        )
    )
    while root["trigger_after"] is not None:
        root = functions[root["trigger_after"]]
    follower = {"root": root, "setter": setter, "generator": generator, "stop": stop}[where]
    functions.append(
        {
            **copy.deepcopy(follower),
            "inputs": [],
            "outputs": [],
            "backend_fn": False,
            "js": "() => {}",
            "types": {"generator": False},
        }
    )
    follower["trigger_after"] = len(functions) - 1
    if where in ("root", "stop"):
        follower["trigger"] = "then"
    schema = Schema.from_config(config)
    assert schema.steps == expected.steps
    assert schema.stop == expected.stop
    assert schema.skip == expected.skip


def test_what_else_yields_images_is_not_the_generation() -> None:
    config, _ = page()
    expected = Schema.from_config(config)
    functions = config["dependencies"]
    place = expected.steps[-1].fn_index
    gallery = {"id": 9000, "type": "gallery", "props": {"label": "Faces"}}
    config["components"].append(gallery)
    functions.append({**copy.deepcopy(functions[place]), "outputs": [9000]})
    functions[-1]["trigger_after"] = place
    assert Schema.from_config(config).steps == expected.steps


def test_a_page_with_hardly_any_known_label_is_read_in_part() -> None:
    """Such as a translated fork with much of its own: what has an id of Fooocus's is left."""
    config, setter = page()
    truth = dict(zip(setter["inputs"], NAMES, strict=False))
    for item in config["components"]:
        item["props"]["label"] = f"追加 {item['id']}" if item["props"].get("label") else None
    for number in range(60):
        props = {"label": f"新しい {number}", "value": False}
        config["components"].append({"id": 9000 + number, "type": "checkbox", "props": props})
        setter["inputs"].insert(2 + 3 * number % 150, 9000 + number)
    schema = Schema.from_config(config)
    assert "prompt" in schema.parameters
    assert "negative_prompt" in schema.parameters
    for number, name in zip(setter["inputs"], names_of(schema), strict=True):
        assert truth.get(number) == name or not is_known_parameter(str(name))
    request = build_request(schema, "a cat", {"negative_prompt": "a dog"})
    assert request.values["negative_prompt"] == "a dog"


@pytest.mark.parametrize("place", [3, 40, -1])
def test_a_list_with_a_common_label_is_known_by_what_it_offers_too(place: int) -> None:
    config, setter = page()
    config["title"] = "Fooocus 2.3.1"
    gone = {
        number
        for name, number in zip(NAMES, setter["inputs"], strict=False)
        if name.startswith("enhance_")
    }
    setter["inputs"] = [number for number in setter["inputs"] if number not in gone]
    props = {"label": "Prompt", "choices": ["short", "long"], "value": "short"}
    config["components"].append({"id": 9000, "type": "radio", "props": props})
    setter["inputs"].insert(place if place >= 0 else len(setter["inputs"]), 9000)
    schema = Schema.from_config(config)
    found = dict(zip(setter["inputs"], names_of(schema), strict=True))
    assert not is_known_parameter(str(found[9000]))


def test_another_app_with_a_prompt_and_a_seed_is_no_fooocus() -> None:
    shown = {"Prompt": "textbox", "Negative Prompt": "textbox", "Seed": "number"}
    shown |= {"Guidance Scale": "slider", "Run": "button", "Result": "gallery"}
    components = [
        {"id": number, "type": kind, "props": {"label": label}}
        for number, (label, kind) in enumerate(shown.items())
    ]
    function = {
        "targets": [[4, "click"]],
        "inputs": [0, 1, 2, 3],
        "outputs": [5],
        "trigger_after": None,
        "types": {"generator": True},
        "queue": None,
    }
    config = {"title": "SDXL", "components": components, "dependencies": [function]}
    with pytest.raises(UnsupportedServer, match=r"only \d of 4 inputs are known"):
        Schema.from_config(config)


def test_a_seed_in_a_state_is_set_by_the_step_before() -> None:
    config, setter = page()
    seed = component(config, "image_seed")["id"]
    props = {"label": "Random", "value": True}
    config["components"] += [
        {"id": 9000, "type": "checkbox", "props": props},
        {"id": 9001, "type": "state", "props": {}},
    ]
    functions = config["dependencies"]
    before = setter["trigger_after"]
    new = {
        **copy.deepcopy(functions[before]),
        "inputs": [9000, seed],
        "outputs": [9001],
        "trigger_after": before,
    }
    functions.append(new)
    setter["trigger_after"] = len(functions) - 1
    setter["inputs"][setter["inputs"].index(seed)] = 9001
    schema = Schema.from_config(config)
    drawing, setting, _ = schema.steps
    assert drawing.inputs == ("random", "image_seed")
    assert setting.inputs[NAMES.index("image_seed")] is None
    request = build_request(schema, "a cat", {"seed": 7})
    # The server must not draw another one.
    assert schema.payload(drawing, request.values) == [False, "7"]


def test_a_circle_of_functions_ends() -> None:
    config, setter = page()
    root = setter["trigger_after"]
    functions = config["dependencies"]
    for item in functions:
        if item is not setter and item["trigger_after"] is not None:
            item["trigger_after"] = functions.index(setter)
    setter["trigger_after"] = functions.index(setter)
    assert root is not None
    with pytest.raises(UnsupportedServer):
        Schema.from_config(config)


# -- what is there twice ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["freeu_enabled", "uov_method", "enhance_3_mask_model"])
def test_a_known_label_in_a_second_place_is_new(name: str) -> None:
    config, setter = page()
    config["components"].append({**copy.deepcopy(component(config, name)), "id": 9000})
    setter["inputs"].append(9000)
    schema = Schema.from_config(config)
    found = names_of(schema)
    assert found[:-1] == NAMES
    assert found[-1] is not None
    assert not is_known_parameter(found[-1])


def test_the_same_component_twice_gets_one_value() -> None:
    config, setter = page()
    setter["inputs"].append(component(config, "prompt")["id"])
    schema = Schema.from_config(config)
    assert names_of(schema) == [*NAMES, "prompt"]
    call = max(schema.steps, key=lambda item: len(item.inputs))
    payload = schema.payload(call, {"prompt": "a cat"})
    assert payload[-1] == payload[NAMES.index("prompt")] == "a cat"


BLOCK = ("enhance_uov_method", "enhance_uov_processing_order", "enhance_uov_prompt_type")


@pytest.mark.parametrize("with_image", [True, False])
def test_a_copy_of_a_block_is_new_and_the_block_keeps_its_names(with_image: bool) -> None:
    """Only what stands on both sides tells the two apart."""
    config, setter = page()
    inputs = setter["inputs"]
    image, checkbox = (
        component(config, name) for name in ("enhance_input_image", "enhance_checkbox")
    )
    copies = [copy.deepcopy(component(config, name)) for name in BLOCK]
    if with_image:
        props = {**image["props"], "label": "Use with Faces, skips image generation"}
        copies.insert(0, {**copy.deepcopy(image), "props": props})
    for number, item in enumerate(copies):
        item["id"] = 9000 + number
    config["components"] += copies
    inputs.remove(checkbox["id"])
    new = [item["id"] for item in copies]
    place = inputs.index(image["id"])
    inputs[place:place] = [checkbox["id"], *new]
    schema = Schema.from_config(config)
    found = names_of(schema)
    kept = [name for number, name in zip(inputs, found, strict=True) if number not in new]
    expected = [name for name in NAMES if name != "enhance_checkbox"]
    expected.insert(place, "enhance_checkbox")
    if with_image:
        assert kept == expected
        assert not schema.parameters.doubtful
    else:
        # Now the copy, too, has one of its neighbours beside it.
        assert [name for name in kept if name in NAMES] == [n for n in expected if n not in BLOCK]
    assert not any(is_known_parameter(str(name)) for name in set(found) - set(kept))


def test_what_is_left_behind_whole_groups_does_not_make_them_doubtful() -> None:
    """A fork has members of a group once more, for something else."""
    config, setter = page()
    group = [name.removeprefix("enhance_3_") for name in NAMES if name.startswith("enhance_3_")]
    left = group[1:10]
    for number, member in enumerate(left):
        item = {**copy.deepcopy(component(config, f"enhance_3_{member}")), "id": 9000 + number}
        config["components"].append(item)
        setter["inputs"].append(item["id"])
    schema = Schema.from_config(config)
    found = names_of(schema)
    assert found[: -len(left)] == NAMES
    assert not any(is_known_parameter(str(name)) for name in found[-len(left) :])
    assert len(schema.parameters.doubtful) == len(left)


def test_whole_groups_are_doubtful_where_the_page_does_not_tell_that_they_are() -> None:
    config, setter = page()
    gone = [component(config, f"enhance_{name}")["id"] for name in ("1_mask_invert", "2_enabled")]
    setter["inputs"] = [number for number in setter["inputs"] if number not in gone]
    schema = Schema.from_config(config)
    assert not [name for name in names_of(schema) if str(name).startswith("enhance_1_")]


def test_two_copies_that_nothing_tells_apart_stay_doubtful() -> None:
    config, setter = page()
    twin = {**copy.deepcopy(component(config, "enhance_uov_method")), "id": 9000}
    config["components"].append(twin)
    inputs = setter["inputs"]
    inputs.insert(inputs.index(component(config, "enhance_uov_method")["id"]), 9000)
    schema = Schema.from_config(config)
    assert "enhance_uov_method" not in schema.parameters
    assert len(schema.parameters.doubtful) >= 2


# -- in another form --------------------------------------------------------------------------


def test_a_label_with_more_words_is_known_in_the_first_place_too() -> None:
    config, _ = page()
    props = component(config, "generate_image_grid")["props"]
    props["label"] = "Generate and Save Image Grid for Each Batch"
    schema = Schema.from_config(config)
    assert names_of(schema) == NAMES
    assert not schema.parameters.doubtful


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aspect_ratios_selection", "textbox"),
        ("performance_selection", "textbox"),
        ("sampler_name", "textbox"),
        ("inpaint_engine", "textbox"),
        ("metadata_scheme", "textbox"),
        ("lora_2_model", "textbox"),
        ("enhance_2_mask_dino_prompt_text", "dropdown"),
    ],
)
@pytest.mark.parametrize("visible", [True, False])
def test_what_is_chosen_may_be_a_text_and_a_text_be_chosen(
    name: str, kind: str, visible: bool
) -> None:
    config, _ = page()
    item = component(config, name)
    item["type"] = kind
    item["props"] |= {"visible": visible}
    item["props"] |= {"choices": ["face", "hand"]} if kind == "dropdown" else {}
    schema = Schema.from_config(config)
    assert names_of(schema) == NAMES
    assert not schema.parameters.doubtful
    assert schema.parameters[name].type == ("choice" if kind == "dropdown" else "text")


@pytest.mark.parametrize("name", ["performance_selection", "style_selections", "uov_method"])
def test_a_list_without_a_label_is_known_by_what_it_offers(name: str) -> None:
    config, _ = page()
    component(config, name)["props"] |= {"label": None, "show_label": False}
    schema = Schema.from_config(config)
    assert names_of(schema) == NAMES
    assert not schema.parameters.doubtful


@pytest.mark.parametrize("label", ["Mode:", None])
def test_what_can_be_switched_off_is_not_yet_the_upscaling(label: str | None) -> None:
    config, _ = page()
    offered = {"label": label, "choices": ["Disabled", "Vary", "Upscale"], "value": "Disabled"}
    component(config, "uov_method")["props"] |= offered
    schema = Schema.from_config(config)
    assert "uov_method" not in schema.parameters
    expected = [None if name == "uov_method" else name for name in NAMES]
    assert [name if name in NAMES else None for name in names_of(schema)] == expected


def test_stop_and_skip_are_found_by_what_is_written_on_them() -> None:
    """Before 2.1.7xx, neither has an elem_id."""
    config, _ = page()
    expected = Schema.from_config(config)
    for item in config["components"]:
        if item["props"].get("elem_id") in ("stop_button", "skip_button"):
            item["props"].pop("elem_id")
    schema = Schema.from_config(config)
    assert schema.stop == expected.stop
    assert schema.skip == expected.skip
    assert schema.stop != schema.skip


def test_a_list_of_seeds_is_no_seed() -> None:
    config, setter = page()
    number = component(config, "image_seed")["id"]
    setter["inputs"][setter["inputs"].index(number)] = 9000
    props = {"label": "Seed", "choices": ["random", "fixed"], "value": "random"}
    config["components"].append({"id": 9000, "type": "dropdown", "props": props})
    schema = Schema.from_config(config)
    assert names_of(schema) == [name if name != "image_seed" else "seed_2" for name in NAMES]
    with pytest.raises(UnsupportedParameter, match="seed"):
        build_request(schema, "a cat", {"seed": 7})
    request = build_request(schema, "a cat", {})
    assert request.values["seed_2"] == "random"
    assert request.seed == NO_SEED


def test_a_doubtful_seed_stays_at_its_default_and_that_is_said() -> None:
    config, _ = page()
    component(config, "image_seed")["props"]["label"] = "Noise number"
    component(config, "image_seed")["type"] = "number"
    schema = Schema.from_config(config)
    assert names_of(schema) == [n if n != "image_seed" else "noise_number" for n in NAMES]
    with pytest.raises(UnsupportedParameter, match="noise_number"):
        schema.resolve("seed")
    request = build_request(schema, "a cat", {})
    assert request.values["noise_number"] == schema.parameters["noise_number"].default
    assert request.seed == NO_SEED
    assert "noise_number" in request.warnings[0]
    record = {name: value for name, value in request.record().items() if name != "prompt"}
    assert build_request(schema, "a cat", record).values == request.values


def hidden_aspect_ratio(config: dict[str, Any], setter: dict[str, Any], held: str = "") -> None:
    """Show two lists of aspect ratios, and keep what is chosen in a hidden text."""
    number = component(config, "aspect_ratios_selection")["id"]
    item = component(config, "aspect_ratios_selection")
    shown = copy.deepcopy(item)
    item |= {"type": "textbox", "props": {"value": held, "visible": False}}
    for other, visible, sizes in (
        (9000, False, ["512×512", "512×768"]),
        (9001, True, ["1024×1024", "1152×896"]),
    ):
        props = {**shown["props"], "visible": visible, "choices": sizes, "value": sizes[-1]}
        config["components"].append({"id": other, "type": "radio", "props": props})
        change = {"inputs": [other], "outputs": [number], "targets": [other], "trigger": "change"}
        none = {"trigger_after": None, "types": {"generator": False}}
        config["dependencies"].append({**copy.deepcopy(setter), **change, **none})


def test_a_hidden_text_is_what_the_page_shows_in_its_place() -> None:
    config, setter = page()
    hidden_aspect_ratio(config, setter)
    schema = Schema.from_config(config)
    assert names_of(schema) == NAMES
    parameter = schema.parameters["aspect_ratio"]
    assert parameter.choices == ("1024×1024", "1152×896")
    # The page sends what it shows, as soon as it is loaded.
    assert build_request(schema, "a cat", {}).values[parameter.name] == "1152×896"
    request = build_request(schema, "a cat", {"aspect_ratio": "1024x1024"})
    assert request.values[parameter.name] == "1024×1024"


def test_a_hidden_text_that_holds_something_else_is_not_what_is_shown() -> None:
    config, setter = page()
    hidden_aspect_ratio(config, setter, held='{"width": 1152}')
    schema = Schema.from_config(config)
    assert "aspect_ratios_selection" not in schema.parameters
    expected = [None if name == "aspect_ratios_selection" else name for name in NAMES]
    assert [name if name in NAMES else None for name in names_of(schema)] == expected


@pytest.mark.parametrize(
    ("title", "version"),
    [
        ("Fooocus 2.5.5", "2.5.5"),
        ("Fooocus More v9.3.3 (base version 2.5.5)", "2.5.5"),
        ("Fooocus of ours 0.9.1", "0.9.1"),
        ("Fooocus", "unknown"),
    ],
)
def test_the_version_is_that_of_fooocus(title: str, version: str) -> None:
    config, _ = page()
    config["title"] = title
    assert Schema.from_config(config).version == version


# -- the first versions -----------------------------------------------------------------------


def test_the_first_versions_have_a_seed_of_digits_and_no_ids() -> None:
    config, _ = page()
    component(config, "image_seed")["type"] = "number"
    for item in config["components"]:
        if item["props"].get("elem_id") in ("positive_prompt", "generate_button"):
            del item["props"]["elem_id"]
    schema = Schema.from_config(config)
    assert names_of(schema) == NAMES
    assert schema.parameters["image_seed"].type == "seed"


@pytest.mark.parametrize("value", [0, -1, 3.0, "5", None, "", 10**400, "random"])
def test_a_seed_is_sent_as_the_page_has_it(value: object) -> None:
    config, _ = page()
    component(config, "image_seed")["type"] = "number"
    component(config, "image_seed")["props"]["value"] = value
    number = Schema.from_config(config)
    text = Schema.from_config(CONFIG)
    for seed in (7, "7", 2**63 - 1):
        assert build_request(number, "a cat", {"seed": seed}).values["image_seed"] == int(seed)
        assert build_request(text, "a cat", {"seed": seed}).values["image_seed"] == str(seed)
    assert type(number.parameters["image_seed"].default) is int


def test_a_drawn_seed_is_one_that_the_server_uses_as_it_is() -> None:
    """Before 2.1.733, Fooocus counted from 0 again behind 2^30 - 1."""
    config, _ = page()
    component(config, "image_seed")["type"] = "number"
    old, new = Schema.from_config(config), Schema.from_config(CONFIG)
    drawn = [build_request(old, "", {}, rng=random.Random(n)).seed for n in range(20)]
    assert max(drawn) < 2**30
    assert max(build_request(new, "", {}, rng=random.Random(n)).seed for n in range(20)) > 2**60


IN_2_0 = (
    *("prompt", "negative_prompt", "style_selections", "performance_selection"),
    *("aspect_ratios_selection", "image_number", "image_seed", "sharpness"),
    *("adm_scaler_positive", "adm_scaler_negative", "adm_scaler_end", "guidance_scale"),
    *("adaptive_cfg", "sampler_name", "scheduler_name"),
    *("overwrite_step", "overwrite_switch", "overwrite_width", "overwrite_height"),
    *("overwrite_vary_strength", "overwrite_upscale_strength", "base_model", "refiner_model"),
    *(f"lora_{number}_{member}" for number in range(1, 6) for member in ("model", "weight")),
    *("input_image_checkbox", "current_tab", "uov_method", "uov_input_image"),
    *("outpaint_selections", "inpaint_input_image"),
)


@pytest.mark.parametrize("title", ["Fooocus 2.0.93", "Fooocus"])
def test_version_2_0_takes_all_in_another_order(title: str) -> None:
    config, setter = page()
    by_name = dict(zip(NAMES, setter["inputs"][-len(NAMES) :], strict=True))
    setter["inputs"] = [by_name[name] for name in IN_2_0]
    config["title"] = title
    for item in config["components"]:
        item["props"].pop("elem_id", None)
    component(config, "prompt")["props"].pop("label", None)
    for item in config["components"]:  # what yields images has all else gone
        if item["type"] == "button" and item["props"].get("value") in ("Generate", "Stop", "Skip"):
            item["props"].pop("elem_id", None)
    schema = Schema.from_config(config)
    assert [name for name in names_of(schema) if name is not None] == list(IN_2_0)
    assert not schema.parameters.doubtful


@pytest.mark.parametrize("label", ["Selected Styles", "Image Style(s)", "Looks"])
def test_styles_may_be_a_list_to_choose_from(label: str) -> None:
    config, _ = page()
    item = component(config, "style_selections")
    item["type"] = "dropdown"
    item["props"] |= {"multiselect": True, "label": label}
    schema = Schema.from_config(config)
    assert names_of(schema) == NAMES
    assert schema.parameters["style_selections"].type == "choices"


# -- the report -------------------------------------------------------------------------------


def test_the_report_begins_with_what_generate_runs() -> None:
    config, setter = page()
    # Other functions with so many inputs that the report has to end before it is complete.
    large = {**copy.deepcopy(setter), "targets": [1], "trigger": "change", "trigger_after": None}
    config["dependencies"] += [copy.deepcopy(large) for _ in range(3)]
    setter["inputs"].remove(component(config, "prompt")["id"])
    moved = [config["dependencies"].index(setter)]
    with pytest.raises(UnsupportedServer) as caught:
        Schema.from_config(config)
    lines = [line for line in str(caught.value).splitlines() if line.startswith("fn ")]
    assert lines[0].startswith(f"fn {moved[0]}:")


# -- bounds -----------------------------------------------------------------------------------


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("key", ["label", "choices", "value", "minimum", "maximum", "step"])
@pytest.mark.parametrize("value", [10**400, deep(50_000), "9" * 5000, {}, float("nan")])
def test_absurd_descriptions_end_in_our_errors(key: str, value: Any) -> None:
    config, _ = page()
    component(config, "sharpness")["props"][key] = value
    try:
        schema = Schema.from_config(config)
    except UnsupportedServer:
        return
    assert schema.parameters["prompt"].name == "prompt"


def test_more_parts_than_any_page_has_are_refused() -> None:
    config, setter = page()
    setter["inputs"] = setter["inputs"] * 20
    with pytest.raises(UnsupportedServer, match="2000 is the most"):
        Schema.from_config(config)
    config, _ = page()
    config["components"] = config["components"] * 100
    with pytest.raises(UnsupportedServer, match="20000 is the most"):
        Schema.from_config(config)


@settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)
@given(
    relabelled=st.dictionaries(
        st.sampled_from(NAMES[1:]),
        st.sampled_from(["Crispness", "Weight", "Enable", "Image", "追加", ""]),
        max_size=4,
    )
)
def test_no_relabelled_input_gets_the_value_of_another(relabelled: dict[str, str]) -> None:
    config, _ = page()
    for name, label in relabelled.items():
        component(config, name)["props"]["label"] = label
    try:
        schema = Schema.from_config(config)
    except UnsupportedServer:
        return
    for name, true in zip(names_of(schema), NAMES, strict=True):
        assert name is not None
        assert name == true or not is_known_parameter(name)


# -- labels, versions and neighbours together -------------------------------------------------

#: Inputs that stand side by side, and that little but their labels tells apart.
ALIKE = (
    ("disable_preview", "disable_intermediate_results", "disable_seed_increment", "black_out_nsfw"),
    (
        "mixing_image_prompt_and_vary_upscale",
        "mixing_image_prompt_and_inpaint",
        "debugging_cn_preprocessor",
        "skipping_cn_preprocessor",
    ),
    ("canny_low_threshold", "canny_high_threshold"),
    ("freeu_enabled", "freeu_b1", "freeu_b2", "freeu_s1", "freeu_s2"),
    (
        "inpaint_mask_upload_checkbox",
        "inpaint_advanced_masking_checkbox",
        "invert_mask_checkbox",
        "save_final_enhanced_image_only",
    ),
    ("generate_image_grid", "read_wildcards_in_order", "input_image_checkbox"),
    ("lora_4_enabled", "lora_5_enabled", "lora_5_model", "lora_5_weight", "input_image_checkbox"),
    ("ip_1_type", "ip_2_image", "ip_2_stop", "ip_2_weight", "ip_2_type", "ip_3_image"),
)
#: The groups of image prompts.
IP = tuple(f"ip_{n}_{name}" for n in range(1, 5) for name in ("image", "stop", "weight", "type"))
TITLES = [None, "", *(f" 2.{rest}" for rest in ("0.93", "1.864", "2.1", "3.1", "4.3", "5.5"))]
#: What came after a version, where the page of 2.4 is like that of it otherwise.
AFTER = {"2.3.1": ("black_out_nsfw", "clip_skip", "vae_name")}


def make_room(config: dict[str, Any], number: int) -> None:
    """Number the components so that the number behind one is free."""
    for item in config["components"]:
        item["id"] += item["id"] > number
    for function in config["dependencies"]:
        for key in ("inputs", "outputs", "targets"):
            function[key] = [other + (other > number) for other in function[key]]


def check_names(config: dict[str, Any], truth: dict[int, str]) -> None:
    """Hold that no input has another's name."""
    try:
        schema = Schema.from_config(config)
    except UnsupportedServer:
        return
    setter = max(config["dependencies"], key=lambda item: len(item["inputs"]))
    for number, name in zip(setter["inputs"], names_of(schema), strict=True):
        if name is not None and name != "currentTask" and is_known_parameter(name):
            true = truth.get(number, "")
            assert name in (true, OTHER_NAMES.get(true))


@settings(
    max_examples=examples(40, 8),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)
@given(
    version=st.sampled_from(["demo", "2.3.1", "2.4.3", "2.5.5"]),
    title=st.sampled_from(TITLES),
    run=st.sampled_from(ALIKE),
    share=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    change=st.sampled_from(["", "dropped", "inserted", "built in"]),
    rnd=st.randoms(use_true_random=False),
)
# Of the boxes that a version in the title has not yet, one was taken for the first.
@example("demo", " 2.1.864", ALIKE[0][:2], 0.0, "", random.Random(0))
@example("demo", "", ALIKE[0][:2], 0.0, "", random.Random(0))
@example("2.4.3", "", ALIKE[4], 0.3, "built in", random.Random(0))
# A box of a group was taken for the one behind the groups.
@example("2.4.3", " 2.2.1", ALIKE[6], 0.8, "dropped", random.Random(1))
# Groups were not counted that are translated, whole or from within the first to within the last.
@example("2.5.5", None, IP[:8], 0.0, "", random.Random(0))
@example("2.5.5", None, IP[3:15], 0.0, "", random.Random(0))
def test_changed_labels_and_versions_never_give_an_input_anothers_name(
    version: str,
    title: str | None,
    run: tuple[str, ...],
    share: float,
    change: str,
    rnd: random.Random,
) -> None:
    config, names = make_config(version, without=AFTER.get(version, ()))
    if version == "demo":
        config, names = page()[0], NAMES
    config["title"] = config["title"] if title is None else f"Fooocus{title}"
    setter = max(config["dependencies"], key=lambda item: len(item["inputs"]))
    truth = dict(zip(setter["inputs"], names, strict=True))
    foreign = {item["id"]: item["props"].get("label") for item in translate(config)["components"]}
    for item in config["components"]:
        chosen = truth.get(item["id"]) in run or rnd.random() < share
        if chosen and foreign[item["id"]]:
            item["props"]["label"] = foreign[item["id"]]
    place = rnd.choice([place for place, name in enumerate(names) if name in run])
    if change == "dropped":
        setter["inputs"].pop(place)
    elif change:
        near = setter["inputs"][place]
        added = copy.deepcopy(next(item for item in config["components"] if item["id"] == near))
        added["props"]["label"] = "Опция"
        added["props"].pop("elem_id", None)
        added["id"] = 9000
        if change == "built in":
            make_room(config, near)
            added["id"] = near + 1
            truth = dict(zip(setter["inputs"], names, strict=True))
        config["components"].append(added)
        setter["inputs"].insert(place + 1, added["id"])
    check_names(config, truth)


# -- real pages -------------------------------------------------------------------------------


@pytest.mark.recorded
@pytest.mark.parametrize("truth", TRUTHS, ids=lambda path: path.name.removesuffix(".inputs.json"))
def test_real_pages_of_forks_are_read_and_no_input_is_misnamed(truth: Path) -> None:
    packed = truth.with_name(truth.name.replace(".inputs.json", ".json.gz"))
    schema = Schema.from_config(json.loads(gzip.decompress(packed.read_bytes())))
    calls = {call.fn_index: call.inputs for call in schema.steps}
    for function in json.loads(truth.read_text()):
        names = calls[function["fn_index"]]
        for name, true in zip(names, function["inputs"], strict=True):
            assert name == true or name is None or not is_known_parameter(name)
        # A fork's own input may have the name of one of Fooocus's in its code, and come second.
        assert {true for true in function["inputs"] if is_known_parameter(true)} <= set(names)
