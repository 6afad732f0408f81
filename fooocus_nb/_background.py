"""One asyncio event loop on a background thread, and how calls wait for it and listen to it.

Kernels run their own loop, which a busy cell blocks. Generations must go on meanwhile, so
they run on a loop of their own; synchronous and awaiting callers both wait for its futures.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = [
    "Signal",
    "async_twin",
    "await_future",
    "background_loop",
    "run_sync",
    "submit",
    "twins",
    "wait_future",
]

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A", bound="Awaitable[Any]")

_log = logging.getLogger(__name__)

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_owner_pid: int | None = None

#: How long one wait lasts at most; some platforms deliver Ctrl-C only between waits.
SLICE_SECONDS = 0.2
#: How often an awaiting call wakes its event loop.
WAKE_SECONDS = 0.1


def background_loop() -> asyncio.AbstractEventLoop:
    """Return the loop of this process, starting it the first time; a forked child gets its own."""
    global _loop, _owner_pid
    with _lock:
        if _loop is None or _owner_pid != os.getpid():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(
                target=_run_loop, args=(loop,), name="fooocus-nb-loop", daemon=True
            )
            thread.start()
            _loop, _owner_pid = loop, os.getpid()
        return _loop


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


def submit(coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    """Start a coroutine on the background loop."""
    try:
        loop = background_loop()
    except BaseException:
        coroutine.close()
        raise
    return asyncio.run_coroutine_threadsafe(coroutine, loop)


def wait_future(future: concurrent.futures.Future[T], timeout: float | None = None) -> T:
    """Wait for a future so that Ctrl-C gets through; a TimeoutError leaves the future going on."""
    remaining = timeout
    while True:
        step = SLICE_SECONDS if remaining is None else min(SLICE_SECONDS, max(remaining, 0.0))
        done, _ = concurrent.futures.wait([future], timeout=step)
        if done:
            return future.result()
        if remaining is not None:
            remaining -= step
            if remaining <= 0:
                msg = f"not done after {timeout:g} seconds"
                raise TimeoutError(msg)


async def await_future(future: concurrent.futures.Future[T]) -> T:
    """Await a future of the background loop; it is cancelled when whoever awaits it is."""
    waiter = asyncio.wrap_future(future)
    waiter.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        while not waiter.done():
            # ipykernel's way to cancel an interrupted cell does not wake the event loop. One
            # that wakes by itself now and then lets the interrupt through.
            await asyncio.wait({waiter}, timeout=WAKE_SECONDS)
        return waiter.result()
    except asyncio.CancelledError:
        future.cancel()
        raise


def run_sync(coroutine: Coroutine[Any, Any, T], timeout: float) -> T:
    """Run a coroutine on the background loop and wait; it is cancelled when the wait ends early."""
    future = submit(coroutine)
    try:
        return wait_future(future, timeout)
    finally:
        future.cancel()


class Signal(Generic[T]):
    """Tells listeners of each event, on the thread that emits it. Safe from any thread.

    One rule for a listener that raises: it is logged, and the others are told all the same. Who
    looks on must not cost a generation.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.Lock()
        self._listeners: list[Callable[[T], None]] = []

    def subscribe(self, listener: Callable[[T], None]) -> Callable[[], None]:
        """Call `listener` with each further event; return what ends the subscription."""
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return unsubscribe

    def emit(self, event: T) -> None:
        """Tell everybody who listens now."""
        self.prepare()(event)

    def prepare(self) -> Callable[[T], None]:
        """Return a call that tells those who listen now, and nobody who comes meanwhile.

        It is for an owner that notes the event under a lock of its own: no listener is ever called
        with that lock held, and who subscribes just then is told once.
        """
        with self._lock:
            listeners = tuple(map(self.guarded, self._listeners))

        def tell(event: T) -> None:
            for listener in listeners:
                listener(event)

        return tell

    def guarded(self, listener: Callable[[T], None]) -> Callable[[T], None]:
        """Return a call to a listener that logs what it raises, such as to tell it of the past."""

        def tell(event: T) -> None:
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - whoever listens
                _log.exception("a listener for %s failed", self._what)

        return tell


def async_twin(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return the async twin of a call that waits: it waits on a thread of its own."""

    async def twin(*args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(function, *args, **kwargs)

    return _async_named(twin, function.__name__, function, function.__annotations__["return"])


def twins(
    begin: Callable[P, A], wait: Callable[[A], T]
) -> tuple[Callable[P, T], Callable[P, Coroutine[Any, Any, T]]]:
    """Return the two ways to call what begins something: one waits for it, one awaits it.

    `begin` is a private function such as ``_describe``, whose signature and docstring the two get
    under the names ``describe`` and ``adescribe``. What it returns can be awaited.
    """

    def blocking(*args: P.args, **kwargs: P.kwargs) -> T:
        return wait(begin(*args, **kwargs))

    async def awaiting(*args: P.args, **kwargs: P.kwargs) -> T:
        result: T = await begin(*args, **kwargs)
        return result

    name = begin.__name__.removeprefix("_")
    # The result of a Query[Description] is a Description; else `wait` says what it returns.
    _, generic, inside = str(begin.__annotations__["return"]).partition("[")
    returns = inside.removesuffix("]") if generic else wait.__annotations__["return"]
    return (
        _named(blocking, name, begin, returns),
        _async_named(awaiting, name, begin, returns),
    )


def _async_named(
    made: Callable[P, T], name: str, like: Callable[P, object], returns: str
) -> Callable[P, T]:
    _named(made, f"a{name}", like, returns)
    role = "meth" if "." in like.__qualname__ else "func"
    made.__doc__ = (
        f"Do the same as :{role}:`{name}` without blocking the event loop.\n\n"
        "    It has the same parameters, and raises the same.\n    "
    )
    return made


def _named(
    made: Callable[P, T], name: str, like: Callable[P, object], returns: str
) -> Callable[P, T]:
    """Give a wrapper its public name, and for help() the signature and docstring of another."""
    functools.update_wrapper(made, like)
    made.__name__ = name
    made.__qualname__ = ".".join([*like.__qualname__.split(".")[:-1], name])
    made.__annotations__ = {**like.__annotations__, "return": returns}
    signature = inspect.signature(like).replace(return_annotation=returns)
    made.__signature__ = signature  # type: ignore[attr-defined]
    return made
