"""After a crash, what is whole on the disk is adopted, and what is torn is never listed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from fooocus_nb.errors import RunError, RunWarning
from fooocus_nb.experiment.folder import RunFolder
from fooocus_nb.experiment.run import open_run
from fooocus_nb.fooocus.metadata import encode_metadata
from fooocus_nb.fooocus.metadata._containers import write_fields

from .runs import SEED, files_of, listed_in, make, png, send

if TYPE_CHECKING:
    from pathlib import Path

    from fooocus_nb.experiment.attempts import Attempt
    from fooocus_nb.experiment.run import Run

#: The moments at which a kernel may be killed, in order.
MOMENTS = ("begun", "sent", "image", "images", "manifest", "made", "completed")


def crashed_at(path: Path, moment: str, **values: object) -> Attempt:
    """Leave a run as a kernel that was killed at a moment does."""
    run = open_run(path)
    attempt = run.recorder.begin("cell", 7)
    if moment != "begun":
        attempt.sent(
            {"prompt": "a cat", "image_number": 2, "image_seed": SEED, **values},
            given=("prompt",),
            seed=SEED,
        )
    images = {"begun": 0, "sent": 0, "image": 1}.get(moment, 2)
    for number in range(images):
        attempt.add_image(f"{number}.png", png(f"#00000{number}"))
    if moment in MOMENTS[4:]:
        attempt.made()
    if moment == "completed":
        run.flush()
    lines = run.path / "attempts.jsonl"
    kept = lines.read_bytes() if lines.exists() else b""
    # Not what the recorder is writing just now, which has another name until it is whole.
    manifests = {path: path.read_bytes() for path in (run.path / "manifests").glob("*.json")}
    index = run.path / "index.sqlite"
    indexed = index.read_bytes() if index.exists() else None
    run.close()
    # What closing has done is undone.
    index.unlink(missing_ok=True)
    if indexed is not None:
        index.write_bytes(indexed)
    if moment == "manifest":
        kept = kept.splitlines(keepends=True)[0]
    lines.write_bytes(kept)
    for each, data in manifests.items():
        each.write_bytes(data)
    return attempt


@pytest.mark.parametrize("index", ["kept", "deleted"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment(tmp_path: Path, moment: str, index: str) -> None:
    attempt = crashed_at(tmp_path / "run", moment)
    if index == "deleted":
        (tmp_path / "run" / "index.sqlite").unlink(missing_ok=True)
    run = open_run(tmp_path / "run")
    run.add_cells([("cell", 7, {}, {})])
    made = moment in MOMENTS[3:]
    assert run.is_made("cell") is made
    assert run.counts["made" if made else "missing"] == 1
    manifests = list(run.manifests)
    assert len(manifests) == (moment not in MOMENTS[:2])
    for manifest in manifests:
        assert manifest.attempt == attempt.id
        assert manifest.adopted is (moment in ("image", "images"))
        assert manifest.parameters["prompt"] == "a cat"
        assert manifest.given == ("prompt",)
        seeds = [image.seed for image in manifest.images]
        assert seeds == [SEED, SEED + 1][: len(seeds)]
    run.flush()
    assert all(not manifest.pending for manifest in run.manifests)
    assert all(image.pixels_sha256 and image.dhash for image in run.images)
    assert files_of(run.path) == listed_in(run)
    events = [line["event"] for line in _attempts(run)]
    assert events == {"begun": [], "sent": ["sent", "interrupted"],
                      "image": ["sent", "interrupted"]}.get(moment, ["sent", "made"])  # fmt: skip
    # The next attempt counts, and replaces what isn't whole.
    if not made:
        again = make(run, "cell", image_number=2)
        assert again.tries == (1 if moment == "begun" else 2)
        assert run.is_made("cell")
        assert len(run.images) == 2
    run.close()


def _attempts(run: Run) -> list[dict[str, object]]:
    from fooocus_nb.experiment.folder import Position

    return list(RunFolder(run.path).lines("attempts", Position()))


def test_a_torn_image_is_never_listed(tmp_path: Path) -> None:
    """As a bucket that doesn't rename leaves it."""
    crashed_at(tmp_path / "run", "images")
    (image, _) = sorted((tmp_path / "run" / "images").iterdir())
    image.write_bytes(image.read_bytes()[:60])
    run = open_run(tmp_path / "run")
    assert not run.is_made("cell")
    assert [one.number_in_request for one in run.images] == [1]
    assert files_of(run.path) == listed_in(run)
    assert not image.exists()
    run.close()


