"""The folder that remembers what is done: killed at any moment, nothing is lost or made twice."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from fooocus_nb.cli.run_folder import FinishedImage, RunFolder, task_key
from fooocus_nb.errors import OutputError
from fooocus_nb.results.file_names import NamePattern
from fooocus_nb.results.output_folder import OutputFolder

if TYPE_CHECKING:
    from pathlib import Path

NAMES = "{number:05}-{prompt}"


class Killed(BaseException):
    """Stands for the end of the process at this very place."""


def make(kept: RunFolder, key: str, number: int, count: int = 2) -> list[FinishedImage]:
    """Generate a task as a command does: from the same seed come the same bytes."""
    seed = kept.seed(key)
    seed = 1000 * number if seed is None else seed
    kept.begin(key, seed)
    images = []
    for index in range(count):
        path = kept.staging / f"{number}-{index}.png"
        data = f"{seed + index}".encode()
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        images.append(FinishedImage(path, seed + index, digest, {"prompt": "x"}))
    return kept.keep(key, images, {"number": number, "prompt": "a cat"})


def run(folder: Path) -> list[str]:
    """Generate three tasks, those that are done left out, and return all names in order."""
    names = []
    with RunFolder(folder, NamePattern(NAMES)) as kept:
        for number in (1, 2, 3):
            key = task_key(prompt="a cat", nth=number)
            found = kept.finished(key)
            images = make(kept, key, number) if found is None else found
            names += [image.path.name for image in images]
    return names


WHOLE = [f"0000{number}-a cat{again}.png" for number in (1, 2, 3) for again in ("", "-2")]


def test_it_remembers(tmp_path: Path) -> None:
    assert run(tmp_path) == WHOLE
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.png")}
    assert run(tmp_path) == WHOLE
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.png")} == before
    (tmp_path / WHOLE[2]).unlink()  # somebody wants that one anew
    assert run(tmp_path) == WHOLE
    assert (tmp_path / WHOLE[2]).is_file()


@pytest.mark.parametrize("moment", range(15))
@pytest.mark.parametrize("what", ["before", "after"])
def test_killed_at_any_moment_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int, what: str
) -> None:
    """Each writing of a note and each copying of an image is a moment; its seed stays the same."""
    left = [moment]

    def dying(function):
        def call(*args, **options):
            if what == "before" and left[0] == 0:
                raise Killed
            value = function(*args, **options)
            if what == "after" and left[0] == 0:
                raise Killed
            left[0] -= 1
            return value

        return call

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "_write", dying(RunFolder._write))
        patch.setattr(OutputFolder, "copy", dying(OutputFolder.copy))
        with pytest.raises(Killed):
            run(tmp_path)
    assert run(tmp_path) == WHOLE
    images = sorted(path.name for path in tmp_path.glob("*.png"))
    assert images == sorted(WHOLE)
    data = [(tmp_path / name).read_text() for name in WHOLE]
    assert data == ["1000", "1001", "2000", "2001", "3000", "3001"]


def test_images_of_a_task_that_failed_are_kept_and_it_is_done_again(tmp_path: Path) -> None:
    with RunFolder(tmp_path, NamePattern(NAMES)) as kept:
        key = task_key(prompt="a cat")
        kept.begin(key, 5)
        path = kept.staging / "x.png"
        path.write_bytes(b"5")
        part = FinishedImage(path, 5, "0" * 64, {})
        (image,) = kept.keep(key, [part], {"number": 1, "prompt": "a cat"}, whole=False)
        assert image.path.read_bytes() == b"5"
        assert kept.finished(key) is None
        assert kept.seed(key) == 5
        images = make(kept, key, 1)
    # The same image again is the same file.
    assert images[0].path == image.path
    assert len(list(tmp_path.glob("*.png"))) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1, "state": "done"}', "x" * 100])
def test_a_damaged_note_is_no_note(tmp_path: Path, text: str) -> None:
    run(tmp_path)
    for path in (tmp_path / ".fooocus-nb").glob("*.json"):
        path.write_text(text)
    assert run(tmp_path) == WHOLE


def test_two_commands_never_write_at_once(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path, NamePattern(NAMES)),
        pytest.raises(OutputError, match="Another command"),
        RunFolder(tmp_path, NamePattern(NAMES)),
    ):
        pass
    with RunFolder(tmp_path, NamePattern(NAMES)):
        pass


def test_keys_tell_tasks_apart() -> None:
    assert task_key(a=1, b=[2]) == task_key(b=[2], a=1)
    assert task_key(a=1) != task_key(a=2)
    assert task_key(a="\ud800")
