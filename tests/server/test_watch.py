"""What the server does by itself: events, activity, and the backstop behind the guardians."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from fooocus_nb.engine.folders import RUNTIME_VARIABLE
from fooocus_nb.engine.listing import survey
from fooocus_nb.errors import EngineError
from fooocus_nb.server.backstop import Backstop, end, is_left_behind
from fooocus_nb.server.events import SCHEMA_ID, Changes
from fooocus_nb.server.server_record import ServerRecord, records_of_dead
from fooocus_nb.server.watch import Watch, is_moving
from fooocus_nb.supervisor.system import creation_time, here

from .live import SECONDS, Server, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

posix = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")


@pytest.fixture
def server(alone: Path, tmp_path: Path) -> Iterator[Any]:
    """Start servers that end after the test."""
    servers: list[Server] = []

    def start(*flags: str) -> Server:
        servers.append(Server(tmp_path))
        servers[-1].start(*flags)
        return servers[-1]

    yield start
    for each in servers:
        each.close()


@pytest.fixture
def alone(tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime folder of the test's own."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(prefix="fnb-w-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv(RUNTIME_VARIABLE, folder)
        yield Path(folder)


# -- events and activity ----------------------------------------------------------------------


async def test_changes_go_out_as_events(extension, jp_serverapp, start_demo):
    heard: list[dict[str, Any]] = []

    async def listen(logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        heard.append(data)

    await extension._start_jupyter_server_extension(jp_serverapp)
    jp_serverapp.event_logger.add_listener(schema_id=SCHEMA_ID, listener=listen)
    loop = asyncio.get_running_loop()
    engine = await loop.run_in_executor(None, lambda: start_demo(name="seen", step=0.02))
    job = engine.submit("a cat", steps=100, image_number=2)
    await until(lambda: any(each["generating"] for each in heard))
    job.stop()
    await until(job.done)
    await until(lambda: heard[-1]["state"] == "ready")
    await loop.run_in_executor(None, engine.stop)
    await until(lambda: heard[-1]["action"] == "gone")
    mine = [each for each in heard if each["name"] == "seen"]
    assert mine[0]["action"] == "appeared"
    assert {each["action"] for each in mine[1:-1]} == {"changed"}
    assert {"busy", "ready"} <= {each["state"] for each in mine}
    assert mine[-1]["state"] == "stopped"
    assert len({each["id"] for each in mine}) == 1


async def test_the_server_is_active_while_something_moves_and_only_then(
    extension, jp_serverapp, ask, start_demo
):
    settings = jp_serverapp.web_app.settings
    loop = asyncio.get_running_loop()
    engine = await loop.run_in_executor(None, lambda: start_demo(name="moves", step=0.02))
    await extension._start_jupyter_server_extension(jp_serverapp)
    watch = extension._watch
    before = settings.get("api_last_activity")
    await watch.look()
    assert "fooocus_nb" not in settings["last_activity_times"]
    for path in ("/engines", "/engines/moves", "/engines/moves/log", "/engines/moves/images"):
        assert (await ask(path)).status == 200
    # A page that looks at the engines again and again is nobody who works.
    assert settings.get("api_last_activity") == before
    job = engine.submit("a cat", steps=200, image_number=2)
    await until(lambda: "fooocus_nb" in settings["last_activity_times"])
    active = settings["last_activity_times"]["fooocus_nb"]
    assert jp_serverapp.web_app.last_activity() >= active
    assert (await ask("/engines/moves/generation/stop", "POST")).status == 202
    assert settings["api_last_activity"] is not None  # what a person asks for is activity
    await until(job.done)
    await watch.look()
    ended = settings["last_activity_times"]["fooocus_nb"]
    await watch.look()
    assert settings["last_activity_times"]["fooocus_nb"] == ended


@pytest.mark.parametrize("full", [False, True])
async def test_it_looks_on_where_a_record_of_another_server_cannot_be_read(
    alone, monkeypatch, full
):
    looks: list[int] = []
    failures = iter([RuntimeError("no such place")])

    def adopt() -> dict[Path, frozenset[str]]:
        for failure in failures:
            raise failure
        return {alone / "server-dead.json": frozenset({"adopted"})}

    async def glance() -> list[Any]:
        looks.append(1)
        return []

    monkeypatch.setattr("fooocus_nb.server.watch.records_of_dead", adopt)
    dead = alone / "server-dead.json"
    dead.touch()
    written: list[Any] = []

    def write(_record: ServerRecord, kernels: Any) -> bool:
        # What has been taken over stands nowhere else yet.
        written.append((tuple(kernels), dead.exists()))
        return not full

    monkeypatch.setattr(ServerRecord, "write", write)
    backstop = Backstop(10.0)
    with ThreadPoolExecutor(1) as pool:
        watch = Watch(
            SimpleNamespace(glance=glance, forget=lambda: None),
            backstop,
            Changes(lambda _: None),
            pool=pool,
            interval=0.01,
            kernels=list,
            note_activity=lambda: None,
        )
        watch.start()
        await until(lambda: looks)
        await watch.stop()
    assert "adopted" in backstop.kernels
    assert written[0] == (("adopted",), True)
    assert dead.exists() == full  # then the next server takes it over


def test_what_is_silent_for_long_does_not_move():
    def listed(silence: float | None, generation: object, elsewhere: str | None = None) -> Any:
        said = None if silence is None else SimpleNamespace(silence=silence)
        entry = SimpleNamespace(elsewhere=elsewhere)
        return SimpleNamespace(said=said, generation=generation, entry=entry)

    assert is_moving(listed(5, object()))
    assert not is_moving(listed(5, None))
    assert not is_moving(listed(None, object()))
    assert not is_moving(listed(3600, object()))
    assert not is_moving(listed(5, object(), "in another container"))


# -- the backstop -----------------------------------------------------------------------------

#: A kernel of a server, as far as engines know it: its connection file names its id.
KERNEL = """
import json, sys
from ipykernel.kernelapp import IPKernelApp
IPKernelApp.instance(connection_file=f"/x/kernel-{sys.argv[1]}.json")
import fooocus_nb
options = json.loads(sys.argv[2])
engine = fooocus_nb.start(demo=True, output_dir=sys.argv[3], **options)
print(json.dumps([engine.pid, engine._process.child.guardian_pid]), flush=True)
sys.stdin.read()
"""
OURS = "0123abcd-0000-0000-0000-000000000001"
THEIRS = "0123abcd-0000-0000-0000-000000000002"


class Kernel:
    def __init__(self, folder: Path, identity: str = OURS, **options: Any) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", KERNEL, identity, json.dumps(options), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.engine, self.guardian = json.loads(self.popen.stdout.readline())

    def end(self) -> None:
        self.popen.kill()
        self.popen.communicate(timeout=10)


@pytest.fixture
def kernel(alone: Path, tmp_path: Path) -> Iterator[Any]:
    kernels: list[Kernel] = []

    def start(**options: Any) -> Kernel:
        kernels.append(Kernel(tmp_path / "images", **options))
        return kernels[-1]

    yield start
    for each in kernels:
        if each.popen.poll() is None:
            each.end()
        with contextlib.suppress(ProcessLookupError):
            os.kill(each.guardian, signal.SIGCONT)
    deadline = time.monotonic() + 60
    while found := survey(probe=False):
        assert time.monotonic() < deadline, found
        for listed in found:
            listed.info.stop()


def backstop_of(*kernels: str, grace: float = 0.0) -> Backstop:
    backstop = Backstop(grace)
    backstop.note_kernels(kernels)
    return backstop


@posix
def test_an_engine_whose_guardian_fails_ends_with_its_kernel(kernel, alone, monkeypatch):
    """Killed behind the server's back, with a guardian that is stopped and ends nothing."""
    monkeypatch.setattr("fooocus_nb.engine.listing.LOOK_TIMEOUT", 0.3)
    started = kernel()
    backstop = backstop_of(OURS)
    (listed,) = survey(probe=False)
    assert not is_left_behind(listed, [OURS])  # its kernel runs
    assert backstop.overdue([listed]) == []
    os.kill(started.guardian, signal.SIGSTOP)
    started.end()
    (listed,) = survey(probe=False)
    assert not is_left_behind(listed, [THEIRS])
    assert backstop_of(THEIRS).overdue([listed]) == []
    assert backstop_of(OURS, grace=60).overdue([listed]) == []
    (found,) = backstop.overdue([listed])
    assert end(found)
    assert creation_time(started.engine) is None
    assert creation_time(started.guardian) is None
    assert [path for path in alone.iterdir() if path.name.startswith("run-")] == []


