"""Execute the quickstart notebook in a real kernel, and keep it as a notebook and as a page."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import re
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ConfigurationError
from fooocus_nb.fooocus.checkout.installation import find_installation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbclient import NotebookClient
    from nbformat import NotebookNode

    from fooocus_nb.fooocus.checkout.installation import Installation

__all__ = ["Outcome", "Progress", "find_notebook", "installation_from", "run_quickstart"]

NOTEBOOK = "01-quickstart.ipynb"
#: The first start of a real Fooocus downloads several GB within one cell. The engine itself gives
#: up much earlier when nothing moves; this only bounds what nobody foresaw.
CELL_TIMEOUT_SECONDS = 4 * 3600
KERNEL_START_SECONDS = 120
SHUTDOWN_SECONDS = 60.0
TICK_SECONDS = 0.1
DRAWN_BAR = re.compile(r"^\[[^\w\]]*\]\s*")
NEEDED = ("ipykernel", "nbclient", "nbconvert", "nbformat")


@dataclass(frozen=True)
class Progress:
    """Where the execution of the notebook is.

    Attributes
    ----------
    done, total : int
        Code cells that have run, and code cells in all.
    title : str
        The heading that the running cell stands under.
    elapsed : float
        Seconds since the kernel was asked to start.
    detail : str
        What the running cell shows at this moment, such as a download or a step; or empty.
    """

    done: int
    total: int
    title: str
    elapsed: float
    detail: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a run of the notebook left.

    Attributes
    ----------
    notebook, page : Path
        The executed notebook and its HTML page. Both exist also when a cell failed.
    images : Path
        The folder of the original images; it does not exist when none was made.
    elapsed : float
        Seconds that the run took.
    failure : str or None
        Why it did not reach its end; None when every cell ran.
    """

    notebook: Path
    page: Path
    images: Path
    elapsed: float
    failure: str | None


def find_notebook() -> Path:
    """Return the notebook's path: inside the wheel, or in the source tree.

    Returns
    -------
    Path
        An existing file.

    Raises
    ------
    ConfigurationError
        When it is in neither place.
    """
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
    """Return the Fooocus that the quickstart runs on; None stands for the demo engine.

    Parameters
    ----------
    path : path-like or None
        The checkout that the user gave. None looks at ``FOOOCUS_HOME``.
    python : path-like or None
        The interpreter that Fooocus is installed in, where it was given.

    Returns
    -------
    Installation or None
        A checkout that can be started, or None when none is given anywhere.

    Raises
    ------
    InstallError
        When the folder holds no usable Fooocus.
    ConfigurationError
        When an interpreter is given, but no checkout.
    """
    given = path or os.environ.get("FOOOCUS_HOME")
    if given:
        return find_installation(Path(given).expanduser().resolve(), python=python)
    if python:
        msg = "--python names the interpreter of a Fooocus: say where that is with --path."
        raise ConfigurationError(msg)
    return None


