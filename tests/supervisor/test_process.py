from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import stat
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fooocus_nb.errors import ConnectionLost, StartError
from fooocus_nb.supervisor import Process, _platform
from fooocus_nb.supervisor.protocol import MESSAGE, frame

from ..lanes import examples

SLEEP = "\ntime.sleep(120)"
IGNORE_TERM = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready')" + SLEEP
#: It waits until the daemon has printed its process id. If it ended earlier, the guardian would end
#: the daemon before that has set its signal handler.
DAEMON = """
ready, say_ready = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {first}
        print("daemon", os.getpid(), flush=True)
        os.write(say_ready, b".")
        time.sleep(120)
    os._exit(0)
os.wait()
os.read(ready, 1)
"""
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


def daemon_pid(process, until):
    until(lambda: any(line.startswith("daemon") for line in process.tail()))
    return next(int(line.split()[1]) for line in process.tail() if line.startswith("daemon"))


# -- starting -------------------------------------------------------------------------------


@pytest.fixture
def start_heard(start, tmp_path):
    """Start a child that prints once somebody listens: what comes before is in the log alone."""

    def begin(code):
        cue, lines = tmp_path / "cue", []
        waiting = f"import time\nwhile not os.path.exists({str(cue)!r}): time.sleep(0.01)\n"
        process = start(waiting + code)
        process.add_listener(lines.append)
        cue.touch()
        return process, lines

    return begin


def test_both_streams_arrive_in_order_and_the_exit_code(start_heard):
    code = "print('out'); print('err', file=sys.stderr); print('last'); sys.exit(3)"
    process, lines = start_heard(code)
    assert process.wait(10) == 3
    assert process.tail() == ["out", "err", "last"]
    assert process.tail(1) == ["last"]
    assert [line.text for line in lines] == ["out", "err", "last"]
    assert all(abs(line.time - time.time()) < 60 for line in lines)
    assert not process.alive()
    assert process.returncode == 3
    process.stop()
    assert process.spec.log_path.read_text() == "out\nerr\nlast\n"


def test_a_signal_is_a_negative_return_code(start):
    process = start("os.kill(os.getpid(), signal.SIGSEGV)")
    assert process.wait(10) == -signal.SIGSEGV


@pytest.mark.parametrize(
    "options", [{"argv": ("/no/such/program", "-x")}, {"cwd": "no-such-folder"}]
)
def test_what_cannot_start_says_so_and_leaves_nothing(make_spec, tmp_path, options):
    if "cwd" in options:
        options = {"cwd": tmp_path / options["cwd"]}
    spec = make_spec("", **options)
    with pytest.raises(StartError, match=r"'test' could not be started: .*no.such"):
        Process.start(spec)
    assert list(spec.run_dir.iterdir()) == []


def test_a_guardian_that_does_not_start_is_told_with_its_words(make_spec, monkeypatch):
    monkeypatch.setattr("fooocus_nb.supervisor.guardian_handle._BOOT", "import no_such_module")
    with pytest.raises(StartError, match="No module named 'no_such_module'"):
        Process.start(make_spec(""))


def test_a_guardian_that_does_not_answer_is_ended(make_spec, monkeypatch):
    monkeypatch.setattr(
        "fooocus_nb.supervisor.guardian_handle._BOOT", "import time; time.sleep(60)"
    )
    with pytest.raises(StartError, match="did not answer within"):
        Process.start(make_spec(""), timeout=0.3)


@pytest.mark.parametrize("problem", [ConnectionRefusedError("refused"), TimeoutError("timed out")])
def test_a_guardian_that_cannot_be_reached_is_told_and_ended(
    make_spec, monkeypatch, until, gone, tmp_path, problem
):
    pids = tmp_path / "pids"

    def refused(*_):
        until(lambda: pids.is_file() and pids.read_text().endswith("\n"))
        raise problem

    monkeypatch.setattr(socket.socket, "connect", refused)
    code = f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{os.getppid()}}\\n')" + SLEEP
    with pytest.raises(StartError, match=r"its guardian cannot be reached: (refused|timed out)"):
        Process.start(make_spec(code))
    child, guardian = map(int, pids.read_text().split())
    until(lambda: gone(child) and gone(guardian))


def test_without_a_folder_the_child_runs_in_ours(tmp_path, monkeypatch, start):
    monkeypatch.chdir(tmp_path)
    process = start("print(os.getcwd())", log_path=Path("here.log"))
    process.wait(10)
    process.stop()
    assert process.tail() == [str(tmp_path)]
    assert (tmp_path / "here.log").exists()


