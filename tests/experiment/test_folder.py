"""The folder of a run, on file systems that refuse this and that."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import fooocus_nb
from fooocus_nb.errors import DiskFull, OutputError, ParameterError, RunError, RunLocked, RunWarning
from fooocus_nb.experiment.folder import Position, RunFolder, image_name, manifest_name
from fooocus_nb.experiment.run import current_run, open_run

from .runs import SEED, files_of, listed_in, make, png, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb.experiment.run import Run


def reopen(run: Run) -> Run:
    run.close()
    return open_run(run.path)


def test_a_new_run_and_the_same_again(tmp_path: Path) -> None:
    with open_run(tmp_path / "runs" / "lighthouse") as run:
        assert current_run() is run
        made = make(run, image_number=2)
        run.rate(run.images[1], 4, "the light")
    assert current_run() is None
    assert run.readonly
    again = open_run(run.path)
    assert again.id == run.id
    assert [image.key for image in again.images] == [f"{made.stem}-1", f"{made.stem}-2"]
    image = again.images[1]
    assert (image.seed, image.number_in_request, image.parameters["seed"]) == (
        SEED + 1,
        2,
        SEED + 1,
    )
    assert (image.rating, image.note) == (4, "the light")
    assert (image.width, image.height, image.record.format) == (16, 12, "png")
    assert image.pixels_sha256
    assert image.dhash
    assert image.path.read_bytes() == png(f"#{(SEED + 1) % 0xFFFFFF:06x}")
    assert files_of(run.path) == listed_in(again)
    again.close()


def test_opened_twice_in_one_kernel_it_is_the_same(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    assert open_run(str(tmp_path / "." / "run")) is run
    with run:
        with open_run(run.path):
            pass
        assert run.recording  # the outer block goes on
    assert run.readonly


def test_copied_or_renamed_it_breaks_no_path(tmp_path: Path) -> None:
    """X3: relative paths only."""
    run = open_run(tmp_path / "run")
    make(run, "cell")
    run.close()
    text = "".join(
        path.read_text(errors="replace") for path in run.path.rglob("*.json*") if path.is_file()
    )
    assert str(tmp_path) not in text
    moved = run.path.rename(tmp_path / "elsewhere")
    again = open_run(moved)
    assert again.images[0].path.is_relative_to(moved)
    assert again.images[0].open().size == (16, 12)
    again.close()


def test_file_names_are_short_plain_and_tell_no_prompt(tmp_path: Path) -> None:
    """X21."""
    run = open_run(tmp_path / "run")
    make(run, prompt="con aux ../../é" + "x" * 300)
    run.close()
    for path in run.path.rglob("*"):
        assert re.fullmatch(r"[a-z0-9.-]{1,100}", path.name), path
    assert manifest_name(12, "1a2b3c4d" * 4) == "000012-1a2b3c4d.json"
    assert image_name(12, "1a2b3c4d" * 4, 1, "png") == "000012-1a2b3c4d-1.png"


def test_the_name_of_an_input_is_in_the_one_form_of_unicode(tmp_path: Path) -> None:
    """X22: macOS hands out names in another form than the one they were given."""
    from fooocus_nb.experiment.inputs import take_inputs
    from fooocus_nb.fooocus.transport.data_uris import encode_data_uri

    run = open_run(tmp_path / "run")
    uri = encode_data_uri(png())
    values, inputs = take_inputs(
        run.recorder.folder, {"uov_input_image": uri}, {"uov_input_image": "/x/Cafe\u0301.png"}
    )
    assert inputs[0].name == "Caf\u00e9.png"
    assert values == {"uov_input_image": f"sha256:{inputs[0].sha256}"}
    assert (run.path / inputs[0].path).read_bytes() == png()
    run.close()


# -- the index ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deleted", "emptied", "garbage", "cut", "of another run"])
def test_the_index_can_be_lost_at_any_moment(tmp_path: Path, how: str) -> None:
    run = open_run(tmp_path / "run")
    run.add_cells([(name, place, {"steps": place}, {}) for place, name in enumerate("abc", 1)])
    for cell in "ab":
        make(run, cell)
    run.rate(run.images[0], 5, "good")
    index = run.path / "index.sqlite"
    run.flush()
    before = index.read_bytes()
    index.unlink()  # while it is open
    make(run, "c")
    run.close()
    whole = index.read_bytes()
    if how == "deleted":
        index.unlink()
    else:
        index.write_bytes(
            {"emptied": b"", "garbage": b"x" * 5000, "cut": whole[: len(whole) // 2]}.get(
                how, before
            )
        )
    if how == "of another run":
        header = json.loads((run.path / "run.json").read_bytes())
        (run.path / "run.json").write_text(json.dumps({**header, "id": "0" * 32}))
    again = open_run(run.path)
    assert again.counts == {"planned": 3, "made": 3, "failed": 0, "skipped": 0, "missing": 0}
    assert len(again.images) == 3
    assert (again.images[0].rating, again.images[0].note) == (5, "good")
    assert again.notices == ()
    again.close()


def test_an_old_index_is_brought_up_to_the_files(tmp_path: Path) -> None:
    """An index of before the last generations, as a crash leaves it: names tell what is new."""
    run = open_run(tmp_path / "run")
    make(run, "a")
    run.flush()
    old = (run.path / "index.sqlite").read_bytes()
    make(run, "b")
    run.rate(run.images[1], 2)
    run.close()
    (run.path / "index.sqlite").write_bytes(old)
    again = open_run(run.path)
    assert again.made_cells() == {"a", "b"}
    assert [image.rating for image in again.images] == [None, 2]
    again.close()


def test_a_manifest_that_is_written_while_it_is_read_is_the_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(tmp_path / "run")
    make(run, "a")
    run.flush()
    (manifest,) = run.manifests
    run.close()
    again = open_run(run.path)
    newer = replace(manifest, timings={"elapsed": 5.0})
    read = RunFolder.read

    def slow(folder: RunFolder, relative: str, *limits: int) -> bytes:
        data = read(folder, relative, *limits)
        if relative.startswith("manifests/"):
            again.recorder.write(newer)  # as the thread does that completes it
        return data

    monkeypatch.setattr(RunFolder, "read", slow)
    assert again.manifest(manifest.name) == newer
    assert again.manifest(manifest.name) == newer
    again.close()


def test_images_are_listed_without_reading_a_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(tmp_path / "run")
    make(run, "a", image_number=2, steps=3)
    make(run, None, seed=SEED + 5, steps=True, styles=["x", "y"])
    make(run, None, seed=2**63 - 1, **{f"setting_{number}": number for number in range(40)})
    run.flush()
    made = list(run.manifests)
    run.close()
    again = open_run(run.path)
    read = RunFolder.read

    def refused(folder: RunFolder, relative: str, *limits: int) -> bytes:
        if relative.startswith("manifests/"):
            raise OSError(errno.EIO, relative)
        return read(folder, relative, *limits)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "read", refused)
        images = list(again.images)
        expected = [(one, record) for one in made for record in one.images]
        for image, (manifest, record) in zip(images, expected, strict=True):
            assert dict(image.parameters) == {
                **manifest.parameters, "image_number": 1, "image_seed": record.seed
            }  # fmt: skip
            found = (image.key, image.cell, image.seed, image.number_in_request, image.file)
            number = record.number_in_request
            assert found == (record.key, manifest.cell, record.seed, number, record.path)
            assert (image.width, image.height, image.sha256) == (16, 12, record.sha256)
            assert (image.pixels_sha256, image.dhash) == (record.pixels_sha256, record.dhash)
            assert image.open().size == (16, 12)
        assert images[2].parameters["steps"] is True  # and not 1
        table = again.table(every=True)
        assert table.column("seed") == [str(image.seed) for image in images]
        assert table.column("file") == [image.file for image in images]
        assert len(again.grid()) == 4
        assert [image.key for image in again.images_of("a")] == [images[0].key, images[1].key]
        assert again.image(images[3].key).seed == 2**63 - 1
        with pytest.raises(RunError, match="can't be read"):
            _ = images[0].manifest  # which is more than the index knows
    assert [image.record for image in again.images] == [record for _, record in expected]
    again.close()


def test_an_index_that_says_what_cannot_be_is_not_believed(tmp_path: Path) -> None:
    """Somebody else may have made it; the manifests are the truth."""
    run = open_run(tmp_path / "run")
    made = make(run, "a")
    run.close()
    index = run.path / "index.sqlite"
    for name, value in (("path", "../../secret.png"), ("width", "wide"), ("sha256", "x"),
                        ("seed", "seven"), ("dhash", b"1")):  # fmt: skip
        whole = index.read_bytes()
        with contextlib.closing(sqlite3.connect(index)) as base, base:
            base.execute(f"UPDATE images SET {name} = ?", (value,))
            base.execute("UPDATE bases SET parameters = 'no JSON'")
        again = open_run(run.path, readonly=True)
        (image,) = again.images_of("a")
        assert image.record.path == made.images[0].path
        assert (image.file, image.width, image.sha256, image.seed) == (
            made.images[0].path, 16, made.images[0].sha256, SEED,
        )  # fmt: skip
        assert image.parameters["prompt"] == "a cat"
        index.write_bytes(whole)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fcntl")
def test_it_needs_no_locks_no_wal_and_waits_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X24: a share on which locks fail, and another program that holds one on the index."""
    import fcntl

    def refused(*args: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    monkeypatch.setattr(fcntl, "lockf", refused)
    run = open_run(tmp_path / "run")
    make(run, "a")
    run.close()
    index = run.path / "index.sqlite"
    assert index.read_bytes()[18:20] == b"\x01\x01"  # rollback journal; WAL is 2
    # SQLite's own locks, held by another process for as long as this test takes.
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sqlite3, sys\n"
         "base = sqlite3.connect(sys.argv[1])\n"
         "base.execute('BEGIN EXCLUSIVE')\nprint('held', flush=True)\nsys.stdin.read()",
         str(index)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        again = open_run(run.path)
        make(again, "b")
        again.close()
        assert again.notices == ()
        assert open_run(run.path, readonly=True).made_cells() == {"a", "b"}
    finally:
        holder.communicate(timeout=20)


def test_where_the_index_cannot_be_written_it_is_in_memory_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqlite3.connect

    def connect(name: str, *args: Any, **options: Any) -> sqlite3.Connection:
        if "mode=rwc" in str(name):
            raise sqlite3.OperationalError("disk I/O error")
        return real(name, *args, **options)

    monkeypatch.setattr(sqlite3, "connect", connect)
    run = open_run(tmp_path / "run")
    for cell in "abc":
        make(run, cell)
        run.flush()
    (notice,) = run.notices
    assert "disk I/O error" in notice
    assert "Nothing is lost" in notice
    again = reopen(run)
    assert again.made_cells() == {"a", "b", "c"}
    again.close()


def test_a_folder_that_is_out_of_reach_for_a_moment_ends_no_thread(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    make(run, "a")
    run.flush()
    (tmp_path / "run").rename(tmp_path / "away")
    run.index.save(always=True)
    (tmp_path / "away").rename(tmp_path / "run")
    make(run, "b")
    assert run.flush(30)
    again = reopen(run)
    assert again.made_cells() == {"a", "b"}
    again.close()


# -- file systems that refuse ---------------------------------------------------------------------


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A mounted bucket: nothing can be appended to, renamed or linked, and no mode be changed."""

    def mount() -> None:
        real = os.open

        def refused(*args: Any, **options: Any) -> None:
            raise OSError(errno.ENOTSUP, "Operation not supported")

        def opened(path: Any, flags: int, *args: Any, **options: Any) -> int:
            if flags & os.O_APPEND:
                refused()
            return real(path, flags, *args, **options)

        monkeypatch.setattr(os, "open", opened)
        for name in ("link", "symlink", "rename", "replace", "chmod", "fsync"):
            monkeypatch.setattr(os, name, refused)
        for name in ("rename", "replace", "hardlink_to", "symlink_to", "chmod"):
            monkeypatch.setattr(Path, name, refused)

    return mount


def test_a_bucket_will_do(tmp_path: Path, bucket: Callable[[], None]) -> None:
    """X26."""
    bucket()
    run = open_run(tmp_path / "run")
    run.add_cells([("a", 1, {}, {}), ("b", 2, {}, {})])
    make(run, "a", image_number=2)
    run.rate(run.images[0], 3)
    run.close()
    assert not list(run.path.glob("*.jsonl")) or not (run.path / "attempts.jsonl").exists()
    assert sorted(path.name for path in run.path.glob("ratings-*")) == ["ratings-000001.jsonl"]
    again = open_run(run.path)
    assert again.counts["made"] == 1
    assert again.images[0].rating == 3
    make(again, "b")
    assert again.counts["made"] == 2
    assert len(again.images) == 3
    again.close()
    assert files_of(run.path) == listed_in(again)
    assert not list(run.path.rglob(".part-*"))


def test_a_full_disk_is_said_and_costs_nothing_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(tmp_path / "run")
    make(run, "a")
    run.flush()
    real = os.open

    def full(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, flags, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        with pytest.raises(DiskFull, match="No space left"):
            send(run, "b")
    make(run, "b")
    assert run.made_cells() == {"a", "b"}
    run.close()


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write")
def test_a_folder_that_may_not_be_written_to_can_be_read(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    make(run)
    run.close()
    run.path.chmod(0o500)
    try:
        again = open_run(run.path)
        assert again.readonly
        assert len(again.images) == 1
    finally:
        run.path.chmod(0o700)


# -- lines ----------------------------------------------------------------------------------------


def test_a_torn_line_is_left_out_and_spoils_no_other(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    make(run, "a")
    run.close()
    lines = run.path / "attempts.jsonl"
    whole = lines.read_bytes()
    lines.write_bytes(whole + b'{"attempt":"dead","event":"se')
    again = open_run(run.path)
    make(again, "b")
    assert again.made_cells() == {"a", "b"}
    assert again.index.cell_events() == {"a": "made", "b": "made"}
    again.close()
    text = lines.read_text()
    assert '"se\n{' in text
    (run.path / "index.sqlite").unlink()
    position = Position()
    found = list(RunFolder(run.path).lines("attempts", position))
    assert [line["event"] for line in found] == ["sent", "made", "sent", "made"]
    assert position.damaged == 1


@pytest.mark.parametrize(
    "line",
    ["7", "[]", '{"event": 3}', '{"attempt": {}, "event": []}', "\x00" * 50,
     '{"cell": 1, "number": []}',
     '{"event":"sent","attempt":"x","number":1e999,"try":-1,"cell":"c"}', "{" * 5000],
)  # fmt: skip
def test_lines_of_others_do_no_harm(tmp_path: Path, line: str) -> None:
    run = open_run(tmp_path / "run")
    make(run, "a")
    run.close()
    for kind in ("attempts", "plan", "ratings", "engines"):
        with (run.path / f"{kind}.jsonl").open("a") as file:
            file.write(line + "\n")
    again = open_run(run.path)
    assert again.made_cells() == {"a"}
    make(again, "b")
    again.close()
    assert len(again.images) == 2


# -- ratings --------------------------------------------------------------------------------------


def test_ratings_are_kept_changed_and_taken_back(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    make(run)
    image = run.images[0]
    image.rate(3, "sharp")
    image.rate(5)
    assert (image.rating, image.note) == (5, "sharp")
    run.rate(image.key, None, "")
    run = reopen(run)
    assert (run.images[0].rating, run.images[0].note) == (None, "")
    for bad in (6, -1, 2.5, True, "3"):
        with pytest.raises(ParameterError, match="from 0 to 5"):
            run.rate(image.key, bad)  # type: ignore[arg-type]
    with pytest.raises(RunError, match=r"no image '\.\./x'"):
        run.rate("../x", 3)
    run.close()
    with pytest.raises(RunLocked, match="closed"):
        run.rate(image.key, 3)


# -- bad folders ----------------------------------------------------------------------------------


def test_a_folder_of_something_else_is_never_mixed(tmp_path: Path) -> None:
    """X28."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(png())
    with pytest.raises(RunError, match=r"is no run: it has no run.json, and it holds 'a.png'"):
        open_run(tmp_path / "photos")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.png"]
    with pytest.raises(RunError, match="is a file"):
        open_run(tmp_path / "photos" / "a.png")
    with pytest.raises(RunError, match="There is no run"):
        open_run(tmp_path / "nothing", readonly=True)
    assert not (tmp_path / "nothing").exists()


def test_a_run_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    make(run)
    run.close()
    header = run.path / "run.json"
    header.write_text(header.read_text().replace('"version": 1', '"version": 2'))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=r"newer fooocus-nb .* pip install -U fooocus-nb"):
        open_run(run.path)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "x"}', '{"format":"fooocus-nb run"}'])
