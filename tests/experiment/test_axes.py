"""Axes, templates, text forms, conditions and the identity of cells: no engine is needed."""

from __future__ import annotations

import enum
import itertools
import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fooocus_nb import Enhance, ImagePrompt, Inpaint, ParameterError, Upscale, Vary
from fooocus_nb.experiment.identity import InputImages, cell_id, parameters_of, same_form
from fooocus_nb.experiment.sweep import Sweep
from fooocus_nb.experiment.text_forms import parse_axis
from fooocus_nb.fooocus.transport.data_uris import encode_data_uri

if TYPE_CHECKING:
    from pathlib import Path


class Performance(str, enum.Enum):  # noqa: UP042 - its text is not its value
    SPEED = "Speed"


def ids(sweep: Sweep, seed: int = 1) -> list[str]:
    return [cell.id for cell in sweep.cells(seed)]


def image_file(folder: Path, name: str, colour: str = "red") -> Path:
    path = folder / name
    PIL.Image.new("RGB", (16, 16), colour).save(path)
    return path


# -- the product ------------------------------------------------------------------------------


def test_every_combination_is_a_cell_and_the_first_axis_moves_last() -> None:
    sweep = Sweep(prompt=["a", "b"], guidance_scale=[3, 5, 7], seed=range(4), base={"steps": 4})
    assert sweep.count == 24
    cells = sweep.cells()
    assert [cell.axes["prompt"] for cell in cells] == ["a"] * 12 + ["b"] * 12
    assert [cell.axes["image_seed"] for cell in cells[:5]] == ["0", "1", "2", "3", "0"]
    assert all(cell.values["overwrite_step"] == 4 for cell in cells)


def test_values_that_go_together_are_one_axis() -> None:
    sweep = Sweep(zip={"width": [512, 768], "height": [768, 512]}, seed=[1, 2])
    assert sweep.count == 4
    sizes = [(c.values["overwrite_width"], c.values["overwrite_height"]) for c in sweep.cells()]
    assert sorted(set(sizes)) == [(512, 768), (768, 512)]
    with pytest.raises(ParameterError, match=r"width has 2, .*height has 1"):
        Sweep(zip={"width": [512, 768], "height": [768]})


def test_the_same_under_two_names_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"image_seed.*twice"):
        Sweep(seed=[1], image_seed=[2])
    with pytest.raises(ParameterError, match="two names"):
        Sweep(base={"seed": 1, "image_seed": 2})


def test_an_axis_goes_before_the_base() -> None:
    sweep = Sweep(guidance_scale=[3, 5], base={"guidance_scale": 9, "seed": 1})
    assert [cell.values["guidance_scale"] for cell in sweep.cells()] == [3, 5]
    assert sweep.count == 2


@pytest.mark.parametrize("empty", [[], (), range(0), np.array([]), iter(())])
def test_an_empty_axis_is_an_error(empty: object) -> None:
    with pytest.raises(ParameterError, match=r"guidance_scale.*empty axis"):
        Sweep(guidance_scale=empty)


def test_an_endless_axis_is_an_error_and_no_hang() -> None:
    with pytest.raises(ParameterError, match="more than 100,000 values"):
        Sweep(seed=itertools.count())
    with pytest.raises(ParameterError, match="no order"):
        Sweep(seed={1, 2})


def test_a_huge_product_is_a_number() -> None:
    sweep = Sweep(prompt="{a|b|c} " * 20)
    assert sweep.count == 3**20
    with pytest.raises(ParameterError, match=r"3,486,784,401 cells.*100,000"):
        sweep.cells()
    assert len(Sweep(prompt="{a|b|c} " * 20, sample=7).cells()) == 7
    assert Sweep(prompt="{a|b|c} " * 200).count == 3**200


# -- conditions and samples -------------------------------------------------------------------


def test_conditions_see_both_names_and_seeds_as_numbers() -> None:
    axes = {"guidance_scale": [3, 5], "seed": range(4)}
    sweep = Sweep(**axes, where=lambda cell: cell["seed"] < 2 and cell["image_seed"] >= 0)
    assert len(sweep.cells()) == 4
    sweep = Sweep(**axes, exclude={"guidance_scale": 5.0, "seed": [0, 1]})
    assert len(sweep.cells()) == 6
    sweep = Sweep(**axes, later=lambda cell: cell["seed"] == 3)
    assert [cell.later for cell in sweep.cells()].count(True) == 2
    with pytest.raises(ParameterError, match=r"guidance.*guidance_scale"):
        Sweep(**axes, exclude={"guidance": 5})
    with pytest.raises(ParameterError, match=r"where= failed.*KeyError"):
        Sweep(**axes, where=lambda cell: cell["nonsense"]).cells()
    with pytest.raises(ParameterError, match="where="):
        Sweep(**axes, where="seed > 2")


