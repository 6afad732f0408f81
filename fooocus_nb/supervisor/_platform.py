"""All that differs between Linux, macOS and Windows."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "UNKNOWN",
    "WINDOWS",
    "Address",
    "become_reaper",
    "boot_id",
    "connect",
    "creation_time",
    "detached_popen_options",
    "end",
    "guarded_popen_options",
    "interpreter",
    "is_private",
    "is_stopped",
    "kill_leftovers",
    "leftovers",
    "listen",
    "lock_alone",
    "lock_shared",
    "make_private",
    "name_of_pipe",
    "peer_gone",
    "peer_pid",
    "pid_namespace",
    "process_tree",
    "ps_lines",
    "reap",
    "remove_socket",
    "stat_fields",
    "try_lock",
    "unlock",
    "watch",
    "widen_pipe",
]

LINUX = sys.platform == "linux"
WINDOWS = sys.platform == "win32"

#: Where a socket is: ``["unix", path]`` or ``["tcp", port]``.
Address = list[Any]

# The shortest limit of the platforms for the path of a unix socket, its final zero included.
MAX_SOCKET_PATH = 103

#: The pid namespace of a process whose ``/proc`` is that of another one.
UNKNOWN = "unknown"
#: Where a socket can be if not in the usual places: ``/tmp`` may be read-only, or not there.
SHORT_FOLDERS = ("/var/tmp", "/dev/shm")  # noqa: S108 - a private folder is made in it
#: So much of a run folder's name is in that of the folder for its socket.
MAX_SUFFIX = 20
#: How many may wait while the guardian is busy: all kernels of a user, and many listings.
BACKLOG = 64
# From <linux/prctl.h> and <linux/fcntl.h>; the standard library has no names for them.
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
F_SETPIPE_SZ = 1031
#: What Linux lets every user have at most, unless an administrator has changed that.
PIPE_BYTES = 1 << 20
#: ``ps`` takes milliseconds; more means that it waits for a process that hangs in a device.
PS_TIMEOUT = 5.0
CONNECT_POLL_SECONDS = 0.01
#: How often to look whether killed processes are gone, and have started no others.
KILL_POLL_SECONDS = 0.02
#: So often in a row must nothing be found: a fork may not be in a list that was made meanwhile.
KILL_LOOKS = 3


# -- sockets --------------------------------------------------------------------------------


def listen(folder: str) -> tuple[socket.socket, Address, str | None]:
    """Open a socket for this user alone; return it, its address, and a folder to remove later."""
    if sys.platform == "win32":
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # Without it, Windows lets another program bind the same port and take our clients.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        tcp.bind(("127.0.0.1", 0))
        tcp.listen(BACKLOG)
        return tcp, ["tcp", tcp.getsockname()[1]], None
    path = os.path.join(folder, f"{os.getpid()}.sock")  # noqa: PTH118 - the guardian loads little
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made = None  # a folder, where the given one cannot hold a socket
    try:
        if len(os.fsencode(path)) > MAX_SOCKET_PATH:
            raise OSError(errno.ENAMETOOLONG, "too long for a socket", path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - of a dead guardian that had our process id
        unix.bind(path)
    except OSError:  # as on a file system without sockets, as some shared ones are
        try:
            made, path = _bind_elsewhere(unix, folder)
        except OSError:
            unix.close()
            raise
    unix.listen(BACKLOG)
    return unix, ["unix", path], made


def _bind_elsewhere(unix: socket.socket, folder: str) -> tuple[str, str]:
    """Bind a socket in a new folder with a short path, instead of in `folder`; return both."""
    import tempfile

    # It ends as that folder's name does, by which it is known as its own when we are dead.
    suffix = os.path.basename(folder).rpartition("-")[2][:MAX_SUFFIX]  # noqa: PTH119
    failure = OSError(errno.ENOENT, "no folder for a socket", tempfile.gettempdir())
    for parent in dict.fromkeys(("/tmp", tempfile.gettempdir(), *SHORT_FOLDERS)):  # noqa: S108
        try:
            # It gets mode 0700.
            made = tempfile.mkdtemp(prefix="fnb-", suffix=f"-{suffix}", dir=parent)
        except OSError as error:
            failure = error
            continue
        path = os.path.join(made, "guardian.sock")  # noqa: PTH118
        try:
            unix.bind(path)
        except OSError as error:
            failure = error
            os.rmdir(made)  # noqa: PTH106
            continue
        return made, path
    raise failure


def is_private(folder: str) -> bool:
    """Whether a folder is this user's own, and nobody else can write into it."""
    if sys.platform == "win32":
        return os.path.isdir(folder)  # noqa: PTH112 - it is in the user's own profile
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    open_to_others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return status.st_uid == os.getuid() and stat.S_ISDIR(status.st_mode) and not open_to_others


