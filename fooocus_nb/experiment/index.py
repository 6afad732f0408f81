"""The index of a run: what its files say, in SQLite. It can be thrown away at any moment.

The database lives in memory. Its file is a copy that is written aside and renamed, so it is never
seen half written, needs no lock, and cannot make anybody wait for one: SQLite's own locks and its
write-ahead log don't work on the network shares where notebooks often live. What is newer than the
copy is read from the run's own files, which are found by their names.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.request import pathname2url

from fooocus_nb.errors import RunError
from fooocus_nb.experiment.folder import (
    MANIFESTS,
    Position,
    parse_manifest_name,
)
from fooocus_nb.experiment.manifest import Manifest, TornManifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fooocus_nb.experiment.folder import RunStore

__all__ = ["INDEX_FILE", "RunIndex"]

INDEX_FILE = "index.sqlite"
#: Of the tables below; an index of another version is made anew.
SCHEMA_VERSION = 1
#: How many changes are collected, and for how many seconds, before the copy is written again. A
#: copy of a large index takes its time, so it also waits for a tenth of the index to be new.
SAVE_CHANGES, SAVE_SECONDS = 50, 20.0
_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE manifests (
    name TEXT PRIMARY KEY, number INTEGER, attempt TEXT, cell TEXT, tries INTEGER,
    complete INTEGER, edited INTEGER, pending INTEGER
) WITHOUT ROWID;
CREATE INDEX manifests_cell ON manifests (cell);
CREATE TABLE images (
    number INTEGER, tries INTEGER, name TEXT, position INTEGER, path TEXT, sha256 TEXT,
    PRIMARY KEY (number, tries, name, position)
) WITHOUT ROWID;
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
"""
#: The images of one cell are those of its whole generations, and else what there is.
_SHOWN = (
    "FROM images JOIN manifests USING (name) WHERE complete = 1 OR manifests.cell IS NULL "
    "OR manifests.cell NOT IN "
    "(SELECT cell FROM manifests WHERE complete = 1 AND cell IS NOT NULL)"
)


