from __future__ import annotations

import pytest

from fooocus_nb.errors import FooocusError
from fooocus_nb.outputs import Outputs


def test_bytes_are_unchanged_and_the_same_file_is_copied_once(tmp_path):
    source = tmp_path / "a.png"
    source.write_bytes(b"picture")
    outputs = Outputs(tmp_path / "out")
    first, second = outputs.copy(source), outputs.copy(source)
    assert first == second
    assert first.read_bytes() == b"picture"
    assert list((tmp_path / "out").iterdir()) == [first]


def test_another_image_of_the_same_name_is_never_overwritten(tmp_path):
    outputs = Outputs(tmp_path)
    first = outputs.write("a.png", b"one")
    second = outputs.write("a.png", b"two")
    assert first.read_bytes() == b"one"
    assert second.read_bytes() == b"two"
    assert second.name == "a-2.png"


def test_a_name_from_a_server_cannot_leave_the_folder(tmp_path):
    outputs = Outputs(tmp_path / "out")
    assert outputs.write("../../evil.png", b"x").parent == tmp_path / "out"


def test_a_folder_that_cannot_be_made_says_where_the_image_still_is(tmp_path):
    (tmp_path / "out").write_text("a file in the way")
    source = tmp_path / "a.png"
    source.write_bytes(b"picture")
    with pytest.raises(FooocusError, match=r"not lost.*a\.png"):
        Outputs(tmp_path / "out").copy(source)
    assert source.exists()
