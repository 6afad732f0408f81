"""The ways of other platforms, as far as they can be tried here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fooocus_nb.supervisor import _platform

needs_ps = pytest.mark.skipif(not Path("/bin/ps").exists(), reason="no ps")


@pytest.fixture
def sleeper():
    popen = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield popen
    popen.kill()
    popen.wait()


@needs_ps
def test_ps_tells_of_process_trees_and_not_of_itself(monkeypatch, sleeper):
    monkeypatch.setattr(_platform, "LINUX", False)
    assert _platform._ps_table()[sleeper.pid] == (os.getpid(), sleeper.pid)
    others = {child.pid for child in psutil.Process().children(recursive=True)}
    assert _platform.process_tree(sleeper.pid, "NO=such") == others | {sleeper.pid}


@needs_ps
def test_a_group_is_found_without_kinship(monkeypatch):
    monkeypatch.setattr(_platform, "LINUX", False)
    leader = subprocess.Popen(
        ["sh", "-c", "sleep 60 >/dev/null & echo $!"],
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    orphan = int(leader.communicate()[0])
    try:
        assert orphan in _platform.process_tree(leader.pid, "NO=such")
    finally:
        os.kill(orphan, 9)


@needs_ps
def test_creation_times_by_ps(monkeypatch, sleeper):
    monkeypatch.setattr(_platform, "LINUX", False)
    created = _platform.creation_time(sleeper.pid)
    assert created
    assert not _platform.peer_gone(sleeper.pid, created)
    sleeper.kill()
    # Not waited for: a zombie has ended.
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert _platform.creation_time(sleeper.pid) is None
    assert _platform.peer_gone(sleeper.pid, created)


def test_the_guardian_loads_little():
    """It lives as long as the engine, beside a program that needs all the memory there is."""
    code = (
        "import sys; sys.path.append(sys.argv[1]); import fooocus_nb.supervisor.guardian;"
        "print(*sys.modules)"
    )
    root = Path(_platform.__file__).parents[2]
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(root)],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    ).stdout.split()
    heavy = {"asyncio", "dataclasses", "inspect", "logging", "pathlib", "ssl", "tempfile"}
    assert not heavy & set(loaded)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_a_process_that_has_ended_is_no_peer():
    popen = subprocess.Popen(["true"])
    popen.wait()
    with pytest.raises(ProcessLookupError):
        _platform.watch(popen.pid)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may go first")
def test_the_guardian_goes_first_and_the_child_does_not(start):
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    process = start("time.sleep(60)")
    assert os.getpriority(os.PRIO_PROCESS, process.guardian_pid) == max(ours - 10, -20)
    for thread in Path(f"/proc/{process.guardian_pid}/task").iterdir():
        assert os.getpriority(os.PRIO_PROCESS, int(thread.name)) == max(ours - 10, -20)
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == ours
