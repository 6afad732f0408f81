"""How long the logs of engines are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fooocus_nb.logfolders import KEPT, new_log_folder

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
