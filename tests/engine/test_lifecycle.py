from __future__ import annotations

from fooocus_nb.lifecycle import EngineState, Lifecycle


def test_a_life_from_start_to_stop_is_told_with_reasons():
    life = Lifecycle()
    heard = []
    unsubscribe = life.subscribe(heard.append)
    assert life.move(EngineState.STARTING, "asked")
    assert life.move(EngineState.READY)
    unsubscribe()
    assert life.move(EngineState.STOPPING)
    assert [change.state for change in heard] == [EngineState.STARTING, EngineState.READY]
    assert heard[0].reason == "asked"
    times = [change.time for change in life.history]
    assert times == sorted(times)


def test_an_illegal_transition_changes_nothing():
    life = Lifecycle()
    assert not life.move(EngineState.BUSY)
    assert life.state is EngineState.STOPPED


def test_a_failing_listener_does_not_stop_the_others():
    life = Lifecycle()
    heard = []

    def fail(_):
        raise RuntimeError

    life.subscribe(fail)
    life.subscribe(heard.append)
    assert life.move(EngineState.STARTING)
    assert len(heard) == 1
