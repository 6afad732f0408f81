"""Every verb from end to end, against the demo engine."""

from __future__ import annotations

import asyncio
import io
import pickle

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image

import fooocus_nb
from fooocus_nb import Enhance, ImagePrompt, Upscale
from fooocus_nb.errors import GenerationError

SMALL = {"width": 96, "height": 64, "steps": 1}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verbs")
    with fooocus_nb.start(
        demo=True,
        env={"FOOOCUS_DEMO_STEP_SECONDS": "0"},
        output_dir=folder / "images",
        args=("--output-path", str(folder / "outputs")),
        timeout=60,
    ) as started:
        started.folder = folder
        yield started


@pytest.fixture(scope="module")
def photo(engine):
    return engine.generate("a lighthouse at dusk", image_number=1, seed=3, **SMALL)[0]


def pixels(image):
    picture = image if isinstance(image, Image.Image) else image.open()
    return np.asarray(picture.convert("RGB"), dtype=float)


def difference(one, other):
    return float(np.abs(pixels(one) - pixels(other)).mean())


@pytest.mark.parametrize(
    ("by", "size"), [("1.5x", (144, 96)), ("2x", (192, 128)), ("fast 2x", (192, 128))]
)
def test_upscale_gives_the_same_picture_larger(engine, photo, by, size):
    larger = engine.upscale(photo, by, steps=1)
    assert len(larger) == 1
    picture = larger[0].open()
    assert picture.size == size
    assert difference(picture.resize((96, 64)), photo) < 8
    assert larger[0].parameters["prompt"] == "a lighthouse at dusk"


def test_vary_gives_alike_ones(engine, photo):
    subtle = engine.vary(photo, seed=1, image_number=2, steps=1)
    strong = engine.vary(photo, "strong", "a snowy forest", seed=1, image_number=1, steps=1)
    other = engine.generate("a snowy forest", seed=1, image_number=1, **SMALL)
    assert [image.seed for image in subtle] == [1, 2]
    assert 0 < difference(subtle[0], photo) < difference(strong[0], photo)
    assert difference(strong[0], photo) < difference(other[0], photo)
    assert difference(subtle[0], subtle[1]) > 0
    again = engine.vary(photo, seed=1, image_number=1, steps=1)
    assert difference(again[0], subtle[0]) == 0


@pytest.mark.parametrize("mode", ["inpaint", "detail", "modify"])
def test_inpaint_changes_only_what_is_masked(engine, photo, mode):
    mask = np.zeros((64, 96), bool)
    mask[20:50, 10:60] = True
    painted = pixels(engine.inpaint(photo, mask, "neon", mode=mode, image_number=1, steps=1)[0])
    assert (painted[~mask] == pixels(photo)[~mask]).all()
    assert np.abs(painted[mask] - pixels(photo)[mask]).mean() > 1


def test_a_mask_painted_in_the_notebook_is_inpainted(engine, photo):
    mask = np.zeros((64, 96), np.uint8)
    mask[20:50, 10:60] = 255
    editor = fooocus_nb.MaskEditor(photo, mask)
    asked = {"image_number": 1, "steps": 1, "seed": 3}
    painted = pixels(engine.inpaint(editor.image, editor.mask, "neon", **asked)[0])
    outside = mask == 0
    assert (painted[outside] == pixels(photo)[outside]).all()
    again = pixels(engine.inpaint(editor.image, editor, "neon", **asked)[0])
    assert (painted == again).all()


def test_inpaint_inverted_and_outpainted(engine, photo):
    mask = np.zeros((64, 96), bool)
    mask[20:50, 10:60] = True
    painted = engine.inpaint(
        photo, mask, invert=True, outpaint=["right", "bottom"], image_number=1, steps=1
    )
    assert painted[0].open().size == (96 + 29, 64 + 19)
    inside = pixels(painted[0])[:64, :96][mask]
    assert (inside == pixels(photo)[mask]).all()


def test_outpaint_extends(engine, photo):
    extended = engine.outpaint(photo, ["left", "top"], image_number=1, steps=1)[0]
    assert extended.open().size == (96 + 29, 64 + 19)
    assert (pixels(extended)[19:, 29:] == pixels(photo)).all()


