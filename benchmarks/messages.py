"""What the screen costs: bytes to the frontend and CPU of the kernel, beside naive ways.

Run it with ``python benchmarks/messages.py``. It needs the extra ``lab``; it ends by itself in
about a minute.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from _kernel import Cost, kernel

STEPS = 60
STEP_SECONDS = "0.12"
IMAGES = 100

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


def generation() -> tuple[Cost, Cost]:
    """One image of 60 steps with previews: the monitor of a cell, and a redraw at each preview."""
    with (
        tempfile.TemporaryDirectory() as folder,
        kernel(FOOOCUS_DEMO_STEP_SECONDS=STEP_SECONDS) as runner,
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
    prompts = [f"%%fooocus -n {per_cell} --seed {seed}\na harbour" for seed in range(0, 200, 20)]
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


def main() -> None:
    """Print both tables."""
    ours, naive = generation()
    print(f"A generation of {STEPS} steps with previews at 1152x896")
    print(f"  monitor of a cell        {ours}")
    print(f"  redraw at each preview   {naive}")
    print(f"  ratio                    {ours.bytes / naive.bytes:.3f} of the bytes")
    small, large = saved_notebook()
    print(f"A saved notebook with {IMAGES} images")
    print(f"  our outputs              {small / 1e6:8.2f} MB")
    print(f"  the originals in base64  {large / 1e6:8.2f} MB")
    print(f"  ratio                    {small / large:.3f}")


if __name__ == "__main__":
    main()
