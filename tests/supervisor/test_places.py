"""Nothing is removed that cannot be judged from here, or that was never a run's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fooocus_nb.errors import ConnectionLost
from fooocus_nb.supervisor import ChildSpec, Process, _place, _platform
from fooocus_nb.supervisor.registry import Entry, Registry

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
ROOT = Path(__file__).parents[2]
SLEEP = (
    sys.executable,
    "-I",
    "-S",
    "-c",
    "import time; time.sleep(90)",
)
SUFFIX = "0123abcd"
MARKER = "FOOOCUS_NB_GUARD=" + "0" * 32


@pytest.fixture
def registry(short_folder):
    folder = short_folder / "runtime"
    folder.mkdir(mode=0o700)
    return Registry(folder)


@pytest.fixture
def begin(registry):
    processes: list[Process] = []

    def start(name: str = f"run-{SUFFIX}", **options) -> Process:
        run_dir = registry.folder / name
        run_dir.mkdir(mode=0o700)
        spec = ChildSpec(
            argv=SLEEP, env=dict(os.environ), name=name, run_dir=run_dir,
            log_path=registry.folder.parent / "engine.log", cleanup=(run_dir,), **options,
        )  # fmt: skip
        processes.append(Process.start(spec))
        return processes[-1]

    yield start
    for process in processes:
        process.stop(grace=0.5)


def publish(registry: Registry, name: str = f"run-{SUFFIX}", **changes) -> Path:
    """Publish as a guardian that has ended."""
    run_dir = registry.folder / name
    run_dir.mkdir(mode=0o700, exist_ok=True)
    known = {
        "name": "x", "pid": 2**30, "created": "1", "guardian": 2**30, "guardian_created": "1",
        "address": ["unix", str(run_dir / "no.sock")], "started_at": 1.0,
        "log_path": "/x/engine.log", "idle_timeout": None, "cleanup": [], "labels": {},
        "token": "t", "marker": MARKER, "place": _place.here(), **changes,
    }  # fmt: skip
    (run_dir / "guardian.json").write_text(json.dumps(known))
    return run_dir


# -- another place ----------------------------------------------------------------------------


def test_where_it_runs_is_published_and_is_here(begin, registry):
    process = begin()
    known = json.loads((process.spec.run_dir / "guardian.json").read_text())
    assert known["place"] == _place.here()
    assert set(known["place"]) == {"host", "boot", "pid_namespace"}
    (entry,) = registry.survey()
    assert entry.elsewhere is None
    assert entry.proven()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"host": "elsewhere", "boot": "other"}, "on the host 'elsewhere'"),
        ({"boot": "other"}, "on another machine of this name, or on this one before"),
        ({"pid_namespace": "pid:[1]"}, "in another container"),
        ({"host": ["x"] * 1000, "boot": None}, "on the host"),
    ],
)
def test_what_is_elsewhere_is_left_and_told(registry, changes, told):
    run_dir = publish(registry, place=_place.here() | changes)
    for _ in range(2):
        (entry,) = registry.survey()
        assert told in entry.elsewhere
        assert registry.entries() == []
    assert not entry.proven()
    assert not entry.guarded()
    assert run_dir.exists()


def test_a_host_may_be_renamed(begin, registry, monkeypatch):
    if _place.here()["boot"] is None:
        pytest.skip("here only its name tells a host")
    begin()
    monkeypatch.setattr(_place, "_own", (os.getpid(), {**_place.here(), "host": "renamed"}))
    (entry,) = registry.survey()
    assert entry.proven()


@posix
def test_another_container_whose_socket_refuses_is_dead(registry):
    """One system has both, so the socket can be believed."""
    path = registry.folder / f"run-{SUFFIX}" / "guardian.sock"
    elsewhere = {**_place.here(), "pid_namespace": "pid:[1]"}
    run_dir = publish(registry, place=elsewhere, address=["unix", str(path)])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)
        assert len(registry.survey()) == 1
    if _place.here()["boot"] is not None:
        assert registry.survey() == []
        assert not run_dir.exists()


@posix
def test_a_socket_that_is_listened_on_is_left_whatever_the_process_ids_say(registry):
    path = registry.folder / f"run-{SUFFIX}" / "guardian.sock"
    run_dir = publish(registry, address=["unix", str(path)])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)
        assert registry.survey() == []
        assert run_dir.exists()
    assert registry.survey() == []
    assert not run_dir.exists()


def in_a_container(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a pid namespace of its own; skip where the system lends none."""
    command = ["unshare", "--pid", "--fork", "--mount-proc"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no pid namespace is to be had")
    return subprocess.run(
        [*command, sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, timeout=60, check=True, cwd=ROOT,
    )  # fmt: skip


LIST = """
import sys
from pathlib import Path
from fooocus_nb.errors import ConnectionLost
from fooocus_nb.supervisor import Process
from fooocus_nb.supervisor.registry import Registry
registry = Registry(Path(sys.argv[1]))
assert registry.entries() == []
(entry,) = registry.survey()
print(entry.name, entry.elsewhere, entry.proven(), entry.look().users)
try:
    Process.attach(entry.run_dir)
except ConnectionLost as error:
    print(type(error).__name__)
"""


@pytest.mark.may_skip
@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
@pytest.mark.parametrize("stopped", [False, True])
def test_a_listing_from_another_container_touches_nothing(begin, registry, tmp_path, stopped):
    folder = tmp_path / f"temp-{SUFFIX}"
    folder.mkdir(mode=0o700)
    process = begin()
    # What the listing could take for left behind, if it judged.
    path = process.spec.run_dir / "guardian.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, "cleanup": [str(folder)]}))
    if stopped:
        os.kill(process.guardian_pid, signal.SIGSTOP)
        code = LIST.replace("entry.look().users", "entry.look(0.2)")
    else:
        code = LIST
    done = in_a_container(code, str(registry.folder))
    what = "None" if stopped else "1"
    name = process.spec.name
    told = f"{name} in another container of this machine False {what}\nConnectionLost\n"
    assert done.stdout == told
    os.kill(process.guardian_pid, signal.SIGCONT)
    assert folder.exists()
    assert process.alive()
    assert process.exists()
    (entry,) = registry.entries()
    assert entry.run_dir == process.spec.run_dir


GUARD = """
import os, sys
from pathlib import Path
from fooocus_nb.supervisor import ChildSpec, Process
run_dir = Path(sys.argv[1]) / "run-abcdefgh"
run_dir.mkdir(mode=0o700)
process = Process.start(ChildSpec(
    argv=("sleep", "60"), env=dict(os.environ), name="inside", run_dir=run_dir,
    log_path=run_dir / "log", cleanup=(run_dir,),
))
print("ready", flush=True)
sys.stdin.read()
process.stop()
"""


@pytest.mark.may_skip
@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_what_runs_in_another_container_is_seen_and_not_touched(registry):
    in_a_container("pass")
    inside = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", GUARD,
         str(registry.folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert inside.stdout.readline() == "ready\n"
    (entry,) = registry.survey()
    assert (entry.name, entry.elsewhere) == ("inside", "in another container of this machine")
    assert registry.entries() == []
    assert entry.look().users == 1
    with pytest.raises(ConnectionLost):
        Process.attach(entry.run_dir)
    inside.communicate(timeout=30)
    assert registry.survey() == []
    assert not entry.run_dir.exists()


FOREIGN = """
import os, sys
from fooocus_nb.supervisor import _platform
child = os.fork()
if child == 0:
    os.execve(sys.executable, [sys.executable, "-c", "input()"], {"A_MARKER": "x"})
print(_platform.pid_namespace(), _platform.leftovers("A_MARKER=x"))
print(_platform.process_tree(child, "A_MARKER=x"))
os.kill(child, 9)
"""


@pytest.mark.may_skip
@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_numbers_of_another_containers_processes_are_not_ours_to_kill():
    """Where /proc is not that of our own namespace, a number means two processes."""
    in_a_container("pass")
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", FOREIGN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    assert done.stdout == "unknown set()\nset()\n"


# -- what was never a run's ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["precious", "", f"precious{SUFFIX}", f"x-{SUFFIX}/..", f"x-{SUFFIX}/../precious", "x-", "-"],
)
def test_a_forged_entry_names_no_folder_for_removal(registry, tmp_path, name):
    precious = tmp_path / "precious"
    for folder in (precious, tmp_path / f"precious{SUFFIX}", tmp_path / "x-", tmp_path / "-"):
        (folder / "deep").mkdir(parents=True)
    run_dir = publish(registry, cleanup=[str(tmp_path / name), name, f"../{name}"])
    assert registry.survey() == []
    assert not run_dir.exists()
    assert all(
        (folder / "deep").exists()
        for folder in (precious, tmp_path / f"precious{SUFFIX}", tmp_path / "x-", tmp_path / "-")
    )


def test_a_short_name_proves_nothing(registry, tmp_path):
    (tmp_path / "my-images").mkdir()
    publish(registry, "run-images", cleanup=[str(tmp_path / "my-images")])
    publish(registry, "run-", cleanup=[str(tmp_path / "my-images")])
    assert registry.survey() == []
    assert (tmp_path / "my-images").exists()


@posix
def test_a_link_is_not_followed(registry, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / f"temp-{SUFFIX}").symlink_to(tmp_path / "precious")
    publish(registry, cleanup=[str(tmp_path / f"temp-{SUFFIX}")])
    assert registry.survey() == []
    assert (tmp_path / "precious").exists()


def test_what_was_made_for_the_run_is_removed(registry, tmp_path):
    folder = tmp_path / f"temp-{SUFFIX}"
    folder.mkdir()
    run_dir = publish(registry, cleanup=[str(folder)])
    assert registry.survey() == []
    assert not folder.exists()
    assert not run_dir.exists()


@posix
def test_a_forged_entry_with_the_marker_of_another_kills_nothing(begin, registry):
    process = begin()
    known = json.loads((process.spec.run_dir / "guardian.json").read_text())
    run_dir = publish(registry, "run-forgery1", marker=known["marker"])
    (entry,) = registry.survey()
    assert entry.pid == process.pid
    assert process.exists()
    assert not run_dir.exists()


@pytest.mark.parametrize(
    "data",
    [b"[" * 100_000, b'{"labels":' * 20_000, b"9" * 100_000, b'{"marker": 1}', b"\xff\xfe", b"[]"],
)
def test_nothing_that_stands_there_raises_more_than_a_value_error(registry, data):
    run_dir = publish(registry)
    (run_dir / "guardian.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"."):
        Entry.read(run_dir)
    with pytest.raises(ConnectionLost):
        Process.attach(run_dir)
    assert registry.survey() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"started_at": 10**400},
        {"idle_timeout": 10**400, "place": {"host": 10**400}},
        {"cleanup": ["a\0b", 10**400]},
        {"address": ["unix", "\0abstract"]},
        {"address": ["tcp", 10**400]},
        {"pid": 10**400},
        {"place": {"host": {"x": 1}}, "labels": {"x": 10**400}},
    ],
)
def test_absurd_values_are_damage_or_nothing(registry, changes):
    publish(registry, **changes)
    for entry in registry.survey():
        assert entry.elsewhere


