"""A manifest is the same after it was written and read, and what is torn or edited is noticed."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fooocus_nb.errors import RunError
from fooocus_nb.experiment.folder import dump, finite, safe_relative
from fooocus_nb.experiment.manifest import (
    PENDING,
    Entry,
    ImageRecord,
    InputRecord,
    Manifest,
    ModelRecord,
    TornManifest,
    jsonable,
    read_entry,
    schema,
)

from ..lanes import examples

HEX64 = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")
HEX32 = st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")
SEEDS = st.none() | st.integers(0, 2**63 - 1)
TEXTS = st.text(max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | TEXTS
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)  # fmt: skip
NAMES = st.from_regex(r"[a-z][a-z_]{2,20}", fullmatch=True).filter(lambda name: name != "seed")
MAPPINGS = st.dictionaries(NAMES, VALUES, max_size=4)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    attempt = draw(HEX32)
    number = draw(st.integers(0, 10**7))
    images = tuple(
        ImageRecord(
            path=f"images/{number:06d}-{attempt[:8]}-{order}.png",
            number_in_request=order,
            seed=draw(SEEDS),
            sha256=draw(HEX64),
            bytes=draw(st.integers(0, 10**8)),
            width=draw(st.integers(0, 20000)),
            height=draw(st.integers(0, 20000)),
            format="png",
            pixels_sha256=draw(st.none() | HEX64),
            dhash=draw(st.none() | HEX32.map(lambda digits: digits[:16])),
            prompt=draw(st.none() | TEXTS),
            expansion=draw(st.none() | TEXTS),
        )
        for order in range(1, draw(st.integers(0, 2)) + 1)
    )
    digest = draw(HEX64)
    return Manifest(
        run=draw(HEX32),
        attempt=attempt,
        number=number,
        cell=draw(st.none() | HEX64),
        tries=draw(st.integers(1, 99)),
        created="2026-01-31T12:00:00.000Z",
        complete=draw(st.booleans()),
        adopted=draw(st.booleans()),
        pending=tuple(draw(st.lists(st.sampled_from(PENDING), unique=True))),
        parameters={**draw(MAPPINGS), "image_seed": draw(st.integers(0, 2**63 - 1))},
        given=tuple(draw(st.lists(NAMES, max_size=3))),
        seed=draw(SEEDS),
        images=images,
        inputs=(InputRecord("uov_input_image", None, digest, f"inputs/{digest}.png", 3, "é.png"),),
        models=(
            ModelRecord("base_model", "a.safetensors", draw(st.none() | HEX64), 7, 2**61 + 1),
            ModelRecord("vae_name", "b", reason="there is no such file in its folders"),
        ),
        fooocus=draw(MAPPINGS),
        system={"torch": None, "always_offload": True},
        software={"fooocus_nb": "0.1.0"},
        engine={"name": draw(TEXTS), "demo": False},
        timings={"elapsed": draw(st.floats(0, 1e6))},
        error=draw(st.none() | st.just({"type": "OutOfVRAM", "message": "it is full"})),
        extra={"x_by_others": draw(VALUES)},
    )


@settings(max_examples=examples(20), deadline=None)
@given(manifests())
def test_it_is_the_same_after_it_was_written_and_read(manifest: Manifest) -> None:
    data = manifest.to_json()
    again = Manifest.from_json(data)
    assert again == manifest
    assert not again.edited
    assert again.to_json() == data
    entry = read_entry(manifest.name, data)
    if isinstance(entry.parameters, bytes):  # which nobody had to understand yet
        entry = replace(entry, parameters=json.loads(entry.parameters))
    assert entry == Entry.of(manifest)


@settings(max_examples=examples(8), deadline=None)
@given(manifests())
def test_it_follows_the_schema(manifest: Manifest) -> None:
    jsonschema.validate(json.loads(manifest.to_json()), schema())


@settings(max_examples=examples(20), deadline=None)
@given(manifests(), st.data())
def test_cut_short_anywhere_it_is_torn(manifest: Manifest, data: st.DataObject) -> None:
    whole = manifest.to_json()
    cut = data.draw(st.integers(0, len(whole.rstrip()) - 1))
    # As a power cut leaves it: shorter, or as long and empty from there.
    for torn in (whole[:cut], whole[:cut] + bytes(len(whole) - cut)):
        with pytest.raises(TornManifest):
            Manifest.from_json(torn)
        with pytest.raises(TornManifest):
            read_entry(manifest.name, torn)


@settings(max_examples=examples(20), deadline=None)
@given(manifests())
def test_changed_by_hand_it_is_read_and_marked(manifest: Manifest) -> None:
    content = json.loads(manifest.to_json())
    content["number"] += 1
    edited = json.dumps(content).encode()
    assert Manifest.from_json(edited).edited
    assert read_entry("x.json", edited).edited
    # Laid out anew by another program, it says the same.
    del content["number"]
    same = json.loads(manifest.to_json())
    assert not Manifest.from_json(json.dumps(same, indent=4).encode()).edited


def one() -> Manifest:
    return Manifest(
        run="r",
        attempt="0123456789abcdef" * 2,
        number=12,
        cell=None,
        tries=1,
        created="2026-01-31T12:00:00.000Z",
        complete=True,
        parameters={"prompt": "a cat", "image_seed": 6687881544318117707},
        given=("prompt",),
        seed=6687881544318117707,
        images=(
            ImageRecord(
                "images/000012-01234567-1.png", 1, 6687881544318117707, "0" * 64, 1, 2, 3, "png"
            ),
        ),
    )


def test_no_seed_is_a_number_in_the_file() -> None:
    """JavaScript, and a spreadsheet, would round it (X4)."""
    text = one().to_json().decode()
    assert text.count('"6687881544318117707"') == 3
    assert not re.search(r"[^\"\d]6687881544318117707", text)
    again = Manifest.from_json(text.encode())
    assert again.seed == again.parameters["seed"] == again.images[0].seed == 6687881544318117707
    json.loads(text, parse_int=lambda digits: pytest.fail(digits) if len(digits) > 15 else 0)


def test_a_newer_one_is_refused_with_what_to_do() -> None:
    newer = one().to_json().replace(b'"version":1', b'"version":2')
    with pytest.raises(RunError, match=r"newer fooocus-nb .* pip install -U fooocus-nb"):
        Manifest.from_json(newer)


@pytest.mark.parametrize(
    "path",
    ["../../etc/passwd", "/etc/passwd", "images/../../x", "C:\\x", "images//x", "", "é", "."],
)
def test_no_path_leads_out_of_the_run(path: str) -> None:
    with pytest.raises(ValueError, match="no path inside of a run"):
        safe_relative(path)
    manifest = one()
    evil = replace(manifest, images=(replace(manifest.images[0], path=path),))
    with pytest.raises(RunError, match="no path inside of a run"):
        Manifest.from_json(evil.to_json())
    with pytest.raises(RunError, match="no path inside of a run"):
        read_entry("x.json", evil.to_json())


@pytest.mark.parametrize(
    ("name", "value"),
    [("attempt", "../x"), ("number", -1), ("number", True), ("images", [{}]), ("seed", "1.5"),
     ("images", {"a": 1}), ("parameters", [1]), ("cell", 7)],
)  # fmt: skip
def test_what_cannot_be_is_refused(name: str, value: object) -> None:
    content = {**json.loads(one().to_json()), name: value}
    with pytest.raises(RunError, match="doesn't say what it must"):
        Manifest.from_json(json.dumps(content).encode())


def test_what_is_no_number_is_null_with_a_reason() -> None:
    """The PSNR of equal images, and the SSIM of none (X18)."""
    assert finite(math.inf) == (None, "infinite")
    assert finite(math.nan) == (None, "not a number")
    assert finite(1.5) == (1.5, None)
    for value in (math.inf, math.nan):
        assert jsonable({"a": [value]}) == {"a": [None]}
        with pytest.raises(ValueError, match="JSON"):
            dump({"psnr": value})


def test_the_schema_is_in_the_package() -> None:
    assert schema()["properties"]["version"] == {"const": 1}
    package = Path(str(__import__("fooocus_nb").__file__)).parent
    assert (package / "experiment" / "schemas" / "manifest-1.json").is_file()
