from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from fooocus_nb.errors import InstallError
from fooocus_nb.fooocus.checkout.installation import find_installation
from fooocus_nb.fooocus.checkout.interpreter import WINDOWS_INTERPRETERS

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
    with pytest.raises(InstallError, match=r"notebook.s own, name that one"):
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
    monkeypatch.setattr("fooocus_nb.fooocus.checkout.interpreter.WINDOWS", True)
    monkeypatch.setattr(
        "fooocus_nb.fooocus.checkout.interpreter.INTERPRETERS", WINDOWS_INTERPRETERS
    )
    python = executable((checkout / place).resolve() / "python.exe")
    assert find_installation(checkout).python == python
    assert find_installation(checkout, python=python.with_suffix("")).python == python
    assert find_installation(checkout, python=python.parent).python == python


# -- where else an interpreter can be -----------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, in which conda notes its environments."""
    folder = tmp_path / "home"
    (folder / ".conda").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    return folder


def conda_environment(folder: Path) -> Path:
    (folder / "conda-meta").mkdir(parents=True)
    return executable(folder / "bin/python3")


@pytest.mark.skipif(os.name == "nt", reason="the layout of POSIX")
@pytest.mark.parametrize("mark", ["pyvenv.cfg", "conda-meta/history"])
def test_an_environment_of_another_name_in_the_checkout(checkout: Path, mark: str) -> None:
    python = executable(checkout / "my own" / "bin/python3")
    with pytest.raises(InstallError, match="No Python interpreter"):
        find_installation(checkout)  # any folder could have a bin/python3
    (checkout / "my own" / mark).parent.mkdir(exist_ok=True)
    (checkout / "my own" / mark).touch()
    assert find_installation(checkout).python == python
    second = executable(checkout / "second" / "bin/python3")
    (checkout / "second/pyvenv.cfg").touch()
    with pytest.raises(InstallError, match="Several") as caught:
        find_installation(checkout)
    assert str(python) in str(caught.value)
    assert str(second) in str(caught.value)
    usual = executable(checkout / "venv/bin/python3")
    assert find_installation(checkout).python == usual


@pytest.mark.skipif(os.name == "nt", reason="the layout of POSIX")
def test_conda_environments_are_found_by_name(checkout: Path, home: Path) -> None:
    other = conda_environment(home / "envs/sd")
    python = conda_environment(home / "envs/fooocus")
    listed = home / ".conda/environments.txt"
    listed.write_text(f"{home}/envs/gone/fooocus\n{home}/envs/sd\n")
    with pytest.raises(InstallError, match="conda"):
        find_installation(checkout)
    listed.write_text(f"{listed.read_text()}{home}/envs/fooocus\n")
    assert find_installation(checkout).python == python
    conda_environment(home / "envs/Fooocus-mre")
    listed.write_text(f"{listed.read_text()}{home}/envs/Fooocus-mre\n")
    assert find_installation(checkout).python == python
    assert other.is_file()


@pytest.mark.skipif(os.name == "nt", reason="the layout of POSIX")
def test_an_environment_of_a_container_image(checkout: Path, home: Path, monkeypatch) -> None:
    python = executable(home / "image/venv/bin/python3")
    monkeypatch.setattr("fooocus_nb.fooocus.checkout.interpreter.IMAGE_ROOT", home / "image")
    assert find_installation(checkout).python == python


@pytest.mark.skipif(os.name == "nt", reason="the layout of POSIX")
@pytest.mark.parametrize("place", ["app", "."])
def test_pinokio_has_the_checkout_in_app(checkout: Path, place: str) -> None:
    checkout = checkout.rename(checkout.parent / "app")
    python = executable(checkout.parent / "env/bin/python3")
    found = find_installation(checkout.parent / place)
    assert (found.path, found.python) == (checkout, python)


@pytest.mark.skipif(os.name == "nt", reason="links take a right there")
def test_an_environment_beside_a_link_to_the_checkout(checkout: Path, tmp_path: Path) -> None:
    python = executable(tmp_path / "apps/venv/bin/python3")
    (tmp_path / "apps/Fooocus").symlink_to(checkout)
    with pytest.raises(InstallError, match="No Python interpreter"):
        find_installation(checkout)
    found = find_installation(tmp_path / "apps/Fooocus")
    assert (found.path, found.python) == (checkout, python)
    beside = executable(tmp_path / "venv/bin/python3")
    assert find_installation(tmp_path / "apps/Fooocus").python == beside