def make_private(folder: str) -> None:
    """Make a folder that is this user's own, or raise OSError where it cannot be used as one."""
    os.makedirs(folder, 0o700, exist_ok=True)  # noqa: PTH103
    if not is_private(folder):
        msg = f"{folder} is open to others"
        raise PermissionError(msg)
    if not os.access(folder, os.W_OK | os.X_OK):
        msg = f"{folder} cannot be written into"
        raise PermissionError(msg)


def remove_socket(address: Address) -> None:
    """Remove the file that :func:`listen` has made."""
    kind, where = address
    if kind == "unix":
        with contextlib.suppress(OSError):
            os.unlink(where)  # noqa: PTH108


def connect(address: Address, timeout: float) -> socket.socket:
    """Connect to a socket made by :func:`listen`."""
    kind, where = address
    if kind == "tcp":
        tcp = socket.create_connection(("127.0.0.1", int(where)), timeout)
        tcp.settimeout(None)
        return tcp
    if sys.platform == "win32":
        msg = "unix sockets are not used on Windows"
        raise OSError(msg)
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    deadline = time.monotonic() + timeout
    try:
        unix.settimeout(timeout)
        while True:
            try:
                unix.connect(where)
                break
            except BlockingIOError:  # so many wait that there is no room for one more
                if time.monotonic() > deadline:
                    raise
                time.sleep(CONNECT_POLL_SECONDS)
    except OSError:
        unix.close()
        raise
    unix.settimeout(None)
    return unix


def peer_pid(connection: socket.socket) -> int | None:
    """Return the process at the other end, where the platform tells."""
    try:
        if sys.platform == "linux":
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return int.from_bytes(raw[:4], sys.byteorder) or None
        if sys.platform == "darwin":
            local_peerpid, sol_local = 0x002, 0
            return connection.getsockopt(sol_local, local_peerpid) or None
    except OSError:
        pass
    return None


def watch(pid: int | None) -> tuple[int | None, str | None]:
    """Return a descriptor that becomes readable when a process ends, or else its creation time.

    A ProcessLookupError says that it has ended already.
    """
    # The connection's end of file does not tell: a forked child of a kernel holds it open, too.
    if pid is None:
        return None, None
    if sys.platform == "linux":
        try:
            return os.pidfd_open(pid), None
        except ProcessLookupError:
            raise
        except OSError:
            pass  # an old kernel, or a sandbox
    return None, creation_time(pid)


def peer_gone(pid: int | None, created: str | None) -> bool:
    """Whether a process that :func:`watch` gave a creation time for has ended."""
    return pid is not None and created is not None and creation_time(pid) != created


# -- starting -------------------------------------------------------------------------------


def interpreter() -> str:
    """Return the Python that runs the guardian."""
    if sys.platform == "win32":
        # In a virtual environment, python.exe only starts the real one and waits for it.
        return getattr(sys, "_base_executable", None) or sys.executable
    return sys.executable


