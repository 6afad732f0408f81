"""The quickstart, as a user runs it: the command, the notebook, the page and what is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from fooocus_nb.cli.quickstart import Progress, find_notebook, render_page, run_quickstart
from fooocus_nb.fooocus.checkout.installation import Installation

NAME = "01-quickstart"


def write_notebook(path: Path, *cells: str) -> Path:
    """A notebook of code cells; a text that begins with # becomes a heading."""
    made = [
        new_markdown_cell(cell) if cell.startswith("#") else new_code_cell(cell) for cell in cells
    ]
    nbformat.write(new_notebook(cells=made), path)
    return path


def printed(notebook: Path) -> str:
    """All that the cells of an executed notebook printed."""
    document = nbformat.read(notebook, as_version=4)
    outputs = [output for cell in document.cells for output in cell.get("outputs", ())]
    return "".join(output.text for output in outputs if output.output_type == "stream")


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """One run of the command in an empty folder: where, its outcome, and how it went."""
    folder = tmp_path_factory.mktemp("user")
    command = Path(sys.executable).with_name("fooocus-nb")
    done = subprocess.run(
        [command, "quickstart"], cwd=folder, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, done.stderr


def test_it_says_that_this_is_the_demo(quickstart: tuple[Path, str, str]) -> None:
    assert "demo engine" in quickstart[2].splitlines()[0]
    assert "without AI" in quickstart[2]


def test_it_shows_progress_and_ends_with_the_paths(quickstart: tuple[Path, str, str]) -> None:
    folder, output, errors = quickstart
    # Beside what it announces there is nothing else: no warning, and nothing of its kernel.
    counted = [re.fullmatch(r"\[(\d+)/(\d+)\] \S+ .+", line) for line in errors.splitlines()[2:]]
    assert all(counted)
    assert counted[-1][1] == counted[-1][2]
    assert len(counted) > 5
    assert len(output.splitlines()) == 4
    for suffix in (".ipynb", ".html"):
        path = folder / "fooocus-quickstart" / f"{NAME}{suffix}"
        assert str(path) in output.splitlines()[-4:][1 if suffix == ".html" else 2]
        assert path.is_file()


def test_every_cell_ran_and_none_failed(quickstart: tuple[Path, str, str]) -> None:
    document = nbformat.read(quickstart[0] / "fooocus-quickstart" / f"{NAME}.ipynb", 4)
    nbformat.validate(document)
    cells = [cell for cell in document.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]


def test_a_seed_made_the_same_picture_again(quickstart: tuple[Path, str, str]) -> None:
    text = printed(quickstart[0] / "fooocus-quickstart" / f"{NAME}.ipynb")
    before, again = re.findall(r"^the (?:image|one).*: +(\w+)$", text, re.MULTILINE)
    assert before == again


def test_the_original_pictures_are_kept(quickstart: tuple[Path, str, str]) -> None:
    images = [
        path
        for path in (quickstart[0] / "fooocus-quickstart" / "fooocus-outputs").rglob("*")
        if path.suffix in {".png", ".jpeg", ".jpg", ".webp"}
    ]
    assert len(images) == 6


def test_the_page_stands_alone(quickstart: tuple[Path, str, str]) -> None:
    page = (quickstart[0] / "fooocus-quickstart" / f"{NAME}.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/') >= 6
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href)=["']https?://""", page)
    assert "<title>Fooocus in a notebook</title>" in page


@pytest.mark.slow
def test_it_runs_on_a_real_gradio_in_a_checkout(gradio3_checkout: Path, tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("fooocus-nb")
    done = subprocess.run(
        [command, "quickstart", "--path", gradio3_checkout, "--output", tmp_path / "out"],
        env=os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert f"on Fooocus 2.5.5 in {gradio3_checkout}" in done.stderr
    assert "demo" not in done.stdout + done.stderr
    assert len(list((tmp_path / "out" / "fooocus-outputs").iterdir())) == 6
    page = (tmp_path / "out" / f"{NAME}.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/') >= 6


def test_ctrl_c_in_the_middle_of_a_picture_leaves_nothing_running(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("fooocus-nb")
    child = subprocess.Popen(
        [command, "quickstart", "--output", tmp_path / "out"],
        env=os.environ | {"FOOOCUS_DEMO_STEP_SECONDS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in child.stderr:
        if "The first image" in line:
            break
    started = psutil.Process(child.pid).children(recursive=True)
    assert len(started) >= 3, started  # the kernel, the guardian and the engine
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does
    _, error = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "fooocus-nb: interrupted" in error
    assert "Traceback" not in error
    assert not psutil.wait_procs(started, timeout=30)[1]
    assert "is ready as" in (tmp_path / "out" / f"{NAME}.ipynb").read_text(encoding="utf-8")


def test_the_notebook_is_committed_without_outputs() -> None:
    document = nbformat.read(find_notebook(), as_version=4)
    nbformat.validate(document)
    for cell in document.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_a_failing_cell_is_told_and_the_rest_is_kept(tmp_path: Path) -> None:
    source = write_notebook(
        tmp_path / "tour.ipynb",
        "# First",
        "print('this ran')",
        "## Then it breaks",
        "raise ValueError('the cause')",
        "print('never')",
    )
    outcome = run_quickstart(tmp_path / "out", notebook=source)
    assert outcome.failure == "Code cell 2 (Then it breaks) failed.\nValueError: the cause"
    assert printed(outcome.notebook) == "this ran\n"
    page = outcome.page.read_text(encoding="utf-8")
    assert "this ran" in page
    assert "the cause" in page


def test_a_kernel_that_dies_is_told(tmp_path: Path) -> None:
    source = write_notebook(tmp_path / "tour.ipynb", "# Suddenly", "import os; os._exit(3)")
    outcome = run_quickstart(tmp_path / "out", notebook=source)
    assert outcome.failure is not None
    assert outcome.failure.startswith("Code cell 1 (Suddenly) failed.\n")
    assert "died" in outcome.failure.lower()


def test_the_kernel_is_this_interpreter_in_the_output_folder(tmp_path: Path) -> None:
    source = write_notebook(
        tmp_path / "tour.ipynb",
        "import os, sys; print(sys.executable, os.getcwd(), os.environ.get('FOOOCUS_HOME'))",
    )
    outcome = run_quickstart(tmp_path / "out", notebook=source)
    assert printed(outcome.notebook) == f"{sys.executable} {tmp_path / 'out'} None\n"


def test_no_kernel_has_to_be_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr("jupyter_client.kernelspec.jupyter_path", lambda *_: [])
    monkeypatch.setattr("jupyter_client.kernelspec.KernelSpecManager.ensure_native_kernel", False)
    source = write_notebook(tmp_path / "tour.ipynb", "print('hello')")
    assert run_quickstart(tmp_path / "out", notebook=source).failure is None


def test_a_real_fooocus_reaches_the_kernel(tmp_path: Path) -> None:
    checkout, python = tmp_path / "Fooocus", tmp_path / "its python"
    source = write_notebook(
        tmp_path / "tour.ipynb",
        "import os; from fooocus_nb.engine.config import configuration\n"
        "print(os.environ['FOOOCUS_HOME'], configuration().python, sep='|')",
    )
    outcome = run_quickstart(
        tmp_path / "out", notebook=source, installation=Installation(checkout, "2.5.5", python)
    )
    assert outcome.failure is None
    assert printed(outcome.notebook) == f"{checkout}|{python}\n"


def test_progress_counts_the_cells(tmp_path: Path) -> None:
    source = write_notebook(tmp_path / "tour.ipynb", "# One", "1", "## Two", "2")
    seen: list[Progress] = []
    run_quickstart(tmp_path / "out", notebook=source, on_progress=seen.append)
    assert seen[0].title == "Starting the kernel"
    assert (seen[-1].done, seen[-1].total) == (2, 2)
    assert [now.elapsed for now in seen] == sorted(now.elapsed for now in seen)


def test_progress_repeats_what_the_running_cell_shows(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    source = write_notebook(
        tmp_path / "tour.ipynb",
        "import pathlib, time\n"
        "from IPython.display import display\n"
        "shown = display({'text/plain': 'begun'}, raw=True, display_id=True)\n"
        "shown.update({'text/plain': '[##--] 53% of it'}, raw=True)\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.02)",
    )

    def look(now: Progress) -> None:
        if now.detail == "53% of it":
            gate.touch()

    assert run_quickstart(tmp_path / "out", notebook=source, on_progress=look).failure is None


def test_ctrl_c_at_once_ends_it_before_a_kernel_is_there(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    source = write_notebook(
        tmp_path / "tour.ipynb", f"import time; open({str(proof)!r}, 'w'); time.sleep(60)"
    )

    def interrupt(now: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_quickstart(tmp_path / "out", notebook=source, on_progress=interrupt)
    assert not proof.exists()
    assert (tmp_path / "out" / "tour.ipynb").is_file()


def test_ctrl_c_while_the_kernel_starts_ends_it(tmp_path: Path) -> None:
    source = write_notebook(tmp_path / "tour.ipynb", "import time; time.sleep(60)")
    before = set(psutil.Process().children())
    started: set[psutil.Process] = set()

    def interrupt(now: Progress) -> None:
        started.update(set(psutil.Process().children()) - before)
        if started:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_quickstart(tmp_path / "out", notebook=source, on_progress=interrupt)
    assert len(started) == 1
    assert not any(process.is_running() for process in started)


def test_ctrl_c_ends_the_kernel_and_keeps_what_ran(tmp_path: Path) -> None:
    beacon = tmp_path / "beacon"
    source = write_notebook(
        tmp_path / "tour.ipynb",
        "print('this ran')",
        f"import os, pathlib, time; pathlib.Path({str(beacon)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)",
    )
    code = (
        "import sys; from pathlib import Path\n"
        "from fooocus_nb.cli.quickstart import run_quickstart\n"
        "run_quickstart(Path(sys.argv[1]), notebook=Path(sys.argv[2]))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out"), str(source)],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (beacon.exists() and beacon.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    kernel = int(beacon.read_text())
    child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=60)
    assert b"KeyboardInterrupt" in error
    assert b"pending" not in error
    assert printed(tmp_path / "out" / "tour.ipynb") == "this ran\n"
    with pytest.raises(ProcessLookupError):
        os.kill(kernel, 0)


def test_a_page_shows_no_live_widgets() -> None:
    cell = new_code_cell("monitor")
    cell.outputs = [
        nbformat.v4.new_output(
            "display_data",
            data={
                "application/vnd.jupyter.widget-view+json": {"model_id": "x", "version_major": 2},
                "text/html": "<b>static</b>",
            },
        )
    ]
    page = render_page(new_notebook(cells=[cell]))
    assert "<b>static</b>" in page
    assert "widget-view" not in page
