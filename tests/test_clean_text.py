"""Text of strangers steers no terminal and no page."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fooocus_nb._html import clean
from fooocus_nb.errors import GenerationError, ParameterError, warn_user

KEPT = "\t\n"


def test_no_character_that_controls_a_terminal_is_left() -> None:
    everything = "".join(map(chr, range(0x300)))
    left = clean(everything)
    assert [char for char in left if unicodedata.category(char) == "Cc" and char not in KEPT] == []


def test_what_turns_the_direction_of_text_is_removed() -> None:
    assert clean("a\u202eb\u2066c\u200fd\u061ce") == "abcde"


def test_half_a_character_is_shown_as_none() -> None:
    """A kernel can't send it, and a terminal can't print it."""
    assert clean("a\ud800b\udcffc") == "a\ufffdb\ufffdc"


def test_an_error_steers_no_terminal() -> None:
    said = "a\x1b]0;title\x07b\x9b31mc\u202ed\ud800\n\te"
    error = GenerationError(f"It says {said}", log=[said], remedy=said)
    assert str(error).count("abcd\ufffd\n\te") == 3
    assert str(ParameterError(said)) == "abcd\ufffd\n\te"
    with pytest.warns(UserWarning, match="abcd\ufffd\n\te$"):
        warn_user(said, UserWarning)


@given(st.text(st.sampled_from("\x1b\x9b\x9d\x90\x07\\[];0mab\x85\x84c"), max_size=30))
def test_cut_sequences_leave_nothing_that_controls(text: str) -> None:
    assert not [char for char in clean(text) if unicodedata.category(char) == "Cc"]


def test_plain_text_stays() -> None:
    text = "Überraschung: 日本 🎨 — one\ttwo\nthree"
    assert clean(text) == text
