"""The versions that a hosted notebook service has today: installed into, they stay and work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.install.conftest import commit, fill

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
SESSION = Path(__file__).with_name("hosted_session.py")
#: Colab's, from its public list of August 2026.
VERSIONS = (
    "anywidget==0.9.21",
    "gradio_client==2.6.0",
    "httpx==0.28.1",
    "ipykernel==6.17.1",
    "ipython==7.34.0",
    "ipywidgets==7.7.1",
    "jupyter_client==7.4.9",
    "jupyter_server==2.20.0",
    "nbclient==0.10.4",
    "nbconvert==7.17.1",
    "notebook==6.5.7",
    "numpy==2.1.3",
    "pillow==11.3.0",
    "platformdirs==4.11.3",
    "psutil==5.9.5",
    "tornado==6.5.7",
    "traitlets==5.7.1",
    "websockets==15.0.1",
)
MINUTES = 20

pytestmark = [pytest.mark.slow, pytest.mark.timeout(MINUTES * 60)]


def newest_python() -> str:
    """The service's Python 3.13 where this machine has it, else the one that runs the tests."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for name in ("python3.13", *map(str, sorted(versions.glob("3.13.*/bin/python")))):
        found = shutil.which(name)
        if found is None:
            continue
        done = subprocess.run([found, "-m", "venv", "--help"], capture_output=True, timeout=30)
        if done.returncode == 0:  # a shim of another version answers, but does not run
            return found
    return sys.executable


def installed(python: Path) -> dict[str, str]:
    """The version of every package in an environment."""
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=json"],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return {row["name"]: row["version"] for row in json.loads(listed.stdout)}


@pytest.fixture(scope="module")
def hosted(
    make_environment: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, str], dict[str, str]]:
    """An environment with exactly these versions, before and after installing this project."""
    ready = make_environment("hosted", newest_python(), VERSIONS)
    # In a copy, so that what is cached stays as it came.
    folder = tmp_path_factory.mktemp("hosted") / "venv"
    shutil.copytree(ready.parents[1], folder, symlinks=True)
    python = folder / ready.relative_to(ready.parents[1])
    before = installed(python)
    pip = [python, "-m", "pip", "install", "--quiet", "--no-warn-script-location"]
    subprocess.run([*pip, str(ROOT)], check=True, timeout=600)
    return python, before, installed(python)


def test_installing_changes_no_version(hosted) -> None:
    _, before, after = hosted
    assert {name: after.get(name) for name in before} == before
    assert "fooocus-nb" in after


def test_a_whole_session_works(hosted, tmp_path: Path) -> None:
    python, *_ = hosted
    done = subprocess.run(
        [python, str(SESSION)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=MINUTES * 60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    failed = {name: cell["text"][-500:] for name, cell in found.items() if cell["error"]}
    assert set(failed) == {"interrupted"}, failed
    assert found["interrupted"]["error"] == "KeyboardInterrupt"
    # Results that need no kernel.
    for name in ("cell", "line", "call"):
        shown = "".join(str(data.get("text/html", "")) for data in found[name]["data"])
        assert "data:image/webp;base64," in shown, name
    assert found["value"]["data"][0]["text/plain"] == "([7, 8], True)"
    # Each view is a widget, and below it something static for where there are none.
    for name in ("monitor", "panel", "gallery", "log"):
        view, kept = found[name]["data"][-2:]
        assert "application/vnd.jupyter.widget-view+json" in view, name
        assert "fnb-kept" in kept["text/html"], name
    # The interrupt ended the generation and not the engine, and the next one works.
    assert found["state"]["data"][0]["text/plain"].startswith("('ready', ")
    assert found["left"]["data"][0]["text/plain"] == "0"


#: Runs a notebook in a real kernel, and prints what came of each cell.
EXECUTE = """
import json, sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
json.dump([cell for cell in notebook.cells if cell.cell_type == "code"], sys.stdout)
"""
#: What Colab's own package is asked for, which notes that it was.
COLAB = {
    "google/colab/__init__.py": "",
    "google/colab/output.py": (
        "def serve_kernel_port_as_window(port):\n"
        "    import urllib.request\n"
        "    page = urllib.request.urlopen(f'http://127.0.0.1:{port}/', timeout=30).read()\n"
        "    print('window', b'gradio' in page)\n"
    ),
    "google/colab/drive.py": "def mount(place):\n    print('mounted', place)\n",
}


def execute(python: Path, notebook: Path, **environment: str) -> list[dict]:
    done = subprocess.run(
        [python, "-c", EXECUTE, notebook],
        capture_output=True,
        text=True,
        cwd=notebook.parent,
        timeout=MINUTES * 60,
        env=os.environ | environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def printed(cells: list[dict]) -> str:
    return "".join(
        output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        for cell in cells
        for output in cell["outputs"]
    )


def test_the_colab_notebook_installs_starts_and_generates(hosted, tmp_path: Path) -> None:
    """As on Colab, but for the address of Fooocus, its weight, and Colab's own package."""
    python, before, _ = hosted
    for name, text in COLAB.items():
        path = tmp_path / "stub" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    origin = tmp_path / "origin"
    origin.mkdir()
    fill(origin)
    commit(origin)
    notebook = tmp_path / "colab.ipynb"
    text = (ROOT / "notebooks" / "colab.ipynb").read_text()
    for old, new in (
        ("%fooocus install {FOLDER}", f"%fooocus install {{FOLDER}} --from {origin} --yes"),
        ("/content/", f"{tmp_path}/content/"),
        ("SAVE_TO_DRIVE = False", "SAVE_TO_DRIVE = True"),
    ):
        assert old in text
        text = text.replace(old, new)
    notebook.write_text(text)
    cells = execute(python, notebook, PYTHONPATH=str(tmp_path / "stub"))
    told = printed(cells)
    assert "Fooocus 2.5.5 is installed" in told
    assert f"mounted {tmp_path}/content/drive" in told
    assert "window True" in told
    images = sorted((tmp_path / "content/drive/MyDrive/Fooocus").glob("*.png"))
    assert len(images) == 2
    # Colab's packages are as they were.
    now = installed(python)
    assert {name: now.get(name) for name in before} == before
