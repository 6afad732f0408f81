"""An enhancement that fails never hands out the image that it was given."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import fooocus_nb
from fooocus_nb import Enhance
from fooocus_nb.engine.jobs.unchanged import shows_the_same
from fooocus_nb.errors import GenerationError, OutOfVRAM
from fooocus_nb.fooocus.requests.images import encode_image

FORMATS = ("png", "jpeg", "webp")


@pytest.fixture
def photo():
    """An image with colours, edges and grain."""
    rng = np.random.default_rng(1)
    pixels = np.add.outer(np.arange(128), np.arange(192))[..., None] * [1.0, 0.5, 0.8]
    pixels[30:70, 40:90] = (200, 30, 60)
    return Image.fromarray((pixels + rng.normal(0, 12, pixels.shape)).clip(0, 255).astype("uint8"))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("how", "error", "cause"),
    [("", OutOfVRAM, "memory"), ("=quietly", GenerationError, "gave the image back as it was")],
)
def test_the_given_image_is_no_result(start_demo, photo, form, how, error, cause):
    engine = start_demo(f"enhance-fails{how}")
    with pytest.raises(error, match=cause) as caught:
        engine.enhance(photo, [Enhance(detect="face")], output_format=form)
    assert not caught.value.result
    assert not engine.last_result
    assert engine.state == "ready"


def test_a_server_that_we_only_connected_to_gives_none_either(demo_server, photo, tmp_path):
    server = demo_server("--fault", "enhance-fails=quietly")
    with (
        fooocus_nb.connect(server.url, output_dir=tmp_path / "images") as engine,
        pytest.raises(GenerationError, match="gave the image back as it was"),
    ):
        engine.enhance(photo, [Enhance(detect="face")])


@pytest.mark.parametrize("form", FORMATS)
def test_what_was_enhanced_is_a_result(start_demo, photo, form):
    engine = start_demo()
    result = engine.enhance(photo, [Enhance(detect="face")], output_format=form)
    assert len(result) == 1


@pytest.mark.parametrize("quality", [75, 85, 95])
@pytest.mark.parametrize("form", ["jpeg", "webp"])
def test_a_lossy_copy_shows_the_same_and_an_enhanced_one_does_not(photo, tmp_path, form, quality):
    given, path = encode_image("image", photo), tmp_path / "image"
    photo.save(path, form, quality=quality)
    assert shows_the_same(path, given)
    changed = np.asarray(photo).copy()
    changed[64:96, 96:128] = (changed[64:96, 96:128] * 0.9).astype("uint8")
    Image.fromarray(changed).save(path, form, quality=quality)
    assert not shows_the_same(path, given)
