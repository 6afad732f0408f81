"""Generate what a line or a cell of ``%fooocus`` says, and show it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from fooocus_nb.engine.image_tasks import prompt_of
from fooocus_nb.engine.interrupts import interruption
from fooocus_nb.engine.portable import portable_if_wanted
from fooocus_nb.engine.presenters import wait_shown
from fooocus_nb.engine.submission import ask_ahead, check_request, records_of, submit_asked
from fooocus_nb.magics import verbs
from fooocus_nb.magics.image_options import find_image
from fooocus_nb.magics.loop_monitor import LoopMonitor
from fooocus_nb.magics.sweeping import arun_sweep, run_sweep
from fooocus_nb.magics.verb import GeneratingVerb
from fooocus_nb.results import Result
from fooocus_nb.widgets.job_monitor import JobMonitor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.experiment.run import Run
    from fooocus_nb.fooocus.requests import Request
    from fooocus_nb.magics.parsing import GenerateOptions
    from fooocus_nb.magics.session import Session

__all__ = ["agenerate", "generate", "present", "with_images"]

#: The monitor of the magic that generates; without one, a plain ``engine.generate()`` gets its own.
_monitor: contextvars.ContextVar[JobMonitor | None] = contextvars.ContextVar(
    "fooocus_nb_monitor", default=None
)
_loop_monitor = LoopMonitor()


def present(job: Job) -> contextlib.AbstractContextManager[object]:
    """Show the job of an ``engine.generate()``, whose value shows the images."""
    monitor = _monitor.get()
    if monitor is None:
        return _loop_monitor.show(job)
    monitor.watch(job)
    return contextlib.nullcontext()


def generate(session: Session, options: GenerateOptions) -> Result | Run:
    """Generate and block until it is done."""
    engine = session.engine(options.name)
    options = with_images(options, session.variables).resolved(engine.parameters)
    if options.sweeps:
        return run_sweep(session, engine, options)
    results = []
    with JobMonitor(total=options.repeat) as monitor:
        before = _monitor.set(monitor)
        try:
            with _asked_ahead(engine, _wanted(engine, options)) as asked:
                for request, session_hash in asked:
                    if monitor.stopped:
                        break
                    results.append(wait_shown(submit_asked(engine, request, session_hash)))
        except KeyboardInterrupt:
            raise _interrupted(session, options, monitor) from None
        finally:
            _monitor.reset(before)
        if monitor.stopped:  # the button ends the cell as an interrupt does
            raise _interrupted(session, options, monitor)
    return _bound(session, options, results)


async def agenerate(session: Session, options: GenerateOptions) -> Result | Run:
    """Generate and await it, with the kernel listening meanwhile."""
    engine = session.engine(options.name)
    options = with_images(options, session.variables).resolved(engine.parameters)
    if options.sweeps:
        return await arun_sweep(session, engine, options)
    results = []
    async with JobMonitor(total=options.repeat, awaited=True) as monitor:
        try:
            # Where it is to be portable the engine is asked first, which takes its time.
            wanted = await asyncio.to_thread(_wanted, engine, options)
            with _asked_ahead(engine, wanted) as asked:
                for request, session_hash in asked:
                    if monitor.stopped:
                        break
                    job = submit_asked(engine, request, session_hash)
                    monitor.watch(job)
                    results.append(await job)
        except (asyncio.CancelledError, KeyboardInterrupt):
            # What interrupts a cell that awaits is a cancellation. For the notebook it is the
            # same as in every other cell.
            raise _interrupted(session, options, monitor) from None
        if monitor.stopped:  # the button ends the cell as an interrupt does
            raise _interrupted(session, options, monitor)
    return _bound(session, options, results)


def _wanted(engine: Engine, options: GenerateOptions) -> list[tuple[str, dict[str, Any]]]:
    """Return the prompt and the parameters of each generation of the cell."""
    return [
        portable_if_wanted(engine, options.prompt, parameters)
        for parameters in options.runs(engine.parameters)
    ]


@contextlib.contextmanager
def _asked_ahead(
    engine: Engine, wanted: Iterable[tuple[str, dict[str, Any]]]
) -> Iterator[Iterator[tuple[Request, str]]]:
    """Write down all that the cell asks for before the first is sent, so that it can be resumed.

    Gives each with its session hash. What is not taken by the end of the block is dropped.
    """
    requests = [check_request(engine, prompt, parameters) for prompt, parameters in wanted]
    session_hashes = ask_ahead(engine, requests)
    left = iter(list(zip(requests, session_hashes, strict=True)))
    try:
        yield left
    finally:
        records_of(engine).drop(session_hash for _, session_hash in left)


def _interrupted(
    session: Session, options: GenerateOptions, monitor: JobMonitor
) -> KeyboardInterrupt:
    """Keep the images that are done, and return what ends the cell."""
    result = monitor.result()
    if result is None and monitor.count:  # of a generation that the engine has not ended yet
        result = session.engine(options.name).last_result
    if result is not None:
        session.keep(options.output, result)
    return interruption(monitor.count, ended=monitor.ended)


def _bound(session: Session, options: GenerateOptions, results: list[Result]) -> Result:
    result = Result.combined(results)
    session.keep(options.output, result)
    return result


def with_images(options: GenerateOptions, variables: Mapping[str, Any]) -> GenerateOptions:
    """Return what to generate with the images in the place of their names.

    Where the line has no prompt, the prompt that made the image is used.
    """
    known, prompt, parameters = options.known, options.prompt, dict(options.parameters)

    def find(text: str) -> object:
        return find_image(text, variables)

    if known.image_prompts:
        parameters["image_prompts"] = [find(text) for text in known.image_prompts]
    verb = verbs.verb(options.verb)
    if isinstance(verb, GeneratingVerb) and verb.task is not None:
        try:
            image = find(known.image)
        except UsageError as error:
            msg = f"{error} To generate what was written: %fooocus generate {options.verb} ..."
            raise UsageError(msg) from None
        parameters["task"] = verb.task(image, known, find)
        prompt = prompt or prompt_of(image)
    return replace(options, prompt=prompt, parameters=parameters)
