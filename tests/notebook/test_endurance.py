"""The main job, long: 200 generations in a row in one kernel, with 1 GB of log in between."""

from __future__ import annotations

from pathlib import Path

import pytest

SERVERS = Path(__file__).parents[1] / "servers"
CELLS, REPEATS = 20, 10
MEGABYTES = 5

#: What Fooocus's own file does, in the words of the stand-in: serve, and say when it is ready.
LAUNCH = """
import argparse, sys, threading
from pathlib import Path
sys.path.insert(0, {servers!r})
import gradio3_app

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--temp-path")
given, _ = parser.parse_known_args()
given.loras, given.image_prompts, given.enhance_tabs = 5, 4, 3
given.disable_metadata, given.step_seconds = False, 0.0


class Flood(gradio3_app.Recorder):
    def write(self, **entry):
        if entry["call"] == "generate":
            for _ in range({megabytes}):
                print(("flood " * 20 + "\\n") * 8000, end="", flush=True)
            print("Total time: 0.00 seconds", flush=True)


blocks = gradio3_app.build(given, Flood(Path(given.temp_path) / "record"))
served, _, _ = blocks.queue().launch(
    server_name="127.0.0.1", server_port=given.port, allowed_paths=[given.temp_path],
    share=False, show_api=False, quiet=True, prevent_thread_lock=True,
)
print(f"App started successful. Use the app with http://127.0.0.1:{{given.port}}/", flush=True)
threading.Event().wait()
"""

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
def test_two_hundred_generations_on_a_real_gradio(endure, gradio3_python, tmp_path):
    checkout = tmp_path / "Fooocus"
    checkout.mkdir()
    launch = LAUNCH.format(servers=str(SERVERS), megabytes=MEGABYTES)
    (checkout / "launch.py").write_text(launch)
    (checkout / "fooocus_version.py").write_text("version = '2.5.5'\n")
    endure(f"%fooocus start --path {checkout} --python {gradio3_python}")
