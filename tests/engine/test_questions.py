"""Questions to an engine whose log tells a moment later why they failed."""

from __future__ import annotations

import numpy as np
import pytest

import fooocus_nb
from fooocus_nb.errors import OutOfVRAM

CALLS = ("describe", "make_mask", "preset", "refresh", "read_metadata")
IMAGE = np.zeros((64, 64, 3), np.uint8)


def ask(engine, verb, path):
    match verb:
        case "describe":
            engine.describe(IMAGE)
        case "make_mask":
            engine.make_mask(IMAGE)
        case "preset":
            engine.preset(next(name for name in engine.presets if name != engine.current_preset))
        case "refresh":
            engine.refresh()
        case "read_metadata":
            engine.read_metadata(path)


@pytest.mark.slow
def test_every_question_waits_for_the_reason_in_the_log(gradio3_checkout, tmp_path):
    path = tmp_path / "image.png"
    with fooocus_nb.start(
        gradio3_checkout,
        env={"FAILING_CALLS": " ".join(CALLS), "LATE_SECONDS": "0.5"},
        output_dir=tmp_path / "images",
        timeout=60,
    ) as engine:
        engine.generate("a cat", image_number=1)[0].open().save(path)
        for number in range(4):
            for verb in CALLS:
                with pytest.raises(OutOfVRAM, match="memory"):
                    ask(engine, verb, path)
                assert engine.state == "ready", (number, verb)
