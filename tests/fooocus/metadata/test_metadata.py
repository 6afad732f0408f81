from __future__ import annotations

import contextlib
import io
import json
import random
import struct
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from fooocus_nb.errors import MetadataError
from fooocus_nb.fooocus.metadata import (
    append_log,
    encode_metadata,
    parse_metadata,
    read_log,
    read_metadata,
    write_metadata,
)

from ...lanes import examples

IMAGES = Path(__file__).resolve().parents[4] / "shared" / "fooocus" / "images"
RECORDED = ["fooocus-scheme.png", "fooocus-scheme.jpeg", "a1111-scheme.png"]
FORMATS = ["png", "jpeg", "webp"]
PARAMETERS = {
    "prompt": 'a "lighthouse", 灯塔\nat dusk: {x}, Steps: 3',
    "negative_prompt": "fog\\, \tNegative prompt: y",
    "style_selections": ["Fooocus V2", "it's"],
    "performance_selection": "Speed",
    "sharpness": 2.0,
    "guidance_scale": 4.5,
    "base_model": "juggernautXL_v8Rundiffusion.safetensors",
    "refiner_model": "None",
    "refiner_switch": 0.5,
    "clip_skip": 2,
    "sampler_name": "dpmpp_2m_sde_gpu",
    "scheduler_name": "karras",
    "vae_name": "Default (model)",
    "image_seed": "9223372036854775807",
    "overwrite_step": 3,
    "overwrite_width": 128,
    "overwrite_height": 192,
    "adm_scaler_positive": 1.5,
    "adm_scaler_negative": 0.8,
    "adm_scaler_end": 0.3,
    "adaptive_cfg": 7.0,
    "loras": [("a, b: c.safetensors", 0.8), ("d.safetensors", -1.0)],
}


def picture(path: Path, **options: object) -> Path:
    noise = random.Random(1).randbytes(31 * 17 * 3)
    Image.frombytes("RGB", (31, 17), noise).save(path, **options)
    return path


def pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        image.load()
        return image.tobytes()


# -- what real servers wrote ----------------------------------------------------------------


@pytest.mark.recorded
@pytest.mark.parametrize("name", RECORDED)
def test_files_of_real_servers(name: str) -> None:
    found = read_metadata(IMAGES / name)
    assert found.version == "Fooocus v2.5.5"
    expected = {
        "prompt": "a lighthouse at dusk",
        "performance_selection": "Speed",
        "sharpness": 2.0,
        "guidance_scale": 4.0,
        "base_model": "juggernautXL_v8Rundiffusion",
        "clip_skip": 2,
        "sampler_name": "dpmpp_2m_sde_gpu",
        "scheduler_name": "karras",
        "vae_name": "Default (model)",
        "image_seed": "12345",
        "overwrite_step": 3,
        "overwrite_width": 128,
        "overwrite_height": 128,
        "adm_scaler_positive": 1.5,
        "adm_scaler_negative": 0.8,
        "adm_scaler_end": 0.3,
        "loras": [],
    }
    if found.scheme == "fooocus":
        expected |= {
            "negative_prompt": "",
            "style_selections": ["Fooocus V2", "Fooocus Enhance", "Fooocus Sharp"],
            "refiner_model": "None",
            "refiner_switch": 0.5,
        }
    else:
        expected |= {"negative_prompt": "fog", "refiner_model": "None"}
    assert found.parameters == expected
    assert found.missing == (() if found.scheme == "fooocus" else ("style_selections",))


@pytest.mark.recorded
def test_an_image_without_metadata_says_so() -> None:
    with pytest.raises(MetadataError, match=r"no-metadata\.png: It holds no metadata"):
        read_metadata(IMAGES / "no-metadata.png")


@pytest.mark.recorded
@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("kind", FORMATS)
def test_what_was_read_is_written_back_exactly(name: str, kind: str, tmp_path: Path) -> None:
    read = read_metadata(IMAGES / name)
    file = picture(tmp_path / f"x.{kind}")
    before = pixels(file)
    write_metadata(file, read)
    assert read_metadata(file) == read
    assert pixels(file) == before


