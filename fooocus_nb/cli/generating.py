"""What the commands that generate have in common: tasks, one after the other, and their images."""

from __future__ import annotations

import contextlib
import difflib
import secrets
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fooocus_nb.cli.command import FAILED, OK, UsageError
from fooocus_nb.cli.engine_options import add_engine_options, chosen_engine
from fooocus_nb.cli.input_files import file_hash, image_files, is_list
from fooocus_nb.cli.progress_bar import ProgressBar
from fooocus_nb.cli.report import error_document
from fooocus_nb.errors import ConfigurationError, FooocusError, ParameterError, in_words_of
from fooocus_nb.options.generation import (
    add_generation_options,
    given_parameters,
    resolved,
    runs,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fooocus_nb.cli.report import Report
    from fooocus_nb.cli.run_folder import FinishedImage, RunFolder
    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.results import Image

__all__ = ["Task", "add_output_options", "run_image_tasks", "run_tasks"]

DEFAULT_OUTPUT = "fooocus-outputs"
REDRAW_SECONDS = 0.2


@dataclass(frozen=True)
class Task:
    """One thing to generate."""

    prompt: str
    #: What tells it from others, whatever its place in the list.
    identity: Mapping[str, Any]
    #: The file that it begins with, where there is one.
    input: Path | None = None
    #: What goes to the engine beside the options.
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What people see of it."""
        return self.input.name if self.input else self.prompt


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a generation, of its output, and of the engine."""
    add_generation_options(parser.add_argument_group("generation"))
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        default=DEFAULT_OUTPUT,
        help="where the images go (default: ./%(default)s)",
    )
    group.add_argument(
        "--name",
        metavar="PATTERN",
        help="how they are called, such as '{date}/{seed}-{prompt:.40}': fields date, time, seed, "
        "prompt, number, index, name, input, engine, and every parameter",
    )
    group.add_argument(
        "--again", action="store_true", help="generate also what the output folder has already"
    )
    add_engine_options(parser)


def run_tasks(options: argparse.Namespace, tasks: Sequence[Task], *, many: bool, names: str) -> int:
    """Generate the tasks, and report their images; `names` is the pattern where none is given.

    A list remembers what is done in the output folder, and goes on there when it is run again.
    """
    from fooocus_nb.cli.run_folder import RunFolder
    from fooocus_nb.engine.folders import resolved as resolved_folder
    from fooocus_nb.results.file_names import NamePattern

    _refuse_misspelt(options)
    try:
        parameters = given_parameters(options)
        pattern = NamePattern(options.name or names)
    except (ParameterError, ConfigurationError) as error:
        raise UsageError(str(error)) from None
    if many:
        parameters.setdefault("image_number", 1)
    run = _Run(options, parameters)
    folder = resolved_folder(options.output, "-o")
    if not many:
        with chosen_engine(options, output_dir=folder, names=options.name) as engine:
            return run.on(engine, [(1, task) for task in tasks], None)
    with RunFolder(folder, pattern) as kept:
        waiting = run.skip_finished(tasks, kept)
        if not waiting:
            return OK
        with chosen_engine(options, output_dir=kept.staging) as engine:
            return run.on(engine, waiting, kept)


def _long(options: Iterable[str]) -> list[str]:
    return [name for name in options if name.startswith("--")]


def _refuse_misspelt(options: argparse.Namespace) -> None:
    """Refuse what is nearly an option of ours, before an engine is started for minutes."""
    from fooocus_nb.fooocus.schema.named_values import common_names

    for option, _ in options.others:
        if option.lstrip("-").replace("-", "_") in common_names():
            continue
        near = difflib.get_close_matches(option, _long(options.own_options), n=1, cutoff=0.8)
        if near:
            program = f"fooocus-nb {options.command}"
            msg = f"{program}: there is no option {option!r}. Did you mean {near[0]!r}?"
            raise UsageError(msg)


def run_image_tasks(options: argparse.Namespace, make: Callable[[Path], Any], *, names: str) -> int:
    """Do what `make` returns for an image, with every image that is named."""
    files = image_files(options.words, options.output)

    def task(path: Path) -> Task:
        made = make(path)
        known = {"command": names, "file": file_hash(path), "name": path.name}
        values = {name: value for name, value in vars(made).items() if name != "image"}
        identity = {**known, "prompt": options.prompt, "task": values}
        return Task(options.prompt, identity, path, {"task": made})

    tasks = [task(path) for path in files]
    return run_tasks(options, tasks, many=is_list(options.words, files), names=names)


