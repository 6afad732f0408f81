"""The folder: nothing is touched in one that an installation did not make."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fooocus_nb.errors import InstallError
from fooocus_nb.install import install
from fooocus_nb.install.programs import Programs
from fooocus_nb.install.target import Target, resolve_target
from fooocus_nb.supervisor.system import creation_time

if TYPE_CHECKING:
    from pathlib import Path

    from tests.install.conftest import Teller


def test_a_folder_with_content_is_left_alone(tmp_path: Path, teller: Teller) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InstallError, match=r"is not empty \(it holds thesis\.txt\)"):
        install(tmp_path, teller)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_of_our_name_without_our_state_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".fooocus-nb").mkdir()
    (tmp_path / ".fooocus-nb" / "mine.txt").touch()
    (tmp_path / "launch.py").touch()
    with pytest.raises(InstallError, match="can't be told"):
        Target(tmp_path)
    assert (tmp_path / "launch.py").exists()


def test_what_a_run_left_before_its_first_note_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / ".fooocus-nb").mkdir()
    (tmp_path / ".fooocus-nb" / "state.json.new").write_text('{"form')
    assert Target(tmp_path).step("Source") is None


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2, "steps": {}}', '{"format": 1}'])
def test_a_state_that_is_not_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / ".fooocus-nb").mkdir()
    (tmp_path / ".fooocus-nb" / "state.json").write_text(text)
    with pytest.raises(InstallError, match="can't be told"):
        Target(tmp_path)


def test_steps_are_remembered(tmp_path: Path) -> None:
    target = Target(tmp_path)
    target.finish("Source", "abc")
    target.note(source={"url": "u"})
    again = Target(tmp_path)
    assert (again.step("Source"), again.get("source")) == ("abc", {"url": "u"})
    again.begin("Source")
    assert Target(tmp_path).step("Source") is None


def test_this_pythons_own_environment_is_refused() -> None:
    for place in (sys.prefix, f"{sys.prefix}/Fooocus"):
        with pytest.raises(InstallError, match="the environment that this runs in"):
            resolve_target(place)


def test_one_run_at_a_time(tmp_path: Path) -> None:
    target = Target(tmp_path)
    with (
        target.locked(),
        pytest.raises(InstallError, match="Another installation is at work"),
        Target(tmp_path).locked(),
    ):
        pass
    with Target(tmp_path).locked():
        pass


def test_the_program_of_a_killed_run_is_waited_for(tmp_path: Path, monkeypatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        target = Target(tmp_path)
        target.note(programs=[[child.pid, creation_time(child.pid)]])
        monkeypatch.setattr("fooocus_nb.install.target.LINGER_SECONDS", 0.2)
        with pytest.raises(InstallError, match=f"Process {child.pid}"), target.locked():
            pass
        child.communicate(b"\n", timeout=30)
    with target.locked():
        pass
    # Another process of the same number is not that one.
    target.note(programs=[[1, "some other time"]])
    with target.locked():
        pass


def test_only_what_we_made_is_removed(tmp_path: Path) -> None:
    target = Target(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "venv").symlink_to(elsewhere, target_is_directory=True)
    target.remove("venv")
    assert elsewhere.is_dir()


def test_a_program_that_ended_before_it_was_noted_is_not_waited_for(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("fooocus_nb.install.programs.creation_time", lambda pid: None)
    target = Target(tmp_path)
    with pytest.raises(InstallError, match="it went wrong"):
        Programs(target).run(
            [sys.executable, "-c", "raise SystemExit(3)"],
            what="it went wrong",
            environment=dict(os.environ),
        )
    assert target.get("programs") == []
    # Nor one of which an earlier version has noted no time.
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait(30)
    target.note(programs=[[gone.pid, None]])
    monkeypatch.setattr("fooocus_nb.install.target.LINGER_SECONDS", 0.2)
    with target.locked():
        pass


def test_a_program_that_cannot_be_noted_is_ended(tmp_path: Path, monkeypatch) -> None:
    started: list[int] = []

    def full(target: Target, **values: object) -> None:
        started.extend(pid for pid, _ in values["programs"])
        msg = "there is no room"
        raise InstallError(msg)

    monkeypatch.setattr(Target, "note", full)
    with pytest.raises(InstallError, match="there is no room"):
        Programs(Target(tmp_path)).run(
            [sys.executable, "-c", "import time; time.sleep(60)"],
            what="it went wrong",
            environment=dict(os.environ),
        )
    assert started
    assert creation_time(started[0]) is None


def test_only_what_was_about_to_be_removed_is_tidied(tmp_path: Path) -> None:
    target = Target(tmp_path)
    for name in ("venv-1764290000000000000", "git-1764290000000000000", "made-0a1b", "staging"):
        (target.notes / name).mkdir()
    target.tidy()
    assert sorted(path.name for path in target.notes.iterdir()) == ["made-0a1b", "staging"]
