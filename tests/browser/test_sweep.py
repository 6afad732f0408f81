"""The grid of a sweep in a running cell, as people see and press it."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

START = "import os; os.environ['FOOOCUS_DEMO_STEP_SECONDS'] = '0.1'\n%load_ext fooocus_nb"
ENGINE = "%fooocus start --demo\nimport fooocus_nb; engine = fooocus_nb.current()"
SWEEP = (
    "%%fooocus --sweep guidance_scale=3,5,7 --sweep seed=1..4 --run runs/{0} --steps 15 "
    "--size 256x256 -n 1 -o run\na lighthouse at dusk"
)
#: Presses Skip as soon as the next cell is in the making, and returns which one that is.
SKIP = """async (grid) => {
  const cell = () =>
    grid.querySelector(".fnb-sweep-tile[data-state=r]")?.getAttribute("aria-label").split(":")[0];
  const before = cell();
  while (!cell() || cell() === before) await new Promise(requestAnimationFrame);
  [...grid.querySelectorAll("button")].find((each) => each.textContent === "Skip").click();
  return cell();
}"""
COUNTS = "import json; print(json.dumps(fooocus_nb.open_run('runs/{0}').counts))"


def counts(notebook, index):
    notebook.run(index)
    return json.loads(notebook.text(index).strip().splitlines()[-1])


def test_a_sweep_fills_its_grid_and_can_be_skipped_stopped_and_continued(open_notebook):
    cells = [START, ENGINE, SWEEP.format("one"), COUNTS.format("one"), "print(len(run.images))"]
    notebook = open_notebook(cells, dark=True, size=(1000, 1000))
    notebook.run(0)
    notebook.run(1)
    notebook.run(2, wait=False)
    grid = notebook.output(2).locator(".fnb-sweep")
    expect(grid).to_be_visible()
    tiles = grid.locator(".fnb-sweep-tile")
    expect(tiles).to_have_count(12)
    expect(grid.locator(".fnb-sweep-tile[data-state=m]").nth(1)).to_be_visible()
    # One that waits is left out, and the one in the making goes on.
    running = grid.locator(".fnb-sweep-tile[data-state=r]")
    last = tiles.nth(11)
    last.hover()
    last.get_by_role("button", name="Skip this cell").click()
    expect(last).to_have_attribute("data-state", "s")
    expect(running).to_have_count(1)
    expect(grid.get_by_role("button", name="Skip", exact=True)).to_be_enabled()
    before = grid.evaluate(SKIP)
    skipped = grid.locator(f'.fnb-sweep-tile[aria-label^="{before}:"]')
    expect(skipped).to_have_attribute("data-state", "s")
    notebook.shot("sweep-running-dark", notebook.cell(2))
    grid.get_by_role("button", name="Stop").click()
    notebook.wait(2)
    expect(notebook.output(2)).to_contain_text("The sweep was stopped")
    expect(grid).to_contain_text("Stopped: ")
    told = counts(notebook, 3)
    assert told["skipped"] == 2
    assert told["missing"] >= 1
    assert told["planned"] == 12
    # In the background, with the kernel free for other cells.
    grid.get_by_role("button", name="Continue").click()
    expect(notebook.output(2)).to_contain_text("10 of 12 made, 2 skipped", timeout=60_000)
    assert grid.count() == 0
    expect(notebook.output(2).locator("img")).to_have_count(10)
    assert counts(notebook, 3) == {
        "planned": 12, "made": 10, "failed": 0, "skipped": 2, "missing": 0,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("app", ["lab"])
def test_what_a_sweep_leaves_is_static_and_small(open_notebook, app):
    cells = [START, ENGINE, SWEEP.format("two"), "print(len(run.images))"]
    notebook = open_notebook(cells, app=app, size=(1000, 1000))
    notebook.run(0)
    notebook.run(1)
    notebook.run(2, wait=False)
    grid = notebook.output(2).locator(".fnb-sweep")
    expect(grid.locator(".fnb-sweep-tile[data-state=m]").nth(5)).to_be_visible()
    notebook.shot("sweep-running-light", notebook.cell(2))
    notebook.wait(2)
    expect(notebook.output(2)).to_contain_text("12 of 12 made")
    expect(notebook.output(2).locator("img")).to_have_count(12)
    notebook.shot("sweep-done-light", notebook.cell(2))
    notebook.run(3)
    assert notebook.text(3).strip() == "12"
    saved = notebook.save()["cells"][2]["outputs"]
    assert len(json.dumps(saved)) < 500_000
    assert "widget-view" not in json.dumps(saved)
