"""The main job, long: 200 generations in a row in one kernel, with 1 GB of log in between."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

CELLS, REPEATS = 20, 10
MEGABYTES = 5

USED = """
import os, tempfile, threading, psutil

def used():
    guardian = psutil.Process(engine.pid).parent()
    return {
        "kernel fds": psutil.Process().num_fds(),
        "kernel threads": psutil.Process().num_threads(),
        "guardian fds": guardian.num_fds(),
        "guardian threads": guardian.num_threads(),
        "temp entries": len(os.listdir(tempfile.gettempdir())),
        "log files": len(list(engine.log_path.parent.glob("engine.log*"))),
    }
"""


@pytest.fixture
def endure(new_notebook, tmp_path):
    """Run all generations on the engine that a line starts, and compare what is in use."""

    def run(start: str) -> None:
        scratch = tmp_path / "tmp"
        scratch.mkdir()
        notebook = new_notebook(
            FOOOCUS_DEMO_STEP_SECONDS="0", TMPDIR=str(scratch), GRADIO_ANALYTICS_ENABLED="False"
        )
        notebook.run(f"{start}\nimport fooocus_nb; engine = fooocus_nb.current()\n{USED}")
        cell = f"%%fooocus --repeat {REPEATS} -n 1 --steps 1 --size 128x128 -o result\na harbour"
        notebook.run(cell)
        notebook.run(cell)
        before = notebook.value("used()")
        memory = notebook.value("psutil.Process().memory_info().rss")
        for _ in range(CELLS - 2):
            shown = notebook.run(cell)
            assert "image/png" in shown.bundles[-1]
            assert notebook.value("len(result)") == REPEATS
        after = notebook.value("used()")
        grown = notebook.value("psutil.Process().memory_info().rss") - memory
        for name in ("kernel fds", "kernel threads", "guardian fds", "guardian threads"):
            assert after[name] <= before[name] + 2, (name, before, after)
        assert after["log files"] <= 3
        assert after["temp entries"] == before["temp entries"], (before, after)
        assert grown < 150e6
        kept = notebook.value("sum(f.stat().st_size for f in engine.log_path.parent.iterdir())")
        assert kept < 31e6
        notebook.run("engine.stop()")
        assert not [path for path in scratch.rglob("*") if path.is_file()]

    return run


def test_two_hundred_generations_on_the_demo_engine(endure):
    endure(f"%fooocus start --demo -- --fault flood={MEGABYTES}")


@pytest.mark.timeout(1200)
def test_two_hundred_generations_on_a_real_gradio(endure, gradio3_checkout, monkeypatch):
    monkeypatch.setenv("FLOOD_MEGABYTES", str(MEGABYTES))
    endure(f"%fooocus start --path {gradio3_checkout}")
