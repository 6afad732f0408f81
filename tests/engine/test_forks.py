"""A fork of the kernel, as multiprocessing makes them, ends nothing of the kernel's."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ..lanes import slow_but

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are POSIX")

KERNEL = """
import multiprocessing, os, sys
import fooocus_nb
small = dict(image_number=1, width=64, height=64, steps=1)

def fork(code):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        exec(code, globals())
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, (code, status)

def square(number):
    return number * number

with fooocus_nb.start(demo=True, share=True, output_dir=sys.argv[1], timeout=60) as engine:
    pid = engine.pid
    job = engine.submit("a cat", image_number=1, width=64, height=64, steps=20)
    fork(sys.argv[2])
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(square, [1, 2]) == [1, 4]
    assert len(job.result(60)) == 1
    assert len(engine.generate("a dog", **small)) == 1
    assert (engine.pid, str(engine.state)) == (pid, "ready")
    (info,) = fooocus_nb.engines()
    print(info.users, info.pid == pid)
"""
REFUSED = """
for call in (engine.sleep, engine.restart):
    try:
        call()
    except fooocus_nb.ConfigurationError as error:
        assert "is a fork of it" in str(error) and f"connect({engine.url!r})" in str(error), error
    else:
        sys.exit(call.__name__)
"""
OWN = """
mine = fooocus_nb.start(demo=True, share=True, output_dir=sys.argv[1], timeout=60)
assert mine is not engine and mine.attached and mine.pid == engine.pid
assert len(mine.generate("a cow", **small)) == 1
mine.stop()
"""


#: What a fork does before it ends, which leaves the kernel's `with`, too.
DOES = {
    "nothing": "pass",
    "stops": "engine.stop(); engine.detach()",
    "restarts": REFUSED,
    "starts": OWN,
}


@pytest.mark.parametrize("what", slow_but(DOES, "nothing", "starts"))
def test_what_a_fork_does_ends_nothing(registry, tmp_path: Path, what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KERNEL, str(tmp_path), DOES[what]],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 True\n"
