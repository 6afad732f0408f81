"""The page is the recorded one, and what reads the real page reads it the same way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fooocus_nb.demo import page as page_module
from fooocus_nb.demo.page import PRESETS, REMOVED_BY_FLAG, Page
from fooocus_nb.fooocus.schema import Schema

SOURCE = Path(page_module.__file__).with_name("page.json")
METADATA = ("save_metadata", "metadata_scheme")
#: Of what lays the page out, the demo engine has only what functions show and hide.
LAYOUT = {"row", "column", "group", "form"}
#: These choices are the names of files.
FILES = ("Base Model", "Refiner (", "LoRA ")


def described(config):
    rows = []
    for component in config["components"]:
        if component["type"] in LAYOUT:
            continue
        props = dict(component["props"])
        props.pop("show_label", None)
        if props.get("label", "").startswith(FILES):
            del props["choices"]
        rows.append((component["type"], component.get("serializer"), props))
    return rows


def wired(config):
    """Return the functions, with places in `described` for the numbers of components."""
    kinds = {item["id"]: item["type"] for item in config["components"]}
    kept = [item["id"] for item in config["components"] if item["type"] not in LAYOUT]
    places = {number: place for place, number in enumerate(kept)}
    return [
        {
            key: [places.get(number, kinds[number]) for number in value]
            if key in ("targets", "inputs", "outputs")
            else value
            for key, value in dependency.items()
        }
        for dependency in config["dependencies"]
    ]


@pytest.mark.recorded
def test_it_is_the_recorded_page(recorded_config):
    real, ours = recorded_config("2.5.5"), Page().config
    assert described(ours) == described(real)
    assert wired(ours) == wired(real)
    rest = {"components", "dependencies"}
    assert {k: v for k, v in ours.items() if k not in rest} == {
        k: v for k, v in real.items() if k not in rest
    }


@pytest.mark.recorded
def test_without_metadata_it_is_the_recorded_page_too(recorded_config):
    real, ours = recorded_config("2.5.5-disable-metadata"), Page(without=METADATA).config
    labels = [[(kind, props.get("label"), props.get("elem_id")) for kind, _, props in described(c)]
              for c in (ours, real)]  # fmt: skip
    assert labels[0] == labels[1]
    assert wired(ours) == wired(real)


@pytest.mark.recorded
@pytest.mark.parametrize(("name", "without"), [("2.5.5", ()), ("2.5.5-disable-metadata", METADATA)])
def test_its_inputs_have_the_true_names(recorded_config, name, without):
    true = recorded_config(f"{name}.inputs")[0]["inputs"]
    schema = Schema.from_config(Page(without=without).config)
    assert ["currentTask", *schema.parameters] == true


def test_all_that_is_read_from_the_real_page_is_there():
    schema = Schema.from_config(Page().config)
    assert schema.version == "2.5.5"
    assert len(schema.parameters) == 152
    assert schema.stop
    assert schema.skip
    assert set(schema.verbs) >= {"preset", "read_metadata", "describe", "make_mask", "refresh"}


@pytest.mark.parametrize(
    ("without", "gone"),
    [
        (METADATA, {"save_metadata_to_images", "metadata_scheme"}),
        (("save_final_only",), {"save_final_enhanced_image_only"}),
        (("preset",), set()),
    ],
)
def test_flags_take_inputs_away(without, gone):
    every = set(Schema.from_config(Page().config).parameters)
    assert every - set(Schema.from_config(Page(without=without).config).parameters) == gone


def test_a_preset_changes_defaults_and_title():
    page = Page("anime")
    assert page.config["title"] == "Fooocus 2.5.5 anime"
    assert page.default("guidance_scale") == 6.0
    assert page.default("sharpness") == Page().default("sharpness")


def test_every_key_that_is_referred_to_is_a_components():
    source = json.loads(SOURCE.read_text(encoding="utf-8"))
    keys = [item["key"] for item in source["components"] if "key" in item]
    assert len(set(keys)) == len(keys)
    for row in source["functions"]:
        assert {*row.get("inputs", ()), *row.get("outputs", ())} <= set(keys)
        assert row.get("target", keys[0]) in keys
    for keys_of_flag in REMOVED_BY_FLAG.values():
        assert set(keys_of_flag) <= set(keys)


@pytest.mark.parametrize("name", PRESETS)
def test_what_a_preset_sets_can_be_chosen(name):
    page = Page()
    props = {
        key: page.config["components"][number - 1]["props"] for key, number in page.ids.items()
    }
    for key, value in PRESETS[name].items():
        choices = [choice[0] if isinstance(choice, list) else choice
                   for choice in props[key].get("choices", [])]  # fmt: skip
        for item in value if isinstance(value, list) else [value]:
            assert not choices or item in choices
