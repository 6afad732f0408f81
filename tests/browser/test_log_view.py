"""The log view, as people scroll, search and read it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

START = (
    "import os; os.environ['FOOOCUS_DEMO_STEP_SECONDS'] = '0'\n"
    "%load_ext fooocus_nb\n%fooocus start --demo\n"
    "import fooocus_nb; engine = fooocus_nb.current()"
)
#: Lines as the engine's log has them; the guardian appends to the same file.
WRITE = """
def write(text):
    with engine.log_path.open("ab") as log:
        log.write(text.encode())
"""


@pytest.fixture
def log_view(open_notebook):
    """Open a notebook that shows the log of a demo engine; cells 2 and on are to run."""

    def open_one(*cells: str, **options):
        notebook = open_notebook([START + WRITE, "view = engine.logs(); view", *cells], **options)
        notebook.run(0)
        notebook.run(1)
        log = notebook.output(1).locator(".fnb-log")
        expect(log.locator(".fnb-log-row").last).to_be_visible(timeout=30_000)
        return notebook, log

    return open_one


def top_number(log):
    """The text of the topmost line on the screen."""
    return log.locator(".fnb-log-view").evaluate(
        """view => {
            const top = view.getBoundingClientRect().top;
            const rows = [...view.querySelectorAll('.fnb-log-row')];
            const seen = rows.filter(row => row.getBoundingClientRect().bottom > top + 1);
            seen.sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top);
            return seen[0].textContent;
        }"""
    )


def test_it_follows_pauses_and_jumps(log_view):
    notebook, log = log_view(
        "write(''.join(f'line {n}\\n' for n in range(2000)))",
        'write(\'Traceback (most recent call last):\\n  File "x.py", line 1\\nValueError: broken\\n'
        "Failed to load something\\n')",
        "write('\\r 10%|#   |\\r 50%|##  |')",
        "write('\\r100%|####|\\nafter the bar\\n')",
    )
    notebook.run(2)
    expect(log).to_contain_text("line 1999")
    expect(log).to_contain_text("following")
    view = log.locator(".fnb-log-view")
    assert view.locator(".fnb-log-row").count() < 80  # only what is visible is in the page
    view.hover()
    notebook.page.mouse.wheel(0, -3000)
    expect(log).to_contain_text("paused")
    before = top_number(log)
    notebook.run(3)
    expect(log.get_by_role("button", name="Jump to newest (4 new lines)")).to_be_visible()
    assert top_number(log) == before
    notebook.shot("log-lab-light-paused", notebook.cell(1))
    log.get_by_role("button", name="Jump to newest").click()
    expect(log).to_contain_text("following")
    expect(log.locator(".fnb-log-e")).to_have_count(3)
    expect(log.locator(".fnb-log-w")).to_have_text("Failed to load something")
    expect(log).to_contain_text("3 errors")
    notebook.run(4)
    expect(log.locator(".fnb-log-row").last).to_contain_text(" 50%|##  |")
    assert " 10%" not in view.inner_text()
    notebook.shot("log-lab-light", notebook.cell(1))
    notebook.run(5)
    expect(log).to_contain_text("after the bar")
    assert " 50%" not in view.inner_text()
    assert "100%|####|" in view.inner_text()


@pytest.mark.slow
def test_search_filter_wrap_copy_and_download(log_view, tmp_path):
    notebook, log = log_view(
        "write(''.join(f'{\"ValueError: \" if n % 100 == 0 else \"\"}needle {n} '"
        " + 'hay ' * 60 + '\\n' for n in range(1000)))",
        dark=True,
    )
    notebook.run(2)
    expect(log).to_contain_text("needle 999")
    find = log.get_by_label("Search the log")
    find.fill("NEEDLE 9")
    expect(log.locator(".fnb-log-found")).to_have_text("111 of 111")
    find.press("Shift+Enter")
    expect(log.locator(".fnb-log-found")).to_have_text("110 of 111")
    expect(log.locator(".fnb-log-current mark")).to_have_text("needle 9")
    find.press("Enter")
    find.press("Enter")
    expect(log.locator(".fnb-log-found")).to_have_text("1 of 111")
    expect(log.locator(".fnb-log-current")).to_contain_text("needle 9 ")
    log.get_by_role("button", name="Wrap").click()
    expect(log.locator(".fnb-log-current")).to_be_in_viewport()
    notebook.shot("log-lab-dark-search", notebook.cell(1))
    log.get_by_label("Which lines").select_option("Errors")
    expect(log.locator(".fnb-log-found")).to_have_text("1 found")
    log.get_by_role("button", name="Copy").click()
    expect(log).to_contain_text("10 lines copied")
    copied = notebook.page.evaluate("navigator.clipboard.readText()").splitlines()
    assert [line.split(" hay")[0] for line in copied] == [
        f"ValueError: needle {n}" for n in range(0, 1000, 100)
    ]
    with notebook.page.expect_download() as saved:
        log.get_by_role("button", name="Download").click()
    saved.value.save_as(tmp_path / "saved.log")
    assert saved.value.suggested_filename == "demo.log"
    lines = (tmp_path / "saved.log").read_text().splitlines()
    assert any("Fooocus" in line for line in lines)
    assert lines[-1].startswith("needle 999")


@pytest.mark.slow
def test_a_hundred_thousand_lines_and_the_past(log_view):
    notebook, log = log_view(
        "write(''.join(f'line number {n}\\n' for n in range(100_000)))",
        "view.close()",
        "engine.logs()",
    )
    notebook.run(2)
    expect(log).to_contain_text("line number 99999", timeout=30_000)
    notebook.run(3)
    expect(notebook.output(1).locator(".fnb-log")).to_have_count(0)
    notebook.run(4)
    log = notebook.output(4).locator(".fnb-log")
    expect(log).to_contain_text("line number 99999", timeout=30_000)
    view = log.locator(".fnb-log-view")
    earlier = log.locator(".fnb-log-earlier")
    while earlier.is_visible():
        view.evaluate("node => { node.scrollTop = 0; }")
        expect(earlier).not_to_be_disabled(timeout=30_000)
        earlier.evaluate("node => node.click()")
        notebook.page.wait_for_timeout(20)
    expect(log).to_contain_text("100,0", timeout=30_000)
    view.evaluate("node => { node.scrollTop = 0; }")
    expect(log).to_contain_text("[System ARGV]")
    assert view.locator(".fnb-log-row").count() < 80
    log.locator(".fnb-log-foot").scroll_into_view_if_needed()
    log.get_by_label("Search the log").fill("number 54321")
    expect(log.locator(".fnb-log-found")).to_have_text("1 of 1")
    expect(log.locator(".fnb-log-current")).to_be_in_viewport()
