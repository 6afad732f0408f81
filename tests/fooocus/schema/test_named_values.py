"""Values by canonical and by short names."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from typing import Any

import IPython.lib.pretty
import pytest

from fooocus_nb.fooocus.metadata import parse_metadata
from fooocus_nb.fooocus.schema.named_values import NamedValues, PartialRecord
from fooocus_nb.fooocus.schema.parameters import ALIASES
from fooocus_nb.results import Image, Result

ASPECT = '1152×896 <span style="color: grey;"> ∣ 9:7</span>'
VALUES = {
    "prompt": "a <lora:x:1> cat",
    "image_seed": 7,
    "aspect_ratios_selection": ASPECT,
    "style_selections": ["a"],
}


def test_every_short_name_is_the_canonical_one() -> None:
    values = NamedValues({name: number for number, name in enumerate(ALIASES.values())})
    for short, name in ALIASES.items():
        assert values[short] == values[name] == values.get(short)
        assert short in values
        assert name in values


def test_iteration_gives_canonical_names_once() -> None:
    values = NamedValues({"seed": 7, "styles": ["a"], "prompt": "x"})
    assert list(values) == ["image_seed", "style_selections", "prompt"]
    assert len(values) == 3
    assert dict(**values) == {"image_seed": 7, "style_selections": ["a"], "prompt": "x"}


def test_shown_values_have_no_html_but_prompts_keep_theirs() -> None:
    values = NamedValues(VALUES)
    assert values["aspect_ratio"] == "1152x896 | 9:7"
    assert values["prompt"] == "a <lora:x:1> cat"
    assert "<span" not in repr(values)


def test_it_equals_dicts_under_both_names() -> None:
    values = NamedValues({"seed": 7})
    assert values == {"image_seed": 7}
    short: object = {"seed": 7}
    assert short == values  # a dict asks the other side
    assert values == NamedValues({"image_seed": 7})
    assert values != {"image_seed": 8}
    assert values != 7


def test_what_is_not_there() -> None:
    values = NamedValues(VALUES)
    assert values.get("steps") is None
    assert values.get("steps", 3) == 3
    assert "steps" not in values
    assert 7 not in values
    with pytest.raises(KeyError, match=r"There is no value for 'sede'\. Did you mean 'seed'"):
        values["sede"]


def test_a_parameter_that_is_called_otherwise_in_another_version() -> None:
    values = NamedValues({"inpaint_mask_upload_checkbox": True})
    assert values["inpaint_advanced_masking_checkbox"] is True


def test_it_is_immutable_and_can_be_pickled_copied_and_merged() -> None:
    source: dict[str, Any] = {"seed": 7}
    values = NamedValues(source)
    source["seed"] = 8
    assert values["seed"] == 7
    with pytest.raises(TypeError):
        values["seed"] = 8  # type: ignore[index]
    for again in (pickle.loads(pickle.dumps(values)), copy.deepcopy(values), copy.copy(values)):
        assert again == values
        assert again["seed"] == 7
    assert json.loads(json.dumps(dict(values))) == {"image_seed": 7}
    assert values | {"seed": 8} == {"image_seed": 8}
    assert {"seed": 8, "steps": 2} | values == {"image_seed": 7, "overwrite_step": 2}


def test_completion_offers_both_names() -> None:
    assert NamedValues({"seed": 7})._ipython_key_completions_() == ["image_seed", "seed"]


def test_all_that_we_return_knows_both_names(tmp_path: Any) -> None:
    image = Image(tmp_path / "x.png", seed=7, parameters=VALUES)
    result = Result([image], elapsed=1, log=[], parameters=VALUES, prompt="a")
    found = parse_metadata('{"seed": "7", "resolution": "(1152, 896)", "styles": "[\'a\']"}')
    assert image.parameters["seed"] == result.parameters["seed"] == result.seed == 7
    assert result.parameters["aspect_ratio"] == image.parameters["aspect_ratios_selection"]
    assert found.parameters["seed"] == found.parameters["image_seed"] == "7"
    assert found.parameters["styles"] == result.parameters["styles"] == ["a"]
    assert found.parameters["width"] == 1152


def test_a_partial_records_value_is_a_text() -> None:
    value = PartialRecord("7", ("style_selections",), "text")
    assert (value, json.dumps(value), hash(value)) == ("7", '"7"', hash("7"))
    again = pickle.loads(pickle.dumps(value))
    assert (again, again.missing, again.record) == ("7", ("style_selections",), "text")


def test_what_two_have_in_common_is_kept_once() -> None:
    first = NamedValues({"image_seed": 1, "prompt": "a", "sharpness": 1, **dict.fromkeys("xyz", 5)})
    given = {**first, "image_seed": 2, "sharpness": True}
    shared = NamedValues(given).sharing(first)
    assert shared == NamedValues(given)
    assert list(shared) == list(given)
    assert (shared["seed"], shared["sharpness"], len(shared)) == (2, True, len(given))
    assert shared | {"seed": 3} == {**given, "image_seed": 3}
    assert pickle.loads(pickle.dumps(shared)) == shared
    assert sys.getsizeof(shared._changes) < sys.getsizeof(shared._base)
    assert shared._base is first._base


def test_a_notebook_shows_a_line_for_each_value() -> None:
    text = IPython.lib.pretty.pretty(NamedValues({f"a_long_name_{n}": n for n in range(20)}))
    assert text.count("\n") == 19


def test_what_has_little_in_common_is_kept_by_itself() -> None:
    first = NamedValues({"prompt": "a", "image_seed": 1})
    for other in ({"prompt": "b", "image_seed": 2}, {"prompt": "a"}):
        values = NamedValues(other)
        assert values.sharing(first) is values
    # A list could be changed by whoever has one of them.
    lists = [NamedValues({"style_selections": ["x"], "prompt": "a", "cn": 1}) for _ in range(2)]
    assert lists[1].sharing(lists[0])["styles"] is lists[1]["styles"]
