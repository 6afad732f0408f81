"""The real web page of an engine through Jupyter, in JupyterLab behind a base URL."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import PIL.Image
import pytest
from playwright.sync_api import expect

import fooocus_nb
from fooocus_nb.engine.page_records import record_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, FrameLocator, Page

SERVERS = Path(__file__).resolve().parents[1] / "servers"
ARTIFACTS = SERVERS.parents[1] / "test-artifacts"
SIDE = 2300
LAB_MS = 120_000
START_SECONDS = 120.0


@pytest.fixture(scope="module")
def lab(run_jupyter: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A JupyterLab behind a base URL, as a hub has it, which logs all that it can."""
    base = tmp_path_factory.mktemp("lab")
    options = ("--Application.log_level=DEBUG",)
    with run_jupyter(base, *options, base_url="/user/x/") as server:
        yield server


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """An image of 15 MB: noise is what no format makes smaller."""
    path = tmp_path / "noise.png"
    pixels = random.Random(7).randbytes(SIDE * SIDE * 3)
    PIL.Image.frombytes("RGB", (SIDE, SIDE), pixels).save(path, compress_level=1)
    assert path.stat().st_size > 15_000_000
    return path


@pytest.fixture
def page(browser: Browser, lab: Any) -> Iterator[Page]:
    """JupyterLab in a tab of its own."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
    tab = context.new_page()
    tab.goto(f"{lab.url}/lab?token={lab.token}&reset")
    tab.wait_for_selector(".jp-Launcher", timeout=LAB_MS)
    yield tab
    context.close()


def open_page(page: Page, name: str) -> FrameLocator:
    """Open an engine's page from the list of what runs."""
    page.locator('[data-id="jp-running-sessions"]').click()
    page.locator(".fnb-running-engine").get_by_text(name, exact=True).click(timeout=LAB_MS)
    frame = page.frame_locator(".fnb-page-panel iframe")
    expect(frame.locator("#generate_button")).to_be_visible(timeout=LAB_MS)
    return frame


def paint(page: Page, canvas: Any) -> None:
    """Draw a stroke with the mouse."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.6, steps=8)
    page.mouse.up()


def calls(record: Path, call: str) -> list[dict[str, Any]]:
    """What of one kind has arrived in the app."""
    entries = [json.loads(line) for line in record.read_text().splitlines()]
    return [entry for entry in entries if entry["call"] == call]


def draw_an_image(page: Page, frame: Any, noise: Path) -> None:
    """Upload an image, paint a mask over it, generate, and save what comes of it."""
    tab = frame.get_by_text("Inpaint or Outpaint", exact=True).first
    tab.click()
    frame.locator("#inpaint_canvas input[type=file]").set_input_files(noise)
    canvas = frame.locator("#inpaint_canvas canvas").last
    expect(canvas).to_be_visible(timeout=LAB_MS)
    paint(page, canvas)
    frame.locator("#positive_prompt textarea").fill("painted")
    frame.locator("#generate_button").click()
    image = frame.locator("#final_gallery img").first
    expect(image).to_be_visible(timeout=LAB_MS)
    # It is loaded: an address alone shows nothing.
    image.evaluate("node => node.decode()")
    image.click()


def save_image(page: Page, frame: Any) -> bytes:
    """Press the gallery's own button."""
    with page.expect_download(timeout=LAB_MS) as saved:
        frame.locator(
            "#final_gallery [aria-label=Download], #final_gallery a[download]"
        ).first.click()
    return saved.value.path().read_bytes()


