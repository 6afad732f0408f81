"""Lines that two threads of Fooocus have printed into each other: nothing of them is overlooked."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import pytest

from fooocus_nb import errors
from fooocus_nb.fooocus.logs.diagnosis import diagnose
from fooocus_nb.fooocus.logs.startup import Stage, StartupTracker
from fooocus_nb.fooocus.logs.torn_lines import mend, take_apart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STARTED = "App started successful. Use the app with http://127.0.0.1:7865/ or 127.0.0.1:7865"
SERVING = "Running on local URL:  http://127.0.0.1:7865"


def frame(file: str, line: str, function: str, source: str) -> tuple[str, ...]:
    return ('  File "', file, '", line ', line, ", in ", function, "\n", "    ", source, "\n")


#: The pieces in which an unbuffered Python 3.11 writes the report of a thread that ends.
FRAMES = (
    "Traceback (most recent call last):\n",
    *frame("/usr/lib/python3.11/threading.py", "1045", "_bootstrap_inner", "self.run()"),
    *frame("/usr/lib/python3.11/threading.py", "982", "run", "self._target(*self._args)"),
    *frame("/opt/Fooocus/modules/async_worker.py", "25", "worker", "import torch"),
    *("RuntimeError", ": ", "the worker is gone", "\n"),
)
NAMED = ("Exception in thread ", "Thread-2 (worker)", ":", "\n", *FRAMES)
NAMELESS = ("Exception in thread ", "Thread-2", ":", "\n", *FRAMES)  # up to Python 3.9


def torn(report: Sequence[str], sentence: str) -> Iterator[list[str]]:
    """Yield the log for each place where the main thread's sentence and its ending can come."""
    places = range(len(report) + 1)
    for first, second in combinations_with_replacement(places, 2):
        pieces = (*report[:first], sentence, *report[first:second], "\n", *report[second:])
        if pieces[first + 1].isdigit():  # nothing tells where the port of the address ends
            continue
        yield "".join(pieces).split("\n")


@pytest.mark.parametrize("sentence", [STARTED, SERVING])
@pytest.mark.parametrize("report", [NAMED, NAMELESS], ids=["named", "nameless"])
def test_a_dead_worker_is_seen_wherever_the_main_thread_prints(
    report: Sequence[str], sentence: str
) -> None:
    stage = Stage.READY if sentence == STARTED else Stage.HTTP_UP
    for lines in torn(report, sentence):
        tracker = StartupTracker()
        for line in lines:
            tracker.feed(line)
        assert tracker.worker_dead, lines
        assert tracker.stage is stage, lines
        assert tracker.url == "http://127.0.0.1:7865", lines
        found = diagnose(lines)
        assert found is not None, lines
        assert found.error is errors.WorkerDead, lines
        assert "RuntimeError" in f"{found.cause} {found.remedy} {found.lines}", lines


@pytest.mark.parametrize("sentence", [STARTED, SERVING])
def test_what_another_thread_reports_is_not_the_workers(sentence: str) -> None:
    other = [
        piece.replace("async_worker.py", "uploads.py").replace("worker", "reader")
        for piece in NAMED
    ]
    for lines in torn(other, sentence):
        tracker = StartupTracker()
        for line in lines:
            tracker.feed(line)
        assert not tracker.worker_dead, lines
        found = diagnose(lines)
        assert found is None or found.error is not errors.WorkerDead, lines


def test_a_whole_line_stays_as_it_is() -> None:
    lines = ["Started worker with PID 1", "", "    indented", "[Parameters] Seed = 1", ": odd"]
    assert list(mend(lines)) == lines
    assert take_apart("Started worker with PID 1") == ("", "Started worker with PID 1")
    assert take_apart(STARTED) == (STARTED, "")
    assert take_apart("Use the app with http://127.0.0.1:7865/")[0] == ""


def test_what_the_end_of_the_log_cuts_is_kept() -> None:
    assert list(mend([f'  File "{STARTED}'])) == ['  File "']


def test_a_prompt_that_quotes_it_is_only_a_prompt() -> None:
    prompt = f"[Prompt Expansion] {SERVING} of somebody else"
    assert take_apart(prompt) == ("", prompt)
    assert list(mend([prompt])) == [prompt]
    tracker = StartupTracker()
    tracker.feed(prompt)
    assert tracker.url is None
