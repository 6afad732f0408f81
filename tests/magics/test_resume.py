"""What a notebook had asked for when its kernel was killed: shown, awaited or sent by the next."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import PIL.Image
import pytest

from fooocus_nb.magics.saved_notebook import SavedNotebook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHOWN = re.compile(r'data-sha256="([0-9a-f]{64})"')
START = "%load_ext fooocus_nb\n%fooocus start --demo --keep"
SMALL = "--size 64x64 --steps 6"


@pytest.fixture
def folder(short_folder: Path) -> Iterator[Path]:
    """Where a notebook is; all engines that it has started end with the test."""
    yield short_folder
    subprocess.run(
        [sys.executable, "-m", "fooocus_nb.cli", "stop", "--all"],
        env=os.environ | _places(short_folder),
        check=True,
        timeout=60,
        stdout=subprocess.DEVNULL,
    )


def _places(folder: Path) -> dict[str, str]:
    return {
        "FOOOCUS_DEMO_STEP_SECONDS": "0.05",
        "FOOOCUS_NB_DISPLAY": "html",
        "FOOOCUS_NB_RUNTIME_DIR": str(folder / "run"),
        "JPY_SESSION_NAME": str(folder / "a.ipynb"),
        "XDG_STATE_HOME": str(folder / "state"),
    }


@pytest.fixture
def notebook(folder: Path, kernel_in: Callable[..., Any]) -> Any:
    """A kernel of that notebook, with a kept engine that needs a moment for each step."""
    opened = kernel_in(folder, **_places(folder))
    opened.run(START)
    return opened


def kill_in(notebook: Any, code: str, when: Callable[[], bool]) -> None:
    """Kill the kernel while it runs a cell, as soon as something is true; start another one."""
    notebook.client.execute(code)
    deadline = time.monotonic() + 60
    while not when():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.01)
    notebook.kill()


def shown_in(cell: Any) -> list[str]:
    """Return the SHA-256 of the images that a cell shows, in order."""
    return [
        found for bundle in cell.bundles for found in SHOWN.findall(bundle.get("text/html", ""))
    ]


def made_in(folder: Path) -> list[str]:
    """Return the SHA-256 of what was copied, oldest first."""
    found = sorted(
        (folder / "fooocus-outputs").glob("*.png"), key=lambda path: path.stat().st_mtime_ns
    )
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in found]


def seeds_sent(notebook: Any) -> list[int]:
    """Return the seed of each generation that the engine has begun with."""
    log = notebook.value("fooocus_nb.current().tail(5000)")
    return [int(line.rpartition("=")[2]) for line in log if "[Parameters] Seed =" in line]


def save(folder: Path, *outputs: str, count: int | None = None, cell: str = "x") -> None:
    """Save the notebook with one cell that shows this."""
    data = [{"output_type": "display_data", "data": {"text/html": html}} for html in outputs]
    cells = [{"id": cell, "cell_type": "code", "execution_count": count, "outputs": data}]
    (folder / "a.ipynb").write_text(json.dumps({"cells": cells}))


MIRROR = "https://me:sesame-4711@host"


def test_no_secret_of_the_flags_is_written_down_for_the_next_kernel(folder, kernel_in) -> None:
    notebook = kernel_in(folder, **_places(folder))
    notebook.run(f"{START} -- --hf-mirror {MIRROR}")
    notebook.run(f"%fooocus --seed 1 -n 1 {SMALL} a cat")
    kept = [path for path in folder.rglob("*.json") if path.is_file()]
    assert any(path.name.startswith("engine-") for path in kept)
    assert not [path for path in kept if "sesame-4711" in path.read_text()]
    # Where a kernel of an earlier version has written them, too.
    assert list((folder / "state" / "fooocus-nb" / "asked").glob("*/*.json"))


@pytest.mark.slow
def test_who_knows_the_secret_resumes_and_others_are_told(folder, kernel_in) -> None:
    notebook = kernel_in(folder, **_places(folder))
    notebook.run(f"{START} -- --hf-mirror {MIRROR}")
    kill_in(
        notebook,
        f"%%fooocus --seed 10 -n 2 {SMALL}\na dog",
        lambda: len(list((folder / "fooocus-outputs").glob("*.png"))) == 1,
    )
    notebook.run("%load_ext fooocus_nb")
    assert "start it as the notebook did" in notebook.run("%fooocus resume", fails=True).error
    notebook.run(f"%fooocus start --demo --keep -- --hf-mirror {MIRROR}")
    assert len(shown_in(notebook.run("%fooocus resume"))) == 2


def test_what_was_never_sent_and_begins_with_an_image_is_sent_with_it(notebook, folder) -> None:
    PIL.Image.effect_noise((300, 300), 90).convert("RGB").save(folder / "photo.png")
    images, asked = folder / "fooocus-outputs", folder / "state" / "fooocus-nb" / "asked"
    kill_in(
        notebook,
        f"%%fooocus --seed 10 -n 1 --repeat 3 {SMALL} --image-prompt photo.png\na dog",
        lambda: len(list(images.glob("*.png"))) == 1,
    )
    # Kept as long as somebody may have to send them: one file for those that are alike.
    kept = [path.stat() for path in asked.glob("*/values-*")]
    assert kept
    assert len({status.st_ino for status in kept}) == 1
    assert {status.st_mode & 0o777 for status in kept} == {0o600}
    (folder / "photo.png").unlink()
    notebook.run("%load_ext fooocus_nb")
    cell = notebook.run("%fooocus resume -o found")
    notebook.run("import fooocus_nb")
    assert len(shown_in(cell)) == 3
    assert seeds_sent(notebook) == [10, 11, 12]
    assert list(asked.glob("*/values-*")) == []


@pytest.mark.slow
def test_what_has_ended_before_anybody_resumes_it_is_shown(notebook, folder) -> None:
    kill_in(
        notebook,
        f"%%fooocus --seed 10 -n 2 --repeat 1 {SMALL}\na dog",
        lambda: len(list((folder / "fooocus-outputs").glob("*.png"))) == 1,
    )
    save(folder)
    notebook.run(f"{START}\nimport fooocus_nb")
    notebook.run("fooocus_nb.current().found_jobs[0].result(60)")
    records = (folder / "state" / "fooocus-nb" / "asked").glob("*/[!e]*.json")
    assert [json.loads(path.read_text())["state"] for path in records] == ["done"]
    assert sorted(shown_in(notebook.run("%fooocus resume"))) == sorted(made_in(folder))
    assert seeds_sent(notebook) == [10]


SECRET = "sesame-4712"
WITH_ENV = (
    "%load_ext fooocus_nb\nimport fooocus_nb\nfooocus_nb.start(demo=True, lifetime='detached', "
    f"env={{'HF_TOKEN': '{SECRET}', 'FOOOCUS_DEMO_STEP_SECONDS': '0.06'}})"
)


@pytest.mark.slow
def test_an_engine_with_variables_of_its_own_is_attached_to_again(folder, kernel_in) -> None:
    notebook = kernel_in(folder, **_places(folder))
    notebook.run(WITH_ENV)
    kill_in(
        notebook,
        f"%%fooocus --seed 10 -n 1 --repeat 2 {SMALL}\na dog",
        lambda: len(list((folder / "fooocus-outputs").glob("*.png"))) == 1,
    )
    # Their values are kept nowhere but in the engine.
    kept = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]
    notebook.run("%load_ext fooocus_nb")
    assert len(shown_in(notebook.run("%fooocus resume"))) == 2
    notebook.run("import fooocus_nb")
    assert seeds_sent(notebook) == [10, 11]


def test_generations_of_a_killed_kernel_are_shown_once_and_made_once(notebook, folder) -> None:
    before = notebook.run(f"%fooocus --seed 1 -n 1 {SMALL} a cat")
    save(folder, *[bundle["text/html"] for bundle in before.bundles])
    images = folder / "fooocus-outputs"
    kill_in(
        notebook,
        f"%%fooocus --seed 10 -n 2 --repeat 2 {SMALL}\na dog",
        lambda: len(list(images.glob("*.png"))) == 2,
    )
    # A kernel that knows nothing attaches to the engine, finds one, and sends the other.
    notebook.run("%load_ext fooocus_nb")
    cell = notebook.run("%fooocus resume -o found")
    notebook.run("import fooocus_nb")
    assert notebook.value("[image.seed for image in found]") == [10, 11, 12, 13]
    assert notebook.value("[image.sha256 for image in found]") == shown_in(cell)
    assert len(shown_in(cell)) == 4
    assert sorted(shown_in(before) + shown_in(cell)) == sorted(made_in(folder))
    assert seeds_sent(notebook) == [1, 10, 12]
    # Once the notebook is saved with it, there is nothing left; before, all of it is shown again.
    assert shown_in(notebook.run("%fooocus resume")) == shown_in(cell)
    html = [bundle["text/html"] for bundle in (*before.bundles, *cell.bundles)]
    save(folder, *html)
    again = notebook.run("%fooocus resume")
    assert "Nothing to resume" in again.text
    assert len(shown_in(notebook.run("%fooocus resume --all"))) == 5


@pytest.mark.slow
def test_a_sweep_of_a_killed_kernel_goes_on(notebook, folder) -> None:
    images = folder / "a run" / "images"
    kill_in(
        notebook,
        f"%%fooocus --sweep seed=1..4 -n 1 {SMALL} --run 'a run' -o run\na cat",
        lambda: images.is_dir() and len(list(images.glob("*.png"))) == 1,
    )
    # Whoever starts the engine first, as the notebook did, gets the same.
    notebook.run(START)
    cell = notebook.run("%fooocus resume")
    notebook.run("import fooocus_nb; run = fooocus_nb.open_run('a run')")
    assert notebook.value("run.counts")["made"] == 4
    assert "4 of 4 made" in cell.shown
    assert sorted(seeds_sent(notebook)) == [1, 2, 3, 4]
    assert notebook.value("sorted(image.seed for image in run.images)") == [1, 2, 3, 4]


@pytest.mark.slow
def test_what_was_stopped_is_not_made_by_a_resumption(notebook, folder) -> None:
    images = folder / "fooocus-outputs"
    done = notebook.interrupt_when(lambda _message: len(list(images.glob("*.png"))) == 1)
    stopped = notebook.run(
        f"%%fooocus --seed 10 -n 2 --repeat 2 {SMALL}\na dog", hook=done, fails=True
    )
    notebook.kill()
    notebook.run("%load_ext fooocus_nb")
    # The notebook was saved before, so what it has finished is shown here; the rest is not made.
    save(folder)
    cell = notebook.run("%fooocus resume")
    notebook.run("import fooocus_nb")
    made = made_in(folder)
    assert shown_in(stopped) == shown_in(cell) == made
    assert len(made) < 4
    assert not re.search(r"raise|Error", cell.error)


@pytest.mark.slow
def test_what_the_engine_has_not_begun_with_is_sent_again(notebook, folder, kernel_in) -> None:
    """Another kernel's long generation comes first; the engine's own queue holds ours."""
    other = kernel_in(folder, **_places(folder))
    other.run(f"{START}\nimport fooocus_nb\njob = fooocus_nb.current().submit("
              "'a cat', seed=1, image_number=20, steps=6, width=64, height=64)")  # fmt: skip
    other.wait_for("job.snapshot().step")
    code = f"%%fooocus --seed 10 -n 1 {SMALL}\na dog"
    run = folder / "run"
    kill_in(notebook, code, lambda: len(list(run.glob("run-*/job-*.json"))) == 2)
    other.run("job.stop()")
    notebook.run("%load_ext fooocus_nb")
    cell = notebook.run("%fooocus resume")
    notebook.run("import fooocus_nb")
    assert len(shown_in(cell)) == 1
    assert seeds_sent(notebook).count(10) == 1


def test_a_saved_notebook_tells_what_was_seen_to_its_end(folder) -> None:
    assert SavedNotebook.read(str(folder / "none.ipynb")) is None
    (folder / "a.ipynb").write_text("{")
    assert SavedNotebook.read(str(folder / "a.ipynb")) is None
    save(folder, f'<figure data-sha256="{"a" * 64}">', count=7)
    saved = SavedNotebook.read(str(folder / "a.ipynb"))
    assert saved is not None
    assert (saved.counts, saved.images) == ({"x": 7}, {"a" * 64})