def detached_popen_options() -> dict[str, Any]:
    """Return the options that give the guardian a session of its own, out of reach of Ctrl-C."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags}
    return {"start_new_session": True, "cwd": "/"}


def guarded_popen_options() -> dict[str, Any]:
    """Return the options that start the child in a session of its own and tie it to us."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True, "preexec_fn": _prepare_child()}


def _prepare_child() -> Callable[[], None]:
    """Return what runs in the child before its program."""
    # To be used on the guardian's main thread: Linux sends the parent-death signal when the thread
    # that started the child ends, not when the process does.
    if sys.platform == "win32":
        return lambda: None
    guardian = os.getpid()
    prctl = _prctl()
    priority = _raise_priority()
    resettable = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})

    def prepare() -> None:
        # Ignored signals are inherited: ours, and those of whoever started us.
        for number in resettable:
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.setpriority(os.PRIO_PROCESS, 0, priority)
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != guardian:  # it died before the line above took hold
                os._exit(1)

    return prepare


def _raise_priority() -> int:
    """Raise our priority where that is allowed, and return the one that the child should have."""
    # On a machine with more work than processors, whoever drains the pipe must not be scheduled
    # behind those who wait for it. Containers and hosted notebooks mostly run as root, who may.
    if sys.platform == "win32":
        return 0
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(before - 10, -20))
    return before


def _prctl() -> Callable[[int, int], int] | None:
    if not LINUX:
        return None
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(option: int, value: int) -> int:
        return int(libc.prctl(option, value, 0, 0, 0))

    return prctl


def become_reaper() -> object:
    """Become the parent of our child's orphans; return what is to be held as long as we run."""
    # On Windows it is the job object, which ends all its processes when its last handle closes:
    # our end closes it, whatever its cause.
    if sys.platform == "win32":
        from fooocus_nb.supervisor import _windows

        return _windows.enter_job()
    prctl = _prctl()
    if prctl is not None:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    return None


def widen_pipe(pipe: int) -> None:
    """Give a pipe more room, so that its writer waits less; a refusal is no harm."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, F_SETPIPE_SZ, PIPE_BYTES)


# -- ending ---------------------------------------------------------------------------------


def end(pids: Iterable[int], leader: int | None, *, kill: bool) -> None:
    """Ask processes to end, or kill them. Those that are gone are no error."""
    if sys.platform == "win32":
        for pid in pids:
            # Python up to 3.12 may fail with a SystemError where CTRL_BREAK reaches nobody.
            with contextlib.suppress(OSError, SystemError):
                os.kill(pid, signal.SIGTERM if kill else signal.CTRL_BREAK_EVENT)
        return
    numbers = [signal.SIGKILL] if kill else [signal.SIGTERM, signal.SIGCONT]
    single = set(pids)
    # A process group gets one signal in common: some programs take a second one for impatience.
    grouped = leader in single
    for number in numbers:
        if grouped and leader is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                single -= {pid for pid in single if pid == leader or _group(pid) == leader}
                os.killpg(leader, number)
        for pid in single:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def _group(pid: int) -> int | None:
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            return os.getpgid(pid)
    return None


def reap() -> dict[int, int]:
    """Reap the children that have ended; return their return codes by process id."""
    ended: dict[int, int] = {}
    if sys.platform == "win32":
        return ended
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def process_tree(leader: int, marker: str) -> set[int]:
    """Return the processes that this guardian has to end, by descent, group and marker."""
    if WINDOWS:
        return set()  # the job object holds them all
    if LINUX:
        return _descendants(os.getpid(), _linux_table())
    # Orphans go to the first process here, so descent alone does not find them.
    table = _ps_table()
    grouped = {pid for pid, row in table.items() if row[1] == leader}
    return _descendants(os.getpid(), table) | grouped | leftovers(marker)


def _descendants(ancestor: int, table: dict[int, tuple[int, int]]) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in table.items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    pending = [ancestor]
    while pending:
        new = [pid for pid in children.get(pending.pop(), ()) if pid not in found]
        found.update(new)
        pending.extend(new)
    return found


def _linux_table() -> dict[int, tuple[int, int]]:
    """Return parent and group of every process that has not ended."""
    table = {}
    for pid in _process_ids():
        fields = stat_fields(pid)
        if fields and fields[0] not in (b"Z", b"X"):
            table[pid] = int(fields[1]), int(fields[2])
    return table


def _ps_table() -> dict[int, tuple[int, int]]:
    table = {}
    for line in ps_lines("-axo", "pid=,ppid=,pgid=,stat="):
        row = line.split()
        if len(row) == 4 and row[3][0] != "Z":
            table[int(row[0])] = int(row[1]), int(row[2])
    return table


def ps_lines(*options: str) -> list[str]:
    """Return the lines that ``ps`` prints, but for its own process."""
    ps = subprocess.Popen(
        ["/bin/ps", *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        output, _ = ps.communicate(timeout=PS_TIMEOUT)
    except subprocess.TimeoutExpired:
        ps.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            ps.communicate(timeout=PS_TIMEOUT)
        return []
    return [line for line in output.splitlines() if line.split()[:1] != [str(ps.pid)]]


def _process_ids() -> list[int]:
    """Return the processes that are seen here; none where they are another container's."""
    # There a number means one process in /proc, and another one for a signal.
    if pid_namespace() == UNKNOWN:
        return []
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208


