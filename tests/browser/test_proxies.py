"""The page behind proxies that take little, end what is silent, or pass no websockets on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import PIL.Image
import pytest
from playwright.sync_api import expect

import fooocus_nb

from .strict_proxy import StrictProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

WAIT_MS = 120_000


@pytest.fixture(scope="module")
def lab(run_jupyter: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server that pings often, so that nobody has to wait for a minute."""
    option = "--FooocusExtension.ping_interval=0.3"
    with run_jupyter(tmp_path_factory.mktemp("lab"), option, base_url="/user/x/") as server:
        yield server


@pytest.fixture
def behind(
    lab: Any, browser: Browser, gradio3_checkout: Path
) -> Iterator[Callable[..., tuple[StrictProxy, Any]]]:
    """Open the page of a real Gradio 3 behind a proxy; gives both."""
    with contextlib.ExitStack() as stack:

        def open_page(step_seconds: float = 0.0, **strictness: Any) -> tuple[StrictProxy, Any]:
            stack.enter_context(
                fooocus_nb.start(
                    gradio3_checkout,
                    name="strict",
                    args=("--step-seconds", str(step_seconds)),
                    timeout=120,
                )
            )
            proxy = StrictProxy(lab.url, **strictness)
            stack.callback(proxy.close)
            context = browser.new_context(viewport={"width": 1300, "height": 900})
            stack.callback(context.close)
            page = context.new_page()
            page.goto(f"{proxy.url}/fooocus-nb/ui/strict/?token={lab.token}")
            expect(page.locator("#generate_button")).to_be_visible(timeout=WAIT_MS)
            return proxy, page

        yield open_page


def generate(page: Any, prompt: str) -> None:
    page.locator("#positive_prompt textarea").fill(prompt)
    page.locator("#generate_button").click()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("silence", [1.2])
def test_a_long_step_outlives_a_proxy_that_ends_what_is_silent(behind, silence) -> None:
    proxy, page = behind(step_seconds=3 * silence, max_silence=silence)
    generate(page, "a step that takes longer than the proxy has patience")
    image = page.locator("#final_gallery img").first
    expect(image).to_be_visible(timeout=WAIT_MS)
    assert proxy.closed == 0
    expect(page.locator("#fooocus-nb-note")).to_have_count(0)


@pytest.mark.timeout(900)
def test_without_websockets_the_page_says_so(behind) -> None:
    _, page = behind(websockets=False)
    generate(page, "nobody hears this")
    note = page.locator("#fooocus-nb-note")
    expect(note).to_contain_text("may not pass websockets on", timeout=WAIT_MS)


@pytest.mark.timeout(900)
def test_an_image_that_a_proxy_does_not_take_is_said_to_be_too_large(behind, tmp_path) -> None:
    proxy, page = behind(max_body=1_000_000)
    noise = tmp_path / "noise.png"
    PIL.Image.effect_noise((1500, 1500), 90).convert("RGB").save(noise)
    assert noise.stat().st_size > 2_000_000
    page.get_by_text("Inpaint or Outpaint", exact=True).first.click()
    page.locator("#inpaint_canvas input[type=file]").set_input_files(noise)
    expect(page.locator("#inpaint_canvas canvas").last).to_be_visible(timeout=WAIT_MS)
    generate(page, "too large")
    note = page.locator("#fooocus-nb-note")
    expect(note).to_contain_text("in one message", timeout=WAIT_MS)
    expect(note).to_contain_text("Use a smaller image")
    assert proxy.refused
