"""A run of 1,000 images as one page: its size, and the first screen when it is opened from a file.

Beside it a page that holds the same thumbnails as images. The images are noisy, so that their
thumbnails are as large as they may be. Needs the extra ``test`` and a Chromium.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
from playwright.sync_api import sync_playwright

import fooocus_nb
from benchmarks._table import Bound, Row
from fooocus_nb.experiment.folder import RunFolder
from fooocus_nb.experiment.manifest import ImageRecord, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from fooocus_nb import Run

IMAGES = 1000
QUICK_IMAGES = 200
SIZE = (576, 448)
SEEN = """() => {
  const box = innerHeight;
  const seen = [...document.images].filter((image) => {
    const { top, bottom } = image.getBoundingClientRect();
    return top < box && bottom > 0;
  });
  const done = seen.length > 5 && seen.every((image) => image.complete && image.naturalWidth);
  return done ? performance.now() : 0;
}"""


def make_run(folder: Path, count: int) -> Path:
    """Make a run of so many images, in which nothing but manifests and noise are."""
    store = RunFolder(folder)
    store.create()
    random = np.random.default_rng(7)
    parameters = {f"setting_{number}": number for number in range(120)}
    for number in range(1, count + 1):
        coarse = random.integers(0, 256, (56, 72, 3), dtype=np.uint8)
        image = PIL.Image.fromarray(coarse).resize(SIZE, PIL.Image.Resampling.BICUBIC)
        attempt = hashlib.sha256(str(number).encode()).hexdigest()[:32]
        name = f"images/{number:06d}-{attempt[:8]}-1.png"
        image.save(store.path / name, compress_level=1)
        data = (store.path / name).read_bytes()
        record = ImageRecord(
            name, 1, number, hashlib.sha256(data).hexdigest(), len(data), *SIZE, "png"
        )
        values = {"prompt": "a lighthouse", "guidance_scale": number % 10, "image_seed": number}
        manifest = Manifest(
            run=str(store.header()["id"]), attempt=attempt, number=number, cell=None, tries=1,
            created="2026-01-01T00:00:00Z", complete=True, parameters={**parameters, **values},
            given=tuple(values), seed=number, images=(record,),
        )  # fmt: skip
        store.write(f"manifests/{manifest.name}", manifest.to_json())
    return store.path


def plain_page(run: Run, path: Path) -> Path:
    """Write a page that has the same thumbnails as images."""
    images = "".join(
        f'<img width=236 src="data:image/webp;base64,{base64.b64encode(small).decode()}">'
        for image in run.images
        if (small := image.thumbnail()) is not None
    )
    path.write_text(f"<!doctype html>{images}", encoding="utf-8")
    return path


def first_screen(browser: Browser, path: Path) -> float:
    """Return after how many seconds all images on the first screen are there."""
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    page.goto(path.as_uri(), wait_until="commit")
    found = page.wait_for_function(SEEN, timeout=120_000, polling=20).json_value()
    page.close()
    return found / 1000


def rows(quick: bool) -> Iterator[Row]:
    """Yield the size of the page and its first screen."""
    count = QUICK_IMAGES if quick else IMAGES
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        with fooocus_nb.open_run(make_run(folder / "run", count)) as run:
            share = run.share(folder / "run.html", notebook=False)
        found = fooocus_nb.open_run(share.path)
        plain = plain_page(found, folder / "plain.html")
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        paths = (share.path, plain)
        seen = [statistics.median(first_screen(browser, path) for _ in range(3)) for path in paths]
        sizes = [path.stat().st_size / 1e6 for path in paths]
        browser.close()
    beside = "the same thumbnails as images"
    what = f"a run of {count:,} images as one page"
    yield Row(f"{what}: size", sizes[0], "MB", beside, sizes[1], Bound("ours", 30))
    yield Row(
        f"the first screen of a run of {count:,} images as one page", seen[0], "s", beside, seen[1]
    )
