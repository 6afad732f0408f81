"""Execute the quickstart notebook in a kernel of its own, and keep it as a notebook and a page."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb.cli.command import UsageError
from fooocus_nb.cli.executing import heading_above, kernel_manager, require_packages
from fooocus_nb.engine.folders import resolved
from fooocus_nb.errors import ConfigurationError
from fooocus_nb.fooocus.checkout.installation import find_installation

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbformat import NotebookNode

    from fooocus_nb.fooocus.checkout.installation import Installation

__all__ = [
    "Outcome",
    "Progress",
    "find_notebook",
    "installation_from",
    "run_quickstart",
]

NOTEBOOK = "01-quickstart.ipynb"
#: The first start of a real Fooocus downloads several GB within one cell. The engine itself gives
#: up much earlier when nothing moves; this only bounds what nobody foresaw.
CELL_TIMEOUT_SECONDS = 4 * 3600
KERNEL_START_SECONDS = 120
TICK_SECONDS = 0.1
DRAWN_BAR = re.compile(r"^\[[^\w\]]*\]\s*")
NEEDED = ("ipykernel", "nbclient", "nbconvert", "nbformat")
#: What the page shows of an output: the first of these. A widget needs a kernel.
SHOWN = ["text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown", "text/plain"]


@dataclass(frozen=True)
class Progress:
    """Where the execution is: code cells done and in all, what runs now and what that shows."""

    done: int
    total: int
    title: str
    elapsed: float
    detail: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a run left: its files, the folder of the images, and why it failed if it did."""

    notebook: Path
    page: Path
    images: Path
    elapsed: float
    failure: str | None


def find_notebook() -> Path:
    """Return the notebook's path: inside the wheel, or in the source tree."""
    package = Path(__file__).resolve().parents[1]
    places = (package / "notebooks" / NOTEBOOK, package.parent / "notebooks" / NOTEBOOK)
    for place in places:
        if place.is_file():
            return place
    looked = " nor ".join(map(str, places))
    msg = f"The quickstart notebook is missing: neither {looked} exists. Install fooocus-nb anew."
    raise ConfigurationError(msg)


def installation_from(
    path: str | os.PathLike[str] | None, python: str | os.PathLike[str] | None
) -> Installation | None:
    """Return the Fooocus that was given or that FOOOCUS_HOME names; None is the demo engine."""
    given = path or os.environ.get("FOOOCUS_HOME")
    if given:
        return find_installation(given, python=python)
    if python:
        msg = "--python names the interpreter of a Fooocus: say where that is with --path."
        raise UsageError(msg)
    return None