@pytest.mark.skipif(os.name == "nt", reason="the layout of POSIX")
def test_an_interpreter_named_by_its_version_alone(checkout: Path) -> None:
    executable(checkout / "venv/bin/python3.10-config")
    python = executable(checkout / "venv/bin/python3.10")
    assert find_installation(checkout).python == python
    assert find_installation(checkout, python=python.parent).python == python


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permission")
def test_an_environment_without_the_right_to_run_is_named(checkout: Path) -> None:
    python = executable(checkout / "venv/bin/python3")
    python.chmod(0o644)
    for options in ({}, {"python": checkout / "venv"}):
        with pytest.raises(InstallError, match=r"may not be executed: chmod \+x .*/venv/bin"):
            find_installation(checkout, **options)


@pytest.mark.skipif(os.name == "nt", reason="as seen from WSL")
@pytest.mark.parametrize("place", ["venv/Scripts/python.exe", "../python_embeded/python.exe"])
def test_a_python_of_windows_is_named(checkout: Path, place: str) -> None:
    python = executable((checkout / place).resolve())
    for options in ({}, {"python": python}, {"python": python.parent}):
        with pytest.raises(InstallError, match=r"python\.exe'? is a Python of Windows.*WSL"):
            find_installation(checkout, **options)


# -- paths as people give them ------------------------------------------------------------------


def test_paths_as_they_are_copied(checkout: Path, tmp_path: Path, monkeypatch) -> None:
    executable(checkout / "venv/bin/python3")
    monkeypatch.setenv("WHERE_IT_IS", str(tmp_path))
    (tmp_path / "run.bat").touch()
    odd = tmp_path / "a $WHERE_IT_IS"
    for given in (
        f'"{checkout}"',
        f" '{checkout}' ",
        checkout.as_uri(),
        f"file://localhost{checkout}",
        f"\u201c{checkout}\u201d",
        f"`{checkout}` ",
        f"\ufeff{checkout}\u200b",
        "$WHERE_IT_IS/Fooocus",
        "${WHERE_IT_IS}",
        tmp_path / "run.bat",
        checkout / "fooocus_version.py",
    ):
        assert find_installation(given).path == checkout, given
    checkout.rename(odd)
    assert find_installation(odd).path == odd  # what is there is meant as it stands
    assert find_installation(odd.as_uri()).path == odd
    escaped = str(odd).replace(" ", "\\ ").replace("$", "\\$")  # as a shell completes it
    assert os.name == "nt" or find_installation(escaped).path == odd


def test_an_archive_unpacked_into_a_folder_of_its_name(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "outer").mkdir()
    inner = checkout.rename(tmp_path / "outer/Fooocus-2.5.5")
    executable(inner / "venv/bin/python3")
    other = tmp_path / "outer/another-webui"
    other.mkdir()
    (other / "launch.py").touch()
    assert find_installation(tmp_path / "outer").path == inner
    second = tmp_path / "outer/win64/Fooocus"
    second.mkdir(parents=True)
    for name in ("launch.py", "fooocus_version.py"):
        (second / name).write_bytes((inner / name).read_bytes())
    with pytest.raises(InstallError, match="several") as caught:
        find_installation(tmp_path / "outer")
    assert str(inner) in str(caught.value)
    assert str(second) in str(caught.value)
    assert str(other) not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="paths of POSIX")
def test_a_path_that_is_no_checkout_says_what_may_be_meant(checkout: Path, tmp_path: Path) -> None:
    (checkout / "models/loras").mkdir(parents=True)
    (tmp_path / "Fooocus.7z").touch()
    for given, told in {
        checkout / "models/loras": f"'{checkout}' does: give that folder",
        tmp_path / "Fooocus.7z": "Unpack it",
        r"C:\Users\me\Fooocus": "'/mnt/c/Users/me/Fooocus'",
        "$NOBODY_SETS_THIS/Fooocus": "variable that is not set",
        r"\\wsl$\Ubuntu\home\me\Fooocus": "in WSL itself it is '/home/me/Fooocus'",
        r"\\wsl.localhost\Ubuntu": "in WSL itself it is '/'",
        "https://github.com/lllyasviel/Fooocus": "That is an address",
        "git@github.com:lllyasviel/Fooocus.git": "fooocus-nb install gets",
        tmp_path / "Focus": "Did you mean 'Fooocus'?",
    }.items():
        with pytest.raises(InstallError) as caught:
            find_installation(given)
        assert told in str(caught.value)
