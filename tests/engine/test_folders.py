"""The folders of engines: their logs, how long these are kept, and the runtime folder."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fooocus_nb
from fooocus_nb.engine import old_logs
from fooocus_nb.engine.folders import RUNTIME_VARIABLE, new_log_folder, runtime_folder
from fooocus_nb.engine.old_logs import mark_failed
from fooocus_nb.errors import ConfigurationError, DiskFull, OutputError, StartError
from fooocus_nb.fooocus.logs.diagnosis import diagnose
from fooocus_nb.supervisor import ChildSpec, Process

from ..lanes import slow_but

if TYPE_CHECKING:
    from collections.abc import Callable

    from .peers import Peer

DAY = 86_400
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all logs, empty."""
    monkeypatch.setattr("platformdirs.user_log_path", lambda *_, **__: tmp_path / "logs")
    return tmp_path / "logs"


def age(folder: Path, days: float) -> None:
    """Let a log folder, with all that is in it, have been written so many days ago."""
    moment = time.time() - days * DAY
    for path in (*folder.iterdir(), folder):
        os.utime(path, (moment, moment))


def make_log(tmp_path: Path, text: str = "App started successful\n", *, days: float = 0) -> Path:
    """Make the log folder of an engine that has ended."""
    folder = new_log_folder("a name/with: signs", tmp_path / "ended")
    (folder / "engine.log").write_text(text)
    age(folder, days)
    return folder


FAILURE = """Traceback (most recent call last):
  File "/home/me/Fooocus/modules/async_worker.py", line 1471, in worker
    handler(task)
torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.
"""


def test_logs_go_by_their_age(logs: Path, tmp_path: Path) -> None:
    old, young = make_log(tmp_path, days=15), make_log(tmp_path, days=13)
    many = [new_log_folder("demo", tmp_path / "ended") for _ in range(30)]
    assert set(logs.iterdir()) == {young, *many}
    assert not old.exists()
    assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in logs.iterdir())


def test_those_of_failures_stay_longer(logs: Path, tmp_path: Path) -> None:
    failed, marked = make_log(tmp_path, FAILURE, days=40), make_log(tmp_path)
    mark_failed(marked)
    age(marked, 40)
    older = make_log(tmp_path, FAILURE, days=70)
    newest = make_log(tmp_path)
    assert set(logs.iterdir()) == {failed, marked, newest}
    assert not older.exists()


def test_only_the_logs_that_may_have_to_go_are_read(logs: Path, tmp_path, monkeypatch) -> None:
    """Every start waits for it, and there may be hundreds of them."""
    read: list[object] = []
    monkeypatch.setattr(old_logs, "diagnose", lambda lines: read.append(lines) or diagnose(lines))
    failed = make_log(tmp_path, FAILURE, days=13)
    new_log_folder("demo", tmp_path / "ended")
    assert not read
    age(failed, 40)
    for _ in range(3):
        new_log_folder("demo", tmp_path / "ended")
    assert len(read) == 1
    assert (
        time.time() - max(path.stat().st_mtime for path in (failed, *failed.iterdir())) > 39 * DAY
    )
    age(failed, 61)
    new_log_folder("demo", tmp_path / "ended")
    assert not failed.exists()


def test_all_together_come_to_no_more_than_the_limit(logs: Path, tmp_path, monkeypatch) -> None:
    failed = make_log(tmp_path, FAILURE + "x" * 1000, days=5)
    made = [make_log(tmp_path, "x" * 1000, days=4 - number) for number in range(4)]
    monkeypatch.setattr("fooocus_nb.engine.old_logs.MAX_BYTES", 3500)
    newest = make_log(tmp_path)
    assert set(logs.iterdir()) == {failed, made[-1], newest}