def run_quickstart(
    output: Path,
    *,
    installation: Installation | None = None,
    notebook: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Execute a notebook in the folder `output` and write it there, also when interrupted.

    `on_progress` is called about ten times a second, on the caller's thread.
    """
    require_packages(NEEDED, "The quickstart", "lab")
    import nbformat

    source = notebook or find_notebook()
    output = _writable(resolved(output, "--output"))
    kept = output / source.name
    began = time.monotonic()
    run = _Run(nbformat.read(source, as_version=4), output, installation)
    try:
        failure = run.execute(on_progress)
    finally:
        nbformat.write(run.document, kept)
        kept.with_suffix(".html").write_text(render_page(run.document), encoding="utf-8")
    elapsed = time.monotonic() - began
    return Outcome(kept, kept.with_suffix(".html"), output / "fooocus-outputs", elapsed, failure)


def _writable(folder: Path) -> Path:
    """Make the folder, and find out now, not after the run, whether it can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        reason = error.strerror or str(error)
        msg = f"Nothing can be written into {folder}: {reason}. Name another folder: --output DIR."
        raise ConfigurationError(msg) from error


class _Run:
    """One execution of one document."""

    def __init__(
        self, document: NotebookNode, folder: Path, installation: Installation | None
    ) -> None:
        from nbclient import NotebookClient

        self.document = document
        manager = kernel_manager()
        self._env = {name: text for name, text in os.environ.items() if name != "FOOOCUS_HOME"}
        # Below that, a kernel says things on the terminal that are nobody's business here.
        options = ["--log-level=CRITICAL"]
        if installation:
            self._env["FOOOCUS_HOME"] = str(installation.path)
            # There is no environment variable for the interpreter of Fooocus, only this setting.
            options.append(f"--Fooocus.python={installation.python}")
        self._code = [n for n, cell in enumerate(document.cells) if cell.cell_type == "code"]
        self._begun = 0
        self._task: asyncio.Task[object] | None = None
        self._cancelled = False
        self._client = NotebookClient(
            document,
            kernel_manager_class=manager,
            extra_arguments=options,
            startup_timeout=KERNEL_START_SECONDS,
            timeout=CELL_TIMEOUT_SECONDS,
            store_widget_state=False,  # a page without a kernel has no use for live widgets
            resources={"metadata": {"path": str(folder)}},
            on_cell_execute=self._cell_begins,
        )

    def execute(self, on_progress: Callable[[Progress], None]) -> str | None:
        """Run every cell; return why it failed, or None."""
        began = time.monotonic()
        # nbclient handles SIGINT itself where it runs in the main thread, and an interrupt then
        # looks like a dead kernel. In another thread the interrupt is the caller's.
        with concurrent.futures.ThreadPoolExecutor(1, "fooocus-nb-quickstart") as pool:
            future = pool.submit(asyncio.run, self._execute())
            try:
                while not future.done():
                    on_progress(self._progress(time.monotonic() - began))
                    concurrent.futures.wait([future], timeout=TICK_SECONDS)
            finally:
                if not future.done():
                    self._cancel()
        failure = self._failure(future.exception())
        done = self._begun if failure is None else max(self._begun - 1, 0)
        elapsed = time.monotonic() - began
        on_progress(Progress(done, len(self._code), "Writing the page", elapsed))
        return failure

    async def _execute(self) -> None:
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._client.async_execute(env=self._env))
        if self._cancelled:
            self._task.cancel()
        try:
            await self._task
        finally:
            await self._end_kernel()

    async def _end_kernel(self) -> None:
        """End a kernel that is still there: nbclient leaves one whose start was cancelled."""
        from jupyter_core.utils import ensure_async

        manager = self._client.km
        if manager is not None and manager.has_kernel:
            await ensure_async(manager.shutdown_kernel(now=True))

    def _cancel(self) -> None:
        """End the execution, from the caller's thread; also one that is only about to begin."""
        # Noted before the look at the task: then either this or the other thread cancels it.
        self._cancelled = True
        if self._task is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it has just ended
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def _cell_begins(self, cell: NotebookNode, cell_index: int) -> None:
        self._begun += cell.cell_type == "code"

    def _progress(self, elapsed: float) -> Progress:
        total = len(self._code)
        if not self._begun:
            return Progress(0, total, "Starting the kernel", elapsed)
        place = self._code[self._begun - 1]
        detail = _last_line(self.document.cells[place])
        return Progress(self._begun - 1, total, self._title(place), elapsed, detail)

    def _title(self, place: int) -> str:
        return heading_above(self.document.cells, place) or "Quickstart"

    def _failure(self, error: BaseException | None) -> str | None:
        """Return why the run failed, in words that can stand alone on a screen."""
        from nbclient.exceptions import CellExecutionError

        if error is None:
            return None
        if isinstance(error, CellExecutionError):
            cause = f"{error.ename}: {error.evalue}"
        else:
            cause = str(error).strip() or type(error).__name__
        if not self._begun:
            return f"The kernel could not be started ({sys.executable}): {cause}"
        title = self._title(self._code[self._begun - 1])
        return f"Code cell {self._begun} ({title}) failed.\n{cause}"


def _last_line(cell: NotebookNode) -> str:
    """Return the first line of what a cell displayed last, without a bar of its own."""
    for output in reversed(list(cell.outputs)):
        text = str(output.get("data", {}).get("text/plain", "")).strip()
        if text:
            return DRAWN_BAR.sub("", text.splitlines()[0])
    return ""


def render_page(document: NotebookNode) -> str:
    """Return the notebook as one HTML page with its images inside and no script."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    exporter = HTMLExporter(
        raw_template=Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8"),
        embed_images=True,
        exclude_anchor_links=True,
        config=Config({"NbConvertBase": {"display_data_priority": SHOWN}}),
    )
    resources = {"metadata": {"name": document.metadata.get("title", "Quickstart")}}
    page, _ = exporter.from_notebook_node(document, resources)
    return str(page)