def run_quickstart(
    output: Path,
    *,
    installation: Installation | None = None,
    notebook: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Execute the quickstart notebook and write what came out.

    The kernel runs in the interpreter that runs this, so no kernel has to be registered, and in
    the folder `output`, so the images land there too.

    Parameters
    ----------
    output : Path
        The folder to write into; it is made where it does not exist.
    installation : Installation, optional
        The Fooocus to run on. By default the bundled demo engine.
    notebook : Path, optional
        Another notebook to execute.
    on_progress : callable, optional
        Called about ten times a second, on the caller's thread.

    Returns
    -------
    Outcome
        The files, and whether every cell ran.

    Raises
    ------
    ConfigurationError
        When the packages that execute notebooks are not installed, or `output` cannot be written.
    KeyboardInterrupt
        When interrupted; what has run so far is written first.
    """
    require_notebook_tools()
    import nbformat

    source = notebook or find_notebook()
    output = _writable(output.expanduser().resolve())
    began = time.monotonic()
    document = nbformat.read(source, as_version=4)
    run = _Run(document, output, installation)
    try:
        failure = run.execute(on_progress or (lambda progress: None))
    finally:
        kept = output / source.name
        page = kept.with_suffix(".html")
        nbformat.write(document, kept)
        page.write_text(render_page(document), encoding="utf-8")
    return Outcome(
        notebook=kept,
        page=page,
        images=output / "fooocus-outputs",
        elapsed=time.monotonic() - began,
        failure=failure,
    )


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


def require_notebook_tools() -> None:
    """Raise where the packages that execute notebooks are not installed.

    Raises
    ------
    ConfigurationError
        Names what is missing and how to install it.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        msg = (
            f"The quickstart needs {', '.join(missing)} to execute a notebook.\n"
            'Install them: python -m pip install "fooocus-nb[lab]"'
        )
        raise ConfigurationError(msg)


class _Run:
    """One execution of one document, in a thread of its own.

    nbclient installs its own handlers of SIGINT and SIGTERM where it runs in the main thread, and
    an interrupt then looks like a dead kernel. Away from there, the interrupt is the caller's.
    """

    def __init__(
        self, document: NotebookNode, folder: Path, installation: Installation | None
    ) -> None:
        self._document = document
        self._installation = installation
        self._code_cells = [cell for cell in document.cells if cell.cell_type == "code"]
        self._titles = _titles(document)
        self._running = -1
        self._done = 0
        self._client = _make_client(document, folder, installation)
        self._client.on_cell_execute = self._cell_begins
        self._client.on_cell_executed = self._cell_ended

    def execute(self, on_progress: Callable[[Progress], None]) -> str | None:
        """Run every cell; return why it failed, or None."""
        future: concurrent.futures.Future[None] = concurrent.futures.Future()
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._execute())
        thread = threading.Thread(
            target=_drive, args=(loop, task, future), name="fooocus-nb-quickstart", daemon=True
        )
        began = time.monotonic()
        thread.start()
        try:
            while not future.done():
                on_progress(self._progress(time.monotonic() - began))
                concurrent.futures.wait([future], timeout=TICK_SECONDS)
        finally:
            if not future.done():
                loop.call_soon_threadsafe(task.cancel)
            thread.join(SHUTDOWN_SECONDS)
        on_progress(self._progress(time.monotonic() - began))
        return self._failure(future.exception(timeout=0))

    async def _execute(self) -> None:
        await self._client.async_execute(env=_environment(os.environ, self._installation))

    def _cell_begins(self, cell: NotebookNode, cell_index: int) -> None:
        self._running = cell_index

    def _cell_ended(
        self, cell: NotebookNode, cell_index: int, execute_reply: dict[str, object]
    ) -> None:
        self._done += 1

    def _progress(self, elapsed: float) -> Progress:
        total = len(self._code_cells)
        if self._running < 0:
            return Progress(0, total, "Starting the kernel", elapsed)
        detail = _last_words(self._document.cells[self._running])
        return Progress(self._done, total, self._titles[self._running], elapsed, detail)

    def _failure(self, error: BaseException | None) -> str | None:
        """Return why the run failed, in words that can stand alone on a screen."""
        from nbclient.exceptions import CellExecutionError

        if error is None:
            return None
        if isinstance(error, CellExecutionError):
            cause = f"{error.ename}: {error.evalue}"
        else:
            cause = str(error).strip() or type(error).__name__
        if self._running < 0:
            return f"The kernel could not be started ({sys.executable}): {cause}"
        number = self._code_cells.index(self._document.cells[self._running]) + 1
        return f"Code cell {number} ({self._titles[self._running]}) failed.\n{cause}"


