"""The pure parts of the widgets' JavaScript, tried by Node's own test runner."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from pathlib import Path

import pytest

import fooocus_nb.widgets

HERE = Path(__file__).parent
#: Of the package that is imported, which is not the checkout's where a wheel is tested.
SCRIPTS = Path(fooocus_nb.widgets.__file__).parent / "static"
WIDGETS = sorted(
    path.stem for path in SCRIPTS.parent.glob("*.py") if "_esm = " in path.read_text("utf-8")
)


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


@pytest.mark.parametrize("module", WIDGETS)
def test_the_joined_scripts_of_a_widget_are_one_module(node: str, module: str) -> None:
    """Two of them may use one name for two things, and then the browser shows nothing."""
    found = vars(importlib.import_module(f"fooocus_nb.widgets.{module}")).values()
    sources = {text for each in found if isinstance(text := getattr(each, "_esm", None), str)}
    assert sources
    for source in sources:
        done = subprocess.run(
            [node, "--input-type=module", "--check"],
            input=source, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_every_script_of_the_page_is_in_some_widget() -> None:
    """A script that nobody loads would go on being tested here for nothing."""
    package = SCRIPTS.parent
    source = "".join(path.read_text(encoding="utf-8") for path in package.glob("*.py"))
    assert [path.name for path in SCRIPTS.iterdir() if f'"{path.name}"' not in source] == []
