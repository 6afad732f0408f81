"""The history of an engine's images: it is long, so an image in it must cost little."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

from fooocus_nb.results import Image
from fooocus_nb.results.history import ImageHistory

#: As many as a request of Fooocus 2.5 has.
REQUEST = {f"parameter_{number}": f"value {number}" for number in range(150)}
IMAGES = 1000
MAX_BYTES = 1000


def made(number: int) -> Image:
    parameters = {**REQUEST, "image_seed": number, "image_number": 1}
    return Image(Path(f"{number}.png"), seed=number, parameters=parameters)


def test_an_image_costs_less_than_a_kilobyte() -> None:
    history = ImageHistory()
    history.add([made(0)])
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for number in range(1, IMAGES + 1):
            history.add([made(number)])
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / IMAGES < MAX_BYTES
    assert [image.parameters["seed"] for image in history.images()] == list(range(IMAGES + 1))
    assert history.images()[7].parameters == {**REQUEST, "image_seed": 7, "image_number": 1}