@pytest.mark.slow
def test_the_page_of_gradio_3(lab, page, noise, gradio3_checkout, tmp_path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    with fooocus_nb.start(
        gradio3_checkout,
        name="a b",
        temp_dir=temporary,
        env={"RECORD_CALLS": "1"},
        timeout=START_SECONDS,
    ):
        frame = open_page(page, "a b")
        draw_an_image(page, frame, noise)
        page.screenshot(path=ARTIFACTS / "page-of-gradio-3.png")
        assert PIL.Image.open(io.BytesIO(save_image(page, frame))).size == (64, 64)
        (record,) = temporary.rglob("record")
        (task,) = calls(record, "task")
        painted = next(
            value for value in task["values"] if isinstance(value, dict) and "mask" in value
        )
        assert painted["image"]["shape"] == [SIDE, SIDE, 3]
        assert painted["mask"]["mean"] > 0.1
        assert not failed
    with pytest.raises(urllib.error.HTTPError) as refused:
        lab.ask("fooocus-nb/ui/a%20b/")
    refused.value.close()
    assert refused.value.code == 404


@pytest.mark.slow
def test_secrets_stand_in_no_log(lab) -> None:
    """After the test above, at the level that says most."""
    log = lab.log.read_text(errors="replace")
    assert "/fooocus-nb/ui/a%20b/.../" in log
    assert not re.search(r"/fooocus-nb/ui/[^/ ]+/[\w-]{40,}", log)


@pytest.mark.slow
def test_the_page_of_a_gradio_of_today(browser, lab, noise, modern_gradio, tmp_path) -> None:
    """By a record, as for an engine that a kernel is only connected to."""
    size = {"width": 1400, "height": 1000}
    with (
        served(modern_gradio, tmp_path),
        contextlib.closing(browser.new_context(viewport=size, accept_downloads=True)) as context,
    ):
        tab = context.new_page()
        tab.set_default_timeout(2 * LAB_MS)  # 5 megapixels without a GPU keep its canvas busy
        tab.goto(f"{lab.url}/fooocus-nb/ui/modern/?token={lab.token}")
        expect(tab.locator("#generate_button")).to_be_visible(timeout=LAB_MS)
        tab.get_by_role("tab", name="Inpaint or Outpaint").last.click()
        upload = tab.locator("#inpaint_canvas input[type=file]").first
        upload.set_input_files(noise, timeout=LAB_MS)
        canvas = tab.locator("#inpaint_canvas canvas").last
        expect(canvas).to_be_visible(timeout=LAB_MS)
        tab.locator("#positive_prompt textarea").fill("uploaded")
        tab.locator("#generate_button").dispatch_event("click")
        image = tab.locator("#final_gallery img").first
        expect(image).to_be_visible(timeout=LAB_MS)
        # It loads lazily, and is put in the place of an earlier one: so it is looked for each time.
        image.scroll_into_view_if_needed()
        tab.wait_for_function(
            "() => document.querySelector('#final_gallery img')?.naturalWidth > 0", timeout=LAB_MS
        )
        assert image.get_attribute("src").startswith(f"{lab.url}/fooocus-nb/ui/modern/")
        image.click()
        tab.screenshot(path=ARTIFACTS / f"page-of-gradio-{modern_gradio.parts[-3]}.png")
        assert PIL.Image.open(io.BytesIO(save_image(tab, tab))).size == (64, 64)


@pytest.mark.slow
@pytest.mark.parametrize("later_gradio", [4], indirect=True)
def test_the_page_of_an_early_gradio_4(browser, lab, later_gradio, tmp_path) -> None:
    """Without an editor, which keeps that page from sending anything, also without a proxy."""
    with (
        served(later_gradio, tmp_path, "--no-editor"),
        contextlib.closing(browser.new_context()) as context,
    ):
        tab = context.new_page()
        tab.goto(f"{lab.url}/fooocus-nb/ui/modern/?token={lab.token}")
        expect(tab.locator("#generate_button")).to_be_visible(timeout=LAB_MS)
        tab.locator("#positive_prompt textarea").fill("early")
        tab.locator("#generate_button").dispatch_event("click")
        tab.wait_for_function(
            "() => document.querySelector('#final_gallery img')?.naturalWidth > 0", timeout=LAB_MS
        )
        image = tab.locator("#final_gallery img").first
        assert image.get_attribute("src").startswith(f"{lab.url}/fooocus-nb/ui/modern/")


@contextlib.contextmanager
def served(python: Path, folder: Path, *flags: str) -> Iterator[None]:
    """Run the app in a Gradio of its own, recorded as ``modern``."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    places = ("--record", folder / "record", "--temp-path", folder)
    command = [python, SERVERS / "gradio4_app.py", "--port", port, *places, *flags]
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            [*map(str, command)], stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
        )
    known = record_page("modern", f"http://127.0.0.1:{port}")
    try:
        answers(f"http://127.0.0.1:{port}/config")
        yield
    finally:
        known.path.unlink()
        child.kill()
        child.wait(10)


def answers(url: str) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail(f"{url} does not answer")