def test_a_sample_is_the_same_each_time_and_in_any_order_of_the_axes() -> None:
    axes = {"guidance_scale": [3, 5, 7, 9], "seed": range(25)}
    sample = ids(Sweep(**axes, sample=10))
    assert len(set(sample)) == 10
    turned = {"seed": reversed(range(25)), "guidance_scale": [9, 7, 5, 3]}
    assert set(ids(Sweep(**turned, sample=10))) == set(sample)
    assert set(ids(Sweep(**axes, sample=10, sample_seed=1))) != set(sample)
    with pytest.raises(ParameterError, match="sample=0"):
        Sweep(**axes, sample=0)


def test_values_of_a_condition_are_given_as_those_of_an_axis() -> None:
    axes = {"guidance_scale": [3, 5], "seed": range(4)}
    for some in (np.array([0, 1]), {0, 1}, (each for each in (0, 1)), range(2)):
        sweep = Sweep(**axes, exclude={"seed": some, "guidance_scale": np.float64(3)})
        assert len(sweep.cells()) == 6
    assert len(Sweep(**axes, sample=np.int64(3)).cells()) == 3


def test_a_table_of_pandas_is_values_that_go_together() -> None:
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"width": [512, 768], "height": [768, 512]})
    sweep = Sweep(zip=table, seed=[1, 2], exclude={"seed": pd.Series([2])})
    assert len(sweep.cells()) == 2
    lists = {"width": [512, 768], "height": [768, 512]}
    assert ids(Sweep(zip=table, seed=1)) == ids(Sweep(zip=lists, seed=1))
    with pytest.raises(ParameterError, match="must be a mapping"):
        Sweep(zip="width")


# -- identity ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"guidance_scale": 3}, {"guidance_scale": 3.0}),
        ({"guidance_scale": 3}, {"guidance_scale": np.int64(3)}),
        ({"guidance_scale": 0.5}, {"guidance_scale": np.float64(0.5)}),
        ({"sharpness": True}, {"sharpness": np.bool_(True)}),
        ({"seed": 7}, {"image_seed": "7"}),
        ({"seed": 2**63 - 1}, {"seed": str(2**63 - 1)}),
        ({"styles": [["a"]]}, {"style_selections": ["a"]}),
        ({"loras": [[("x", 1.0)]]}, {"loras": ["x"]}),
        ({"loras": [("x", 0.5)]}, {"loras": [[["x", np.float32(0.5)]]]}),
        ({"aspect_ratio": "1152x896"}, {"aspect_ratio": "1152×896 <span>∣ 9:7</span>"}),
        ({"base_model": None, "steps": 3}, {"steps": 3}),
        ({"loras": [("x", 0.5)]}, {"loras": [["x", 0.5]]}),
        ({"performance": "Speed"}, {"performance": Performance.SPEED}),
    ],
)
def test_equal_values_are_one_cell(one: dict, other: dict) -> None:
    assert ids(Sweep(**one)) == ids(Sweep(**other))


def test_true_is_not_one() -> None:
    assert len(Sweep(sharpness=[True, 1]).cells()) == 2
    assert len(Sweep(sharpness=[3, 3.0, np.int64(3)]).cells()) == 1


@pytest.mark.parametrize("seed", [3.5, -2, True, 2**63, "x", float("nan"), -1.5])
def test_what_is_no_seed_is_refused(seed: object) -> None:
    with pytest.raises(ParameterError, match=r"seed=.*whole number"):
        Sweep(seed=[seed])


def test_a_seed_that_a_float_has_rounded_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"seed=.*rounded.*Int64"):
        Sweep(seed=np.array([6687881544318117707], dtype=float))
    assert Sweep(seed=[7.0, float(2**53 - 1)]).axes["image_seed"] == ("7", str(2**53 - 1))


def test_what_no_parameter_takes_is_refused() -> None:
    with pytest.raises(ParameterError, match="finite"):
        Sweep(guidance_scale=[float("nan")])
    with pytest.raises(ParameterError, match="type object"):
        Sweep(guidance_scale=[object()])
    with pytest.raises(ParameterError, match="encoded"):
        Sweep(prompt="\ud800", base={"negative_prompt": "\ud800"}).cells()


