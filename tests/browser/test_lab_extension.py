"""The extension of JupyterLab: running engines, Launcher, palette, and views without a kernel."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

import fooocus_nb
from fooocus_nb import __version__
from fooocus_nb.engine.folders import RUNTIME_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Locator, Page

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = ROOT / "test-artifacts"
LAB_MS = 90_000
PALETTE_TRIES, PALETTE_MS = 6, 15_000
#: The oldest that we support, with what else an environment of ours needs.
OLDEST = (
    "jupyterlab==4.1.1",
    "notebook==7.1.0",
    "jupyter_server==2.21.1",
    "jupyter-server-proxy==4.6.0",
    "ipykernel",
    "ipywidgets==8.1.9",
    "anywidget",
    "gradio_client>=2,<3",
    "httpx",
    "numpy",
    "pillow",
    "platformdirs",
    "psutil",
    "websockets",
    "hatchling",
)


@pytest.fixture(scope="module", autouse=True)
def runtime() -> Iterator[None]:
    """A runtime folder of our own, and no other: here all engines that are found are stopped."""
    with (
        tempfile.TemporaryDirectory(prefix="fnb-lab-") as folder,
        pytest.MonkeyPatch.context() as m,
    ):
        m.setenv(RUNTIME_VARIABLE, folder)
        yield


@pytest.fixture(scope="module")
def oldest_python(
    make_environment: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An environment with the oldest JupyterLab and this project, as it is installed."""
    ready = make_environment("lab", sys.executable, OLDEST)
    folder = tmp_path_factory.mktemp("oldest") / "venv"
    shutil.copytree(ready.parents[1], folder, symlinks=True)
    python = folder / ready.relative_to(ready.parents[1])
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, str(ROOT)], check=True, timeout=600)
    return python