def stat_fields(pid: int) -> list[bytes] | None:
    """Return the fields of /proc/PID/stat from the third on; the second may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return None


def creation_time(pid: int) -> str | None:
    """Return what tells a process from a later one with the same id; None when it has ended."""
    if LINUX:
        fields = stat_fields(pid)
        return fields[19].decode() if fields and fields[0] not in (b"Z", b"X") else None
    if sys.platform == "win32":
        from fooocus_nb.supervisor import _windows

        return _windows.creation_time(pid)
    for line in ps_lines("-o", "stat=,lstart=", "-p", str(pid)):
        state, _, started = line.strip().partition(" ")
        return None if state.startswith("Z") else started.strip()
    return None


def boot_id() -> str | None:
    """Return what tells one start of the system from another; None where it does not tell."""
    if LINUX:
        return _first_line("/proc/sys/kernel/random/boot_id")
    if sys.platform == "darwin":
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=PS_TIMEOUT)
            return done.stdout.strip() or None
    return None


def pid_namespace() -> str | None:
    """Return what tells our process ids from those of other containers; None where nothing does."""
    if not LINUX:
        return None
    try:
        # In a container that sees the processes of another one, a process id tells nothing.
        if os.readlink("/proc/self") != str(os.getpid()):  # noqa: PTH115
            return UNKNOWN
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        return None


def _first_line(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123
            return file.readline().strip() or None
    except (OSError, ValueError):
        return None


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal or a debugger; Windows has no such state."""
    if LINUX:
        fields = stat_fields(pid)
        return bool(fields and fields[0] in (b"T", b"t"))
    return not WINDOWS and any(
        line.strip().startswith("T") for line in ps_lines("-o", "stat=", "-p", str(pid))
    )


def leftovers(marker: str, output: str | None = None) -> set[int]:
    """Return this user's processes that have `marker`, a ``NAME=value``, in their environment.

    On Linux also those that hold the pipe `output`, such as ``pipe:[123]``: an environment can be
    emptied, and is where a process writes its own title over it.
    """
    # This finds what a guardian that was killed has left running, daemonised or not. On macOS the
    # system's own programs hide theirs; on Windows the job object leaves nothing.
    if LINUX:
        return {pid for pid in _process_ids() if _is_left(pid, marker, output)}
    if WINDOWS:
        return set()
    rows = (line.split(None, 1) for line in ps_lines("-axww", "-E", "-o", "pid=,command="))
    return {int(row[0]) for row in rows if len(row) == 2 and marker in row[1].split()}


