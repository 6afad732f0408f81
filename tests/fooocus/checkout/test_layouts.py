"""Folder trees of those who install Fooocus for others, as data: each is found as it is given."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fooocus_nb.errors import InstallError
from fooocus_nb.fooocus.checkout import interpreter
from fooocus_nb.fooocus.checkout.installation import find_installation

LAYOUTS = json.loads(Path(__file__).with_name("layouts.json").read_text(encoding="utf-8"))
CASES = [
    pytest.param(layout, given, id=f"{layout['name']}: {given}")
    for layout in LAYOUTS
    for given in layout["given"]
]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="makes trees of POSIX, too")


def grow(root: Path, layout: dict[str, Any]) -> None:
    for name in layout["files"]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("version = '2.5.5'\n" if path.name == "fooocus_version.py" else "")
        if "python" in path.name:
            path.chmod(0o755)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of the machine, and a user without a home."""
    folder = tmp_path / "root"
    folder.mkdir()
    monkeypatch.setattr(interpreter, "IMAGE_ROOT", folder)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    return folder


@pytest.mark.parametrize(("layout", "given"), CASES)
def test_a_layout_is_recognised(layout, given: str, root: Path, monkeypatch) -> None:
    if layout["system"] == "windows":
        monkeypatch.setattr(interpreter, "WINDOWS", True)
        monkeypatch.setattr(interpreter, "INTERPRETERS", interpreter.WINDOWS_INTERPRETERS)
    grow(root, layout)
    found = find_installation(root / given)
    assert (found.path, found.python) == (root / layout["checkout"], root / layout["python"])
    assert found.version == "2.5.5"


def test_a_system_without_fooocuss_packages_is_not_its_python(root: Path) -> None:
    (layout,) = (each for each in LAYOUTS if each["name"] == "Fooocus's own container image")
    grow(root, layout)
    (root / "usr/local/lib/python3.10/dist-packages/torch/__init__.py").unlink()
    (root / "usr/local/lib/python3.10/dist-packages/torch").rmdir()
    with pytest.raises(InstallError, match="No Python interpreter was found"):
        find_installation(root / "content/app")