@posix
@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "socket"])
def test_only_plain_files_are_read(registry, kind, tmp_path):
    run_dir = publish(registry)
    path = run_dir / "guardian.json"
    path.rename(tmp_path / "elsewhere.json")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere.json")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    seen: list[list[Entry]] = []
    reading = threading.Thread(target=lambda: seen.append(registry.survey()), daemon=True)
    reading.start()
    reading.join(10)
    assert seen == [[]]
    assert run_dir.exists()


# -- removed under a running guardian -----------------------------------------------------------


@posix
def test_a_guardian_publishes_again_when_the_runtime_folder_was_removed(begin, registry, until):
    process = begin()
    shutil.rmtree(registry.folder)
    until(lambda: [entry.pid for entry in registry.entries()] == [process.pid])
    other = Process.attach(process.spec.run_dir)
    assert not other.leave()
    assert process.leave()
    assert list(registry.folder.iterdir()) == []


@posix
def test_a_guardian_publishes_elsewhere_when_the_folder_cannot_be_made_again(
    begin, registry, until, tmp_path
):
    fallback = tmp_path / "fallback" / "deep"
    (tmp_path / "file").touch()
    process = begin(fallbacks=(tmp_path / "file" / "nowhere", fallback))
    shutil.rmtree(registry.folder)
    registry.folder.write_text("in the way")
    both = Registry(registry.folder, fallback)
    until(lambda: [entry.pid for entry in both.entries()] == [process.pid])
    (entry,) = both.entries()
    until(lambda: process.spec.run_dir == entry.run_dir)
    assert entry.run_dir == fallback / f"run-{SUFFIX}"
    assert not Process.attach(entry.run_dir).leave()
    process.stop()
    assert list(fallback.iterdir()) == []


@posix
def test_a_socket_that_was_removed_is_made_again(begin, registry, until):
    process = begin()
    (entry,) = registry.entries()
    Path(entry.address[1]).unlink()
    until(lambda: any(each.look() for each in registry.entries()))
    (process.spec.run_dir / "guardian.json").unlink()
    until(lambda: len(registry.entries()) == 1)


@posix
def test_a_private_folder_is_ours_and_closed_to_others(tmp_path):
    _platform.make_private(str(tmp_path / "new" / "deep"))
    assert _platform.is_private(str(tmp_path / "new" / "deep"))
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "new")
    (tmp_path / "file").touch()
    for name in ("open", "link", "file", "file/below"):
        with pytest.raises(OSError):  # noqa: PT011 - of several kinds
            _platform.make_private(str(tmp_path / name))
