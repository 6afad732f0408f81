"""The child's output on its way from its pipe to the disk and to the clients."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from fooocus_nb.supervisor import _platform
from fooocus_nb.supervisor._masking import Masker
from fooocus_nb.supervisor.protocol import LOG, frame, message

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from fooocus_nb.supervisor._rotate import RotatingWriter

__all__ = ["ByteQueue", "Client", "Output"]

READ_BYTES = 1 << 18
#: What is kept of the output for a client that reads slowly; then its oldest is skipped.
CLIENT_BUFFER_BYTES = 8 << 20
#: What a client that comes late gets of the output before it.
REPLAY_BYTES = 256 << 10
#: What is kept for a slow disk; then the oldest is lost. With 8 MB a client it bounds our memory.
DISK_BUFFER_BYTES = 16 << 20
DISK_WRITE_BYTES = 1 << 20
#: Below the longest payload that a client believes.
FRAME_BYTES = 256 << 10
#: A child that writes single bytes must not cost a chunk, of some 50 bytes, for each.
CHUNK_BYTES = 16 << 10
#: A client that reads as fast as the child writes must not keep us from all else.
FRAMES_AT_ONCE = 8


#: How long the beginning of a line waits for its end before it is written.
LINE_SECONDS = 0.5


class ByteQueue:
    """Bytes in order, held in chunks that are not tiny, whatever the pieces they came in."""

    def __init__(self) -> None:
        self._chunks: deque[bytes | bytearray] = deque()
        self.size = 0

    def append(self, data: bytes) -> None:
        """Add `data` at the end."""
        if self._chunks and len(self._chunks[-1]) + len(data) <= CHUNK_BYTES:
            last = self._chunks[-1]
            if not isinstance(last, bytearray):
                last = self._chunks[-1] = bytearray(last)
            last += data
        else:
            self._chunks.append(data)
        self.size += len(data)

    def take(self, limit: int) -> bytes:
        """Remove and return up to `limit` bytes from the front."""
        taken = []
        room = limit
        while room > 0 and self._chunks:
            chunk = self._chunks.popleft()
            if len(chunk) > room:
                self._chunks.appendleft(chunk[room:])
                chunk = chunk[:room]
            taken.append(chunk)
            room -= len(chunk)
        data = b"".join(taken)
        self.size -= len(data)
        return data

    def shrink(self, limit: int) -> int:
        """Drop the oldest chunks until `limit` bytes are left, and return how many bytes went."""
        before = self.size
        while self.size > limit and self._chunks:
            self.size -= len(self._chunks.popleft())
        return before - self.size

    def content(self) -> bytes:
        """Return all of it."""
        return b"".join(self._chunks)


class Client:
    """One connection from a kernel. Sending never waits: what cannot go now is kept, in bounds."""

    # A ProcessLookupError says that the process that connected has already ended.

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.pid = _platform.peer_pid(connection)
        self.pidfd, self.created = _platform.watch(self.pid)
        #: Whether it has sent the token and uses the child.
        self.admitted = False
        #: Whether it used the child and was told that the child goes on without it.
        self.left = False
        #: Whether it can do without the child for now.
        self.spares = False
        self.since = time.monotonic()
        #: How many bytes it has taken.
        self.sent = 0
        self._lock = threading.Lock()
        self._log = ByteQueue()
        self._skipped = 0
        # A message keeps its place in the output: how many bytes of it must go before.
        self._messages: deque[tuple[int, bytes]] = deque()
        self._received = 0
        self._passed = 0
        self._sending = memoryview(b"")

    def add_log(self, data: bytes) -> None:
        """Queue output; where the client does not keep up, the oldest is skipped and counted."""
        with self._lock:
            self._log.append(data)
            self._received += len(data)
            skipped = self._log.shrink(CLIENT_BUFFER_BYTES)
            self._skipped += skipped
            self._passed += skipped

    def add(self, data: bytes) -> None:
        """Queue a message behind the output so far."""
        with self._lock:
            self._messages.append((self._received, data))

    def wants_to_send(self) -> bool:
        """Whether anything is queued."""
        return bool(self._sending or self._messages or self._skipped or self._log.size)

    def send(self) -> None:
        """Send what the connection takes without waiting. Raises OSError when it is broken."""
        for _ in range(FRAMES_AT_ONCE):
            if not self._sending:
                self._sending = memoryview(self._next())
                if not self._sending:
                    return
            try:
                sent = self.connection.send(self._sending)
            except BlockingIOError:
                return
            self._sending = self._sending[sent:]
            self.sent += sent

    def _next(self) -> bytes:
        with self._lock:
            due = self._messages[0][0] - self._passed if self._messages else FRAME_BYTES
            if self._messages and due <= 0:
                return self._messages.popleft()[1]
            if self._skipped:
                skipped, self._skipped = self._skipped, 0
                return message(event="skipped", bytes=skipped)
            data = self._log.take(min(due, FRAME_BYTES))
            self._passed += len(data)
            return frame(LOG, data) if data else b""

    def gone(self) -> bool:
        """Whether its process has ended; only for platforms where no descriptor tells."""
        return _platform.peer_gone(self.pid, self.created)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()
        if self.pidfd is not None:
            os.close(self.pidfd)


class Output:
    """Drains the child's pipe for ever, on a thread that waits for nothing else."""

    # The writer has a thread of its own: a disk may be slow, or full.

    def __init__(self, pipe: int, writer: RotatingWriter, notify: Callable[[], None]) -> None:
        self._pipe = pipe
        self._writer = writer
        self._masker = Masker()
        self._notify = notify
        self._lock = threading.Condition()
        self._for_disk = ByteQueue()
        self._recent = ByteQueue()
        self._clients: list[Client] = []
        self._missed = 0
        self._unknown = 0
        self.saved_bytes = 0
        self._drained = False
        self._saver = threading.Thread(target=self._save, name="save", daemon=True)
        #: When the child last wrote, by the monotonic clock.
        self.last_time = time.monotonic()
        _platform.widen_pipe(pipe)

    def start(self) -> None:
        """Start draining."""
        threading.Thread(target=self._drain, name="drain", daemon=True).start()
        self._saver.start()

    def _drain(self) -> None:
        while True:
            try:
                data = os.read(self._pipe, READ_BYTES)
                if not data:
                    break
                self._take(data)
            except OSError:
                break
            except Exception:  # noqa: BLE001 - out of memory: reading on matters more than keeping
                self._unknown += READ_BYTES
        with self._lock:
            self._drained = True
            self._lock.notify_all()
        self._notify()

    def _take(self, data: bytes) -> None:
        with self._lock:
            self.last_time = time.monotonic()
            self._for_disk.append(data)
            # The newest is kept: what led to the end matters most.
            self._missed += self._for_disk.shrink(DISK_BUFFER_BYTES)
            self._lock.notify_all()
            self._recent.append(data)
            self._recent.shrink(REPLAY_BYTES)
            for client in self._clients:
                client.add_log(data)
        self._notify()

    def _save(self) -> None:
        while True:
            with self._lock:
                while not self._for_disk.size and not self._drained:
                    if not self._lock.wait(LINE_SECONDS if self._masker.waits else None):
                        break
                missed, self._missed = self._missed, 0
                data = self._for_disk.take(DISK_WRITE_BYTES)
            if missed:
                self._writer.note_lost(missed, "they came faster than the disk takes them")
            if data:
                self._write(self._masker.feed(data))
                self.saved_bytes += len(data)
            elif self._drained:
                break
            else:
                self._write(self._masker.rest(ended=False))
        self._write(self._masker.rest(ended=True))
        self._writer.close()
        self._notify()

    def _write(self, data: bytes) -> None:
        if data:
            self._writer.write(data)

    def attach(self, client: Client) -> None:
        """Send a client the recent output, and all that comes."""
        with self._lock:
            client.add_log(self._recent.content())
            self._clients.append(client)

    def detach(self, client: Client) -> None:
        """Send a client no more."""
        with self._lock:
            self._clients = [other for other in self._clients if other is not client]

    def drained(self) -> bool:
        """Whether nobody holds the pipe's other end and all that was in it has been read."""
        return self._drained

    def saved(self) -> bool:
        """Whether all of it has also gone to the disk."""
        return not self._saver.is_alive()

    def lost(self) -> int:
        """Return how many bytes never reached the log file."""
        return self._unknown + self._missed + self._writer.dropped
