"""The events of one generation, and what it looks like at one moment."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb._background import Signal
from fooocus_nb.fooocus.events import Preview, Queued

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from fooocus_nb.fooocus.events import Event

__all__ = ["EventStream", "Snapshot"]

#: How much of it must have been sampled before the pace tells how long the rest takes: before the
#: first step models are loaded and prompts encoded, which says nothing of the steps.
LEAST_PERCENT = 5


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a generation looks like at one moment.

    Attributes
    ----------
    state : str
        ``queued``, ``starting``, ``running``, ``done``, ``stopped`` or ``failed``.
    percent : int
        The whole request's progress, 0 to 100.
    text : str
        The engine's own description of its progress.
    step, steps, image, images : int or None
        The sampling step and the image in the making, both from 1, and how many there are.
    preview : Preview or None
        The latest preview of the image in the making.
    paths : tuple of Path
        The images copied so far.
    elapsed : float
        Seconds since the request was submitted.
    remaining : float or None
        Seconds that are left, as far as the pace of the sampling steps tells; None before.
    last_line : str
        The engine's last log line.
    rank : int
        How many requests are before this one while it is queued.
    """

    state: str = "queued"
    percent: int = 0
    text: str = ""
    step: int | None = None
    steps: int | None = None
    image: int | None = None
    images: int | None = None
    preview: Preview | None = None
    paths: tuple[Path, ...] = ()
    elapsed: float = 0.0
    remaining: float | None = None
    last_line: str = ""
    rank: int = 0


class EventStream:
    """The events of one generation and its snapshot, from any thread to any thread.

    Listeners who come late are told of the past first, previews left out. `waited` is how many
    seconds ago the generation was submitted.
    """

    def __init__(self, waited: float = 0.0) -> None:
        self.submitted = time.monotonic() - waited
        self.began: float | None = None
        self.ended: float | None = None
        self.last_movement = time.monotonic()
        self._lock = threading.Lock()
        self._now = Snapshot()
        #: When the first step was told, and the percent at that moment.
        self._first_step: tuple[float, int] | None = None
        self._history: list[Event] = []
        self._over = False
        self._told: Signal[Event | None] = Signal("the events of a generation")

    # -- telling ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Note that its turn has come."""
        with self._lock:
            self.began = self.last_movement = time.monotonic()
            self._now = dataclasses.replace(self._now, state="starting", rank=0)

    def moved(self) -> None:
        """Note a sign of life of the engine."""
        self.last_movement = time.monotonic()

    def change(self, **changes: Any) -> None:
        """Change the snapshot without an event."""
        with self._lock:
            self._now = dataclasses.replace(self._now, **changes)
            if self._first_step is None and self._now.step:
                self._first_step = time.monotonic(), self._now.percent

    def publish(self, event: Event) -> None:
        """Tell an event to all who listen."""
        with self._lock:
            if not isinstance(event, Preview):
                self._history.append(event)
            tell = self._told.prepare()
        tell(event)

    def say(self, text: str) -> None:
        """Note what it waits for before it begins."""
        self.change(text=text)

    def set_rank(self, rank: int) -> None:
        """Note how many are before it, of ours and of those who share the server."""
        with self._lock:
            changed = rank != self._now.rank or not self._history
            self._now = dataclasses.replace(self._now, rank=rank)
        if changed:
            self.publish(Queued(rank))

    def finish(self, state: str) -> None:
        """Note the end, and tell all who listen that nothing follows."""
        with self._lock:
            self.ended = time.monotonic()
            percent = 100 if state == "done" else self._now.percent
            self._now = dataclasses.replace(self._now, state=state, percent=percent)
            self._over = True
            tell = self._told.prepare()
        tell(None)

    # -- looking ----------------------------------------------------------------------------

    @property
    def rank(self) -> int:
        """How many requests are before it while it is queued."""
        return self._now.rank

    @property
    def now(self) -> Snapshot:
        """The snapshot without its times."""
        return self._now

    @property
    def elapsed(self) -> float:
        """Seconds from the submission to the end, or to now."""
        return (self.ended or time.monotonic()) - self.submitted

    @property
    def silence(self) -> float | None:
        """Seconds since the engine last gave a sign of life; None unless it runs."""
        if self.began is None or self.ended is not None:
            return None
        return time.monotonic() - self.last_movement

    def snapshot(self, last_line: str) -> Snapshot:
        """Return what the generation looks like now."""
        with self._lock:
            now, first, ended = self._now, self._first_step, self.ended
        until = ended or time.monotonic()
        remaining = None
        if first is not None and ended is None and now.percent < 100:
            since, percent = first
            if (done := now.percent - percent) >= LEAST_PERCENT:
                remaining = (until - since) * (100 - now.percent) / done
        return dataclasses.replace(
            now, elapsed=until - self.submitted, remaining=remaining, last_line=last_line
        )

    def subscribe(self, listener: Callable[[Event | None], None]) -> Callable[[], None]:
        """Call `listener` with each event, those of the past first, and None at the end."""
        listen = _InOrder(self._told.guarded(listener))
        with self._lock:
            listen.wait_for(self._history)
            if self._over:
                listen.wait_for([None])
            unsubscribe = self._told.subscribe(listen)
        listen.tell_waiting()
        return unsubscribe


class _InOrder:
    """Tells one listener of the past and of what comes meanwhile, in order and without a lock."""

    def __init__(self, tell: Callable[[Event | None], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._waiting: deque[Event | None] = deque()
        self._telling = False

    def wait_for(self, events: Iterable[Event | None]) -> None:
        """Take events that are told later."""
        self._waiting.extend(events)

    def __call__(self, event: Event | None) -> None:
        """Tell an event, or leave it to the thread that tells the ones before it."""
        self._waiting.append(event)
        self.tell_waiting()

    def tell_waiting(self) -> None:
        """Tell what waits, unless another call does so already."""
        while True:
            with self._lock:
                if self._telling or not self._waiting:
                    return
                self._telling, event = True, self._waiting.popleft()
            try:
                self._tell(event)
            finally:
                with self._lock:
                    self._telling = False