def test_a_damaged_header_is_said(tmp_path: Path, text: str) -> None:
    run = open_run(tmp_path / "run")
    make(run)
    run.close()
    (run.path / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"damaged|no run of fooocus-nb"):
        open_run(run.path)


def test_a_manifest_edited_by_hand_is_shown_and_said(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    made = make(run, "a")
    run.close()
    path = run.path / "manifests" / made.name
    path.write_text(path.read_text().replace("a cat", "a dog"))
    (run.path / "index.sqlite").unlink()
    with pytest.warns(RunWarning, match=f"{made.name} was changed after it was written"):
        again = open_run(run.path)
    assert again.images[0].parameters["prompt"] == "a dog"
    assert again.images[0].manifest.edited
    assert again.is_made("a")
    assert path.read_text().count("a dog") == 1  # nothing of it was written over
    again.close()


def test_what_an_index_does_not_know_of_an_edited_manifest_is_said_once_it_is_read(
    tmp_path: Path,
) -> None:
    run = open_run(tmp_path / "run")
    made = make(run, "a")
    run.close()
    path = run.path / "manifests" / made.name
    path.write_text(path.read_text().replace("a cat", "a dog"))
    again = open_run(run.path)
    assert again.images[0].manifest.edited
    assert again.images[0].parameters["prompt"] == "a dog"
    assert any(made.name in notice for notice in again.notices)
    again.close()


@pytest.mark.filterwarnings("ignore::fooocus_nb.errors.RunWarning")
@pytest.mark.parametrize("index", ["kept", "gone"])
@pytest.mark.parametrize(
    ("said", "instead", "words"),
    [
        ('"images/', '"/etc/', "no path inside of a run"),
        ('"version":1', '"version":2', "newer"),
        ('"number":1', '"number":-1', "number"),
        ('"cell":"a",', '"cell":"a",,', "no JSON since somebody has changed it"),
    ],
)
def test_a_manifest_that_says_what_cannot_be_is_left_out_and_named(
    tmp_path: Path, index: str, said: str, instead: str, words: str
) -> None:
    run = open_run(tmp_path / "run")
    made = make(run, "a")
    run.close()
    path = run.path / "manifests" / made.name
    assert said in path.read_text()
    path.write_text(path.read_text().replace(said, instead))
    if index == "gone":
        (run.path / "index.sqlite").unlink()
    again = open_run(run.path)
    if index == "kept":
        with pytest.raises(RunError, match=f"{made.name}.*{words}"):
            _ = again.images[0].manifest
    assert len(again.images) == 0
    assert any(made.name in notice and words in notice for notice in again.notices)
    assert not again.is_made("a")
    shared = again.share(tmp_path / "run.html", notebook=False)
    assert any(made.name in note and words in note for note in shared.notes)
    assert instead in path.read_text()  # it is theirs
    again.close()


def test_a_number_that_json_does_not_have_is_null(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    made = make(run, "a")
    run.close()
    path = run.path / "manifests" / made.name
    path.write_text(path.read_text().replace('"parameters":{', '"parameters":{"sharpness":NaN,', 1))
    again = open_run(run.path)
    assert again.images[0].manifest.parameters["sharpness"] is None
    assert again.images[0].manifest.edited
    again.share(tmp_path / "run.html", notebook=False)
    assert open_run(tmp_path / "run.html").images[0].manifest.parameters["sharpness"] is None
    again.close()


@pytest.mark.skipif(sys.platform == "win32", reason="links take rights there")
def test_no_link_leads_out_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    run = open_run(tmp_path / "run")
    made = make(run)
    run.close()
    (run.path / "index.sqlite").unlink()
    link = run.path / "manifests" / "000099-00000000.json"
    link.symlink_to(tmp_path / "secret.json")
    with pytest.warns(RunWarning, match="leads out of the run"):
        again = open_run(run.path)
    assert [manifest.name for manifest in again.manifests] == [made.name]
    again.close()


@pytest.mark.skipif(sys.platform == "win32", reason="links take rights there")
def test_it_lives_under_git_annex(tmp_path: Path) -> None:
    """There files are links into a folder beside the run, and cannot be written to."""
    run = open_run(tmp_path / "repository" / "run")
    make(run, "a")
    run.close()
    objects = tmp_path / "repository" / ".git" / "annex" / "objects"
    objects.mkdir(parents=True)
    for path in [*run.path.glob("images/*"), *run.path.glob("manifests/*")]:
        target = path.rename(objects / path.name)
        target.chmod(0o444)
        path.symlink_to(os.path.relpath(target, path.parent))
    (run.path / "index.sqlite").unlink()
    again = open_run(run.path)
    assert again.made_cells() == {"a"}
    assert again.images[0].open().size == (16, 12)
    again.close()


def test_the_front_door_has_it(tmp_path: Path) -> None:
    with fooocus_nb.open_run(tmp_path / "run") as run:
        assert isinstance(run, fooocus_nb.Run)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["format"] == "fooocus-nb run"
    (tmp_path / "file").write_text("")
    with pytest.raises((OutputError, RunError)):
        open_run(tmp_path / "file" / "run")
