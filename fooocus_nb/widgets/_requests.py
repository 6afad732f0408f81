"""A thread that answers what a page asks for, and exists only while there is something to do."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["RequestThread"]

_log = logging.getLogger(__name__)

T = TypeVar("T")


class RequestThread(Generic[T]):
    """Runs tasks in their order, and between them the requests of which only the latest count.

    Parameters
    ----------
    name : str
        The thread's name.
    serve : callable
        Serves a few requests at a time.
    at_once : int
        How many.
    serve_rest : callable, optional
        Serves a few of those that nobody waits for, once nothing else is left to do.
    rest_at_once : int, optional
        How many of those. Default 1.
    """

    def __init__(
        self,
        name: str,
        serve: Callable[[list[T]], None],
        at_once: int,
        *,
        serve_rest: Callable[[list[T]], None] | None = None,
        rest_at_once: int = 1,
    ) -> None:
        self._name = name
        self._serve = serve
        self._at_once = at_once
        self._serve_rest = serve_rest or serve
        self._rest_at_once = rest_at_once
        self._lock = threading.Lock()
        self._tasks: deque[Callable[[], None]] = deque()
        self._requests: deque[T] = deque()
        self._rest: deque[T] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, task: Callable[[], None]) -> None:
        """Run this after what was submitted before."""
        with self._lock:
            self._tasks.append(task)
            self._start()

    def request(self, requests: Iterable[T]) -> None:
        """Serve these, instead of those that were requested before and not served yet."""
        wanted = deque(requests)
        with self._lock:
            self._requests = wanted
            self._start()

    def add_rest(self, requests: Iterable[T]) -> None:
        """Serve these as well, when nothing else is left to do."""
        more = list(requests)
        with self._lock:
            self._rest.extend(more)
            self._start()

    @property
    def closed(self) -> bool:
        """Whether it takes no more."""
        return self._closed

    def close(self) -> None:
        """Drop what is left, and take no more."""
        with self._lock:
            self._closed = True
            self._clear()

    def _clear(self) -> None:
        for waiting in (self._tasks, self._requests, self._rest):
            waiting.clear()

    def _start(self) -> None:
        """Start the thread where there is none; under the lock."""
        if self._closed:
            self._clear()
        elif self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except Exception:  # noqa: BLE001 - one image must not end the thread
                _log.debug("a request of %s failed", self._name, exc_info=True)

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            if self._tasks:
                return self._tasks.popleft()
            if self._requests:
                batch = _take(self._requests, self._at_once)
                return lambda: self._serve(batch)
            if self._rest:
                batch = _take(self._rest, self._rest_at_once)
                return lambda: self._serve_rest(batch)
            self._thread = None
            return None


def _take(waiting: deque[T], count: int) -> list[T]:
    return [waiting.popleft() for _ in range(min(count, len(waiting)))]