class _Run:
    """One run of a command that generates: what is done, and what failed."""

    def __init__(self, options: argparse.Namespace, parameters: Mapping[str, Any]) -> None:
        self._options = options
        self._report: Report = options.report
        self._parameters = dict(parameters)
        self._images: dict[tuple[int, int], list[dict[str, Any]]] = {}
        self._failed: list[dict[str, Any]] = []
        self._given: Mapping[str, Any] = {}
        self._keys: dict[tuple[int, int], str] = {}
        self._report.document = self.document()
        if options.image_prompts:
            self._parameters["image_prompts"] = options.image_prompts

    def document(self) -> dict[str, Any]:
        """Return what ``--json`` prints, as far as it is."""
        images = [image for place in sorted(self._images) for image in self._images[place]]
        found: dict[str, Any] = {"images": images}
        if self._failed:
            found["failed"] = self._failed
        return found

    # -- what there is already --------------------------------------------------------------

    def skip_finished(self, tasks: Sequence[Task], kept: RunFolder) -> list[tuple[int, Task]]:
        """Return what is left to do, with its number; what is done already is reported."""
        waiting, seen = [], Counter[str]()
        for number, task in enumerate(tasks, start=1):
            left = False
            for turn in range(self._options.repeat):
                key = self._key(task, turn, seen)
                self._keys[number, turn] = key
                done = None if self._options.again else kept.finished(key)
                if done is None:
                    left = True
                else:
                    self._add(number, turn, task, done, existing=True)
            if left:
                waiting.append((number, task))
        if there := len(tasks) - len(waiting):
            text = f"{there} of {len(tasks)} done already in {kept.folder}"
            self._report.note(text if waiting else f"{text}; --again makes them anew")
        return waiting

    def _key(self, task: Task, turn: int, seen: Counter[str]) -> str:
        from fooocus_nb.cli.run_folder import task_key

        options = self._options
        what = {
            "task": task.identity,
            "turn": turn,
            "given": self._parameters,
            "settings": options.settings,
            "others": options.others,
            "demo": options.demo,
        }
        one = task_key(**what)
        seen[one] += 1
        return task_key(**what, nth=seen[one])

    # -- generating -------------------------------------------------------------------------

    def on(self, engine: Engine, tasks: Sequence[tuple[int, Task]], kept: RunFolder | None) -> int:
        """Generate all on an engine, and return the exit code."""
        given = self._given = self._resolved(engine)
        with _Progress(len(tasks) * self._options.repeat) as progress:
            for number, task in tasks:
                # Drawn for each task, or they would all have one.
                for turn, parameters in enumerate(
                    runs(given, self._options.repeat, engine.parameters)
                ):
                    if (number, turn) in self._images:
                        continue
                    if not self._generate(engine, number, turn, task, parameters, kept, progress):
                        return FAILED
        return FAILED if self._failed else OK

    def _resolved(self, engine: Engine) -> dict[str, Any]:
        options = self._options
        try:
            return resolved(
                self._parameters,
                options.settings or (),
                options.others,
                engine.parameters,
                program=f"fooocus-nb {options.command}",
                options=_long(options.own_options),
            )
        except ParameterError as error:
            raise UsageError(str(error)) from None

    def _generate(
        self,
        engine: Engine,
        number: int,
        turn: int,
        task: Task,
        parameters: Mapping[str, Any],
        kept: RunFolder | None,
        progress: _Progress,
    ) -> bool:
        """Generate one task; False where the engine is good for no further one."""
        given = {**parameters, **task.parameters}
        key = self._keys.get((number, turn), "")
        if kept is not None:
            earlier = None if self._options.again else kept.seed(key)
            given = self._seeded(engine, given, earlier)
            kept.begin(key, _seed_of(given))
        before = engine.last_result
        failure: FooocusError | None = None
        whole = False
        try:
            job = engine.submit(task.prompt, **given)
            with progress.showing(job, task.label):
                job.result()
            whole = True
        except ParameterError as error:
            raise UsageError(str(error)) from None
        except FooocusError as error:
            failure = error
        finally:
            result = engine.last_result
            images = list(result) if result is not None and result is not before else []
            progress.clear()
            self._take(number, turn, task, images, kept, engine, whole=whole)
        progress.done += 1
        if failure is None:
            return True
        self._fail(number, task, failure)
        return engine.state in ("ready", "busy")

    def _fail(self, number: int, task: Task, failure: FooocusError) -> None:
        """Report a task that has failed."""
        self._failed.append(
            {
                "number": number,
                "prompt": task.prompt,
                "input": str(task.input) if task.input else None,
                "error": error_document(failure),
            }
        )
        self._report.document = self.document()
        self._report.note(f"{task.label}: {in_words_of('shell', str(failure))}")

    def _seeded(
        self, engine: Engine, given: Mapping[str, Any], earlier: int | None
    ) -> dict[str, Any]:
        """Return parameters with a seed: the given, that of an earlier attempt, or a new one."""
        fixed = any(name in self._given for name in ("seed", "image_seed"))
        if fixed or "image_seed" not in engine.parameters:
            return dict(given)
        others = {name: value for name, value in given.items() if name != "image_seed"}
        return {**others, "seed": secrets.randbelow(2**63) if earlier is None else earlier}

    def _take(
        self,
        number: int,
        turn: int,
        task: Task,
        images: Sequence[Image],
        kept: RunFolder | None,
        engine: Engine,
        *,
        whole: bool,
    ) -> None:
        """Take in the images of a task, also of one that was interrupted."""
        from fooocus_nb.cli.run_folder import FinishedImage

        found = [
            FinishedImage(image.path, image.seed, image.sha256, dict(image.parameters))
            for image in images
        ]
        if kept is not None and (found or whole):
            values = {
                "prompt": task.prompt,
                "number": number,
                "engine": engine.name,
                "input": task.input.stem if task.input else "",
            }
            key = self._keys[number, turn]
            found = kept.keep(key, found, values, whole=whole)
        self._add(number, turn, task, found, existing=False)

    def _add(
        self,
        number: int,
        turn: int,
        task: Task,
        images: Sequence[FinishedImage],
        *,
        existing: bool,
    ) -> None:
        """Report images."""
        self._images[number, turn] = [
            {
                "path": str(image.path),
                "seed": None if image.seed is None else str(image.seed),
                "sha256": image.sha256,
                "prompt": task.prompt,
                "number": number,
                "input": str(task.input) if task.input else None,
                "existing": existing,
                "parameters": _shown(image.parameters),
            }
            for image in images
        ]
        self._report.document = self.document()
        if not existing:
            for image in images:
                self._report.say(str(image.path))