@pytest.mark.parametrize("index", ["kept", "deleted"])
def test_a_torn_manifest_is_written_anew(tmp_path: Path, index: str) -> None:
    crashed_at(tmp_path / "run", "completed")
    (path,) = (tmp_path / "run" / "manifests").iterdir()
    path.write_bytes(path.read_bytes()[:500])
    if index == "deleted":
        (tmp_path / "run" / "index.sqlite").unlink()
    with pytest.warns(RunWarning) if index == "deleted" else contextlib.nullcontext():
        reader = open_run(tmp_path / "run", readonly=True)
    if index == "deleted":
        assert list(reader.manifests) == []
        assert "is left out" in reader.notices[0]
    else:  # an index goes by names: it is noticed when it is read
        with pytest.raises(RunError, match="can't be read"):
            list(reader.manifests)
    run = open_run(tmp_path / "run")
    (manifest,) = run.manifests
    assert manifest.adopted
    assert manifest.complete
    assert [image.seed for image in manifest.images] == [SEED, SEED + 1]
    assert run.is_made("cell")
    assert files_of(run.path) == listed_in(run)
    run.close()


def test_what_the_image_says_itself_counts(tmp_path: Path) -> None:
    """The second image of three was skipped: only the metadata tells which one it is."""
    run = open_run(tmp_path / "run")
    attempt = send(run, "cell", image_number=3)
    for number in (0, 2):
        said = {"prompt": f"a cat {number}", "seed": str(SEED + number), "prompt_expansion": "big"}
        text = encode_metadata(said)
        data = write_fields(
            png(f"#00000{number}"), {"parameters": text, "fooocus_scheme": "fooocus"}
        )
        attempt.add_image(f"{number}.png", data)
    run.close()
    run = open_run(tmp_path / "run")
    (manifest,) = run.manifests
    assert manifest.adopted
    assert not manifest.complete
    assert [image.number_in_request for image in manifest.images] == [1, 3]
    assert [image.seed for image in manifest.images] == [SEED, SEED + 2]
    assert manifest.images[1].prompt == "a cat 2"
    assert manifest.images[1].expansion == "big"
    run.close()


def test_files_of_nobody_are_left_alone(tmp_path: Path) -> None:
    """A file with a name as ours have it, of an attempt that nobody wrote down."""
    run = open_run(tmp_path / "run")
    make(run, "a")
    run.close()
    foreign = run.path / "images" / "000099-deadbeef-1.png"
    foreign.write_bytes(png())
    note = run.path / "images" / "my notes.txt"
    note.write_text("x")
    run = open_run(run.path)
    assert len(run.images) == 1
    assert foreign.exists()
    assert note.exists()
    run.close()


def test_an_image_that_was_removed_makes_its_cell_missing(tmp_path: Path) -> None:
    """Rows and files are counted together (X25): who deletes a bad image wants it made again."""
    run = open_run(tmp_path / "run")
    run.add_cells([("a", 1, {}, {}), ("b", 2, {}, {})])
    make(run, "a")
    make(run, "b")
    run.close()
    run.images[0].path.unlink()
    run = open_run(run.path)
    assert run.counts == {"planned": 2, "made": 1, "failed": 0, "skipped": 0, "missing": 1}
    assert [cell.id for cell in run.missing] == ["a"]
    assert len(run.images) == 1
    make(run, "a")
    assert run.counts["made"] == 2
    assert len(run.images) == 2
    run.close()


def test_an_attempt_fails_is_skipped_and_is_tried_again(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    run.add_cells([(cell, place, {"steps": place}, {}) for place, cell in enumerate("abcd", 1)])
    make(run, "a")
    send(run, "b").failed(MemoryError("token=abcdefgh full"))
    send(run, "c").skipped()
    assert run.counts == {"planned": 4, "made": 1, "failed": 1, "skipped": 1, "missing": 1}
    (failure,) = run.failures
    assert (failure.cell, failure.tries, failure.error["type"]) == ("b", 1, "MemoryError")
    assert "abcdefgh" not in failure.error["message"]
    assert run.cells["b"].state == "failed"
    assert run.cells["b"].error == failure.error
    assert run.cells["d"].values == {"steps": 4}
    assert run.retry() == 1
    assert run.counts["missing"] == 2
    assert run.failures == []
    assert make(run, "b").tries == 2
    run.mark_skipped("d")
    assert run.counts == {"planned": 4, "made": 2, "failed": 0, "skipped": 2, "missing": 0}
    counts = run.counts
    run.close()
    run = open_run(run.path)
    assert run.counts == counts
    run.close()


def test_planned_cells_are_added_once_and_keep_their_seeds(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    cells = [("a", 1, {"image_seed": str(SEED)}, {"seed": str(SEED)})]
    assert run.add_cells(cells) == 1
    assert run.add_cells([*cells, ("b", 2, {}, {})]) == 1
    run.add_sweep({"seed": [str(SEED)]})
    run.close()
    assert f'"{SEED}"' in (run.path / "plan.jsonl").read_text()
    run = open_run(run.path)
    assert run.cells["a"].values == {"image_seed": SEED}
    assert list(run.cells) == ["a", "b"]
    assert run.sweeps == [{"seed": [str(SEED)]}]
    assert "x" not in run.cells
    run.close()
