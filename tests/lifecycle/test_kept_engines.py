"""A kept engine outlives its kernel, however that ends, and the next kernel takes hold of it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from ..lanes import slow_but
from .conftest import START, Household
from .test_kernel_ends import ENDS, SERVER_ENDS, Kernel, Server, posix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Its second image waits for a file, so that no kernel comes too late.
KEPT = "import os\ncue = os.environ['TOLD'] + '.cue'\n" + START.replace(
    "demo=True", "demo=True, lifetime='detached'"
).replace('"daemon"]', '"daemon", "--fault", f"cue={cue}", "--fault", "from-image=2"]')
SHARED = START.replace("demo=True", "demo=True, share=True")
SUBMIT = """
job = engine.submit("a cat", seed=5, image_number=3, steps=20, width=64, height=64)
next(event for event in job.events(60) if getattr(event, "step", None))
"""
RECOVER = """
assert engine.attached
(job,) = engine.found_jobs
open(cue, "w").close()
assert [image.seed for image in job.result(60)] == [5, 6, 7]
engine.stop()
"""


@pytest.fixture
def kernels(household: Household) -> Iterator[Callable[..., Kernel]]:
    """Start kernels with a slower engine, and end them after the test."""
    household.environment["FOOOCUS_DEMO_STEP_SECONDS"] = "0.03"
    started: list[Kernel] = []

    def start(code: str = KEPT) -> Kernel:
        started.append(Kernel(household, code))
        return started[-1]

    yield start
    for kernel in started:
        kernel.close()
    subprocess.run(
        [sys.executable, "-m", "fooocus_nb.cli", "stop", "--all"],
        env=household.environment,
        check=True,
        timeout=60,
    )


@posix
@pytest.mark.parametrize("end", slow_but(["restart", "restart now", "SIGKILL"], "SIGKILL"))
def test_it_survives_its_kernel_with_what_it_generates(
    kernels: Callable[..., Kernel], household: Household, end: str
) -> None:
    first = kernels()
    before = list(household.family)
    first.run(SUBMIT)
    ENDS[end](first)
    second = kernels()
    assert household.family == before
    second.run(RECOVER)
    household.assert_gone()


@pytest.mark.slow
@posix
def test_it_survives_a_restart_by_the_server(
    kernels: Callable[..., Kernel], household: Household
) -> None:
    server = Server(household)
    try:
        identity = server.start(KEPT)
        kernel, before = household.kernel, list(household.family)
        SERVER_ENDS["RESTART"](server, identity)
        assert kernel is not None
        kernel.wait(20)
        second = kernels()
        assert household.family == before
        second.run("engine.stop()")
        household.assert_gone()
    finally:
        server.close()


@posix
def test_it_ends_when_it_was_idle_for_long_enough(
    kernels: Callable[..., Kernel], household: Household
) -> None:
    kernel = kernels(KEPT.replace("lifetime", "idle_timeout=1.0, lifetime"))
    ENDS["SIGKILL"](kernel)
    household.assert_gone()


@posix
@pytest.mark.slow
def test_a_shared_engine_ends_with_its_last_kernel(
    kernels: Callable[..., Kernel], household: Household
) -> None:
    first = kernels(SHARED)
    family = list(household.family)
    second = kernels(SHARED)
    assert household.family == family
    ENDS["restart now"](first)
    second.run("engine.generate('a cat', width=64, height=64, steps=1, image_number=1)")
    assert household.all_alive()
    ENDS["SIGKILL"](second)
    household.assert_gone()


@posix
def test_all_are_stopped_from_a_shell(kernels: Callable[..., Kernel], household: Household) -> None:
    kernel = kernels()
    kernel.run("others = [fooocus_nb.start(demo=True), fooocus_nb.start(demo=True, share=True)]")
    done = subprocess.run(
        [sys.executable, "-m", "fooocus_nb.cli", "stop", "--all"],
        env=household.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.count("is stopped") == 3
    household.assert_gone()
    assert kernel.household.kernel is not None
    assert psutil.pid_exists(kernel.household.kernel.pid)
    kernel.run(
        "for each in (engine, *others):\n"
        "    deadline = time.monotonic() + 20\n"
        "    while str(each.state) != 'stopped' and time.monotonic() < deadline:\n"
        "        time.sleep(0.02)\n"
        "    assert str(each.state) == 'stopped', each"
    )