def test_image_prompts_guide(engine, photo):
    plain = engine.generate("a mountain lake", seed=4, image_number=1, **SMALL)[0]
    for kind in ("ImagePrompt", "PyraCanny", "CPDS", "FaceSwap"):
        prompts = [ImagePrompt(photo, type=kind)]
        guided = engine.generate(
            "a mountain lake", seed=4, image_number=1, image_prompts=prompts, **SMALL
        )[0]
        assert difference(guided, plain) > 0.5, kind
    nearer = ImagePrompt(photo, weight=1.5, stop=1.0)
    guided = engine.generate(
        "a mountain lake", seed=4, image_number=1, image_prompts=[nearer], **SMALL
    )[0]
    here, there, wanted = (pixels(image).mean((0, 1)) for image in (guided, plain, photo))
    assert np.abs(here - wanted).sum() < np.abs(there - wanted).sum()


def test_image_prompts_are_mixed_into_what_is_masked_only(engine, photo):
    mask = np.zeros((64, 96), bool)
    mask[:30] = True
    blue = Image.new("RGB", (32, 32), (20, 40, 220))
    painted = engine.inpaint(photo, mask, "x", image_prompts=[blue], image_number=1, steps=1)
    assert (pixels(painted[0])[~mask] == pixels(photo)[~mask]).all()


def test_enhance_step_by_step(engine, photo):
    wanted = [Enhance("face"), Enhance("hand", "neon", mode="detail")]
    result = engine.enhance(photo, wanted, upscale="1.5x", seed=8, steps=1)
    assert result.parameters["overwrite_step"] == 1
    sizes = [image.open().size for image in result]
    assert sizes == [(144, 96)] * 3
    assert [image.seed for image in result] == [8] * 3
    assert difference(result[0], result[1]) > 0
    assert difference(result[1], result[2]) > 0
    last = engine.enhance(
        photo, wanted, upscale="1.5x", seed=8, steps=1, save_final_enhanced_image_only=True
    )
    assert len(last) == 1
    assert difference(last[0], result[2]) == 0


def test_enhance_what_is_generated(engine):
    result = engine.generate(
        "a crowd", enhance=[Enhance("face")], image_number=1, debugging_enhance_masks_checkbox=True,
        **SMALL,
    )  # fmt: skip
    plain, mask, enhanced = (image.open() for image in result)
    assert set(mask.convert("L").tobytes()) == {0, 255}
    changed = np.abs(pixels(plain) - pixels(enhanced)).sum(axis=2) > 0
    assert changed.any()
    assert not changed[np.asarray(mask.convert("L")) == 0].any()


def test_an_enhanced_image_has_the_seed_that_made_it(engine):
    result = engine.generate(
        "a crowd", enhance=[Enhance("face")], image_number=2, seed=4, **SMALL
    )  # fmt: skip
    assert [image.seed for image in result] == [4, 4, 5, 5]


def test_a_mask_of_the_engine_goes_back_into_it(engine, photo):
    mask = engine.make_mask(photo, detect="the light")
    assert (mask.mode, mask.size) == ("L", (96, 64))
    assert set(mask.tobytes()) == {0, 255}
    assert asyncio.run(engine.amake_mask(photo, detect="the light")).tobytes() == mask.tobytes()
    assert engine.make_mask(photo).tobytes() != mask.tobytes()
    assert len(engine.inpaint(photo, mask, "x", image_number=1, steps=1)) == 1


def test_a_notebook_shows_a_thumbnail_of_a_mask(engine, photo):
    mask = engine.make_mask(photo.open().resize((1200, 800)), detect="the light")
    assert (type(mask), mask.size) == (Image.Image, (1200, 800))
    shown, _ = DisplayFormatter().format(mask)
    assert set(shown) == {"image/png", "text/plain"}
    with Image.open(io.BytesIO(shown["image/png"])) as small:
        assert small.size == (320, 213)
    assert pickle.loads(pickle.dumps(mask)).tobytes() == mask.copy().tobytes()


def test_what_it_describes_can_be_drawn(engine, photo):
    described = engine.describe(photo)
    assert "dusk" in described
    assert described.styles == ("Fooocus V2", "Fooocus Enhance", "Fooocus Sharp")
    result = engine.generate(described, styles=described.styles, image_number=1, **SMALL)
    assert result.prompt == described
    assert "anime" in asyncio.run(engine.adescribe(photo, "anime"))


def test_describing_waits_for_its_turn(engine, photo):
    job = engine.submit("x", image_number=2, **SMALL)
    assert engine.describe(photo)
    assert len(job.snapshot().paths) == 2
    job.result(60)


