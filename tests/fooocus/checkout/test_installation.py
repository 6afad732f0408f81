from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from fooocus_nb.errors import InstallError
from fooocus_nb.fooocus.checkout.installation import WINDOWS_INTERPRETERS, find_installation

if TYPE_CHECKING:
    from pathlib import Path

ARGS_MANAGER = """
import ldm_patched.modules.args_parser as base
base.parser.add_argument("--share", action="store_true", help="x")
base.parser.add_argument("--preset", type=str, default=None)
base.parser.set_defaults(in_browser=True)
"""
ARGS_PARSER = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=8188)
parser.add_argument("--temp-path", type=str)
parser.add_argument("--disable-in-browser", action="store_true")
group = parser.add_mutually_exclusive_group()
group.add_argument("--always-cpu", type=int, nargs="?", const=-1)
group.add_argument("--flash", action=argparse.BooleanOptionalAction)
"""


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "Fooocus"
    root.mkdir()
    (root / "launch.py").write_text("print('never run by a test')\n")
    (root / "fooocus_version.py").write_text("version = '2.5.5'\n")
    (root / "args_manager.py").write_text(ARGS_MANAGER)
    parser = root / "ldm_patched" / "modules" / "args_parser.py"
    parser.parent.mkdir(parents=True)
    parser.write_text(ARGS_PARSER)
    return root


@pytest.mark.parametrize(
    "place", ["venv", ".venv", "env", "python_embeded", "../python_embeded", "../venv"]
)
def test_finds_an_environment_in_or_beside_the_checkout(checkout: Path, place: str) -> None:
    python = executable((checkout / place).resolve() / "bin" / "python3")
    found = find_installation(checkout)
    assert (found.path, found.version, found.python) == (checkout, "2.5.5", python)


def test_reads_the_flags_without_running_anything(checkout: Path) -> None:
    executable(checkout / "venv/bin/python")
    assert find_installation(checkout).flags == {
        "--help",
        "--share",
        "--preset",
        "--port",
        "--temp-path",
        "--disable-in-browser",
        "--always-cpu",
        "--flash",
        "--no-flash",
    }


@pytest.mark.parametrize(
    "spoil",
    [
        lambda root: (root / "ldm_patched/modules/args_parser.py").unlink(),
        lambda root: (root / "args_manager.py").write_text("def ("),
        lambda root: (root / "args_manager.py").write_text("add_argument('--' + name)"),
    ],
)
def test_flags_that_cannot_be_read_whole_are_not_told_at_all(checkout: Path, spoil) -> None:
    spoil(checkout)
    executable(checkout / "venv/bin/python")
    assert find_installation(checkout).flags == frozenset()


def test_a_folder_that_holds_the_checkout_will_do(checkout: Path) -> None:
    executable(checkout.parent / "python_embeded/bin/python3")
    assert find_installation(checkout.parent).path == checkout
    assert find_installation(checkout / "launch.py").path == checkout


def test_a_venv_is_not_resolved_to_what_it_links_to(checkout: Path) -> None:
    link = checkout / "venv" / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(sys.executable)
    assert find_installation(checkout).python == link
    assert find_installation(checkout, python=link).python == link


def test_named_interpreters(checkout: Path, tmp_path: Path, monkeypatch) -> None:
    python = executable(tmp_path / "elsewhere" / "bin" / "python3")
    assert find_installation(checkout, python=python).python == python
    assert find_installation(checkout, python=tmp_path / "elsewhere").python == python
    monkeypatch.setenv("PATH", str(python.parent))
    assert find_installation(checkout, python="python3").python == python


def test_the_interpreter_that_runs_this_is_never_taken_by_itself(checkout: Path) -> None:
    with pytest.raises(InstallError, match=r"python=sys\.executable"):
        find_installation(checkout)
    assert str(find_installation(checkout, python=sys.executable).python) == sys.executable


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permission")
def test_an_interpreter_that_may_not_run(checkout: Path, tmp_path: Path) -> None:
    file = tmp_path / "python"
    file.touch(mode=0o644)
    with pytest.raises(InstallError, match="may not be executed"):
        find_installation(checkout, python=file)


def test_a_dangling_environment_is_named(checkout: Path) -> None:
    link = checkout / "venv/bin/python3"
    link.parent.mkdir(parents=True)
    link.symlink_to("/nowhere/python3.9")
    with pytest.raises(InstallError, match=r"link to /nowhere/python3\.9, which is gone"):
        find_installation(checkout)


def test_what_is_no_checkout(tmp_path: Path, checkout: Path) -> None:
    with pytest.raises(InstallError, match="no folder"):
        find_installation(tmp_path / "gone")
    with pytest.raises(InstallError, match=r"holds no launch\.py"):
        find_installation(checkout / "ldm_patched")
    with pytest.raises(InstallError, match="no such command"):
        find_installation(checkout, python="python-of-nobody")
    with pytest.raises(InstallError, match="no such file"):
        find_installation(checkout, python=tmp_path / "no" / "python")
    with pytest.raises(InstallError, match="holds no Python"):
        find_installation(checkout, python=tmp_path)


@pytest.mark.parametrize("source", ["", "version = compute()", "version = 3", "version ="])
def test_a_version_that_cannot_be_read(checkout: Path, source: str) -> None:
    (checkout / "fooocus_version.py").write_text(source)
    with pytest.raises(InstallError, match="no version can be read"):
        find_installation(checkout, python=sys.executable)


@pytest.mark.parametrize("place", ["python_embeded", "../python_embeded"])
def test_the_embedded_python_of_the_windows_archive(
    checkout: Path, place: str, monkeypatch
) -> None:
    monkeypatch.setattr("fooocus_nb.fooocus.checkout.installation.WINDOWS", True)
    monkeypatch.setattr(
        "fooocus_nb.fooocus.checkout.installation.INTERPRETERS", WINDOWS_INTERPRETERS
    )
    python = executable((checkout / place).resolve() / "python.exe")
    assert find_installation(checkout).python == python
    assert find_installation(checkout, python=python.with_suffix("")).python == python
    assert find_installation(checkout, python=python.parent).python == python
