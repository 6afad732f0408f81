"""All engines of a user: listed in a notebook and in a shell, stopped, and their logs read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

import fooocus_nb
from fooocus_nb import cli
from fooocus_nb.engine.asleep_records import AsleepMarker
from fooocus_nb.engine.listing import named
from fooocus_nb.engine.page_records import page_records, record_page
from fooocus_nb.errors import ConfigurationError, EngineError
from fooocus_nb.supervisor.system import creation_time, here


@pytest.fixture
def engine(registry, tmp_path):
    with fooocus_nb.start(demo=True, name="<b>mine", output_dir=tmp_path, timeout=30) as started:
        yield started


def run(capsys, *words: str, code: int = 0) -> str:
    assert cli.main(list(words)) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_engines_are_listed(engine, capsys):
    (info,) = fooocus_nb.engines()
    assert (info.name, info.pid, info.url) == (engine.name, engine.pid, engine.url)
    assert (info.title, info.state, info.users) == ("demo engine", "ready", 1)
    assert (info.lifetime, info.idle_timeout, info.shared) == ("kernel", None, False)
    assert info.log_path == engine.log_path
    assert info.memory > 1e6
    assert abs(info.since - time.time()) < 60
    assert engine.url in repr(fooocus_nb.engines())
    page = fooocus_nb.engines()._repr_html_()
    assert "&lt;b&gt;mine" in page
    assert "<b>mine" not in page
    assert str(engine.pid) in run(capsys, "ps")
    (told,) = json.loads(run(capsys, "ps", "--json"))
    assert told["pid"] == engine.pid
    assert told["log_path"] == str(engine.log_path)


def test_no_engine_is_no_error(registry, capsys):
    assert len(fooocus_nb.engines()) == 0
    assert run(capsys, "ps") == "No engine of yours runs.\n"
    assert run(capsys, "stop", "--all") == "No engine of yours runs.\n"
    assert "No engine" in fooocus_nb.engines()._repr_html_()
    assert json.loads(run(capsys, "ps", "--json")) == []
    assert "There is no engine named 'x'. None runs." in run(capsys, "stop", "x", code=3)


def test_each_engine_has_a_name_of_its_own_and_says_who_uses_it(registry, capsys, peer):
    """Kernels know nothing of each other's names; the list and the shell need different ones."""
    start = "value = fooocus_nb.start(demo=True, name='mine', share={}).pid"
    first, second = peer(JPY_SESSION_NAME="/home/me/a.ipynb"), peer(JPY_SESSION_NAME="b.ipynb")
    pids = [first.run(start.format(False)), second.run(start.format(False))]
    shared = first.run(start.replace("mine", "ours").format(True))
    assert second.run(start.replace("mine", "ours").format(True)) == shared
    assert [(info.name, info.pid, info.notebooks) for info in fooocus_nb.engines()] == [
        ("mine", pids[0], ("/home/me/a.ipynb",)),
        ("mine-2", pids[1], ("b.ipynb",)),
        ("ours", shared, ("/home/me/a.ipynb", "b.ipynb")),
    ]
    assert "a.ipynb, b.ipynb" in run(capsys, "ps")
    # In its own kernel each is found by the name that was given, by that in the list, and by its
    # process id.
    for name in ("mine", "mine-2", str(pids[1])):
        assert second.run(f"value = fooocus_nb.get({name!r}).pid") == pids[1]
    # The name stays when the other one has ended, and a user that was killed is none.
    first.kill()
    deadline = time.monotonic() + 30
    while len(fooocus_nb.engines()) > 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    left, ours = fooocus_nb.engines()
    assert (left.name, left.pid, ours.notebooks) == ("mine-2", pids[1], ("b.ipynb",))
    assert run(capsys, "stop", "mine-2") == f"mine-2 ({pids[1]}) is stopped.\n"
    assert run(capsys, "stop", "ours") == f"ours ({shared}) is stopped.\n"


def test_names_are_found_or_refused():
    found = [SimpleNamespace(name=name, pid=pid) for name, pid in [("a", 1), ("a", 2), ("demo", 3)]]
    assert named("demo", found).pid == 3
    assert named("2", found).pid == 2
    with pytest.raises(ConfigurationError, match=r"2 engines are named 'a'\. .*: 1, 2"):
        named("a", found)
    with pytest.raises(ConfigurationError, match="Did you mean 'demo'"):
        named("dmo", found)


def test_the_state_is_told(engine, monkeypatch):
    job = engine.submit("a cat", image_number=30, steps=200, width=64, height=64)
    next(event for event in job.events(30) if getattr(event, "step", None))
    assert fooocus_nb.engines()[0].state == "busy"
    job.stop()
    job.result(30)
    assert fooocus_nb.engines()[0].state == "ready"
    monkeypatch.setattr("fooocus_nb.engine.listing.LOOK_TIMEOUT", 0.3)
    os.kill(engine.pid, signal.SIGSTOP)
    assert fooocus_nb.engines()[0].state == "unresponsive"
    os.kill(engine.pid, signal.SIGCONT)


