"""The index of a run: what its files say, in SQLite. It can be thrown away at any moment.

The database lives in memory. Its file is a copy that is written aside and renamed, so it is never
seen half written, needs no lock, and cannot make anybody wait for one: SQLite's own locks and its
write-ahead log don't work on the network shares where notebooks often live. What is newer than the
copy is read from the run's own files, which are found by their names.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import sqlite3
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.request import pathname2url

from fooocus_nb.errors import RunError
from fooocus_nb.experiment.folder import (
    IMAGES,
    MANIFESTS,
    Position,
    parse_manifest_name,
    parse_record,
)
from fooocus_nb.experiment.manifest import (
    Entry,
    TornManifest,
    image_record,
    read_entry,
    seeds_as_numbers,
)
from fooocus_nb.fooocus.whole_files import writing_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fooocus_nb.experiment.folder import Appended, RunStore
    from fooocus_nb.experiment.manifest import ImageRecord, Manifest

__all__ = ["INDEX_FILE", "IndexedImage", "RunIndex"]

INDEX_FILE = "index.sqlite"
#: Of the tables below; an index of another version is made anew.
SCHEMA_VERSION = 4
#: How many changes are collected, and for how many seconds, before the copy is written again. A
#: copy of a large index takes its time, so it also waits for a tenth of the index to be new.
SAVE_CHANGES, SAVE_SECONDS = 50, 20.0
_ATTEMPT = re.compile(r"[0-9a-f]{32}")
#: How many lines or manifests are taken in at once.
BATCH = 5000
#: In how many parameters manifests may differ that have one base, and how many bases are at hand.
MAX_CHANGED, MAX_BASES = 20, 8
_NONE = object()
_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE manifests (
    name TEXT PRIMARY KEY, number INTEGER, attempt TEXT, cell TEXT, tries INTEGER,
    complete INTEGER, edited INTEGER, pending INTEGER, base INTEGER, changed TEXT
) WITHOUT ROWID;
CREATE INDEX manifests_cell ON manifests (cell);
CREATE TABLE images (
    number INTEGER, tries INTEGER, name TEXT, position INTEGER, path TEXT,
    number_in_request INTEGER, seed TEXT, sha256 BLOB, bytes INTEGER, width INTEGER,
    height INTEGER, format TEXT, pixels_sha256 BLOB, dhash BLOB,
    PRIMARY KEY (number, tries, name, position)
) WITHOUT ROWID;
-- Parameters that many manifests have in common; each holds only in what it differs.
CREATE TABLE bases (base INTEGER PRIMARY KEY, parameters TEXT);
CREATE TABLE gone (path TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID;
CREATE TABLE unfit (name TEXT PRIMARY KEY, reason TEXT) WITHOUT ROWID;
CREATE TABLE cells (cell TEXT PRIMARY KEY, number INTEGER, plan TEXT) WITHOUT ROWID;
CREATE TABLE attempts (
    attempt TEXT PRIMARY KEY, cell TEXT, number INTEGER, tries INTEGER, event TEXT, time TEXT,
    error TEXT, sent TEXT
) WITHOUT ROWID;
CREATE INDEX attempts_cell ON attempts (cell);
CREATE TABLE cell_states (cell TEXT PRIMARY KEY, event TEXT, attempt TEXT) WITHOUT ROWID;
CREATE TABLE sweeps (position INTEGER PRIMARY KEY, definition TEXT);
CREATE TABLE engines (engine TEXT PRIMARY KEY, content TEXT) WITHOUT ROWID;
CREATE TABLE ratings (image TEXT PRIMARY KEY, rating INTEGER, note TEXT) WITHOUT ROWID;
-- Generations of which all images were made, and all are still there.
CREATE VIEW whole AS SELECT * FROM manifests
    WHERE complete = 1 AND name NOT IN (SELECT name FROM gone);
-- The images of one cell are those of its whole generations, and else what there is.
CREATE VIEW shown AS SELECT images.* FROM images JOIN manifests USING (name)
    WHERE path NOT IN (SELECT path FROM gone) AND (
        cell IS NULL OR name IN (SELECT name FROM whole)
        OR cell NOT IN (SELECT cell FROM whole WHERE cell IS NOT NULL)
    );
"""


