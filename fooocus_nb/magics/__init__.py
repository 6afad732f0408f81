"""``%fooocus`` and ``%%fooocus``: thin, every verb is one call on an engine."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from fooocus_nb._html import clean
from fooocus_nb.doctor import doctor
from fooocus_nb.engine import manager
from fooocus_nb.engine.listing import engines
from fooocus_nb.engine.presenters import presenters
from fooocus_nb.errors import FooocusError
from fooocus_nb.magics.completion import fooocus_matcher
from fooocus_nb.magics.help import help_bundle
from fooocus_nb.magics.image_options import find_picture, with_pictures
from fooocus_nb.magics.options import PICTURE_VERBS
from fooocus_nb.magics.parsing import (
    parse_cell_line,
    parse_generate_line,
    parse_start_line,
    parse_verb_line,
    split_verb,
)
from fooocus_nb.magics.transform import AwaitingTransformer
from fooocus_nb.results import Result
from fooocus_nb.widgets.job_monitor import JobMonitor
from fooocus_nb.widgets.start_monitor import StartMonitor
from fooocus_nb.widgets.status import status_bundle
from fooocus_nb.widgets.surfaces import probe_frontend, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from IPython.core.interactiveshell import InteractiveShell

    from fooocus_nb.doctor import Report
    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.engine.listing import EngineList
    from fooocus_nb.fooocus.schema.catalogue import Catalogue
    from fooocus_nb.magics.parsing import GenerateOptions

__all__ = ["FooocusMagics", "load_ipython_extension", "unload_ipython_extension"]

_TRANSFORMER = "_fooocus_nb_transformer"


@magics_class
class FooocusMagics(Magics):
    """The magics."""

    @no_var_expand
    @line_cell_magic
    def fooocus(self, line: str, cell: str | None = None) -> Any:
        """Generate images with Fooocus, and look after its engine.

        ``%fooocus a lighthouse at dusk`` generates; ``%%fooocus [options]`` takes the cell as the
        prompt. ``%fooocus help`` lists the verbs and options.
        """
        return self.run(line, cell)

    def run(self, line: str, cell: str | None = None, *, value: bool = False) -> Any:
        """Do what a line or a cell says, and block until it is done.

        Parameters
        ----------
        line : str
            The magic's line.
        cell : str or None
            The cell's body.
        value : bool
            Whether somebody wants the value: the result shows itself where the monitor was, so a
            statement has none, or it would show twice.

        Returns
        -------
        object
            The :class:`~fooocus_nb.results.Result` of a generation if it is wanted.
        """
        with _plain_errors():
            options = self._generation(line, cell)
            if options is None:
                return self._verb(line)
            result = self._generate(options)
        return result if value else None

    async def run_awaited(self, line: str, cell: str | None = None, *, value: bool = False) -> Any:
        """Do the same as :meth:`run`, with the kernel listening while a generation runs."""
        with _plain_errors():
            options = self._generation(line, cell)
            if options is None:
                return self._verb(line)
            result = await self._generate_awaited(options)
        return result if value else None

    def _generation(self, line: str, cell: str | None) -> GenerateOptions | None:
        """Return what to generate; None where the line has another verb."""
        options = self._read(line, cell)
        return None if options is None else with_pictures(options, self._variables())

    def _read(self, line: str, cell: str | None) -> GenerateOptions | None:
        if cell is not None:
            return parse_cell_line(line, cell)
        verb, rest = split_verb(line)
        return parse_generate_line(rest, verb) if verb in ("generate", *PICTURE_VERBS) else None

    def _verb(self, line: str) -> Any:
        verb, rest = split_verb(line)
        handler: Callable[[str], Any] = getattr(self, f"_{verb}")
        return handler(rest)

    # -- generating -------------------------------------------------------------------------

    def _generate(self, options: GenerateOptions) -> Result:
        engine = self._engine(options.name)
        results = []
        with JobMonitor(total=options.repeat) as monitor, _shown_by(monitor):
            for parameters in options.runs(engine.parameters):
                if monitor.stopped:
                    break
                try:
                    results.append(engine.generate(options.prompt, **parameters))
                except KeyboardInterrupt:
                    raise self._interrupted(options, monitor) from None
        return self._bind(options, Result.combined(results))

    async def _generate_awaited(self, options: GenerateOptions) -> Result:
        engine = self._engine(options.name)
        results = []
        async with JobMonitor(total=options.repeat, awaited=True) as monitor:
            for parameters in options.runs(engine.parameters):
                if monitor.stopped:
                    break
                job = engine.submit(options.prompt, **parameters)
                monitor.watch(job)
                try:
                    results.append(await job)
                except (asyncio.CancelledError, KeyboardInterrupt):
                    # What interrupts a cell that awaits is a cancellation. For the notebook it
                    # is the same as in every other cell.
                    raise self._interrupted(options, monitor) from None
        return self._bind(options, Result.combined(results))

    def _interrupted(self, options: GenerateOptions, monitor: JobMonitor) -> KeyboardInterrupt:
        """Keep the images that are done, and return what ends the cell."""
        result = monitor.result()
        count = 0 if result is None else len(result)
        done = "1 image is done" if count == 1 else f"{count} images are done"
        if result is not None:
            self._bind(options, result)
        error = KeyboardInterrupt(f"{done}; the engine is ready for the next generation.")
        _show_plainly(error)
        return error

    def _bind(self, options: GenerateOptions, result: Result) -> Result:
        self._keep(options.output, result)
        return result

    def _keep(self, name: str | None, value: Any) -> None:
        if self.shell is not None and name:
            self.shell.user_ns[name] = value

    def _variables(self) -> dict[str, Any]:
        return {} if self.shell is None else self.shell.user_ns

    def _engine(self, name: str | None) -> Engine:
        return manager.get(name) if name else manager.current()

    # -- verbs ------------------------------------------------------------------------------

    def _help(self, rest: str) -> None:
        show(help_bundle())

    def _start(self, rest: str) -> None:
        options = parse_start_line(rest)
        with _starting() as monitor:
            monitor.done(manager.start(**options, on_progress=monitor))

    def _connect(self, rest: str) -> None:
        options = parse_verb_line("connect", rest)
        with _starting() as monitor:
            monitor.done(
                manager.connect(options.url, name=options.name, output_dir=options.output_dir)
            )

    def _status(self, rest: str) -> None:
        options = parse_verb_line("status", rest)
        engines = [manager.get(options.name)] if options.name else manager.running().values()
        if not engines:
            _write("No engine runs. %fooocus start starts one.")
            return
        show(status_bundle(engines))

    def _logs(self, rest: str) -> Any:
        options = parse_verb_line("logs", rest)
        engine = self._engine(options.name)
        if options.live:
            return engine.logs()
        if not engine.owned:
            _write(f"Engine {engine.name!r} is somebody else's: its log is not ours.")
        for line in engine.tail(options.n):
            _write(clean(line))
        return None

    def _params(self, rest: str) -> Any:
        options = parse_verb_line("params", rest)
        parameters = self._engine(options.name).parameters
        return parameters.filter(" ".join(options.filter)) if options.filter else parameters

    def _gallery(self, rest: str) -> Any:
        options = parse_verb_line("gallery", rest)
        if options.folder:
            from fooocus_nb.widgets.gallery import gallery

            return gallery(" ".join(options.folder))
        return self._engine(options.name).gallery()

    def _monitor(self, rest: str) -> Any:
        return self._engine(parse_verb_line("monitor", rest).name).monitor()

    def _panel(self, rest: str) -> Any:
        return self._engine(parse_verb_line("panel", rest).name).panel()

    def _describe(self, rest: str) -> Any:
        options = parse_verb_line("describe", rest)
        image = find_picture(options.image, self._variables())
        described = self._engine(options.name).describe(image, options.content)
        self._keep(options.output, described)
        return described

    def _mask(self, rest: str) -> Any:
        options = parse_verb_line("mask", rest)
        image = find_picture(options.image, self._variables())
        engine = self._engine(options.name)
        mask = engine.make_mask(image, options.model, detect=options.detect)
        self._keep(options.output, mask)
        return mask

    def _preset(self, rest: str) -> Any:
        options = parse_verb_line("preset", rest)
        engine = self._engine(options.name)
        if options.word:
            return engine.preset(options.word)
        _write(f"The preset is {engine.current_preset}.")
        return engine.presets

    def _refresh(self, rest: str) -> Any:
        return self._engine(parse_verb_line("refresh", rest).name).refresh()

    def _models(self, rest: str) -> Any:
        return self._catalogue("models", rest)

    def _loras(self, rest: str) -> Any:
        return self._catalogue("loras", rest)

    def _styles(self, rest: str) -> Any:
        return self._catalogue("styles", rest)

    def _catalogue(self, kind: str, rest: str) -> Catalogue:
        options = parse_verb_line(kind, rest)
        names: Catalogue = getattr(self._engine(options.name), kind)
        return names.filter(options.word)

    def _skip(self, rest: str) -> None:
        options = parse_verb_line("skip", rest)
        engine = self._engine(options.name)
        job = engine.current_job
        if job is None:
            _write(f"Engine {engine.name!r} generates nothing at the moment.")
        else:
            job.skip()

    def _ps(self, rest: str) -> EngineList:
        parse_verb_line("ps", rest)
        return engines()

    def _detach(self, rest: str) -> None:
        engine = self._engine(parse_verb_line("detach", rest).name)
        kept = engine.lifetime == "detached"
        engine.detach()
        what = "lives on; a start in the same way finds it" if kept else "ends with its last user"
        _write(f"{engine.name} is let go of: it {what}.")

    def _stop(self, rest: str) -> None:
        options = parse_verb_line("stop", rest)
        engine = self._engine(options.name)
        pid = engine.pid
        engine.stop()
        if not engine.owned:
            _write("Disconnected.")
        elif pid in {info.pid for info in engines()}:
            _write(f"{engine.name} is let go of: it goes on for its other users.")
        else:
            _write(f"{engine.name} is stopped.")

    def _restart(self, rest: str) -> None:
        options = parse_verb_line("restart", rest)
        engine = self._engine(options.name)
        with _starting() as monitor:
            engine.restart(on_progress=monitor)
            monitor.done(engine)

    def _doctor(self, rest: str) -> Report:
        options = parse_verb_line("doctor", rest)
        return doctor(options.path, python=options.python, port=options.port)


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")


@contextlib.contextmanager
def _starting() -> Iterator[StartMonitor]:
    monitor = StartMonitor()
    try:
        yield monitor
    except BaseException:
        monitor.failed()
        raise


# -- errors ----------------------------------------------------------------------------------


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Let our exceptions through, marked to be shown without stack frames."""
    try:
        yield
    except FooocusError as error:
        _show_plainly(error)
        raise


