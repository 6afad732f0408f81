from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fooocus_nb.errors import FooocusError
from fooocus_nb.results.output_folder import OutputFolder


def test_bytes_are_unchanged_and_the_same_file_is_copied_once(tmp_path):
    source = tmp_path / "a.png"
    source.write_bytes(b"picture")
    outputs = OutputFolder(tmp_path / "out")
    first, second = outputs.copy(source), outputs.copy(source)
    assert first == second
    assert first.read_bytes() == b"picture"
    assert list((tmp_path / "out").iterdir()) == [first]


def test_another_image_of_the_same_name_is_never_overwritten(tmp_path):
    outputs = OutputFolder(tmp_path)
    first = outputs.write("a.png", b"one")
    second = outputs.write("a.png", b"two")
    assert first.read_bytes() == b"one"
    assert second.read_bytes() == b"two"
    assert second.name == "a-2.png"


def test_a_name_from_a_server_cannot_leave_the_folder(tmp_path):
    outputs = OutputFolder(tmp_path / "out")
    assert outputs.write("../../evil.png", b"x").parent == tmp_path / "out"


def test_a_folder_that_cannot_be_made_says_where_the_image_still_is(tmp_path):
    (tmp_path / "out").write_text("a file in the way")
    source = tmp_path / "a.png"
    source.write_bytes(b"picture")
    with pytest.raises(FooocusError, match=r"not lost.*a\.png"):
        OutputFolder(tmp_path / "out").copy(source)
    assert source.exists()


def test_many_at_once_never_overwrite_each_other(tmp_path):
    """Two kernels in one folder get images of the same name, as theirs count seconds."""
    writers, names = 8, 20
    start = threading.Barrier(writers)

    def write(writer):
        outputs = OutputFolder(tmp_path)
        start.wait(30)
        return [
            outputs.write(f"{name}.png", f"{name} by {writer}".encode()) for name in range(names)
        ]

    with ThreadPoolExecutor(writers) as pool:
        written = [path for paths in pool.map(write, range(writers)) for path in paths]
    assert len({path.read_bytes() for path in written}) == writers * names
    assert set(tmp_path.iterdir()) == set(written)


def test_a_file_system_without_links_will_do(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    outputs = OutputFolder(tmp_path)
    assert outputs.write("a.png", b"one").name == "a.png"
    assert outputs.write("a.png", b"two").name == "a-2.png"
    assert outputs.write("a.png", b"one").name == "a.png"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-2.png", "a.png"]


@pytest.mark.skipif(os.name == "nt", reason="modes and links are POSIX's")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_follow_the_umask(tmp_path, umask):
    source = tmp_path / "a.png"
    source.write_bytes(b"one")
    before = os.umask(umask)
    try:
        outputs = OutputFolder(tmp_path / "out")
        for path in (outputs.copy(source), outputs.write("b.png", b"two")):
            assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    finally:
        os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="modes and links are POSIX's")
@pytest.mark.parametrize("links", [True, False])
def test_links_are_respected(tmp_path, monkeypatch, links):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    real, folder = tmp_path / "real", tmp_path / "out"
    real.mkdir()
    folder.symlink_to(real)
    (real / "a.png").symlink_to(tmp_path / "gone.png")
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    assert OutputFolder(folder).write("a.png", b"one") == folder / "a-2.png"
    assert folder.is_symlink()
    assert (real / "a.png").is_symlink()
    assert not (tmp_path / "gone.png").exists()


@pytest.mark.skipif(os.name == "nt", reason="modes and links are POSIX's")
def test_only_plain_files_of_bounded_size_are_copied(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(5_000_000_000)
    outputs = OutputFolder(tmp_path / "out")
    for name in ("pipe.png", "large.png"):
        with pytest.raises(FooocusError, match=r"plain file|too large"):
            outputs.copy(tmp_path / name)
    assert not list((tmp_path / "out").iterdir())