@pytest.mark.parametrize("scheme", ["fooocus", "a1111"])
@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_embedded_metadata_is_read_by_the_engine(engine, form, scheme):
    made = engine.generate(
        "a harbour", metadata=True, metadata_scheme=scheme, output_format=form, image_number=1,
        seed=6, **SMALL,
    )[0]  # fmt: skip
    found = engine.read_metadata(made)
    assert found.scheme == scheme
    assert found.parameters["prompt"] == "a harbour"
    assert int(found.parameters["image_seed"]) == 6


def test_a_preset_is_kept_over_a_restart_and_shown_as_a_difference(tmp_path):
    with fooocus_nb.start(
        demo=True, env={"FOOOCUS_DEMO_STEP_SECONDS": "0"}, output_dir=tmp_path, timeout=60
    ) as engine:
        change = engine.preset("anime")
        assert change["guidance_scale"][1].default == 6.0
        assert "animaPencilXL_v500.safetensors" in repr(change)
        first = engine.generate("x", image_number=1, **SMALL)[0]
        assert first.parameters["guidance_scale"] == 6.0
        engine.restart()
        assert engine.current_preset == "anime"
        assert engine.generate("x", image_number=1, **SMALL)[0].parameters["guidance_scale"] == 6.0
        engine.preset("lightning")
        assert engine.parameters["performance_selection"].default == "Lightning"
        assert engine.parameters["guidance_scale"].default == 4.0


def test_refresh_finds_what_was_put_there(engine):
    place = engine.folder / "models" / "checkpoints"
    place.mkdir(parents=True)
    (place / "mine.safetensors").touch()
    change = engine.refresh()
    assert set(change) == {"base_model", "refiner_model"}
    assert engine.models[-1] == "mine.safetensors"
    assert engine.generate("x", base_model="mine", image_number=1, **SMALL)


def test_arrays_wildcards_and_chance(engine):
    result = engine.generate("a [[red, blue]] boat", image_number=2, seed=1, metadata=True, **SMALL)
    prompts = [fooocus_nb.read_metadata(image).parameters["prompt"] for image in result]
    assert prompts == ["a red boat", "a blue boat"]
    ordered = engine.generate(
        "a __season__", read_wildcards_in_order=True, image_number=3, metadata=True, **SMALL
    )
    prompts = [fooocus_nb.read_metadata(image).parameters["prompt"] for image in ordered]
    assert prompts == ["a spring", "a summer", "a autumn"]
    styled = engine.generate(
        "x", styles=["Random Style"], image_number=1, seed=2, metadata=True, **SMALL
    )
    (style,) = fooocus_nb.read_metadata(styled[0]).parameters["style_selections"]
    assert style in engine.styles
    assert style != "Random Style"


def test_grid_and_black_out(engine):
    many = {"image_number": 2, "seed": 5, "image_grid": True, "black_out_nsfw": True}
    result = engine.generate("nsfw", **many, **SMALL)
    assert [image.open().size for image in result] == [(96, 64), (96, 64), (192, 64)]
    assert result[0].open().getextrema() == ((0, 0),) * 3
    seeds = [image.seed - result.seed for image in result]
    assert seeds == [0, 1, 0]
    assert [image.parameters["image_number"] for image in result] == [1, 1, 2]


def test_debug_switches_show_what_is_between(engine, photo):
    mask = np.zeros((64, 96), bool)
    mask[:30] = True
    shown = engine.inpaint(
        photo, mask, image_number=1, debugging_inpaint_preprocessor=True, steps=1
    )[0]
    assert (pixels(shown)[..., 0] > 0).tolist() == mask.tolist()
    shown = engine.generate(
        "x", image_prompts=[ImagePrompt(photo, type="PyraCanny")], image_number=1,
        debugging_cn_preprocessor=True, **SMALL,
    )[0]  # fmt: skip
    assert pixels(shown).mean() > 150


def test_verbs_as_jobs_and_awaited(engine, photo):
    jobs = [engine.submit("x", task=Upscale(photo, by), steps=1) for by in ("1.5x", "2x")]
    assert [job.result(60)[0].open().size for job in jobs] == [(144, 96), (192, 128)]
    assert asyncio.run(engine.aupscale(photo, 1.5, steps=1))[0].open().size == (144, 96)
    assert asyncio.run(engine.aoutpaint(photo, "left", steps=1, image_number=1))[0].seed >= 0


def test_a_function_that_fails_is_a_typed_error(engine, monkeypatch):
    monkeypatch.setattr(
        engine._queries, "_checked", lambda verb, given: {"image": "data:image/png;base64,AAAA"}
    )
    with pytest.raises(GenerationError, match="UnidentifiedImageError"):
        engine.describe("x")