@posix
def test_what_others_use_or_is_detached_is_left(kernel, monkeypatch):
    monkeypatch.setattr("fooocus_nb.engine.listing.LOOK_TIMEOUT", 0.3)
    first = kernel(share=True, name="shared")
    second = kernel(share=True, name="shared", identity=THEIRS)
    kept = kernel(lifetime="detached", name="kept")
    assert first.engine == second.engine
    os.kill(first.guardian, signal.SIGSTOP)
    os.kill(kept.guardian, signal.SIGSTOP)
    first.end()
    kept.end()
    assert backstop_of(OURS, THEIRS).overdue(survey(probe=False)) == []
    os.kill(first.guardian, signal.SIGCONT)
    os.kill(kept.guardian, signal.SIGCONT)
    assert creation_time(first.engine) is not None
    assert creation_time(kept.engine) is not None


@posix
def test_a_forged_entry_ends_nobody(kernel, alone, monkeypatch):
    """One that names foreign processes, with all that can be read of them put in rightly."""
    monkeypatch.setattr("fooocus_nb.engine.listing.LOOK_TIMEOUT", 0.3)
    started = kernel()
    foreign = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=-1)
    innocent = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=-1)
    (own,) = alone.glob("run-*")
    known = json.loads((own / "guardian.json").read_text())
    forged = alone / "run-forged123"
    dead = "999999"
    labels = {f"user:{dead}": json.dumps(["1", "a.ipynb"]), f"kernel:{dead}": OURS, "listed": "x"}
    content = {
        **known,
        "name": "x",
        "pid": foreign.pid,
        "created": creation_time(foreign.pid),
        "guardian": innocent.pid,
        "guardian_created": creation_time(innocent.pid),
        "run_dir": str(forged),
        "cleanup": [str(alone), str(own)],
        "address": ["unix", str(forged / "none.sock")],
        "labels": labels,
        "place": here(),
        "idle_timeout": None,
    }
    forged.mkdir(mode=0o700)
    (forged / "guardian.json").write_text(json.dumps(content))
    try:
        found = {listed.info.name: listed for listed in survey(probe=False)}
        assert is_left_behind(found["x"], [OURS])
        (overdue,) = backstop_of(OURS).overdue(found.values())
        assert overdue.info.name == "x"
        assert not end(overdue)
        with pytest.raises(EngineError, match="left alone"):
            overdue.info.stop()
        assert foreign.poll() is None
        assert innocent.poll() is None
        assert own.is_dir()
        assert creation_time(started.engine) is not None
        # Nor does one that is stale: its processes are gone, and its marker is another engine's.
        foreign.communicate(timeout=10)
        innocent.communicate(timeout=10)
        assert [listed.info.pid for listed in survey(probe=False)] == [started.engine]
        assert not forged.exists()
        assert own.is_dir()
        assert creation_time(started.engine) is not None
    finally:
        shutil.rmtree(forged, ignore_errors=True)
        for each in (foreign, innocent):
            each.kill()
            each.communicate(timeout=10)