class RunIndex:
    """What the files of a run say, kept up with them. Safe from any thread.

    Parameters
    ----------
    store : RunStore
        The run.
    save : bool
        Whether the copy on the disk is kept up as well: for who holds the lease.
    fresh : bool, optional
        Whether it is made anew, whatever copy there is.
    """

    def __init__(self, store: RunStore, *, save: bool, fresh: bool = False) -> None:
        self._store = store
        self._save = save
        self._lock = threading.RLock()
        self._database = (None if fresh else self._loaded()) or self._empty()
        # A closed run is still looked through: its index closes when nobody has it any more.
        weakref.finalize(self, self._database.close)
        self._changes = 0
        #: Parameters that many manifests have in common, by number; the newest last.
        self._bases = self._last_bases()
        #: The lines of the last manifest that was read as a whole, its base, and its changes.
        self._last: tuple[list[bytes], int, dict[str, Any]] = [], 0, {}
        self._unlisted: set[str] = set()
        self._saved_at = time.monotonic()
        #: Why the copy could not be written; told once.
        self.save_failure: str | None = None
        self._positions = {
            kind: Position(dict(content))
            for kind, content in json.loads(self._fact("positions") or "{}").items()
        }

    # -- the copy on the disk ---------------------------------------------------------------

    @property
    def _path(self) -> Path:
        return self._store.path / INDEX_FILE

    @staticmethod
    def _empty() -> sqlite3.Connection:
        database = sqlite3.connect(":memory:", check_same_thread=False)
        database.executescript(_TABLES)
        return database

    def _loaded(self) -> sqlite3.Connection | None:
        """Return the copy of the disk in memory; None where there is none that can be used."""
        if not self._store.writable or not self._path.is_file():
            return None
        memory = sqlite3.connect(":memory:", check_same_thread=False)
        try:
            with contextlib.closing(_on_disk(self._path, "ro")) as disk:
                disk.backup(memory)
            found = dict(memory.execute("SELECT name, value FROM facts"))
            # Also that all of the tables can be read; what is damaged inside is found by reading.
            if found.get("version") == str(SCHEMA_VERSION) and found.get("run") == self._run_id():
                memory.execute("SELECT count(*), max(length(path)) FROM images").fetchone()
                return memory
        except (sqlite3.Error, OSError):
            pass
        memory.close()
        return None

    def _run_id(self) -> str:
        return str(self._store.header().get("id"))

    def save(self, *, always: bool = False) -> None:
        """Write the copy on the disk where enough is new."""
        with self._lock:
            if not self._save or not self._changes or self.save_failure is not None:
                return
            if not always and not self._is_due():
                return
            try:
                self._note_facts()
                self._write_copy()
            except (sqlite3.Error, OSError, RunError) as error:  # the folder may be out of reach
                self.save_failure = str(error)
            else:
                self._changes, self._saved_at = 0, time.monotonic()

    def _is_due(self) -> bool:
        """Whether so much is new, or the copy so old, that it is written again."""
        (rows,) = self._database.execute("SELECT count(*) FROM images").fetchone()
        waited = time.monotonic() - self._saved_at
        return bool(
            self._changes >= max(SAVE_CHANGES, rows // 10)
            or waited > max(SAVE_SECONDS, rows / 1000)
        )

    def _note_facts(self) -> None:
        """Write into the database what tells whether a copy of it can be used."""
        positions = {kind: position.read for kind, position in self._positions.items()}
        facts = {
            "version": str(SCHEMA_VERSION),
            "run": self._run_id(),
            "positions": json.dumps(positions),
        }
        self._database.executemany(
            "INSERT OR REPLACE INTO facts VALUES (?, ?)", list(facts.items())
        )
        self._database.commit()

    def _write_copy(self) -> None:
        with (
            writing_whole(self._path) as part,
            # Closed before the file gets its name: SQLite writes the rest when it closes.
            contextlib.closing(_on_disk(part, "rwc")) as disk,
        ):
            # It is a copy, which nobody reads before it has its name.
            disk.execute("PRAGMA journal_mode=OFF")
            disk.execute("PRAGMA synchronous=OFF")
            self._database.backup(disk)
            disk.execute("PRAGMA journal_mode=DELETE")

    def close(self) -> None:
        """Write the copy for the last time."""
        with self._lock:
            self.save(always=True)

    # -- keeping up with the files ----------------------------------------------------------

    def refresh(self) -> None:
        """Read what is new in the run's files, which are known by their names."""
        with self._lock:
            self._refresh_manifests()
            self._refresh_images()
            for kind in ("engines", "plan", "attempts", "ratings"):
                self.refresh_lines(kind)
            self._database.commit()

    def _refresh_manifests(self) -> None:
        there = set(self._store.names(MANIFESTS))
        known = {name for (name,) in self._database.execute("SELECT name FROM manifests")}
        for name in known - there:
            self._forget(name)
        self._database.execute("DELETE FROM unfit")
        entries = []
        fresh = [name for name in sorted(there - known) if parse_manifest_name(name) is not None]
        for name, data in self._store.read_all(MANIFESTS, fresh):
            try:
                if isinstance(data, OSError):
                    raise data
                entries.append(read_entry(name, data))
            except (OSError, TornManifest, RunError) as error:
                kind = "torn: " if isinstance(error, TornManifest) else ""
                self._database.execute(
                    "INSERT OR REPLACE INTO unfit VALUES (?, ?)", (name, f"{kind}{error}")
                )
            if len(entries) >= BATCH:
                self._insert(entries)
                entries.clear()
        self._insert(entries)

    def _refresh_images(self) -> None:
        """Find what no manifest lists, and what somebody has removed.

        That isn't shown, and its cell counts as missing.
        """
        there = set(self._store.names(IMAGES))
        listed = dict(
            self._database.execute("SELECT substr(path, ?), name FROM images", (len(IMAGES) + 2,))
        )
        self._unlisted = there - listed.keys()
        self._database.execute("DELETE FROM gone")
        self._database.executemany(
            "INSERT OR IGNORE INTO gone VALUES (?, ?)",
            [(f"{IMAGES}/{name}", listed[name]) for name in listed.keys() - there],
        )

    def refresh_lines(self, kind: str) -> None:
        """Read what is new in the lines of a kind."""
        with self._lock:
            position = self._positions.setdefault(kind, Position())
            lines = self._store.lines(kind, position)
            while records := list(itertools.islice(lines, BATCH)):
                self._take(kind, records)

    def add_lines(self, kind: str, added: Appended | None) -> None:
        """Take in lines that were just written, without reading them where all before is known."""
        with self._lock:
            position = self._positions.setdefault(kind, Position())
            if added is None or position.read.get(added.name, 0) != added.start:
                self.refresh_lines(kind)
                return
            records = map(parse_record, added.data.split(b"\n")[:-1])
            self._take(kind, [record for record in records if record is not None])
            position.read[added.name] = added.start + len(added.data)

    def _take(self, kind: str, records: Sequence[Mapping[str, Any]]) -> None:
        {
            "engines": self._take_engines,
            "plan": self._take_plan,
            "attempts": self._take_attempts,
            "ratings": self._take_ratings,
        }[kind](records)
        self._changes += len(records)

    def add(self, manifest: Manifest) -> None:
        """Take in a manifest, or a newer one of the same name."""
        entry = Entry.of(manifest)
        with self._lock:
            self._forget(entry.name)
            self._database.execute("DELETE FROM unfit WHERE name = ?", (entry.name,))
            self._insert([entry])

    def _insert(self, entries: Sequence[Entry]) -> None:
        self._database.executemany(
            "INSERT INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    entry.name,
                    entry.number,
                    entry.attempt,
                    entry.cell,
                    entry.tries,
                    int(entry.complete),
                    int(entry.edited),
                    int(entry.pending),
                    *self._as_changes(entry.parameters),
                )
                for entry in entries
            ],
        )
        self._database.executemany(
            "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(entry.number, entry.tries, entry.name, position),
                    *(image.path, image.number_in_request),
                    None if image.seed is None else str(image.seed),
                    bytes.fromhex(image.sha256),
                    *(image.bytes, image.width, image.height, image.format),
                    _packed(image.pixels_sha256),
                    _packed(image.dhash),
                )
                for entry in entries
                for position, image in enumerate(entry.images)
            ],
        )
        self._changes += len(entries)

    def _as_changes(self, given: Mapping[str, Any] | bytes) -> tuple[int, str]:
        """Return the base that parameters differ least from, and in what they differ, as text."""
        if not isinstance(given, bytes):
            return self._by_values(given)
        lines = given.split(b"\n")
        if (found := self._by_lines(lines)) is not None:
            return found
        try:
            values = dict(json.loads(given))
        except (TypeError, ValueError, RecursionError):
            return 0, ""  # its manifest will say
        base, changed = self._by_values(values)
        self._last = lines, base, json.loads(changed)
        return base, changed

    def _by_lines(self, lines: list[bytes]) -> tuple[int, str] | None:
        """Do the same for lines that mostly are those of an earlier manifest.

        Of 100,000 that takes seconds instead of their reading. None where it can't be said.
        """
        known, base, changed = self._last
        if len(lines) != len(known):
            return None
        pairs = [(old, new) for old, new in zip(known, lines, strict=True) if old != new]
        if len(pairs) + len(changed) > MAX_CHANGED:
            return None
        found = dict(changed)
        for pair in pairs:
            try:
                old, new = (json.loads(f"{{{line.strip(b' ,').decode()}}}") for line in pair)
            except ValueError:  # a line of a list
                return None
            if len(new) != 1 or old.keys() != new.keys():
                return None
            found |= new
        return base, json.dumps(found)

    def _by_values(self, parameters: Mapping[str, Any]) -> tuple[int, str]:
        for base, common in reversed(self._bases.items()):
            if common.keys() <= parameters.keys():
                changed = {
                    name: value
                    for name, value in parameters.items()
                    if value != (other := common.get(name, _NONE)) or type(value) is not type(other)
                }
                if len(changed) <= max(MAX_CHANGED, len(parameters) // 4):
                    return base, json.dumps(changed)
        row = self._one("SELECT coalesce(max(base), 0) + 1 FROM bases")
        base = int(row[0]) if row else 1
        text = json.dumps(dict(parameters))
        self._database.execute("INSERT OR REPLACE INTO bases VALUES (?, ?)", (base, text))
        self._bases[base] = dict(parameters)
        while len(self._bases) > MAX_BASES:
            del self._bases[next(iter(self._bases))]
        return base, "{}"

    def parameters(self, name: str) -> dict[str, Any] | None:
        """Return the parameters of a manifest; None where the index doesn't hold them."""
        with self._lock:
            row = self._one("SELECT base, changed FROM manifests WHERE name = ?", (name,))
            if row is None:
                return None
            try:
                return seeds_as_numbers({**self._base(int(row[0])), **json.loads(row[1])})
            except (LookupError, TypeError, ValueError):  # it is only an index
                return None

    def _base(self, base: int) -> dict[str, Any]:
        known = self._bases.get(base)
        if known is None:
            row = self._one("SELECT parameters FROM bases WHERE base = ?", (base,))
            if row is None:
                raise KeyError(base)
            known = dict(json.loads(row[0]))
            if len(self._bases) < MAX_BASES:
                self._bases = {base: known, **self._bases}
        return known

    def _last_bases(self) -> dict[int, dict[str, Any]]:
        rows = self._rows("SELECT * FROM bases ORDER BY base DESC LIMIT ?", (MAX_BASES,))
        with contextlib.suppress(TypeError, ValueError):  # it is only an index
            return {int(base): dict(json.loads(text)) for base, text in reversed(rows)}
        return {}

    def mark_torn(self, name: str) -> None:
        """Note that a manifest turned out to be torn; its images are listed by none."""
        self.mark_unfit(name, "torn: it is cut short")

    def mark_unfit(self, name: str, reason: str) -> None:
        """Note that a manifest turned out to be none; its images are listed by none."""
        with self._lock:
            self._forget(name)
            self._database.execute("INSERT OR REPLACE INTO unfit VALUES (?, ?)", (name, reason))
            self._refresh_images()

    def note_edited(self, manifest: Manifest, name: str) -> None:
        """Take in what a manifest's file says that turned out to be changed by hand."""
        with self._lock:
            if self._one("SELECT edited FROM manifests WHERE name = ?", (name,)) == (0,):
                self._forget(name)
                self._insert([Entry.of(manifest, name)])

    def _forget(self, name: str) -> None:
        found = self._database.execute(
            "SELECT number, tries FROM manifests WHERE name = ?", (name,)
        ).fetchone()
        if found is not None:
            self._database.execute(
                "DELETE FROM images WHERE number = ? AND tries = ? AND name = ?", (*found, name)
            )
            self._database.execute("DELETE FROM manifests WHERE name = ?", (name,))
            self._changes += 1

    # -- lines ------------------------------------------------------------------------------

    # Lines were written by us or by nobody knows whom: what isn't as it should be is left out.

    def _take_engines(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._database.executemany(
            "INSERT OR REPLACE INTO engines VALUES (?, ?)",
            [
                (record["engine"], json.dumps(record))
                for record in records
                if isinstance(record.get("engine"), str)
            ],
        )

    def _take_plan(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._database.executemany(
            "INSERT OR IGNORE INTO cells VALUES (?, ?, ?)",
            [
                (record["cell"], _number(record.get("number")), json.dumps(record))
                for record in records
                if isinstance(record.get("cell"), str)
            ],
        )
        self._database.executemany(
            "INSERT INTO sweeps (definition) VALUES (?)",
            [(json.dumps(record["sweep"]),) for record in records if "sweep" in record],
        )

    def _take_attempts(self, records: Sequence[Mapping[str, Any]]) -> None:
        cells: dict[str, tuple[str, str | None]] = {}
        # The last line of an attempt counts, and the first is needed while it has no other end.
        attempts: dict[str, list[Any]] = {}
        for record in records:
            event, cell, attempt = record.get("event"), record.get("cell"), record.get("attempt")
            if not isinstance(event, str):
                continue
            cell = cell if isinstance(cell, str) else None
            attempt = attempt if isinstance(attempt, str) and _ATTEMPT.fullmatch(attempt) else None
            if attempt is not None:
                row = attempts.setdefault(attempt, [attempt, None, 0, 1, "", "", None, None])
                error = record.get("error")
                row[1:7] = [
                    cell,
                    _number(record.get("number")),
                    _number(record.get("try")) or 1,
                    event,
                    str(record.get("time") or ""),
                    None if error is None else json.dumps(error),
                ]
                if event == "sent":
                    row[7] = record
            if cell is not None:
                cells[cell] = (event, attempt)
        for row in attempts.values():
            # What was made needs no line to be adopted by; the table stays small.
            row[7] = None if row[7] is None or row[4] == "made" else json.dumps(row[7])
        self._database.executemany(
            "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (attempt) "
            "DO UPDATE SET event = excluded.event, time = excluded.time, error = excluded.error, "
            "sent = CASE excluded.event WHEN 'made' THEN NULL "
            "ELSE coalesce(excluded.sent, sent) END",
            list(attempts.values()),
        )
        self._database.executemany(
            "INSERT OR REPLACE INTO cell_states VALUES (?, ?, ?)",
            [(cell, *state) for cell, state in cells.items()],
        )

    def _take_ratings(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._database.executemany(
            "INSERT OR REPLACE INTO ratings VALUES (?, ?, ?)",
            [
                (
                    record["image"],
                    rating if isinstance(rating := record.get("rating"), int) else None,
                    str(record.get("note") or ""),
                )
                for record in records
                if isinstance(record.get("image"), str)
            ],
        )

    # -- asking -----------------------------------------------------------------------------

    def _fact(self, name: str) -> str | None:
        row = self._one("SELECT value FROM facts WHERE name = ?", (name,))
        return None if row is None else str(row[0])

    def _one(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        with self._lock:
            row: tuple[Any, ...] | None = self._database.execute(query, values).fetchone()
            return row

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def image_places(self) -> list[tuple[str, int, str]]:
        """Return manifest name, position there and path of every image that is shown, in order."""
        query = "SELECT name, position, path FROM shown ORDER BY number, tries, name, position"
        return [(name, position, path) for name, position, path in self._rows(query)]

    def image(self, name: str, position: int) -> IndexedImage | None:
        """Return what is known of an image; None where its manifest has to be read."""
        row = self._one(
            f"{_INDEXED} WHERE name = ? AND position = ?",
            (name, position),
        )
        return _indexed(row)

    def images_of(self, name: str) -> list[IndexedImage | None]:
        """Return what is known of the images of a manifest, in order."""
        rows = self._rows(
            f"{_INDEXED} WHERE name = ? ORDER BY position",
            (name,),
        )
        return [_indexed(row) for row in rows]

    def image_count(self) -> int:
        """Return how many images are shown."""
        row = self._one("SELECT count(*) FROM shown")
        return int(row[0]) if row else 0

    def unlisted_images(self) -> set[str]:
        """Return the names of image files that no manifest listed at the last refresh."""
        return set(self._unlisted)

    def manifest_names(self) -> list[str]:
        """Return the names of all manifests, in order."""
        return [
            name
            for (name,) in self._rows("SELECT name FROM manifests ORDER BY number, tries, name")
        ]

    def names_of_cell(self, cell: str) -> list[str]:
        """Return the manifests of a cell, in order; the whole ones first."""
        return [
            name
            for (name,) in self._rows(
                "SELECT name FROM manifests WHERE cell = ? ORDER BY complete DESC, tries, name",
                (cell,),
            )
        ]

    def gone(self) -> list[str]:
        """Return the paths of images that manifests list and that aren't there.

        Those are left out whose cell was made again.
        """
        made = self.made_cells()
        rows = self._rows(
            "SELECT gone.path, manifests.cell FROM gone JOIN manifests USING (name) "
            "ORDER BY gone.path"
        )
        return [path for path, cell in rows if cell is None or cell not in made]

    def pending_names(self) -> list[str]:
        """Return the manifests of which something is still to be found out."""
        return [name for (name,) in self._rows("SELECT name FROM manifests WHERE pending = 1")]

    def edited_names(self) -> list[str]:
        """Return the manifests that were changed after they were written."""
        return [name for (name,) in self._rows("SELECT name FROM manifests WHERE edited = 1")]

    def unfit(self) -> dict[str, str]:
        """Return what cannot be read, by name, with the reason."""
        return dict(self._rows("SELECT name, reason FROM unfit"))

    def made_cells(self) -> set[str]:
        """Return the ids of the cells of which all images are there."""
        query = "SELECT DISTINCT cell FROM whole WHERE cell IS NOT NULL"
        return {cell for (cell,) in self._rows(query)}

    def is_made(self, cell: str) -> bool:
        """Whether all images of a cell are there."""
        return self._one("SELECT 1 FROM whole WHERE cell = ?", (cell,)) is not None

    def is_complete(self, name: str) -> bool:
        """Whether a manifest lists all images that were asked for."""
        query = "SELECT 1 FROM manifests WHERE name = ? AND complete = 1"
        return self._one(query, (name,)) is not None

    def is_whole(self, attempt: str) -> bool:
        """Whether a manifest lists all images of an attempt."""
        query = "SELECT 1 FROM manifests WHERE name LIKE ? AND attempt = ? AND complete = 1"
        return self._one(query, (f"%-{attempt[:8]}.json", attempt)) is not None

    def cell_count(self) -> int:
        """Return how many cells are planned."""
        row = self._one("SELECT count(*) FROM cells")
        return int(row[0]) if row else 0

    def cell_ids(self) -> list[str]:
        """Return the ids of all planned cells, in order."""
        return [cell for (cell,) in self._rows("SELECT cell FROM cells ORDER BY number, cell")]

    def cell(self, cell: str) -> tuple[dict[str, Any], str | None, int, Any] | None:
        """Return a cell's planned line, its last event, its attempts and its last error."""
        row = self._one(
            "SELECT plan, event, cell_states.attempt FROM cells LEFT JOIN cell_states USING (cell) "
            "WHERE cell = ?",
            (cell,),
        )
        if row is None:
            return None
        counted = self._one("SELECT count(*) FROM attempts WHERE cell = ?", (cell,))
        error = (
            self._one("SELECT error FROM attempts WHERE attempt = ?", (row[2],)) if row[2] else None
        )
        return (
            json.loads(row[0]),
            row[1],
            int(counted[0]) if counted else 0,
            json.loads(error[0]) if error and error[0] else None,
        )

    def cell_events(self) -> dict[str, str]:
        """Return the last event of every cell that has one."""
        return dict(self._rows("SELECT cell, event FROM cell_states"))

    def tries_of(self, cell: str) -> int:
        """Return how many attempts a cell has had."""
        row = self._one("SELECT coalesce(max(tries), 0) FROM attempts WHERE cell = ?", (cell,))
        return int(row[0]) if row else 0

    def attempts(self) -> list[tuple[str, str | None, int, int, str, str, Any]]:
        """Return every attempt: id, cell, number, try, last event, its time, and the error."""
        return [
            (*row[:6], json.loads(row[6]) if row[6] else None)
            for row in self._rows(
                "SELECT attempt, cell, number, tries, event, time, error FROM attempts "
                "ORDER BY number, tries, attempt"
            )
        ]

    def sent_lines(self, attempts: set[str]) -> dict[str, dict[str, Any]]:
        """Return the lines that were written before attempts were sent, by their first 8 digits."""
        found: dict[str, dict[str, Any]] = {}
        for short in attempts:
            row = self._one(
                "SELECT sent FROM attempts WHERE attempt >= ? AND attempt < ? AND sent IS NOT NULL",
                (short, short + "g"),
            )
            if row is not None:
                found[short] = json.loads(row[0])
        if attempts - found.keys():  # of what was made, the index holds none
            for line in self._store.lines("attempts", Position()):
                short = str(line.get("attempt"))[:8]
                if line.get("event") == "sent" and short in attempts:
                    found.setdefault(short, line)
        return found

    def open_attempts(self) -> list[dict[str, Any]]:
        """Return the lines of the attempts that were sent and of which nothing more is known."""
        return [
            json.loads(sent)
            for (sent,) in self._rows(
                "SELECT sent FROM attempts WHERE event = 'sent' AND sent IS NOT NULL"
            )
        ]

    def recent_attempts(self) -> list[dict[str, Any]]:
        """Return the lines of the attempts of which no end but an interruption is known."""
        return [
            json.loads(sent)
            for (sent,) in self._rows(
                "SELECT sent FROM attempts WHERE event IN ('sent', 'interrupted') "
                "AND sent IS NOT NULL"
            )
        ]

    def forget_unfit(self, name: str) -> None:
        """Forget a manifest that could not be read, because it is gone."""
        with self._lock:
            self._database.execute("DELETE FROM unfit WHERE name = ?", (name,))

    def engine(self, key: str) -> dict[str, Any] | None:
        """Return a line of ``engines.jsonl``."""
        row = self._one("SELECT content FROM engines WHERE engine = ?", (key,))
        return None if row is None else json.loads(row[0])

    def engines(self) -> list[dict[str, Any]]:
        """Return all lines of ``engines.jsonl``."""
        return [json.loads(content) for (content,) in self._rows("SELECT content FROM engines")]

    def sweeps(self) -> list[Any]:
        """Return the definitions of the sweeps, in the order of their coming."""
        return [
            json.loads(definition)
            for (definition,) in self._rows("SELECT definition FROM sweeps ORDER BY position")
        ]

    def rating(self, image: str) -> tuple[int | None, str]:
        """Return an image's rating and note."""
        row = self._one("SELECT rating, note FROM ratings WHERE image = ?", (image,))
        return (None, "") if row is None else (row[0], row[1])

    def ratings(self) -> dict[str, tuple[int | None, str]]:
        """Return all ratings and notes, by image."""
        return {
            image: (rating, note)
            for image, rating, note in self._rows("SELECT image, rating, note FROM ratings")
        }

    def last_number(self) -> int:
        """Return the largest number that is taken."""
        row = self._one(
            "SELECT max(coalesce((SELECT max(number) FROM manifests), 0), "
            "coalesce((SELECT max(number) FROM cells), 0), "
            "coalesce((SELECT max(number) FROM attempts), 0))"
        )
        return int(row[0]) if row else 0


#: What of an image is asked for.
_INDEXED = (
    "SELECT name, position, cell, path, number_in_request, seed, sha256, bytes, width, height, "
    "format, pixels_sha256, dhash FROM manifests JOIN images USING (number, tries, name)"
)


@dataclass(frozen=True)
class IndexedImage:
    """What an index knows of an image: its manifest, its place there, its cell and its record.

    The record lacks the texts of the prompts, which only the manifest has.
    """

    name: str
    position: int
    cell: str | None
    record: ImageRecord


def _indexed(row: tuple[Any, ...] | None) -> IndexedImage | None:
    """Return what a row says; None where it can't be: somebody else may have made the index."""
    if row is None:
        return None
    name, position, cell, path, number, seed, sha256, size, width, height, kind, pixels, dhash = row
    try:
        record = image_record(
            {
                "path": path,
                "number_in_request": number,
                "seed": seed,
                "sha256": sha256.hex(),
                "bytes": size,
                "width": width,
                "height": height,
                "format": kind,
                "pixels_sha256": None if pixels is None else pixels.hex(),
                "dhash": None if dhash is None else dhash.hex(),
            }
        )
    except (AttributeError, TypeError, ValueError):
        return None
    return IndexedImage(name, position, cell, record)


def _packed(digest: str | None) -> bytes | None:
    return None if digest is None else bytes.fromhex(digest)


def _number(value: object) -> int:
    """Return a number of a line as SQLite can hold it; 0 for anything else."""
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return int(value) if whole else 0  # type: ignore[call-overload]


def _on_disk(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database without any lock: nobody writes to a file that has its name."""
    uri = f"file:{pathname2url(str(path))}?mode={mode}&nolock=1"
    if mode == "ro":
        uri += "&immutable=1"
    return sqlite3.connect(uri, uri=True, timeout=1.0)
