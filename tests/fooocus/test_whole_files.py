"""A file that is written whole or not at all."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from fooocus_nb.fooocus.whole_files import writing_whole

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_there_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("before")
    with writing_whole(path) as part:
        part.write_text("half")
        assert path.read_text() == "before"
    assert path.read_text() == "half"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("before")

    def fail() -> None:
        with writing_whole(path) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_a_private_one_is_the_users_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        for private, mode in ((True, 0o600), (False, 0o666)):
            with writing_whole(tmp_path / "file", private=private) as part:
                part.write_text("x")
            assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode
    finally:
        os.umask(before)
