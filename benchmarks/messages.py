"""What the screen costs: bytes to the frontend and CPU of the kernel, beside naive ways."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._kernel import Cost, kernel
from benchmarks._table import Bound, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = 60
STEP_SECONDS = "0.12"
IMAGES = 100
LOG_LINES = 10_000
#: Less often than a log floods, more often than one is read.
LOG_SECONDS = 10
NAIVE_LINES = 2_000

START = """
%load_ext fooocus_nb
import fooocus_nb
engine = fooocus_nb.start(demo=True, output_dir={folder!r})
asked = dict(aspect_ratio="1152x896", steps={steps}, seed=7)
"""

OURS = """%%fooocus --aspect 1152x896 --steps {steps} --seed 7
a lighthouse at dusk"""

#: Each event redraws the cell, with the preview as the engine sent it.
NAIVE = """
import base64
from IPython.display import HTML, display
from fooocus_nb.fooocus.events import Preview
shown = display(HTML(""), display_id=True)
for event in engine.submit("a lighthouse at dusk", **asked):
    if isinstance(event, Preview):
        picture = base64.b64encode(event.data).decode()
        shown.update(HTML(f"<img src='data:image/png;base64,{picture}'>"))
"""


#: Another process writes the log, as an engine does; the kernel only looks on.
WRITER = """
import sys, time
path, lines, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
began = time.monotonic()
with open(path, "a", buffering=1) as log:
    for number in range(lines):
        log.write(f"[Fooocus] line {number} of a log that tells what an engine does now\\n")
        ahead = seconds * number / lines - (time.monotonic() - began)
        if ahead > 0.005:
            time.sleep(ahead)
"""

LOG_START = """
%load_ext fooocus_nb
import subprocess, sys, time
import fooocus_nb
from ipywidgets import Output
engine = fooocus_nb.start(demo=True, output_dir={folder!r})
view = engine.logs()
"""

#: A browser that has opened the view; without one nothing is read or sent.
LOOK_ON = "display(view)\nview._handle(view, dict(kind='open', viewer='x', epoch=0, end=0), [])"

WRITE = """
command = [sys.executable, "-c", {writer!r}, str(engine.log_path), "{lines}", "{seconds}"]
subprocess.run(command, check=True)
time.sleep(1)
"""

NAIVE_LOG = """
shown = Output()
display(shown)
for number in range({lines}):
    shown.append_stdout(f"[Fooocus] line {{number}} of a log that tells what an engine does now\\n")
"""


def log() -> tuple[Cost, Cost, Cost]:
    """Lines that an engine writes: the log view, the same unseen, and an Output widget."""
    with (
        tempfile.TemporaryDirectory() as folder,
        kernel(FOOOCUS_NB_DISPLAY="widget") as runner,
    ):
        runner.run(LOG_START.format(folder=folder))
        write = WRITE.format(writer=WRITER, lines=LOG_LINES, seconds=LOG_SECONDS)
        unseen = runner.run(write)
        runner.run(LOOK_ON)
        ours = runner.run(write)
        naive = runner.run(NAIVE_LOG.format(lines=NAIVE_LINES))
        runner.run("view.close()\nengine.stop()")
    return ours, unseen, naive


def generation(display: str) -> tuple[Cost, Cost]:
    """One image of 60 steps with previews: the monitor of a cell, and a redraw at each preview."""
    with (
        tempfile.TemporaryDirectory() as folder,
        kernel(FOOOCUS_DEMO_STEP_SECONDS=STEP_SECONDS, FOOOCUS_NB_DISPLAY=display) as runner,
    ):
        runner.run(START.format(folder=folder, steps=STEPS))
        ours = runner.run(OURS.format(steps=STEPS))
        naive = runner.run(NAIVE)
        runner.run("engine.stop()")
    return ours, naive


def saved_notebook() -> tuple[int, int]:
    """A notebook with 100 images: our outputs, and the originals as PNG."""
    import nbformat
    from nbclient import NotebookClient

    per_cell = 10
    prompts = [
        f"%%fooocus -n {per_cell} --steps 4 --seed {seed}\na harbour" for seed in range(0, 200, 20)
    ]
    with tempfile.TemporaryDirectory() as folder:
        cells = ["%load_ext fooocus_nb\n%fooocus start --demo", *prompts[: IMAGES // per_cell]]
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in cells]
        )
        client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}})
        client.execute(env=os.environ | {"FOOOCUS_DEMO_STEP_SECONDS": "0"})
        ours = len(json.dumps(notebook))
        files = [*(Path(folder) / "fooocus-outputs").glob("*.png")]
        naive = sum(path.stat().st_size * 4 // 3 for path in files)
        if len(files) != IMAGES:
            raise SystemExit(f"{len(files)} images in place of {IMAGES}")
    return ours, naive


def rows(quick: bool) -> Iterator[Row]:
    """Yield the log, a generation as widgets and as HTML, and a saved notebook."""
    del quick  # it takes a minute
    ours, unseen, naive = log()
    beside = "`Output.append_stdout`, of as many lines"
    share = LOG_LINES / NAIVE_LINES
    yield Row(
        f"a log of {LOG_LINES:,} lines in {LOG_SECONDS} s, in the log view", ours.bytes / 1e6, "MB",
        beside, naive.bytes / 1e6 * share, Bound("ratio", 0.01),
    )  # fmt: skip
    yield Row("the log view's CPU in the kernel", ours.cpu, "s", beside, naive.cpu * share)
    yield Row(
        "that log while nobody looks", unseen.bytes / 1e6, "MB", "the log view", ours.bytes / 1e6
    )
    beside = "a redraw at each preview"
    what = f"a generation of {STEPS} steps at 1152x896, previews as"
    for display, name, bound in (
        ("widget", "a widget", Bound("ratio", 0.25)),
        ("html", "display updates", Bound("ratio", 1.0)),
    ):
        mine, redrawn = generation(display)
        yield Row(f"{what} {name}", mine.bytes / 1e6, "MB", beside, redrawn.bytes / 1e6, bound)
        yield Row(
            f"the CPU in the kernel of previews as {name}", mine.cpu, "s", beside, redrawn.cpu
        )
    small, large = saved_notebook()
    yield Row(
        f"a saved notebook with {IMAGES} images", small / 1e6, "MB",
        "the originals as PNG in base64", large / 1e6, Bound("ratio", 0.05),
    )  # fmt: skip
