"""Lines of ``%fooocus`` that begin with a picture: read without a kernel, for any prompt."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from IPython.core.error import UsageError
from PIL import Image as Pillow

from fooocus_nb.fooocus.requests.tasks import Inpaint, Vary
from fooocus_nb.magics import verbs
from fooocus_nb.magics.generation import with_images
from fooocus_nb.magics.image_options import find_image
from fooocus_nb.magics.parsing import parse_cell_line, parse_generate_line
from fooocus_nb.results import Image, Result

#: One line, no option at its head or behind it.
PROMPTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=60
).filter(lambda text: text.strip() and text[:1] != "-" and not re.search(r"(^|\s)--", text))


@given(prompt=PROMPTS)
def test_the_prompt_behind_a_picture_is_untouched(prompt):
    options = parse_generate_line(f"photo[1] --strength strong -n 2 {prompt}", "vary")
    assert options.prompt == prompt.strip()
    assert (options.known.image, options.known.strength) == ("photo[1]", "strong")
    assert options.parameters == {"image_number": 2}
    line = parse_cell_line('vary "my photo.png" --strength strong', prompt)
    assert (line.prompt, line.known.image) == (prompt, "my photo.png")


@given(
    rest=st.text(max_size=40),
    verb=st.sampled_from([verb for verb in verbs.names() if verbs.takes_image(verb)]),
)
def test_any_line_is_read_or_refused(rest, verb):
    try:
        options = parse_generate_line(rest, verb)
    except UsageError:
        return
    assert options.known.image


@example(text="~nobody-here/x.png")
@example(text="x" * 5000)
@example(text="\0")
@given(text=st.text(max_size=20).filter(lambda text: "://" not in text))
def test_a_word_is_a_file_or_a_variable_or_refused(text):
    with pytest.raises(UsageError):
        find_image(text, {})


def made(tmp_path, count):
    paths = [tmp_path / f"{number}.png" for number in range(count)]
    images = [Image(path, seed=1, parameters={"prompt": "a boat"}) for path in paths]
    return Result(images, elapsed=1.0, log=[], parameters={}, prompt="a boat")


def test_names_become_pictures(tmp_path):
    mask = Pillow.new("1", (4, 4), 1)
    variables = {"one": made(tmp_path, 1), "two": made(tmp_path, 2), "mask": mask}
    options = parse_generate_line("two[-1] --mask mask --sides left --invert", "inpaint")
    ready = with_images(options, variables)
    assert ready.prompt == "a boat"
    assert ready.parameters["task"] == Inpaint(
        variables["two"][1], mask, "inpaint", ("left",), invert=True
    )
    ready = with_images(parse_generate_line("one a ship", "vary"), variables)
    assert ready.prompt == "a ship"
    assert ready.parameters["task"] == Vary(variables["one"][0])
    with pytest.raises(UsageError, match=r"two has 2 images: say which, such as two\[0\]"):
        with_images(parse_generate_line("two", "vary"), variables)
