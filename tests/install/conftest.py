"""A small stand-in for Fooocus in a git repository, and somebody to tell."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb.install import Progress

SERVERS = Path(__file__).resolve().parents[1] / "servers"
#: Of Fooocus's own requirements those that its web page needs.
REQUIREMENTS = "gradio==3.41.2\npillow==10.4.0\nhttpx==0.27.0\npackaging==24.1\n"


class Teller:
    """Keeps what it is told, and answers as the test says."""

    def __init__(self, *, answer: bool = True) -> None:
        self.answer = answer
        self.lines: list[str] = []
        self.updates: list[Progress] = []
        self.questions: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def update(self, progress: Progress) -> None:
        self.updates.append(progress)

    def confirm(self, question: str) -> bool:
        self.questions.append(question)
        return self.answer


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    done = subprocess.run(
        ["git", *identity, *words],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.strip()


@pytest.fixture
def teller() -> Teller:
    return Teller()


def fill(folder: Path) -> None:
    """Write a stand-in for Fooocus, which serves a real Gradio 3.41.2."""
    for file in ("gradio3_app.py", "verbs_app.py", "fooocus_launch.py"):
        shutil.copy(SERVERS / file, folder)
    (folder / "launch.py").write_text("import fooocus_launch\n")
    (folder / "fooocus_version.py").write_text("version = '2.5.5'\n")
    (folder / "requirements_versions.txt").write_text(REQUIREMENTS)
    (folder / "LICENSE").write_text("GPL\n")


def commit(folder: Path) -> None:
    """Make a repository of a folder, with one commit, tagged v2.5.5."""
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "A stand-in")
    git(folder, "tag", "v2.5.5")


@pytest.fixture
def make_repository(tmp_path: Path) -> Callable[..., Path]:
    """Make a repository with one commit, tagged v2.5.5, from a stand-in or the given files."""

    def make(name: str = "origin", **files: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        if not files:
            fill(folder)
        for path, text in files.items():
            (folder / path.replace("__", ".")).write_text(text)
        commit(folder)
        return folder

    return make
