"""How long the logs of engines are kept."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

import fooocus_nb
from fooocus_nb.engine.folders import KEPT, RUNTIME_VARIABLE, new_log_folder
from fooocus_nb.errors import DiskFull, StartError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all logs, empty."""
    monkeypatch.setattr("platformdirs.user_log_path", lambda *_, **__: tmp_path / "logs")
    return tmp_path / "logs"


def test_the_oldest_logs_go(logs: Path, tmp_path: Path) -> None:
    made = [new_log_folder("a name/with: signs", tmp_path / "ended") for _ in range(KEPT + 5)]
    assert set(logs.iterdir()) == set(made[-KEPT:])
    assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in logs.iterdir())


def test_the_log_of_an_engine_that_runs_stays(logs: Path, tmp_path: Path, start_demo) -> None:
    engine = start_demo()
    assert engine.log_path.is_relative_to(logs)
    for _ in range(KEPT + 5):
        new_log_folder("later", tmp_path / "ended")
    assert "App started successful" in engine.log_path.read_text()
    engine.stop()
    assert engine.log_path.is_file()  # to be looked at after the end
    for _ in range(KEPT):
        new_log_folder("later", tmp_path / "ended")
    assert not engine.log_path.exists()


def test_folders_of_earlier_versions_go_too(logs: Path, tmp_path: Path) -> None:
    old = logs / "2020-01-01_00-00-00_demo_1_1"
    old.mkdir(parents=True)
    for _ in range(KEPT):
        new_log_folder("later", tmp_path / "ended")
    assert not old.exists()


def test_a_start_without_room_for_its_folders_says_so(registry, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device", "/some/disk")

    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(temporary))
        patched.setattr("fooocus_nb.engine.child_process.new_log_folder", full)
        with pytest.raises(DiskFull, match=r"roomless.*No space left.*/some/disk") as caught:
            fooocus_nb.start(demo=True, name="roomless")
    assert isinstance(caught.value, StartError)
    assert list(temporary.iterdir()) == []
    assert list(registry.folder.iterdir()) == []
    assert "roomless" not in fooocus_nb.running()


def test_a_runtime_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(RUNTIME_VARIABLE, str(tmp_path / "file" / "runtime"))
    with pytest.raises(StartError, match=f"(?s)given its folders.*{RUNTIME_VARIABLE}"):
        fooocus_nb.start(demo=True, name="roomless")
