"""A shared page, opened from a file: nothing is loaded, and no text becomes code."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from playwright.sync_api import expect

import fooocus_nb

ARTIFACTS = Path(__file__).resolve().parents[2] / "test-artifacts"
MADE_RUN = Path(__file__).parents[1] / "experiment" / "made_run.py"
SEED = 6687881544318117707
HOSTILE = '</script><img src=x onerror="document.title=1"><!-- <script> a lighthouse'


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("made_run", MADE_RUN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("shared") / "lighthouse"
    module.make_run(
        folder, prompt=["a lighthouse at dusk", HOSTILE], guidance_scale=[3, 5, 7],
        image_seed=[SEED, 12], size=(576, 448), failed=1,
    )  # fmt: skip
    with fooocus_nb.open_run(folder) as run:
        run.rate(run.images[0], 4, note=HOSTILE)
        return run.share(folder.with_suffix(".html"), notebook=False).path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_works_from_a_file_and_loads_nothing(browser, page_file, scheme):
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": 1280, "height": 860}, offline=True
    )
    page = context.new_page()
    requests, problems = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(page_file.as_uri())
    tiles = page.locator(".fnb-rg-tile")
    expect(tiles).to_have_count(12)
    expect(page.locator(".fnb-rg")).to_contain_text("11 images · 1 failed · 1 rated")
    expect(tiles.first.locator("img")).to_be_visible()
    assert page.locator(".fnb-rg-tile img").first.evaluate("node => node.naturalWidth") > 100
    page.screenshot(path=ARTIFACTS / f"shared-page-{scheme}.png", full_page=True)

    # One image, with all that is known of it.
    page.locator(f'.fnb-rg-tile[aria-label*="{SEED}"]').first.click()
    page.keyboard.press("Enter")
    box = page.locator("dialog[open]")
    expect(box).to_contain_text("guidance_scale")
    expect(box).to_contain_text(str(SEED))
    expect(box).to_contain_text(HOSTILE)  # the note
    page.screenshot(path=ARTIFACTS / f"shared-page-open-{scheme}.png")
    page.keyboard.press("Escape")

    # As a cell.
    page.get_by_role("button", name="Copy as cell").first.click()
    expect(page.locator(".fnb-rg-about .fnb-rg-code")).to_contain_text(f"--seed {SEED}")

    # It is the archive: rated by nobody but who made it, and not from here.
    expect(page.get_by_role("button", name="Rate 3 (3)")).to_have_count(0)
    # The text of somebody's prompt is text.
    expect(page.locator("img[src=x]")).to_have_count(0)
    assert page.title() == "lighthouse"
    assert [url for url in requests if not url.startswith(("blob:", page_file.as_uri()))] == []
    assert problems == []
    context.close()