def _shown(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters for JSON: JavaScript would round a seed that is a number."""
    shown = dict(parameters)
    if isinstance(shown.get("image_seed"), int):
        shown["image_seed"] = str(shown["image_seed"])
    return shown


def _seed_of(parameters: Mapping[str, Any]) -> int | None:
    seed = parameters.get("image_seed", parameters.get("seed"))
    return int(seed) if str(seed).isdigit() else None


class _Progress:
    """The progress bar of a run, on standard error."""

    def __init__(self, total: int) -> None:
        self.done = 0
        self._total = total
        self._began = time.monotonic()
        self._bar = ProgressBar(sys.stderr)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Leave the line to what is printed next."""
        self._bar.close()

    @contextlib.contextmanager
    def showing(self, job: Job, label: str) -> Iterator[None]:
        """Show a job while the block waits for it."""
        over = threading.Event()

        def show() -> None:
            while True:
                self._show(job, label)
                if over.wait(REDRAW_SECONDS):
                    return

        thread = threading.Thread(target=show, name="fooocus-nb-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(REDRAW_SECONDS * 10)

    def _show(self, job: Job, label: str) -> None:
        now = job.snapshot()
        detail = f"{now.percent} %  {now.text}" if now.percent else now.text
        elapsed = time.monotonic() - self._began
        self._bar.show(self.done, self._total, elapsed, " ".join(label.split())[:60], detail)