def test_stopping_from_a_shell_ends_it_for_its_kernel_too(engine, registry, capsys):
    pid = engine.pid
    assert run(capsys, "stop", "<b>mine") == f"<b>mine ({pid}) is stopped.\n"
    assert creation_time(pid) is None
    assert list(registry.folder.iterdir()) == []
    deadline = time.monotonic() + 10
    while engine.state != "stopped":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_stopping_all_also_ends_what_its_guardian_does_not(registry, tmp_path, capsys, peer):
    other = peer()
    pids = [other.run("value = fooocus_nb.start(demo=True, lifetime='detached').pid")]
    guardian = psutil.Process(pids[0]).parent()
    other.kill()
    pids.append(peer().run("value = fooocus_nb.start(demo=True, share=False).pid"))
    guardian.suspend()
    told = run(capsys, "stop", "--all")
    assert all(f"({pid}) is stopped" in told for pid in pids)
    assert not any(map(creation_time, pids))
    assert creation_time(guardian.pid) is None
    assert registry.entries() == []


def test_the_log_is_shown(engine, capsys):
    lines = run(capsys, "logs", str(engine.pid), "-n", "3").splitlines()
    assert lines == engine.tail(3)
    assert run(capsys, "logs", "<b>mine", "-n", "0") == ""


def test_the_log_is_followed_until_the_engine_ends(engine):
    users = fooocus_nb.engines()[0].users
    with subprocess.Popen(
        [sys.executable, "-m", "fooocus_nb.cli", "logs", str(engine.pid), "-n", "1", "-f"],
        stdout=subprocess.PIPE,
        text=True,
    ) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline().strip() == engine.tail(1)[0]
        engine.generate("x", seed=4711, steps=1, image_number=1, width=64, height=64)
        assert any("Seed = 4711" in line for line in follower.stdout)
        assert fooocus_nb.engines()[0].users == users  # who reads the log keeps nothing alive
        engine.stop()
        follower.stdout.read()
        assert follower.wait(15) == 0


def test_what_runs_elsewhere_is_told_and_left_alone(engine, registry, capsys):
    (entry,) = registry.entries()
    path = entry.run_dir / "guardian.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, "place": {**known["place"], "pid_namespace": "pid:[1]"}}))
    (info,) = fooocus_nb.engines()
    assert (info.name, info.state, info.users, info.memory) == (engine.name, "elsewhere", 1, None)
    assert info.runs()
    assert "elsewhere" in run(capsys, "ps")
    with pytest.raises(EngineError, match=r"in another container.*\n.*Stop it there.*run-"):
        info.stop()
    assert "is left alone" in run(capsys, "stop", "--all")
    assert "Stop it there" in run(capsys, "stop", engine.name, code=1)
    assert engine.health().ok
    path.write_text(json.dumps(known))


@pytest.mark.may_skip
@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_a_listing_from_another_container_disturbs_no_generation(engine, registry):
    command = ["unshare", "--pid", "--fork", "--mount-proc"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no pid namespace is to be had")
    kept = entry_dirs(registry)
    job = engine.submit("a cat", image_number=2, steps=60)
    next(event for event in job.events(30) if getattr(event, "step", None))
    code = "import fooocus_nb; print([(e.name, e.state) for e in fooocus_nb.engines()])"
    for _ in range(2):
        done = subprocess.run(
            [*command, sys.executable, "-c", code],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert done.stdout == f"[({engine.name!r}, 'elsewhere')]\n"
    assert len(job.result(60)) == 2
    (info,) = fooocus_nb.engines()
    assert (info.pid, info.state) == (engine.pid, "ready")
    assert entry_dirs(registry) == kept


def entry_dirs(registry) -> list:
    (entry,) = registry.entries()
    folders = [*entry.cleanup, entry.run_dir]
    assert all(folder.is_dir() for folder in folders)
    return folders


@pytest.mark.parametrize(
    "other", [{"host": "elsewhere", "boot": "b"}, {"pid_namespace": "pid:[1]"}]
)
def test_records_of_kernels_elsewhere_are_left(registry, tmp_path, other):
    """As of another container with the same home: its process ids mean nothing here."""
    spec = SimpleNamespace(labels={}, log_path=tmp_path / "engine.log")
    process = SimpleNamespace(child=SimpleNamespace(spec=spec), idle_timeout=None)
    AsleepMarker().write("x", process)
    record_page("y", "http://127.0.0.1:1")
    records = [path for path in registry.folder.iterdir() if path.suffix == ".json"]
    assert len(records) == 2
    assert ([info.name for info in fooocus_nb.engines()], len(page_records())) == (["x"], 1)
    for path in records:
        known = json.loads(path.read_text())
        gone = {"kernel": 2**30, "pid": 2**30, "place": known["place"] | other}
        path.write_text(json.dumps(known | gone))
    for _ in range(2):
        assert (list(fooocus_nb.engines()), page_records()) == ([], [])
        assert all(path.exists() for path in records)
    for path in records:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"place": here()}))
    assert (list(fooocus_nb.engines()), page_records()) == ([], [])
    assert not any(path.exists() for path in records)


def test_a_log_cannot_steer_the_terminal(engine, capsys):
    lines = (
        b"one \x1b]52;c;Y2xpcA==\x07two \x1b]0;title\x1b\\three",
        b"four \xc2\x9b31mfive \xc2\x9d0;title\xc2\x9csix \x1bPx\x1b\\seven \x1bceight",
    )
    with engine.log_path.open("ab") as file:
        file.write(b"\n".join((b"", *lines, b"")))
    said = run(capsys, "logs", str(engine.pid), "-n", "5")
    assert "one two three\nfour five six seven eight" in said
    assert not [sign for sign in said if not sign.isprintable() and sign != "\n"]
