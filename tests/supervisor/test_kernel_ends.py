"""However a kernel ends, nothing of the child is left, and soon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")

TREE = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(120)"])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("tree", os.getpid(), child.pid, flush=True)
        time.sleep(120)
    os._exit(0)
os.wait()
time.sleep(120)
"""
#: Without the environment that tells them, as those that write their title over it.
HIDDEN = TREE.replace("]", "], env={}, start_new_session=True", 1)
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" + TREE


def tree(kernel):
    """Return all that hangs on a kernel."""
    while not (line := kernel.line()).startswith("tree"):
        assert line
    return [kernel.child, *(int(word) for word in line.split()[1:]), kernel.shim]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGABRT])
def test_a_kernel_that_is_killed(start_kernel, until, gone, number):
    kernel = start_kernel(TREE)
    pids = tree(kernel)
    os.kill(kernel.popen.pid, number)
    until(lambda: all(gone(pid) for pid in pids))
    assert not kernel.folder.exists()


def test_a_stubborn_tree_gets_its_grace_and_no_more(start_kernel, until, gone):
    kernel = start_kernel(STUBBORN, grace=0.5)
    pids = tree(kernel)
    began = time.monotonic()
    kernel.popen.kill()
    until(lambda: all(gone(pid) for pid in pids))
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize(
    "end",
    [
        "os._exit(0)",
        "sys.exit(0)",
        "os.abort()",
        "os.execvp('true', ['true'])",
        "raise KeyboardInterrupt",
    ],
)
def test_a_kernel_that_ends_itself(start_kernel, until, gone, end):
    code = (
        "while not any(line.startswith('tree') for line in process.tail()): time.sleep(0.01)\n"
        "time.sleep(0.05)\n"
    )
    kernel = start_kernel(TREE, code=code + end)
    pids = tree(kernel)
    until(lambda: all(gone(pid) for pid in pids))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it takes up to a second")
def test_a_fork_that_holds_the_connection_does_not_hold_the_child(start_kernel, until, gone):
    code = "child = os.fork()\nif child: os.write(1, b'fork %d\\n' % child)"
    kernel = start_kernel(TREE, code=code)
    heard = {}
    while len(heard) < 2:
        word, *pids = kernel.line().split()
        heard[word] = [int(pid) for pid in pids]
    (fork,) = heard["fork"]
    pids = [kernel.child, kernel.shim, *heard["tree"]]
    try:
        kernel.popen.kill()
        until(lambda: all(gone(pid) for pid in pids))
        assert not gone(fork)
    finally:
        os.kill(fork, signal.SIGKILL)


def test_a_kernel_that_stands_still_does_not_block_the_child(start_kernel, tmp_path, until):
    done = tmp_path / "done"
    kernel = start_kernel(
        "sys.stdin.close()\nprint('tree 0 0')\n"
        f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.01)\n"
        "for _ in range(50): os.write(1, b'x' * 999_999 + b'\\n')\n"
        f"open({str(done)!r}, 'w').close()\ntime.sleep(120)"
    )
    tree(kernel)
    os.kill(kernel.popen.pid, signal.SIGSTOP)
    (tmp_path / "go").touch()
    until(done.exists)


def test_a_guardian_that_nobody_comes_to_ends_itself(make_spec, until, gone):
    code = (
        "import os, sys\n"
        "from fooocus_nb.supervisor import process\n"
        "process._platform.connect = lambda *_: os._exit(0)\n"
        "exec(sys.argv[1])"
    )
    spec = make_spec("time.sleep(120)")
    start = (
        "from pathlib import Path\nfrom fooocus_nb.supervisor import ChildSpec\n"
        f"folder = Path({str(spec.run_dir)!r})\n"
        "process.Process.start(ChildSpec(argv=('sleep', '120'), env=dict(os.environ), name='x',"
        "run_dir=folder, log_path=folder / 'log', cleanup=(folder,)))"
    )
    subprocess.run([sys.executable, "-c", code, start], check=True, timeout=20)
    until(lambda: not spec.run_dir.exists())


@pytest.mark.parametrize("first", ["kernel", "guardian"])
@pytest.mark.parametrize(
    "family",
    [TREE, pytest.param(HIDDEN, marks=pytest.mark.skipif(sys.platform != "linux", reason="/proc"))],
    ids=["marked", "hidden"],
)
def test_a_kernel_and_its_guardian_that_are_killed_at_once(
    start_kernel, until, gone, first, family
):
    """Nobody comes afterwards to look for what they had started."""
    kernel = start_kernel(family)
    pids = tree(kernel)
    watchers = [child.pid for child in psutil.Process(kernel.shim).children()]
    both = [kernel.popen.pid, kernel.shim]
    for pid in both if first == "kernel" else reversed(both):
        os.kill(pid, signal.SIGKILL)
    kernel.popen.wait(10)
    until(lambda: all(gone(pid) for pid in {*pids, *watchers}))


def test_a_second_watcher_is_small_and_goes_with_the_guardian(start, until, gone):
    process = start("print('ready'); time.sleep(120)")
    (watcher,) = (
        child
        for child in psutil.Process(process.guardian_pid).children()
        if child.pid != process.pid
    )
    assert watcher.memory_info().rss < 10_000_000
    assert os.getsid(watcher.pid) == watcher.pid
    assert watcher.num_fds() == 4
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(watcher.pid, number)
    process.stop()
    assert process.reason == "stopped on request"
    until(lambda: gone(watcher.pid))


def test_a_guardian_does_without_its_watcher(start, gone):
    process = start("print('ready'); time.sleep(120)")
    for child in psutil.Process(process.guardian_pid).children():
        if child.pid != process.pid:
            child.kill()
    assert process.stop() == -signal.SIGTERM
    assert gone(process.guardian_pid)


def test_only_what_has_the_marker_is_killed(start, until, gone):
    """Something else that the kernel has started stays, though it is of the same session."""
    other = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(120)"])
    try:
        process = start("print('ready'); time.sleep(120)")
        (watcher,) = {each.pid for each in psutil.Process(process.guardian_pid).children()} - {
            process.pid
        }
        os.kill(process.guardian_pid, signal.SIGKILL)
        until(lambda: gone(process.pid) and gone(watcher))
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
