"""The registry: what is in it is alive, whatever was left there, and starts take turns."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fooocus_nb.errors import ConnectionLost, EngineTimeout
from fooocus_nb.supervisor import ChildSpec, Process, _platform
from fooocus_nb.supervisor.registry import UNPUBLISHED_SECONDS, Entry, Registry

from ..lanes import examples

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = (sys.executable, "-I", "-S", "-c")
SLEEP = (*PYTHON, "import time; print('ready', flush=True); time.sleep(90)")
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
#: Nobody has it in the environment.
MARKER = "FOOOCUS_NB_GUARD=" + "0" * 32


@pytest.fixture
def registry(tmp_path):
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    return Registry(folder)


@pytest.fixture
def begin(registry):
    """Start children that are in the registry, and stop them after the test."""
    processes: list[Process] = []

    def start(name: str = "engine", *, argv=SLEEP, **options) -> Process:
        run_dir = registry.folder / f"run-{len(processes)}"
        run_dir.mkdir(mode=0o700)
        spec = ChildSpec(
            argv=argv, env=dict(os.environ), name=name, run_dir=run_dir,
            log_path=registry.folder.parent / "engine.log", cleanup=(run_dir,), **options,
        )  # fmt: skip
        processes.append(Process.start(spec))
        return processes[-1]

    yield start
    for process in processes:
        process.stop(grace=0.5)


def published(**changes) -> dict:
    """What a guardian publishes; this test is its guardian and its child."""
    own = _platform.creation_time(os.getpid())
    return {
        "name": "x", "argv": ["x"], "cwd": "/", "pid": os.getpid(), "created": own,
        "guardian": os.getpid(), "guardian_created": own, "address": ["unix", "/nowhere"],
        "started_at": 1.0, "run_dir": "/x", "log_path": "/x/engine.log", "idle_timeout": None,
        "cleanup": [], "labels": {}, "token": "t", "marker": MARKER, **changes,
    }  # fmt: skip


def publish(registry: Registry, content: bytes | dict, name: str = "run-x") -> Path:
    run_dir = registry.folder / name
    run_dir.mkdir(mode=0o700, exist_ok=True)
    data = json.dumps(content).encode() if isinstance(content, dict) else content
    (run_dir / "guardian.json").write_bytes(data)
    return run_dir


# -- what is in it ----------------------------------------------------------------------------


def test_what_runs_is_there_until_it_has_ended(registry, begin):
    assert registry.entries() == []
    first, second = begin("one", labels={"key": "a"}), begin("two")
    one, two = registry.entries()
    assert (one.name, one.pid, one.guardian) == ("one", first.pid, first.guardian_pid)
    assert (one.labels, two.labels) == ({"key": "a"}, {})
    assert one.proven()
    first.label(key="b", ready=True)
    second.keep(60)
    assert one.look() is not None  # a guardian serves in order, so it has done the others' wishes
    until(lambda: registry.entries()[0].labels == {"key": "b", "ready": True})
    until(lambda: registry.entries()[1].idle_timeout == 60)
    first.stop()
    assert [entry.name for entry in registry.entries()] == ["two"]
    assert not one.proven()
    assert one.look(0.5) is None


def until(condition, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_users_are_counted_and_visitors_are_not(registry, begin):
    process = begin()
    (entry,) = registry.entries()
    for _ in range(3):
        assert entry.look().users == 1
    other = Process.attach(entry.run_dir)
    assert entry.look().users == 2
    assert not other.leave()
    assert entry.look().users == 1
    assert process.leave()
    assert registry.entries() == []
    assert not entry.run_dir.exists()


def test_of_all_who_leave_at_once_the_last_one_ends_it(registry, begin):
    process = begin()
    others = [Process.attach(process.spec.run_dir) for _ in range(4)]
    assert [other.leave() for other in (*others, process)] == [False] * 4 + [True]


def test_one_that_is_ending_takes_nobody_in(registry, begin):
    stubborn = (*PYTHON, "import signal; signal.signal(15, 1); " + SLEEP[-1])
    process = begin(argv=stubborn, grace=3.0)
    until(lambda: process.tail() == ["ready"])
    other = Process.attach(process.spec.run_dir)
    process._send(op="stop")
    until(lambda: other.ending == "stopped on request")
    (entry,) = registry.entries()
    assert entry.look().ending == "stopped on request"
    with pytest.raises(ConnectionLost, match="is ending"):
        Process.attach(entry.run_dir)
    other.stop(grace=0)


@posix
def test_what_a_killed_guardian_left_is_removed_with_its_processes(registry, begin, tmp_path):
    code = "import os, time\nif os.fork() == 0:\n    os.setsid()\nprint(os.getpid(), flush=True)\n"
    process = begin(argv=(*PYTHON, code + "time.sleep(90)"))
    until(lambda: len(process.tail()) == 2)
    pids = [int(line) for line in process.tail()]
    run_dir = process.spec.run_dir
    process._closing = True  # its own kernel does nothing about it, as if it were dead, too
    os.kill(process.guardian_pid, signal.SIGKILL)
    until(lambda: _platform.creation_time(process.guardian_pid) is None)
    # Its other threads may hold its socket a moment longer than its first one lives: until then it
    # is shown no more, and removed by a later look.
    until(lambda: registry.entries() == [] and not run_dir.exists())
    # The second watcher may be at it, too, and what is killed takes a moment to end.
    until(lambda: not any(map(_platform.creation_time, pids)))


@posix
def test_an_entry_of_somebody_else_is_left_alone(registry):
    run_dir = publish(registry, published())
    assert len(registry.entries()) == 1
    elsewhere = registry.folder.parent / "elsewhere"
    run_dir.rename(elsewhere)
    run_dir.symlink_to(elsewhere)
    assert registry.entries() == []
    assert (elsewhere / "guardian.json").exists()


def test_a_folder_that_nobody_came_to_is_removed_only_when_it_is_old(registry):
    run_dir = registry.folder / "run-y"
    run_dir.mkdir(mode=0o700)
    assert registry.entries() == []
    assert run_dir.exists()  # somebody may be about to publish
    old = time.time() - UNPUBLISHED_SECONDS - 10
    os.utime(run_dir, (old, old))
    assert registry.entries() == []
    assert not run_dir.exists()


# -- whatever is written there ------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
TORN = st.binary(max_size=300) | st.integers(0, 500).map(
    lambda cut: json.dumps(published()).encode()[:cut]
)
PER_TEST = settings(
    deadline=None,
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@PER_TEST
@given(TORN)
def test_torn_files_are_tolerated_and_removed(registry, data):
    run_dir = publish(registry, data)
    try:
        complete = json.loads(data) == published()
    except ValueError:
        complete = False
    assert len(registry.entries()) == complete
    assert run_dir.exists() == complete
    shutil.rmtree(run_dir, ignore_errors=True)


@PER_TEST
@given(st.sampled_from(sorted(published())), JSON)
def test_damaged_values_never_raise_and_never_hurt(registry, name, value):
    alive = registry.folder.parent / "not-ours"
    alive.mkdir(exist_ok=True)
    run_dir = publish(registry, published(**{name: value}))
    for entry in registry.entries():
        assert entry.proven()
        assert entry.pid == os.getpid()
        assert entry.marker == MARKER
    assert alive.exists()
    assert registry.folder.exists()
    shutil.rmtree(run_dir, ignore_errors=True)


@PER_TEST
@given(
    st.just(os.getpid()) | st.integers(1, 2**31 - 1),
    st.text(alphabet="0123456789", min_size=1, max_size=8),
)
def test_a_process_id_that_is_another_processs_by_now_proves_nothing(registry, pid, created):
    assume(created != _platform.creation_time(pid))
    for who, its_time in (("pid", "created"), ("guardian", "guardian_created")):
        run_dir = publish(registry, published(**{who: pid, its_time: created}))
        assert registry.entries() == []
        # Only what has no guardian is nobody's.
        assert run_dir.exists() == (who == "pid")
        shutil.rmtree(run_dir, ignore_errors=True)


def test_an_entry_is_read_whole_or_not_at_all(registry):
    run_dir = publish(registry, published(marker="FOOOCUS_NB_GUARD="))
    with pytest.raises(ValueError, match="no guardian's"):
        Entry.read(run_dir)
    publish(registry, published(marker=""))
    with pytest.raises(ValueError, match="no guardian's"):
        Entry.read(run_dir)
    publish(registry, b" " * (2 << 20))
    with pytest.raises(ValueError, match="too large"):
        Entry.read(run_dir)


# -- one at a time ------------------------------------------------------------------------------

HOLDER = """
import sys, time
from pathlib import Path
from fooocus_nb.supervisor.registry import Registry
with Registry(Path(sys.argv[1])).lock(20):
    print("held", flush=True)
    sys.stdin.read()