def test_a_record_is_followed_only_of_a_server_that_was_killed(alone, monkeypatch):
    record = ServerRecord()
    record.write(["a", "b"])
    (path,) = alone.glob("server-*.json")
    assert records_of_dead() == {}  # it runs
    assert path.exists()
    known = json.loads(path.read_text())
    cases = {
        "killed": {**known, "pid": 2**22 + 1},
        "replaced": {**known, "created": "1"},
        "elsewhere": {**known, "created": "1", "place": {**known["place"], "boot": "other"}},
        "damaged": {"pid": "x"},
    }
    for name, content in cases.items():
        (alone / f"server-{name}.json").write_text(json.dumps(content))
    (alone / "server-torn.json").write_text("{")
    (alone / "server-deep.json").write_text("[" * 100_000)
    (alone / "server-link.json").symlink_to(path)
    found = records_of_dead()
    assert {each.name: kernels for each, kernels in found.items()} == {
        "server-killed.json": {"a", "b"},
        "server-replaced.json": {"a", "b"},
    }
    assert records_of_dead() == found  # as long as nobody has taken them over
    record.remove()
    assert not path.exists()


# -- a real server ----------------------------------------------------------------------------

START = (
    "import fooocus_nb, os, signal\n"
    "engine = fooocus_nb.start(demo=True, name='mine')\n"
    "guardian = engine._process.child.guardian_pid\n"
)
FAILED = f"{START}os.kill(guardian, signal.SIGSTOP)\n"