def test_the_log_of_an_engine_that_runs_stays(logs: Path, tmp_path: Path, start_demo) -> None:
    engine = start_demo()
    folder = engine.log_path.parent
    assert folder.parent == logs
    age(folder, 100)
    new_log_folder("later", tmp_path / "ended")
    assert engine.log_path.read_text()
    engine.stop()
    assert engine.log_path.is_file()  # to be looked at after the end
    age(folder, 100)
    new_log_folder("later", tmp_path / "ended")
    assert not engine.log_path.exists()


@pytest.mark.parametrize("other", [{"host": "elsewhere", "boot": "b"}, {"pid_namespace": "x"}])
def test_a_run_that_cannot_be_seen_from_here_is_not_taken_for_ended(
    logs: Path, tmp_path: Path, other: dict[str, str]
) -> None:
    """As of another container with the same home, whose run folders are its own."""
    folder = make_log(tmp_path)
    place = json.loads((folder / "place").read_text())
    (folder / "place").write_text(json.dumps(place | other))
    age(folder, 80)
    new_log_folder("later", tmp_path / "ended")
    assert folder.exists()
    age(folder, 100)  # while it runs, its guardian touches the log
    new_log_folder("later", tmp_path / "ended")
    assert not folder.exists()


def test_those_of_earlier_boots_count_towards_the_limit(logs: Path, tmp_path, monkeypatch) -> None:
    """Of a run before the last start of the system nobody can tell from here that it is over."""
    young, old = make_log(tmp_path, "x" * 2000, days=10), make_log(tmp_path, "x" * 2000, days=20)
    for folder in (young, old):
        status = folder.stat()
        place = json.loads((folder / "place").read_text())
        (folder / "place").write_text(json.dumps(place | {"boot": "another"}))
        os.utime(folder / "place", (status.st_mtime, status.st_mtime))
    monkeypatch.setattr("fooocus_nb.engine.old_logs.MAX_BYTES", 6000)
    newest = make_log(tmp_path)
    assert set(logs.iterdir()) == {young, old, newest}
    monkeypatch.setattr("fooocus_nb.engine.old_logs.MAX_BYTES", 4000)
    newer = make_log(tmp_path)
    assert set(logs.iterdir()) == {young, newest, newer}


