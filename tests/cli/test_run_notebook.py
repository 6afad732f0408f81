"""``fooocus-nb run``: a notebook executed as an experiment, and what it leaves."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import jsonschema
import nbformat
import pytest

import fooocus_nb
from fooocus_nb.cli.engine_options import add_engine_options, engine_source
from fooocus_nb.cli.notebook_run import MIME, Step, execute, parsed, prepared

NOTEBOOK = [
    ("parameters", "seed = 1\nfolder = 'runs/lighthouse'"),
    (
        "",
        "import fooocus_nb\n"
        "sweep = fooocus_nb.Sweep(prompt='a lighthouse', guidance_scale=[3, 5], seed=seed,\n"
        "    base={'width': 64, 'height': 64, 'steps': 1, 'image_number': 1})\n"
        "run = sweep.run(engine, folder, show=False)",
    ),
    ("", "print(len(run.images), 'images'); run.close()"),
]


@pytest.fixture
def write_notebook(tmp_path):
    def write(*more: str):
        cells = [(tag, source) for tag, source in (*NOTEBOOK, *(("", text) for text in more))]
        document = nbformat.v4.new_notebook(
            cells=[
                nbformat.v4.new_code_cell(source, metadata={"tags": [tag] if tag else []})
                for tag, source in cells
            ]
        )
        nbformat.write(document, tmp_path / "experiment.ipynb")
        return tmp_path / "experiment.ipynb"

    return write


def run_command(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fooocus_nb.cli", "run", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_it_executes_and_tells_what_was_made_also_where_a_cell_fails(write_notebook, tmp_path):
    notebook = write_notebook("raise RuntimeError('the last cell')")
    before = notebook.read_bytes()
    done = run_command(notebook, "-p", "seed", "9007199254740993", "--demo", "--json")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    schema = json.loads(run_command("--json-schema").stdout)
    jsonschema.validate(document, schema)
    assert "RuntimeError: the last cell" in document["error"]["message"]
    assert document["parameters"] == {"seed": "9007199254740993"}
    (told,) = document["runs"]
    assert (told["path"], told["images"], told["counts"]["made"]) == ("runs/lighthouse", 2, 2)
    assert notebook.read_bytes() == before
    executed = nbformat.read(tmp_path / "experiment-executed.ipynb", as_version=4)
    tags = [tag for cell in executed.cells for tag in cell.metadata.get("tags", [])]
    assert {"injected-engine", "injected-parameters", "fooocus-provenance"} <= set(tags)
    (output,) = executed.cells[-1].outputs
    assert output.data[MIME]["runs"] == document["runs"]
    assert {image["seed"] for image in told["listed"]} == {"9007199254740993"}
    # After nbstripout, the run's folder has all of it.
    executed_file = tmp_path / "experiment-executed.ipynb"
    subprocess.run([sys.executable, "-m", "nbstripout", executed_file], check=True, timeout=120)
    assert not nbformat.read(executed_file, as_version=4).cells[-1].outputs
    run = fooocus_nb.open_run(tmp_path / "runs" / "lighthouse", readonly=True)
    assert [image.sha256 for image in run.images] == [image["sha256"] for image in told["listed"]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-p", "sed", "3"], "Did you mean 'seed'"),
        (["--cwd", "no/such"], "no folder"),
        (["experiment.ipynb"], "stays as it is"),
        (["--cell-timeout", "0"], "--cell-timeout"),
        (["--cell-timeout", "99999999999"], "--cell-timeout=99999999999 is not possible"),
        (["--demo", "--timeout", "nan"], "--timeout: SECONDS=nan is not possible"),
        (["--demo", "--timeout", "soon"], "--timeout: SECONDS='soon' is not possible"),
    ],
)
def test_what_is_wrong_is_told_before_anything_starts(
    write_notebook, tmp_path, monkeypatch, capsys, words, told
):
    from fooocus_nb.cli import main

    monkeypatch.chdir(tmp_path)
    write_notebook()
    assert main(["run", "experiment.ipynb", *words]) == 2
    assert told in capsys.readouterr().err


def test_values_are_read_as_what_they_are():
    found = [parsed(text) for text in ("3", "3.5", "true", "None", "[1, 2]", "a b", "NaN", "1..4")]
    assert found == [3, 3.5, True, None, [1, 2], "a b", "NaN", "1..4"]


def test_a_password_is_never_in_the_notebook(monkeypatch):
    parser = argparse.ArgumentParser()
    add_engine_options(parser)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "secret")
    monkeypatch.setattr("fooocus_nb.cli.engine_options._has_terminal", lambda: True)
    options = parser.parse_args(["--url", "http://box:7865", "--auth", "alice"])
    source, env = engine_source(options)
    assert "secret" not in source
    assert env == {"FOOOCUS_NB_AUTH": "alice:secret"}
    assert "connect('http://box:7865', auth=os.environ['FOOOCUS_NB_AUTH'])" in source
    assert engine_source(parser.parse_args([])) == ("", {})


def test_an_endless_start_is_written_as_python_reads_it():
    parser = argparse.ArgumentParser()
    add_engine_options(parser)
    source, _ = engine_source(parser.parse_args(["--demo", "--timeout", "inf"]))
    assert "timeout=float('inf')" in source
    compile(source, "cell", "exec")


def test_an_interrupt_before_the_kernel_ends_it_with_the_last_output_or_an_unexecuted_one(tmp_path):
    proof = tmp_path / "ran"
    cell = nbformat.v4.new_code_cell(f"import time; open({str(proof)!r}, 'w'); time.sleep(60)")
    source = tmp_path / "long.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), source)
    plan = prepared(str(source), None, [], None, None)
    plan.output.write_text("of the execution before")

    def interrupt(step: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(plan, "", interrupt, {})
    assert not proof.exists()
    left = plan.output.read_text()
    if left != "of the execution before":  # papermill had begun, and its kernel had not
        code = [one for one in nbformat.reads(left, 4).cells if one.source == cell.source]
        assert [one.execution_count for one in code] == [None]
