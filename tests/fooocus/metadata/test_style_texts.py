"""Styles found again in full prompts, with texts of our own."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fooocus_nb.fooocus.metadata.style_texts import (
    EXPANSION,
    StyleText,
    find_styles,
    full_prompts,
    style_texts_of,
)

from ...lanes import examples

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = {
    "Ink": StyleText("ink drawing of {prompt}, black lines", "color"),
    "Ink Two": StyleText("ink drawing of {prompt}, black lines, dots", "color, photo"),
    "Glow": StyleText("soft glow, {prompt}", "hard light"),
    "Grain": StyleText("film grain", "clean"),
    "Nothing Bad": StyleText("", "bad, worse"),
    "Nothing Worse": StyleText("", "bad"),
    "Only Good": StyleText("good", ""),
    "Many Lines": StyleText("one\ntwo {prompt}\n\nthree", "x\ny"),
    "Empty": StyleText("", ""),
    "Same As Grain": StyleText("film grain", "clean"),
}
CHOICES = [EXPANSION, *TEXTS]
PROMPTS = st.text("ab, .\n", max_size=12) | st.sampled_from(["a cat", "film grain", "good", ""])


def raw(positives: list[str], negatives: list[str], prompt: str, negative: str) -> dict[str, str]:
    return {
        "full_prompt": ", ".join(positives),
        "full_negative_prompt": ", ".join(negatives),
        "prompt": prompt,
        "negative_prompt": negative,
    }


@settings(max_examples=examples(400), deadline=None)
@given(
    styles=st.lists(st.sampled_from(list(TEXTS)), max_size=5, unique=True),
    prompt=PROMPTS,
    negative=PROMPTS,
)
def test_what_is_found_makes_the_same_prompts(
    styles: list[str], prompt: str, negative: str
) -> None:
    positives, negatives = full_prompts(TEXTS, styles, prompt, negative)
    found = find_styles(raw(positives, negatives, prompt, negative), TEXTS, CHOICES)
    assert found is not None
    others = [style for style in found if style != EXPANSION]
    again = full_prompts(TEXTS, others, prompt, negative)
    if EXPANSION not in found:
        assert [", ".join(lines) for lines in again] == [
            ", ".join(positives),
            ", ".join(negatives),
        ]


@pytest.mark.parametrize("styles", [[], ["Grain"], ["Ink", "Nothing Bad"], ["Only Good", "Glow"]])
def test_an_expansion_is_what_is_left(styles: list[str]) -> None:
    positives, negatives = full_prompts(TEXTS, styles, "a cat\nat dusk", "fog")
    positives.append("a cat, deep colors, quiet")
    found = find_styles(raw(positives, negatives, "a cat\nat dusk", "fog"), TEXTS, CHOICES)
    assert found == [EXPANSION, *styles]


def test_a_prompt_of_another_making_has_no_styles_or_none_that_are_known() -> None:
    assert find_styles(raw(["a cat"], ["fog"], "a cat", "fog"), TEXTS, CHOICES) == []
    assert find_styles(raw(["oil of a cat"], [], "a cat", ""), TEXTS, CHOICES) is None
    assert find_styles(raw(["a cat"], ["color"], "a cat", ""), TEXTS, CHOICES) is None


@pytest.mark.parametrize(
    ("styles", "unknown"),
    [
        ([], "a cat in oil"),
        ([], "a cats, colors"),
        ([], "a cat, in oil"),  # the prompt is said once: no style took it in, none is left for it
        (["Ink"], "a cat in oil"),
        (["Glow", "Grain"], "art of a cat, a cat"),
    ],
)
def test_an_unknown_styles_text_is_no_expansion(styles: list[str], unknown: str) -> None:
    """Taken for one, the image would silently be made in another way."""
    positives, negatives = full_prompts(TEXTS, styles, "a cat", "fog")
    positives = [*positives, unknown] if styles else [unknown]
    assert find_styles(raw(positives, negatives, "a cat", "fog"), TEXTS, CHOICES) is None


def test_an_expansion_has_its_own_blanks() -> None:
    """The language model takes the blanks before a comma away."""
    positives, negatives = full_prompts(TEXTS, [], "a cat , dogs", "")
    positives.append("a cat, dogs, deep colors")
    assert find_styles(raw(positives, negatives, "a cat , dogs", ""), TEXTS, CHOICES) == [EXPANSION]


def test_styles_that_the_page_does_not_offer_are_not_found() -> None:
    positives, negatives = full_prompts(TEXTS, ["Ink"], "a cat", "")
    assert find_styles(raw(positives, negatives, "a cat", ""), TEXTS, ["Grain"]) is None


def test_a_dishonest_prompt_ends_the_search() -> None:
    texts = {f"s{number}": StyleText("a", "") for number in range(200)}
    full = raw(["a"] * 150 + ["b"], [], "c", "")
    assert find_styles(full, texts, list(texts)) is None


def test_the_files_of_a_checkout(tmp_path: Path) -> None:
    folder = tmp_path / "sdxl_styles"
    folder.mkdir()
    entries = [
        {"name": "sai-line art", "prompt": "lines of {prompt}", "negative_prompt": "photo"},
        {"name": "mre-3d", "prompt": "3d {prompt}"},
        {"name": 7, "prompt": "x"},
        {"name": "odd", "prompt": ["x"]},
        "odd",
    ]
    (folder / "a.json").write_text(json.dumps(entries))
    (folder / "broken.json").write_text("[" * 60_000)
    (folder / "bytes.json").write_bytes(b"\xff\xfe\0")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.json")
    texts = style_texts_of(tmp_path)
    assert list(texts) == ["sai-line art", "mre-3d"]
    full = raw(["lines of a cat"], ["photo"], "a cat", "")
    assert find_styles(full, texts, ["SAI Line Art", "MRE 3D"]) == ["SAI Line Art"]
    assert style_texts_of(tmp_path / "gone") == {}


def test_fooocuss_own_files_have_the_last_word(tmp_path: Path) -> None:
    folder = tmp_path / "sdxl_styles"
    (folder / "mine").mkdir(parents=True)

    def write(name: str, **texts: str) -> None:
        entries = [{"name": style, "prompt": text} for style, text in texts.items()]
        (folder / name).write_text(json.dumps(entries))

    write("zz_mine.json", ink="mine of {prompt}", own="own of {prompt}")
    write("sdxl_styles_sai.json", ink="sai of {prompt}")
    write("sdxl_styles_mre.json", ink="mre of {prompt}")
    write("mine/more.json", more="more of {prompt}")
    texts = style_texts_of(tmp_path)
    assert {name: text.prompt for name, text in texts.items()} == {
        "ink": "mre of {prompt}",
        "own": "own of {prompt}",
        "more": "more of {prompt}",
    }
