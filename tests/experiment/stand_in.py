"""A run that was never made: for what only looks at images and their values."""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import PIL.Image

from fooocus_nb.fooocus.schema.named_values import NamedValues


@dataclass
class StandInImage:
    key: str
    cell: str | None
    parameters: NamedValues
    number_in_request: int = 0
    rating: int | None = None
    note: str = ""
    width: int = 96
    height: int = 64
    colour: tuple[int, int, int] = (120, 90, 60)
    path: Path = Path("images/none.png")
    sha256: str = "0" * 64

    @property
    def seed(self) -> int:
        return int(self.parameters["seed"])

    def thumbnail(self, size: int = 512) -> bytes:
        buffer = io.BytesIO()
        PIL.Image.new("RGB", (self.width, self.height), self.colour).save(buffer, "WEBP")
        return buffer.getvalue()


@dataclass
class StandInRun:
    images: list[StandInImage]
    cells: dict[str, Any]
    failures: list[Any] = field(default_factory=list)
    path: Path = Path("runs/lighthouse")
    readonly: bool = False


def stand_in_run(images_per_cell: int = 1, left_out: int = 0, **axes: Any) -> StandInRun:
    """Return a run over the product of the axes, the last `left_out` cells not made."""
    cells, images = {}, []
    names = list(axes)
    combinations = list(itertools.product(*axes.values()))
    for number, values in enumerate(combinations):
        cell = f"cell-{number}"
        given = {"image_seed": 7, "prompt": "a lighthouse at dusk"} | dict(
            zip(names, values, strict=True)
        )
        cells[cell] = SimpleNamespace(values=given, number=number, state="missing")
        if number >= len(combinations) - left_out:
            continue
        cells[cell].state = "made"
        for index in range(images_per_cell):
            colour = (60 + number * 37 % 180, 60 + number * 71 % 180, 60 + index * 60)
            seed = int(given.get("seed", given["image_seed"])) + index
            images.append(
                StandInImage(
                    f"{number:06}-1a2b3c4d-{index + 1}", cell,
                    NamedValues({**given, "image_seed": seed}), index if images_per_cell > 1 else 0,
                    colour=colour,
                )
            )  # fmt: skip
    return StandInRun(images, cells)
