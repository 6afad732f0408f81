from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fooocus_nb.fooocus.events import Preview, Progress
from fooocus_nb.fooocus.outputs import (
    ABSENT,
    gallery_paths,
    parse_preview,
    parse_progress,
    updated_value,
)


def page(value: object, text: str) -> str:
    return (
        '\n<div class="loader-container">\n <div class="loader"></div>\n'
        f' <progress value="{value}" max="100"></progress>\n <span>{text}</span>\n</div>\n'
    )


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        (1, "Waiting for task to start ...", (1, None, None, None, None)),
        (53, "Sampling step 3/30, image 1/2 ...", (53, 3, 30, 1, 2)),
        (53, "Saving image 2/2 to system ...", (53, None, None, 2, 2)),
        (6, "Preparing task 1/3 ...", (6, None, None, 1, 3)),
        (40, "Step 4/30 in the 2nd Sampling", (40, 4, 30, 2, None)),
        ("12.6", "Loading models ...", (13, None, None, None, None)),
        (400, "too much", (100, None, None, None, None)),
    ],
)
def test_reads_what_the_engine_says(value, text, expected):
    percent, step, steps, image, images = expected
    assert parse_progress(page(value, text)) == Progress(percent, text, step, steps, image, images)


@pytest.mark.recorded
def test_every_progress_of_the_recordings_is_read(wire):
    texts = []
    for case in ("two", "stop", "skip", "badmodel", "jpeg_meta"):
        for message in wire.recorded(case)[68]:
            if message["msg"] == "process_generating":
                value = updated_value(message["output"]["data"][0])
                if value is not ABSENT:
                    progress = parse_progress(value)
                    assert progress is not None
                    texts.append(progress.text)
    assert "Sampling step 2/3, image 1/2 ..." in texts
    assert "Waiting for task to start ..." in texts
    assert all(texts)


def test_text_is_for_reading():
    progress = parse_progress(page(1, "a &lt;b&gt;\n  <b>bold</b> &amp; more"))
    assert progress is not None
    assert progress.text == "a <b> bold & more"


@pytest.mark.parametrize("value", [None, ABSENT, 3, [], {}, "", "<b>hello</b>", "<progress"])
def test_what_is_no_bar_is_none(value):
    assert parse_progress(value) is None


@pytest.mark.parametrize(
    "bar", ["<progress>", '<progress max="0" value="3">', "<progress value='x' max='y'>"]
)
def test_a_bar_without_sense_is_at_its_beginning(bar):
    assert parse_progress(bar) == Progress(0, "")


@given(st.integers(-5, 500), st.text())
def test_any_text_gives_a_progress_in_range(value, text):
    progress = parse_progress(page(value, text))
    assert progress is not None
    assert 0 <= progress.percent <= 100
    assert len(progress.text) <= 500
    assert "\n" not in progress.text


@given(st.text(st.sampled_from("<>/ progesvalumx=\"'0123456789span,")))
def test_markup_of_any_kind_never_raises(text):
    progress = parse_progress(text)
    assert progress is None or 0 <= progress.percent <= 100


@pytest.mark.parametrize(
    "unit", ["<progress ", "<progress value=", "<span", "<", "step 1/", "&lt;", "image 9"]
)
def test_ten_megabytes_are_read_in_no_time(unit):
    text = page(1, unit * (10_000_000 // len(unit)))
    began = time.thread_time()
    parse_progress(text)
    parse_progress(unit * (10_000_000 // len(unit)))
    assert time.thread_time() - began < 2.0


@given(st.binary(min_size=1), st.sampled_from(["image/png", "image/jpeg", "image/webp"]))
def test_a_preview_comes_back_as_it_was(data, mime):
    uri = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    assert parse_preview(uri) == Preview(data, mime)


NO_PREVIEWS = [
    None,
    ABSENT,
    3,
    "",
    "data:image/png;base64,",
    "data:image/png;base64,@@@",
    "http://x/y.png",
    "data:image/png,abc",
    "data:image/png;base64,iVBORw0KGgoAAAANSU...<4038 chars>",
]


@pytest.mark.parametrize("value", NO_PREVIEWS)
def test_a_broken_preview_is_none(value):
    assert parse_preview(value) is None


@given(st.text())
def test_any_preview_never_raises(text):
    parse_preview("data:image/png;base64," + text)
    parse_preview("data:" + text)


def test_galleries_of_every_form():
    file = {"name": "/t/a.png", "data": None, "is_file": True}
    assert gallery_paths([file, [{"name": "/t/b.png"}, "caption"], file]) == (
        "/t/a.png",
        "/t/b.png",
    )
    assert gallery_paths([{"image": {"path": "/t/c.png", "url": "u"}, "caption": None}]) == (
        "/t/c.png",
    )
    assert gallery_paths(["/t/d.png", "data:image/png;base64,AAAA", {}, None, 3, []]) == (
        "/t/d.png",
    )


@pytest.mark.parametrize("value", [None, ABSENT, 3, "text", {}])
def test_what_is_no_gallery_is_empty(value):
    assert gallery_paths(value) == ()


def test_an_update_without_value_changes_nothing():
    assert updated_value({"__type__": "update", "visible": False}) is ABSENT
    assert updated_value({"__type__": "update", "value": None}) is None
    assert updated_value({"value": 3}) == {"value": 3}
    assert updated_value("x") == "x"
    assert repr(ABSENT) == "ABSENT"