@posix
def test_a_folder_too_deep_for_a_socket(make_spec, tmp_path):
    deep = tmp_path / ("d" * 120)
    deep.mkdir(mode=0o700)
    other = Process.start(replace(make_spec(SLEEP), run_dir=deep))
    address = json.loads((deep / "guardian.json").read_text())["address"]
    assert len(os.fsencode(address[1])) <= 103
    folder = Path(address[1]).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    other.stop()
    assert not folder.exists()


@posix
@pytest.mark.parametrize("takes", ["mkdtemp", "bind"])
def test_a_socket_finds_a_place_where_tmp_takes_none(tmp_path, short_folder, monkeypatch, takes):
    """As in a container whose /tmp is read-only, or on a disk without sockets."""
    refused = OSError(errno.EROFS, "Read-only file system")
    make, real = tempfile.mkdtemp, socket.socket

    def mkdtemp(dir: str, **words: str) -> str:  # noqa: A002 - the name that it has
        if takes == "mkdtemp" and dir == "/tmp":
            raise refused
        return make(dir=dir, **words)

    class Socket(real):
        def bind(self, path: str) -> None:
            if takes == "bind" and path.startswith("/tmp/fnb-") and str(short_folder) not in path:
                raise refused
            super().bind(path)

    monkeypatch.setattr(tempfile, "tempdir", str(short_folder))
    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    monkeypatch.setattr(_platform.socket, "socket", Socket)
    listener, address, made = _platform.listen(str(tmp_path / ("d" * 120) / "run-0123abcd"))
    with listener:
        assert made.endswith("-0123abcd")
        assert Path(address[1]).parent == Path(made)
        assert Path(made).parent == short_folder
        _platform.connect(address, 5).close()


@posix
def test_the_child_has_a_session_of_its_own_no_input_and_default_signals(make_spec):
    # A thread that starts a process between two cells of ipykernel hands down an ignored SIGINT.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = Process.start(
            make_spec(
                "print(os.getsid(0) == os.getpgid(0) == os.getpid())\n"
                "print(repr(sys.stdin.read()))\n"
                "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
                "print(signal.getsignal(signal.SIGHUP) is signal.SIG_DFL)\n"
                "print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"
            )
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.wait(10) == 0
    assert process.tail() == ["True", "''", "True", "True", "set()"]
    process.stop()


@posix
def test_an_interrupt_of_our_group_does_not_reach_them(start, until):
    process = start("print('ready')" + SLEEP)
    until(lambda: process.tail() == ["ready"])
    ours = os.getpgid(0)
    assert ours not in (os.getpgid(process.pid), os.getpgid(process.guardian_pid))
    os.kill(process.guardian_pid, signal.SIGINT)
    os.kill(process.guardian_pid, signal.SIGHUP)
    assert process.wait(0.2) is None
    assert process.alive()


# -- output ---------------------------------------------------------------------------------


def test_bytes_that_are_not_utf8(start):
    process = start("os.write(1, bytes(range(128, 256)) + b'\\nnext\\n')")
    process.wait(10)
    assert process.tail()[-1] == "next"
    assert set(process.tail()[0]) == {"\ufffd"}


def test_a_progress_bar_is_seen_while_it_moves(start_heard, until):
    bar = "for i in range(200): os.write(1, b'%d%%\\r' % i)\nos.write(1, b'x')"
    process, lines = start_heard(bar + SLEEP)
    until(lambda: len(lines) == 200)
    assert all(line.transient for line in lines)
    assert process.tail() == ["199%"]


def test_five_megabytes_without_a_newline(start_heard):
    process, lines = start_heard("os.write(1, b'x' * 5_000_000); print(); print('end')")
    assert process.wait(120) == 0
    assert sum(len(line.text) for line in lines) == 5_000_003
    assert process.tail(1) == ["end"]


@linux
def test_a_gigabyte_while_nobody_reads(start, until, gone):
    """A sixteenth of it in the everyday lane."""
    process = start(
        "block = b'x' * 99 + b'\\n'\nblock *= 10_000\n"
        f"for _ in range({examples(1000, 16)}): os.write(1, block)\nprint('written')",
        log_bytes=5_000_000,
    )
    go_on = threading.Event()
    process.add_listener(lambda line: go_on.wait(280))
    peak = []

    def ended():
        peak.append(resident_megabytes(process.guardian_pid))
        return gone(process.pid)

    def is_written():
        with contextlib.suppress(FileNotFoundError):  # the log is being rotated
            return "written" in process.spec.log_path.read_text()[-100:]

    until(ended, timeout=240)
    until(is_written)
    logs = list(process.spec.log_path.parent.iterdir())
    assert len(logs) == 3
    assert all(log.stat().st_size <= 5_000_000 for log in logs)
    assert max(peak) < 120
    go_on.set()
    assert process.wait(120) == 0
    assert process.tail(1) == ["written"]


def resident_megabytes(pid):
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


