"""Windows, as far as it can be tried elsewhere: its calls on a fake kernel32, its ways for real.

Here the guardian does what it does on Windows: it is reached over TCP, looks instead of being
signalled, and leaves the ending of families to the job object.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fooocus_nb.supervisor import Process, _platform, guardian_handle

SOURCE = Path(_platform.__file__).with_name("_windows.py")
ROOT = SOURCE.parents[2]
elsewhere = pytest.mark.skipif(sys.platform == "win32", reason="there it is the real thing")
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="stands in with /proc")

JOB, SELF, PROCESS = 0x71, (1 << 64) - 1, 0x72
CREATED = 0x01DA_5E11_0000_0001
WAIT_TIMEOUT, WAIT_OBJECT_0 = 258, 0


class Function:
    """One function of a library; as in ctypes, its types can be set."""

    def __init__(self, name, library):
        self.name, self.library = name, library

    def __call__(self, *arguments):
        self.library.calls.append((self.name, *arguments))
        return getattr(self.library, f"do_{self.name}")(*arguments)


class Kernel32:
    """Remembers what it was called with, and answers as told."""

    def __init__(self):
        self.calls = []
        self.job, self.limits, self.assigns = JOB, True, True
        self.opens, self.state, self.times = PROCESS, WAIT_TIMEOUT, True

    def __getattr__(self, name):
        if name.startswith("do_"):
            raise AttributeError(name)
        function = Function(name, self)
        setattr(self, name, function)
        return function

    def called(self, name):
        return [call[1:] for call in self.calls if call[0] == name]

    def do_CreateJobObjectW(self, attributes, name):  # noqa: N802
        assert (attributes, name) == (None, None)  # so that nobody inherits the handle
        return self.job

    def do_GetCurrentProcess(self):  # noqa: N802
        return SELF

    def do_SetInformationJobObject(self, job, kind, information, size):  # noqa: N802
        limits = information._obj
        # The layout of JOBOBJECT_EXTENDED_LIMIT_INFORMATION in a 64-bit process.
        assert (kind, size) == (9, 144)
        assert bytes(limits)[16:20] == (0x2000).to_bytes(4, "little")
        assert not any(bytes(limits)[:16] + bytes(limits)[20:])
        return self.limits

    def do_AssignProcessToJobObject(self, job, process):  # noqa: N802
        return self.assigns

    def do_OpenProcess(self, access, inherit, pid):  # noqa: N802
        assert (access, inherit) == (0x101000, False)
        return self.opens

    def do_WaitForSingleObject(self, handle, milliseconds):  # noqa: N802
        assert milliseconds == 0
        return self.state

    def do_GetProcessTimes(self, handle, *times):  # noqa: N802
        assert len(times) == 4
        times[0]._obj.value = CREATED
        return self.times

    def do_CloseHandle(self, handle):  # noqa: N802
        return True


@pytest.fixture
def kernel32(monkeypatch):
    library = Kernel32()
    names = {"kernel32": library}
    monkeypatch.setattr(ctypes, "WinDLL", lambda name, **_: names[name], raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: 5, raising=False)
    monkeypatch.setattr(ctypes, "WinError", lambda code: OSError(code, "refused"), raising=False)
    return library


@pytest.fixture
def windows(kernel32, monkeypatch):
    """Load the module as Windows does."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        spec = importlib.util.spec_from_file_location("fooocus_nb.supervisor._windows", SOURCE)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "fooocus_nb.supervisor._windows", module)
    return module


# -- its calls --------------------------------------------------------------------------------


