"""Write a run as one file for others: a zip, or a page that is the archive as well."""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import shutil
import unicodedata
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb import _html
from fooocus_nb.engine.names import notebook_paths
from fooocus_nb.errors import (
    DiskFull,
    OutputError,
    ParameterError,
    RunError,
    RunWarning,
    warn_user,
)
from fooocus_nb.experiment.archive import (
    NOTEBOOK,
    ArchiveStore,
    MemorySource,
    open_archive,
)
from fooocus_nb.experiment.folder import (
    INPUTS,
    LINES,
    MANIFESTS,
    RUN_FILE,
    THUMBNAILS,
    Position,
    dump,
    given_path,
)
from fooocus_nb.experiment.manifest import Manifest, TornManifest, encode, parse
from fooocus_nb.experiment.privacy import Scrubber
from fooocus_nb.experiment.share_page import PageRun, run_page
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.whole_files import writing_whole
from fooocus_nb.results.output_folder import FULL_DISK
from fooocus_nb.results.thumbnails import webp_thumbnail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fooocus_nb.experiment.index import RunIndex
    from fooocus_nb.experiment.members import RunImage

__all__ = ["Share", "share_run"]

#: The longer side of a thumbnail, and how large its file is at the most; less where there are many.
SIDE = 384
MAX_THUMBNAIL_BYTES, MIN_THUMBNAIL_BYTES = 28_000, 6_000
#: What all thumbnails of a page may take together, so that 1,000 of them stay below 30 MB.
PAGE_THUMBNAILS = 19 << 20
#: Browsers open larger pages slowly, or not at all.
MAX_PAGE = 100 << 20
#: More is a zip at once: the page would have to hold all of their parameters.
MAX_PAGE_IMAGES = 10_000
MAX_NOTEBOOK = 64 << 20
#: What is in a shared run, by the folder or file.
_WORDS = {
    RUN_FILE: "the run's id",
    MANIFESTS: "how each image was made",
    "lines": "plan, attempts, ratings, notes and measures",
    THUMBNAILS: "small copies of the images",
    "images": "the images, as they were made",
    INPUTS: "the images that it began with",
    NOTEBOOK: "the notebook, without its outputs",
    "page": "the page itself, with its script",
}


class SharedRun(PageRun, Protocol):
    """What is needed of the run that is shared."""

    id: str

    @property
    def index(self) -> RunIndex:
        """What its files say."""

    def flush(self, timeout: float = ...) -> bool:
        """Wait until all hashes are known."""


@dataclass(frozen=True)
class Share:
    """What :meth:`Run.share` has written, or would write.

    Attributes
    ----------
    path : Path
        The file. It is a zip where a page would have been too large.
    size : int
        Its bytes; of a dry run about as many.
    files : mapping
        The names of all that is in it, with the size of each in bytes.
    notes : tuple of str
        What was left out or changed, and why.
    written : bool
        False for a dry run.
    """

    path: Path
    size: int
    files: Mapping[str, int] = field(repr=False)
    notes: tuple[str, ...] = ()
    written: bool = True

    @property
    def rows(self) -> list[tuple[str, int, int]]:
        """What is in it by kind: what it is, how many files, and how many bytes."""
        counts: dict[str, tuple[int, int]] = {}
        for name, size in self.files.items():
            folder = name.partition("/")[0]
            kind = "lines" if name.endswith(".jsonl") else folder
            number, total = counts.get(kind, (0, 0))
            counts[kind] = (number + 1, total + size)
        return [(_WORDS.get(kind, kind), number, size) for kind, (number, size) in counts.items()]

    def _title(self) -> str:
        verb = "holds" if self.written else "would hold"
        return f"{self.path.name} ({_size_text(self.size)}) {verb}"

    def __str__(self) -> str:
        lines = [f"{self._title()}:"]
        lines += [
            f"  {what}: {number:,} {'file' if number == 1 else 'files'}, {_size_text(size)}"
            for what, number, size in self.rows
        ]
        return "\n".join([*lines, *self.notes])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        rows = [(what, f"{number:,}", _size_text(size)) for what, number, size in self.rows]
        notes = "".join(f"<div>{html.escape(note)}</div>" for note in self.notes)
        return _html.wrap(
            _html.data_table(("what", "files", "size"), rows, title=self._title()),
            notes,
            label="Shared run",
        )


