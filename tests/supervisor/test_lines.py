from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fooocus_nb.supervisor import Line, LineSplitter, Tail

# Mostly what matters, so that endings meet each other and the limit often.
OUTPUT = st.lists(
    st.one_of(
        st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"abcdefgh", "ä€😀".encode(), b"\xff", b""]),
        st.binary(max_size=12),
    )
).map(b"".join)


def split(chunks, limit=8):
    splitter = LineSplitter(limit)
    return [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.flush()


@given(OUTPUT, st.data())
def test_any_chunking_gives_the_same_lines(output, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(output)))))
    chunks = [output[a:b] for a, b in zip([0, *cuts], [*cuts, len(output)], strict=True)]
    assert split(chunks) == split([output])
    assert split([bytes([byte]) for byte in output]) == split([output])


@given(OUTPUT)
def test_nothing_is_lost_and_no_line_is_too_long(output):
    lines = split([output])
    assert all(len(line.text) <= 8 for line in lines)
    ascii_only = bytes(byte & 0x7F for byte in output)
    wanted = ascii_only.replace(b"\r", b"").replace(b"\n", b"").decode()
    assert "".join(line.text for line in split([ascii_only])) == wanted


@given(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])))
def test_characters_are_never_cut_in_two(text):
    assert "".join(line.text for line in split([text.encode()])) == text


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        (b"a\nb\n", [Line("a"), Line("b")]),
        (b"a\r\nb", [Line("a"), Line("b")]),
        (b" 10%\r 20%\r\n", [Line(" 10%", True), Line(" 20%")]),
        (b"\r 10%\r 20%\rdone\n", [Line(" 10%", True), Line(" 20%", True), Line("done")]),
        (b"\n\n", [Line(""), Line("")]),
        (b"\r\r\r", []),
        (b"bad \xff\xfe\n", [Line("bad \ufffd\ufffd")]),
        (b"0123456789\n", [Line("01234567"), Line("89")]),
        (b"01234567\n", [Line("01234567")]),
        ("1234567€\n".encode(), [Line("1234567"), Line("€")]),
    ],
)
def test_lines(output, lines):
    assert split([output]) == lines


def test_a_line_is_there_as_soon_as_it_has_ended():
    splitter = LineSplitter()
    assert splitter.feed(b"rea") == []
    assert splitter.feed(b"dy\nnext") == [Line("ready")]


def test_five_megabytes_without_an_ending_are_cut_and_soon_split():
    splitter = LineSplitter()
    lines = [line for _ in range(5000) for line in splitter.feed(b"x" * 1000)]
    assert {len(line.text) for line in lines} == {65_536}
    assert len(splitter.flush()[0].text) < 65_537


def test_the_tail_is_what_a_terminal_shows():
    tail = Tail()
    for line in [Line("a"), Line("1%", True), Line("2%", True), Line("b"), Line("9%", True)]:
        tail.append(line)
    assert [line.text for line in tail.lines()] == ["a", "b", "9%"]


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans())))
def test_the_tail_is_bounded(sizes):
    tail = Tail(max_lines=5, max_characters=40)
    for size, transient in sizes:
        tail.append(Line("x" * size, transient))
    lines = tail.lines()
    assert len(lines) <= 5
    assert sum(len(line.text) for line in lines) <= 40
    assert not any(line.transient for line in lines[:-1])
