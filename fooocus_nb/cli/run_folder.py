"""The output folder of many generations, which remembers what is done, so that nothing is twice.

Beside the images it holds a folder ``.fooocus-nb`` with one small file per task. The images of a
task go into a folder of its own there, then its file says that it is made, then they get their
names in the output folder, and then the file says that it is done. A run that is killed at any
moment is taken up where it was: what was made is moved, and what was not is generated.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import OutputError
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.whole_files import writing_whole
from fooocus_nb.results.file_names import ImageFacts
from fooocus_nb.results.output_folder import OutputFolder
from fooocus_nb.supervisor.system import try_lock, unlock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from fooocus_nb.results.file_names import NamePattern

__all__ = ["FinishedImage", "RunFolder", "task_key"]

STATE = ".fooocus-nb"
FORMAT = 1
#: What is larger was not written by us.
MAX_BYTES = 16 << 20
BEGUN, MADE, DONE = "begun", "made", "done"


def task_key(**what: Any) -> str:
    """Return what tells a task from others: the same for the same content, whatever its place."""
    text = json.dumps(what, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True)
class FinishedImage:
    """An image in the output folder, and what made it."""

    path: Path
    seed: int | None
    sha256: str
    parameters: Mapping[str, Any]


class RunFolder:
    """An output folder that one command at a time writes into.

    Use it as a context manager: it is locked meanwhile, and an OutputError says so where another
    command holds it.
    """

    def __init__(self, folder: Path, names: NamePattern) -> None:
        self.folder = folder
        self._outputs = OutputFolder(folder, names)
        self._state = folder / STATE
        #: Where an engine puts its images before they have a name.
        self.staging = self._state / "staging"
        self._lock: int | None = None

    def __enter__(self) -> RunFolder:
        self._outputs.require_writable()
        self._state.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):  # a file system without locks has none for us
            self._lock = try_lock(str(self._state))
            if self._lock is None:
                msg = f"Another command is writing into {self.folder}. Wait for it, or give another"
                raise OutputError(f"{msg} -o.")
        # What a run left there that was killed belongs to a task that is generated again, with the
        # same seed.
        shutil.rmtree(self.staging, ignore_errors=True)
        self.staging.mkdir(exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            unlock(self._lock)
            self._lock = None

    # -- what there is ----------------------------------------------------------------------

    def finished(self, key: str) -> list[FinishedImage] | None:
        """Return the images of a task that is done; None for one that is to be generated.

        One that was made, but whose images had not got their names, is brought to its end.
        """
        record = self._read(key)
        try:
            if record.get("state") == MADE:
                place = self._place(key)
                if not all((place / image["file"]).is_file() for image in record["images"]):
                    return None
                record = self._give_names(key, record)
            if record.get("state") != DONE:
                return None
            images = [self._image(each) for each in record["images"]]
        except (KeyError, TypeError, ValueError):  # whoever wrote it, it was no version of us
            return None
        # An image that somebody has removed is wanted again.
        return images if all(image.path.is_file() for image in images) else None

    def seed(self, key: str) -> int | None:
        """Return the seed that a task was begun with; None for one that was not."""
        seed = self._read(key).get("seed")
        return int(seed) if isinstance(seed, str) and seed.isdigit() else None

    def _image(self, known: Mapping[str, Any]) -> FinishedImage:
        seed = known.get("seed")
        return FinishedImage(
            self.folder / known["path"],
            None if seed is None else int(seed),
            str(known["sha256"]),
            dict(known["parameters"]),
        )

    # -- what is done -----------------------------------------------------------------------

    def begin(self, key: str, seed: int | None) -> None:
        """Note that a task begins, with its seed: taken up later it has the same."""
        shutil.rmtree(self._place(key), ignore_errors=True)  # of a run that was killed in it
        self._write(key, {"state": BEGUN, "seed": None if seed is None else str(seed)})

    def keep(
        self,
        key: str,
        images: Sequence[FinishedImage],
        values: Mapping[str, Any],
        *,
        whole: bool = True,
    ) -> list[FinishedImage]:
        """Take in the images of a task, and return them under their names in the output folder.

        `values` are fields of the names. Images of a task that is not `whole`, because it failed,
        are kept, too, and it counts as not done.
        """
        place = self._place(key)
        place.mkdir(parents=True, exist_ok=True)
        staged = []
        for image in images:
            target = place / image.path.name
            os.replace(image.path, target)  # noqa: PTH105 - within one folder of ours
            staged.append(
                {
                    "file": target.name,
                    "seed": None if image.seed is None else str(image.seed),
                    "sha256": image.sha256,
                    "parameters": dict(image.parameters),
                }
            )
        record = {**self._read(key), "state": MADE, "values": dict(values), "images": staged}
        record["whole"] = whole
        self._write(key, record)
        return [self._image(each) for each in self._give_names(key, record)["images"]]

    def _give_names(self, key: str, record: Mapping[str, Any]) -> dict[str, Any]:
        """Copy what was made to the output folder. Done again, it changes nothing."""
        place, named = self._place(key), []
        for index, image in enumerate(record["images"], start=1):
            values = {**record["values"], "seed": image["seed"] or "", "index": index}
            facts = ImageFacts(values, image["parameters"])
            path = self._outputs.copy(place / image["file"], facts)
            named.append({**image, "path": path.relative_to(self.folder).as_posix()})
        state = DONE if record.get("whole", True) else BEGUN
        done = {**record, "state": state, "images": named}
        self._write(key, done)
        shutil.rmtree(place, ignore_errors=True)
        return done

    def _place(self, key: str) -> Path:
        return self._state / f"made-{key}"

    # -- its files --------------------------------------------------------------------------

    def _read(self, key: str) -> dict[str, Any]:
        path = self._state / f"{key}.json"
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found = json.loads(read_plain_file(path, MAX_BYTES))
            if isinstance(found, dict) and found.get("format") == FORMAT:
                return found
        return {}

    def _write(self, key: str, record: Mapping[str, Any]) -> None:
        """Write a task's file; nobody ever reads half of it."""
        path = self._state / f"{key}.json"
        data = json.dumps({"format": FORMAT, **record}).encode()
        try:
            with writing_whole(path) as part, part.open("wb") as file:
                file.write(data)
                file.flush()
                # Before it has its name: images are moved by what it says.
                with contextlib.suppress(OSError):
                    os.fsync(file.fileno())
        except OSError as error:
            msg = f"What is done could not be noted in {self._state}: {error}."
            raise OutputError(msg) from error
