"""A pool: several engines that work off one queue."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import os
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from fooocus_nb._background import wait_future
from fooocus_nb.engine.core import Engine
from fooocus_nb.engine.health import gpus as graphics_cards
from fooocus_nb.engine.manager import running, start
from fooocus_nb.errors import ConfigurationError, EngineError, EngineStopped, FooocusError
from fooocus_nb.experiment.identity import plain_number
from fooocus_nb.experiment.workers import NEEDS_RESTART, EngineWorker
from fooocus_nb.fooocus.given import only_our_errors, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.results import Result

__all__ = ["Pool", "visible_gpus"]

MAX_ENGINES = 64
#: How often an engine that failed is restarted before the pool goes on without it.
MAX_RECOVERIES = 3
#: How often a thread without work looks whether the pool is still open.
IDLE_SECONDS = 0.5
VISIBLE = "CUDA_VISIBLE_DEVICES"
#: What decides which engine is meant, or how many: the pool's own business.
_OWN = frozenset({"gpu", "name", "port", "share", "temp_dir"})


def visible_gpus(environment: Mapping[str, str] | None = None) -> tuple[int | str, ...] | None:
    """Return the GPUs that a new engine could use.

    Parameters
    ----------
    environment : mapping, optional
        By default that of this process.

    Returns
    -------
    tuple of int, or None
        Their indices among the visible ones, as ``start(gpu=)`` takes them: CUDA reads
        ``CUDA_VISIBLE_DEVICES`` up to the first entry that is no device. None where nothing tells
        how many there are.
    """
    setting = (os.environ if environment is None else environment).get(VISIBLE)
    if setting is not None:
        count = 0
        for name in setting.split(","):
            if not (name.strip().isdecimal() or name.strip().startswith(("GPU-", "MIG-"))):
                break
            count += 1
        return tuple(range(count))
    cards = graphics_cards()
    return tuple(range(len(cards))) if cards else None


@dataclass
class _Work:
    """One generation that was asked for."""

    prompt: str
    parameters: dict[str, Any]
    future: concurrent.futures.Future[Result] = field(default_factory=concurrent.futures.Future)
    #: The names of the engines that failed with it.
    failed_on: set[str] = field(default_factory=set)


class Pool:
    """Several engines that work off one queue: work goes to whoever is free.

    The work of an engine that dies goes to the others; the engine is restarted, three times at
    most. ``sweep.run(pool, folder)`` makes a sweep with all of them.

    Parameters
    ----------
    engines : int or sequence of Engine, optional
        How many to start, or engines that run already; those are not stopped by the pool. By
        default as many as `gpus` names, or one for each visible GPU.
    gpus : sequence of int or str, optional
        A GPU for each engine: indices among those that ``CUDA_VISIBLE_DEVICES`` lets this process
        see, or names as ``nvidia-smi -L`` shows them, such as ``GPU-8932f937-...`` and ``MIG-...``.
    name : str
        What the engines are called, with a number. Default ``pool``.
    **settings
        What :func:`fooocus_nb.start` takes for each: ``path=``, ``demo=``, ``args=`` and so on.

    Attributes
    ----------
    engines : dict of str to Engine
        All engines, by name.

    Raises
    ------
    ConfigurationError
        When more engines are asked for than there are GPUs, or a GPU is named twice.
    EngineError
        When an engine can't be started. Those that were started before are stopped.

    Examples
    --------
    >>> with fooocus_nb.Pool(gpus=[0, 1], path="~/Fooocus") as pool:  # doctest: +SKIP
    ...     results = pool.map(["a lighthouse", "a red fox"], image_number=1)
    """

    def __init__(
        self,
        engines: int | Sequence[Engine] | None = None,
        *,
        gpus: Sequence[int | str] | None = None,
        name: str = "pool",
        **settings: Any,
    ) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[_Work] = deque()
        self._closed = False
        self._running: dict[str, Job] = {}
        self._last_error: BaseException | None = None
        self._own: list[Engine] = []
        engines = plain_number(engines)
        if engines is None or isinstance(engines, int):
            gpu_of_each = _gpu_of_each(engines, gpus, demo=bool(settings.get("demo")))
            self._own = _start_all(gpu_of_each, name, settings)
            found = self._own
        else:
            found = _given(engines, gpus, settings)
        self.engines: dict[str, Engine] = {engine.name: engine for engine in found}
        self._left = set(self.engines)
        for engine in found:
            title = f"fooocus-nb-pool-{engine.name}"
            threading.Thread(target=self._work, args=(engine,), name=title, daemon=True).start()

    # -- asking -----------------------------------------------------------------------------

    def submit(self, prompt: str = "", **parameters: Any) -> concurrent.futures.Future[Result]:
        """Queue a generation and return at once.

        Parameters
        ----------
        prompt : str
            The prompt.
        **parameters
            As :meth:`Engine.generate` takes them. They are checked by the engine that gets them.

        Returns
        -------
        concurrent.futures.Future of Result
            Its ``result()`` raises what :meth:`Engine.generate` raises. ``cancel()`` works as long
            as no engine has taken it.

        Raises
        ------
        EngineStopped
            When the pool was stopped, or none of its engines is of use any more.
        """
        work = _Work(prompt, parameters)
        with self._changed:
            if self._closed or not self._left:
                raise self._useless()
            self._waiting.append(work)
            self._changed.notify()
        return work.future

    def generate(self, prompt: str = "", **parameters: Any) -> Result:
        """Generate on the first engine that is free, and wait for it; see :meth:`submit`."""
        return wait_future(self.submit(prompt, **parameters))

    def map(self, prompts: Iterable[str | Mapping[str, Any]], **parameters: Any) -> list[Result]:
        """Generate one after the other from a queue, on all engines, and wait for all.

        Parameters
        ----------
        prompts : iterable of str or mapping
            Prompts, or the parameters of each generation with its prompt among them.
        **parameters
            What is the same for all.

        Returns
        -------
        list of Result
            In the order of the prompts.

        Raises
        ------
        FooocusError
            What the first that failed raises; what was not begun by then is not made. Images that
            are finished are in the output folder.
        """
        futures = [self.submit(**{**parameters, **_asked(each)}) for each in prompts]
        try:
            return [wait_future(future) for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    # -- its end ----------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop the engines that the pool has started. What waits is cancelled. Harmless twice."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = list(self._waiting), deque()
            running = dict(self._running)
            self._changed.notify_all()
        for work in waiting:
            work.future.cancel()
        own = {engine.name for engine in self._own}
        for name, job in running.items():
            if name not in own:  # its engine goes on without us
                with contextlib.suppress(FooocusError):
                    job.stop()
        if self._own:
            with concurrent.futures.ThreadPoolExecutor(len(self._own)) as threads:
                list(threads.map(Engine.stop, self._own))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __len__(self) -> int:
        return len(self.engines)

    def __repr__(self) -> str:
        states = ", ".join(f"{name} {engine.state}" for name, engine in self.engines.items())
        return f"<Pool of {len(self.engines)}: {states}>"

    # -- one engine -------------------------------------------------------------------------

    def _work(self, engine: Engine) -> None:
        worker, recoveries = EngineWorker(engine), 0
        while (work := self._take(engine)) is not None:
            error = self._generate(engine, work)
            if not isinstance(error, NEEDS_RESTART):
                recoveries = 0 if error is None else recoveries
                continue
            recoveries += 1
            try:
                if recoveries > MAX_RECOVERIES:
                    raise error
                worker.recover(error)
            except EngineError as gone:
                self._leave(engine, gone)
                return

    def _take(self, engine: Engine) -> _Work | None:
        """Return the next work for an engine; None when there will be none."""
        with self._changed:
            while not self._closed:
                for work in self._waiting:
                    # What failed here goes to another engine, if there is one.
                    if work.failed_on >= self._left or engine.name not in work.failed_on:
                        self._waiting.remove(work)
                        if work.failed_on or work.future.set_running_or_notify_cancel():
                            return work
                        break
                else:
                    self._changed.wait(IDLE_SECONDS)
        return None

    def _generate(self, engine: Engine, work: _Work) -> BaseException | None:
        """Generate; return what went wrong."""
        try:
            job = engine.submit(work.prompt, **work.parameters)
            with self._changed:
                self._running[engine.name] = job
            try:
                result = job.result()
            finally:
                with self._changed:
                    self._running.pop(engine.name, None)
        except BaseException as error:  # noqa: BLE001 - it is told to who waits
            if isinstance(error, NEEDS_RESTART) and self._give_to_another(engine, work):
                return error
            work.future.set_exception(error)
            return error
        work.future.set_result(result)
        return None

    def _give_to_another(self, engine: Engine, work: _Work) -> bool:
        """Queue it again, in front, where an engine is left that has not failed with it."""
        with self._changed:
            work.failed_on.add(engine.name)
            if self._closed or work.failed_on >= self._left:
                return False
            self._waiting.appendleft(work)
            self._changed.notify_all()
        return True

    def _leave(self, engine: Engine, error: BaseException) -> None:
        """Go on without an engine."""
        with self._changed:
            self._left.discard(engine.name)
            self._last_error = error
            lost = [] if self._left else list(self._waiting)
            if lost:
                self._waiting.clear()
            self._changed.notify_all()
        for work in lost:
            if work.failed_on or work.future.set_running_or_notify_cancel():
                work.future.set_exception(self._useless())

    def _useless(self) -> EngineStopped:
        if self._closed:
            return EngineStopped("The pool was stopped.")
        error = EngineStopped("None of the pool's engines is of use any more: see the cause.")
        error.__cause__ = self._last_error
        return error


def _asked(given: str | Mapping[str, Any]) -> dict[str, Any]:
    return {"prompt": given} if isinstance(given, str) else dict(given)


def _gpu_of_each(
    engines: int | None, gpus: Sequence[int | str] | None, *, demo: bool
) -> list[int | str | None]:
    """Return the GPU of each engine to start; None is the engine's own choice."""
    if isinstance(engines, bool) or (engines is not None and not 1 <= engines <= MAX_ENGINES):
        msg = f"engines={engines!r} is not possible: give a number from 1 to {MAX_ENGINES}."
        raise ConfigurationError(msg)
    visible = visible_gpus()
    if gpus is not None:
        several = isinstance(gpus, Iterable) and not isinstance(gpus, str)
        with only_our_errors(f"gpus={shown(gpus)}", ConfigurationError):
            listed = list(itertools.islice(gpus if several else [gpus], MAX_ENGINES + 1))
        if len(listed) > MAX_ENGINES:
            msg = f"gpus={shown(gpus)} is not possible: it names more than {MAX_ENGINES}."
            raise ConfigurationError(msg)
        return _named(engines, [plain_number(gpu) for gpu in listed], visible)
    if demo:
        return [None] * (engines or 1)
    if visible is None:
        if engines is None or engines > 1:
            msg = (
                "How many GPUs there are can't be told: nvidia-smi does not answer. Name them: "
                "Pool(gpus=[0, 1], ...)."
            )
            raise ConfigurationError(msg)
        return [None]
    count = len(visible) if engines is None else engines
    if count > len(visible) or not count:
        raise _too_many(count, visible)
    return list(visible[:count])