def test_one_seed_is_drawn_for_the_whole_sweep() -> None:
    for given_seed in (
        *({}, {"seed": -1}, {"seed": "-1"}, {"base": {"seed": -1}}),
        *({"seed": np.int64(-1)}, {"seed": -1.0}, {"seed": np.array([-1])}),
    ):
        sweep = Sweep(guidance_scale=[3, 5, 7], **given_seed)
        seeds = {cell.values["image_seed"] for cell in sweep.cells()}
        assert seeds == {str(sweep.drawn_seed)}
        assert sweep.draws_seed
    assert Sweep(seed=[-1, -1, 5]).count == 3
    assert len({c.values["image_seed"] for c in Sweep(seed=[-1, -1, 5]).cells()}) == 3
    assert not Sweep(seed=[1]).draws_seed


def test_every_cell_gets_its_own_seed_where_that_is_asked_for() -> None:
    sweep = Sweep(guidance_scale=[3, 5, 7], seed="each")
    assert len({cell.values["image_seed"] for cell in sweep.cells()}) == 3
    assert ids(sweep, 5) == ids(Sweep(guidance_scale=[3, 5, 7], seed="each"), 5)
    longer = ids(Sweep(guidance_scale=[1, 3, 5, 7], seed="each"), 5)
    assert set(ids(sweep, 5)) < set(longer)


def test_extending_and_turning_an_axis_keeps_every_cell() -> None:
    before = ids(Sweep(prompt="a", guidance_scale=[3, 5], seed=[1, 2]))
    after = ids(Sweep(seed=[3, 2, 1], guidance_scale=[7, 5, 3], prompt=["b", "a"]))
    assert set(before) < set(after)
    moved = ids(Sweep(guidance_scale=[3, 5], seed=[1, 2], base={"prompt": "a"}))
    assert set(moved) == set(before)


plain_values = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])), st.integers(), st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from("abcdef"), plain_values))
def test_identity_does_not_depend_on_order_and_tells_values_apart(values: dict) -> None:
    images = InputImages()
    made = {name: same_form(name, value, images) for name, value in values.items()}
    turned = dict(reversed(made.items()))
    assert cell_id(made) == cell_id(turned)
    for name in made:
        changed = {**made, name: "something else"}
        assert (cell_id(changed) == cell_id(made)) is (made[name] == "something else")


# -- images and tasks -------------------------------------------------------------------------


def test_a_folder_a_pattern_and_a_list_of_images(tmp_path: Path) -> None:
    for name, colour in (("b.png", "red"), ("a.png", "blue"), ("c.jpg", "green")):
        image_file(tmp_path, name, colour)
    (tmp_path / "notes.txt").write_text("x")
    task = Upscale("1.5x")
    by_folder = Sweep(image=tmp_path, task=task)
    assert [cell.axes["image"]["name"] for cell in by_folder.cells()] == ["a.png", "b.png", "c.jpg"]
    by_pattern = Sweep(image=f"{tmp_path}/*.png", task=task)
    assert len(by_pattern.cells()) == 2
    assert set(ids(by_pattern)) < set(ids(by_folder))
    given_task = by_pattern.parameters(by_pattern.cells()[0])["task"]
    assert given_task == Upscale(tmp_path / "a.png", "1.5x")
    with pytest.raises(ParameterError, match=r"b\.pgn.*matches no file.*b\.png"):
        Sweep(image=f"{tmp_path}/?b.pgn*", task=task)
    image_file(tmp_path, "._a.png")  # as macOS leaves it on a disk of another system
    assert ids(Sweep(image=tmp_path, task=task)) == ids(by_folder)
    guides = Sweep(image_prompts=f"{tmp_path}/*.png")
    assert [c.values["image_prompts"][0]["image"]["name"] for c in guides.cells()] == [
        "a.png",
        "b.png",
    ]
    web = Sweep(image="https://example.org/a.png?size=[1]", task=task).cells()[0]
    assert web.axes["image"] == {"url": "https://example.org/a.png?size=[1]"}
    with pytest.raises(ParameterError, match="needs a task"):
        Sweep(image=tmp_path)
    with pytest.raises(ParameterError, match="cannot be read"):
        Sweep(image=tmp_path / "gone.png", task=task)
    with pytest.raises(ParameterError, match="cannot be read"):
        Sweep(image="~nobody-of-that-name/a.png", task=task)
    with pytest.raises(ParameterError, match=r"\*\.png.*is an axis"):
        Sweep(base={"image": f"{tmp_path}/*.png"}, task=task)
    with pytest.raises(ParameterError, match=r"task='upscale'.*Upscale"):
        Sweep(image=tmp_path, task="upscale")


