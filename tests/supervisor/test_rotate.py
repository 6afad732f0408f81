from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fooocus_nb.supervisor import RotatingWriter

PIECES = st.lists(st.sampled_from([b"a\n", b"bb", b"ccc\nd", b"\n", b"e" * 25, b"0123456789\n"]))


def contents(path):
    """Return all files, oldest first."""
    older = sorted(path.parent.glob(f"{path.name}.*"), key=lambda file: -int(file.suffix[1:]))
    return [file.read_bytes() for file in [*older, path] if file.exists()]


@given(PIECES, st.integers(1, 40))
def test_files_are_bounded_and_what_is_kept_has_no_gap(tmp_path_factory, pieces, max_bytes):
    path = tmp_path_factory.mktemp("log") / "engine.log"
    writer = RotatingWriter(path, max_bytes, 2)
    for piece in pieces:
        writer.write(piece)
    writer.close()
    files = contents(path)
    assert len(files) <= 3
    assert all(len(file) <= max_bytes for file in files)
    assert b"".join(pieces).endswith(b"".join(files))
    assert writer.dropped == 0


@given(st.lists(st.binary(max_size=9).map(lambda b: b.replace(b"\n", b"") + b"\n")))
def test_files_change_between_lines(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("log") / "engine.log"
    writer = RotatingWriter(path, 20, 100)
    writer.write(b"".join(lines))
    writer.close()
    files = contents(path)
    assert b"".join(files) == b"".join(lines)
    assert all(file.endswith(b"\n") for file in files)


def test_without_backups_the_file_starts_anew(tmp_path):
    path = tmp_path / "engine.log"
    writer = RotatingWriter(path, 10, 0)
    writer.write(b"12345678\nabcdefgh\n")
    writer.close()
    assert contents(path) == [b"abcdefgh\n"]


def test_it_goes_on_in_the_file_that_is_there(tmp_path):
    path = tmp_path / "engine.log"
    for text in (b"first\n", b"second\n"):
        writer = RotatingWriter(path, 100, 2)
        writer.write(text)
        writer.close()
    assert path.read_bytes() == b"first\nsecond\n"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_counted_and_told_of_when_there_is_room_again(tmp_path):
    path = tmp_path / "engine.log"
    path.symlink_to("/dev/full")
    writer = RotatingWriter(path, 1000, 2)
    writer.write(b"lost\n")
    writer.write(b"as well\n")
    assert writer.dropped == 13
    path.unlink()
    writer.write(b"kept\n")
    writer.close()
    text = path.read_text()
    assert "13 bytes are missing here: No space left on device" in text
    assert text.endswith("\nkept\n")


def test_a_removed_folder_is_made_again(tmp_path):
    path = tmp_path / "logs" / "engine.log"
    writer = RotatingWriter(path, 10, 2)
    writer.write(b"12345678\n")
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    writer.write(b"abcdefgh\n")
    writer.close()
    assert path.read_bytes() == b"abcdefgh\n"


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a file system")
def test_a_real_disk_that_fills_up(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("not allowed to mount")
    try:
        writer = RotatingWriter(tmp_path / "engine.log", 1_000_000, 2)
        for _ in range(300):
            writer.write(b"x" * 999 + b"\n")
        writer.close()
        kept = (tmp_path / "engine.log").stat().st_size
        assert 0 < kept <= 65_536
        assert writer.dropped == 300_000 - kept
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no file that is open")
@pytest.mark.parametrize("how", ["folder", "file", "renamed"])
def test_a_log_that_somebody_removes_is_begun_anew(tmp_path, how):
    """Else all that follows would go where nobody reads it."""
    path = tmp_path / "logs" / "engine.log"
    writer = RotatingWriter(path, 1000, 2)
    writer.write(b"before\n")
    if how == "folder":
        shutil.rmtree(path.parent)
    elif how == "file":
        path.unlink()
    else:
        path.rename(path.with_name("old.log"))
    writer.write(b"after\n")
    writer.close()
    assert path.read_bytes() == b"after\n"
    assert writer.dropped == 0
