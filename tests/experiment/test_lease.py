"""One writer per run: who holds it is told, and only who has provably ended is dispossessed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fooocus_nb.errors import RunError, RunLocked, RunWarning
from fooocus_nb.experiment import lease as leases
from fooocus_nb.experiment.lease import Lease
from fooocus_nb.experiment.run import open_run

from .runs import files_of, listed_in, make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Opens a run as another kernel does, says so, and lives until its input ends.
OTHER = """
import sys
sys.path.insert(0, sys.argv[2])
from fooocus_nb.experiment.run import open_run
from tests_runs import make, send
run = open_run(sys.argv[1])
make(run, "theirs")
run.flush()
print("open", run.readonly, flush=True)
for line in sys.stdin:
    if line == "close\\n":
        run.close()
        print("closed", flush=True)
"""


@pytest.fixture
def other_kernel(tmp_path: Path) -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Start processes that hold a run."""
    started: list[subprocess.Popen[str]] = []
    helpers = tmp_path / "helpers"
    helpers.mkdir()
    shutil.copy(Path(__file__).with_name("runs.py"), helpers / "tests_runs.py")

    def start(path: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", OTHER, str(path), str(helpers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "open False\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=20)


def test_a_second_opener_reads_only_and_is_told_who_holds_it(
    tmp_path: Path, other_kernel: Callable[[Path], subprocess.Popen[str]]
) -> None:
    process = other_kernel(tmp_path / "run")
    with pytest.warns(RunWarning, match=rf"process {process.pid}, since .* writes to it"):
        run = open_run(tmp_path / "run")
    assert run.readonly
    assert run.made_cells() == {"theirs"}
    assert f"process {process.pid}" in repr(run)
    for attempt in (
        lambda: run.rate(run.images[0], 3),
        lambda: run.recorder,
        run.retry,
        run.record,
        run.__enter__,
    ):
        with pytest.raises(RunLocked, match=f"process {process.pid}"):
            attempt()
    # Force is for who can't be judged: this one is seen to live.
    with pytest.warns(RunWarning, match=str(process.pid)):
        assert open_run(tmp_path / "run", force=True).readonly
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("close\n")
    process.stdin.flush()
    assert process.stdout.readline() == "closed\n"
    run.close()
    again = open_run(tmp_path / "run")
    assert not again.readonly
    again.close()
    assert not (tmp_path / "run" / "lease").exists()


def test_one_that_was_killed_is_followed_at_once(
    tmp_path: Path, other_kernel: Callable[[Path], subprocess.Popen[str]]
) -> None:
    process = other_kernel(tmp_path / "run")
    process.kill()
    process.wait(20)
    run = open_run(tmp_path / "run")
    assert not run.readonly
    make(run, "ours")
    run.close()
    assert run.made_cells() == {"theirs", "ours"}
    assert files_of(run.path) == listed_in(run)
    assert not list(run.path.rglob(".part-*"))


@pytest.mark.skipif(sys.platform == "win32", reason="nothing stops a process there")
def test_a_stopped_process_still_holds_it(
    tmp_path: Path,
    other_kernel: Callable[[Path], subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A laptop that slept: its heartbeat is old, and its process lives."""
    process = other_kernel(tmp_path / "run")
    process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(leases, "STALE_SECONDS", -1.0)
    with pytest.warns(RunWarning, match=str(process.pid)):
        assert open_run(tmp_path / "run").readonly
    process.send_signal(signal.SIGCONT)


def test_a_copy_of_a_held_run_is_held_by_nobody(
    tmp_path: Path,
    other_kernel: Callable[[Path], subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = other_kernel(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    # Just copied, it could be the run itself, on a file system that doesn't keep its numbers.
    with pytest.warns(RunWarning, match=str(process.pid)):
        assert open_run(tmp_path / "copy").readonly
    monkeypatch.setattr(leases, "STALE_SECONDS", -1.0)
    copy = open_run(tmp_path / "copy")
    assert not copy.readonly
    copy.close()


def write_owner(run: Path, **changes: Any) -> None:
    """Put a lease into a run, as somebody elsewhere would have."""
    lease = Lease(run)
    assert lease.acquire() is None
    owner = json.loads((run / "lease" / "owner.json").read_text())
    lease.release()
    (run / "lease").mkdir()
    for name, value in changes.items():
        owner["place"].update(value) if name == "place" else owner.update({name: value})
    (run / "lease" / "owner.json").write_text(json.dumps(owner))


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ({"host": "gpu-7", "boot": "b"}, "on the host 'gpu-7'"),
        ({"boot": "another"}, "another machine of this name, or on this one before it was started"),
        ({"pid_namespace": "pid:[1]"}, "in another container of this machine"),
    ],
)
def test_a_lease_that_cannot_be_judged_takes_force(
    tmp_path: Path, place: dict[str, str], told: str
) -> None:
    run = open_run(tmp_path / "run")
    make(run, "a")
    run.close()
    write_owner(run.path, place=place, pid=2**22 + 7)  # nobody has that number here
    with pytest.warns(RunWarning, match="writes to it"):
        again = open_run(run.path)
    assert again.readonly
    with pytest.raises(RunLocked, match=r"force=True") as caught:
        again.rate(again.images[0], 1)
    assert told in str(caught.value)
    forced = open_run(run.path, force=True)
    assert not forced.readonly
    forced.close()


@pytest.mark.parametrize("owner", ["", "{", "[]", '{"pid": "x", "place": 7}', None])
def test_a_lease_without_a_name_takes_force(
    tmp_path: Path, owner: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "UNNAMED_SECONDS", 0.1)
    run = open_run(tmp_path / "run")
    run.close()
    (run.path / "lease").mkdir()
    if owner is not None:
        (run.path / "lease" / "owner.json").write_text(owner)
    with pytest.warns(RunWarning, match="no name"):
        assert open_run(run.path).readonly
    forced = open_run(run.path, force=True)
    assert not forced.readonly
    forced.close()


def test_who_has_lost_the_lease_writes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.02)
    run = open_run(tmp_path / "run")
    make(run, "a")
    run.flush()
    lines = (run.path / "attempts.jsonl").read_bytes()
    owner = run.path / "lease" / "owner.json"
    owner.write_text(owner.read_text().replace('"token": "', '"token": "another'))
    deadline = time.monotonic() + 20
    while not run.readonly:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for call in (lambda: make(run, "b"), run.record):
        with pytest.raises(RunError, match=r"taken by somebody else|isn't held by this kernel"):
            call()
    run.close()
    assert (run.path / "attempts.jsonl").read_bytes() == lines
    assert owner.exists()  # it is theirs


def test_its_heart_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.02)
    run = open_run(tmp_path / "run")
    beat = run.path / "lease" / "heartbeat"
    deadline = time.monotonic() + 20
    while not (beat.exists() and beat.read_text().strip() not in ("", "1")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.close()
    assert not beat.parent.exists()


def test_of_many_one_takes_it(tmp_path: Path) -> None:
    """Several find the lease of a dead one at once."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom fooocus_nb.experiment.lease import Lease\n"
        "lease = Lease(Path(sys.argv[1]))\nsys.stdin.readline()\n"
        "print(lease.acquire() is None, flush=True)\nsys.stdin.readline()\n"
    )
    write_owner(tmp_path, created="long ago")
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.stdout.readline() for process in started if process.stdout is not None]
        assert sorted(said) == ["False\n"] * 3 + ["True\n"]
    finally:
        for process in started:
            process.communicate(timeout=20)
