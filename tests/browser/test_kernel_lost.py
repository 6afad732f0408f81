"""Views whose kernel has gone: on an open page, and on one that is opened again."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

START = (
    "import os; os.environ['FOOOCUS_DEMO_STEP_SECONDS'] = '0'\n"
    "%load_ext fooocus_nb\n%fooocus start --demo\n"
    "import fooocus_nb, PIL.Image; engine = fooocus_nb.current()"
)
VIEWS = (
    "display(engine.monitor(), engine.panel(prompt='a cat'), engine.logs(), engine.gallery(),\n"
    "        fooocus_nb.MaskEditor(PIL.Image.new('RGB', (64, 64))))"
)
CRASH = "os.kill(os.getpid(), 9)"
RESTARTED = "The kernel was restarted; run this cell again."
#: The monitor, the panel's form, monitor and gallery, the log, the gallery, the mask editor.
COUNT = 7
#: The same, but for the parts of the panel.
FALLBACKS = 5


def shown(open_notebook, app):
    notebook = open_notebook([START, VIEWS, CRASH], app=app, size=(1100, 3000))
    notebook.run(0)
    notebook.run(1)
    expect(notebook.output(1).locator(".fnb-live").first).to_contain_text("Ready")
    expect(notebook.output(1).locator(".fnb-mask")).to_be_visible()
    return notebook


def kernel_of(notebook):
    (kernel,) = (
        session["kernel"]["id"]
        for session in notebook.server.ask("api/sessions")
        if session["path"] == notebook.name
    )
    return kernel


def restart_by_hand(notebook):
    page = notebook.page
    notebook.cell(1).locator(".jp-InputPrompt").first.click()  # command mode
    page.keyboard.press("0")
    page.keyboard.press("0")
    page.get_by_role("button", name="Confirm Kernel Restart").click()


def restart_from_elsewhere(notebook):
    notebook.server.ask(f"api/kernels/{kernel_of(notebook)}/restart", "POST")


def restart_after_a_crash(notebook):
    told = notebook.page.locator(".jp-Dialog")  # by JupyterLab, perhaps more than once
    notebook.page.add_locator_handler(told, lambda: told.get_by_role("button").first.click())
    notebook.run(2, wait=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("app", "restart"),
    [
        ("lab", restart_by_hand),
        pytest.param("lab", restart_after_a_crash, marks=pytest.mark.slow),
        pytest.param("notebook", restart_by_hand, marks=pytest.mark.slow),
        pytest.param("notebook", restart_from_elsewhere, marks=pytest.mark.slow),
    ],
)
def test_views_say_that_the_kernel_was_restarted(open_notebook, app, restart):
    notebook = shown(open_notebook, app)
    output = notebook.output(1)
    expect(output.get_by_text(RESTARTED)).to_have_count(0)
    restart(notebook)
    expect(output.get_by_text(RESTARTED)).to_have_count(COUNT)
    assert output.locator(".fnb-panel").evaluate("node => node.inert")
    notebook.shot(f"restarted-{app}", notebook.cell(1))
    for index in (0, 1):
        notebook.run(index)
    expect(output.locator(".fnb-panel")).to_be_visible()
    expect(output.get_by_text(RESTARTED)).to_have_count(0)


@pytest.mark.parametrize("app", ["lab", pytest.param("notebook", marks=pytest.mark.slow)])
def test_a_reopened_notebook_shows_what_the_views_were(open_notebook, app):
    notebook = shown(open_notebook, app)
    output = notebook.output(1)
    kept = output.get_by_text("As it was when the cell ran.")
    error = output.get_by_text("Error displaying widget")
    expect(kept).to_have_count(FALLBACKS)
    expect(kept.locator("visible=true")).to_have_count(0)
    # Also from where keys are the view's own.
    output.locator(".fnb-panel textarea").first.focus()
    assert notebook.save()["cells"][1]["outputs"]

    # On a page that is loaded again the kernel still holds them.
    notebook.page.reload()
    expect(output.locator(".fnb-panel")).to_be_visible()
    expect(output.locator(".fnb-log")).to_be_visible()
    expect(kept.locator("visible=true")).to_have_count(0)

    # Another kernel does not.
    kernel = kernel_of(notebook)
    notebook.page.goto("about:blank")
    for session in notebook.server.ask("api/sessions"):
        if session["kernel"]["id"] == kernel:
            notebook.server.ask(f"api/sessions/{session['id']}", "DELETE")
    notebook.page.go_back()
    expect(kept.locator("visible=true")).to_have_count(FALLBACKS)
    expect(output).to_contain_text("Control panel of demo")
    expect(output).to_contain_text("The last lines of the log of 'demo'")
    expect(output.get_by_alt_text("The image, with what is painted in red")).to_be_visible()
    expect(error.locator("visible=true")).to_have_count(0)
    notebook.shot(f"reopened-{app}", notebook.cell(1))