@linux
def test_a_full_disk_does_not_stop_the_child(start, tmp_path):
    log_path = tmp_path / "full.log"
    log_path.symlink_to("/dev/full")
    process = start("for i in range(50_000): print('x' * 99)\nprint('end')", log_path=log_path)
    assert process.wait(20) == 0
    assert process.tail(1) == ["end"]
    process.stop()
    assert process.lost == 50_000 * 100 + 4


def test_a_log_folder_that_cannot_be_made_does_not_stop_the_child(start, tmp_path):
    (tmp_path / "file").write_text("in the way")
    process = start("print('here')", log_path=tmp_path / "file" / "engine.log")
    assert process.wait(10) == 0
    process.stop()
    assert process.tail() == ["here"]
    assert process.lost == 5


def test_a_listener_may_fail_and_leave(start, until):
    process = start("print(0); print(1); print(2)" + SLEEP)
    heard = []

    def fail(line):
        heard.append(line.text)
        raise RuntimeError(line.text)

    leave = process.add_listener(fail)
    until(lambda: heard == ["0", "1", "2"])
    leave()
    leave()
    late = []
    process.add_listener(late.append)
    assert [line.text for line in late] == ["0", "1", "2"]


def test_a_listener_may_call_back(start):
    process = start("print('a'); print('b')")
    seen = []
    process.add_listener(lambda line: seen.append((line.text, len(process.tail()))))
    process.wait(10)
    assert [text for text, _ in seen] == ["a", "b"]


# -- ending ---------------------------------------------------------------------------------


def test_stop_asks_and_is_harmless_twice(start, gone):
    process = start(SLEEP)
    codes = []
    process.add_exit_listener(codes.append)
    assert process.alive()
    assert process.wait(0.01) is None
    assert process.stop() == -signal.SIGTERM
    assert process.stop() == -signal.SIGTERM
    assert codes == [-signal.SIGTERM]
    process.add_exit_listener(codes.append)
    assert codes == [-signal.SIGTERM] * 2
    assert gone(process.guardian_pid)
    assert process.reason == "stopped on request"
    assert [path.name for path in process.spec.run_dir.iterdir()] in ([], ["logs"])


def test_term_comes_once(start, until):
    process = start(
        "count = []\nsignal.signal(signal.SIGTERM, lambda *_: count.append(1))\n"
        "child = subprocess.Popen(['sleep', '120'])\nprint('ready')\n"
        "while not count: time.sleep(0.01)\nchild.wait(); time.sleep(0.2)\n"
        "print('count', len(count))"
    )
    until(lambda: "ready" in process.tail())
    process.stop()
    assert process.tail(1) == ["count 1"]


def test_a_child_that_ignores_term_is_killed_after_the_grace(start, until):
    process = start(IGNORE_TERM, grace=3600.0)  # of the two graces, the stop's own counts
    until(lambda: process.tail() == ["ready"])
    began = time.monotonic()
    assert process.stop(grace=0.3) == -signal.SIGKILL
    assert time.monotonic() - began >= 0.3


@posix
def test_a_stopped_child_can_still_end_by_itself(start, until):
    process = start("signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print('ready')" + SLEEP)
    until(lambda: process.tail() == ["ready"])
    os.kill(process.pid, signal.SIGSTOP)
    assert process.stop() == 7


