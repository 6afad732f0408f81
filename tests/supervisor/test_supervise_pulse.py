"""A guardian that is asked for a sign of life, and one that gives none."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from fooocus_nb.supervisor._heartbeat import Pulse

SLEEP = "time.sleep(120)"


def test_there_is_one_question_at_a_time():
    asked = []
    pulse = Pulse(lambda: asked.append("?"))
    assert pulse.check()
    assert not pulse.check()
    assert not pulse.check()
    assert asked == ["?"]
    pulse.beat()
    assert pulse.check()
    assert asked == ["?", "?"]


def test_a_question_that_cannot_be_sent_is_one_without_an_answer():
    def fail():
        raise BrokenPipeError

    pulse = Pulse(fail)
    assert pulse.check()
    assert not pulse.check()


def test_a_guardian_answers(start, until):
    process = start(SLEEP)
    assert process.guardian_answers()
    until(process.guardian_answers)
    assert not process.guardian_stopped()
    assert process.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_stopped_guardian_is_noticed_and_ended_all_the_same(start, until, gone):
    process = start(SLEEP)
    os.kill(process.shim_pid, signal.SIGSTOP)
    until(process.guardian_stopped)
    assert process.guardian_answers()  # it asks
    assert not process.guardian_answers()
    began = time.monotonic()
    process.stop()
    assert gone(process.pid)
    assert gone(process.shim_pid)
    assert not process.exists()
    assert time.monotonic() - began < process.spec.grace


def test_one_that_was_let_go_of_is_asked_in_vain_and_nothing_is_raised(start):
    process = start(SLEEP)
    process.stop()
    process.guardian_answers()
    assert not process.guardian_answers()
    process.label(ready=True)
    process.keep(1.0)
