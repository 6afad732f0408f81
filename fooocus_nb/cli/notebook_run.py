"""Execute a notebook as an experiment: with parameters and an engine, and with its provenance."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import difflib
import hashlib
import html
import json
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.cli.command import UsageError
from fooocus_nb.cli.executing import heading_above, kernel_manager, require_packages
from fooocus_nb.engine.config import checked_seconds
from fooocus_nb.engine.folders import resolved
from fooocus_nb.errors import ConfigurationError, FooocusError
from fooocus_nb.experiment.opened import OPENED_VARIABLE, opened_runs
from fooocus_nb.fooocus.whole_files import writing_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbformat import NotebookNode

    from fooocus_nb.experiment.run import Run

__all__ = ["MIME", "NotebookPlan", "Step", "execute", "prepared"]

NEEDED = ("papermill", "ipykernel", "nbformat")
#: What the last cell's output has of each run, for programs.
MIME = "application/vnd.fooocus-nb.provenance+json"
NAME = "fooocus-nb"
KERNEL_START_SECONDS = 120
#: How long a notebook that was interrupted has to end what it does.
INTERRUPT_SECONDS = 30.0
TICK_SECONDS = 0.1
#: A notebook stays small, whatever it has made: the run's folder has all.
MAX_LISTED_IMAGES = 1000
MAX_LISTED_RUNS = 20
_PROVENANCE_SOURCE = "# Added by `fooocus-nb run`: which runs this notebook has written, and how."


@dataclass(frozen=True)
class Step:
    """Where the execution is: code cells done and in all, and what runs now."""

    done: int
    total: int
    title: str


@dataclass(frozen=True)
class NotebookPlan:
    """What is executed, with what, and where to."""

    source: Path
    output: Path
    folder: Path
    parameters: Mapping[str, Any]
    #: Whole seconds: nbclient takes no others.
    cell_timeout: int | None = None

    def as_data(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return {
            "notebook": str(self.source),
            "executed": str(self.output),
            "parameters": {
                # As everywhere, since JavaScript would round it.
                name: str(value) if isinstance(value, int) and abs(value) > 2**53 else value
                for name, value in self.parameters.items()
            },
            "cells": 0,
            "runs": [],
        }


def prepared(
    notebook: str,
    output: str | None,
    given: Sequence[Sequence[str]],
    folder: str | None,
    cell_timeout: int | None,
) -> NotebookPlan:
    """Check what was given, before anything is started.

    Raises a UsageError for what is wrong in it, a ConfigurationError where papermill is missing.
    """
    require_packages(NEEDED, "`fooocus-nb run`", "run")
    source = resolved(notebook, "NOTEBOOK")
    if not source.is_file():
        msg = f"There is no notebook {source}."
        raise UsageError(msg)
    target = (
        resolved(output, "OUTPUT")
        if output is not None
        else source.with_name(f"{source.stem}-executed.ipynb")
    )
    if target == source:
        msg = (
            f"OUTPUT is the notebook itself, which stays as it is: name another file than {source}"
        )
        raise UsageError(msg)
    if cell_timeout is not None:
        try:
            checked_seconds("--cell-timeout", cell_timeout)
        except ConfigurationError as error:
            raise UsageError(str(error)) from None
    place = resolved(folder, "--cwd") if folder is not None else source.parent
    if not place.is_dir():
        msg = f"--cwd: there is no folder {place}"
        raise UsageError(msg)
    parameters = {name: parsed(text) for name, text in given}
    document = _read(source)
    _check_names(document, parameters)
    return NotebookPlan(source, target, place, parameters, cell_timeout)


def parsed(text: str) -> Any:
    """Return the value that a text on the command line stands for."""
    words = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value


def _read(source: Path) -> NotebookNode:
    import nbformat

    try:
        document: NotebookNode = nbformat.read(source, as_version=4)
    except Exception as error:
        msg = f"{source} is no notebook that can be read: {str(error)[:200]}"
        raise UsageError(msg) from error
    return document


def _check_names(document: NotebookNode, parameters: Mapping[str, Any]) -> None:
    """Refuse a name that the parameters cell doesn't set: papermill would only warn."""
    if not parameters:
        return
    import ast

    cell = next(
        (one for one in document.cells if "parameters" in one.metadata.get("tags", ())), None
    )
    if cell is None:
        msg = (
            "-p: the notebook has no cell that is tagged `parameters`. Tag the one that sets them: "
            "in JupyterLab in the property inspector, under cell tags."
        )
        raise UsageError(msg)
    try:
        tree = ast.parse(cell.source)
    except SyntaxError:  # magics, which are not looked into
        return
    names = [
        target.id
        for node in ast.walk(tree)
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    ]
    for name in parameters:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            msg = f"-p {name}: the notebook's parameters are {', '.join(names)}.{hint}"
            raise UsageError(msg)


