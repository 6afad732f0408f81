"""The pure parts of the widgets' JavaScript, tried by Node's own test runner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SCRIPTS = HERE.parents[2] / "fooocus_nb" / "widgets" / "static"


@pytest.fixture(scope="session")
def node() -> str:
    found = shutil.which("node") or shutil.which("nodejs")
    if found is None:
        pytest.skip("there is no Node.js on this machine")
    return found


@pytest.mark.parametrize("path", sorted(HERE.glob("*.test.mjs")), ids=lambda path: path.stem)
def test_the_scripts_do_what_their_tests_say(node: str, path: Path) -> None:
    done = subprocess.run(
        [node, "--test", path.name], cwd=HERE, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_every_script_of_the_page_is_in_some_widget() -> None:
    """A script that nobody loads would go on being tested here for nothing."""
    package = SCRIPTS.parent
    source = "".join(path.read_text(encoding="utf-8") for path in package.glob("*.py"))
    assert [path.name for path in SCRIPTS.iterdir() if f'"{path.name}"' not in source] == []
