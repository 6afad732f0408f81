"""One behaviour of Stop: a short error that says what is done, wherever one waits."""

from __future__ import annotations

import os
import re
import signal
import sys

import psutil
import pytest

from fooocus_nb.engine.interrupts import INTERRUPT_TIMEOUT

#: One image is soon made, and many are to come.
SLOW = "image_number=12, steps=2, width=64, height=64, seed=1"
LINE = "-n 12 --steps 2 --size 64x64 --seed 1 -o kept"
#: The second image takes long enough for what happens in the middle of it.
LONG = "image_number=2, steps=10, width=64, height=64, seed=1"
CELLS = (
    f"kept = engine.generate('a cat', {SLOW})",
    f"def make():\n    return engine.generate('a cat', {SLOW})\nkept = make()",
    f"kept = await engine.agenerate('a cat', {SLOW})",
    f"kept = engine.submit('a cat', {SLOW}).result()",
    f"%%fooocus {LINE}\na cat",
    f"%fooocus {LINE} a cat",
    f"get_ipython().run_line_magic('fooocus', '{LINE} a cat')",
)
#: What has no monitor of its own is watched by the kernel, which tells the test.
WATCH = """
import threading, time, fooocus_nb
engine = fooocus_nb.current()
def tell():
    while (job := engine.current_job) is None or (job.snapshot().image or 0) < 2:
        time.sleep(0.02)
    display("the second image has begun")
def watch():
    threading.Thread(target=tell, daemon=True).start()
"""


def second_begun(message):
    return "the second image has begun" in message["content"].get("data", {}).get("text/plain", "")


def test_an_interrupt_is_one_short_error_wherever_it_comes(new_notebook):
    """The message alone, in a kernel that awaits its cell and in one that the cell blocks."""
    notebook = new_notebook(FOOOCUS_DEMO_STEP_SECONDS="0.1")
    notebook.run(f"%fooocus start --demo\n{WATCH}")
    for code in CELLS:
        notebook.run("engine.last_result = kept = None; watch()")
        cell = notebook.run(code, hook=notebook.interrupt_when(second_begun), fails=True)
        assert len(cell.error.splitlines()) == 1, (code, cell.error)
        assert re.search("images? (is|are) done, in engine.last_result", cell.error), code
        assert "the engine is ready for the next generation" in cell.error, code
        assert notebook.value("[image.seed for image in engine.last_result]")[:1] == [1], code
        if "-o kept" in code:
            assert notebook.value("[image.seed for image in kept]")[:1] == [1], code


@pytest.mark.skipif(sys.platform == "win32", reason="stops a process by a signal")
@pytest.mark.parametrize(
    "code",
    [
        f"engine.generate('a cat', {LONG})",
        pytest.param(f"await engine.agenerate('a cat', {LONG})", marks=pytest.mark.slow),
        pytest.param(
            "%%fooocus -n 2 --steps 10 --size 64x64 --seed 1\na cat", marks=pytest.mark.slow
        ),
    ],
)
def test_an_interrupted_call_returns_though_the_engine_does_not(new_notebook, code):
    """The engine stays stopped: whatever came back, came without it."""
    assert INTERRUPT_TIMEOUT < 10
    notebook = new_notebook(FOOOCUS_DEMO_STEP_SECONDS="0.1")
    # So short, also where the machine is busy: what is waited for does not come.
    notebook.run("from fooocus_nb.engine import interrupts; interrupts.INTERRUPT_TIMEOUT = 1.5")
    notebook.run(f"%fooocus start --demo\n{WATCH}watch()")
    pid = notebook.value("engine.pid")

    def frozen(message):
        if second_begun(message):
            os.kill(pid, signal.SIGSTOP)
            return True
        return False

    try:
        cell = notebook.run(code, hook=notebook.interrupt_when(frozen), fails=True)
        assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
    finally:
        os.kill(pid, signal.SIGCONT)
    assert len(cell.error.splitlines()) == 1, cell.error
    assert "1 image is done, in engine.last_result; the engine is still busy" in cell.error
    assert notebook.value("[image.seed for image in engine.last_result]") == [1]
    notebook.run("result = engine.generate('a dog', steps=2, width=128, height=128)")


START = """
import os, signal, fooocus_nb
def freeze(engine):
    if engine.pid and os.environ.pop("FREEZE", ""):
        os.kill(engine.pid, signal.SIGSTOP)
        display("frozen")
os.environ["FREEZE"] = "1"
engine = fooocus_nb.start(demo=True, grace=3600, on_progress=freeze)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="stops a process by a signal")
def test_an_interrupted_start_does_not_wait_for_an_engine_that_is_stuck(new_notebook):
    notebook = new_notebook(FOOOCUS_DEMO_STEP_SECONDS="0")

    def frozen(message):
        return "frozen" in message["content"].get("data", {}).get("text/plain", "")

    cell = notebook.run(START, hook=notebook.interrupt_when(frozen), fails=True)
    assert len(cell.error.splitlines()) == 1, cell.error
    assert "The start of engine 'demo' was interrupted" in cell.error
    notebook.wait_for("not fooocus_nb.engines()")
    notebook.run("engine = fooocus_nb.start(demo=True)")