def _named(
    engines: int | None, gpus: list[int | str], visible: tuple[int | str, ...] | None
) -> list[int | str | None]:
    from fooocus_nb.fooocus.checkout.command import as_gpu

    named = [as_gpu(gpu) for gpu in gpus]
    if not named:
        msg = "gpus=[] is not possible: name at least one GPU."
        raise ConfigurationError(msg)
    if len(set(named)) < len(named):
        msg = f"gpus={gpus!r} is not possible: a GPU is named twice, and has room for one engine."
        raise ConfigurationError(msg)
    if engines is not None and engines != len(named):
        msg = f"engines={engines} and gpus={gpus!r} contradict each other: give one of them."
        raise ConfigurationError(msg)
    if visible is not None:
        outside = [gpu for gpu in named if isinstance(gpu, int) and gpu >= len(visible)]
        # Parts of a GPU (MIG-...) are more than there are GPUs, so only whole ones are counted.
        whole = [gpu for gpu in named if not str(gpu).startswith("MIG-")]
        if outside or len(whole) > len(visible):
            raise _too_many(len(named), visible, outside)
    return list(named)


def _too_many(
    count: int, visible: tuple[int | str, ...], outside: Sequence[int | str] = ()
) -> ConfigurationError:
    seen = "no GPU" if not visible else "one GPU" if len(visible) == 1 else f"{len(visible)} GPUs"
    what = f"gpu {outside[0]}" if outside else f"{count or 'one or more'} engines"
    setting = os.environ.get(VISIBLE)
    told = "" if setting is None else f" ({VISIBLE}={setting!r})"
    return ConfigurationError(
        f"{what} can't be had: this process sees {seen}{told}, counted from 0, and each has room "
        "for one engine. Pool(engines=4, demo=True) needs none."
    )


