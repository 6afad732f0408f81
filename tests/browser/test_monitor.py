"""The monitor of a running cell, as people see and press it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

START = "import os; os.environ['FOOOCUS_DEMO_STEP_SECONDS'] = '0.1'\n%load_ext fooocus_nb"
LONG = "%%fooocus -n 3 --seed 7 --steps 20 -o result\nhot-air balloons over an autumn valley"
AFTER = "print([image.seed for image in result], engine.state)"
ENGINE = "%fooocus start --demo\nimport fooocus_nb; engine = fooocus_nb.current()"


@pytest.mark.parametrize("app", ["lab", pytest.param("notebook", marks=pytest.mark.slow)])
def test_stop_in_the_middle_of_a_cell(open_notebook, app):
    notebook = open_notebook([START, ENGINE, LONG, AFTER], app=app)
    notebook.run(0)
    notebook.run(1)
    notebook.run(2, wait=False)
    live = notebook.output(2).locator(".fnb-live")
    expect(live).to_contain_text("image 2 of 3", timeout=30_000)
    expect(live.locator(".fnb-live-box img")).to_be_visible()
    notebook.shot(f"monitor-{app}-light", notebook.cell(2))
    live.get_by_role("button", name="Stop").click()
    notebook.wait(2)
    expect(notebook.output(2)).to_contain_text("stopped early")
    assert notebook.output(2).locator(".fnb-live").count() == 0
    images = notebook.output(2).locator("img").count()
    assert images in (1, 2)  # the second may have been finished in the moment of the press
    notebook.run(3)
    assert str([7, 8][:images]) in notebook.text(3)
    assert "ready" in notebook.text(3)


@pytest.mark.slow
def test_skip_in_the_middle_of_a_cell(open_notebook):
    notebook = open_notebook([START, ENGINE, LONG, AFTER], dark=True)
    notebook.run(0)
    notebook.run(1)
    notebook.run(2, wait=False)
    notebook.run(3, wait=False)
    live = notebook.output(2).locator(".fnb-live")
    expect(live).to_contain_text("image 2 of 3", timeout=30_000)
    notebook.shot("monitor-lab-dark", notebook.cell(2))
    live.get_by_role("button", name="Skip").click()
    notebook.wait(2)
    notebook.wait(3)
    assert "[7, 9]" in notebook.text(3)


@pytest.mark.slow
def test_stop_of_a_plain_call_interrupts_the_kernel(open_notebook):
    call = "result = engine.generate('a harbour', image_number=3, seed=7, steps=20)"
    notebook = open_notebook([START, ENGINE, call, "print(len(engine.last_result), engine.state)"])
    notebook.run(0)
    notebook.run(1)
    notebook.run(2, wait=False)
    live = notebook.output(2).locator(".fnb-live")
    expect(live).to_contain_text("image 2 of 3", timeout=30_000)
    live.get_by_role("button", name="Stop").click()
    notebook.wait(2)
    expect(notebook.output(2)).to_contain_text("KeyboardInterrupt")
    notebook.run(3)
    assert "1 ready" in notebook.text(3)