def family(server: Server, kernel: str) -> list[psutil.Process]:
    """The engine that runs, its guardian, and the kernel that uses it."""
    (told,) = server.ask("fooocus-nb/api/engines")["engines"]
    assert [each["id"] for each in told["kernels"]] == [kernel]
    child = psutil.Process(told["pid"])
    return [child, child.parent(), psutil.Process(told["kernels"][0]["pid"])]


def assert_gone(processes: list[psutil.Process], alone: Path) -> None:
    _, alive = psutil.wait_procs(processes, timeout=2 * SECONDS)
    assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]
    deadline = time.monotonic() + SECONDS
    while left := [path for path in alone.iterdir() if path.name.startswith("run-")]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.mark.slow
@posix
def test_a_kernel_or_a_server_that_ends_leaves_nothing(server, alone):
    """Where the guardians end nothing: a kernel killed behind its back, then SIGTERM."""
    started = server("--FooocusExtension.backstop_grace=0.3")
    killed = family(started, started.kernel(FAILED))
    killed[2].kill()
    assert_gone(killed[:2], alone)
    log = started.log
    assert "its guardian has failed" in log
    # Nothing but the wheel's own file enables the extension, and none of its handlers is open to
    # anybody: the server would warn of it.
    assert "fooocus_nb.server | extension was successfully loaded" in log
    opened = [line for line in log.splitlines() if "registered for" in line]
    assert opened, "the server warns of handlers that are open, such as those of others"
    assert not [line for line in opened if "fooocus" in line.lower()]
    left = family(started, started.kernel(FAILED))
    started.process.send_signal(signal.SIGTERM)
    started.process.wait(SECONDS)
    assert_gone(left, alone)
    assert not list(alone.glob("server-*.json"))


@posix
@pytest.mark.slow
def test_what_a_killed_server_leaves_is_ended_by_the_next(server, alone):
    started = server()
    identity = started.kernel(FAILED)
    deadline = time.monotonic() + SECONDS
    while identity not in "".join(path.read_text() for path in alone.glob("server-*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    processes = family(started, identity)
    started.process.kill()
    started.process.wait(SECONDS)
    processes[2].wait(SECONDS)
    assert processes[0].is_running()
    server("--FooocusExtension.backstop_grace=0.3")
    assert_gone(processes, alone)
    (record,) = alone.glob("server-*.json")  # its own, which has taken over what the other said
    assert identity in record.read_text()
