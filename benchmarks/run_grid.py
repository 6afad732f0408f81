"""The grid of a run of 1,000 images in a browser, beside a page that holds all of them as images.

The time of a frame while scrolling by 80 pixels at each, of swapping the axes, and of the first
screen. Needs the extra ``test`` and a Chromium.
"""

from __future__ import annotations

import json
import shutil
import statistics
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from benchmarks._table import Bound, Row
from fooocus_nb.widgets.run_grid import page_assets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

AXES = {
    "guidance_scale": [str(number) for number in range(2, 12)],
    "image_seed": [str(number) for number in range(10)],
    "base_model": [f"model_v{number}" for number in range(10)],
}
SETUP = """
const cells = [];
const put = (at) => {
  if (at.length === axes.length) {
    const number = cells.length;
    cells.push({ key: `${number}`, number, at, state: "made", reason: "", seed: `${number}`,
      rating: null, note: "", width: 1152, height: 896, name: `${number}.png`, measures: {} });
  } else axes[at.length].texts.forEach((_, index) => put([...at, index]));
};
put([]);
const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 249 });
const pen = canvas.getContext("2d");
const blobs = [];
for (let hue = 0; hue < 360; hue += 10) {
  const shade = pen.createLinearGradient(0, 0, 320, 249);
  shade.addColorStop(0, `hsl(${hue} 60% 35%)`);
  shade.addColorStop(1, `hsl(${hue + 60} 70% 65%)`);
  pen.fillStyle = shade;
  pen.fillRect(0, 0, 320, 249);
  blobs.push(await new Promise((done) => canvas.toBlob(done, "image/webp", 0.8)));
}
const thumbnail = (key) => URL.createObjectURL(blobs[Number(key) % blobs.length]);
const frame = () => new Promise((done) => requestAnimationFrame(done));
const timed = async (act) => {
  const start = performance.now();
  act();
  await frame();
  await frame();
  return performance.now() - start;
};
const scrolled = async (view) => {
  const times = [];
  let last = await frame();
  for (let step = 0; step < 150; step += 1) {
    view.scrollTop += 80;
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  return times;
};
const host = document.getElementById("host");
"""
GRID = """
const begin = performance.now();
const grid = mountRunGrid(host, { title: "run", where: "", axes, cells,
  roles: { x: 0, y: 1, z: 2 }, thumbnail });
await frame();
const view = host.querySelector(".fnb-rg-view");
while (!view.querySelector("img[src]")) await frame();
const first = performance.now() - begin;
const times = await scrolled(view);
const nodes = view.querySelectorAll("*").length;
const key = (name) =>
  view.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
const swap = await timed(() => key("x"));
const zoom = await timed(() => key("+"));
window.measured = { first, times, nodes, swap, zoom };
"""
PLAIN = """
const begin = performance.now();
host.style.cssText = "height:620px;overflow:auto";
for (const cell of cells) {
  const image = document.createElement("img");
  image.src = thumbnail(cell.key);
  image.style.width = "236px";
  host.append(image);
}
await Promise.all([...host.children].slice(0, 12).map((image) => image.decode()));
await frame();
const first = performance.now() - begin;
const times = await scrolled(host);
const swap = await timed(() => host.append(...[...host.children].reverse()));
const zoom = await timed(() => {
  for (const image of host.children) image.style.transform = "scale(1.5)";
});
window.measured = { first, times, nodes: host.querySelectorAll("*").length, swap, zoom };
"""


def measure(page: Page, script: str, sheet: str, body: str) -> dict[str, Any]:
    axes = json.dumps(
        [{"name": n, "label": n, "texts": texts, "shorts": texts} for n, texts in AXES.items()]
    )
    page.set_content(
        f"<!doctype html><style>{sheet}</style><div id=host></div>"
        f'<script type="module">{script}\nconst axes = {axes};{SETUP}{body}</script>'
    )
    page.wait_for_function("window.measured", timeout=120_000)
    return page.evaluate("window.measured")


def rows(quick: bool) -> Iterator[Row]:
    """Yield the first screen, a frame and a swap of the axes."""
    del quick  # it takes half a minute
    script, sheet = page_assets()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        ours = measure(page, script, sheet, GRID)
        theirs = measure(browser.new_page(), script, sheet, PLAIN)
        browser.close()
    beside = "all images in the page"
    for name, key, bound in (
        ("first screen of", "first", Bound("ratio", 1)),
        ("swapping the axes of", "swap", Bound("ours", 500)),
    ):
        what = f"{name} a run's grid of 1,000 images"
        yield Row(what, ours[key], "ms", beside, theirs[key], bound)
    frames = [statistics.median(found["times"]) for found in (ours, theirs)]
    yield Row(
        "a frame while that grid scrolls", frames[0], "ms", beside, frames[1], Bound("ours", 34)
    )
