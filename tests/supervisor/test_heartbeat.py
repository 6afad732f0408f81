"""A guardian that is asked for a sign of life, and one that gives none."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from fooocus_nb.supervisor.process import Heartbeat

SLEEP = "time.sleep(120)"
BUSY = "while True: pass"
#: A new file each time: what is in memory already is not read from the disk.
WRITES = """
while True:
    with open(sys.argv[1], "wb") as file:
        file.write(bytes(1_000_000))
        os.fsync(file.fileno())
    time.sleep(0.2)
"""


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
    process = start(SLEEP, grace=3600.0)  # nothing waits for it
    os.kill(process.guardian_pid, signal.SIGSTOP)
    until(process.guardian_stopped)
    assert process.guardian_answers()  # it asks
    assert not process.guardian_answers()
    process.stop()
    assert gone(process.pid)
    assert gone(process.guardian_pid)
    assert not process.exists()


def test_a_released_guardian_is_asked_in_vain_and_nothing_is_raised(start):
    process = start(SLEEP)
    process.stop()
    process.guardian_answers()
    assert not process.guardian_answers()
    process.label(ready=True)
    process.keep(1.0)


def test_a_child_that_works_without_a_word_is_known_to_work(start, until):
    child = start(BUSY)
    began = time.monotonic()
    until(lambda: child.ask_work(0.2) or (child.last_work or 0.0) > began + 1.0)


def test_what_a_child_has_started_counts_as_well(start, until):
    child = start(f"subprocess.run([sys.executable, '-c', {BUSY!r}])")
    began = time.monotonic()
    until(lambda: child.ask_work(0.2) or (child.last_work or 0.0) > began + 1.0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the bytes of a process")
def test_a_child_that_uses_a_disk_is_known_to_work(start, until, tmp_path):
    code = WRITES.replace("sys.argv[1]", repr(str(tmp_path / "data")))
    child = start(code)
    began = time.monotonic()
    until(lambda: child.ask_work(0.2) or (child.last_work or 0.0) > began + 1.0)


def test_a_child_that_sleeps_does_not_work(start, until):
    child = start("print('asleep')\n" + SLEEP)
    until(lambda: child.tail() == ["asleep"])
    asleep = time.monotonic()
    until(lambda: child.ask_work(0.2) or time.monotonic() > asleep + 2.0)
    # Its start may have been measured with the first moment of its sleep.
    assert child.last_work is not None
    assert child.last_work < asleep + 1.0