@pytest.mark.recorded
@pytest.mark.parametrize("name", RECORDED[:2])
def test_writing_the_same_gives_the_same_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes((IMAGES / name).read_bytes())
    write_metadata(file, read_metadata(file))
    once = file.read_bytes()
    write_metadata(file, read_metadata(file))
    assert file.read_bytes() == once


@pytest.mark.recorded
def test_our_json_is_shaped_as_fooocuss_own() -> None:
    read = read_metadata(IMAGES / "fooocus-scheme.png")
    assert encode_metadata(read.raw) == read.text


@pytest.mark.recorded
def test_our_plain_text_is_shaped_as_fooocuss_own() -> None:
    read = read_metadata(IMAGES / "a1111-scheme.png")
    assert encode_metadata(read.raw, "a1111") == read.text


# -- round trips ----------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["fooocus", "a1111"])
@pytest.mark.parametrize("kind", FORMATS)
def test_parameters_come_back(kind: str, scheme: str, tmp_path: Path) -> None:
    file = picture(tmp_path / f"x.{kind}")
    before = pixels(file)
    write_metadata(file, {**PARAMETERS, "version": "Fooocus v2.5.5"}, scheme=scheme)
    found = read_metadata(file)
    assert found.scheme == scheme
    assert found.parameters == PARAMETERS
    assert pixels(file) == before
    again = tmp_path / f"y.{kind}"
    again.write_bytes(file.read_bytes())
    write_metadata(again, found, scheme="a1111" if scheme == "fooocus" else "fooocus")
    assert read_metadata(again).parameters == PARAMETERS


def test_short_names_are_understood() -> None:
    short = {"seed": 7, "styles": ["x"], "aspect_ratio": "1152×896", "sampler": "lcm", "steps": 4}
    assert parse_metadata(encode_metadata(short)).parameters == {
        "image_seed": "7",
        "style_selections": ["x"],
        "overwrite_width": 1152,
        "overwrite_height": 896,
        "sampler_name": "lcm",
        "overwrite_step": 4,
    }


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
NAMES = st.text(st.characters(categories=["L", "N"], include_characters=" :,_-'\""), min_size=1)
#: What is called None is an empty slot to Fooocus.
LORA_NAMES = NAMES.map(str.strip).filter(lambda name: name not in ("", "None"))


@settings(
    max_examples=examples(300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    prompt=TEXTS,
    negative=TEXTS,
    styles=st.lists(TEXTS, max_size=3),
    seed=st.integers(0, 2**63 - 1),
    guidance=st.floats(1, 30),
    loras=st.lists(st.tuples(LORA_NAMES, st.floats(-2, 2)), max_size=3),
    scheme=st.sampled_from(["fooocus", "a1111"]),
    kind=st.sampled_from(FORMATS),
)
def test_any_text_comes_back(
    tmp_path: Path, prompt, negative, styles, seed, guidance, loras, scheme, kind
) -> None:
    file = tmp_path / f"x.{kind}"
    if not file.exists():
        picture(file)
    parameters = {
        "prompt": prompt,
        "negative_prompt": negative,
        "style_selections": styles,
        "image_seed": str(seed),
        "guidance_scale": guidance,
        "overwrite_step": 4,
    }
    if loras and (scheme == "fooocus" or not any(", " in name or ":" in name for name, _ in loras)):
        parameters["loras"] = loras
    write_metadata(file, parameters, scheme=scheme)
    assert read_metadata(file).parameters == parameters


def test_other_exif_stays(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "A camera of a long name"
    exif.get_ifd(0x8769)[0x9003] = "2026:11:24 01:02:03"
    for kind in ("jpeg", "webp"):
        file = picture(tmp_path / f"x.{kind}", exif=exif)
        before = pixels(file)
        write_metadata(file, PARAMETERS)
        write_metadata(file, PARAMETERS)
        assert read_metadata(file).parameters == PARAMETERS
        with Image.open(file) as image:
            kept = image.getexif()
            assert kept[0x010F] == "A camera of a long name"
            assert kept.get_ifd(0x8769)[0x9003] == "2026:11:24 01:02:03"
        assert pixels(file) == before


def test_other_chunks_stay(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "mine")
    info.add_text("parameters", "old, and secret", zip=True)
    file = picture(tmp_path / "x.png", pnginfo=info)
    write_metadata(file, PARAMETERS)
    with Image.open(file) as image:
        image.load()
        assert image.text["Comment"] == "mine"
        assert image.text["fooocus_scheme"] == "fooocus"
        assert json.loads(image.text["parameters"])["seed"] == "9223372036854775807"
    assert b"secret" not in file.read_bytes()


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"quality": 1}])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_every_kind_of_webp(tmp_path: Path, options: dict[str, object], mode: str) -> None:
    file = tmp_path / "x.webp"
    Image.new(mode, (33, 20), (200, 10, 30, 99)[: len(mode)]).save(file, **options)
    before = pixels(file)
    write_metadata(file, PARAMETERS)
    assert read_metadata(file).parameters == PARAMETERS
    with Image.open(file) as image:
        assert (image.size, image.mode) == ((33, 20), mode)
    assert pixels(file) == before


