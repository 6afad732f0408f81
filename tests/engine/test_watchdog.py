"""What the watchdog takes for an engine that does not answer, on a clock of the test's own."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from fooocus_nb.engine.state import EngineState, StateMachine
from fooocus_nb.engine.watchdog import ANSWER_TIMEOUT, Watchdog

if TYPE_CHECKING:
    from collections.abc import Iterator


class Silent:
    """A watchdog of an engine whose web server answers nothing, and what it tells."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.told: list[object] = []
        self._looked = threading.Semaphore(0)
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr("fooocus_nb.engine.watchdog.time", clock)
        monkeypatch.setattr("fooocus_nb.engine.watchdog.web_server_answers", self._ask)
        state = StateMachine()
        for step in (EngineState.STARTING, EngineState.READY):
            state.move(step)
        self.watchdog = Watchdog(
            "silent", None, state, process=lambda: None, client=object, restart=self.told.append
        )
        self.watchdog.interval = 1e6
        self.watchdog.unresponsive.subscribe(self.told.append)

    def _ask(self, *_: object, **__: object) -> bool:
        self._looked.release()
        return False

    def look(self, now: float) -> list[object]:
        """Let it look at a time; return all that it has told."""
        self.now = now
        for _ in range(2):  # at the second look, the first one is over
            self.watchdog.wake()
            assert self._looked.acquire(timeout=20)
        return list(self.told)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    """Let it look from the start of a test to its end."""
    watched = Silent(monkeypatch)
    watched.watchdog.begin()
    yield watched
    watched.watchdog.end()
    watched.watchdog.join()


def test_what_was_wrong_before_a_restart_is_not_counted_after_it(silent: Silent) -> None:
    assert silent.look(100.0) == []
    silent.watchdog.begin()  # as its own thread does, once it has restarted the engine
    assert silent.look(100.0 + ANSWER_TIMEOUT) == []
    assert silent.look(99.0 + 2 * ANSWER_TIMEOUT) == []
    assert silent.look(100.0 + 2 * ANSWER_TIMEOUT)


def test_where_the_machine_stood_still_the_engine_gets_its_time_again(silent: Silent) -> None:
    """A laptop that was closed for an hour has asked nothing meanwhile."""
    assert silent.look(100.0) == []
    silent.watchdog.interval = 5.0
    silent.look(103.0)
    assert silent.look(4000.0) == []
    assert silent.look(4000.0 + ANSWER_TIMEOUT - 1.0) == []
