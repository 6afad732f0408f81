"""A kernel's handle on a guarded child: start, attach, follow its output, wait, stop."""

from __future__ import annotations

import contextlib
import logging
import secrets
import selectors
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import PROCESS_LIMIT, ConnectionLost, StartError, is_process_limit
from fooocus_nb.supervisor import _platform
from fooocus_nb.supervisor._place import where
from fooocus_nb.supervisor.guardian_handle import (
    MARKER_VARIABLE,
    ChildSpec,
    GuardianHandle,
    known_spec,
    read_published,
    specification,
)
from fooocus_nb.supervisor.log_files import Line, LineSplitter, Tail
from fooocus_nb.supervisor.protocol import LOG, FrameReader, message, number, parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from socket import socket

__all__ = ["Process"]

_log = logging.getLogger(__name__)

RECEIVE_BYTES = 1 << 18
#: So many lines are handed on at once; fewer than the tail keeps.
BATCH_LINES = 1000
CONNECT_TIMEOUT = 5.0
#: How long the connection may take to have room for a command; commands are far smaller than it.
SEND_TIMEOUT = 2.0
#: How long a guardian may take to acknowledge a command to end the child.
ANSWER_TIMEOUT = 5.0
#: Beyond the grace: for KILL, for the last output, and for the guardian to say so.
STOP_MARGIN = 12.0
#: How long a guardian that has closed its connections may take to be gone, where it was killed.
DEATH_TIMEOUT = 2.0
#: A label that is longer is refused; the guardian takes no longer command.
LABEL_BYTES = 1 << 15

ExitListener = Callable[[int | None], None]
LineListener = Callable[[Line], None]
#: Gets a verb, and the session hash that it is about.
RequestListener = Callable[[str, str | None], None]


