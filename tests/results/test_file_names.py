"""Names of images by pattern: what any file system takes, in the folder, and never twice."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fooocus_nb.errors import ConfigurationError
from fooocus_nb.results.file_names import (
    MAX_BYTES,
    ImageFacts,
    NamePattern,
    folded,
    safe_name,
)
from fooocus_nb.results.output_folder import OutputFolder


def facts(**values: object) -> ImageFacts:
    return ImageFacts(
        {"seed": 7, "prompt": "a lighthouse", "index": 1, **values},
        {"sampler_name": "euler", "overwrite_width": 64, "style_selections": ["A", "B/C"]},
    )


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("{seed}-{prompt:.5}", ("7-a lig",)),
        ("{sampler}/{seed:08}", ("euler", "00000007")),
        ("{width}x{height}", ("64x",)),
        ("{styles}", ("A, B_C",)),
        ("a\\b", ("a", "b")),
        ("{prompt:>20}", ("a lighthouse",)),
        ("{{x}}", ("{x}",)),
    ],
)
def test_what_a_pattern_makes(pattern: str, path: tuple[str, ...]) -> None:
    assert NamePattern(pattern).path(facts()) == path


def test_a_date() -> None:
    day, name = NamePattern("{date}/{time}").path(facts())
    assert len(day) == 10
    assert name.count("-") == 2


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("", "give a text"),
        ("/etc/{seed}", "relative"),
        ("C:\\x", "relative"),
        ("~/x", "relative"),
        ("../x", "must be a name"),
        ("a/../../b", "must be a name"),
        ("a//b", "must be a name"),
        ("x/", "must be a name"),
        ("{sed}", r"Did you mean 'seed'\?$"),
        ("{seed.__class__}", "no field"),
        ("{seed[0]}", "no field"),
        ("{seed!r}", "field"),
        ("{seed:{width}}", "format"),
        ("{seed:>100000000}", "format"),
        ("{", "cannot be used"),
        ("{0}", "no field"),
        ("/".join("abcdefghij"), "folders"),
        ("x" * 1000, "give a text"),
    ],
)
def test_what_is_no_pattern(pattern: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        NamePattern(pattern)


@given(st.text(max_size=300))
def test_a_name_is_safe_everywhere(text: str) -> None:
    name = safe_name(text)
    assert name
    assert len(name.encode()) <= MAX_BYTES + 1
    assert not set(name) & set('<>:"/\\|?*')
    assert not any(unicodedata.category(character) == "Cc" for character in name)
    assert name[0] not in "-. "
    assert name[-1] not in ". "
    assert unicodedata.normalize("NFC", name) == name
    if hasattr(os.path, "isreserved") or sys.version_info < (3, 13):
        assert not PureWindowsPath(name).is_reserved()
    assert folded(safe_name(name)) == folded(name) or len(name.encode()) > MAX_BYTES


@pytest.mark.parametrize("word", ["CON", "nul.txt", "Com1", "lpt9.a.b", "COM¹", "aux ", "CONIN$"])
def test_words_that_windows_keeps_for_itself(word: str) -> None:
    assert safe_name(word).startswith("_")


def test_names_are_cut_between_characters() -> None:
    assert len(safe_name("日本" * 100).encode()) == MAX_BYTES
    # An e with its accent is one character on the screen.
    assert not unicodedata.combining(safe_name("x" * (MAX_BYTES - 1) + "a\u0323\u0301")[-1])


def test_nothing_is_overwritten_and_equal_images_are_one(tmp_path: Path) -> None:
    outputs = OutputFolder(tmp_path, NamePattern("{prompt}"))
    assert outputs.write("1.png", b"one", facts()).name == "a lighthouse.png"
    assert outputs.write("2.png", b"two", facts()).name == "a lighthouse-2.png"
    assert outputs.write("3.png", b"one", facts()).name == "a lighthouse.png"
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"one", b"two"}


def test_no_two_names_differ_in_case_or_form_only(tmp_path: Path) -> None:
    outputs = OutputFolder(tmp_path, NamePattern("{prompt}/{prompt}"))
    made = [
        outputs.write(f"{number}.png", word.encode(), facts(prompt=word))
        for number, word in enumerate(("Cat", "cat", "CAT", "é", "e\u0301", "É"))
    ]
    names = [path.relative_to(tmp_path).as_posix() for path in made]
    assert names[:3] == ["Cat/Cat.png", "Cat/cat-2.png", "Cat/CAT-3.png"]
    assert names[3:] == ["é/é.png", "é/é-2.png", "é/É-3.png"]
    assert len({folded(name) for name in names}) == 6
    # One that is new to the folder sees what there is, and what was removed is free again.
    made[0].unlink()
    again = OutputFolder(tmp_path, NamePattern("{prompt}/{prompt}"))
    assert again.write("7.png", b"new", facts(prompt="CAT")).name == "CAT.png"


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "images"
    elsewhere.mkdir()
    folder.mkdir()
    (folder / "euler").symlink_to(elsewhere)
    made = OutputFolder(folder, NamePattern("{sampler}/{seed}")).write("1.png", b"one", facts())
    assert made == folder / "7.png"
    assert list(elsewhere.iterdir()) == []


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "euler").touch()
    outputs = OutputFolder(tmp_path, NamePattern("{sampler}/{seed}"))
    assert outputs.write("1.png", b"one", facts()) == tmp_path / "euler-2" / "7.png"