def share_run(
    run: SharedRun,
    path: str | os.PathLike[str],
    open_store: Callable[[ArchiveStore], SharedRun],
    *,
    originals: bool = False,
    inputs: bool = False,
    notebook: str | os.PathLike[str] | bool | None = None,
    dry_run: bool = False,
) -> Share:
    """Write a run as one file; see :meth:`Run.share`."""
    target = _target(path)
    page = target.suffix.lower() != ".zip"
    if page and (originals or inputs):
        what = "originals" if originals else "inputs"
        msg = f"{what}=True: a page holds thumbnails only. Give a name that ends with .zip."
        raise ParameterError(msg)
    _refuse_others(target, run.id)
    if not run.readonly:
        run.flush()
    made = _Collector(run, notebook, inputs=inputs, originals=originals, page=page)
    made.collect()
    if page:
        data = None
        if len(made.thumbnails) <= MAX_PAGE_IMAGES:
            shared = open_store(made.store(target))
            data = run_page(target, shared, made.records, made.thumbnails)
        if data is None or len(data) > MAX_PAGE:
            size = f"{len(made.thumbnails):,} images" if data is None else f"{len(data):,} bytes"
            target = target.with_suffix(".zip")
            _refuse_others(target, run.id)
            made.notes.append(
                f"As one page it would be too large for browsers ({size}), so it is a zip."
            )
            warn_user(made.notes[-1], RunWarning)
        else:
            return _written_page(target, data, made, dry_run=dry_run)
    return _written_zip(target, made, dry_run=dry_run)


def _target(path: str | os.PathLike[str]) -> Path:
    try:
        target = Path(path).expanduser().absolute()
    except (RuntimeError, TypeError, ValueError) as error:
        msg = f"path={path!r} is no path that can be used: {error}."
        raise ParameterError(msg) from error
    if target.suffix.lower() not in (".zip", ".html", ".htm"):
        msg = (
            f"path={target.name!r}: give a name that ends with .html, for a page, or .zip, for a "
            "folder in a zip."
        )
        raise ParameterError(msg)
    return target


def _refuse_others(target: Path, run_id: str) -> None:
    """Raise where a file is there that is no share of this run."""
    if not os.path.lexists(target):
        return
    same = False
    with contextlib.suppress(RunError):
        same = target.is_file() and open_archive(target).header().get("id") == run_id
    if not same:
        msg = f"{target} is there already, and is not this run. Nothing was changed."
        raise OutputError(msg)


