"""Runs that no engine made: real folders with plans, manifests and images, in no time."""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
from pathlib import Path
from typing import Any

import PIL.Image
from PIL import ImageColor, ImageDraw, ImageOps

from fooocus_nb.experiment.folder import RunFolder
from fooocus_nb.experiment.manifest import ImageRecord, Manifest

_ENDS = ((0, 38), (40, 72))
BASE = {"prompt": "a lighthouse at dusk", "guidance_scale": 4.0, "image_seed": 7}


def draw(number: int, size: tuple[int, int]) -> PIL.Image.Image:
    """Draw a shore under a sky, another one for each number."""
    width, height = size
    hue = number * 47 % 360
    shades = PIL.Image.linear_gradient("L").resize(size)
    ends = [ImageColor.getrgb(f"hsl({hue + turn}, 55%, {light}%)") for turn, light in _ENDS]
    image = ImageOps.colorize(shades, *ends)
    pen = ImageDraw.Draw(image)
    sun = (width * (20 + number * 13 % 60) // 100, height * 35 // 100)
    radius = height * 11 // 100
    pen.ellipse(
        [sun[0] - radius, sun[1] - radius, sun[0] + radius, sun[1] + radius], fill="#fff3d0"
    )
    shore = [(0, height), (0, height * 3 // 4), (width // 2, height * 5 // 8)]
    pen.polygon([*shore, (width, height * 4 // 5), (width, height)], fill="#1c2733")
    x = width * 3 // 4
    pen.rectangle([x, height * 2 // 5, x + width // 24, height * 4 // 5], fill="#f2efe9")
    pen.rectangle([x, height * 9 // 25, x + width // 24, height * 2 // 5], fill="#c0392b")
    return image


@functools.cache
def _encoded(number: int, size: tuple[int, int]) -> tuple[bytes, str]:
    image, buffer = draw(number, size), io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue(), hashlib.sha256(image.tobytes()).hexdigest()


def make_run(
    folder: Path | str,
    *,
    images_per_cell: int = 1,
    left_out: int = 0,
    failed: int = 0,
    size: tuple[int, int] = (96, 72),
    salt: int = 0,
    **axes: Any,
) -> Path:
    """Make a run over the product of `axes`; the last cells were not made, or failed."""
    store = RunFolder(Path(folder))
    store.create()
    for name in ("manifests", "images", "inputs"):
        (store.path / name).mkdir(exist_ok=True)
    cells = list(itertools.product(*axes.values()))
    made = len(cells) - left_out - failed
    plan, attempts = [], []
    for number, values in enumerate(cells, 1):
        given = dict(zip(axes, values, strict=True))
        cell = hashlib.sha256(repr(sorted(given.items())).encode()).hexdigest()
        as_text = {k: str(v) if k == "image_seed" else v for k, v in given.items()}
        plan.append({"cell": cell, "number": number, "values": as_text})
        attempt = hashlib.sha256(f"{number} {salt}".encode()).hexdigest()[:32]
        line = {"attempt": attempt, "cell": cell, "try": 1, "number": number, "time": "t"}
        if number > made + failed:
            continue
        attempts.append({**line, "event": "sent"})
        if number > made:
            error = {"type": "OutOfVRAM", "message": "The GPU has too little memory for this."}
            attempts.append({**line, "event": "failed", "error": error})
            continue
        attempts.append({**line, "event": "made"})
        _write(store, given, (number, cell, attempt), images_per_cell, size, salt)
    store.append("plan", *plan)
    store.append("attempts", *attempts)
    return store.path


def _write(
    store: RunFolder,
    given: dict[str, Any],
    names: tuple[int, str, str],
    count: int,
    size: tuple[int, int],
    salt: int,
) -> None:
    number, cell, attempt = names
    parameters = {**BASE, "image_number": count, **given}
    records = []
    for order in range(1, count + 1):
        name = f"images/{number:06d}-{attempt[:8]}-{order}.png"
        data, pixels = _encoded((number * 7 + order + salt) % 120, size)
        (store.path / name).write_bytes(data)
        seed = int(parameters["image_seed"]) + order - 1
        record = ImageRecord(
            path=name, number_in_request=order, seed=seed, sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data), width=size[0], height=size[1], format="png",
            pixels_sha256=pixels, dhash=f"{number:016x}",
        )  # fmt: skip
        records.append(record)
    manifest = Manifest(
        run=str(store.header()["id"]), attempt=attempt, number=number, cell=cell, tries=1,
        created="2026-11-27T10:00:00Z", complete=True, parameters=parameters, given=tuple(given),
        seed=int(parameters["image_seed"]), images=tuple(records),
    )  # fmt: skip
    store.write(f"manifests/{manifest.name}", manifest.to_json())