def test_the_file_keeps_its_permissions_and_leaves_nothing_beside(tmp_path: Path) -> None:
    file = picture(tmp_path / "x.png")
    file.chmod(0o640)
    write_metadata(file, PARAMETERS)
    assert file.stat().st_mode & 0o777 == 0o640
    with pytest.raises(MetadataError):
        write_metadata(file, {"prompt": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


# -- hostile files --------------------------------------------------------------------------


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0))
    parts = [b"\x89PNG\r\n\x1a\n", header, *chunks, chunk(b"IDAT", b""), chunk(b"IEND", b"")]
    return b"".join(parts)


def text_chunk(text: str) -> bytes:
    return chunk(b"tEXt", b"parameters\0" + text.encode())


BOMB = zlib.compress(b"{" + b" " * 200_000_000, 9)
HOSTILE = {
    "empty": (b"", "empty"),
    "text": (b"hello", "no PNG, JPEG or WebP"),
    "gif": (b"GIF89a" + b"\0" * 50, "no PNG, JPEG or WebP"),
    "bomb-ztxt": (png(chunk(b"zTXt", b"parameters\0\0" + BOMB)), "too large"),
    "bomb-itxt": (png(chunk(b"iTXt", b"parameters\0\1\0\0\0" + BOMB)), "too large"),
    "huge": (png(text_chunk("{" + " " * 5_000_000 + "}")), "too large"),
    "broken-zip": (png(chunk(b"zTXt", b"parameters\0\0" + b"xx")), "damaged"),
    "cut-zip": (png(chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"{}")[:-5])), "damaged"),
    "bad-crc": (png(text_chunk("{}")[:-1] + b"\0"), "damaged"),
    "bad-utf8": (png(chunk(b"iTXt", b"parameters\0\0\0\0\0\xff\xfe")), "UTF-8"),
    "wrong-json": (png(text_chunk('{"seed": }')), "no valid JSON"),
    "nested": (png(text_chunk('{"a":' * 200_000)), "nested too deeply|no valid JSON"),
    "nested-styles": (png(text_chunk(json.dumps({"styles": "[" * 90_000}))), "styles"),
    "number": (png(text_chunk('{"seed": ' + "1" * 10_000 + "}")), "JSON|seed"),
    "nan": (png(text_chunk('{"sharpness": NaN}')), "NaN"),
    "infinite": (png(text_chunk('{"sharpness": 1e999}')), "sharpness"),
    "wrong-type": (png(text_chunk('{"prompt": ["x"]}')), "prompt"),
    "wrong-size": (png(text_chunk('{"resolution": "(1, 2, 3)"}')), "resolution"),
    "wrong-lora": (png(text_chunk('{"loras": [[1]]}')), "loras"),
    "code": (png(text_chunk('{"styles": "__import__(\'os\').getcwd()"}')), "styles"),
    "no-scheme": (png(text_chunk("just words")), "no line 'Steps"),
    "a1111-quote": (png(text_chunk('x\nSteps: 3, Raw prompt: "open')), "broken quotation"),
    "wrong-scheme": (
        png(text_chunk("{}"), chunk(b"tEXt", b"fooocus_scheme\0evil")),
        "no metadata scheme",
    ),
    "long-chunk": (png() + chunk(b"IDAT", b"")[:3], "no metadata of Fooocus"),
    "claims-4gb": (b"\x89PNG\r\n\x1a\n\xff\xff\xff\xfftEXt", "truncated"),
    "jpeg-cut": (b"\xff\xd8\xff\xe1\xff\xffExif\0\0", "truncated"),
    "jpeg-zero": (b"\xff\xd8\xff\xe1\0\0", "truncated"),
    "webp-cut": (b"RIFF\xff\xff\xff\x7fWEBPVP8 ", "truncated"),
    "exif-loop": (
        b"\xff\xd8\xff\xe1\0\x16Exif\0\0MM\0*\0\0\0\x08\xff\xff\0\0\0\0\xff\xd9",
        "truncated|damaged",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_give_a_clear_error(name: str, tmp_path: Path) -> None:
    data, message = HOSTILE[name]
    file = tmp_path / "evil.png"
    file.write_bytes(data)
    begin = time.thread_time()
    with pytest.raises(MetadataError, match=message) as caught:
        read_metadata(file)
    assert time.thread_time() - begin < 5
    assert "evil.png" in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.recorded
@pytest.mark.parametrize("name", RECORDED)
def test_every_way_to_cut_a_file(name: str, tmp_path: Path) -> None:
    data = (IMAGES / name).read_bytes()
    whole = read_metadata(IMAGES / name)
    file = tmp_path / name
    for end in [*range(0, 4000, 7), *range(4000, len(data), 997)]:
        file.write_bytes(data[:end])
        try:
            assert read_metadata(file) == whole  # cut in the pixels of a JPEG
        except MetadataError:
            continue


@pytest.mark.recorded
@settings(
    max_examples=examples(300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    name=st.sampled_from(RECORDED),
    flips=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_bytes_never_surprise(tmp_path: Path, name: str, flips) -> None:
    data = bytearray((IMAGES / name).read_bytes())
    for where, value in flips:
        data[where] = value
    file = tmp_path / name
    for work in (read_metadata, lambda path: write_metadata(path, PARAMETERS)):
        file.write_bytes(data)
        try:
            work(file)
        except MetadataError:
            continue


@settings(max_examples=examples(300), deadline=None)
@given(st.text(max_size=200) | st.text('{}[]":, \n\\abSteps12.', max_size=80))
def test_any_text_is_understood_or_refused(text: str) -> None:
    for scheme in (None, "fooocus", "a1111"):
        try:
            parse_metadata(text, scheme)
        except MetadataError:
            continue


def processor_seconds(text: str) -> float:
    """Return what it costs to read a text, which other processes do not change."""
    begin = time.thread_time()
    with contextlib.suppress(MetadataError):
        parse_metadata(text, "a1111")
    return time.thread_time() - begin


@pytest.mark.parametrize(
    ("begin", "piece", "number"),
    [
        ("\nSteps: 1, Lora weights: ", "a: b ", 700_000),
        pytest.param("\nSteps: ", "a ", 1_900_000, marks=pytest.mark.slow),
        pytest.param("\nSteps: 1", ", a: 1", 600_000, marks=pytest.mark.slow),
        pytest.param("\nSteps: 1, Size: ", "1", 3_900_000, marks=pytest.mark.slow),
    ],
)
def test_the_work_for_a_long_text_grows_no_faster_than_it(
    begin: str, piece: str, number: int
) -> None:
    short = min(processor_seconds(begin + piece * (number // 10)) for _ in range(3))
    # Ten times as long; what grows with the square of the length takes a hundred times as much.
    assert processor_seconds(begin + piece * number) < 40 * short + 0.1


def test_a_jpeg_cannot_hold_everything(tmp_path: Path) -> None:
    long = {"prompt": "x" * 70_000}
    file = picture(tmp_path / "x.jpeg")
    before = file.read_bytes()
    with pytest.raises(MetadataError, match="a JPEG holds at most 65533"):
        write_metadata(file, long)
    assert file.read_bytes() == before
    webp = picture(tmp_path / "x.webp")
    write_metadata(webp, long)
    assert read_metadata(webp).parameters == long


def test_what_cannot_be_written(tmp_path: Path) -> None:
    file = picture(tmp_path / "x.webp")
    for values in ({"prompt": float("nan")}, {"prompt": object()}, {"prompt": "x" * 5_000_000}):
        with pytest.raises(MetadataError):
            write_metadata(file, values)
    with pytest.raises(MetadataError, match="no metadata scheme 'xmp'"):
        write_metadata(file, {}, scheme="xmp")
    with pytest.raises(MetadataError, match="No such file"):
        write_metadata(tmp_path / "gone.png", {})
    with pytest.raises(MetadataError):
        read_metadata(tmp_path)


# -- the log page ---------------------------------------------------------------------------


def test_a_log_page_grows_newest_first(tmp_path: Path) -> None:
    page = tmp_path / "log.html"
    nasty = {"prompt": "</table><script>alert('x')</script>", "seed": 2**62, "loras": [("a", 1.0)]}
    append_log(page, "one.png", PARAMETERS)
    append_log(page, "two & <2>.png", nasty)
    found = read_log(page)
    assert [entry.path for entry in found] == [tmp_path / "two & <2>.png", tmp_path / "one.png"]
    assert found[1].metadata.parameters == PARAMETERS
    assert found[0].metadata.parameters == {
        "prompt": nasty["prompt"],
        "image_seed": str(2**62),
        "loras": [("a", 1.0)],
    }
    assert "<script>alert" not in page.read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8").count("<html") == 1


def test_a_page_with_labels_and_combined_loras(tmp_path: Path) -> None:
    said = {
        "Prompt": "p", "Negative Prompt": "n", "Fooocus V2 Expansion": "p, e",
        "Styles": "['a']", "Guidance Scale": "4.0", "Resolution": "(1152, 896)", "Seed": "5",
        "LoRA 1": "x.safetensors : 0.1", "Version": "v2.1",
    }  # fmt: skip
    from urllib.parse import quote

    quoted = quote(json.dumps(said, indent=0), safe="")
    page = tmp_path / "log.html"
    page.write_text(
        f"<html><body><a href=x><img src='2026-11-23_1.png'></a>"
        f"<button onclick=\"to_clipboard('{quoted}')\">Copy</button></body></html>"
    )
    (entry,) = read_log(page)
    assert entry.path == tmp_path / "2026-11-23_1.png"
    assert entry.metadata.parameters == {
        "prompt": "p", "negative_prompt": "n", "style_selections": ["a"], "guidance_scale": 4.0,
        "image_seed": "5", "overwrite_width": 1152, "overwrite_height": 896,
        "loras": [("x.safetensors", 0.1)],
    }  # fmt: skip
    append_log(page, "new.png", {"prompt": "q"})
    assert [entry.path.name for entry in read_log(page)] == ["2026-11-23_1.png", "new.png"]


def test_a_log_page_cannot_point_out_of_its_folder(tmp_path: Path) -> None:
    page = tmp_path / "log.html"
    page.write_text("<img src='../../etc/passwd'><button onclick=\"to_clipboard('%7B%7D')\">")
    assert read_log(page)[0].path == tmp_path / "passwd"


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("", "no log page"),
        ("<html><button onclick=\"to_clipboard('%7B", "truncated"),
        ("<img src='a.png'><button onclick=\"to_clipboard('%7B%22a')\">", r"'a\.png' is damaged"),
        ("<button onclick=\"to_clipboard('%7B%ff%7D')\">", "damaged"),
    ],
)
def test_damaged_log_pages(tmp_path: Path, page: str, message: str) -> None:
    file = tmp_path / "log.html"
    file.write_text(page)
    with pytest.raises(MetadataError, match=message):
        read_log(file)


@pytest.mark.parametrize("piece", ["<img ", "<button x='", "( ", "<img src", "to_clipboard('%7B"])
def test_a_flood_in_a_log_page_is_read_quickly(tmp_path: Path, piece: str) -> None:
    file = tmp_path / "log.html"
    file.write_text("<img " + piece * (8_000_000 // len(piece)) + ">")
    begin = time.thread_time()
    with contextlib.suppress(MetadataError):
        read_log(file)
    assert time.thread_time() - begin < 5


def test_no_pixel_is_decoded(tmp_path: Path) -> None:
    file = tmp_path / "bomb.png"
    file.write_bytes(png(text_chunk('{"prompt": "x"}')))
    assert read_metadata(file).parameters == {"prompt": "x"}
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(file.read_bytes()))
