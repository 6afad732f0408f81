from __future__ import annotations

import json
import os
import threading
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fooocus_nb.errors import RestoreError
from fooocus_nb.fooocus.checkout.model_files import find_renamed_models, restore_model

if TYPE_CHECKING:
    from pathlib import Path


def safetensors(size: int = 64) -> bytes:
    tensors = {"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    header = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
    return len(header).to_bytes(8, "little") + header + b"\7" * size


def renamed(folder: Path, name: str, content: bytes) -> Path:
    path = folder / f"{name}.corrupted"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_whole_model_gets_its_name_back_by_either_name(tmp_path: Path) -> None:
    for given_name in ("a.safetensors", "a.safetensors.corrupted"):
        path = renamed(tmp_path, "a.safetensors", safetensors())
        restored = restore_model(tmp_path / given_name)
        assert restored == tmp_path / "a.safetensors"
        assert restored.read_bytes() == safetensors()
        assert not path.exists()
        restored.unlink()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (safetensors()[:-1], "cut short"),
        (b"", "is empty"),
        (b"<html>Not found</html>", "no header"),
        ((9).to_bytes(8, "little") + b"{nonsense" * 3, "cannot be read"),
        ((2).to_bytes(8, "little") + b"[]", "cannot be read"),
    ],
)
def test_what_is_not_whole_is_not_restored_unless_one_insists(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = renamed(tmp_path, "a.safetensors", content)
    with pytest.raises(RestoreError, match=reason):
        restore_model(path)
    assert path.read_bytes() == content
    assert restore_model(path, force=True).read_bytes() == content


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    path = renamed(tmp_path, "a.safetensors", safetensors())
    (tmp_path / "a.safetensors").write_bytes(b"new")
    with pytest.raises(RestoreError, match="nothing is overwritten"):
        restore_model(path, force=True)
    assert (tmp_path / "a.safetensors").read_bytes() == b"new"
    assert path.exists()


def test_where_there_are_no_links_nothing_is_overwritten_either(
    tmp_path: Path, monkeypatch
) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", link)
    path = renamed(tmp_path, "a.safetensors", safetensors())
    assert restore_model(path) == tmp_path / "a.safetensors"
    path = renamed(tmp_path, "a.safetensors", safetensors())
    with pytest.raises(RestoreError, match="nothing is overwritten"):
        restore_model(path)


def test_of_two_that_restore_at_once_one_is_told(tmp_path: Path) -> None:
    path = renamed(tmp_path, "a.safetensors", safetensors())
    outcomes: list[object] = []
    gate = threading.Barrier(4)

    def restore() -> None:
        gate.wait(10)
        try:
            outcomes.append(restore_model(path))
        except RestoreError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=restore) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(outcomes) == 4
    assert tmp_path / "a.safetensors" in outcomes
    assert (tmp_path / "a.safetensors").read_bytes() == safetensors()
    assert not path.exists()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RestoreError, match="There is no file"):
        restore_model(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes(safetensors())
    with pytest.raises(RestoreError, match="has its own name"):
        restore_model(tmp_path / "a.safetensors")


def test_they_are_found_with_what_is_known_of_them(tmp_path: Path) -> None:
    whole = renamed(tmp_path, "checkpoints/sub/a.safetensors", safetensors())
    short = renamed(tmp_path, "loras/b.safetensors", safetensors()[:-9])
    zipped = tmp_path / "loras" / "c.pth.corrupted"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("data.pkl", b"x" * 100)
    cut = renamed(tmp_path, "loras/d.bin", zipped.read_bytes()[:60])
    old = renamed(tmp_path, "loras/e.ckpt", b"\x80\x02}q")
    (tmp_path / "loras" / "f.safetensors").write_bytes(b"")
    found = find_renamed_models([tmp_path / "checkpoints", tmp_path / "loras", tmp_path / "gone"])
    assert [(each.path, each.whole) for each in found] == [
        (whole, True),
        (short, False),
        (zipped, True),
        (cut, False),
        (old, None),
    ]
    assert "55 of 64" not in found[1].reason  # of the file, not of the tensor
    assert found[0].original == whole.with_suffix("")
    assert len(find_renamed_models([tmp_path, tmp_path / "loras"])) == 5


@given(st.binary(max_size=200))
def test_any_bytes_are_looked_at_without_failing(tmp_path_factory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("models")
    for name in ("a.safetensors", "b.ckpt", "c.dat"):
        renamed(folder, name, content)
    assert len(find_renamed_models([folder])) == 3


@given(st.integers(0, 300))
def test_a_cut_anywhere_is_seen(tmp_path_factory, length: int) -> None:
    whole = safetensors(100)
    path = renamed(tmp_path_factory.mktemp("models"), "a.safetensors", whole[:length])
    (found,) = find_renamed_models([path.parent])
    assert found.whole is (length >= len(whole))