def test_an_image_is_its_bytes_wherever_it_lies_and_whatever_it_is_called(tmp_path: Path) -> None:
    one = image_file(tmp_path, "one.png")
    other = tmp_path / "sub" / unicodedata.normalize("NFD", "größe.png")
    other.parent.mkdir()
    other.write_bytes(one.read_bytes())
    task = Vary("strong")
    assert ids(Sweep(image=one, task=task)) == ids(Sweep(image=other, task=task))
    assert ids(Sweep(image=one, task=task)) == ids(Sweep(image=[one.read_bytes()], task=task))
    written = encode_data_uri(one.read_bytes())
    for each in (written, [written], [one, written]):
        assert ids(Sweep(image=one, task=task)) == ids(Sweep(image=each, task=task))
    assert ids(Sweep(task=Upscale(one, "2x"))) == ids(Sweep(task=Upscale(written, "2x")))
    sweep = Sweep(image=written, task=task)
    assert sweep.parameters(sweep.cells()[0])["task"].image == one.read_bytes()
    for broken in ("data:image/png;base64,***", "data:text/plain,hello", "data:" + "a" * 5000):
        with pytest.raises(ParameterError, match=r"is no image: a data URI begins with"):
            Sweep(image=broken, task=task)
    with pytest.raises(ParameterError, match="cannot be read: File name too long"):
        Sweep(image="a" * 5000, task=task)
    found = Sweep(image=f"{tmp_path}/sub/gr*.png", task=task).cells()[0].axes["image"]["name"]
    assert found == "größe.png"
    pixels = PIL.Image.open(one)
    assert ids(Sweep(image=pixels, task=task)) == ids(Sweep(image=np.asarray(pixels), task=task))


def test_a_task_is_its_fields_in_one_form() -> None:
    data = b"x"
    assert ids(Sweep(task=Upscale(data, 1.5))) == ids(Sweep(task=Upscale(data, "1.5x")))
    assert ids(Sweep(task=Upscale(data))) == ids(Sweep(task=Upscale(data, 2)))
    assert ids(Sweep(task=Vary(data, " Strong"))) == ids(Sweep(task=Vary(data, "strong")))
    assert ids(Sweep(task=Vary(data))) != ids(Sweep(task=Upscale(data)))
    assert Upscale("fast 2x") == Upscale(None, "fast 2x")
    with pytest.raises(ParameterError, match="image= is missing"):
        Upscale("1.5x").expand()


def test_values_come_back_as_what_generate_takes(tmp_path: Path) -> None:
    path = image_file(tmp_path, "one.png")
    given_values = {
        "prompt": "a",
        "task": Inpaint(path, path, mode="detail", outpaint=["left"]),
        "image_prompts": [[ImagePrompt(path, "FaceSwap", weight=0.5)]],
        "enhance": [[Enhance("face", max_detections=2)]],
        "loras": [[("x", 0.8)]],
        "inpaint_input_image": {"image": path, "mask": path},
        "seed": 6687881544318117707,
    }
    sweep = Sweep(**given_values)
    (cell,) = sweep.cells()
    back = parameters_of(cell.values, lambda entry: path)
    assert back["task"] == given_values["task"]
    assert back["image_prompts"] == given_values["image_prompts"][0]
    assert back["enhance"] == given_values["enhance"][0]
    assert back["loras"] == [["x", 0.8]]
    assert back["inpaint_input_image"] == given_values["inpaint_input_image"]
    assert back["image_seed"] == "6687881544318117707"


# -- prompts ----------------------------------------------------------------------------------


def test_a_prompt_is_filled_in_from_axes() -> None:
    sweep = Sweep(
        prompt=["a {animal} at {time}", "only a {animal}"], animal=["cat", "dog"],
        base={"time": "dawn"}, negative_prompt="no {animal}", seed=1,
    )  # fmt: skip
    cells = sweep.cells()
    assert [cell.values["prompt"] for cell in cells] == [
        "a cat at dawn", "a dog at dawn", "only a cat", "only a dog",
    ]  # fmt: skip
    assert cells[1].axes == {
        "prompt": "a {animal} at {time}", "animal": "dog", "negative_prompt": "no {animal}",
        "image_seed": "1",
    }  # fmt: skip
    assert cells[1].values["negative_prompt"] == "no dog"
    assert "animal" not in cells[0].values


