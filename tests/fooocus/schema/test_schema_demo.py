"""The demo engine's page, which is that of Fooocus 2.5.5, as flags and forks change it."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from fooocus_nb.demo.page import Page
from fooocus_nb.errors import UnsupportedParameter, UnsupportedServer
from fooocus_nb.fooocus.schema import Schema
from fooocus_nb.fooocus.schema._template import TEMPLATE, Group, Input
from fooocus_nb.fooocus.schema.naming import is_known_parameter

from ...lanes import examples

# A failure is shown as it was found: to shrink it would take minutes.
MANGLED = settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)
COUNTS = {"lora": 5, "ip": 4, "enhance": 3, "": 1}
#: What each flag of Fooocus takes away: the demo's key, and our names.
FLAGS = {
    "--disable-metadata": (
        ("save_metadata", "metadata_scheme"),
        ("save_metadata_to_images", "metadata_scheme"),
    ),
    "--disable-image-log": (("save_final_only",), ("save_final_enhanced_image_only",)),
    "--disable-preset-selection": (("preset",), ()),
}
KINDS = ["checkbox", "slider", "textbox", "dropdown", "radio", "image", "number"]


def true_names() -> list[str]:
    """Return the names of the inputs of 2.5.5 in order, as the vocabulary has them."""
    names = []
    for item in TEMPLATE:
        if isinstance(item, Input):
            names += [] if item.until else [item.name]
            continue
        assert isinstance(item, Group)
        if all(entry.until for entry in item.entries):
            continue
        for number in range(1, COUNTS[item.name] + 1):
            prefix = f"{item.name}_{number}_" if item.name else ""
            names += [prefix + entry.name for entry in item.entries]
    return ["currentTask", *names]


TRUTH = true_names()
CONFIG = Page().config


def setter_of(config: dict[str, Any]) -> dict[str, Any]:
    return max(config["dependencies"], key=lambda item: len(item["inputs"]))


def translate(config: dict[str, Any]) -> dict[str, Any]:
    """Return the page with every label in letters that Fooocus does not use."""
    translated = copy.deepcopy(config)
    table = str.maketrans("abcdefghijklmnopqrstuvwxyz", "опрстуфхцчшщъыьэюяабвгдежз")
    for item in translated["components"]:
        if label := item["props"].get("label"):
            item["props"]["label"] = label.lower().translate(table)
        if item["type"] == "button":
            item["props"]["value"] = "按钮"
    return translated


def wordless(config: dict[str, Any], number: int) -> dict[str, Any]:
    """Return what a component says of itself in every language, whatever its default is."""
    item = next(item for item in config["components"] if item["id"] == number)
    words = ("label", "info", "value")
    return {"type": item["type"]} | {k: v for k, v in item["props"].items() if k not in words}


def check(config: dict[str, Any], truth: dict[int, str], *, foreign: bool = False) -> None:
    """Hold that every input has its true name, or that the page is refused with a report.

    In another language, one that has moved may also be taken for a fork's own: then it is named
    after its label, and never after another input. Two that differ in nothing but label and
    default cannot be told apart there by anybody, once they have changed places.
    """
    inputs = setter_of(config)["inputs"]
    known = {name: number for number, name in truth.items()}
    refusal = None
    try:
        found = Schema.from_config(config).steps[0].inputs
    except UnsupportedServer as error:
        refusal = str(error)
    if refusal is not None:
        assert "Please paste this into an issue" in refusal
        return
    for number, name in zip(inputs, found, strict=True):
        assert name is not None
        if number in truth and name not in TRUTH:
            # It is called by its label, and stays at the server's default.
            assert not is_known_parameter(name)
        elif number in truth:
            twins = foreign and wordless(config, number) == wordless(config, known[name])
            assert name == truth[number] or twins
        else:
            assert name not in TRUTH


@pytest.mark.parametrize("language", ["English", "another"])
@pytest.mark.parametrize("count", range(len(FLAGS) + 1))
def test_every_input_has_its_true_name(language: str, count: int) -> None:
    flags = list(FLAGS.values())[:count]
    config = Page(without=[key for keys, _ in flags for key in keys]).config
    gone = {name for _, names in flags for name in names}
    schema = Schema.from_config(translate(config) if language == "another" else config)
    assert list(schema.steps[0].inputs) == [name for name in TRUTH if name not in gone]
    assert ("preset" in schema.verbs) == (count < 3)
    assert schema.stop
    assert schema.skip
    for name in gone:
        with pytest.raises(UnsupportedParameter, match=r"Fooocus 2\.5\.5"):
            schema.resolve(name)


@MANGLED
@given(
    keys=st.lists(st.sampled_from(list(FLAGS)), unique=True),
    dropped=st.lists(st.integers(1, 140), max_size=2, unique=True),
    inserted=st.lists(
        st.tuples(
            st.integers(1, 140),
            st.sampled_from(KINDS),
            st.sampled_from(["Fork option", "Enable my thing", "Weight", "Image", "追加"]),
        ),
        max_size=3,
    ),
)
def test_flags_and_forks_together_are_right_or_refused(
    keys: list[str], dropped: list[int], inserted: list[tuple[int, str, str]]
) -> None:
    gone = {name for key in keys for name in FLAGS[key][1]}
    config = copy.deepcopy(Page(without=[key for flag in keys for key in FLAGS[flag][0]]).config)
    inputs = setter_of(config)["inputs"]
    names = [name for name in TRUTH if name not in gone]
    truth = dict(zip(inputs, names, strict=True))
    setter = setter_of(config)
    setter["inputs"] = [number for place, number in enumerate(inputs) if place not in dropped]
    for number, (place, kind, label) in enumerate(inserted):
        props = {"label": label, "value": None, "minimum": 0, "maximum": 1, "step": 0.001}
        config["components"].append({"id": 9000 + number, "type": kind, "props": props})
        setter["inputs"].insert(place, 9000 + number)
    check(config, truth)


@MANGLED
@given(rnd=st.randoms(use_true_random=False), foreign=st.booleans(), far=st.booleans())
@example(rnd=random.Random(5), foreign=True, far=False)  # sliders of other ranges
@example(rnd=random.Random(20), foreign=True, far=False)  # boxes that are all alike
@example(rnd=random.Random(113), foreign=True, far=False)  # a slider in the place of the seed
def test_moved_inputs_are_right_or_refused(rnd: random.Random, foreign: bool, far: bool) -> None:
    config = translate(CONFIG) if foreign else copy.deepcopy(CONFIG)
    setter = setter_of(config)
    inputs = setter["inputs"]
    truth = dict(zip(inputs, TRUTH, strict=True))
    start = rnd.randrange(1, len(inputs) - 1)
    end = len(inputs) if far else min(start + rnd.randrange(2, 6), len(inputs))
    part = inputs[start:end]
    rnd.shuffle(part)
    inputs[start:end] = part
    check(config, truth, foreign=foreign)


def test_a_page_that_is_no_fooocus_any_more_is_reported() -> None:
    config = copy.deepcopy(CONFIG)
    for item in config["components"]:
        if item["props"].get("elem_id") == "generate_button":
            item["props"]["elem_id"] = "run"
    with pytest.raises(UnsupportedServer, match="generate_button") as caught:
        Schema.from_config(config)
    report = str(caught.value)
    assert "title: Fooocus 2.5.5; gradio: 3.41.2" in report
    assert "slider 'Guidance Scale' 1.0..30.0 by 0.01" in report


@settings(MANGLED, max_examples=examples(8))
@given(rnd=st.randoms(use_true_random=False), foreign=st.booleans())
def test_other_defaults_change_no_name(rnd: random.Random, foreign: bool) -> None:
    """Presets and ``config.txt`` change what the page begins with."""
    config = translate(CONFIG) if foreign else copy.deepcopy(CONFIG)
    for item in config["components"]:
        props = item["props"]
        if isinstance(props.get("value"), bool):
            props["value"] = rnd.random() < 0.5
        elif isinstance(props.get("value"), (int, float)) and "minimum" in props:
            props["value"] = rnd.choice([props["minimum"], props["maximum"]])
        elif item["type"] in ("dropdown", "radio") and props.get("choices"):
            props["value"] = rnd.choice(props["choices"])
    assert list(Schema.from_config(config).steps[0].inputs) == TRUTH


@settings(MANGLED, max_examples=examples(12))
@given(
    group=st.sampled_from(["lora", "ip", "enhance"]),
    kind=st.sampled_from(KINDS),
    label=st.sampled_from(["Mask", "Trigger words", "Block weight", "Boost"]),
    at=st.integers(0, 16),
    foreign=st.booleans(),
)
def test_what_a_fork_adds_to_every_slot_never_shifts_the_others(
    group: str, kind: str, label: str, at: int, foreign: bool
) -> None:
    config = translate(CONFIG) if foreign else copy.deepcopy(CONFIG)
    inputs = setter_of(config)["inputs"]
    truth = dict(zip(inputs, TRUTH, strict=True))
    for number in range(1, COUNTS[group] + 1):
        members = [item for item in inputs if truth.get(item, "").startswith(f"{group}_{number}_")]
        place = inputs.index(members[0]) + min(at, len(members))
        props = {"label": label, "value": None, "minimum": 0, "maximum": 2, "step": 0.01}
        config["components"].append({"id": 9000 + number, "type": kind, "props": props})
        inputs.insert(place, 9000 + number)
    check(config, truth, foreign=foreign)
