"""One asyncio event loop on a background thread, for all that talks to engines.

Kernels run their own loop, which a busy cell blocks. Generations must go on meanwhile, so
they live on a loop of their own; synchronous and awaiting callers both wait for its futures.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["await_future", "background_loop", "run_sync", "submit", "wait_future"]

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_owner_pid: int | None = None

#: How long one wait lasts at most; some platforms deliver Ctrl-C only between waits.
SLICE_SECONDS = 0.2
#: How often an awaiting call wakes its event loop.
WAKE_SECONDS = 0.1


def background_loop() -> asyncio.AbstractEventLoop:
    """Return the running background loop, starting it the first time.

    Returns
    -------
    asyncio.AbstractEventLoop
        The loop of this process. A forked child gets one of its own.
    """
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
    """Start a coroutine on the background loop.

    Parameters
    ----------
    coroutine : coroutine
        What to run.

    Returns
    -------
    concurrent.futures.Future
        Its outcome.
    """
    return asyncio.run_coroutine_threadsafe(coroutine, background_loop())


def wait_future(future: concurrent.futures.Future[T], timeout: float | None = None) -> T:
    """Wait for a future so that Ctrl-C gets through on every platform.

    Parameters
    ----------
    future : concurrent.futures.Future
        What to wait for.
    timeout : float or None
        Seconds; None waits as long as it takes.

    Returns
    -------
    object
        The future's result.

    Raises
    ------
    TimeoutError
        When the future is not done in time. The future goes on.
    """
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
    """Await a future of the background loop so that an interrupted cell gets through.

    Parameters
    ----------
    future : concurrent.futures.Future
        What to await. It is cancelled when whoever awaits it is.

    Returns
    -------
    object
        The future's result.
    """
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
    """Run a coroutine on the background loop and wait for it.

    Parameters
    ----------
    coroutine : coroutine
        What to run. It is cancelled when the wait ends early.
    timeout : float
        Seconds to wait at most.

    Returns
    -------
    object
        What the coroutine returned.

    Raises
    ------
    TimeoutError
        When it is not done in time.
    """
    future = submit(coroutine)
    try:
        return wait_future(future, timeout)
    finally:
        future.cancel()
