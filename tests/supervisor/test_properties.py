"""What holds for any output, however it is cut, written, rotated and read."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fooocus_nb.supervisor import (
    Line,
    LineSplitter,
    LogReader,
    Process,
    RotatingWriter,
    _platform,
)
from fooocus_nb.supervisor._drain import Client, Output
from fooocus_nb.supervisor.protocol import (
    LOG,
    MESSAGE,
    FrameReader,
    frame,
    message,
    number,
    parse_object,
)

from ..lanes import examples

OUTPUT = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"\r\n", b"a", b"bcdefgh", "ä€😀".encode(), b"\xff", b"\xe2\x82"]
    )
    | st.binary(max_size=12)
).map(b"".join)


# -- lines ------------------------------------------------------------------------------------


def reference(output: bytes) -> list[Line]:
    """Split all of it at once, in the plainest way."""
    parts = [*re.split(rb"(\r\n|\n|\r)", output), b""]
    lines = []
    for text, ending in zip(parts[::2], parts[1::2], strict=True):
        last = not ending or (ending == b"\r" and output.endswith(b"\r") and text is parts[-4])
        transient = ending == b"\r" and not last
        if text or ending in (b"\n", b"\r\n"):
            lines.append(Line(text.decode("utf-8", "replace"), transient))
    return lines


@given(OUTPUT, st.data())
def test_lines_are_those_of_the_plainest_splitter(output, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(output)), max_size=8)))
    splitter, lines = LineSplitter(), []
    for begin, end in zip([0, *cuts], [*cuts, len(output)], strict=True):
        lines += splitter.feed(output[begin:end])
    assert lines + splitter.flush() == reference(output)


# -- frames -----------------------------------------------------------------------------------


@given(st.binary(max_size=80), st.lists(st.integers(0, 80), max_size=6).map(sorted))
def test_a_reader_of_frames_keeps_no_more_than_one(stream, cuts):
    """Whatever comes: it is a frame, the beginning of one, or an error; never a growing buffer."""
    reader = FrameReader(max_payload=20)
    with contextlib.suppress(ValueError):
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            for kind, payload in reader.feed(stream[begin:end]):
                assert kind in (LOG, MESSAGE)
                assert len(payload) <= 20
            assert len(reader._buffer) < 5 + 20


@given(st.lists(st.tuples(st.sampled_from([LOG, MESSAGE]), st.binary(max_size=20))), st.binary())
def test_frames_before_nonsense_are_read(frames, nonsense):
    stream = b"".join(frame(*each) for each in frames) + b"?" + nonsense + b"?" * 5
    reading = FrameReader(max_payload=20).feed(stream)
    assert [next(reading) for _ in frames] == frames
    with pytest.raises(ValueError, match="a frame of kind"):
        next(reading)


def nested(depth: int, inner: bytes, kind: bytes) -> bytes:
    begin, end = (b"[", b"]") if kind == b"[" else (b'{"labels":', b"}")
    return begin * depth + inner + end * depth


#: Numbers beyond every float and every integer, and depths beyond every stack.
HOSTILE = st.one_of(
    st.integers(1, 60_000).map(lambda digits: b"9" * digits),
    st.sampled_from([b"1e999", b"-1", b"NaN", b"Infinity", b"true", b'""', b"null", b"[]", b"{}"]),
    st.builds(
        nested, st.integers(1, 6_000), st.sampled_from([b"", b"1"]), st.sampled_from([b"[", b"{"])
    ),
)
OPS = st.sampled_from(["hello", "look", "ping", "label", "keep", "leave", "x"])
NAMES = st.sampled_from(["idle_timeout", "grace", "labels", "event", "token"])


@given(HOSTILE | st.binary(max_size=60))
def test_json_of_unknown_origin_is_an_object_or_a_value_error(data):
    with contextlib.suppress(ValueError):
        content = parse_object(data)
        assert isinstance(content, dict)
        json.dumps(content)


@given(st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text()))
def test_a_number_is_one_that_a_clock_can_use(value):
    with contextlib.suppress(ValueError):
        assert 0 <= number(value) <= 1e15
    assert number(10**400) == 1e15


@pytest.fixture
def guarded(start):
    """A child with a user that stays, and the address and token of its guardian."""
    process = start("time.sleep(120)")
    known = json.loads((process.spec.run_dir / "guardian.json").read_text())
    return process, known


@settings(max_examples=examples(60))
@given(operation=OPS, name=NAMES, value=HOSTILE, admitted=st.booleans())
def test_nothing_that_a_client_sends_ends_the_guardian(guarded, operation, name, value, admitted):
    """Not before the token is known, and not after it."""
    process, known = guarded
    token = known["token"] if admitted else "wrong"
    head = json.dumps({"op": operation, "token": token})[:-1].encode()
    with _platform.connect(known["address"], 5) as stranger:
        stranger.settimeout(10)
        with contextlib.suppress(OSError):
            if admitted:
                stranger.sendall(message(op="hello", token=token))
            stranger.sendall(frame(MESSAGE, head + b', "' + name.encode() + b'": ' + value + b"}"))
            stranger.shutdown(socket.SHUT_WR)
            while stranger.recv(1 << 16):
                pass
    assert process.alive()
    other = Process.attach(process.spec.run_dir)
    assert not other.leave()
    assert process.returncode is None


def test_connections_without_end_leave_room_for_those_that_know_the_token(guarded):
    process, known = guarded
    strangers = [_platform.connect(known["address"], 5) for _ in range(200)]
    other = Process.attach(process.spec.run_dir)
    assert not other.leave()
    for stranger in strangers:
        stranger.close()
    assert process.alive()


# -- the follower -----------------------------------------------------------------------------

STEPS = st.lists(st.one_of(st.binary(min_size=1, max_size=30), st.integers(1, 50)), max_size=40)


def read_all(reader: LogReader, limit: int = 10_000) -> bytes:
    parts = []
    while data := reader.read(limit):
        parts.append(data)
    return b"".join(parts)


@given(STEPS, st.integers(1, 40), st.integers(1, 60))
def test_a_follower_loses_nothing_and_doubles_nothing(tmp_path_factory, steps, size, limit):
    """Files are changed between any two of its readings, of any length."""
    path = tmp_path_factory.mktemp("log") / "engine.log"
    writer, written, read = RotatingWriter(path, size, 9), b"x", b""
    writer.write(written)
    reader = LogReader(path)
    for step in steps:
        if isinstance(step, int):
            read += reader.read(step)
        else:
            if len(step) + reader.behind() > size * 7:  # more files than there will be
                read += read_all(reader, limit)
            pieces = [step[at : at + size] for at in range(0, len(step), size)]
            for piece in pieces:
                writer.write(piece)
                read += reader.read(1)
            written += step
    read += read_all(reader, limit)
    writer.close()
    reader.close()
    assert read == written
    assert reader.lost == 0
    splitter = LineSplitter()
    assert splitter.feed(read) + splitter.flush() == reference(written)


@given(st.lists(st.integers(0, 12), max_size=25), st.integers(1, 4))
def test_a_follower_that_comes_too_late_leaves_out_but_doubles_nothing(
    tmp_path_factory, bursts, backups
):
    path = tmp_path_factory.mktemp("log") / "engine.log"
    writer, number, read = RotatingWriter(path, 21, backups), 1, b""
    writer.write(b"%06d\n" % 0)
    reader = LogReader(path)
    for burst in bursts:
        for _ in range(burst):
            writer.write(b"%06d\n" % number)
            number += 1
        read += reader.read(10_000)
    read += read_all(reader)
    writer.close()
    reader.close()
    numbers = [int(line) for line in read.split()]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == number - 1
    gaps = sum(later - earlier > 1 for earlier, later in zip([-1, *numbers], numbers, strict=False))
    assert gaps <= reader.lost
    if not reader.lost:
        assert numbers == list(range(number))


def test_files_that_change_at_any_moment_of_reading_lose_nothing(tmp_path):
    """The writer runs on a thread of its own, but never further ahead than the files reach."""
    path = tmp_path / "engine.log"
    writer, size = RotatingWriter(path, 500, 9), 500
    expected = b"".join(b"%07d\n" % number for number in range(40_000))
    taken = 0
    room = threading.Condition()
    writer.write(expected[:40])
    reader, parts, deadline = LogReader(path), [], time.monotonic() + 60

    def write() -> None:
        for begin in range(40, len(expected), 40):
            with room:
                assert room.wait_for(lambda at=begin: at - taken < 5 * size, timeout=60)
            writer.write(expected[begin : begin + 40])

    thread = threading.Thread(target=write)
    thread.start()
    while taken < len(expected) and time.monotonic() < deadline:
        parts.append(reader.read(333))
        with room:
            taken += len(parts[-1])
            room.notify_all()
    thread.join(60)
    writer.close()
    reader.close()
    assert b"".join(parts) == expected
    assert reader.lost == 0


# -- from the pipe to the disk and to a client ------------------------------------------------


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=200), max_size=20), st.integers(8, 200))
def test_what_comes_out_of_a_pipe_reaches_disk_and_client_whole(tmp_path_factory, pieces, size):
    path = tmp_path_factory.mktemp("log") / "engine.log"
    reading, writing = os.pipe()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    client = Client(ours)
    output = Output(reading, RotatingWriter(path, size, 10_000), lambda: None)
    try:
        output.attach(client)
        output.start()
        for piece in pieces:
            os.write(writing, piece)
            client.send()
        os.close(writing)
        received, frames = b"", FrameReader()
        deadline = time.monotonic() + 60
        while not output.saved() or not output.drained() or client.wants_to_send():
            assert time.monotonic() < deadline
            client.send()
            received += taken(theirs, frames)
        received += taken(theirs, frames)
    finally:
        client.close()
        theirs.close()
        os.close(reading)
    whole = b"".join(pieces)
    older = sorted(path.parent.glob("engine.log.*"), key=lambda file: -int(file.suffix[1:]))
    files = [file.read_bytes() for file in [*older, path] if file.exists()]
    assert received == whole
    assert b"".join(files) == whole
    assert all(len(file) <= size for file in files)
    assert output.lost() == 0


def taken(connection: socket.socket, frames: FrameReader) -> bytes:
    try:
        return b"".join(payload for _, payload in frames.feed(connection.recv(1 << 20)))
    except BlockingIOError:
        return b""