@pytest.fixture(
    scope="module",
    params=["newest", pytest.param("oldest", marks=[pytest.mark.slow, pytest.mark.timeout(1200)])],
)
def lab(
    request: pytest.FixtureRequest,
    runtime: None,
    run_jupyter: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """A jupyter server with JupyterLab and Notebook 7, of this version and that."""
    python = sys.executable
    if request.param == "oldest":
        python = request.getfixturevalue("oldest_python")
    with run_jupyter(tmp_path_factory.mktemp("lab"), python=python) as server:
        server.version = request.param
        yield server


@pytest.fixture
def page(browser: Browser, lab: Any) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    tab = context.new_page()
    yield tab
    context.close()
    for session in lab.ask("api/sessions"):
        lab.ask(f"api/sessions/{session['id']}", "DELETE")


def open_lab(page: Page, lab: Any, place: str = "lab") -> None:
    page.goto(f"{lab.url}/{place}?token={lab.token}&reset")


def test_engines_are_among_the_running_things(lab, page) -> None:
    with fooocus_nb.start(demo=True, name="lab demo", timeout=60) as engine:
        open_lab(page, lab)
        page.locator('[data-id="jp-running-sessions"]').click(timeout=LAB_MS)
        item = page.locator(".fnb-running-engine")
        expect(item).to_contain_text("lab demo", timeout=LAB_MS)
        expect(item).to_contain_text("ready")

        # In the oldest Lab they stand below the engine, and not inside of it.
        actions = page.locator(".fnb-running-action")
        actions.get_by_text("Log", exact=True).click()
        lines = page.locator(".fnb-log-lines")
        expect(lines).to_contain_text("App started successful", timeout=LAB_MS)
        with engine.log_path.open("a") as log:
            log.write("and one more line\n")
        expect(lines).to_contain_text("and one more line")
        page.screenshot(path=ARTIFACTS / f"lab-log-{lab.version}.png")

        actions.get_by_text("Page", exact=True).click()
        frame = page.frame_locator(".fnb-page-panel iframe")
        expect(frame.locator("body")).to_contain_text("demo", timeout=LAB_MS)
        page.screenshot(path=ARTIFACTS / f"lab-page-{lab.version}.png")

        # From the context menu, which is about the engine under the mouse.
        item.get_by_text("lab demo", exact=True).click(button="right")
        page.locator(".lm-Menu-item", has_text="Stop the engine").click()
        expect(item).to_have_count(0)
        assert not fooocus_nb.engines()


def test_all_engines_are_stopped_at_once(lab, page) -> None:
    with fooocus_nb.start(demo=True, name="one", timeout=60):
        open_lab(page, lab)
        page.locator('[data-id="jp-running-sessions"]').click(timeout=LAB_MS)
        expect(page.locator(".fnb-running-engine")).to_have_count(1, timeout=LAB_MS)
        page.get_by_text("Stop All", exact=True).click()
        page.locator(".jp-Dialog").get_by_role("button", name="Stop All").click()
        expect(page.locator(".fnb-running-engine")).to_have_count(0)
        assert not fooocus_nb.engines()


def _choose_command(page: Page, label: str, opened: Locator) -> None:
    """Choose a command of the palette, as often as a notebook takes the focus and closes it."""
    for _ in range(PALETTE_TRIES):
        page.keyboard.press("Control+Shift+C")
        typed = page.locator(".lm-ModalCommandPalette-input, .lm-CommandPalette-input").last
        with contextlib.suppress(PlaywrightTimeout):
            typed.fill(label, timeout=PALETTE_MS)
            item = page.locator(".lm-CommandPalette-item", has_text=label).first
            item.click(timeout=PALETTE_MS)
            opened.wait_for(timeout=PALETTE_MS)
            return


@pytest.mark.slow
def test_the_launcher_opens_a_notebook_with_a_first_cell(lab, page) -> None:
    open_lab(page, lab)
    page.locator(".jp-LauncherCard", has_text="Fooocus").click(timeout=LAB_MS)
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    expect(cells.first).to_contain_text("%load_ext fooocus_nb", timeout=LAB_MS)
    expect(cells.first).to_contain_text("%fooocus start")
    # A notebook whose kernel gets ready takes the focus, which closes an open palette.
    idle = page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
    expect(idle).to_be_visible(timeout=LAB_MS)
    dialog = page.locator(".jp-Dialog")
    _choose_command(page, "Open the engine's log", dialog)
    expect(dialog).to_contain_text("No Fooocus engine runs")


CELLS = [
    "%load_ext fooocus_nb\nimport fooocus_nb, ipywidgets, PIL.Image\n"
    "editor = fooocus_nb.MaskEditor(PIL.Image.new('RGB', (64, 64)))",
    "ipywidgets.HBox([ipywidgets.VBox([editor.widget])])",
]


@pytest.fixture(scope="module")
def jupyter_server(lab: Any) -> Any:
    """Let notebooks be opened in this JupyterLab."""
    return lab


@pytest.mark.slow  # every day one view is reopened, in test_kernel_lost
@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_a_layout_without_its_kernel_shows_what_was_in_it(lab, open_notebook, app) -> None:
    notebook = open_notebook(CELLS, app=app)
    for index in range(len(CELLS)):
        notebook.run(index)
    output = notebook.output(1)
    fallback = output.get_by_alt_text("The image, with what is painted in red")
    expect(output.locator(".fnb-mask")).to_be_visible(timeout=LAB_MS)
    expect(fallback.locator("visible=true")).to_have_count(0)
    notebook.save()
    # On a page that is loaded again the kernel still holds it.
    notebook.page.reload()
    expect(output.locator(".fnb-mask")).to_be_visible(timeout=LAB_MS)
    expect(fallback.locator("visible=true")).to_have_count(0)
    # Another kernel does not.
    notebook.page.goto("about:blank")
    for session in lab.ask("api/sessions"):
        lab.ask(f"api/sessions/{session['id']}", "DELETE")
    notebook.page.go_back()
    expect(fallback).to_be_visible(timeout=LAB_MS)
    shown = output.get_by_text("Error displaying widget").locator("visible=true")
    expect(shown).to_have_count(0)
    notebook.shot(f"lost-layout-{app}-{lab.version}", notebook.cell(1))


def test_the_versions_agree() -> None:
    known = json.loads((ROOT / "fooocus_nb" / "labextension" / "package.json").read_text())
    assert known["version"] == __version__
