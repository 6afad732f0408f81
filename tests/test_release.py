"""What has to fit together before a version is released."""

from __future__ import annotations

import json
import re
from pathlib import Path

import PIL.Image

import fooocus_nb

ROOT = Path(__file__).parent.parent


def test_one_version_everywhere() -> None:
    version = fooocus_nb.__version__
    package = json.loads(
        (Path(fooocus_nb.__file__).parent / "labextension" / "package.json").read_text()
    )
    assert package["version"] == version  # JupyterLab wants one there, too
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first = re.search(r"^## \[(\d[^\]]*)\]", log, re.MULTILINE)
    assert first is not None
    assert first[1] == version


def test_the_moving_image_of_the_readme() -> None:
    path = ROOT / "docs" / "run.webp"
    assert f"](docs/{path.name})" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert path.stat().st_size < 400_000
    with PIL.Image.open(path) as image:
        assert image.is_animated


def test_every_notebook_is_without_outputs_and_named_by_its_title() -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        assert not any(cell.get("outputs") for cell in notebook["cells"]), path.name
        assert "".join(notebook["cells"][0]["source"]).startswith("# "), path.name
