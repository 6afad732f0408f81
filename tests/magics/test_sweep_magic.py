"""``%%fooocus --sweep`` in a kernel without widgets, as programs run notebooks."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Notebook

LINE = "%%fooocus --sweep guidance_scale=3,5 --sweep seed=1..2 -n 1 --size 64x64 --steps 1"


def test_a_sweep_in_a_cell_leaves_one_summary(notebook: Notebook) -> None:
    folder = f"runs/{uuid.uuid4().hex}"
    cell = notebook.run(f"{LINE} --run {folder} -o run\na lighthouse")
    assert len(cell.outputs) == 1
    assert "4 of 4 made" in cell.shown
    html = cell.bundles[0]["text/html"]
    assert html.count("<img") == 4
    assert "guidance_scale=3, seed=1" in html
    assert len(json.dumps(cell.outputs)) < 100_000
    assert notebook.value("[image.seed for image in run.images]") == [1, 2, 1, 2]
    # Again, there is nothing to make.
    again = notebook.run(f"{LINE} --run {folder}\na lighthouse")
    assert "4 were there" in again.shown
    # Another engine goes on with it only where that is said.
    notebook.run("%fooocus stop")
    notebook.run("%fooocus start --demo --new -- --preset anime")
    longer = LINE.replace("seed=1..2", "seed=1..3")
    cell = notebook.run(f"{longer} --run {folder}\na lighthouse", fails=True)
    assert "Give another folder, or --mix:" in cell.error
    assert "6 of 6 made" in notebook.run(f"{longer} --run {folder} --mix\na lighthouse").shown


def test_a_slip_of_the_pen_is_told_without_stack_frames(notebook: Notebook) -> None:
    cell = notebook.run(f"{LINE} --run runs/slip --sweep sampler=eulr\na lighthouse", fails=True)
    assert "nothing has been sent" in cell.error
    assert "Did you mean 'euler'?" in cell.error
    assert "launch.py" not in cell.error
    cell = notebook.run("%%fooocus --sweep seed=1..4\na lighthouse", fails=True)
    assert "--sweep needs --run DIR" in cell.text
