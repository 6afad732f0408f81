"""A Fooocus that somebody else has started from the same checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import fooocus_nb
from fooocus_nb.engine.unmanaged import find_unmanaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Listens where its command line says, and then ends with an input that closes.
SERVER = """
import os, socket, sys
os.chdir(os.path.dirname(os.path.abspath(__file__)))
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "Fooocus"
    folder.mkdir()
    (folder / "launch.py").write_text(SERVER)
    (folder / "entry_with_update.py").write_text(SERVER)
    (folder / "fooocus_version.py").write_text("version = '2.5.5'\n")
    return folder


@pytest.fixture
def run() -> Iterator[Callable[..., tuple[int, int]]]:
    """Start programs, and return their process id and port."""
    children: list[subprocess.Popen[str]] = []

    def start(*argv: object, **options) -> tuple[int, int]:
        child = subprocess.Popen(
            list(map(str, argv)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options,
        )  # fmt: skip
        children.append(child)
        return child.pid, int(child.stdout.readline())

    yield start
    for child in children:
        child.communicate(timeout=30)


@pytest.mark.parametrize("script", ["launch.py", "entry_with_update.py"])
@pytest.mark.parametrize("how", ["inside", "above", "whole"])
def test_one_that_runs_is_found(checkout: Path, run, script: str, how: str) -> None:
    assert find_unmanaged(checkout) == []
    word, cwd = {
        "inside": (script, checkout),
        "above": (f"Fooocus/{script}", checkout.parent),
        "whole": (checkout / script, "/"),
    }[how]
    pid, port = run(sys.executable, "-s", word, "--listen", cwd=cwd)
    assert find_unmanaged(checkout) == [(pid, f"http://127.0.0.1:{port}")]
    assert find_unmanaged(checkout.parent) == []


def test_a_start_proposes_to_connect(checkout: Path, run, tmp_path: Path) -> None:
    pid, port = run(sys.executable, "launch.py", cwd=checkout)
    (checkout / "launch.py").write_text("raise SystemExit(3)")
    told = rf"process {pid}.*fooocus_nb.connect\('http://127.0.0.1:{port}'\)"
    with pytest.warns(UserWarning, match=told), pytest.raises(fooocus_nb.StartError):
        fooocus_nb.start(checkout, python=sys.executable, output_dir=tmp_path / "images")


def test_our_own_are_not_meant(checkout: Path, run) -> None:
    marked = {**os.environ, "FOOOCUS_NB_GUARD": "0" * 32}
    run(sys.executable, "launch.py", cwd=checkout, env=marked)
    assert find_unmanaged(checkout) == []


@pytest.mark.may_skip
def test_one_of_another_user_is_told_by_its_command_line(checkout: Path, run) -> None:
    """As a container starts it as root, and the notebook as somebody else."""
    if os.geteuid() != 0:
        pytest.skip("takes root, who becomes somebody else")
    pid, _ = run(sys.executable, checkout / "launch.py", "--port", "8080", cwd="/")
    code = (
        "import sys; from pathlib import Path\n"
        "from fooocus_nb.engine.unmanaged import find_unmanaged\n"
        "import os; os.setgroups([]); os.setuid(4321)\n"
        "print(find_unmanaged(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, checkout],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == f"[Unmanaged(pid={pid}, url='http://127.0.0.1:8080')]"
