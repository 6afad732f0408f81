"""What a guardian of 0.1.0 has published and sent, recorded, is read as before."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fooocus_nb.supervisor import Process
from fooocus_nb.supervisor.protocol import LOG, MESSAGE, FrameReader, frame
from fooocus_nb.supervisor.registry import Entry, State
from fooocus_nb.supervisor.system import creation_time

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="recorded on unix sockets")

DATA = Path(__file__).with_name("data")
PUBLISHED = json.loads((DATA / "guardian-0.1.0.json").read_text())
#: What the guardian sent for a question, to a client that left, and to one that stopped it.
STREAMS = {
    name: base64.b64decode(text)
    for name, text in json.loads((DATA / "frames-0.1.0.json").read_text()).items()
}
#: The last event of the answer to each command; the "ending" after a stop goes to all clients.
ANSWERS = {"look": "look", "hello": "hello", "ping": "pong", "leave": "spared", "stop": "gone"}


class Replay(threading.Thread):
    """Answers each command with what the recorded guardian sent next."""

    def __init__(self, path: Path, name: str, guardian: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._frames = list(FrameReader().feed(STREAMS[name]))
        self._guardian = guardian
        self.commands: list[dict] = []

    def run(self) -> None:
        connection, _ = self._listener.accept()
        reader = FrameReader()
        with self._listener, connection:
            while data := connection.recv(4096):
                for kind, payload in reader.feed(data):
                    assert kind == MESSAGE
                    self.commands.append(json.loads(payload))
                    self._answer(connection, ANSWERS[self.commands[-1]["op"]])
                if not self._frames:
                    self._guardian.kill()
                    return

    def _answer(self, connection: socket.socket, last: str) -> None:
        while self._frames:
            kind, payload = self._frames.pop(0)
            connection.sendall(frame(kind, payload))
            if kind == MESSAGE and json.loads(payload)["event"] == last:
                return


@pytest.fixture
def guardian():
    """A process that stands for the recorded guardian."""
    popen = subprocess.Popen(["sleep", "60"])
    yield popen
    popen.kill()
    popen.wait()


@pytest.fixture
def replay(short_folder, guardian):
    """Publish as 0.1.0 did, and answer as it did."""

    def begin(name: str) -> Replay:
        created = creation_time(guardian.pid)
        address = ["unix", str(short_folder / "guardian.sock")]
        known = {
            **PUBLISHED,
            "guardian": guardian.pid,
            "guardian_created": created,
            "address": address,
            "run_dir": str(short_folder),
        }
        (short_folder / "guardian.json").write_text(json.dumps(known))
        thread = Replay(short_folder / "guardian.sock", name, guardian)
        thread.start()
        return thread

    return begin


def test_what_it_published_is_read(tmp_path):
    (tmp_path / "guardian.json").write_text(json.dumps(PUBLISHED))
    entry = Entry.read(tmp_path)
    assert entry.name == "demo"
    assert (entry.pid, entry.created) == (5463, "21915")
    assert (entry.guardian, entry.guardian_created) == (5461, "21909")
    assert entry.marker == "FOOOCUS_NB_GUARD=0ffab4cfe29cf326ca43f513e6d19938"
    assert entry.token == "04cf6ab6a9b4a25ded5e0c46adc88bed"
    assert entry.started_at == 1795761057.4002054
    assert entry.log_path == Path(PUBLISHED["log_path"])
    assert entry.idle_timeout is None
    assert dict(entry.labels) == PUBLISHED["labels"]
    assert list(map(str, entry.cleanup)) == PUBLISHED["cleanup"]
    assert entry.address == ["unix", "/run/user/1000/fooocus-nb/run-gi43asfb/5461.sock"]
    assert not entry.proven()


def test_its_answer_to_a_question_is_read(short_folder, replay):
    asked = replay("look")
    assert Entry.read(short_folder).look() == State(1, None, None, 0.32883570900000336)
    asked.join(10)
    assert asked.commands == [{"op": "look", "token": PUBLISHED["token"]}]


def test_a_client_reads_its_output_and_leaves(short_folder, replay):
    asked = replay("session")
    process = Process.attach(short_folder)
    assert (process.pid, process.spec.name) == (5463, "demo")
    assert process.spec.labels["url"] == "http://127.0.0.1:51367"
    assert process.tail(3)[1] == "Started worker with PID 5463"
    assert process.guardian_answers()
    assert not process.leave()
    asked.join(10)
    assert process.tail(1) == ["Total time: 1.30 seconds"]
    assert any("100%|██████████| 4/4" in line for line in process.tail())
    assert process.returncode is None
    assert asked.commands[1:] == [{"op": "ping"}, {"op": "leave", "grace": 10.0}]


def test_a_client_reads_the_end(short_folder, replay):
    replay("end")
    process = Process.attach(short_folder)
    assert process.guardian_answers()
    assert process.stop() == -15
    assert process.reason == process.ending == "stopped on request"
    assert process.lost == 0
    assert not process.alive()


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_its_frames_are_written_as_before(name):
    frames = list(FrameReader().feed(STREAMS[name]))
    assert {kind for kind, _ in frames} <= {LOG, MESSAGE}
    assert b"".join(frame(*each) for each in frames) == STREAMS[name]
