"""The guardian: a small process that owns the child, its group, its output and its end.

It is started with ``python -I -S`` in a session of its own, so that neither an interrupted cell nor
a kernel's end ends it, too. It reads a JSON specification from its standard input, starts the
child, answers on its standard output, and then runs until the child has ended or its last client
is gone. Three threads: one drains the child's pipe and does nothing else, one writes the log file
(a disk may be slow, or full), and the main one serves the clients and waits for processes. The
main thread starts the child, since Linux ends the child when the thread that started it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from fooocus_nb._secrets import (
    redact_words,
    remember_environment,
    remember_secret,
    secrets_in,
)
from fooocus_nb.supervisor import _place, _platform
from fooocus_nb.supervisor._drain import Client, Output
from fooocus_nb.supervisor._resources import usage_of
from fooocus_nb.supervisor._rotate import RotatingWriter
from fooocus_nb.supervisor.protocol import (
    ASLEEP,
    STOPPED,
    FrameReader,
    message,
    number,
    parse_object,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb.supervisor._watcher import Watcher

__all__ = ["main"]

RECEIVE_BYTES = 1 << 16
#: The longest command of a client, and the most that labels may come to.
COMMAND_BYTES = 1 << 16
#: The most connections that have not sent the token yet; more must not use up our descriptors.
MAX_UNADMITTED = 32

#: A kernel connects within milliseconds of our answer, unless it has ended in between.
FIRST_CLIENT_TIMEOUT = 10.0
#: A connection that has not sent the token by then is closed.
HELLO_TIMEOUT = 5.0
#: After KILL a process is gone as soon as the system comes to it; more means it hangs in a device.
KILL_TIMEOUT = 5.0
#: How long to wait for the last output, and for a kernel that is on its way.
FLUSH_TIMEOUT = 2.0
#: How long the disk may take nothing of the last output.
DISK_TIMEOUT = 10.0
#: How long a client may take nothing before the news of the end are lost to it. One whose kernel is
#: in a long call of C code reads nothing meanwhile, and 8 MB of output may be on their way to it.
CLIENT_TIMEOUT = 60.0
#: How long the news of the child's end waits for output that others may still be writing.
EXIT_TIMEOUT = 0.3
#: How often to look for what sends us no signal.
LOOK_SECONDS = 0.05
IDLE_LOOK_SECONDS = 1.0
#: How often to touch the log of a silent child, so that its age tells others that the child runs.
TOUCH_SECONDS = 3600.0
#: How often to check whether a child without clients works, though it prints nothing.
USAGE_LOOK_SECONDS = 5.0
#: What is no idleness: this share of one processor, or so many bytes to or from a disk each second.
#: An engine that waits takes one or two per cent to look for work, and no disk; a slow network disk
#: gives small pieces a few times a second.
WORKING_SHARE = 0.1
WORKING_BYTES = 10_000


class Guardian:
    """Starts the child, serves clients, and ends all of it when nobody needs it any more."""

    def __init__(self, spec: dict[str, Any], watcher: Watcher | None) -> None:
        self._spec = spec
        self._watcher = watcher
        self._selector = selectors.DefaultSelector()
        self._wake_out, self._wake_in = socket.socketpair()
        for end in (self._wake_out, self._wake_in):
            end.setblocking(False)
        self._clients: dict[Client, FrameReader] = {}
        self._had_client = False
        self._clientless_since = time.monotonic()
        self._next_check = self._clientless_since
        self._next_touch = self._clientless_since + TOUCH_SECONDS
        self._worked_at = self._clientless_since
        self._usage: tuple[float, float, int] | None = None
        self._starter = os.getppid()
        self._returncode: int | None = None
        self._exit_seen: float | None = None
        self._announced = False
        self._ending: str | None = None
        self._grace = float(spec["grace"])
        self._cleanup = list(spec["cleanup"])
        self._files: set[str] = set()
        self._answer: dict[str, Any] = {}
        self._address: _platform.Address | None = None

    # -- starting ---------------------------------------------------------------------------

    def start(self) -> dict[str, Any]:
        """Open the socket, start the child, and return what a kernel needs to know."""
        self._job = _platform.become_reaper()
        self._listener, self._address, made = _platform.listen(self._spec["run_dir"])
        self._listener.setblocking(False)
        if made:
            self._cleanup.append(made)
        self._install_signals()
        self._child = subprocess.Popen(
            self._spec["argv"],
            cwd=self._spec["cwd"],
            env=self._spec["env"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **_platform.guarded_popen_options(),
        )
        if self._child.stdout is None:
            raise AssertionError
        pipe = _platform.name_of_pipe(self._child.stdout.fileno())
        if self._watcher is not None and pipe is not None:
            self._watcher.add_output(pipe)
        for secret in secrets_in(self._spec["argv"]).values():
            remember_secret(secret)
        remember_environment(self._spec["env"])
        writer = RotatingWriter(
            self._spec["log_path"], self._spec["log_bytes"], self._spec["log_backups"]
        )
        self._output = Output(self._child.stdout.fileno(), writer, self._wake)
        self._output.start()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_out, selectors.EVENT_READ, self._on_wake)
        self._answer = self._describe()
        self._publish()
        return self._answer

    def _describe(self) -> dict[str, Any]:
        return {
            "pid": self._child.pid,
            "created": _platform.creation_time(self._child.pid),
            "guardian": os.getpid(),
            "guardian_created": _platform.creation_time(os.getpid()),
            "address": self._address,
            "started_at": time.time(),
            "place": _place.here(),
        }

    def _publish(self) -> None:
        """Publish what is guarded for kernels that come later; nobody else can read it."""
        known = {key: value for key, value in self._spec.items() if key != "env"}
        known["argv"] = redact_words(known["argv"])
        path = os.path.join(self._spec["run_dir"], "guardian.json")  # noqa: PTH118
        draft = f"{path}.{os.getpid()}"
        with contextlib.suppress(OSError):
            self._files |= {path, draft}
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump(known | self._answer, file)
            os.replace(draft, path)  # noqa: PTH105

    def _stay_published(self) -> None:
        """Publish again where the run folder was removed, as it is at a logout."""
        run_dir = self._spec["run_dir"]
        needed = [run_dir]
        if self._address is not None and self._address[0] == "unix":
            needed.append(self._address[1])
        if all(map(os.path.exists, needed)):
            if not os.path.exists(os.path.join(run_dir, "guardian.json")):  # noqa: PTH110, PTH118
                self._publish()
            return
        parent = os.path.dirname(run_dir)  # noqa: PTH120
        parents = [parent, *self._spec["fallbacks"]]
        if not os.path.isdir(os.path.dirname(parent)):  # noqa: PTH112, PTH120
            del parents[0]  # such as /run/user/1000, which is the system's to make
        for parent in parents:
            with contextlib.suppress(OSError):
                _platform.make_private(parent)
                self._move_to(os.path.join(parent, os.path.basename(run_dir)))  # noqa: PTH118, PTH119
                return

    def _move_to(self, run_dir: str) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(run_dir, 0o700)  # noqa: PTH102
        listener, address, made = _platform.listen(run_dir)
        listener.setblocking(False)
        while self._accept():  # who waits there would be hung up on
            pass
        self._selector.unregister(self._listener)
        self._listener.close()
        self._listener, self._address = listener, address
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._answer["address"] = address
        self._cleanup += [folder for folder in (run_dir, made) if folder]
        if run_dir != self._spec["run_dir"]:
            self._spec["run_dir"] = run_dir
            self._broadcast(message(event="moved", run_dir=run_dir))
        self._publish()

    def _install_signals(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self._begin_end("the guardian was told to end"))
        if sys.platform != "win32":
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, lambda *_: None)  # so that the wake-up descriptor is told
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            signal.set_wakeup_fd(self._wake_in.fileno(), warn_on_full_buffer=False)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full means that it will wake up anyway
            self._wake_in.send(b"\0")

    # -- serving ----------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until there is nothing left to guard, then remove what was only there for it."""
        try:
            while self._ending is None and self._alive():
                self._serve(self._next_look())
                self._check_clients()
        except Exception:  # noqa: BLE001 - whatever is wrong with us, the child must not stay
            self._ending = f"the guardian failed: {traceback.format_exc()}"
            self._grace = min(self._grace, FLUSH_TIMEOUT)
        if self._ending is not None:
            self._broadcast(message(event="ending", reason=self._ending))
        self._end_tree()
        self._shut_down()

    def _next_look(self) -> float:
        return IDLE_LOOK_SECONDS if self._had_client and not _platform.WINDOWS else LOOK_SECONDS

    def _alive(self) -> bool:
        if self._returncode is None:
            if _platform.WINDOWS:
                self._returncode = self._child.poll()
            else:
                ended = _platform.reap()
                if self._child.pid in ended:
                    self._returncode = self._child.returncode = ended[self._child.pid]
            if self._returncode is not None:
                self._exit_seen = time.monotonic()
        else:
            _platform.reap()
        return self._returncode is None

    def _serve(self, timeout: float) -> None:
        for client in self._clients:
            events = selectors.EVENT_READ
            if client.wants_to_send():
                events |= selectors.EVENT_WRITE
            self._selector.modify(client.connection, events, client)
        for key, mask in self._selector.select(timeout):
            if isinstance(key.data, Client):
                self._serve_client(key.data, mask, ended=key.fileobj == key.data.pidfd)
            else:
                key.data()

    def _accept(self) -> bool:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return False
        connection.setblocking(False)
        try:
            client = Client(connection)
        except OSError:  # it has ended before we came to it
            connection.close()
            return True
        unadmitted = [each for each in self._clients if not each.admitted and not each.left]
        if len(unadmitted) >= MAX_UNADMITTED:
            self._drop(unadmitted[0])
        self._clients[client] = FrameReader(COMMAND_BYTES)
        self._selector.register(connection, selectors.EVENT_READ, client)
        if client.pidfd is not None:
            # A fork of the kernel holds its connection open, so its own end is watched too.
            self._selector.register(client.pidfd, selectors.EVENT_READ, client)
        return True

    def _on_wake(self) -> None:
        with contextlib.suppress(OSError):
            while self._wake_out.recv(4096):
                pass

    def _serve_client(self, client: Client, mask: int, *, ended: bool) -> None:
        if client not in self._clients:
            return
        try:
            if ended:
                raise ConnectionResetError
            if mask & selectors.EVENT_READ:
                self._receive(client)
            if mask & selectors.EVENT_WRITE:
                client.send()
        except BlockingIOError:
            pass
        except Exception:  # noqa: BLE001 - broken, or no client of ours; nothing it sends may end us
            self._drop(client)

    def _receive(self, client: Client) -> None:
        data = client.connection.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError
        for _, payload in self._clients[client].feed(data):
            self._handle_command(client, parse_object(payload))

    def _handle_command(self, client: Client, command: dict[str, Any]) -> None:
        if client.left:
            return  # such as a heartbeat that was on its way
        if not client.admitted:
            if command.get("token") != self._spec["token"]:
                raise PermissionError
            if (
                command["op"] == "look"
            ):  # only a question: it is no client that keeps the child running
                client.add(message(event="look", **self._state()))
                return
            if command["op"] == "request":
                self._pass_on(client, command)
                return
            client.admitted = self._had_client = True
            self._output.attach(client)
            # Behind the recent output, so that an admitted client has it.
            client.add(message(event="hello", run_dir=self._spec["run_dir"], **self._state()))
            self._announce_users()
        match command["op"]:
            case "ping":
                client.add(message(event="pong", lost=self._output.lost()))
            case "work":
                now = time.monotonic()
                self._check_usage(now, min(USAGE_LOOK_SECONDS, number(command["interval"])))
                client.add(message(event="work", idle=now - self._worked_at))
            case "label":
                labels = {**self._spec["labels"], **command["labels"]}
                if len(json.dumps(labels)) <= COMMAND_BYTES:
                    self._spec["labels"] = labels
                    self._publish()
            case "keep":
                self._spec["idle_timeout"] = number(command["idle_timeout"])
                self._publish()
            case "spare":
                client.spares = command["spares"] is True
                self._sleep_if_all_agree()
                client.add(message(event="sparing", ending=self._ending))
            case "leave" if self._users() > 1:
                client.add(message(event="spared"))
                # Counted no more, so that the next one who leaves is the last in time; but not
                # dropped as a stranger, before it has heard: it would take us for lost.
                client.admitted, client.left = False, True
                self._announce_users()
            case "stop" | "leave":
                if command.get("grace") is not None:
                    self._grace = number(command["grace"])
                client.add(message(event="ending", reason=STOPPED))
                self._begin_end(STOPPED)

    def _pass_on(self, stranger: Client, command: dict[str, Any]) -> None:
        """Pass somebody's request on to those who use the child, and say how many they are."""
        users = [client for client in self._clients if client.admitted]
        if command.get("one"):
            del users[1:]  # the one that has used it for longest
        said = message(event="request", verb=command["verb"], session=command.get("session"))
        for client in users:
            client.add(said)
        stranger.add(message(event="requested", users=len(users)))

    def _state(self) -> dict[str, Any]:
        return {
            "returncode": self._returncode,
            "ending": self._ending,
            "users": self._users(),
            "silence": time.monotonic() - self._output.last_time,
        }

    def _users(self) -> int:
        return sum(client.admitted for client in self._clients)

    def _sleep_if_all_agree(self) -> None:
        """End the child where each of its clients can do without it; one that needs it keeps it."""
        users = [client for client in self._clients if client.admitted]
        if users and all(client.spares for client in users):
            self._begin_end(ASLEEP)

    def _announce_users(self) -> None:
        """Tell the clients how many they are: if we do not answer, only a single one kills us."""
        self._broadcast(message(event="users", users=self._users()))

    def _drop(self, client: Client) -> None:
        del self._clients[client]
        self._output.detach(client)
        self._selector.unregister(client.connection)
        if client.pidfd is not None:
            self._selector.unregister(client.pidfd)
        client.close()
        if client.admitted:
            self._clientless_since = time.monotonic()
            self._usage = None
            self._announce_users()

    # -- ending -----------------------------------------------------------------------------

    def _check_clients(self) -> None:
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + IDLE_LOOK_SECONDS
            self._stay_published()
            self._drop_dead_clients(now)
        if now >= self._next_touch:
            self._next_touch = now + TOUCH_SECONDS
            with contextlib.suppress(OSError):
                os.utime(self._spec["log_path"])
        if any(client.admitted for client in self._clients):
            self._sleep_if_all_agree()  # the one that needed it may have left
            return
        idle_timeout = self._spec["idle_timeout"]
        if not self._had_client:
            if now - self._clientless_since > FIRST_CLIENT_TIMEOUT:
                self._begin_end("no kernel came")
            elif not _platform.WINDOWS and os.getppid() != self._starter:
                self._begin_end("the kernel ended before it came")
        elif idle_timeout is None:
            self._begin_end("the kernel is gone")
        else:
            self._check_usage(now, min(USAGE_LOOK_SECONDS, idle_timeout / 4))
            last_sign = max(self._clientless_since, self._output.last_time, self._worked_at)
            if now - last_sign > idle_timeout:
                self._begin_end("idle for too long")

    def _check_usage(self, now: float, interval: float) -> None:
        """Note when the child or its descendants work: not all that work print."""
        if self._usage is not None and now - self._usage[0] < interval:
            return
        before, self._usage = self._usage, (now, *usage_of(self._process_tree()))
        if before is None:
            # One look tells nothing yet, and a busy machine may be late with it.
            self._worked_at = now
            return
        seconds, cpu, moved = (new - old for new, old in zip(self._usage, before, strict=True))
        # Less than before means that one of them has ended.
        if cpu > WORKING_SHARE * seconds or moved > WORKING_BYTES * seconds:
            self._worked_at = now

    def _drop_dead_clients(self, now: float) -> None:
        """Drop clients that never sent the token, or whose process has ended."""
        for client in list(self._clients):
            stranger = not client.admitted and not client.left
            if (stranger and now - client.since > HELLO_TIMEOUT) or client.gone():
                self._drop(client)

    def _begin_end(self, reason: str) -> None:
        if self._ending is None:
            self._ending = reason

    def _end_tree(self) -> None:
        """End the child and its descendants: ask, wait for the grace, then kill."""
        began = time.monotonic()
        asked: set[int] = set()
        while (tree := self._process_tree()) and time.monotonic() < began + self._grace:
            self._end(tree - asked, kill=False)
            asked |= tree
            self._serve_while_ending()
        deadline = time.monotonic() + KILL_TIMEOUT
        while (tree := self._process_tree()) and time.monotonic() < deadline:
            self._end(tree, kill=True)
            self._serve_while_ending()

    def _end(self, pids: set[int], *, kill: bool) -> None:
        # Once it has been reaped, its process id may become anybody's.
        leader = self._child.pid if self._returncode is None else None
        _platform.end(pids, leader, kill=kill)

    def _process_tree(self) -> set[int]:
        """Return the processes that are still to be ended, the child among them."""
        alive = self._alive()
        tree = _platform.process_tree(self._child.pid, self._spec["marker"])
        if self._watcher is not None and self._watcher.pid is not None:
            tree.discard(self._watcher.pid)
        return tree | {self._child.pid} if alive else tree

    def _serve_while_ending(self) -> None:
        """Serve for a moment, and announce the child's end without waiting for its descendants."""
        self._serve(LOOK_SECONDS)
        if self._exit_seen is not None and (
            self._output.drained() or time.monotonic() > self._exit_seen + EXIT_TIMEOUT
        ):
            self._announce_exit()

    def _announce_exit(self) -> None:
        if not self._announced:
            self._announced = True
            self._broadcast(message(event="exit", returncode=self._returncode))

    def _shut_down(self) -> None:
        """Remove all files, and only then tell the clients, which may look for what is left."""
        if self._ending is None:  # of a child that short-lived, its kernel is still on its way
            self._serve_until(lambda: self._had_client, FLUSH_TIMEOUT)
        self._serve_until(self._output.drained, FLUSH_TIMEOUT)
        self._announce_exit()
        self._serve_until(self._output.saved, DISK_TIMEOUT)
        self.clean_up()
        reason = self._ending or "it ended by itself"
        self._broadcast(message(event="gone", reason=reason, lost=self._output.lost()))
        self._serve_until(self._flushed, CLIENT_TIMEOUT)

    def _flushed(self) -> bool:
        """Disconnect the clients that have got everything, and return whether none is left."""
        for client in list(self._clients):
            if not client.wants_to_send():
                self._drop(client)  # the others' slowness must not hold it up
        return not self._clients

    def clean_up(self) -> None:
        """Remove every file and folder that was only there for this child."""
        # At the end only: with its compressors it takes 0.7 MB, and a guardian lives for long.
        import shutil

        # What is published goes last: were we killed in between, it tells others of the rest.
        published = self._spec["run_dir"]
        for path in self._cleanup:
            if path != published:
                shutil.rmtree(path, ignore_errors=True)
        if self._address is not None:
            _platform.remove_socket(self._address)
        if published in self._cleanup:
            shutil.rmtree(published, ignore_errors=True)
        for path in self._files:  # of a folder that stays, and of one that has moved
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108

    def _broadcast(self, data: bytes) -> None:
        for client in self._clients:
            if client.admitted:
                client.add(data)

    def _serve_until(self, condition: Callable[[], bool], timeout: float) -> None:
        """Serve until the condition holds, or for so long without any progress of the output."""
        moved, deadline = 0, time.monotonic() + timeout
        while not condition() and time.monotonic() < deadline:
            self._serve(LOOK_SECONDS)
            progress = self._output.saved_bytes + sum(client.sent for client in self._clients)
            if progress != moved:
                moved, deadline = progress, time.monotonic() + timeout


def main(watcher: Watcher | None = None) -> None:
    """Read the specification, start the child, and guard it to its end."""
    # A draining thread must not wait long for the others.
    sys.setswitchinterval(0.001)
    specification = sys.stdin.buffer.readline()
    if not specification:
        return  # the kernel ended before it had sent anything
    spec = json.loads(specification)
    if watcher is not None:
        watcher.arm(spec["marker"])
    guardian = Guardian(spec, watcher)
    try:
        answer = guardian.start()
    except Exception as error:  # noqa: BLE001 - the kernel raises it as its own
        answer = {"error": str(error) or repr(error), "kind": type(error).__name__}
        guardian.clean_up()
    _send_answer(json.dumps(answer).encode() + b"\n")
    if "error" not in answer:
        guardian.run()
    if watcher is not None:
        watcher.dismiss()


def _send_answer(answer: bytes) -> None:
    """Answer on the standard output, then close all three: nobody reads them any more."""
    with contextlib.suppress(OSError):  # the kernel is gone, which the guardian will notice
        os.write(1, answer)
    devnull = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(devnull, fd)
    os.close(devnull)
