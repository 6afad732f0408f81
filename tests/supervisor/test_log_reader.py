from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from fooocus_nb.supervisor import LogReader, RotatingWriter

LINES = st.lists(st.binary(max_size=9).map(lambda b: b.replace(b"\n", b"") + b"\n"), max_size=30)


@given(st.lists(st.tuples(LINES, st.booleans())), st.integers(5, 60), st.integers(0, 30))
def test_what_is_read_forwards_and_backwards_is_all(tmp_path_factory, batches, size, begin):
    """However the files are cut and whenever it is read, nothing is missing and nothing twice."""
    path = tmp_path_factory.mktemp("log") / "engine.log"
    writer = RotatingWriter(path, size, 2)
    past = batches[: len(batches) // 2]
    for lines, _ in past:
        writer.write(b"".join(lines))
    reader = LogReader(path, begin)
    read = b""
    rotated_away = False
    for lines, now in batches[len(batches) // 2 :]:
        for line in lines:
            writer.write(line)
            read += reader.read(10_000) if now else b""
    read += reader.read(10_000)
    rotated_away = reader.lost > 0
    writer.close()
    everything = b"".join(line for lines, _ in batches for line in lines)
    assert everything.endswith(read) or rotated_away
    earlier = b""
    while piece := reader.earlier(17):
        earlier = piece + earlier
    if not rotated_away:
        assert everything.endswith(earlier + read)
        files = [path.with_name("engine.log.2"), path.with_name("engine.log.1"), path]
        there = b"".join(file.read_bytes() for file in files if file.exists())
        assert (earlier + read).endswith(there)
    assert reader.behind() == 0
    assert reader.before() == 0
    reader.close()


def test_a_piece_of_the_past_begins_with_a_line(tmp_path):
    path = tmp_path / "engine.log"
    path.write_bytes(b"".join(b"line %d\n" % number for number in range(1000)))
    reader = LogReader(path, 100)
    assert reader.read(10_000).startswith(b"line ")
    piece = reader.earlier(500)
    assert piece.startswith(b"line ")
    assert piece.endswith(b"\n")
    assert len(piece) <= 500


def test_a_reader_that_cannot_keep_up_leaves_out_and_says_how_much(tmp_path):
    path = tmp_path / "engine.log"
    path.write_bytes(b"first\n")
    reader = LogReader(path)
    assert reader.read(100) == b"first\n"
    with path.open("ab") as stream:
        stream.write(b"0123456789\n" * 1000)
    assert reader.behind() == 11_000
    left_out = reader.skip(100)
    assert left_out + len(reader.read(10_000)) == 11_000
    assert reader.behind() == 0


def test_a_log_that_is_not_there_yet(tmp_path):
    reader = LogReader(tmp_path / "engine.log")
    assert (reader.read(10), reader.earlier(10), reader.behind(), reader.before()) == (
        b"",
        b"",
        0,
        0,
    )
    (tmp_path / "engine.log").write_bytes(b"now\n")
    assert reader.read(10) == b"now\n"


def test_a_log_that_is_emptied_in_place_is_read_anew(tmp_path):
    """As it is where a file that is being read cannot be renamed."""
    path = tmp_path / "engine.log"
    path.write_bytes(b"a long first line\n")
    reader = LogReader(path)
    reader.read(100)
    path.write_bytes(b"new\n")
    assert reader.read(100) == b"new\n"
    assert reader.lost == 1


def test_a_writer_that_rotates_while_it_is_read(tmp_path):
    path = tmp_path / "engine.log"
    writer = RotatingWriter(path, 2_000, 9)
    expected = b"".join(b"%06d\n" % number for number in range(2_000))
    writer.write(expected[:70])
    reader = LogReader(path)

    def write() -> None:
        for begin in range(70, len(expected), 70):
            writer.write(expected[begin : begin + 70])

    thread = threading.Thread(target=write)
    thread.start()
    read = b""
    while thread.is_alive():
        read += reader.read(512)
    thread.join()
    read += reader.read(100_000)
    writer.close()
    assert (reader.lost, read) == (0, expected)  # ten files of 2,000 bytes hold all of it
    reader.close()
