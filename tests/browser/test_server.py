"""While a kernel is busy its views go on by the Jupyter server."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

START = (
    "import os; os.environ['FOOOCUS_DEMO_STEP_SECONDS'] = '0.1'\n%load_ext fooocus_nb\n"
    "%fooocus start --demo\nimport fooocus_nb; engine = fooocus_nb.current()"
)
PLAIN = "result = engine.generate('a harbour', image_number=3, seed=7, steps=20)"
BEFORE = "first = engine.generate('a cat', image_number=2, width=64, height=64, steps=1)"
LOG = "open(engine.log_path, 'a').writelines(f'line {n:05}\\n' for n in range(20000))"
BUSY = "import time\nfor _ in range(1200): time.sleep(0.1)"


@pytest.mark.slow
def test_a_plain_call_is_skipped(open_notebook):
    """Skip of `engine.generate()`: the kernel hears no message until it returns."""
    notebook = open_notebook([START, PLAIN, "print([image.seed for image in result])"])
    notebook.run(0)
    notebook.run(1, wait=False)
    live = notebook.output(1).locator(".fnb-live")
    expect(live).to_contain_text("image 2 of 3", timeout=60_000)
    live.get_by_role("button", name="Skip").click()
    notebook.wait(1)
    notebook.run(2)
    assert "[7, 9]" in notebook.text(2)


@pytest.mark.slow
def test_originals_and_earlier_lines_come_while_the_kernel_is_busy(open_notebook):
    notebook = open_notebook([START, BEFORE, LOG, "engine.gallery()", "engine.logs()", BUSY])
    for index in range(5):
        notebook.run(index)
    grid, log = notebook.output(3).locator(".fnb-grid"), notebook.output(4).locator(".fnb-log")
    expect(grid.locator(".fnb-card img").first).to_be_visible()
    expect(log).to_contain_text("line 19999")
    notebook.run(5, wait=False)
    expect(notebook.cell(5).locator(".jp-InputPrompt").first).to_contain_text("[*]")
    log.get_by_role("button", name="Earlier lines").click()
    expect(log.locator(".fnb-log-summary")).to_contain_text("2")
    notebook.page.wait_for_function(
        "node => parseInt(node.textContent.replace(/[^0-9].*/s, '') || '0', 10) >= 20"
        " && !/Loading/.test(node.parentElement.textContent)",
        arg=log.locator(".fnb-log-summary").element_handle(),
    )
    with notebook.page.expect_download() as saved:
        log.get_by_role("button", name="Download").click()
    text = saved.value.path().read_text()
    assert "line 00000" in text
    assert "line 19999" in text
    grid.locator(".fnb-card").first.click()
    image = notebook.page.locator(".fnb-box img").first
    notebook.page.wait_for_function(
        "node => node.src.startsWith('blob:') && node.naturalWidth >= 64",
        arg=image.element_handle(),
    )
    notebook.shot("server-busy-kernel")