def test_an_axis_that_a_prompt_does_not_use_makes_nothing_twice() -> None:
    sweep = Sweep(prompt=["a {animal}", "nothing"], animal=["cat", "dog"], seed=1)
    assert sweep.count == 4
    assert len(sweep.cells()) == 3


def test_a_parameter_may_also_fill_in_a_prompt() -> None:
    (cell,) = Sweep(prompt="steps {steps}, {performance}", steps=3, performance="Speed").cells()
    assert cell.values["prompt"] == "steps 3, Speed"
    assert cell.values["overwrite_step"] == 3


def test_alternatives_are_each_of_them_and_doubled_braces_are_braces() -> None:
    sweep = Sweep(prompt="a {red|green} {|tall }house", seed=1)
    assert [cell.values["prompt"] for cell in sweep.cells()] == [
        "a red house", "a red tall house", "a green house", "a green tall house",
    ]  # fmt: skip
    (cell,) = Sweep(prompt="{{a}} and {{b|c}} and {0.5}", seed=1).cells()
    assert cell.values["prompt"] == "{a} and {b|c} and {0.5}"
    (cell,) = Sweep(prompt="a { animal }", animal="cat", seed=1).cells()
    assert cell.values["prompt"] == "a cat"
    (cell,) = Sweep(prompt="{{a|{animal}}}", animal="cat", seed=1).cells()
    assert cell.values["prompt"] == "{a|cat}"
    for nested in ("{a|{b|c}}", "{{a|b}|c}", "{a|{animal}}"):
        with pytest.raises(ParameterError, match="within alternatives"):
            Sweep(prompt=nested.replace("{{", "{x {"), animal=["cat"])
    with pytest.raises(ParameterError, match=r"\{seed\}.*seed can't be filled in"):
        Sweep(prompt="a {seed}", seed=[1, 2])
    with pytest.raises(ParameterError, match=r"\{anmal\}.*animal.*\{\{anmal\}\}"):
        Sweep(prompt="a {anmal}", animal=["cat"])


# -- text -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("guidance_scale=3,5,7", "guidance_scale", ["3", "5", "7"]),
        ("guidance-scale=3, 5 ,7", "guidance_scale", ["3", "5", "7"]),
        ("seed=1..4", "seed", ["1", "2", "3", "4"]),
        ("seed=4..1", "seed", ["4", "3", "2", "1"]),
        ("seed=1..9..3,20", "seed", ["1", "4", "7", "20"]),
        ("x=0.2..1..0.2", "x", ["0.2", "0.4", "0.6", "0.8", "1"]),
        ("seed=9223372036854775806..9223372036854775807", "seed",
         ["9223372036854775806", "9223372036854775807"]),
        ('prompt="a, b", "c"', "prompt", ["a, b", "c"]),
        ("prompt='a, b' , c", "prompt", ["a, b", "c"]),
        (r"prompt=a\, b,c", "prompt", ["a, b", "c"]),
        ("prompt=it's a, b's", "prompt", ["it's a", "b's"]),
        ("prompt=a, b || c, d", "prompt", ["a, b", "c, d"]),
        ('prompt="a || b", "c"', "prompt", ["a || b", "c"]),
        (r'prompt=say \"hi\", x', "prompt", ['say "hi"', "x"]),
        ('prompt="", x', "prompt", ["", "x"]),
        ('prompt="say ""hi"", you", "c"', "prompt", ['say "hi", you', "c"]),
        ('prompt=\'it\'\'s, that\', c', "prompt", ["it's, that", "c"]),
        ("prompt=a=b,c", "prompt", ["a=b", "c"]),
    ],
)  # fmt: skip
def test_an_axis_as_text(text: str, name: str, values: list[str]) -> None:
    assert parse_axis(text) == (name, values)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("guidance_scale", "NAME=VALUE"),
        ("=3", "NAME=VALUE"),
        ("x=", "empty value"),
        ("x=1,,2", "empty value"),
        ('x="a, b', "not closed"),
        ("x=1..99999999", "99,999,999 numbers"),
        ("x=1..2..0", "step of 0"),
    ],
)
def test_text_that_is_no_axis(text: str, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        parse_axis(text)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_any_text_can_be_written_in_quotes(values: list[str]) -> None:
    written = ",  ".join(
        '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values
    )
    as_csv = ", ".join(
        '"' + value.replace("\\", "\\\\").replace('"', '""') + '"' for value in values
    )
    assert parse_axis(f"x={as_csv}") == parse_axis(f"x={written}")
    name, found = parse_axis(f"x={written}")
    ranges = [value for value in values if ".." in value]
    if not ranges:
        assert (name, found) == ("x", values)
