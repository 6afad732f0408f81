"""What every kind of frontend gets: widgets, HTML or text; and nothing that only looks alive."""

from __future__ import annotations

import json
import os
import re
import sys
from importlib.metadata import version
from pathlib import Path

import nbformat
import papermill
import pytest
from nbclient import NotebookClient

WIDGET = "application/vnd.jupyter.widget-view+json"
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SIZE = "--size 128x128 --steps 2 -n 1"
CELLS = (
    "%load_ext fooocus_nb\n%fooocus start --demo",
    f"%%fooocus {SIZE} --seed 7\na lighthouse",
    "import fooocus_nb\nengine = fooocus_nb.current()\n"
    "result = engine.generate('a harbour', width=128, height=128, steps=2, image_number=1)",
    "engine.monitor()",
    "engine.panel(prompt='a harbour')",
    "%fooocus status",
    "%fooocus stop",
)


@pytest.fixture(autouse=True)
def no_delays(monkeypatch) -> None:
    monkeypatch.setenv("FOOOCUS_DEMO_STEP_SECONDS", "0")
    monkeypatch.delenv("FOOOCUS_NB_DISPLAY", raising=False)


def executed_by_nbclient(folder) -> nbformat.NotebookNode:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return notebook


@pytest.mark.slow  # nox executes it every day
def test_the_notebook_of_widgets_says_the_truth(tmp_path) -> None:
    notebook = nbformat.read(NOTEBOOKS / "03-widgets.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    said = {
        cell.id: "".join(output.get("text", "") for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    }
    assert said["job"] == "[7, 8]\n"
    assert said["cell"].startswith("%%fooocus --seed 7 --aspect '1024x1024 | 1:1' --steps 12")
    assert WIDGET not in json.dumps(notebook)


def executed_by_papermill(folder) -> nbformat.NotebookNode:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS],
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    )
    before, after = folder / "before.ipynb", folder / "after.ipynb"
    nbformat.write(notebook, before)
    papermill.execute_notebook(
        before, after, cwd=folder, progress_bar=False, execution_timeout=120, log_output=False
    )
    return nbformat.read(after, as_version=4)


@pytest.mark.parametrize(
    "execute", [executed_by_nbclient, pytest.param(executed_by_papermill, marks=pytest.mark.slow)]
)
def test_what_programs_execute_is_static(execute, tmp_path) -> None:
    notebook = execute(tmp_path)
    assert "widgets" not in notebook.metadata
    assert WIDGET not in json.dumps(notebook)
    outputs = [
        [item for item in cell.outputs if item.output_type != "stream"]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    started, pictures, plain, monitor, panel, status, _ = (
        [item.data["text/html"] for item in cell] for cell in outputs
    )
    assert "Demo engine is ready" in started[0]
    assert "data:image/webp;base64," in pictures[0]
    assert "progressbar" not in pictures[0] + plain[0]
    assert "Done" in plain[0] or "1 image" in plain[0]
    assert "Ready" in monitor[0]
    assert "progressbar" not in monitor[0]
    assert "Control panel of demo" in panel[0]
    assert "a harbour" in panel[0]
    assert "web server ok" in status[0]
    assert "<script" not in json.dumps(outputs)


@pytest.mark.slow
def test_the_display_can_be_forced(notebook) -> None:
    def shown(mode: str, code: str) -> set[str]:
        cell = notebook.run(f"import os; os.environ['FOOOCUS_NB_DISPLAY'] = {mode!r}\n{code}")
        return {kind for bundle in cell.bundles for kind in bundle}

    live = []

    def hook(message) -> None:
        if message["header"]["msg_type"] in ("display_data", "update_display_data"):
            live.append(set(message["content"]["data"]))

    views = "import fooocus_nb; engine = fooocus_nb.current()\ndisplay(engine.monitor())"
    assert WIDGET in shown("widget", views)
    assert WIDGET in shown("widget", "engine.panel()")
    assert shown("html", "engine.panel()") == {"text/html", "text/plain"}
    assert shown("text", "engine.monitor()") == {"text/plain"}
    notebook.run(f"%%fooocus {SIZE}\na cat", hook=hook)
    assert all(kinds == {"text/plain"} for kinds in live)
    assert len(live) >= 2
    cell = notebook.run("os.environ['FOOOCUS_NB_DISPLAY'] = 'widgte'\n%fooocus a cat", fails=True)
    assert "Did you mean 'widget'" in cell.error
    notebook.run("del os.environ['FOOOCUS_NB_DISPLAY']")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_gets_one_line_that_moves_and_then_text(tmp_path) -> None:
    import pexpect

    environment = os.environ | {
        "FOOOCUS_DEMO_STEP_SECONDS": "0.4",  # so that a busy machine, too, draws several
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "TERM": "xterm",
        "NO_COLOR": "1",
    }
    shell = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"],
        cwd=str(tmp_path),
        env=environment,
        timeout=240,
        encoding="utf-8",
        dimensions=(40, 110),
    )

    def run(line: str) -> str:
        shell.sendline(line)
        shell.expect(r"In \[\d+\]: $")
        return shell.before

    try:
        shell.expect(r"In \[\d+\]: $")
        run("%load_ext fooocus_nb")
        assert re.search(
            r"Demo engine is ready as 'demo' \(.*pid \d+\)", run("%fooocus start --demo")
        )
        shown = run("%fooocus -n 1 --steps 10 --size 128x128 --seed 7 a lighthouse")
        frames = re.findall(r"\r\[#*\.*\] +\d+ %  Generating, step \d+ of 10", shown)
        assert len(set(frames)) >= 3
        assert "1 image" in shown.rsplit("\r", 1)[-1] or "seed 7" in shown
        assert "<div" not in shown
        assert "Widget" not in shown
        assert "Ready" in run("%fooocus monitor")
        assert "Panel of 'demo'" in run("%fooocus panel")
        assert "web server ok" in run("%fooocus status")
        # Ctrl-C stops the generation, not the engine.
        shell.sendline("%fooocus -n 3 --steps 40 --size 128x128 --seed 1 -o kept a lighthouse")
        shell.expect("step [1-9]")
        shell.sendintr()
        shell.expect("the engine is ready")
        shell.expect(r"In \[\d+\]: $")
        assert "ready" in run("%fooocus status")
        assert "stopped" in run("%fooocus stop")
        shell.sendline("exit")
        shell.expect(pexpect.EOF)
    finally:
        shell.close(force=True)


