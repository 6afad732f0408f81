"""Starts from kernels in which something else is at work: a debugger, a preloaded library."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

BEGIN = """
import os, sys, tempfile
from pathlib import Path
"""
START = """
from fooocus_nb.supervisor import ChildSpec, Process
run_dir = Path(sys.argv[1])
process = Process.start(ChildSpec(
    argv=(sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"), env=dict(os.environ),
    name="x", run_dir=run_dir, log_path=run_dir / "log",
))
command = Path(f"/proc/{process.guardian_pid}/cmdline").read_bytes().split(b"\\0")
print(sys.argv[2:], command[1:6], b"pydevd" in command[6])
process.stop()
"""
FLAGS = [b"-I", b"-S", b"-X", b"utf8=%d" % sys.flags.utf8_mode, b"-c"]
linux = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")


def run(folder, code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    folder.chmod(0o700)
    return subprocess.run(
        [sys.executable, *arguments, "-c", BEGIN + code + START, str(folder)],
        capture_output=True, text=True, timeout=60, check=False, env=os.environ | environment,
    )  # fmt: skip


@linux
def test_a_debugger_of_the_kernel_keeps_away_from_the_guardian(tmp_path):
    pytest.importorskip("debugpy")
    done = run(tmp_path, "import debugpy; debugpy.listen(('127.0.0.1', 0))")
    assert done.returncode == 0, done.stderr
    # A debugger leaves the flags, and puts itself before what is run.
    assert done.stdout == f"[] {FLAGS} False\n"


@linux
def test_what_is_printed_at_every_start_does_not_spoil_the_answer(tmp_path):
    done = run(tmp_path, "", LD_PRELOAD="/no/such/library.so")
    assert "cannot be preloaded" in done.stderr  # the kernel's own start
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[] [b'-I'")


NOISE = """
import fooocus_nb.supervisor.guardian_handle as handle
handle._BOOT = (
    "import sys; print('noise', flush=True); print('[1]', flush=True); print({}, flush=True);"
    "sys.stderr.write('x' * 500_000); sys.stderr.flush();"
) + handle._BOOT
"""


@linux
def test_a_flood_of_noise_on_both_streams_is_read_past(tmp_path):
    done = run(tmp_path, NOISE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[] [b'-I'")


ASK = """
import debugpy; debugpy.listen(("127.0.0.1", 0))
import os, sys
from pathlib import Path
from fooocus_nb.doctor._run import ask
from fooocus_nb.install.programs import Programs
from fooocus_nb.install.target import Target
question = [sys.executable, "-c", "import sys; print('pydevd' in sys.modules)"]
print(ask(question, 60))
print(Programs(Target(Path(sys.argv[1]))).ask(question, what="asking", environment=os.environ))
"""


def test_a_debugger_of_the_kernel_keeps_away_from_what_is_only_asked(tmp_path):
    """It would take seconds, and its warnings would be part of the answer."""
    pytest.importorskip("debugpy")
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(tmp_path)],
        capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    answer = "Answer(returncode=0, output='False\\n', errors='')"
    assert done.stdout == f"{answer}\n['False']\n"