class _Collector:
    """Gathers what goes in, each text without what nobody else should know."""

    def __init__(
        self,
        run: SharedRun,
        notebook: str | os.PathLike[str] | bool | None,
        *,
        inputs: bool,
        originals: bool,
        page: bool,
    ) -> None:
        self._run = run
        self._notebook = notebook
        self._with_inputs = inputs
        self._with_originals = originals
        self._page = page
        self._scrubber = Scrubber([run.path, run.path.parent])
        #: Text files by name, and small images by the name of the image.
        self.records: dict[str, bytes] = {}
        self.thumbnails: dict[str, bytes] = {}
        #: Larger files, which are read when they are written: their sizes by name.
        self.large: dict[str, int] = {}
        self.notes: list[str] = []

    def collect(self) -> None:
        """Gather all."""
        run, store = self._run, self._run.store
        header = {**store.header(), "sweep": None}
        self.records[RUN_FILE] = dump(self._scrubber.value(header)).encode() + b"\n"
        for kind in LINES:
            lines = []
            for line in store.lines(kind, Position()):
                with contextlib.suppress(ValueError):  # a number that JSON can't hold
                    lines.append(dump(self._scrubber.value(line)).encode() + b"\n")
            if lines:
                self.records[f"{kind}.jsonl"] = b"".join(lines)
        for name in run.index.manifest_names():
            self._add_manifest(name)
        for name, why in run.index.unfit().items():
            self._leave_out(name, why.removeprefix("torn: "))
        self._add_thumbnails()
        if self._with_originals:
            self._add_large("images", [image.file for image in run.images])
        if self._with_inputs:
            self._add_large(INPUTS, [f"{INPUTS}/{name}" for name in store.names(INPUTS)])
        self._add_notebook()
        if self._scrubber.changed:
            self.notes.append(
                "Paths, names of the account and the machine, and secrets were removed from "
                f"{self._scrubber.changed:,} texts."
            )

    def _add_manifest(self, name: str) -> None:
        try:
            data = self._run.store.read(f"{MANIFESTS}/{name}")
            content, edited = parse(data)
            Manifest.from_json(data)  # or it says what it lacks
        except (OSError, RunError, TornManifest) as error:
            self._leave_out(name, error)
            return
        shared = self._scrubber.value(content)
        for given in shared.get("inputs") or ():
            if isinstance(given, dict) and not self._with_inputs:
                given["name"] = ""
        try:
            # One that was edited by hand stays recognisable as such.
            data = encode(shared, "edited" if edited else None)
        except ValueError as error:  # a number that JSON can't hold, which somebody has written
            self._leave_out(name, error)
            return
        self.records[f"{MANIFESTS}/{name}"] = data

    def _leave_out(self, name: str, why: object) -> None:
        self.notes.append(f"{MANIFESTS}/{name} is left out: {why}")

    def _add_thumbnails(self) -> None:
        images = list(self._run.images)
        limit = MAX_THUMBNAIL_BYTES
        if self._page and images:
            limit = max(min(limit, PAGE_THUMBNAILS // len(images)), MIN_THUMBNAIL_BYTES)
        # Pillow decodes and encodes without holding the interpreter's lock.
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for image, small in zip(
                images, pool.map(lambda each: _thumbnail(each, limit), images), strict=True
            ):
                if small is None:
                    self.notes.append(f"{image.key} has no thumbnail: its file cannot be read.")
                else:
                    self.thumbnails[image.file.rpartition("/")[2]] = small
        del self.notes[20:]

    def _add_large(self, kind: str, names: list[str]) -> None:
        lost = 0
        for name in names:
            size = self._size(name)
            if size is None:
                lost += 1
            else:
                self.large[name] = size
        if lost:
            self.notes.append(f"{lost:,} files of {kind} are not there, and are left out.")

    def _size(self, name: str) -> int | None:
        store = self._run.store
        if isinstance(store, ArchiveStore):
            return store.sizes.get(name)
        try:
            return store.image_path(name).stat().st_size
        except (OSError, RunError, ValueError):
            return None

    def read_large(self, name: str) -> bytes:
        """Return one of the larger files."""
        return self._run.store.read(name, max_file_bytes())

    # -- the notebook -----------------------------------------------------------------------

    def _add_notebook(self) -> None:
        if self._notebook is False:
            return
        if self._notebook is None or self._notebook is True:
            path = _own_notebook()
            if path is None:
                data = self._kept_notebook()
                if data is None:
                    self.notes.append("The notebook isn't known: give it as notebook=.")
                else:
                    self.records[NOTEBOOK] = data
                return
        else:
            path = given_path(self._notebook, "notebook")
        try:
            data = read_plain_file(path, MAX_NOTEBOOK)
            self.records[NOTEBOOK] = self._clean_notebook(data)
        except (OSError, ValueError, RecursionError, AttributeError) as error:
            msg = f"notebook={path.name!r} can't be read: {error}."
            if self._notebook is None:
                self.notes.append(msg)
                return
            raise ParameterError(msg) from error

    def _kept_notebook(self) -> bytes | None:
        """Return the notebook that came with a shared run."""
        try:
            return self._clean_notebook(self._run.store.read(NOTEBOOK, MAX_NOTEBOOK))
        except (OSError, ValueError):
            return None

    def _clean_notebook(self, data: bytes) -> bytes:
        """Return a notebook without outputs, attachments and what tells of its place."""
        found = json.loads(data)
        if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
            msg = "it is no notebook"
            raise ValueError(msg)
        cells = []
        for cell in found["cells"]:
            source = cell.get("source", "")
            text = "".join(source) if isinstance(source, list) else str(source)
            tags = (cell.get("metadata") or {}).get("tags")
            kept: dict[str, Any] = {
                "cell_type": str(cell.get("cell_type", "code")),
                "metadata": {"tags": tags} if isinstance(tags, list) else {},
                "source": self._scrubber.text(text),
            }
            if isinstance(cell.get("id"), str):
                kept["id"] = cell["id"]
            if kept["cell_type"] == "code":
                kept |= {"outputs": [], "execution_count": None}
            cells.append(kept)
        language = (found.get("metadata") or {}).get("language_info") or {}
        notebook = {
            "cells": cells,
            "metadata": {
                "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                "language_info": {"name": str(language.get("name", "python"))},
            },
            "nbformat": 4,
            "nbformat_minor": int(found.get("nbformat_minor", 5)),
        }
        return (json.dumps(notebook, indent=1, ensure_ascii=True) + "\n").encode()

    # -- as a whole -------------------------------------------------------------------------

    def store(self, path: Path) -> ArchiveStore:
        """Return what was gathered as a run, so that nothing else gets onto a page."""
        small = {f"{THUMBNAILS}/{name}.webp": data for name, data in self.thumbnails.items()}
        return ArchiveStore(path, MemorySource({**self.records, **small}))

    def sizes(self) -> dict[str, int]:
        """Return all names with their sizes."""
        sizes = {name: len(data) for name, data in self.records.items()}
        sizes |= {f"{THUMBNAILS}/{name}.webp": len(data) for name, data in self.thumbnails.items()}
        return sizes | self.large


def _thumbnail(image: RunImage, limit: int) -> bytes | None:
    try:
        return webp_thumbnail(image.path, SIDE, limit)
    except RunError:
        with contextlib.suppress(RunError, OSError):
            return image.thumbnail(SIDE)
    except Exception:  # noqa: BLE001 - Pillow raises all sorts for a file that is torn
        return None
    return None


def _own_notebook() -> Path | None:
    """Return the notebook of this kernel, where a Jupyter server or VS Code says which it is."""
    for name in notebook_paths():
        if name.endswith(".ipynb"):
            with contextlib.suppress(OSError):
                path = Path(name)
                if path.is_file():
                    return path
    return None


def _size_text(size: int) -> str:
    """Return a number of bytes as people read it."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 1000)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"


# -- a zip ----------------------------------------------------------------------------------------


def _written_zip(target: Path, made: _Collector, *, dry_run: bool) -> Share:
    sizes = made.sizes()
    if dry_run:
        return Share(target, sum(sizes.values()), sizes, tuple(made.notes), written=False)

    def write(part: Path) -> None:
        folder = _ascii(target.stem)
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
            for name, data in made.records.items():
                archive.writestr(_entry(f"{folder}/{name}"), data, zipfile.ZIP_DEFLATED)
            for name, data in made.thumbnails.items():
                entry = _entry(f"{folder}/{THUMBNAILS}/{name}.webp")
                archive.writestr(entry, data, zipfile.ZIP_STORED)
            for name in made.large:
                archive.writestr(
                    _entry(f"{folder}/{name}"), made.read_large(name), zipfile.ZIP_STORED
                )

    _write_aside(target, write, sum(sizes.values()))
    return Share(target, target.stat().st_size, sizes, tuple(made.notes))


def _entry(name: str) -> zipfile.ZipInfo:
    """Return an entry that tells neither when it was written nor by whom."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o100644 << 16
    info.create_system = 3
    return info


def _ascii(stem: str) -> str:
    """Return a name for the folder in the zip, which any system can have."""
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-. ")[:60] or "run"


def _write_aside(target: Path, write: Callable[[Path], None], size: int) -> None:
    """Write a file under another name, and give it its own once it is whole."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target.parent).free
        if size > free:
            msg = f"{target.name} would have {size:,} bytes, and {target.parent} has {free:,} free."
            raise DiskFull(msg)
        with writing_whole(target) as part:
            write(part)
    except OSError as error:
        kind = DiskFull if error.errno in FULL_DISK else OutputError
        msg = f"{target} could not be written: {error.strerror or error}."
        raise kind(msg) from error


# -- a page ---------------------------------------------------------------------------------------


def _written_page(target: Path, data: bytes, made: _Collector, *, dry_run: bool) -> Share:
    sizes = made.sizes()
    sizes["page"] = max(len(data) - sum(len(each) * 4 // 3 for each in made.thumbnails.values()), 0)
    if dry_run:
        return Share(target, len(data), sizes, tuple(made.notes), written=False)

    def write(part: Path) -> None:
        part.write_bytes(data)

    _write_aside(target, write, len(data))
    return Share(target, len(data), sizes, tuple(made.notes))
