"""Contact sheets: labels never overlap, nothing is outside, and a sheet's size is known before."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fooocus_nb.experiment.sheet_layout import (
    Box,
    Limits,
    Metrics,
    SheetContent,
    lay_out,
    paginate,
    part_of,
    sheet_size,
    wrap_text,
)

from ..lanes import examples


def measure(text: str) -> int:
    """Letters of three widths, one of them as wide as some scripts have them."""
    return sum(3 if char in "il.," else 60 if char == "\ufdfd" else 8 for char in text)


METRICS = Metrics(measure, 16, lambda text: 2 * measure(text), 30)
TEXTS = st.one_of(
    st.text(alphabet="abil ._-/…\ufdfd漢", max_size=60),
    st.just("a very long prompt, " * 30),
    st.just("juggernautXL_v8Rundiffusion_inpainting.safetensors" * 2),
)


@st.composite
def contents(draw):
    captions = draw(st.lists(TEXTS, min_size=1, max_size=3))
    return SheetContent(
        title=draw(TEXTS),
        facts=draw(TEXTS),
        columns=draw(st.lists(TEXTS, min_size=1, max_size=5)),
        rows=draw(st.lists(TEXTS, min_size=1, max_size=4)),
        blocks=draw(st.lists(TEXTS, min_size=1, max_size=4)),
        per_slot=draw(st.integers(1, 5)),
        captions=lambda *place: captions[sum(place) % len(captions)],
        caption_lines=draw(st.integers(0, 2)),
        x_name=draw(TEXTS),
        y_name=draw(TEXTS),
        tile=draw(st.sampled_from([(1, 1), (1152, 896), (704, 1408), (1, 50), (50, 1)])),
    )


@settings(deadline=None, max_examples=examples(60))
@given(contents(), st.sampled_from([96, 160, 256, 401]))
def test_nothing_overlaps_and_every_line_is_in_its_box(content, tile):
    layout = lay_out(content, METRICS, tile)
    boxes = [label.box for label in layout.labels] + [slot.box for slot in layout.slots]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.right <= layout.width
        assert box.bottom <= layout.height
    for label in layout.labels:
        height, width = (30, 2) if label.kind == "title" else (16, 1)
        assert len(label.lines) * height <= label.box.height
        assert all(width * measure(line) <= label.box.width for line in label.lines)
    places = [content.columns, content.rows, content.blocks, range(content.per_slot)]
    assert len(layout.slots) == len(list(itertools.product(*places)))
    assert (layout.width, layout.height) == sheet_size(content, METRICS, tile)


@settings(deadline=None, max_examples=examples(60))
@given(TEXTS, st.integers(20, 200), st.integers(1, 5))
def test_wrapping_loses_nothing_that_it_does_not_tell(text, width, lines):
    found, cut = wrap_text(text, width, measure, lines)
    assert len(found) <= lines
    assert all(measure(line) <= width for line in found)
    if not cut and "\ufdfd" not in text:
        assert "".join("".join(found).split()) == "".join(text.split())


def test_words_longer_than_a_line_are_broken_behind_a_stop_where_one_is_near():
    found, cut = wrap_text("juggernautXL_v8Rundiffusion.safetensors", 14 * 8, measure, 9)
    assert not cut
    assert found[0] == "juggernautXL_"


def test_what_is_cut_off_is_in_the_legend():
    prompt = "a lighthouse at dusk with a very long description of the sea, " * 6
    content = SheetContent(title="", facts="", columns=["a", prompt])
    labels = lay_out(content, METRICS, 160).labels
    assert labels[1].lines[-1].endswith("… [1]")
    legend = labels[-1]
    assert legend.kind == "legend"
    assert " ".join(legend.lines).startswith("[1] a lighthouse at dusk")


def test_blocks_are_never_one_long_column():
    content = SheetContent(
        title="", facts="", columns="abc", rows="123", blocks=[str(n) for n in range(16)]
    )
    layout = lay_out(content, METRICS, 128)
    assert 0.5 < layout.width / layout.height < 2.5


@pytest.mark.parametrize(
    ("limits", "sheets"), [(Limits(16383, 64_000_000), 1), (Limits(4000, 64_000_000), 4)]
)
def test_a_sheet_stays_in_its_limits(limits, sheets):
    content = SheetContent(
        title="t", facts="", columns=[str(n) for n in range(10)], rows=[str(n) for n in range(100)]
    )
    pages = paginate(content, METRICS, 256, limits)
    assert len(pages) >= sheets
    seen = set()
    for page in pages:
        size = sheet_size(part_of(content, page), METRICS, page.tile)
        assert limits.allow(*size)
        seen |= set(itertools.product(page.blocks, page.rows, page.columns))
    assert len(seen) == 1000
    if len(pages) == 1:  # as large as possible, and no larger
        assert 96 <= pages[0].tile < 256
        assert not limits.allow(*sheet_size(content, METRICS, pages[0].tile + 1))


def test_a_hundred_thousand_images_are_counted_before_anything_is_made():
    content = SheetContent(
        title="", facts="", columns=[str(n) for n in range(100)], rows=[str(n) for n in range(1000)]
    )
    pages = paginate(content, METRICS, 256, Limits(65500, 64_000_000))
    assert 10 < len(pages) < 2000
    assert sum(len(p.rows) * len(p.columns) for p in pages) == 100_000


def test_boxes_that_touch_do_not_overlap():
    assert not Box(0, 0, 10, 10).overlaps(Box(10, 0, 10, 10))
    assert Box(0, 0, 10, 10).overlaps(Box(9, 9, 10, 10))
