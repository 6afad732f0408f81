"""The Python of README and docs is run, with the demo engine in the place of Fooocus."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: What a reader has and a test has not, and what takes its place.
INSTEAD = {
    'path="~/Fooocus"': "demo=True",
    'path="/opt/Fooocus"': "demo=True",
    'start("~/Fooocus")': "start(demo=True)",
    "start(sleep_after": "start(demo=True, sleep_after",
    "start(restart": "start(demo=True, restart",
    "--path ~/Fooocus": "--demo",
    "gpus=[0, 1]": "engines=2",
    'Client("tcp://scheduler:8786")': "Client(n_workers=1, threads_per_worker=1, "
    "dashboard_address=None, local_directory='dask')",
}
#: What the text before the blocks says is there: an engine, and mostly a sweep, and two runs of it.
ENGINE = """
%load_ext fooocus_nb
import shutil
import fooocus_nb

engine = fooocus_nb.start(demo=True, name="before")
"""
#: One page keeps an engine beyond its kernel.
END = "%fooocus stop --all"
RUNS = """
small = {"width": 128, "height": 128, "steps": 2, "image_number": 1}
sweep = fooocus_nb.Sweep(
    prompt="a lighthouse", guidance_scale=[3, 5], seed=range(2), sampler=["euler", "heun"],
    base=small,
)
with sweep.run(engine, "runs/lighthouse", show=False) as run:
    run.rate(run.images[0], 4)
shutil.copytree("runs/lighthouse", "runs/lighthouse-2")
run = fooocus_nb.open_run("runs/lighthouse")
pool = fooocus_nb.Pool([engine])
"""
#: These begin with a run of their own.
WITHOUT_RUNS = ("README", "experiments", "life", "sweeps")
#: These need a Jupyter server, or a notebook that is saved (tests/browser/).
SKIPPED = ("resume", "web_page")


def pages() -> list[Path]:
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [
        path
        for path in found
        if path.stem not in SKIPPED and BLOCK.search(path.read_text(encoding="utf-8"))
    ]


def blocks(path: Path) -> list[str]:
    found = BLOCK.findall(path.read_text(encoding="utf-8"))
    for old, new in INSTEAD.items():
        found = [block.replace(old, new) for block in found]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_the_blocks_of_a_page_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOOOCUS_DEMO_STEP_SECONDS", "0")
    before = [ENGINE] if path.stem in WITHOUT_RUNS else [ENGINE, RUNS]
    cells = [nbformat.v4.new_code_cell(source) for source in (*before, *blocks(path), END)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = nbclient.NotebookClient(
        notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env=dict(os.environ))