def execute(
    plan: NotebookPlan, engine_source: str, tell: Callable[[Step], None], env: Mapping[str, str]
) -> tuple[dict[str, Any], str | None]:
    """Execute it; return what ``--json`` tells beside the plan, and why a cell has failed.

    The executed notebook is kept as far as it came.
    """
    with tempfile.TemporaryDirectory(prefix="fooocus-nb-run-") as name:
        listed = Path(name) / "runs"
        prepared_source = Path(name) / plan.source.name
        _with_engine(plan.source, prepared_source, engine_source)
        execution = _Execution(plan, prepared_source, {**env, OPENED_VARIABLE: str(listed)})
        failure: str | None = None
        try:
            failure = execution.wait(tell)
        finally:  # also where it is interrupted
            there = [path for path in opened_runs(listed) if path.is_dir()]  # not those of verify
            runs = [_facts(path, plan.folder) for path in there[:MAX_LISTED_RUNS]]
            if execution.has_written:
                _add_provenance(plan, runs)
    return {"cells": execution.done, "runs": runs}, failure


def _with_engine(source: Path, target: Path, engine_source: str) -> None:
    """Write the notebook with a first cell that has the engine."""
    import nbformat

    document = _read(source)
    if engine_source:
        cell = nbformat.v4.new_code_cell(engine_source)
        cell.metadata["tags"] = ["injected-engine"]
        document.cells.insert(0, cell)
    nbformat.write(document, target)


class _Execution:
    """One execution by papermill, in a thread: an interrupt is the caller's."""

    def __init__(self, plan: NotebookPlan, source: Path, env: Mapping[str, str]) -> None:
        self._plan = plan
        self._source = source
        self._env = env
        self._step = Step(0, 1, "Starting the kernel")
        self._manager: Any = None
        self._interrupted = False
        self.done = 0
        #: Whether what is in OUTPUT is of this execution, and not of one before.
        self.has_written = False

    def wait(self, tell: Callable[[Step], None]) -> str | None:
        """Execute all cells, and return why one has failed."""
        with concurrent.futures.ThreadPoolExecutor(1, "fooocus-nb-run") as pool:
            future = pool.submit(self._execute)
            try:
                while not future.done():
                    tell(self._step)
                    concurrent.futures.wait([future], timeout=TICK_SECONDS)
            except BaseException:
                self._end(future)
                raise
        tell(self._step)
        return self._failure(future.exception())

    def _end(self, future: concurrent.futures.Future[None]) -> None:
        """Interrupt the kernel, as its own Stop does, and end it where that is not enough."""
        # Noted before the look at the kernel: either there is one, or none starts any more.
        self._interrupted = True
        manager = self._manager
        if manager is None:
            return
        with contextlib.suppress(Exception):
            asyncio.run(manager.interrupt_kernel())
        concurrent.futures.wait([future], timeout=INTERRUPT_SECONDS)
        if not future.done():
            with contextlib.suppress(Exception):
                asyncio.run(manager.shutdown_kernel(now=True))

    def _execute(self) -> None:
        import papermill
        from papermill.engines import papermill_engines

        self.go_on()  # importing papermill has taken a second
        papermill_engines.register(NAME, self._engine())
        self._plan.output.parent.mkdir(parents=True, exist_ok=True)
        papermill.execute_notebook(
            str(self._source),
            str(self._plan.output),
            parameters=dict(self._plan.parameters),
            engine_name=NAME,
            kernel_name="python3",
            language="python",
            cwd=str(self._plan.folder),
            progress_bar=False,
            start_timeout=KERNEL_START_SECONDS,
            execution_timeout=self._plan.cell_timeout,
            kernel_manager_class=self._kernel_manager(),
            # Below that, a kernel says things on the terminal that are nobody's business here.
            extra_arguments=["--log-level=CRITICAL"],
            store_widget_state=False,
        )

    def _engine(self) -> type:
        from papermill.engines import NBClientEngine

        execution = self

        class Engine(NBClientEngine):  # type: ignore[misc, unused-ignore]
            @classmethod
            def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
                execution.has_written = True  # as it is, before the first cell
                total = sum(cell.cell_type == "code" for cell in nb_man.nb.cells)
                begin, complete = nb_man.cell_start, nb_man.cell_complete

                def cell_start(cell: Any, cell_index: int | None = None, **more: Any) -> Any:
                    if cell.cell_type == "code":
                        title = heading_above(nb_man.nb.cells, cell_index or 0) or "first cells"
                        execution.begins(total, title)
                    return begin(cell, cell_index, **more)

                def cell_complete(cell: Any, cell_index: int | None = None, **more: Any) -> Any:
                    if (
                        cell.cell_type == "code"
                        and cell.metadata.papermill.get("exception") is not True
                    ):
                        execution.done += 1
                    return complete(cell, cell_index, **more)

                nb_man.cell_start, nb_man.cell_complete = cell_start, cell_complete
                return super().execute_managed_notebook(nb_man, kernel_name, **options)

        return Engine

    def begins(self, total: int, title: str) -> None:
        """Note which cell begins."""
        self._step = Step(self.done, total, title)

    def go_on(self) -> None:
        """Raise where the caller was interrupted meanwhile."""
        if self._interrupted:
            msg = "interrupted before the kernel was started"
            raise RuntimeError(msg)

    def _kernel_manager(self) -> type:
        base = kernel_manager()
        execution, env = self, {**os.environ, **self._env}

        class Manager(base):  # type: ignore[misc, valid-type]
            async def start_kernel(self, **options: Any) -> None:
                execution._manager = self
                execution.go_on()
                await super().start_kernel(**{**options, "env": env})

        return Manager

    def _failure(self, error: BaseException | None) -> str | None:
        if error is None:
            self._step = Step(self.done, max(self.done, 1), "Done")
            return None
        if hasattr(error, "ename") and hasattr(error, "evalue"):
            cause = f"{error.ename}: {error.evalue}"
            return f"Code cell {self.done + 1} ({self._step.title}) failed.\n{cause}"
        return f"The notebook could not be executed: {str(error).strip() or type(error).__name__}"