class RunIndex:
    """What the files of a run say, kept up with them. Safe from any thread.

    Parameters
    ----------
    store : RunStore
        The run.
    save : bool
        Whether the copy on the disk is kept up as well: for who holds the lease.
    """

    def __init__(self, store: RunStore, *, save: bool) -> None:
        self._store = store
        self._save = save
        self._lock = threading.RLock()
        self._database = self._loaded() or self._empty()
        self._changes = 0
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
            (rows,) = self._database.execute("SELECT count(*) FROM images").fetchone()
            enough = self._changes >= max(SAVE_CHANGES, rows // 10)
            if not (
                always
                or enough
                or time.monotonic() - self._saved_at > max(SAVE_SECONDS, rows / 1000)
            ):
                return
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
            part = self._path.with_name(f".part-{secrets.token_hex(8)}")
            try:
                with contextlib.closing(_on_disk(part, "rwc")) as disk:
                    # It is a copy, which nobody reads before it has its name.
                    disk.execute("PRAGMA journal_mode=OFF")
                    disk.execute("PRAGMA synchronous=OFF")
                    self._database.backup(disk)
                    disk.execute("PRAGMA journal_mode=DELETE")
                part.replace(self._path)
            except (sqlite3.Error, OSError) as error:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
                self.save_failure = str(error)
            else:
                self._changes, self._saved_at = 0, time.monotonic()

    def close(self) -> None:
        """Write the copy for the last time."""
        with self._lock:
            self.save(always=True)

    # -- keeping up with the files ----------------------------------------------------------

    def refresh(self) -> None:
        """Read what is new in the run's files, which are known by their names."""
        with self._lock:
            self._refresh_manifests()
            for kind in ("engines", "plan", "attempts", "ratings"):
                self.refresh_lines(kind)
            self._database.commit()

    def _refresh_manifests(self) -> None:
        there = {name for name in self._store.names(MANIFESTS) if parse_manifest_name(name)}
        known = {name for (name,) in self._database.execute("SELECT name FROM manifests")}
        for name in known - there:
            self._forget(name)
        self._database.executemany(
            "DELETE FROM unfit WHERE name = ?",
            [(name,) for (name,) in self._database.execute("SELECT name FROM unfit")],
        )
        for name in sorted(there - known):
            try:
                self.add(Manifest.from_json(self._store.read(f"{MANIFESTS}/{name}")), name)
            except (OSError, TornManifest, RunError) as error:
                kind = "torn: " if isinstance(error, TornManifest) else ""
                self._database.execute(
                    "INSERT OR REPLACE INTO unfit VALUES (?, ?)", (name, f"{kind}{error}")
                )

    def refresh_lines(self, kind: str) -> None:
        """Read what is new in the lines of a kind."""
        take = {
            "engines": self._take_engine,
            "plan": self._take_plan,
            "attempts": self._take_attempt,
            "ratings": self._take_rating,
        }[kind]
        with self._lock:
            position = self._positions.setdefault(kind, Position())
            for record in self._store.lines(kind, position):
                with contextlib.suppress(KeyError, TypeError, ValueError, sqlite3.Error):
                    take(record)
                self._changes += 1

    def add(self, manifest: Manifest, name: str | None = None) -> None:
        """Take in a manifest, or a newer one of the same name."""
        name = name or manifest.name
        with self._lock:
            self._forget(name)
            self._database.execute("DELETE FROM unfit WHERE name = ?", (name,))
            self._database.execute(
                "INSERT INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    name,
                    manifest.number,
                    manifest.attempt,
                    manifest.cell,
                    manifest.tries,
                    int(manifest.complete),
                    int(manifest.edited),
                    int(bool(manifest.pending)),
                ),
            )
            self._database.executemany(
                "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (manifest.number, manifest.tries, name, position, image.path, image.sha256)
                    for position, image in enumerate(manifest.images)
                ],
            )
            self._changes += 1

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

    def _take_engine(self, record: Mapping[str, Any]) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO engines VALUES (?, ?)",
            (str(record["engine"]), json.dumps(record)),
        )

    def _take_plan(self, record: Mapping[str, Any]) -> None:
        if "cell" in record:
            self._database.execute(
                "INSERT OR IGNORE INTO cells VALUES (?, ?, ?)",
                (str(record["cell"]), int(record["number"]), json.dumps(record)),
            )
        elif "sweep" in record:
            self._database.execute(
                "INSERT INTO sweeps (definition) VALUES (?)", (json.dumps(record["sweep"]),)
            )

    def _take_attempt(self, record: Mapping[str, Any]) -> None:
        event = str(record["event"])
        cell = record.get("cell")
        cell = None if cell is None else str(cell)
        attempt = record.get("attempt")
        if attempt is not None:
            error = record.get("error")
            self._database.execute(
                "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (attempt) "
                "DO UPDATE SET event = excluded.event, time = excluded.time, "
                "error = excluded.error, sent = coalesce(excluded.sent, sent)",
                (
                    str(attempt),
                    cell,
                    int(record.get("number") or 0),
                    int(record.get("try") or 1),
                    event,
                    str(record.get("time") or ""),
                    None if error is None else json.dumps(error),
                    json.dumps(record) if event == "sent" else None,
                ),
            )
            if event not in ("sent", "failed"):
                # What was made needs no line to be adopted by; the table stays small.
                self._database.execute(
                    "UPDATE attempts SET sent = NULL WHERE attempt = ? AND ? = 'made'",
                    (str(attempt), event),
                )
        if cell is not None:
            self._database.execute(
                "INSERT OR REPLACE INTO cell_states VALUES (?, ?, ?)",
                (cell, event, None if attempt is None else str(attempt)),
            )

    def _take_rating(self, record: Mapping[str, Any]) -> None:
        rating, note = record.get("rating"), record.get("note")
        self._database.execute(
            "INSERT OR REPLACE INTO ratings VALUES (?, ?, ?)",
            (
                str(record["image"]),
                rating if isinstance(rating, int) else None,
                "" if note is None else str(note),
            ),
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

    def image_paths(self) -> list[tuple[str, str]]:
        """Return manifest name and path of every image that is shown, in order."""
        return self._rows(
            f"SELECT name, path {_SHOWN} ORDER BY images.number, images.tries, name, position"
        )

    def image_count(self) -> int:
        """Return how many images are shown."""
        row = self._one(f"SELECT count(*) {_SHOWN}")
        return int(row[0]) if row else 0

    def all_image_paths(self) -> Iterator[str]:
        """Yield the path of every image that a manifest lists."""
        return (path for (path,) in self._rows("SELECT path FROM images"))

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
        return {
            cell
            for (cell,) in self._rows(
                "SELECT DISTINCT cell FROM manifests WHERE complete = 1 AND cell IS NOT NULL"
            )
        }

    def is_made(self, cell: str) -> bool:
        """Whether all images of a cell are there."""
        return (
            self._one("SELECT 1 FROM manifests WHERE cell = ? AND complete = 1", (cell,))
            is not None
        )

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

    def sent_line(self, attempt: str) -> dict[str, Any] | None:
        """Return the line that was written before an attempt was sent; 8 digits will do."""
        row = self._one(
            "SELECT sent FROM attempts WHERE attempt >= ? AND attempt < ? AND sent IS NOT NULL",
            (attempt, attempt + "g"),
        )
        return None if row is None else json.loads(row[0])

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


def _on_disk(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database without any lock: nobody writes to a file that has its name."""
    uri = f"file:{pathname2url(str(path))}?mode={mode}&nolock=1"
    if mode == "ro":
        uri += "&immutable=1"
    return sqlite3.connect(uri, uri=True, timeout=1.0)