def _given(
    engines: Sequence[Engine], gpus: Sequence[int | str] | None, settings: Mapping[str, Any]
) -> list[Engine]:
    found = list(engines) if isinstance(engines, Iterable) else [engines]
    wrong = [each for each in found if not isinstance(each, Engine)]
    if wrong or not found:
        what = f"{wrong[0]!r} is no engine" if wrong else "it is empty"
        msg = f"engines= must be a number, or engines of fooocus_nb.start() or connect(): {what}."
        raise ConfigurationError(msg)
    if gpus is not None or settings:
        names = ", ".join([*(["gpus"] if gpus is not None else []), *settings])
        msg = f"{names}: engines that run already can't be given these any more."
        raise ConfigurationError(msg)
    if len({engine.name for engine in found}) < len(found):
        msg = "engines= holds an engine twice."
        raise ConfigurationError(msg)
    return found


def _start_all(
    places: Sequence[int | str | None], name: str, settings: Mapping[str, Any]
) -> list[Engine]:
    """Start an engine for each place, all at once; none is left where one fails."""
    if wrong := sorted(_OWN & settings.keys()):
        msg = f"{wrong[0]}= has no meaning for a pool, which chooses it for each of its engines."
        raise ConfigurationError(msg)

    def begin(engine: str, gpu: int | str | None) -> Engine:
        return start(name=engine, gpu=gpu, share=False, **settings)

    taken = running()
    numbered = (f"{name}-{number}" for number in itertools.count(1))
    names = itertools.islice((each for each in numbered if each not in taken), len(places))
    threads = concurrent.futures.ThreadPoolExecutor(len(places))
    futures = [threads.submit(begin, *each) for each in zip(names, places, strict=True)]
    threads.shutdown(wait=False)
    try:
        return [wait_future(future) for future in futures]
    except BaseException:  # an interrupt, too
        for future in futures:
            future.add_done_callback(_stop_started)
        raise


def _stop_started(future: concurrent.futures.Future[Engine]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().stop()