def parent_of(pid: int) -> int | None:
    """Return the process that a process belongs to; None where that is not known."""
    if LINUX:
        fields = stat_fields(pid)
        return int(fields[1]) if fields else None
    row = {} if WINDOWS else _ps_table()
    return row[pid][0] if pid in row else None


def kill_leftovers(marker: str, timeout: float, output: str | None = None) -> None:
    """Kill what :func:`leftovers` finds, until that is nothing, for so long at most."""
    deadline = time.monotonic() + timeout
    looks = 0
    while looks < KILL_LOOKS and time.monotonic() < deadline:
        found = leftovers(marker, output)
        for pid in found:
            _kill_left(pid, marker, output)
        looks = 0 if found else looks + 1
        time.sleep(KILL_POLL_SECONDS)


def _is_left(pid: int, marker: str, output: str | None) -> bool:
    """Whether a process has the marker, or holds the pipe."""
    if marker.encode() in _linux_environment(pid):
        return True
    return output is not None and output in _linux_files(pid)


def _kill_left(pid: int, marker: str, output: str | None) -> None:
    if sys.platform == "linux":
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except OSError:
            pass  # an old kernel, or a sandbox
        else:
            # By now another process may have the id; the descriptor stays with the one it was.
            with contextlib.suppress(OSError):
                if _is_left(pid, marker, output):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
            os.close(process)
            return
        created = creation_time(pid)
        if not _is_left(pid, marker, output) or creation_time(pid) != created:
            return
    end([pid], None, kill=True)


def _linux_environment(pid: int) -> list[bytes]:
    """Return the environment of a process; that of one that has ended is empty."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
            return file.read().split(b"\0")
    except OSError:
        return []


def _linux_files(pid: int) -> set[str]:
    """Return what a process has open; nothing of one that has ended or may not be looked at."""
    found = set()
    with contextlib.suppress(OSError):
        folder = f"/proc/{pid}/fd"
        for name in os.listdir(folder):  # noqa: PTH208
            with contextlib.suppress(OSError):  # closed meanwhile
                found.add(os.readlink(f"{folder}/{name}"))  # noqa: PTH115
    return found


def name_of_pipe(descriptor: int) -> str | None:
    """Return by what name others see a pipe of this process; None where they do not."""
    if LINUX:
        with contextlib.suppress(OSError):
            return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
    return None


# -- locks ----------------------------------------------------------------------------------


def try_lock(folder: str) -> int | None:
    """Lock a folder and return what :func:`unlock` needs; None while somebody else holds it."""
    # An OSError says that the file system has no locks.
    if sys.platform == "win32":
        return _try_lock_on_windows(folder)
    import fcntl

    # The folder itself, so that there is no file of which nobody knows when it may go.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _try_lock_on_windows(folder: str) -> int | None:
    if sys.platform != "win32":
        return None
    import msvcrt

    path = os.path.join(folder, "start.lock")  # noqa: PTH118
    try:
        # The system removes the file with its last handle.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TEMPORARY | os.O_NOINHERIT)
    except PermissionError:  # it is being removed at this moment
        return None
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def lock_shared(folder: str) -> int | None:
    """Take a lock that several may hold; None where there are no locks, or the folder is gone."""
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = -1
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise  # somebody is alone with it, and about to end it
    except OSError:
        if descriptor >= 0:
            os.close(descriptor)
        return None
    return descriptor


def lock_alone(descriptor: int | None) -> bool:
    """Make a shared lock ours alone, and return whether nobody else held it, for certain."""
    if sys.platform == "win32" or descriptor is None:
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Unlock what :func:`try_lock` or :func:`lock_shared` has locked."""
    if sys.platform != "win32":
        import fcntl

        # Closing is not enough where a fork has inherited it.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