def _drive(
    loop: asyncio.AbstractEventLoop,
    task: asyncio.Task[None],
    future: concurrent.futures.Future[None],
) -> None:
    """Run the task to its end on this thread, and hand its outcome over."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(task)
    except BaseException as error:  # noqa: BLE001 - the caller's thread judges it
        future.set_exception(error)
    else:
        future.set_result(None)
    finally:
        pending = asyncio.all_tasks(loop)  # nbclient leaves its watch of the kernel behind
        for left in pending:
            left.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _make_client(
    document: NotebookNode, folder: Path, installation: Installation | None
) -> NotebookClient:
    from nbclient import NotebookClient

    return NotebookClient(
        document,
        kernel_manager_class=_own_kernel_manager(_kernel_options(installation)),
        kernel_name="python3",
        startup_timeout=KERNEL_START_SECONDS,
        timeout=CELL_TIMEOUT_SECONDS,
        store_widget_state=False,  # a page without a kernel has no use for live widgets
        resources={"metadata": {"path": str(folder)}},
    )


def _own_kernel_manager(options: tuple[str, ...]) -> type[Any]:
    """Return a kernel manager for the interpreter that runs this, registered or not."""
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import default

    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", *options]

    class OwnSpecs(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(argv=argv, display_name="Python 3", language="python")

    class OwnKernelManager(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return OwnSpecs(parent=self)

    return OwnKernelManager


def _kernel_options(installation: Installation | None) -> tuple[str, ...]:
    # Below that, a kernel says things on the terminal that are nobody's business here.
    quiet = "--log-level=CRITICAL"
    # There is no environment variable for the interpreter of Fooocus; a trait is its one home.
    return (quiet, f"--Fooocus.python={installation.python}") if installation else (quiet,)


def _environment(environ: Mapping[str, str], installation: Installation | None) -> dict[str, str]:
    env = {name: value for name, value in environ.items() if name != "FOOOCUS_HOME"}
    if installation:
        env["FOOOCUS_HOME"] = str(installation.path)
    return env


def _last_words(cell: NotebookNode) -> str:
    """Return the first line of what a cell displayed last, without a bar of its own."""
    for output in reversed(list(cell.outputs)):
        text = str(output.get("data", {}).get("text/plain", "")).strip()
        if text:
            return DRAWN_BAR.sub("", text.splitlines()[0])
    return ""


def _titles(document: NotebookNode) -> list[str]:
    """Return, for each cell, the last heading above it."""
    titles = []
    title = "Quickstart"
    for cell in document.cells:
        if cell.cell_type == "markdown":
            headings = [line for line in cell.source.splitlines() if line.startswith("#")]
            title = headings[-1].lstrip("#").strip() if headings else title
        titles.append(title)
    return titles


#: nbconvert's page loads scripts from four foreign hosts. Nothing here needs them, and a page that
#: needs no network still shows in ten years.
PAGE_TEMPLATE = """\
{%- extends 'lab/index.html.j2' -%}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
{% block html_head_css %}
<style type="text/css">
body.jp-Notebook { margin: 0; padding: 0; background: var(--jp-layout-color1); }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
.jp-InputPrompt, .jp-OutputPrompt { display: none; }
.jp-Cell { padding: 0; margin-top: .7rem; }
.jp-MarkdownCell { margin-top: 2rem; }
.jp-RenderedMarkdown.jp-MarkdownOutput { padding: 0; font-size: 1rem; line-height: 1.55; }
.jp-InputArea-editor { border-radius: 6px; }
.cm-editor.cm-s-jupyter .highlight pre {
  padding: .55rem .8rem; line-height: 1.5; overflow-x: auto;
}
.jp-OutputArea { margin-top: .6rem; }
.jp-OutputArea-output { overflow-x: auto; padding: 0; }
.jp-OutputArea-output.jp-RenderedText { padding: 0 .8rem; }
.jp-OutputArea-output img { max-width: 100%; height: auto; }
</style>
{% endblock %}
"""


def render_page(document: NotebookNode) -> str:
    """Return the notebook as one HTML page with its images inside and no script.

    Parameters
    ----------
    document : NotebookNode
        The executed notebook.

    Returns
    -------
    str
        A whole page.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        raw_template=PAGE_TEMPLATE, embed_images=True, exclude_anchor_links=True
    )
    exporter.register_preprocessor(_without_widgets, enabled=True)
    resources = {"metadata": {"name": document.metadata.get("title", "Quickstart")}}
    page, _ = exporter.from_notebook_node(document, resources)
    return str(page)


def _without_widgets(
    document: NotebookNode, resources: dict[str, Any]
) -> tuple[NotebookNode, dict[str, Any]]:
    for cell in document.cells:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    return document, resources
