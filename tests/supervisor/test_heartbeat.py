"""A guardian that is asked for a sign of life, and one that gives none."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from fooocus_nb.supervisor.process import Heartbeat

SLEEP = "time.sleep(120)"


def test_there_is_one_question_at_a_time():
    asked = []
    heartbeat = Heartbeat(lambda: asked.append("?"))
    assert heartbeat.check()
    assert not heartbeat.check()
    assert not heartbeat.check()
    assert asked == ["?"]
    heartbeat.received()
    assert heartbeat.check()
    assert asked == ["?", "?"]


def test_a_question_that_cannot_be_sent_is_one_without_an_answer():
    def fail():
        raise BrokenPipeError

    heartbeat = Heartbeat(fail)
    assert heartbeat.check()
    assert not heartbeat.check()


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


def test_a_released_guardian_is_asked_in_vain_and_nothing_is_raised(start):
    process = start(SLEEP)
    process.stop()
    process.guardian_answers()
    assert not process.guardian_answers()
    process.label(ready=True)
    process.keep(1.0)
