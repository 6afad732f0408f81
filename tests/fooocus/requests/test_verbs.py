"""Every verb against real Gradio servers with an app of Fooocus's shape that notes what comes."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import fooocus_nb
from fooocus_nb import Enhance, EnhanceImage, ImagePrompt, Inpaint, Outpaint, Upscale, Vary
from fooocus_nb.errors import (
    IgnoredParameter,
    MetadataError,
    ParameterError,
    UnsupportedParameter,
    UnsupportedServer,
)
from fooocus_nb.fooocus.requests.images import encode_image

#: The names of the inputs of the app's setter, in its order; the state comes first.
PICTURE = {"shape": [6, 8, 3], "mean": 7.0}
NOTHING = {"shape": [6, 8, 3], "mean": 0.0}


@pytest.fixture(scope="module")
def engine(gradio3_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    with fooocus_nb.connect(gradio3_server.url, name="verbs", output_dir=folder) as connected:
        yield connected


@pytest.fixture
def picture():
    return Image.new("RGB", (8, 6), (7, 7, 7))


@pytest.fixture
def mask():
    made = Image.new("L", (8, 6))
    made.paste(255, (0, 0, 4, 6))
    return made


@pytest.fixture
def sent(engine, gradio3_server):
    """Return what the last generation brought, by name, and what of it is not the default."""

    def read():
        names = engine._schema.steps[0].inputs
        values = gradio3_server.last("task")["values"]
        assert len(names) == len(values)
        arrived = dict(zip(names, values, strict=True))
        defaults = {item.name: item.default for item in engine.parameters.values()}
        own = {"prompt", "image_seed", "image_number", "currentTask"}
        return arrived, {
            name: value
            for name, value in arrived.items()
            if name not in own and value != defaults[name]
        }

    return read


# -- verbs that generate ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "method"),
    [
        ("1.5x", "Upscale (1.5x)"),
        ("2X", "Upscale (2x)"),
        (2, "Upscale (2x)"),
        (1.5, "Upscale (1.5x)"),
        ("fast 2x", "Upscale (Fast 2x)"),
    ],
)
def test_upscale(engine, sent, picture, by, method):
    engine.upscale(picture, by)
    arrived, changed = sent()
    assert changed == {
        "input_image_checkbox": True,
        "uov_method": method,
        "uov_input_image": PICTURE,
    }
    assert arrived["current_tab"] == "uov"
    assert arrived["image_number"] == 1


@pytest.mark.parametrize("strength", ["subtle", "strong"])
def test_vary(engine, sent, picture, strength):
    result = asyncio.run(engine.avary(picture, strength, "a boat", image_number=3))
    assert len(result) == 3
    arrived, changed = sent()
    assert arrived["prompt"] == "a boat"
    assert changed == {
        "input_image_checkbox": True,
        "uov_method": f"Vary ({strength.capitalize()})",
        "uov_input_image": PICTURE,
    }


def test_inpaint(engine, sent, picture, mask):
    engine.inpaint(picture, mask, "a door", inpaint_strength=0.9, image_number=1)
    _, changed = sent()
    assert changed == {
        "input_image_checkbox": True,
        "current_tab": "inpaint",
        "inpaint_input_image": {"image": PICTURE, "mask": {"shape": [6, 8, 3], "mean": 127.5}},
        "inpaint_strength": 0.9,
    }


@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        (
            "detail",
            {
                "inpaint_engine": "None",
                "inpaint_strength": 0.5,
                "inpaint_respective_field": 0,
            },
        ),
        ("modify", {"inpaint_disable_initial_latent": True, "inpaint_respective_field": 0}),
    ],
)
def test_the_modes_of_inpainting(engine, sent, picture, mask, mode, settings):
    engine.inpaint(picture, mask, mode=mode, invert=True, outpaint="left", image_number=1)
    _, changed = sent()
    del changed["inpaint_input_image"]
    assert changed == {
        "input_image_checkbox": True,
        "current_tab": "inpaint",
        "outpaint_selections": ["Left"],
        "invert_mask_checkbox": True,
        **settings,
    }
    engine.inpaint(picture, mask, mode=mode, inpaint_respective_field=0.25, image_number=1)
    assert sent()[0]["inpaint_respective_field"] == 0.25


def test_outpaint(engine, sent, picture):
    engine.outpaint(picture, ["left", "Top", "left"], image_number=1)
    _, changed = sent()
    assert changed == {
        "input_image_checkbox": True,
        "current_tab": "inpaint",
        "inpaint_input_image": {"image": PICTURE, "mask": NOTHING},
        "outpaint_selections": ["Left", "Top"],
    }


def test_image_prompts_alone(engine, sent, picture):
    prompts = [
        ImagePrompt(picture, type="faceswap"),
        ImagePrompt(picture, type="CPDS", stop=0.25, weight=1.5),
        np.full((6, 8, 3), 7, dtype=np.uint8),
    ]
    engine.generate("x", image_prompts=prompts, image_number=1)
    _, changed = sent()
    assert changed == {
        "input_image_checkbox": True,
        "current_tab": "ip",
        "ip_1_image": PICTURE,
        "ip_1_type": "FaceSwap",
        "ip_1_stop": 0.9,
        "ip_1_weight": 0.75,
        "ip_2_image": PICTURE,
        "ip_2_type": "CPDS",
        "ip_2_stop": 0.25,
        "ip_2_weight": 1.5,
        "ip_3_image": PICTURE,
    }


@pytest.mark.parametrize(
    ("verb", "tab", "switch"),
    [
        ("vary", "uov", "mixing_image_prompt_and_vary_upscale"),
        ("upscale", "uov", "mixing_image_prompt_and_vary_upscale"),
        ("outpaint", "inpaint", "mixing_image_prompt_and_inpaint"),
    ],
)
def test_image_prompts_are_mixed_in(engine, sent, picture, verb, tab, switch):
    prompts = [ImagePrompt(picture)]
    getattr(engine, verb)(picture, image_prompts=prompts, skipping_cn_preprocessor=True)
    arrived, changed = sent()
    assert arrived["current_tab"] == tab
    assert changed[switch] is True
    assert changed["ip_1_image"] == PICTURE
    assert changed["skipping_cn_preprocessor"] is True


def test_enhance(engine, sent, picture):
    steps = [
        Enhance("face", "a smile", mode="detail", max_detections=2, invert=True),
        Enhance("hand", "", "gloves", model="u2net_cloth_seg", cloth="upper", erode_or_dilate=-3),
    ]
    engine.enhance(picture, steps, upscale="1.5x", debugging_dino=True)
    arrived, changed = sent()
    assert arrived["image_number"] == 1
    assert changed == {
        "input_image_checkbox": True,
        "current_tab": "enhance",
        "enhance_input_image": PICTURE,
        "enhance_checkbox": True,
        "enhance_uov_method": "Upscale (1.5x)",
        "debugging_dino": True,
        "enhance_1_enabled": True,
        "enhance_1_mask_dino_prompt_text": "face",
        "enhance_1_prompt": "a smile",
        "enhance_1_mask_sam_max_detections": 2,
        "enhance_1_mask_invert": True,
        "enhance_1_inpaint_engine": "None",
        "enhance_1_inpaint_strength": 0.5,
        "enhance_1_inpaint_respective_field": 0,
        "enhance_2_enabled": True,
        "enhance_2_mask_dino_prompt_text": "hand",
        "enhance_2_negative_prompt": "gloves",
        "enhance_2_mask_model": "u2net_cloth_seg",
        "enhance_2_mask_cloth_category": "upper",
        "enhance_2_inpaint_erode_or_dilate": -3,
    }


def test_enhance_what_is_generated(engine, sent):
    engine.generate("a crowd", enhance=[Enhance("face")], image_number=1)
    arrived, changed = sent()
    assert arrived["current_tab"] == "uov"
    assert changed == {
        "enhance_checkbox": True,
        "enhance_1_enabled": True,
        "enhance_1_mask_dino_prompt_text": "face",
    }


def test_each_verb_can_be_handed_in_as_a_job(engine, sent, picture, mask):
    for task in (
        Upscale(picture),
        Vary(picture),
        Inpaint(picture, mask),
        Outpaint(picture),
        EnhanceImage(picture, [Enhance("face")]),
    ):
        job = engine.submit("x", task=task, image_number=1, seed=5)
        assert job.result(60)[0].seed == 5
        assert sent()[0]["input_image_checkbox"] is True


def test_metadata_and_grid_in_short(engine, sent):
    engine.generate("x", metadata=True, metadata_scheme="a1111", image_grid=True, image_number=1)
    assert sent()[1] == {
        "save_metadata_to_images": True,
        "metadata_scheme": "a1111",
        "generate_image_grid": True,
    }


def test_what_made_it_makes_it_again(engine, sent, picture, mask, tmp_path):
    paths = [tmp_path / "in.png", tmp_path / "mask.png"]
    picture.save(paths[0])
    mask.save(paths[1])
    image = engine.inpaint(*paths, "x", image_prompts=[paths[0]], image_number=1)[0]
    first = sent()
    engine.generate(**image.parameters)
    assert sent() == first
    lost = engine.upscale(picture)[0]
    with pytest.raises(ParameterError, match="uov_input_image= was an image in memory"):
        engine.generate(**lost.parameters)


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (lambda p: Upscale(p, "3x"), r"by='3x'.*1\.5x, 2x, fast 2x"),
        (lambda p: Vary(p, "strnog"), "Did you mean 'strong'"),
        (lambda p: Inpaint(p, None), "mask= is missing"),
        (lambda p: Inpaint(p, p, "x"), "mode='x'.*inpaint, detail, modify"),
        (lambda p: Inpaint(p, p.resize((4, 4))), "the mask is 4x4, its image 8x6"),
        (lambda p: Inpaint(p, p), "The mask is empty: nothing in it is white"),
        (lambda p: Inpaint(p, np.ones((6, 8), np.uint8)), "True in a boolean array"),
        (lambda p: Inpaint(p, np.ones((6, 8), bool), invert=True), "nothing in it is black"),
        (lambda p: Inpaint(p, np.ones((6, 8), np.float32)), "pixels of mode F"),
        (lambda p: Outpaint(p, []), "sides= is empty"),
        (lambda p: Outpaint(p, ["lift"]), "Did you mean 'left'"),
        (lambda p: Outpaint(p, 3), "must be a list of left"),
        (EnhanceImage, "nothing to enhance"),
        (lambda p: EnhanceImage(p, upscale=2, vary="subtle"), "exclude each other"),
        (lambda p: EnhanceImage(p, [1]), "1 is no enhancement"),
        (lambda p: EnhanceImage(p, [Enhance()] * 4), "has 4 items, but this server has 3 tabs"),
        (lambda p: "upscale", "task='upscale' is not possible"),
    ],
)
def test_wrong_tasks_are_refused_before_anything_is_sent(
    engine, gradio3_server, picture, task, says
):
    before = len(gradio3_server.calls())
    with pytest.raises(ParameterError, match=says):
        engine.submit("x", task=task(picture))
    assert len(gradio3_server.calls()) == before


def test_what_a_task_decides_cannot_be_given(engine, picture):
    with pytest.raises(ParameterError, match="'uov_method' is decided by task=Vary"):
        engine.vary(picture, uov_method="Disabled")
    with pytest.raises(ParameterError, match="cannot be used together with EnhanceImage"):
        engine.enhance(picture, [Enhance()], image_prompts=[picture])
    with pytest.raises(ParameterError, match="has 5 items, but this server has 4 slots"):
        engine.generate("x", image_prompts=[picture] * 5)
    with pytest.raises(ParameterError, match="image_prompts= is a Image, but must be a list"):
        engine.generate("x", image_prompts=picture)


def test_web_addresses_are_refused_unless_allowed(engine, gradio3_server, sent, picture):
    url = f"{gradio3_server.url}/file={gradio3_server.temp_path / 'in.png'}"
    picture.save(gradio3_server.temp_path / "in.png")
    with pytest.raises(ParameterError, match=r"engine\.allow_urls = True"):
        engine.upscale(url)
    engine.allow_urls = True
    try:
        with pytest.raises(ParameterError, match=r"engine\.allow_private_urls = True"):
            engine.upscale(url)
        with pytest.raises(ParameterError, match="only http and https"):
            engine.upscale("ftp://example.org/x.png")
        engine.allow_private_urls = True
        image = engine.upscale(url)[0]
        with pytest.raises(ParameterError, match=r"cannot be fetched: .*404"):
            engine.upscale(f"{gradio3_server.url}/nothing.png")
    finally:
        engine.allow_urls = engine.allow_private_urls = False
    assert sent()[1]["uov_input_image"] == PICTURE
    assert image.parameters["uov_input_image"] == url


@pytest.mark.parametrize("performance", ["Extreme Speed", "Lightning", "Hyper-SD"])
def test_what_a_performance_overrides_is_warned_about(engine, performance):
    with pytest.warns(
        IgnoredParameter, match="guidance_scale, sampler_name have no effect"
    ) as told:
        engine.submit(
            "x", performance=performance, guidance_scale=7.0, sampler="euler_ancestral", steps=6
        ).result(60)
    assert told[0].filename == __file__


def test_no_warning_without_a_reason(engine, recwarn):
    result = engine.generate("x", performance="Lightning", sampler="euler", image_number=1)
    engine.generate(**result[0].parameters)
    engine.generate("x", performance="Speed", guidance_scale=7.0, image_number=1)
    assert not [item for item in recwarn if item.category is IgnoredParameter]


def test_a_picture_that_is_not_looked_at_is_warned_about(engine, picture):
    with pytest.warns(IgnoredParameter, match="uov_input_image has no effect without"):
        engine.submit("x", uov_input_image=picture, image_number=1).result(60)


# -- verbs that ask -----------------------------------------------------------------------------


def test_describe(engine, gradio3_server, picture):
    described = engine.describe(picture)
    assert described == "a square"
    assert described.styles == ("SAI Anime",)
    assert gradio3_server.last("describe")["values"] == [["Photograph"], PICTURE, True]
    asyncio.run(engine.adescribe(picture, ["anime", "photo"]))
    assert gradio3_server.last("describe")["values"][0] == ["Art/Anime", "Photograph"]
    with pytest.raises(ParameterError, match="'photo' or 'anime'"):
        engine.describe(picture, "drawing")


def test_make_mask(engine, gradio3_server, picture):
    mask = engine.make_mask(picture)
    assert (mask.mode, mask.size) == ("L", (8, 6))
    assert mask.getpixel((0, 0)) == 255
    assert mask.getpixel((0, 5)) == 0
    values = gradio3_server.last("make_mask")["values"]
    assert values[0] == {"image": PICTURE, "mask": NOTHING}
    assert values[1:] == ["u2net", "full", "", "vit_b", 0.3, 0.25, 0, 0, False]
    asyncio.run(
        engine.amake_mask(picture, detect="face", box_threshold=0.5, dino_erode_or_dilate=4)
    )
    values = gradio3_server.last("make_mask")["values"]
    assert values[1:] == ["sam", "full", "face", "vit_b", 0.5, 0.25, 0, 4, False]
    with pytest.raises(ParameterError, match=r"model='u3net'.*Did you mean 'u2net'"):
        engine.make_mask(picture, "u3net")
    with pytest.raises(UnsupportedParameter, match="without colour="):
        asyncio.run(engine.amake_mask(picture, colour=3))


def test_read_metadata(engine, gradio3_server, picture, tmp_path):
    path = tmp_path / "made.png"
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", '{"prompt": "a boat", "seed": "9", "version": "Fooocus v2.5.5"}')
    info.add_text("fooocus_scheme", "fooocus")
    picture.save(path, pnginfo=info)
    for found in (engine.read_metadata(path), asyncio.run(engine.aread_metadata(path))):
        assert found.scheme == "fooocus"
        assert found.parameters["prompt"] == "a boat"
        assert found.parameters["image_seed"] == "9"
    assert gradio3_server.last("read_metadata")["values"] == [".png"]
    picture.save(path)
    with pytest.raises(MetadataError):
        engine.read_metadata(path)


def test_presets_change_the_defaults(gradio3_server, tmp_path, sent):
    with fooocus_nb.connect(gradio3_server.url, name="presets", output_dir=tmp_path) as engine:
        assert engine.presets == ("initial", "lightning", "anime")
        assert engine.current_preset == "initial"
        change = engine.preset("lightning")
        assert list(change) == ["performance_selection"]
        assert "Preset lightning" in repr(change)
        assert "Lightning" in change._repr_html_()
        assert gradio3_server.last("preset")["values"][0] == "lightning"
        assert engine.current_preset == "lightning"
        engine.generate("x", image_number=1)
        assert sent()[1] == {"performance_selection": "Lightning"}
        asyncio.run(engine.apreset("anime"))
        assert engine.parameters["guidance_scale"].default == 6.0
        with pytest.raises(ParameterError, match="Did you mean 'anime'"):
            engine.preset("anme")


def test_refresh_finds_new_files(gradio3_server, tmp_path):
    with fooocus_nb.connect(gradio3_server.url, name="files", output_dir=tmp_path) as engine:
        assert "brand_new.safetensors" not in engine.models
        change = engine.refresh()
        assert "also brand_new.safetensors" in repr(change)
        assert "brand_new.safetensors" in engine.models
        assert "new" in engine.presets
        assert not asyncio.run(engine.arefresh())


def test_the_catalogues(engine):
    assert engine.models == ("juggernautXL_v8Rundiffusion.safetensors",)
    assert engine.loras == ("offset.safetensors",)
    assert engine.styles[:2] == ("Fooocus V2", "Fooocus Enhance")
    assert engine.styles.filter("anime") == ("SAI Anime",)
    assert "lcm" in engine.samplers
    assert "karras" in engine.schedulers
    assert "Speed" in engine.performances
    assert {"704x1408", "1152x896", "1408x704"} <= set(engine.aspect_ratios)
    assert "<li>SAI Anime</li>" in engine.styles._repr_html_()


# -- pictures -----------------------------------------------------------------------------------


def test_a_photograph_that_lies_on_its_side(engine, sent, mask):
    lying = Image.new("RGB", (6, 8), (7, 7, 7))
    exif = lying.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    lying.save(buffer, "PNG", exif=exif)
    engine.inpaint(buffer.getvalue(), mask, image_number=1)
    assert sent()[1]["inpaint_input_image"]["image"] == PICTURE


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "array", "boolean"])
def test_masks_of_every_mode(engine, sent, picture, mask, mode):
    given = mask
    if mode == "array":
        given = np.asarray(mask)
    elif mode == "boolean":
        given = np.asarray(mask) > 0
    elif mode == "RGBA":
        given = Image.new("RGBA", mask.size, (255, 255, 255, 0))
        given.putalpha(mask)
    else:
        given = mask.convert(mode)
    engine.inpaint(picture, given, image_number=1)
    assert sent()[1]["inpaint_input_image"]["mask"] == {"shape": [6, 8, 3], "mean": 127.5}


# -- other servers ------------------------------------------------------------------------------


@pytest.mark.slow
def test_on_a_gradio_of_today(modern_server, tmp_path, picture, mask):
    with fooocus_nb.connect(modern_server.url, name="modern", output_dir=tmp_path) as engine:
        assert len(engine.upscale(picture)) == 1
        assert modern_server.last("task")["values"][1] is False
        assert len(engine.inpaint(picture, mask, image_number=1)) == 1
        assert engine.describe(picture) == "a square"
        made = engine.make_mask(picture)
        assert made.size == picture.size
        assert made.getpixel((0, 0)) == 255
        assert list(engine.preset("lightning")) == ["performance_selection"]
        assert "brand_new.safetensors" in repr(engine.refresh())


def test_a_server_without_these_functions(engine, monkeypatch):
    schema = engine._schema
    monkeypatch.setattr(schema, "verbs", {})
    with pytest.raises(UnsupportedServer, match="no function 'describe'"):
        engine.describe(Image.new("RGB", (4, 4)))
    with pytest.raises(UnsupportedServer, match="no function 'preset'"):
        engine.preset("x")
    assert engine.presets == ()
    assert engine.current_preset is None


def test_a_file_that_is_no_image_is_named(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    with pytest.raises(ParameterError) as raised:
        encode_image("image", path)
    assert str(raised.value) == (
        f"image={str(path)!r} is not an image that can be read: cannot identify image file."
    )
    with pytest.raises(ParameterError, match=r"^image= is not an image .*: cannot identify image"):
        encode_image("image", b"no image")
