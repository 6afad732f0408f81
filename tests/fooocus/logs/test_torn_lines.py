"""Lines that two threads of Fooocus have printed into each other: nothing of them is overlooked."""

from __future__ import annotations

import re
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import pytest

from fooocus_nb import errors
from fooocus_nb.fooocus.logs.diagnosis import diagnose
from fooocus_nb.fooocus.logs.startup import Stage, StartupTracker
from fooocus_nb.fooocus.logs.torn_lines import mend, take_apart, traceback_part

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


#: The pieces in which a server's thread reports a request that failed: a frame in each.
REPORT = (
    "Traceback (most recent call last):\n",
    '  File "/opt/Fooocus/venv/lib/python3.11/site-packages/gradio/routes.py", line 437, in run\n'
    "    output = await app.get_blocks().process_api(\n"
    "             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n",
    '  File "/opt/Fooocus/webui.py", line 48, in generate_clicked\n'
    "    yield gr.update(visible=True, value=path)\n",
    '  File "/usr/lib/python3.11/pathlib.py", line 1044, in open\n    return io.open(self, mode)\n',
    "FileNotFoundError: [Errno 2] No such file or directory: '/opt/outputs/2026-11-27/x.png'\n",
)
BARS = (
    "\r  0%|          | 0/2 [00:00<?, ?it/s]",
    "\r 50%|█████     | 1/2 [00:00<00:00, 76.30it/s]",
    "\r100%|██████████| 2/2 [00:00<00:00, 76.30it/s]",
    "\n",
)
#: What the worker goes on printing meanwhile, also in pieces.
WORK = (
    *BARS,
    *("[Fooocus] Saving image 2/3 to system ...", "\n"),
    *("Image generated with private log at: /opt/outputs/2026-11-27/log.html", "\n"),
    *("Generating and saving time: 0.03 seconds", "\n"),
    *("[Fooocus] Preparing task 3/3 ...", "\n"),
    *("[Sampler] refiner_swap_method = joint", "\n"),
    *("[Sampler] sigma_min = 0.0291671771556139, sigma_max = 14.614643096923828", "\n"),
    *BARS,
)


def shuffled(report: Sequence[str], work: Sequence[str], most: int) -> Iterator[list[str]]:
    """Yield the log for each way in which up to `most` pieces of work come during the report."""
    for begin in range(len(work) + 1):
        longest = min(len(work) - begin, most)
        for cuts in combinations_with_replacement(range(longest + 1), len(report) - 1):
            pieces = [*work[:begin], report[0]]
            last = begin
            for cut, piece in zip(cuts, report[1:], strict=True):
                pieces += (*work[last : begin + cut], piece)
                last = begin + cut
            yield re.split(r"\r\n|\n|\r", "".join((*pieces, *work[last:])))


@pytest.mark.parametrize("redraws", [True, False], ids=["redraws", "log"])
def test_a_failed_request_is_explained_whatever_the_worker_prints_meanwhile(redraws: bool) -> None:
    for printed in shuffled(REPORT, WORK, 5):
        # A log keeps no empty line where a bar was redrawn.
        lines = printed if redraws else [line for line in printed if line]
        found = diagnose(lines)
        assert found is not None, lines
        assert found.cause.startswith("The engine does not find /opt/outputs"), lines
        assert found.lines[0] == REPORT[0].strip(), lines
        assert found.lines[-1] == REPORT[-1].strip(), lines
        assert not any("%|" in line or "[" in line[:1] for line in found.lines), lines


def test_a_traceback_that_was_cut_takes_nothing_of_the_next_one() -> None:
    cut = "".join(REPORT[:3]).splitlines()
    other = [*FRAMES[:1], '  File "/opt/Fooocus/webui.py", line 9, in f\n', "KeyError: 'x'\n"]
    found = diagnose([*cut, "[Fooocus] Preparing task 3/3 ...", *"".join(other).splitlines()])
    assert found is not None
    assert found.lines == tuple("".join(other).splitlines())


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied",
        "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
        "RuntimeError: miopenStatusUnknownError",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 1.2 GiB",
        "[Prompt Expansion] a catFileNotFoundError: nothing",
    ],
)
def test_an_exception_that_a_line_mentions_is_not_taken_out_of_it(line: str) -> None:
    assert line in traceback_part(line)
