from __future__ import annotations

import re
from pathlib import Path

from fooocus_nb.engine.state import _LEGAL, EngineState, StateMachine


def test_a_life_from_start_to_stop_is_told_with_reasons():
    life = StateMachine()
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


def test_no_reason_holds_a_secret():
    """A reason may quote an address or a command line, and is shown and kept."""
    life = StateMachine()
    assert life.move(EngineState.STARTING, "http://me:open-sesame@host, --hf-token open-sesame")
    assert [change.reason for change in life.history][-1] == "http://***@host, --hf-token ***"


def test_an_illegal_transition_changes_nothing():
    life = StateMachine()
    assert not life.move(EngineState.BUSY)
    assert life.state is EngineState.STOPPED


def test_a_failing_listener_does_not_stop_the_others():
    life = StateMachine()
    heard = []

    def fail(_):
        raise RuntimeError

    life.subscribe(fail)
    life.subscribe(heard.append)
    assert life.move(EngineState.STARTING)
    assert len(heard) == 1


def test_a_step_counts_only_from_where_it_is_one():
    life = StateMachine()
    for state in (EngineState.STARTING, EngineState.READY, EngineState.UNRESPONSIVE):
        assert life.move(state)
    assert not life.move(EngineState.READY, "generation ended", only_from=EngineState.BUSY)
    assert life.state is EngineState.UNRESPONSIVE
    assert life.move(EngineState.READY, "well again", only_from=EngineState.UNRESPONSIVE)


def test_a_note_is_heard_and_changes_nothing():
    life = StateMachine()
    heard = []
    life.subscribe(heard.append)
    life.note("something happened")
    assert life.state is EngineState.STOPPED
    assert [change.reason for change in heard] == ["something happened"]
    assert life.history[-1] == heard[0]


def test_the_documented_states_are_the_real_ones():
    page = (Path(__file__).parents[2] / "docs" / "life.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:4] for line in page.partition("## What can")[0].splitlines()]
    said = {
        row[0].strip(" `"): set(re.findall(r"`(\w+)`", row[2])) for row in rows if len(row) == 3
    }
    for state, following in _LEGAL.items():
        assert said[state] == set(following)