# -- provenance -----------------------------------------------------------------------------------


def _facts(path: Path, folder: Path) -> dict[str, Any]:
    """Return what a notebook keeps of a run; the folder has all."""
    from fooocus_nb.experiment.run import open_run

    try:
        shown = path.relative_to(folder.resolve()).as_posix()
    except ValueError:
        shown = path.name
    try:
        run = open_run(path, readonly=True)
    except FooocusError as error:
        return {"path": shown, "images": 0, "error": str(error)}
    return {
        "path": shown,
        "id": run.id,
        "images": len(run.images),
        "counts": run.counts,
        **_made_by(run),
        "listed": [
            {"key": image.key, "seed": _text(image.seed), "sha256": image.sha256}
            for image in run.images[:MAX_LISTED_IMAGES]
        ],
    }


def _text(seed: int | None) -> str | None:
    return None if seed is None else str(seed)


def _made_by(run: Run) -> dict[str, Any]:
    """Return engine, models and software of the last manifest; a mixed run has others, too."""
    names = run.index.manifest_names()
    if not names:
        return {}
    last = run.manifest(names[-1])
    return {
        "fooocus": dict(last.fooocus),
        "system": dict(last.system),
        "software": dict(last.software),
        "models": [{"name": model.name, "sha256": model.sha256} for model in last.models],
    }


def _add_provenance(plan: NotebookPlan, runs: Sequence[Mapping[str, Any]]) -> None:
    """Add a last cell, whose output says which runs were written, to the executed notebook."""
    import nbformat

    if not plan.output.is_file():
        return
    document = nbformat.read(plan.output, as_version=4)
    digest = hashlib.sha256(plan.source.read_bytes()).hexdigest()
    data = {"version": 1, "notebook_sha256": digest, "parameters": plan.as_data()["parameters"]}
    bundle = {
        MIME: {**data, "runs": list(runs)},
        "text/plain": _plain(runs),
        "text/html": _page(runs),
    }
    cell = nbformat.v4.new_code_cell(_PROVENANCE_SOURCE)
    cell.metadata["tags"] = ["fooocus-provenance"]
    cell.outputs = [nbformat.v4.new_output("display_data", data=bundle)]
    document.cells.append(cell)
    with writing_whole(plan.output) as part:
        nbformat.write(document, part)


def _plain(runs: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"{run['path']}: {run['images']:,} images" for run in runs]
    return "\n".join(lines) or "This notebook has written no run."


def _page(runs: Sequence[Mapping[str, Any]]) -> str:
    if not runs:
        return "<p>This notebook has written no run.</p>"
    rows = []
    for run in runs:
        fooocus, system = run.get("fooocus", {}), run.get("system", {})
        cells = (
            run["path"], f"{run['images']:,}", fooocus.get("version"), fooocus.get("commit"),
            system.get("gpu"), system.get("torch"),
        )  # fmt: skip
        rows.append("".join(f"<td>{html.escape(str(cell or ''))}</td>" for cell in cells))
    head = "".join(
        f"<th>{name}</th>" for name in ("run", "images", "Fooocus", "commit", "GPU", "torch")
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
