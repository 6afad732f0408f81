from __future__ import annotations

import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fooocus_nb.supervisor import _drain as output_module
from fooocus_nb.supervisor._drain import ByteQueue, Client
from fooocus_nb.supervisor.protocol import LOG, MESSAGE, FrameReader, frame, message

PIECES = st.lists(st.binary(max_size=40))


@given(PIECES, st.integers(1, 50))
def test_a_queue_gives_back_what_it_took(pieces, limit):
    queue = ByteQueue()
    for piece in pieces:
        queue.append(piece)
    whole = b"".join(pieces)
    assert queue.content() == whole
    assert queue.size == len(whole)
    taken = []
    while data := queue.take(limit):
        assert len(data) <= limit
        taken.append(data)
    assert b"".join(taken) == whole
    assert queue.size == 0


def test_a_queue_of_single_bytes_takes_few_chunks():
    queue = ByteQueue()
    for _ in range(100_000):
        queue.append(b"x")
    assert len(queue._chunks) < 10
    queue.shrink(20_000)
    assert 0 < queue.size <= 20_000


@given(st.lists(st.tuples(st.sampled_from([LOG, MESSAGE]), st.binary(max_size=30))), st.data())
def test_frames_survive_any_cut(frames, data):
    stream = b"".join(frame(*each) for each in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    reader = FrameReader()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [each for piece in pieces for each in reader.feed(piece)] == frames


@pytest.mark.parametrize("stream", [b"GET / HTTP/1.1\r\n", frame(LOG, b"x" * 100)])
def test_what_is_no_frame_is_not_kept(stream):
    with pytest.raises(ValueError, match="a frame of kind"):
        list(FrameReader(max_payload=50).feed(stream))


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    client = Client(ours)
    yield client, theirs
    client.close()
    theirs.close()


def receive(client, theirs):
    """Let everything pass and return the frames."""
    reader, frames = FrameReader(), []
    while True:
        client.send()
        try:
            frames += reader.feed(theirs.recv(1 << 20))
        except BlockingIOError:
            if not client.wants_to_send():
                return frames


def test_a_client_that_does_not_read_costs_no_more_than_its_buffer(pair, monkeypatch):
    monkeypatch.setattr(output_module, "CLIENT_BUFFER_BYTES", 100_000)
    client, theirs = pair
    client.add(message(event="hello"))
    for number in range(10_000):
        client.add_log(b"%09d\n" % number * 100)
        client.send()
    client.add(message(event="exit"))
    assert client._log.size <= 100_000
    frames = receive(client, theirs)
    events = [json.loads(payload) for kind, payload in frames if kind == MESSAGE]
    assert [event["event"] for event in events] == ["hello", "skipped", "exit"]
    log = b"".join(payload for kind, payload in frames if kind == LOG)
    assert log.endswith(b"000009999\n")
    assert len(log) + events[1]["bytes"] == 10_000 * 1000
    assert frames[-1][0] == MESSAGE


def test_messages_keep_their_place_in_the_output(pair):
    client, theirs = pair
    client.add(message(event="first"))
    client.add_log(b"before")
    client.add(message(event="second"))
    client.add_log(b"after")
    kinds = [(kind, payload) for kind, payload in receive(client, theirs)]
    assert [payload for kind, payload in kinds if kind == LOG] == [b"before", b"after"]
    assert [kind for kind, _ in kinds] == [MESSAGE, LOG, MESSAGE, LOG]