def _show_plainly(error: BaseException) -> None:
    # IPython asks an exception for its own rendering; the cell fails all the same.
    error._render_traceback_ = functools.partial(  # type: ignore[attr-defined]
        _rendered, type(error).__name__, str(error)
    )


def _rendered(name: str, message: str) -> list[str]:
    return f"\x1b[31m{name}\x1b[39m: {clean(message)}".splitlines()


# -- the extension ---------------------------------------------------------------------------


#: The monitor of the magic that generates; without one, a plain ``engine.generate()`` gets its own.
_monitor: ContextVar[JobMonitor | None] = ContextVar("fooocus_nb_monitor", default=None)


@contextlib.contextmanager
def _shown_by(monitor: JobMonitor) -> Iterator[None]:
    """Show the jobs of this block in a monitor that is open already."""
    before = _monitor.set(monitor)
    try:
        yield
    finally:
        _monitor.reset(before)


def _present(job: Job) -> contextlib.AbstractContextManager[object]:
    """Show the job of an ``engine.generate()``, whose value shows the images."""
    monitor = _monitor.get()
    if monitor is None:
        return JobMonitor(job, result=False)
    monitor.watch(job)
    return contextlib.nullcontext()


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Register the magics: ``%load_ext fooocus_nb``.

    Parameters
    ----------
    ipython : InteractiveShell
        The shell to register with.
    """
    unload_ipython_extension(ipython)
    ipython.register_magics(FooocusMagics)
    transformer = AwaitingTransformer(ipython)
    transformer.register()
    setattr(ipython, _TRANSFORMER, transformer)
    if ipython.Completer is not None:
        ipython.Completer.custom_matchers.append(fooocus_matcher)
    presenters.append(_present)
    probe_frontend()


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Take the magics away again; engines go on.

    Parameters
    ----------
    ipython : InteractiveShell
        The shell to leave.
    """
    transformer = getattr(ipython, _TRANSFORMER, None)
    if transformer is not None:
        transformer.unregister()
        delattr(ipython, _TRANSFORMER)
    manager_of_magics = ipython.magics_manager
    for kind in ("line", "cell"):
        manager_of_magics.magics[kind].pop("fooocus", None)
    manager_of_magics.registry.pop(FooocusMagics.__name__, None)
    if ipython.Completer is not None and fooocus_matcher in ipython.Completer.custom_matchers:
        ipython.Completer.custom_matchers.remove(fooocus_matcher)
    if _present in presenters:
        presenters.remove(_present)