class Heartbeat:
    """Asks the guardian the same question again and again, without ever waiting for its answer."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._outstanding = False

    def received(self) -> None:
        """Note that the answer has come."""
        with self._lock:
            self._outstanding = False

    def check(self) -> bool:
        """Return whether the last question has been answered; if so, ask the next one."""
        with self._lock:
            # Never more than one: a stopped guardian reads nothing, and its connection would fill.
            if self._outstanding:
                return False
            self._outstanding = True
        with contextlib.suppress(OSError):  # which is no answer, too
            self._ask()
        return True


class Subscription:
    """A listener for lines that gets each line once and in order, on whichever thread."""

    def __init__(self, listener: LineListener, name: str) -> None:
        self._listener = listener
        self._name = name
        self.lock = threading.Lock()

    def deliver(self, lines: list[Line]) -> None:
        """Call the listener for each of `lines`; the caller holds the lock."""
        for line in lines:
            try:
                self._listener(line)
            except Exception:  # noqa: BLE001 - it is not ours, and the others must hear
                _log.exception("a listener for the lines of %r failed", self._name)


class Process:
    """A guarded child. Made by :meth:`start` or :meth:`attach`.

    Attributes
    ----------
    pid : int
        The child's process id; it leads a session and a process group of its own.
    guardian_pid : int
        The guardian's process id.
    spec : ChildSpec
        What was started.
    started_at : float
        When, in seconds since the epoch.
    lost : int
        How many bytes of output never reached the log file, as far as the guardian has told: it
        does so with every heartbeat, and at its end.
    last_work : float or None
        When the child, or what it has started, was last known to use a processor or a disk, as
        `time.monotonic` counts; None before :meth:`ask_work` has had an answer.
    reason : str or None
        Why the guardian ended the child, once it has.
    ending : str or None
        Why the guardian is ending the child, from when it begins to; None when the child ends by
        itself.
    """

    def __init__(
        self,
        spec: ChildSpec,
        answer: Mapping[str, Any],
        guardian: GuardianHandle,
        connection: socket,
        token: str,
    ) -> None:
        self.spec = spec
        self.pid: int = answer["pid"]
        self.guardian_pid: int = answer["guardian"]
        self.started_at: float = answer["started_at"]
        self.lost = 0
        self.last_work: float | None = None
        self.reason: str | None = None
        self.ending: str | None = None
        self._created: str | None = answer["created"]
        self._guardian = guardian
        self._connection = connection
        self._returncode: int | None = None
        self._lock = threading.Lock()
        self._tail = Tail()
        self._splitter = LineSplitter()
        self._subscriptions: list[Subscription] = []
        self._exit_listeners: list[ExitListener] = []
        self._request_listeners: list[RequestListener] = []
        self._admitted = threading.Event()
        self._acknowledged = threading.Event()
        self._sparing = threading.Event()
        #: Whether we have left, and the child may go on for others.
        self._spared = False
        #: Whether the guardian runs, but has closed the connection.
        self._hung_up = False
        self._users: int | None = None
        self._exited = threading.Event()
        self._gone = threading.Event()
        self._closing = False
        self._heartbeat = Heartbeat(lambda: self._send(op="ping"))
        self._work = Heartbeat(lambda: self._send(op="work", interval=self._work_interval))
        self._work_interval = 0.0
        # Held while we use the child, and taken before we are admitted: who gets it for itself
        # alone knows that nobody else uses the child, also when the guardian does not answer.
        self._user_lock = _platform.lock_shared(str(spec.run_dir))
        try:
            self._send(op="hello", token=token)
        except BaseException:
            self._release_user_lock()
            raise
        self._follower = threading.Thread(
            target=self._follow, name=f"fooocus-nb-follow-{spec.name}", daemon=True
        )
        self._follower.start()

    @classmethod
    def start(cls, spec: ChildSpec, *, timeout: float = 20.0) -> Process:
        """Start a guardian, and the child under it.

        Parameters
        ----------
        spec : ChildSpec
            What to run.
        timeout : float
            Seconds for the guardian to say that the child runs. Default 20.

        Returns
        -------
        Process
            The running child. It ends when this process does, however that happens.

        Raises
        ------
        StartError
            When the guardian or the child could not be started.
        """
        token = secrets.token_hex(16)
        guardian = GuardianHandle.spawn(f"{MARKER_VARIABLE}={secrets.token_hex(16)}")
        try:
            answer = guardian.handshake(specification(spec, token, guardian.marker), timeout)
            if "pid" not in answer:
                msg = f"{spec.name!r} could not be started: {answer['error']}"
                limited = answer.get("kind") == BlockingIOError.__name__ or is_process_limit(
                    RuntimeError(answer["error"])
                )
                command = f"The command was: {subprocess.list2cmdline(spec.argv)}"
                raise StartError(msg, remedy=PROCESS_LIMIT if limited else command)
            return cls._connected(spec, answer, guardian, token)
        except OSError as error:
            guardian.terminate()
            msg = f"{spec.name!r} was started, but its guardian cannot be reached: {error}"
            raise StartError(msg) from error
        except BaseException:
            guardian.terminate()
            raise

    @classmethod
    def attach(cls, run_dir: Path, *, timeout: float = 5.0) -> Process:
        """Attach to a child that another process has started and that still runs.

        Parameters
        ----------
        run_dir : Path
            The ``run_dir`` of its specification.
        timeout : float
            Seconds for its guardian to answer. Default 5.

        Returns
        -------
        Process
            The running child, beginning with its recent output. The environment in its `spec` is
            empty: it is not ours to know.

        Raises
        ------
        ConnectionLost
            When no guardian runs there, or it does not answer.
        """
        try:
            known = read_published(run_dir)
            place = known.get("place")
            if place and (elsewhere := where(place)):
                msg = f"it was started {elsewhere}"
                raise ProcessLookupError(msg)
            guardian = GuardianHandle.found(
                known["guardian"], known["guardian_created"], known["marker"]
            )
            spec = known_spec(known, run_dir)
            process = cls._connected(spec, known, guardian, known["token"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            msg = f"No guardian can be reached in {str(run_dir)!r}: {error}"
            raise ConnectionLost(msg) from error
        answered = process.wait_admitted(timeout)
        if not answered or process.ending is not None:
            process.close()
            what = "is ending" if answered else f"did not answer within {timeout:g} s"
            msg = f"The guardian in {str(run_dir)!r} {what}."
            raise ConnectionLost(msg)
        return process

    def wait_admitted(self, timeout: float) -> bool:
        """Wait for the guardian to accept this client, and return whether it has.

        Parameters
        ----------
        timeout : float
            Seconds.
        """
        return self._admitted.wait(timeout) and not self._gone.is_set()

    @classmethod
    def _connected(
        cls, spec: ChildSpec, answer: Mapping[str, Any], guardian: GuardianHandle, token: str
    ) -> Process:
        connection = _platform.connect(answer["address"], CONNECT_TIMEOUT)
        try:
            return cls(spec, answer, guardian, connection, token)
        except BaseException:
            connection.close()
            raise

    # -- following --------------------------------------------------------------------------

    def add_listener(self, listener: LineListener) -> Callable[[], None]:
        """Call `listener` with the lines so far, and with every further one on another thread.

        Parameters
        ----------
        listener : callable
            Gets a :class:`Line`. It must return soon; what it raises is logged, not spread.

        Returns
        -------
        callable
            Ends the subscription.
        """
        subscription = Subscription(listener, self.spec.name)
        # Its own lock, not ours, is held while it gets the past lines: it may call us.
        with subscription.lock:
            with self._lock:
                past = self._tail.lines()
                self._subscriptions.append(subscription)
            subscription.deliver(past)
        return lambda: _discard(self._lock, self._subscriptions, subscription)

    def add_exit_listener(self, listener: ExitListener) -> Callable[[], None]:
        """Call `listener` with the return code when the child has ended; at once if it has.

        Parameters
        ----------
        listener : callable
            Gets the return code, or None when the guardian was lost before it could tell.

        Returns
        -------
        callable
            Ends the subscription.
        """
        with self._lock:
            if not self._exited.is_set():
                self._exit_listeners.append(listener)
                return lambda: _discard(self._lock, self._exit_listeners, listener)
        listener(self._returncode)
        return lambda: None

    def add_request_listener(self, listener: RequestListener) -> Callable[[], None]:
        """Call `listener` when somebody who does not use the child asks its users for something.

        Parameters
        ----------
        listener : callable
            Gets the verb, and the session hash that it is about or None. It must return at once.

        Returns
        -------
        callable
            Ends the subscription.
        """
        with self._lock:
            self._request_listeners.append(listener)
        return lambda: _discard(self._lock, self._request_listeners, listener)

    def tail(self, n: int = 100) -> list[str]:
        """Return the last lines, oldest first.

        Parameters
        ----------
        n : int
            How many at most; 5,000 are kept. Default 100. A progress bar that was redrawn many
            times is there once while it is the newest line, and gives way to the next.

        Returns
        -------
        list of str
            Without line endings.
        """
        with self._lock:
            lines = self._tail.lines()
        return [line.text for line in lines[-n:]] if n > 0 else []

    def _follow(self) -> None:
        reader = FrameReader()
        try:
            while data := self._connection.recv(RECEIVE_BYTES):
                for kind, payload in reader.feed(data):
                    if kind == LOG:
                        self._deliver(self._splitter.feed(payload))
                    else:
                        self._handle_event(parse_object(payload))
        except OSError:
            pass  # as good as its end
        except (ValueError, KeyError, TypeError):
            _log.exception("what the guardian of %r sends makes no sense", self.spec.name)
            with contextlib.suppress(OSError):
                self._connection.shutdown(2)  # it shall not take us for a user any more
        finally:
            self._on_disconnect()

    def _handle_event(self, content: dict[str, Any]) -> None:
        match content["event"]:
            case "hello":
                self.ending = content["ending"]
                self._move_to(content.get("run_dir"))  # which 0.1.0 does not tell
                if content["returncode"] is not None:
                    self._set_exited(content["returncode"])
                self._admitted.set()
            case "skipped":
                self._deliver(self._splitter.flush())
                notice = f"[{content['bytes']} bytes left out here; the log file may have them]"
                self._deliver([Line(notice)])
            case "ending":
                self.ending = content["reason"]
                self._acknowledged.set()
            case "moved":
                self._move_to(content["run_dir"])
            case "users":
                self._users = content["users"]
            case "spared":
                self._spared = True
                self._acknowledged.set()
            case "sparing":
                if self.ending is None:
                    self.ending = content["ending"]
                self._sparing.set()
            case "pong":
                self.lost = content["lost"]
                self._heartbeat.received()
            case "request":
                self._tell_request(str(content["verb"]), content.get("session"))
            case "work":
                self.last_work = time.monotonic() - number(content["idle"])
                self._work.received()
            case "exit":
                self._deliver(self._splitter.flush())
                self._set_exited(content["returncode"])
            case "gone":
                self.lost = content["lost"]
                self.reason = content["reason"]

    def _move_to(self, run_dir: str | None) -> None:
        if run_dir is not None and run_dir != str(self.spec.run_dir.absolute()):
            self.spec = replace(self.spec, run_dir=Path(run_dir))

    def _deliver(self, lines: list[Line]) -> None:
        for begin in range(0, len(lines), BATCH_LINES):
            batch = lines[begin : begin + BATCH_LINES]
            with self._lock:
                for line in batch:
                    self._tail.append(line)
                subscriptions = list(self._subscriptions)
            for subscription in subscriptions:
                with subscription.lock:
                    subscription.deliver(batch)

    def _tell_request(self, verb: str, session_hash: object) -> None:
        with self._lock:
            listeners = list(self._request_listeners)
        for listener in listeners:
            try:
                listener(verb, session_hash if isinstance(session_hash, str) else None)
            except Exception:  # noqa: BLE001
                _log.exception("a listener for requests to %r failed", self.spec.name)

    def _set_exited(self, returncode: int | None) -> None:
        with self._lock:
            if self._exited.is_set():
                return
            self._returncode = returncode
            self._exited.set()
            listeners, self._exit_listeners = self._exit_listeners, []
        for listener in listeners:
            try:
                listener(returncode)
            except Exception:  # noqa: BLE001
                _log.exception("a listener for the end of %r failed", self.spec.name)

    def _on_disconnect(self) -> None:
        """Handle the connection's end: the guardian is done, we have closed it, or it is lost."""
        self._deliver(self._splitter.flush())
        if self.reason is not None:
            self._guardian.wait(STOP_MARGIN)
        elif not self._closing:
            if self._guardian.wait(DEATH_TIMEOUT):
                self._guardian.kill_tree(self.pid, self._created)
            else:
                # Others may use the child; without any of them it ends it.
                self._hung_up = True
        if not self._closing or self.reason is not None:
            self._set_exited(None)
        for event in (self._gone, self._admitted, self._acknowledged, self._sparing):
            event.set()

    # -- state and end ----------------------------------------------------------------------

    @property
    def returncode(self) -> int | None:
        """How the child ended, negative for a signal; None while it runs or when nobody knows."""
        return self._returncode

    def alive(self) -> bool:
        """Whether the child runs."""
        if self._exited.is_set():
            return False
        if not self._closing:
            return True
        return self.exists()

    def exists(self) -> bool:
        """Whether the child runs, by what the system says and not by what the guardian has told."""
        return self._created is not None and _platform.creation_time(self.pid) == self._created

    def guardian_answers(self) -> bool:
        """Whether the guardian has answered the last heartbeat. It never waits."""
        return self._heartbeat.check()

    def stopped(self) -> bool:
        """Whether the child is there, but stopped (SIGSTOP), and so does nothing."""
        return self.exists() and _platform.is_stopped(self.pid)

    def guardian_stopped(self) -> bool:
        """Whether the guardian is there, but stopped (SIGSTOP), and so drains nothing."""
        return self._guardian.stopped()

    def wait(self, timeout: float | None) -> int | None:
        """Wait for the child's end; what it has started may end later.

        Parameters
        ----------
        timeout : float or None
            Seconds; None waits as long as it takes.

        Returns
        -------
        int or None
            The return code; None when it still runs after `timeout`, or after :meth:`close`, when
            nobody tells any more.
        """
        if not self._closing:
            self._exited.wait(timeout)
        return self._returncode

    def stop(self, *, grace: float | None = None, timeout: float | None = None) -> int | None:
        """End the child and all below it, and wait until they and the guardian are gone.

        Harmless when they are. Called by a listener it only asks, because the end is told on the
        thread that the listener holds.

        Parameters
        ----------
        grace : float, optional
            Seconds between asking and ending; by default the specification's.
        timeout : float, optional
            Seconds after which a guardian that has not done it is ended itself. By default the
            grace and 12 more; it has 5 to say that it has heard.

        Returns
        -------
        int or None
            The return code.
        """
        return self._end("stop", grace, timeout)

    def leave(self, *, grace: float | None = None, timeout: float | None = None) -> bool:
        """End the child as :meth:`stop` does, unless others use it; else only release it.

        Parameters
        ----------
        grace, timeout : float, optional
            See :meth:`stop`.

        Returns
        -------
        bool
            Whether it was ended. When the guardian does not answer and others may use the child,
            it is not: the guardian ends it later if they do not.
        """
        self._end("leave", grace, timeout)
        return not self._spared

    def _used_by_us_alone(self) -> bool:
        """Whether it is certain that nobody else uses the child."""
        return self._users == 1 and _platform.lock_alone(self._user_lock)

    def _end(self, command: str, grace: float | None, timeout: float | None) -> int | None:
        seconds = self.spec.grace if grace is None else grace
        self._acknowledged.clear()  # of an end that somebody else has asked for
        if not self._gone.is_set():
            with contextlib.suppress(OSError):
                self._send(op=command, grace=seconds)
        if self._gone.is_set():
            self._acknowledged.set()
        if threading.current_thread() is self._follower:
            return self._returncode
        limit = seconds + STOP_MARGIN if timeout is None else timeout
        deadline = time.monotonic() + limit
        heard = not self.guardian_stopped() and self._acknowledged.wait(min(ANSWER_TIMEOUT, limit))
        if command == "leave" and (self._hung_up or not (heard or self._used_by_us_alone())):
            # It may be stopped, or slow. When it goes on it finds that we have left, and ends the
            # child if we were the last.
            self._spared = True
        if self._spared:
            self.close()
            return self._returncode
        if self._hung_up or not heard or not self._gone.wait(max(deadline - time.monotonic(), 0.0)):
            self._guardian.kill_tree(self.pid, self._created)
            self._gone.wait(ANSWER_TIMEOUT)
        self.close()
        return self._returncode

    def spare(self, *, spares: bool = True, timeout: float = ANSWER_TIMEOUT) -> bool:
        """Say whether we can do without the child for now; it ends when all who use it can.

        Parameters
        ----------
        spares : bool
            Whether we can. Default True.
        timeout : float
            Seconds that the guardian may take to answer. Default 5.

        Returns
        -------
        bool
            Whether the child is certain to go on for now. `ending` tells why where it does not;
            one of version 0.1.0 does not answer, and never ends it for that.
        """
        self._sparing.clear()
        try:
            self._send(op="spare", spares=spares)
        except OSError:
            return False
        self._sparing.wait(timeout)
        return self.ending is None and not self._gone.is_set()

    def ask_work(self, interval: float) -> None:
        """Ask the guardian when the child last worked; the answer arrives in `last_work`.

        Never waits for it. A guardian of version 0.1.0 does not answer.

        Parameters
        ----------
        interval : float
            Seconds over which the use of processors and disks is measured, at the least.
        """
        self._work_interval = interval
        self._work.check()

    def label(self, **labels: object) -> None:
        """Change what others are told about the child. A guardian that is gone is no error.

        Parameters
        ----------
        **labels
            Values fit for JSON, added to those of its specification.

        Raises
        ------
        ValueError
            When they are longer than 32 KiB.
        """
        if (size := len(message(labels=labels))) > LABEL_BYTES:
            msg = f"labels of {size} bytes are too long: {LABEL_BYTES} are allowed"
            raise ValueError(msg)
        with contextlib.suppress(OSError):
            self._send(op="label", labels=labels)

    def keep(self, idle_timeout: float) -> None:
        """Keep the child running without clients. A guardian that is gone is no error.

        Parameters
        ----------
        idle_timeout : float
            Seconds without output and without work after which it is ended.
        """
        with contextlib.suppress(OSError):
            self._send(op="keep", idle_timeout=idle_timeout)

    def close(self) -> None:
        """Disconnect from the guardian: it ends the child when it has no other client.

        Every descriptor and thread is released. Harmless when done before.
        """
        self._closing = True
        with contextlib.suppress(OSError):
            self._connection.shutdown(2)
        if threading.current_thread() is not self._follower:
            self._follower.join(ANSWER_TIMEOUT)
        self._connection.close()
        self._release_user_lock()
        self._guardian.release()

    def _release_user_lock(self) -> None:
        with self._lock:
            lock, self._user_lock = self._user_lock, None
        if lock is not None:
            _platform.unlock(lock)

    def _send(self, **content: object) -> None:
        """Send the guardian a command. Raises OSError when it takes none, or not in time."""
        with selectors.DefaultSelector() as selector:
            try:
                selector.register(self._connection, selectors.EVENT_WRITE)
            except ValueError as error:  # another thread has closed it
                raise ConnectionAbortedError(str(error)) from error
            if not selector.select(SEND_TIMEOUT):
                msg = f"the guardian takes no commands for {SEND_TIMEOUT:g} s"
                raise TimeoutError(msg)
        self._connection.sendall(message(**content))


def _discard(lock: threading.Lock, items: list[Any], item: object) -> None:
    with lock, contextlib.suppress(ValueError):
        items.remove(item)