"""
COUNTER = """
import sys, time
from pathlib import Path
from fooocus_nb.supervisor.registry import Registry
folder = Path(sys.argv[1])
for _ in range(15):
    with Registry(folder).lock(60):
        count = int((folder / "count").read_text())
        time.sleep(0.001)
        (folder / "count").write_text(str(count + 1))
"""


def hold(registry: Registry) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(registry.folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_starts_take_turns(registry):
    (registry.folder / "count").write_text("0")
    command = [sys.executable, "-c", COUNTER, str(registry.folder)]
    counters = [subprocess.Popen(command) for _ in range(4)]
    assert [counter.wait(60) for counter in counters] == [0] * 4
    assert (registry.folder / "count").read_text() == "60"


def test_the_lock_dies_with_its_holder_and_leaves_nothing(registry):
    holder = hold(registry)
    with pytest.raises(EngineTimeout, match="Another kernel has been starting"), registry.lock(0.1):
        pytest.fail("two hold the lock")
    holder.kill()
    holder.communicate(timeout=10)
    with registry.lock(10), pytest.raises(EngineTimeout), registry.lock(0.05):
        pytest.fail("one process holds it twice")
    assert list(registry.folder.iterdir()) == []


@posix
def test_a_fork_of_the_holder_does_not_keep_the_lock(registry):
    with registry.lock(5):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    with registry.lock(5):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


# -- idleness -----------------------------------------------------------------------------------


BUSY = """
import os, sys, time
while not os.path.exists(sys.argv[1]):
    pass
time.sleep(90)
"""


@posix
def test_work_without_a_word_is_no_idleness(begin, tmp_path):
    """Of two that nobody uses, the one that works outlives two that do not."""
    enough = tmp_path / "enough"
    working = begin("busy", argv=(*PYTHON, BUSY, str(enough)), idle_timeout=1.0)
    working.close()
    for name in ("idle", "idle-again"):
        idle = begin(name, idle_timeout=1.0)
        idle.close()
        until(lambda pid=idle.pid: _platform.creation_time(pid) is None, 60)
    assert _platform.creation_time(working.pid) is not None
    enough.touch()
    until(lambda: _platform.creation_time(working.pid) is None, 60)
