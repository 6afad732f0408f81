"""What a large run costs to open, with its index and without, and what a manifest costs.

With its 100,000 images it writes 900 MB into a temporary folder and takes two to three minutes.
"""

from __future__ import annotations

import io
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image

from benchmarks._table import Bound, Row
from fooocus_nb.experiment.folder import RunFolder, dump, now
from fooocus_nb.experiment.manifest import ImageRecord, Manifest
from fooocus_nb.experiment.run import open_run

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = 100_000
QUICK_IMAGES = 2_000
GENERATIONS = 200
#: As many parameters as Fooocus 2.5.5 has, of about their length.
PARAMETERS: dict[str, Any] = {
    "prompt": "a lighthouse at dusk, long exposure, film grain",
    "style_selections": ["Fooocus V2", "Fooocus Enhance", "Fooocus Sharp"],
    "image_number": 1,
    **{f"enhance_{number % 3}_mask_setting_{number}": number / 7 for number in range(120)},
    **{f"flag_number_{number}": False for number in range(20)},
}


def manifest_of(run: str, number: int) -> Manifest:
    """Return a manifest as a generation with one image has it."""
    attempt = secrets.token_hex(16)
    seed = 6687881544318117707 + number
    draft = Manifest(
        run=run,
        attempt=attempt,
        number=number,
        cell=f"{number:064x}",
        tries=1,
        created=now(),
        complete=True,
        parameters={**PARAMETERS, "image_seed": seed},
        given=("prompt", "image_seed"),
        seed=seed,
        images=(),
    )
    image = ImageRecord(
        path=draft.image_path(1, "png"),
        number_in_request=1,
        seed=seed,
        sha256=f"{number:064x}",
        bytes=1,
        width=1152,
        height=896,
        format="png",
        pixels_sha256=f"{number:064x}",
        dhash=f"{number:016x}",
    )
    return Manifest(**{**vars(draft), "images": (image,)})


def make_run(place: Path, count: int) -> None:
    """Write a run of so many images, as a sweep would have left it."""
    folder = RunFolder(place)
    folder.create()
    run = str(folder.header()["id"])
    plan, attempts = [], []
    for number in range(1, count + 1):
        manifest = manifest_of(run, number)
        (place / "manifests" / manifest.name).write_bytes(manifest.to_json())
        (place / manifest.images[0].path).write_bytes(b"x")
        about = {
            "attempt": manifest.attempt,
            "cell": manifest.cell,
            "number": number,
            "try": 1,
            "time": now(),
        }
        values = {"guidance_scale": number / 10, "image_seed": str(manifest.seed)}
        plan.append({"cell": manifest.cell, "number": number, "values": values})
        attempts += [{**about, "event": "sent", "values": values}, {**about, "event": "made"}]
    for kind, lines in (("plan", plan), ("attempts", attempts)):
        text = "".join(f"{dump(line)}\n" for line in lines)
        (place / f"{kind}.jsonl").write_text(text, encoding="utf-8")


#: A process of its own, as a notebook that is opened the next day. It prints the seconds.
_OPEN = """
import sys, time
from fooocus_nb.experiment.run import open_run
began = time.perf_counter()
run = open_run(sys.argv[1])
made = run.made_cells()
missing = [cell for cell in run.cells if cell not in made]
seconds = time.perf_counter() - began
assert len(run.images) == int(sys.argv[2]) and not missing, (run, len(missing))
run.close()
print(seconds)
"""
_READ = """
import json, os, sys, time
began = time.perf_counter()
folder = os.path.join(sys.argv[1], "manifests")
for name in os.listdir(folder):
    with open(os.path.join(folder, name), "rb") as file:
        json.loads(file.read())
print(time.perf_counter() - began)
"""
_STAT = """
import os, sys, time
began = time.perf_counter()
for kind in ("manifests", "images"):
    for entry in os.scandir(os.path.join(sys.argv[1], kind)):
        entry.stat()
print(time.perf_counter() - began)
"""


def seconds_of(code: str, place: Path, count: int) -> float:
    """Return what a script in a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(place), str(count)],
        check=True,
        capture_output=True,
        text=True,
        timeout=900,
    )
    return float(done.stdout.split()[-1])


def opening(place: Path, count: int) -> Iterator[Row]:
    """Yield what it takes to open a run."""
    make_run(place, count)
    read = seconds_of(_READ, place, count)
    stat = seconds_of(_STAT, place, count)
    without = seconds_of(_OPEN, place, count)
    with_index = statistics.median(seconds_of(_OPEN, place, count) for _ in range(3))
    what = f"opening a run of {count:,} images"
    yield Row(f"{what}, with its index", with_index, "s", "a stat of every file", stat)
    yield Row(
        f"{what}, without an index", without, "s", "`json.loads` of every manifest", read,
        Bound("ratio", 2),
    )  # fmt: skip


def image_bytes() -> bytes:
    """Return a PNG of 1152 x 896 pixels of noise in half of it, some 1.5 MB."""
    image = PIL.Image.new("RGB", (1152, 896), "navy")
    image.paste(PIL.Image.frombytes("RGB", (1152, 448), os.urandom(1152 * 448 * 3)), (0, 0))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def recording(place: Path, plain: Path, count: int) -> Iterator[Row]:
    """Yield what recording adds to a generation's path, beside writing its image once."""
    data = image_bytes()
    plain.mkdir()
    writing, lines, copies, manifests = [], [], [], []
    with open_run(place) as run:
        for number in range(count):
            began = time.perf_counter()
            (plain / f"{number}.png").write_bytes(data)
            writing.append(time.perf_counter() - began)
            attempt = run.recorder.begin()
            values = {**PARAMETERS, "image_seed": number}
            began = time.perf_counter()
            attempt.sent(values, given=("prompt",), seed=number)
            sent = time.perf_counter()
            attempt.add_image("a.png", data)
            copied = time.perf_counter()
            time.sleep(0.02)  # the engine tells the end of a generation after its last image
            ended = time.perf_counter()
            attempt.made()
            lines.append(sent - began)
            copies.append(copied - sent)
            manifests.append(time.perf_counter() - ended)
            time.sleep(0.03)  # a generation takes seconds; here the thread keeps up with it
    once = statistics.median(writing) * 1e3
    for name, found, bound in (
        ("the line before a request", lines, None),
        ("a manifest and its line", manifests, Bound("ours", 2)),
        (f"the copy of an image of {len(data) / 1e6:.1f} MB in its run", copies, None),
    ):
        ours = statistics.median(found) * 1e3
        yield Row(name, ours, "ms", "writing the image once", once, bound)


def rows(quick: bool) -> Iterator[Row]:
    """Yield what opening a large run and recording into a small one cost."""
    with tempfile.TemporaryDirectory(prefix="fnb-bench-") as folder:
        yield from opening(Path(folder, "large"), QUICK_IMAGES if quick else IMAGES)
        count = 20 if quick else GENERATIONS
        yield from recording(Path(folder, "small"), Path(folder, "plain"), count)