def test_a_guardian_touches_the_log_of_a_silent_engine(monkeypatch, tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    argv = (sys.executable, "-I", "-S", "-c", "import time; print('x', flush=True); time.sleep(90)")
    (tmp_path / "run").mkdir(mode=0o700)
    spec = ChildSpec(argv, dict(os.environ), "test", tmp_path / "run", log)
    source = tmp_path / "guardian" / "fooocus_nb"
    shutil.copytree(Path(fooocus_nb.__file__).parent / "supervisor", source / "supervisor")
    (source / "__init__.py").touch()
    shutil.copy2(Path(fooocus_nb.__file__).with_name("_secrets.py"), source)
    guardian = source / "supervisor" / "guardian.py"
    text = guardian.read_text()
    assert "TOUCH_SECONDS = 3600.0" in text
    guardian.write_text(text.replace("TOUCH_SECONDS = 3600.0", "TOUCH_SECONDS = 0.5"))
    monkeypatch.setattr("fooocus_nb.supervisor.guardian_handle._PACKAGE_PARENT", source.parent)
    child = Process.start(spec)
    try:
        deadline = time.monotonic() + 20
        while not log.exists() or not log.read_text():
            assert time.monotonic() < deadline
        os.utime(log, (0, 0))
        while log.stat().st_mtime == 0:
            assert time.monotonic() < deadline
    finally:
        child.stop(grace=1)


@pytest.mark.parametrize("how", ["dies", "never starts"])
def test_an_engine_that_failed_is_marked(logs: Path, start_demo, how: str) -> None:
    if how == "dies":
        engine = start_demo()
        os.kill(engine.pid, 9)
        deadline = time.monotonic() + 20
        # It is marked a moment after it is known to be dead.
        while engine.state != "dead" or not list(logs.glob("*/failed")):
            assert time.monotonic() < deadline
    else:
        with pytest.raises(StartError):
            start_demo("crash-start")
    (folder,) = logs.iterdir()
    assert (folder / "failed").exists()


def test_an_engine_that_was_stopped_is_not_marked(logs: Path, start_demo) -> None:
    start_demo().stop()
    (folder,) = logs.iterdir()
    assert not (folder / "failed").exists()


def test_folders_of_earlier_versions_go_too(logs: Path, tmp_path: Path) -> None:
    old = logs / "2020-01-01_00-00-00_demo_1_1"
    old.mkdir(parents=True)
    age(old, 100)
    new_log_folder("later", tmp_path / "ended")
    assert not old.exists()


def test_a_start_without_room_for_its_folders_says_so(registry, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device", "/some/disk")

    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(temporary))
        patched.setattr("fooocus_nb.engine.child_process.new_log_folder", full)
        with pytest.raises(DiskFull, match=r"roomless.*No space left.*/some/disk") as caught:
            fooocus_nb.start(demo=True, name="roomless")
    assert isinstance(caught.value, StartError)
    assert list(temporary.iterdir()) == []
    assert list(registry.folder.iterdir()) == []
    assert "roomless" not in fooocus_nb.running()


def test_a_runtime_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(RUNTIME_VARIABLE, str(tmp_path / "file" / "runtime"))
    with pytest.raises(StartError, match=f"(?s)given its folders.*{RUNTIME_VARIABLE}"):
        fooocus_nb.start(demo=True, name="roomless")


# -- users without a home -----------------------------------------------------------------------

SESSION = """
import fooocus_nb
engine = fooocus_nb.start(demo=True)
assert len(engine.generate("a cat", image_number=1, width=64, height=64, steps=2)) == 1
print(engine.log_path)
engine.stop()
assert "App started successful" in engine.log_path.read_text("utf-8")
"""


def _run(
    *argv: object, cwd: Path | None = None, **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a program in another environment; None takes a variable out of it."""
    env = {**os.environ, "FOOOCUS_DEMO_STEP_SECONDS": "0", **environment}
    return subprocess.run(
        list(map(str, argv)),
        cwd=cwd,
        env={name: value for name, value in env.items() if value is not None},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.mark.may_skip
@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
@pytest.mark.slow
def test_a_user_without_an_entry_and_a_home(tmp_path: Path) -> None:
    """As OpenShift gives each container a user id of its own."""
    as_nobody = ("unshare", "--user", "--map-user=54321", "--map-group=54321")
    if shutil.which("unshare") is None or _run(*as_nobody, "true").returncode != 0:
        pytest.skip("no user can be made up here")
    env = dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME"))
    python = ("env", f"TMPDIR={tmp_path}", *as_nobody, sys.executable, "-c")
    done = _run(*python, SESSION, cwd=tmp_path, **env)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "fooocus-nb-54321" / "logs")
    for call in (
        "start(demo=True, output_dir='~/images')",
        "start(demo=True, temp_dir='~/temp')",
        "connect('http://127.0.0.1:1', output_dir='~/images')",
    ):
        done = _run(*python, f"import fooocus_nb; fooocus_nb.{call}", cwd=tmp_path, **env)
        assert "ConfigurationError" in done.stderr
        assert "_dir='~/" in done.stderr
        assert "Give the whole path." in done.stderr
    done = _run(*python, "import fooocus_nb; fooocus_nb.start('~/Fooocus')", **env)
    assert "InstallError: There is no folder '~/Fooocus'. Nothing tells" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="has no /proc")
def test_a_home_that_takes_nothing(tmp_path: Path) -> None:
    python = ("env", f"TMPDIR={tmp_path}", sys.executable, "-c")
    variables = {"HOME": "/proc", "XDG_STATE_HOME": None, "XDG_CACHE_HOME": None}
    done = _run(*python, SESSION, cwd=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    runtime = Path(os.environ["XDG_RUNTIME_DIR"]) / "fooocus-nb"
    assert Path(done.stdout.strip()).is_relative_to(runtime / "logs")


# -- odd folders and hosts ----------------------------------------------------------------------

GONE = "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"


@posix
def test_a_working_folder_that_was_removed(registry, tmp_path: Path) -> None:
    # Without that folder on the module path, as a kernel is: Python 3.13.0 imports no socket there.
    python = (sys.executable, "-P", "-c")
    done = _run(*python, f"{GONE}{SESSION}", cwd=tmp_path)
    assert "ConfigurationError: output_dir='fooocus-outputs' is relative to" in done.stderr
    assert "Change to another" in done.stderr
    session = SESSION.replace("demo=True", f"demo=True, output_dir={str(tmp_path / 'out')!r}")
    done = _run(*python, f"{GONE}{session}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 1


@posix
@pytest.mark.parametrize("utf8", [None, "0"])
def test_a_home_with_letters_in_an_ascii_locale(tmp_path: Path, utf8: str | None) -> None:
    """Where Python is not in UTF-8 mode, such a path has surrogates in it."""
    home = tmp_path / "\N{LATIN SMALL LETTER U WITH DIAERESIS}"
    home.mkdir(mode=0o700)
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"), str(home))
    session = SESSION.replace("print(engine.log_path)", "")
    python = (sys.executable, "-c", session)
    done = _run(*python, cwd=home, **places, LC_ALL="C", LANG=None, PYTHONUTF8=utf8)
    assert done.returncode == 0, done.stderr
    assert len(list((home / "fooocus-outputs").iterdir())) == 1


@pytest.mark.may_skip
@posix
def test_names_are_read_alike_in_a_locale_of_another_encoding(tmp_path: Path) -> None:
    """A kernel in UTF-8 mode, and a guardian that heeds no variable."""
    made = tmp_path / "de_DE.ISO-8859-1"
    argv = ("localedef", "-i", "de_DE", "-f", "ISO-8859-1", made)
    if shutil.which(argv[0]) is None or not (_run(*argv), made.exists())[1]:
        pytest.skip("no locale can be made here")
    home = tmp_path / "\N{LATIN SMALL LETTER U WITH DIAERESIS}"
    home.mkdir(mode=0o700)
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"), str(home))
    locale = {"LOCPATH": str(tmp_path), "LC_ALL": made.name, "PYTHONUTF8": "1"}
    session = SESSION.replace("print(engine.log_path)", "")
    done = _run(sys.executable, "-c", session, cwd=home, **places, **locale)
    assert done.returncode == 0, done.stderr
    assert len(list((home / "fooocus-outputs").iterdir())) == 1


@pytest.mark.parametrize("executable", slow_but(("''", "None"), "None"))
def test_a_python_that_does_not_know_its_interpreter(registry, tmp_path, executable) -> None:
    """As one that is embedded in another program."""
    code = f"import sys; mine, sys.executable = sys.executable, {executable}\n"
    python = (sys.executable, "-c")
    done = _run(*python, f"{code}import fooocus_nb; fooocus_nb.start(demo=True)", cwd=tmp_path)
    assert "StartError" in done.stderr
    assert "sys.executable is empty" in done.stderr
    assert "import sys; sys.executable = '" in done.stderr
    told = f"{code}import fooocus_nb.engine.manager; sys.executable = mine\n{SESSION}"
    done = _run(*python, told, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


LIMITED = """
import sys, threading
import fooocus_nb

left, start = int(sys.argv[1]), threading.Thread.start

def limited(thread):
    global left
    left -= 1
    if left < 0:
        raise RuntimeError("can't start new thread")
    start(thread)

threading.Thread.start = limited
try:
    engine = fooocus_nb.start(demo=True, timeout=60)
    engine.generate("a cat", image_number=1, width=64, height=64, steps=1)
    print("enough")
except fooocus_nb.EngineError as error:
    print(type(error).__name__, "ulimit -u" in (error.remedy or ""), len(fooocus_nb.engines()))
"""


@pytest.mark.parametrize("number", slow_but(list("012345"), "3", "5"))
def test_where_no_further_thread_can_be_had(registry, tmp_path: Path, number: str) -> None:
    """As under RLIMIT_NPROC, and the limit of a container: one that has started goes on."""
    done = _run(sys.executable, "-c", LIMITED, number, cwd=tmp_path)
    assert done.stdout in ("StartError True 0\n", "EngineError True 1\n"), done.stderr


def test_where_no_further_process_can_be_had(registry, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(StartError, match=r"Resource temporarily.*\n.*ulimit -u"):
        fooocus_nb.start(demo=True, name="limited")
    assert "limited" not in fooocus_nb.running()


def test_an_output_folder_that_takes_nothing_is_known_before(start_demo, tmp_path: Path) -> None:
    engine = start_demo()
    (tmp_path / "images").touch()
    with pytest.raises(OutputError, match="Nothing has been generated"):
        engine.generate("a cat", image_number=1, width=64, height=64, steps=2)
    assert engine.jobs == ()
    assert engine.last_result is None
    (tmp_path / "images").unlink()
    assert len(engine.generate("a cat", image_number=1, width=64, height=64, steps=2)) == 1


def test_a_temporary_folder_that_a_cleaner_removed_is_made_again(start_demo, tmp_path) -> None:
    engine = start_demo(args=("--output-path", str(tmp_path / "outputs")))
    folder = engine._lifecycle.process.temp_dir
    shutil.rmtree(folder)
    assert len(engine.generate("a cat", image_number=1, width=64, height=64, steps=2)) == 1
    assert folder.is_dir()
    assert sys.platform == "win32" or folder.stat().st_mode & 0o777 == 0o700
    engine.stop()
    assert not folder.exists()


def test_what_belongs_to_a_kernel_is_not_pickled(start_demo) -> None:
    """Dask and joblib would send it to other processes."""
    engine = start_demo()
    job = engine.submit("a cat", image_number=1, width=64, height=64, steps=2)
    with pytest.raises(ConfigurationError, match=r"job\.result\(\)"):
        pickle.dumps(job)
    for wrapped in (engine, {"engine": engine}, engine.generate):
        with pytest.raises(ConfigurationError, match=rf"fooocus_nb\.connect\('{engine.url}'\)"):
            pickle.dumps(wrapped)
    again = pickle.loads(pickle.dumps(job.result()))
    assert [image.path for image in again] == [image.path for image in job.result()]


@pytest.mark.parametrize(
    "use", ["start(demo=True)", "connect('x')", "doctor()", "load_ipython_extension(None)"]
)
def test_in_a_browser_nothing_can_be_started(use: str) -> None:
    """In JupyterLite not even our dependencies can be installed, so nothing of them is loaded."""
    code = (
        "import sys; sys.platform = 'emscripten'; sys.modules['psutil'] = None\n"
        f"import fooocus_nb; from fooocus_nb import FooocusError, Image; fooocus_nb.{use}"
    )
    done = _run(sys.executable, "-c", code)
    assert "ConfigurationError: fooocus_nb." in done.stderr
    assert "cannot be used in JupyterLite" in done.stderr


# -- the runtime folder -------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Places of the test's own for everything that a runtime folder can be in."""
    monkeypatch.delenv(RUNTIME_VARIABLE, raising=False)
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "xdg"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def _spoil(path: Path, how: str) -> None:
    if how == "file":
        path.touch()
    elif how == "open":
        path.mkdir()
        path.chmod(0o777)
    elif how == "link":
        path.symlink_to(path.parent)
    elif os.geteuid() == 0:
        path.mkdir(mode=0o700)
        os.chown(path, 65533, 65533)
    else:
        pytest.skip("only root can give a folder to somebody else")


@posix
@pytest.mark.parametrize("how", ["file", "foreign"])
def test_a_runtime_directory_that_is_not_ours_is_passed_over(places: Path, how: str) -> None:
    assert runtime_folder() == places / "xdg" / "fooocus-nb"
    shutil.rmtree(places / "xdg")
    _spoil(places / "xdg", how)
    assert runtime_folder() == places / "temp" / f"fooocus-nb-{os.getuid()}"


@posix
@pytest.mark.parametrize("how", ["file", "open", "link", "foreign"])
def test_a_name_that_somebody_else_has_taken_locks_nobody_out(places: Path, how: str) -> None:
    _spoil(places / "xdg", "file")
    _spoil(places / "temp" / f"fooocus-nb-{os.getuid()}", how)
    found = runtime_folder()
    assert found.is_relative_to(places / "cache")
    assert found.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(places / "cache")
    (places / "cache").touch()
    with pytest.raises((StartError, OSError)):
        runtime_folder()
    with pytest.raises(StartError, match=RUNTIME_VARIABLE):
        fooocus_nb.start(demo=True, name="roomless")


@pytest.mark.may_skip
@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_a_runtime_directory_that_is_read_only_is_passed_over(places: Path) -> None:
    (places / "xdg" / "fooocus-nb").mkdir(parents=True, mode=0o700)
    mount = f"mount --bind {places}/xdg {places}/xdg && mount -o remount,bind,ro {places}/xdg"
    code = "from fooocus_nb.engine.folders import runtime_folder; print(runtime_folder())"
    try:
        subprocess.run(["unshare", "--mount", "sh", "-c", mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing can be mounted here")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$0" -c "$1"', sys.executable, code],
        env=os.environ | {"TMPDIR": str(places / "temp")},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(places / "temp" / f"fooocus-nb-{os.getuid()}")


@posix
def test_an_engine_is_found_when_the_runtime_folder_was_removed(
    registry, peer: Callable[..., Peer]
) -> None:
    """As at a logout, while tmux keeps the kernel."""
    first, second = peer(), peer()
    pid = first.run("engine = fooocus_nb.start(demo=True, share=True); value = engine.pid")
    shutil.rmtree(registry.folder)
    again = "import time\nwhile not (value := [e.pid for e in fooocus_nb.engines()]):"
    assert first.run(f"{again} time.sleep(0.01)") == [pid]
    start = "engine = fooocus_nb.start(demo=True, share=True); value = engine.pid"
    assert second.run(start) == pid
    first.run("engine.stop()")
    assert second.value("engine.state") == "ready"


@posix
def test_an_engine_moves_with_the_runtime_folder(places: Path, peer: Callable[..., Peer]) -> None:
    os.environ.pop(RUNTIME_VARIABLE, None)
    first = peer(TMPDIR=str(places / "temp"))
    pid = first.run("engine = fooocus_nb.start(demo=True, share=True); value = engine.pid")
    shutil.rmtree(places / "xdg")
    (places / "xdg").touch()  # nobody can make it again
    again = "import time\nwhile not (value := [e.pid for e in fooocus_nb.engines()]):"
    assert first.run(f"{again} time.sleep(0.01)") == [pid]
    second = peer(TMPDIR=str(places / "temp"))
    start = "engine = fooocus_nb.start(demo=True, share=True); value = engine.pid"
    assert second.run(start) == pid
    assert (
        second.run(
            "value = len(engine.generate('a cat', image_number=1, width=64, height=64, steps=2))"
        )
        == 1
    )


@posix
def test_the_temporary_folder_of_a_killed_engine_is_known_as_its_own(registry, peer) -> None:
    first = peer()
    folder, guardian = first.run(
        "engine = fooocus_nb.start(demo=True)\n"
        "process = engine._lifecycle.process\n"
        "value = [str(process.temp_dir), process.child.guardian_pid]"
    )
    (entry,) = registry.entries()
    assert Path(folder).name.rpartition("-")[2] == entry.run_dir.name.rpartition("-")[2]
    first.kill()
    os.kill(guardian, 9)
    deadline = time.monotonic() + 20
    # A guardian that was killed at the end of its own work leaves it empty; that is removed later.
    while list(entry.run_dir.glob("*")):
        assert time.monotonic() < deadline
        registry.survey()
    assert not Path(folder).exists()