# -- what comes from a browser may come on any thread -------------------------------------------


@pytest.mark.may_skip
@pytest.mark.parametrize("subshell", [False, True])
def test_orders_are_taken_on_every_thread_of_the_kernel(notebook, subshell) -> None:
    if subshell and int(version("ipykernel").partition(".")[0]) < 7:
        pytest.skip("subshells came with ipykernel 7")
    notebook.run(
        "import os, time; os.environ['FOOOCUS_NB_DISPLAY'] = 'widget'\n"
        "import fooocus_nb; engine = fooocus_nb.current()\n"
        "panel = engine.panel(prompt='a cat', steps=60, width=128, height=128, image_number=3)\n"
        "display(panel)\nmonitor = engine.monitor(); display(monitor)"
    )
    form, monitor = notebook.value("[panel._form.model_id, monitor.widget.model_id]")
    say = notebook.speaker(subshell=subshell)
    say(form, kind="set", id=1, changes={"guidance_scale": 6.5, "image_number": 99})
    say(form, kind="set", id=2, changes={"image_number": 2, "image_seed": "7"})
    notebook.wait_for("'image_seed' in panel.values")
    assert notebook.value("dict(panel.values)") == {
        "prompt": "a cat",
        "overwrite_step": 60,
        "overwrite_width": 128,
        "overwrite_height": 128,
        "guidance_scale": 6.5,
        "image_seed": 7,
    }
    for identity in (3, 4):
        say(form, kind="generate", id=identity)
    notebook.wait_for("len(panel.results) == 2")
    assert notebook.value("[[i.seed for i in r] for r in panel.results]") == [[7, 8], [7, 8]]
    say(form, kind="set", id=5, changes={"image_number": 32, "overwrite_step": 200})
    say(form, kind="generate", id=6)
    notebook.wait_for("engine.state == 'busy' and monitor.widget.view.get('active')")
    number = notebook.value("monitor.widget.view['job']")
    say(monitor, kind="skip", job=number)
    say(monitor, kind="stop", job=number)
    notebook.wait_for("not panel.jobs")
    assert notebook.value("str(engine.state)") == "ready"
    left = []
    notebook.run(
        "panel.close()\nmonitor.close()\ndel os.environ['FOOOCUS_NB_DISPLAY']", hook=left.append
    )
    pictures = [
        message["content"]["data"]
        for message in left
        if message["header"]["msg_type"] == "update_display_data"
    ]
    assert len(pictures) >= 2  # the engine's one monitor may have been shown before
    assert all(set(picture) == {"text/html", "text/plain"} for picture in pictures)
    assert "data:image/webp;base64," in pictures[0]["text/html"]