@elsewhere
def test_the_module_refuses_other_platforms():
    spec = importlib.util.spec_from_file_location("elsewhere", SOURCE)
    with pytest.raises(ImportError, match="for Windows"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


@elsewhere
def test_handles_are_not_cut_to_32_bits(windows, kernel32):
    for name in ("CreateJobObjectW", "GetCurrentProcess", "OpenProcess"):
        assert ctypes.sizeof(getattr(kernel32, name).restype) == ctypes.sizeof(ctypes.c_void_p)


@elsewhere
def test_a_job_ends_with_its_last_handle_and_holds_this_process(windows, kernel32):
    job = windows.enter_job()
    assert job.value == JOB
    ((assigned, process),) = kernel32.called("AssignProcessToJobObject")
    assert (assigned.value, process.value) == (JOB, SELF)
    assert not kernel32.called("CloseHandle")  # our end closes it


@elsewhere
@pytest.mark.parametrize("refused", ["job", "limits", "assigns"])
def test_a_refusal_is_an_error(windows, kernel32, refused):
    setattr(kernel32, refused, None)
    with pytest.raises(OSError, match="refused"):
        windows.enter_job()


@elsewhere
def test_a_creation_time_tells_a_process_from_its_successor(windows, kernel32):
    assert windows.creation_time(77) == "01da5e1100000001"
    assert kernel32.called("OpenProcess")[0][2] == 77
    assert [handle.value for (handle,) in kernel32.called("CloseHandle")] == [PROCESS]


@elsewhere
@pytest.mark.parametrize(
    ("name", "value", "closed"),
    [("opens", None, 0), ("state", WAIT_OBJECT_0, 1), ("times", False, 1)],
)
def test_a_process_that_has_ended_has_no_creation_time(windows, kernel32, name, value, closed):
    setattr(kernel32, name, value)
    assert windows.creation_time(77) is None
    assert len(kernel32.called("CloseHandle")) == closed


# -- its ways ---------------------------------------------------------------------------------


@pytest.fixture
def on_windows(windows, monkeypatch):
    """Let this process take the ways of Windows."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(_platform, "WINDOWS", True)
    monkeypatch.setattr(_platform, "LINUX", False)
    for module, name, value in (
        (signal, "CTRL_BREAK_EVENT", 1),
        (socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR),
        (subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200),
        (subprocess, "CREATE_NO_WINDOW", 0x8000000),
    ):
        monkeypatch.setattr(module, name, value, raising=False)


@elsewhere
def test_guardian_and_child_get_groups_of_their_own(on_windows):
    # CTRL_BREAK reaches only processes on the sender's console, so the child stays on ours.
    assert _platform.detached_popen_options() == {"creationflags": 0x8000200}
    assert _platform.guarded_popen_options() == {"creationflags": 0x200}


@elsewhere
def test_the_guardian_is_the_real_interpreter_and_not_a_launcher(on_windows, monkeypatch):
    monkeypatch.setattr(sys, "_base_executable", r"C:\Python311\python.exe", raising=False)
    assert _platform.interpreter() == r"C:\Python311\python.exe"
    monkeypatch.setattr(sys, "_base_executable", None)
    assert _platform.interpreter() == sys.executable


@elsewhere
def test_sockets_are_tcp_and_listen_to_this_machine_only(on_windows, tmp_path):
    server, address, made = _platform.listen(str(tmp_path))
    with server:
        assert server.getsockname() == ("127.0.0.1", address[1])
        assert (address[0], made, list(tmp_path.iterdir())) == ("tcp", None, [])
        with _platform.connect(address, 5) as client:
            peer, _ = server.accept()
            with peer:
                client.sendall(b"hello")
                assert peer.recv(5) == b"hello"
                assert _platform.peer_pid(peer) is None
    _platform.remove_socket(address)
    assert _platform.watch(None) == (None, None)
    with pytest.raises(OSError, match="not used on Windows"):
        _platform.connect(["unix", "x"], 1)


@elsewhere
def test_asking_is_a_break_and_ending_is_termination(on_windows, monkeypatch):
    sent = []

    def kill(pid, number):
        sent.append((pid, number))
        if pid == 8:
            raise ProcessLookupError
        if pid == 9:
            raise SystemError("returned a result with an exception set")

    monkeypatch.setattr(os, "kill", kill)
    _platform.end([7, 8, 9], 7, kill=False)
    _platform.end([7], 7, kill=True)
    assert sent == [(7, 1), (8, 1), (9, 1), (7, signal.SIGTERM)]


@elsewhere
def test_the_job_and_not_a_table_of_processes_holds_the_tree(on_windows, windows):
    assert _platform.process_tree(os.getpid(), "A=b") == set()
    assert _platform.leftovers("A=b") == set()
    assert _platform.reap() == {}
    assert _platform.become_reaper().value == JOB
    assert _platform.creation_time(77) == windows.creation_time(77)


BOOT = """
import os, shutil, signal, socket, sys, types
sys.path.append(sys.argv[1])
from fooocus_nb.supervisor import _platform, guardian
fake = sys.modules["fooocus_nb.supervisor._windows"] = types.ModuleType("_windows")
fake.enter_job = object
def creation_time(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
fake.creation_time = creation_time
signal.CTRL_BREAK_EVENT = 1
kill = os.kill  # there, SIGTERM is TerminateProcess
os.kill = lambda pid, number: kill(pid, signal.SIGTERM if number == 1 else signal.SIGKILL)
socket.SO_EXCLUSIVEADDRUSE = socket.SO_REUSEADDR
_platform.guarded_popen_options = dict
_platform.WINDOWS, _platform.LINUX, sys.platform = True, False, "win32"
guardian.main()
"""


@pytest.fixture
def windows_guardian(monkeypatch):
    """Start guardians that believe to be on Windows."""
    monkeypatch.setattr(guardian_handle, "_BOOT", BOOT)


@needs_proc
def test_a_guardian_serves_without_signals(windows_guardian, start, until):
    process = start("print('ready'); time.sleep(60)")
    until(lambda: "ready" in process.tail())
    assert process.alive()
    began = process.pid
    assert process.stop(grace=5) == -signal.SIGTERM
    assert _platform.creation_time(began) is None
    assert process.reason == "stopped on request"


@needs_proc
def test_a_guardian_sees_the_end_of_its_child_without_signals(windows_guardian, start, until):
    process = start("print('last words'); sys.exit(7)")
    assert process.wait(20) == 7
    until(lambda: process.tail() == ["last words"])


@needs_proc
def test_a_child_that_heeds_no_break_is_ended(windows_guardian, start, until):
    code = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(60)"
    process = start(code)
    until(lambda: "deaf" in process.tail())
    assert process.stop(grace=0.2) == -signal.SIGKILL
    assert process.reason == "stopped on request"


@needs_proc
def test_a_kernel_that_goes_takes_its_child_along(windows_guardian, make_spec, until, gone):
    process = Process.start(make_spec("print('ready'); time.sleep(60)"))
    until(lambda: "ready" in process.tail())
    process._connection.shutdown(2)  # as the system does for a kernel that was killed
    until(lambda: gone(process.pid) and gone(process.guardian_pid))


# -- every module -----------------------------------------------------------------------------

IMPORT_ALL = """
import importlib, importlib.abc, os, pathlib, signal, socket, sys
import asyncio, ctypes, multiprocessing, selectors, subprocess, tempfile, uuid
import anywidget, gradio_client, httpx, IPython, ipykernel.kernelbase, ipywidgets, jupyter_client
import jupyter_server.serverapp, nbclient, nbconvert, nbformat, numpy, PIL.Image, platformdirs
import aiohttp, distributed, papermill, psutil, tornado.web, traitlets
import websockets.asyncio.client

HIDDEN = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
for name in HIDDEN & set(sys.modules):
    del sys.modules[name]

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in HIDDEN:
            raise ImportError(f"there is no {name} on Windows")

sys.meta_path.insert(0, Hide())
for module, names in (
    (os, "fork geteuid getpgid getpgrp getuid kill killpg pidfd_open setsid uname waitpid "
         "WNOHANG WEXITED"),
    (signal, "SIGKILL SIGSTOP SIGCONT SIGHUP SIGCHLD SIGPIPE pthread_sigmask SIG_SETMASK"),
    (socket, "AF_UNIX SO_PEERCRED"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

class Library:
    def __getattr__(self, name):
        setattr(self, name, lambda *_: 1)
        return getattr(self, name)

ctypes.WinDLL = lambda *_, **__: Library()
sys.platform = "win32"
import fooocus_nb
root = pathlib.Path(fooocus_nb.__file__).parent
names = []
for path in sorted(root.rglob("*.py")):
    name = ".".join(("fooocus_nb", *path.relative_to(root).with_suffix("").parts))
    if path.name != "__main__.py":
        importlib.import_module(name.removesuffix(".__init__"))
        names.append(name)
from fooocus_nb.supervisor import _platform
assert _platform.WINDOWS
assert hasattr(sys.modules["fooocus_nb.supervisor._windows"], "enter_job")
print(len(names))
"""


@elsewhere
def test_every_module_loads_where_nothing_of_posix_is():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    modules = [path for path in (ROOT / "fooocus_nb").rglob("*.py") if path.name != "__main__.py"]
    assert int(done.stdout) == len(modules)