@linux
@pytest.mark.parametrize("first", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_a_daemonised_grandchild_goes_too(start, until, gone, first):
    process = start(DAEMON.format(first=first) + SLEEP)
    daemon = daemon_pid(process, until)
    assert os.getsid(daemon) != os.getsid(process.pid)
    process.stop(grace=0.3)
    assert gone(daemon)


@linux
def test_the_exit_is_known_before_a_stubborn_daemon_has_gone(start, until, gone):
    process = start(DAEMON.format(first="signal.signal(15, signal.SIG_IGN)") + "sys.exit(5)")
    daemon = daemon_pid(process, until)
    assert process.wait(60) == 5
    assert not gone(daemon)
    process.stop(grace=0.2)
    assert gone(daemon)


def test_a_stop_from_a_listener_only_asks(start):
    process = start("print('enough')" + SLEEP)
    process.add_listener(lambda line: process.stop())
    assert process.wait(10) == -signal.SIGTERM


@posix
def test_a_killed_guardian_takes_the_tree_along(start, until, gone):
    process = start(DAEMON.format(first="") + SLEEP)
    daemon = daemon_pid(process, until)
    codes = []
    process.add_exit_listener(codes.append)
    os.kill(process.guardian_pid, signal.SIGKILL)
    until(lambda: gone(process.pid))
    until(lambda: codes == [None])
    assert gone(daemon)
    assert not process.alive()
    assert process.stop() is None


@posix
def test_a_guardian_that_is_told_to_end_ends_the_child_first(start, gone):
    process = start(SLEEP)
    os.kill(process.guardian_pid, signal.SIGTERM)
    assert process.wait(5) == -signal.SIGTERM


@linux
def test_a_stopped_guardian_is_killed_with_its_tree(start, until, gone, monkeypatch):
    monkeypatch.setattr("fooocus_nb.supervisor.process.ANSWER_TIMEOUT", 0.5)
    process = start(DAEMON.format(first="") + SLEEP)
    daemon = daemon_pid(process, until)
    os.kill(process.guardian_pid, signal.SIGSTOP)
    process.stop()
    assert gone(process.pid)
    assert gone(daemon)
    assert gone(process.guardian_pid)


def test_the_folders_given_for_cleanup_go_with_the_child(start, tmp_path):
    folder = tmp_path / "temp"
    (folder / "deep").mkdir(parents=True)
    process = start("print('x')", cleanup=(folder,))
    process.wait(10)
    process.stop()
    assert not folder.exists()


# -- several kernels ------------------------------------------------------------------------


def test_the_socket_and_its_secret_are_ours_alone(start):
    process = start(SLEEP)
    published = process.spec.run_dir / "guardian.json"
    assert stat.S_IMODE(published.stat().st_mode) == 0o600
    assert "env" not in json.loads(published.read_text())


def test_the_child_stays_until_its_last_client_goes(start, until, gone):
    first = start("print('hello')" + SLEEP)
    until(lambda: first.tail() == ["hello"])
    second = Process.attach(first.spec.run_dir)
    assert (second.pid, second.guardian_pid) == (first.pid, first.guardian_pid)
    assert second.started_at == first.started_at
    until(lambda: second.tail() == ["hello"])
    first.close()
    assert first.wait(1) is None
    assert first.alive()
    assert second.wait(0.2) is None
    second.close()
    until(lambda: gone(first.guardian_pid))
    assert not first.alive()


def test_one_client_stops_it_for_all(start):
    first = start(SLEEP)
    second = Process.attach(first.spec.run_dir)
    assert second.stop() == -signal.SIGTERM
    assert first.wait(5) == -signal.SIGTERM


def test_a_detached_child_lives_on_until_it_is_idle(start, until, gone):
    first = start(SLEEP, idle_timeout=60)
    first.close()
    second = Process.attach(first.spec.run_dir)
    assert second.alive()
    second.stop()
    assert gone(first.guardian_pid)
    idle = start(SLEEP, idle_timeout=0.2)
    idle.close()
    until(lambda: gone(idle.guardian_pid))


@pytest.mark.parametrize("content", [None, "{", "{}", "[]"])
def test_attaching_to_nothing(tmp_path, content):
    if content is not None:
        (tmp_path / "guardian.json").write_text(content)
    with pytest.raises(ConnectionLost, match="No guardian can be reached"):
        Process.attach(tmp_path)


def test_attaching_to_what_is_over(start):
    process = start(SLEEP)
    published = (process.spec.run_dir / "guardian.json").read_text()
    process.stop()
    (process.spec.run_dir / "guardian.json").write_text(published)
    with pytest.raises(ConnectionLost, match="not there any more"):
        Process.attach(process.spec.run_dir)


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"M\0\0\0\2[]",
        b"M\0\0\0\2{}",
        b"M\xff\xff\xff\xff",
        b"M\0\0\0\1{",
        frame(MESSAGE, b"[" * 60_000),
        frame(MESSAGE, b'{"token":' * 6_000),
        frame(MESSAGE, b"9" * 60_000),
    ],
)
def test_a_stranger_is_shown_out(start, words):
    process = start(SLEEP)
    address = json.loads((process.spec.run_dir / "guardian.json").read_text())["address"]
    with _platform.connect(address, 5) as stranger:
        stranger.settimeout(5)
        stranger.sendall(words)
        assert stranger.recv(100) == b""
    assert process.alive()


# -- what is left ---------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("lives", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_many_lives_leave_no_descriptor_and_no_thread(start, make_spec, lives):
    start("print(1)").stop()

    def count():
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    before = count()
    for number in range(lives):
        process = Process.start(make_spec("print(1)" + SLEEP * (number % 2)))
        process.add_listener(lambda line: None)
        if number % 2:
            process.stop()
        else:
            process.wait(5)
            process.close()
    assert count() == before
    assert _platform.leftovers("FOOOCUS_NB_GUARD") == set()


def test_it_is_collected_when_nobody_calls_stop(start, until, gone):
    process = start("print(1)")
    process.wait(5)
    until(lambda: process._gone.is_set())
    assert process._guardian.wait(5)


@posix
def test_a_fork_does_not_disturb_us(start, until):
    process = start("print('ready')" + SLEEP)
    until(lambda: process.tail() == ["ready"])
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert process.wait(0.1) is None
    assert process.alive()
