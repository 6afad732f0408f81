"""Sweeps that are written down: ``plan.toml``, the command that makes it, and the magic's line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import PIL.Image
import pytest
from IPython.core.error import UsageError

from fooocus_nb import Enhance, ImagePrompt, ParameterError, Upscale, open_run
from fooocus_nb.experiment.plan_file import read_plan
from fooocus_nb.magics.parsing import GenerateOptions, parse
from fooocus_nb.options.sweeps import typed_axes

if TYPE_CHECKING:
    from pathlib import Path

    from fooocus_nb import Engine

PLAN = """
sample = 5
[base]
prompt = "a {animal} at dusk, 1..3"
width = 64
height = 64
steps = 1
image_number = 1
[axes]
animal = ["cat", "dog"]
seed = "1..3"
guidance_scale = ["3..4..0.5", 7]
[[exclude]]
animal = "cat"
seed = [2, 3]
"""


def test_a_plan_is_the_sweep_that_it_describes(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    sweep = read_plan(path)
    assert sweep.axes["guidance_scale"] == (3, 3.5, 4, 7)
    assert sweep.axes["image_seed"] == ("1", "2", "3")
    assert sweep.count == 24
    cells = sweep.cells()
    assert len(cells) == 5
    assert all("1..3" in cell.values["prompt"] for cell in cells)


def test_files_of_a_plan_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "a.png")
    path = tmp_path / "plan.toml"
    path.write_text('[base]\nimage = "photos/*.png"\n[task]\ndo = "upscale"\nby = "1.5x"\n')
    sweep = read_plan(path)
    (cell,) = sweep.cells()
    assert sweep.parameters(cell)["task"] == Upscale(tmp_path / "photos" / "a.png", "1.5x")
    path.write_text(
        '[axes]\nimage_prompts = ["photos/*.png", [{image = "photos/a.png", weight = 0.5}]]\n'
        '[base]\nenhance = [{prompt = "a face", detect = "face"}]\nloras = [["wave", 0.5]]\n'
    )
    sweep = read_plan(path)
    one, other = (sweep.parameters(cell) for cell in sweep.cells())
    assert one["image_prompts"] == [ImagePrompt(tmp_path / "photos" / "a.png")]
    assert other["image_prompts"] == [ImagePrompt(tmp_path / "photos" / "a.png", weight=0.5)]
    assert one["enhance"] == [Enhance(prompt="a face", detect="face")]


def test_a_plan_of_any_editor_with_ranges_in_its_conditions(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        '[axes]\nseed = "1..6"\n[[exclude]]\nseed = "1..2"\n[[later]]\nseed = ["5..6"]\n',
        encoding="utf-8-sig",
    )
    cells = read_plan(path).cells()
    assert [(c.values["image_seed"], c.later) for c in cells] == [
        ("3", False),
        ("4", False),
        ("5", True),
        ("6", True),
    ]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[axis]\nseed = 1", "no 'axis'.*'axes'"),
        ("axes = 3", r"begins with the line \[axes\]"),
        ("[axes]\nseed = []", "empty axis"),
        ("[task]\ndo = 'upscail'", "'upscale'"),
        ("[task]\ndo = 'upscale'\nbye = 2", "no 'bye'.*'by'"),
        ("[axes\n", "no TOML file"),
        ("zip = 3", r"begins with the line \[zip\]"),
        ("[base]\ntask = 'upscale'", "task='upscale'"),
        ("[axes]\nimage_prompts = [{imag = 'a.png'}]", "no 'imag'.*'image'"),
        ("[axes]\nimage_prompts = [{weight = 1}]", "image"),
    ],
)
def test_a_plan_with_a_slip_of_the_pen(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(ParameterError, match=match):
        read_plan(path)
    with pytest.raises(ParameterError, match="cannot be read"):
        read_plan(tmp_path / "none.toml")
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(ParameterError, match="no plain file"):
        read_plan(tmp_path / "pipe.toml")


@pytest.mark.slow
def test_the_command_makes_a_plan_and_goes_on_with_it(tmp_path: Path, demo: Engine) -> None:
    plan, folder = tmp_path / "plan.toml", tmp_path / "run"
    plan.write_text(PLAN)
    command = [sys.executable, "-m", "fooocus_nb.cli", "sweep", str(plan), "--run", str(folder)]

    def call(*more: str) -> tuple[int, dict]:
        done = subprocess.run(
            [*command, "--url", str(demo.url), "--json", *more],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    code, told = call("--dry-run")
    assert (code, told["to_make"], told["problems"]) == (0, 5, [])
    assert not folder.exists()
    code, told = call("--limit", "2")
    assert (code, told["made"], told["missing"]) == (0, 2, 3)
    code, told = call()
    assert (code, told["made"], len(told["images"])) == (0, 5, 5)
    assert all(image["seed"] in ("1", "2", "3") for image in told["images"])
    assert open_run(folder, readonly=True).counts["made"] == 5
    plan.write_text(PLAN.replace("64", "63.5"))
    code, told = call()
    assert code == 1
    assert told["error"]["type"] == "RunError"


# -- the magic --------------------------------------------------------------------------------


def read(line: str, **variables: object) -> GenerateOptions:
    found = parse(line, "a {animal}", variables)
    assert isinstance(found, GenerateOptions)
    return found


def test_sweeps_in_the_line_of_a_cell() -> None:
    found = read(
        "--sweep guidance_scale=3,5,7 --sweep seed=1..4 --run runs/lighthouse -n 1 --steps 3"
    )
    assert found.sweeps == ("guidance_scale=3,5,7", "seed=1..4")
    assert found.run_folder == "runs/lighthouse"
    assert found.parameters == {"image_number": 1, "steps": 3}


@pytest.mark.parametrize(
    "line",
    [
        '--sweep prompt="a, b", "c" --run r',
        '--sweep \'prompt="a, b", "c"\' --run r',
        '--run r --sweep=prompt="a, b","c"',
        r"--sweep prompt=a\, b, c --run r",
        '--sweep prompt="a, b" || c --run r',
    ],
)
def test_commas_quotes_and_blanks_of_a_sweep(line: str) -> None:
    assert typed_axes(read(line).sweeps, {}) == {"prompt": ["a, b", "c"]}


def test_variables_of_a_sweep() -> None:
    assert read("--sweep seed=$first,2 --run r", first=7).sweeps == ("seed=7,2",)
    assert read("--sweep prompt='a {animal}' --run r").sweeps == ("prompt='a {animal}'",)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("--sweep seed=1..4", "needs --run"),
        ("--run r", "%fooocus run open"),
        ("--sweep seed=1 --run r --repeat 2", "exclude each other"),
    ],
)
def test_what_does_not_go_together(line: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        read(line)


def test_values_have_the_types_of_the_parameters(demo: Engine) -> None:
    texts = ["guidance-scale=3, 3.5", "styles=Fooocus V2, Fooocus Sharp", "seed=1..2",
             "loras=x:0.5, y", "animal=cat, dog", "disable_preview=yes,no"]  # fmt: skip
    assert typed_axes(texts, demo.parameters) == {
        "guidance_scale": [3, 3.5],
        "style_selections": ["Fooocus V2", "Fooocus Sharp"],
        "image_seed": ["1", "2"],
        "loras": [("x", 0.5), "y"],
        "animal": ["cat", "dog"],
        "disable_preview": [True, False],
    }
    with pytest.raises(ParameterError, match="given twice"):
        typed_axes(["seed=1", "image_seed=2"], demo.parameters)
