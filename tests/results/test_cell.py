"""The cell that remakes an image: read back, it asks the server for the very same."""

from __future__ import annotations

import json
import types
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

from fooocus_nb.demo.page import Page
from fooocus_nb.fooocus.requests import build_request
from fooocus_nb.fooocus.schema import Schema
from fooocus_nb.magics.parsing import parse_cell_line
from fooocus_nb.results.cell import cell_of

from ..lanes import examples

if TYPE_CHECKING:
    from fooocus_nb.fooocus.schema.parameters import Parameter

SCHEMA = Schema.from_config(Page().config)
DEFAULTS = {name: parameter.default for name, parameter in SCHEMA.parameters.items()}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def values_of(parameter: Parameter) -> st.SearchStrategy[Any] | None:
    """What the server takes for a parameter; None for images."""
    match parameter.type:
        case "boolean":
            return st.booleans()
        case "integer" | "number":
            low, high, step = parameter.minimum, parameter.maximum, parameter.step
            if low is None or high is None or not step:
                return st.integers(0, 99)
            steps = st.integers(0, int((high - low) / step + 1e-6))
            values = steps.map(lambda n: round(low + n * step, 6))
            return values.map(int) if parameter.type == "integer" else values
        case "choice":
            return st.sampled_from(parameter.choices) if parameter.choices else None
        case "choices":
            return st.lists(st.sampled_from(parameter.choices or ()), max_size=4, unique=True)
        case "seed":
            return st.integers(0, 2**63 - 1)
        case "text":
            return TEXT
    return None


STRATEGIES = {
    name: strategy
    for name, parameter in SCHEMA.parameters.items()
    if name != "prompt" and (strategy := values_of(parameter)) is not None
}


def read_back(cell: str) -> dict[str, Any]:
    """What a cell asks for, as IPython and our magic read it."""
    if cell.startswith("%%fooocus"):
        code = TransformerManager().transform_cell(cell)
        called: list[tuple[str, str, str]] = []
        shell = types.SimpleNamespace(run_cell_magic=lambda *given: called.append(given))
        exec(code, {"get_ipython": lambda: shell})
        ((name, line, body),) = called
        assert name == "fooocus"
        options = parse_cell_line(line, body)
        (parameters,) = options.runs(SCHEMA.parameters)
        return {"prompt": options.prompt, **parameters}
    asked: dict[str, Any] = {}

    def generate(prompt: str, **parameters: Any) -> None:
        asked.update(parameters, prompt=prompt)

    engine = types.SimpleNamespace(generate=generate)
    module = types.SimpleNamespace(current=lambda: engine)
    names = {"__builtins__": {"__import__": lambda *_: module, "True": True, "False": False}}
    exec(cell, names)
    return asked


def sent(parameters: dict[str, Any]) -> dict[str, Any]:
    values = dict(parameters)
    return dict(build_request(SCHEMA, values.pop("prompt", ""), values).values)


@given(
    prompt=TEXT,
    parameters=st.fixed_dictionaries({}, optional=STRATEGIES),
    known=st.booleans(),
)
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_cell_read_back_sends_the_same(
    prompt: str, parameters: dict[str, Any], known: bool
) -> None:
    record = build_request(SCHEMA, prompt, parameters).record()
    cell = cell_of(record, DEFAULTS if known else None)
    assert sent(read_back(cell)) == sent(record)


@given(prompt=TEXT, negative=TEXT)
@example(prompt="0", negative="\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}")
@settings(max_examples=examples(300), deadline=None)
def test_any_text_survives(prompt: str, negative: str) -> None:
    cell = cell_of({"prompt": prompt, "negative_prompt": negative, "image_seed": 7}, DEFAULTS)
    back = read_back(cell)
    assert back["prompt"] == prompt
    assert back.get("negative_prompt", "") == negative


def test_it_reads_as_people_would_write_it() -> None:
    record = build_request(
        SCHEMA,
        "a lighthouse,\n(golden light:1.2)",
        {"image_number": 1, "seed": 7, "styles": ["SAI Anime"], "performance": "Quality",
         "negative_prompt": "fog", "aspect_ratio": "1024x1024", "sharpness": 3.0},
    ).record()  # fmt: skip
    line, _, body = cell_of(record, DEFAULTS).partition("\n")
    assert body == "a lighthouse,\n(golden light:1.2)"
    assert line.startswith("%%fooocus -n 1 --seed 7 --negative fog --performance Quality --aspect ")
    assert line.endswith('--style "SAI Anime" --set sharpness=3.0') or "--style 'SAI Anime'" in line


def test_what_is_the_default_is_left_out() -> None:
    record = build_request(SCHEMA, "a cat", {"seed": 7}).record()
    assert cell_of(record, DEFAULTS) == "%%fooocus --seed 7\na cat"


@pytest.mark.parametrize("prompt", ["", "  \n", "a\rb", "a cat\n", "bell \x07"])
def test_a_prompt_that_is_no_body_makes_a_python_cell(prompt: str) -> None:
    cell = cell_of({"prompt": prompt, "image_seed": 1})
    assert cell.startswith("import fooocus_nb")
    assert read_back(cell)["prompt"] == prompt


def test_an_engine_that_is_not_the_current_one_is_named() -> None:
    record = {"prompt": "a cat", "image_seed": 7}
    assert cell_of(record, engine="the other") == "%%fooocus --name 'the other' --seed 7\na cat"
    assert "fooocus_nb.get('the other').generate(" in cell_of(
        record | {"negative_prompt": "one\ntwo"}, engine="the other"
    )


def test_a_negative_prompt_of_several_lines() -> None:
    cell = cell_of({"prompt": "a cat", "negative_prompt": "one\ntwo", "image_seed": 1})
    assert read_back(cell)["negative_prompt"] == "one\ntwo"


def test_an_image_in_memory_is_named_and_not_invented() -> None:
    cell = cell_of({"prompt": "a", "image_seed": 1, "uov_input_image": "sha256:" + 64 * "a"})
    assert "# uov_input_image was an image in memory" in cell
    assert "uov_input_image" not in read_back(cell)


def test_an_image_and_its_mask_are_files_in_the_cell() -> None:
    pair = {"image": "it's a.png", "mask": "mask.png"}
    cell = cell_of({"prompt": "a door", "image_seed": 1, "inpaint_input_image": pair})
    assert cell.startswith("%%fooocus")
    assert read_back(cell)["inpaint_input_image"] == pair
    drawn = {"image": "a.png", "mask": "sha256:" + 64 * "b"}
    cell = cell_of({"prompt": "a door", "image_seed": 1, "inpaint_input_image": drawn})
    assert "# inpaint_input_image was an image in memory" in cell


def test_loras_as_metadata_has_them() -> None:
    cell = cell_of({"prompt": "a", "seed": 1, "loras": [("it's a file.safetensors", 0.5)]})
    (pair,) = read_back(cell)["loras"]
    assert json.loads(json.dumps(pair)) == ["it's a file.safetensors", 0.5]


def test_hostile_text_stays_text() -> None:
    evil = "--set x=1\n%%bash\n<script>alert(1)</script> $(rm -rf /) {x} \\ ' \""
    back = read_back(cell_of({"prompt": evil, "negative_prompt": evil, "image_seed": 1}))
    assert (back["prompt"], back["negative_prompt"]) == (evil, evil)
