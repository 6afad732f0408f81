"""A run: images that know how they were made, in one folder that people can read and copy."""

from __future__ import annotations

import contextlib
import html
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, overload

from fooocus_nb.errors import (
    DiskFull,
    OutputError,
    ParameterError,
    RunError,
    RunLocked,
    RunWarning,
    warn_user,
)
from fooocus_nb.experiment.folder import IMAGES, INPUTS, MANIFESTS, RunFolder, now, resolved
from fooocus_nb.experiment.identity import plain_number
from fooocus_nb.experiment.index import RunIndex
from fooocus_nb.experiment.lease import Lease
from fooocus_nb.experiment.manifest import Manifest, TornManifest, seeds_as_numbers
from fooocus_nb.experiment.members import Failure, RunCell, RunImage, RunImages, counted
from fooocus_nb.experiment.opened import tell_opened
from fooocus_nb.experiment.recorder import (
    CLOSE_TIMEOUT,
    Recorder,
    current_recorder,
    set_current,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from types import TracebackType

    from pandas import DataFrame

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.experiment.compare import Comparison
    from fooocus_nb.experiment.contact_sheet import ContactSheet
    from fooocus_nb.experiment.folder import RunStore
    from fooocus_nb.experiment.index import IndexedImage
    from fooocus_nb.experiment.lease import Holder
    from fooocus_nb.experiment.pool import Pool
    from fooocus_nb.experiment.share import Share
    from fooocus_nb.experiment.table import Table
    from fooocus_nb.experiment.verification import Verification
    from fooocus_nb.results._views import RunGrid

__all__ = ["Failure", "Run", "RunCell", "RunImage", "RunImages", "current_run", "open_run"]

#: Manifests that are kept in memory, some 10 KB each.
CACHED_MANIFESTS = 2000
MAX_RATING = 5
MAX_NOTE = 10_000
#: How many notices are shown; all are in `Run.notices`.
MAX_NOTICES = 5
#: What ends a cell's being missing.
_ENDED = {"failed": "failed", "skipped": "skipped"}


class _Cells(Mapping[str, RunCell]):
    """The planned cells of a run, by id, in the order of the plan."""

    def __init__(self, run: Run, index: RunIndex) -> None:
        self._run = run
        self._index = index

    def __len__(self) -> int:
        return self._index.cell_count()

    def __iter__(self) -> Iterator[str]:
        return iter(self._index.cell_ids())

    def __contains__(self, cell: object) -> bool:
        return isinstance(cell, str) and self._index.cell(cell) is not None

    def __getitem__(self, cell: str) -> RunCell:
        found = self._index.cell(cell)
        if found is None:
            raise KeyError(cell)
        plan, event, tries, error = found
        made = self._index.is_made(cell)
        state = "made" if made else _ENDED.get(event or "", "missing")
        values = plan.get("values")
        return RunCell(
            id=cell,
            number=int(plan["number"]),
            values=seeds_as_numbers(values if isinstance(values, dict) else {}),
            state=state,
            tries=tries,
            error=error if state == "failed" else None,
            axes=seeds_as_numbers(axes if isinstance(axes := plan.get("axes"), dict) else {}),
        )

    def __repr__(self) -> str:
        return f"<{counted(len(self), 'cell')} of {self._run.path.name!r}>"


class Run:
    """A run: images that know how they were made, with ratings and notes.

    Made by :func:`open_run`. As a context manager it records everything that this kernel generates
    inside of the block, and closes at its end.

    Attributes
    ----------
    path : Path
        Its folder, or its archive.
    id : str
        Its own, which a copy keeps.
    readonly : bool
        Whether it can only be read here.
    holder : Holder or None
        Who writes to it, where that isn't this kernel.
    """

    def __init__(
        self, store: RunStore, lease: Lease | None, *, holder: Holder | None = None, why: str = ""
    ) -> None:
        self.store = store
        self.path = store.path
        self.id = str(store.header()["id"])
        self.holder = holder
        self._why = why
        self._lease = lease
        self._lost = ""
        self._closed = self._closing = False
        self._depth = 0
        self._before: list[Recorder | None] = []
        self._lock = threading.RLock()
        self._manifests: OrderedDict[str, Manifest] = OrderedDict()
        self._problems: list[str] = []
        # Who had to be forced out may have ended with its machine, and what it wrote last with it.
        fresh = lease is not None and lease.forced
        self._index = RunIndex(store, save=lease is not None, fresh=fresh)
        self._index.refresh()
        self._recorder: Recorder | None = None
        if lease is not None and isinstance(store, RunFolder):
            self._recorder = Recorder(store, self._index, self.id, held=lambda: lease.held)
            self._recorder.recorded.subscribe(self._keep)
            self._recorder.recover()
            self._index.save()

    # -- what it is -------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<Run {str(self.path)!r}: {', '.join(self.facts())}>"

    def _repr_html_(self) -> str:
        name, *facts = (html.escape(text) for text in (str(self.path), *self.facts()))
        notices = "".join(f"<li>{html.escape(text)}</li>" for text in self.notices[:MAX_NOTICES])
        listed = f"<ul>{notices}</ul>" if notices else ""
        return f"<div><b>Run</b> <code>{name}</code>: {', '.join(facts)}.{listed}</div>"

    def facts(self) -> list[str]:
        """Return what there is to say of it, in a few words each."""
        facts = [counted(self._index.image_count(), "image")]
        counts = self.counts
        if counts["planned"]:
            facts.append(
                f"{counts['made']} of {counted(counts['planned'], 'cell')} made"
                + "".join(
                    f", {counts[state]} {state}" for state in ("failed", "skipped") if counts[state]
                )
            )
        if self._closed:
            facts.append("closed")
        elif self.readonly:
            facts.append(f"only to be read: {self._reason()}")
        elif self.recording:
            facts.append("records what this kernel generates")
        return facts

    @property
    def readonly(self) -> bool:
        """Whether it can only be read here: it is held elsewhere, closed, or an archive."""
        return self._closed or self._lease is None or not self._lease.held

    @property
    def recording(self) -> bool:
        """Whether what this kernel generates becomes part of it."""
        return self._recorder is not None and current_recorder() is self._recorder

    @property
    def recorder(self) -> Recorder:
        """What writes down attempts and manifests, for sweeps and the like.

        Raises
        ------
        RunLocked
            When the run can only be read here.
        """
        self._require_writable()
        if self._recorder is None:
            raise RunLocked(self._reason())
        return self._recorder

    @property
    def index(self) -> RunIndex:
        """What its files say, to be searched."""
        return self._index

    def _reason(self) -> str:
        if self._closed:
            return "it is closed"
        if self._lost:
            return self._lost
        if self.holder is not None:
            return f"{self.holder} writes to it"
        return self._why or "it can only be read"

    def _require_writable(self) -> None:
        if self.readonly:
            msg = f"The run {self.path} can only be read here: {self._reason()}."
            if self.holder is not None and not self.holder.judged:
                msg += (
                    " If you know that it has ended, open the run with "
                    "fooocus_nb.open_run(folder, force=True)."
                )
            raise RunLocked(msg)

    def lost(self, why: str) -> None:
        """Note that the lease is lost: from now on it can only be read."""
        self._lost = why

    @property
    def notices(self) -> tuple[str, ...]:
        """What is damaged, was changed by hand, or could not be recorded, in sentences."""
        found = list(self._problems)
        if self._recorder is not None:
            found += self._recorder.problems
        for name in self._index.edited_names()[:100]:
            found.append(
                f"{MANIFESTS}/{name} was changed after it was written: its checksum doesn't fit. "
                "What it says is shown all the same, and isn't proven."
            )
        for name, reason in list(self._index.unfit().items())[:100]:
            found.append(f"{MANIFESTS}/{name} is left out: {reason.removeprefix('torn: ')}")
        if self._index.save_failure is not None:
            found.append(
                f"The index can't be kept in the folder ({self._index.save_failure}), so it is "
                "made anew at each opening. Nothing is lost by that."
            )
        return tuple(found)

    # -- what is in it ----------------------------------------------------------------------

    @property
    def images(self) -> RunImages:
        """All whole images, in the order of their numbers; see :class:`RunImage`."""
        return RunImages(self, self._index.image_places())

    @property
    def manifests(self) -> Iterator[Manifest]:
        """Every manifest, in the order of their numbers."""
        return (self.manifest(name) for name in self._index.manifest_names())

    @property
    def cells(self) -> Mapping[str, RunCell]:
        """The planned cells of its sweeps, by id, in the order of the plan."""
        return _Cells(self, self._index)

    @property
    def sweeps(self) -> list[Any]:
        """The definitions of the sweeps that were run in it, the oldest first."""
        return self._index.sweeps()

    @property
    def failures(self) -> list[Failure]:
        """What has failed and wasn't made since."""
        made = self._index.made_cells()
        events = self._index.cell_events()
        return [
            Failure(cell, attempt, number, tries, time, error or {})
            for attempt, cell, number, tries, event, time, error in self._index.attempts()
            if event == "failed"
            and (cell is None or (cell not in made and events.get(cell) == "failed"))
        ]

    @property
    def missing(self) -> list[RunCell]:
        """The planned cells that are neither made nor failed nor skipped."""
        made, events = self._index.made_cells(), self._index.cell_events()
        return [
            self.cells[cell]
            for cell in self._index.cell_ids()
            if cell not in made and events.get(cell) not in _ENDED
        ]

    @property
    def counts(self) -> dict[str, int]:
        """How many cells are ``planned``, ``made``, ``failed``, ``skipped`` and ``missing``.

        The first is the sum of the others.
        """
        made, events = self._index.made_cells(), self._index.cell_events()
        counts = {"planned": 0, "made": 0, "failed": 0, "skipped": 0, "missing": 0}
        for cell in self._index.cell_ids():
            state = "made" if cell in made else _ENDED.get(events.get(cell, ""), "missing")
            counts["planned"] += 1
            counts[state] += 1
        return counts

    def is_made(self, cell: str) -> bool:
        """Whether all images of a cell are there, by the id of the cell."""
        return self._index.is_made(cell)

    def made_cells(self) -> set[str]:
        """Return the ids of all cells whose images are there."""
        return self._index.made_cells()

    def images_of(self, cell: str) -> list[RunImage]:
        """Return the images of a cell, by its id; those of whole generations, else what is there.

        Parameters
        ----------
        cell : str
            The cell's id.

        Returns
        -------
        list of RunImage
            In order.
        """
        names = self._index.names_of_cell(cell)
        chosen = [name for name in names if self._index.is_complete(name)] or names
        return [image for name in chosen for image in self._images_in(name)]

    def _images_in(self, name: str) -> list[RunImage]:
        """Return the images of a manifest, which is read only where the index doesn't know them."""
        known = self._index.images_of(name)
        if known and all(known):
            return [self._image(one) for one in known if one is not None]
        manifest = self.manifest(name)
        return [RunImage(self, name, manifest.cell, record) for record in manifest.images]

    def _image(self, known: IndexedImage) -> RunImage:
        return RunImage(self, known.name, known.cell, known.record)

    def image(self, key: str) -> RunImage:
        """Return an image by its key.

        Parameters
        ----------
        key : str
            Such as ``000012-1a2b3c4d-1``.

        Returns
        -------
        RunImage
            The image.

        Raises
        ------
        RunError
            When there is none of that key.
        """
        name = key.rpartition("-")[0] + ".json"
        with contextlib.suppress(RunError, ValueError):
            for image in self._images_in(name):
                if image.key == key:
                    return image
        msg = f"The run {self.path} has no image {key[:80]!r}."
        raise RunError(msg)

    def manifest(self, name: str) -> Manifest:
        """Return a manifest by its file name, such as ``000012-1a2b3c4d.json``.

        Parameters
        ----------
        name : str
            The file's name.

        Returns
        -------
        Manifest
            What it says.

        Raises
        ------
        RunError
            When it isn't there, or is damaged.
        """
        with self._lock:
            if (found := self._manifests.get(name)) is not None:
                self._manifests.move_to_end(name)
                return found
        try:
            found = self._read(name)
        except (OSError, TornManifest) as error:
            # The index goes by names, so one that a power cut has torn is noticed only now.
            found_again = self._recovered(name)
            if found_again is None:
                msg = f"The manifest {name[:80]} of the run {self.path} can't be read: {error}"
                raise RunError(msg) from error
            found = found_again
        except RunError as error:
            # The same holds for one that somebody has changed since.
            self._index.mark_unfit(name, str(error))
            msg = f"The manifest {name[:80]} of the run {self.path} can't be read: {error}"
            raise RunError(msg) from error
        if found.edited:
            self._index.note_edited(found, name)
        return self._keep_read(found, name)

    def _read(self, name: str) -> Manifest:
        return Manifest.from_json(self.store.read(f"{MANIFESTS}/{name}"))

    def _recovered(self, name: str) -> Manifest | None:
        """Return a torn manifest as it is adopted anew; None where that isn't possible."""
        self._index.mark_torn(name)
        if self._recorder is None or self.readonly:
            return None
        with contextlib.suppress(OSError, TornManifest, OutputError, DiskFull):
            self._recorder.recover()
            return self._read(name)
        return None

    def _keep(self, manifest: Manifest) -> None:
        """Remember a manifest that was written just now."""
        with self._lock:
            self._manifests[manifest.name] = manifest
            self._forget_oldest()

    def _keep_read(self, manifest: Manifest, name: str) -> Manifest:
        """Remember a manifest that was read, unless a newer one was written meanwhile."""
        with self._lock:
            kept = self._manifests.setdefault(name, manifest)
            self._forget_oldest()
            return kept

    def _forget_oldest(self) -> None:
        while len(self._manifests) > CACHED_MANIFESTS:
            self._manifests.popitem(last=False)

    def image_at(self, name: str, position: int) -> RunImage:
        """Return the image at a place of a manifest, from 0."""
        known = self._index.image(name, position)
        if known is not None:
            return self._image(known)
        images = self._images_in(name)
        if position < len(images):
            return images[position]
        msg = f"The manifest {name} doesn't list image {position + 1} any more: open the run again."
        raise RunError(msg)

    def parameters_of(self, name: str) -> Mapping[str, Any]:
        """Return the parameters of a manifest, which is read only where the index has none."""
        known = self._index.parameters(name)
        return self.manifest(name).parameters if known is None else known

    def refresh(self) -> None:
        """Look for what another kernel has written meanwhile, where this one only reads."""
        with self._lock:
            if self.readonly:
                self._manifests.clear()
        self._index.refresh()

    def subscribe(self, listener: Callable[[Manifest], None]) -> Callable[[], None]:
        """Call `listener` with each manifest that this kernel writes into the run.

        Parameters
        ----------
        listener : callable
            Gets a :class:`Manifest`, on any thread, and once more when its hashes are known; it
            must return at once.

        Returns
        -------
        callable
            Ends the subscription.
        """
        return self.recorder.recorded.subscribe(listener)

    # -- plans ------------------------------------------------------------------------------

    def add_sweep(self, definition: Mapping[str, Any]) -> None:
        """Write the definition of a sweep into the plan.

        Parameters
        ----------
        definition : mapping
            As JSON can hold it; seeds as strings.

        Raises
        ------
        RunLocked
            When the run can only be read here.
        """
        self._append("plan", {"sweep": dict(definition), "time": now()})

    def add_cells(
        self, cells: Iterable[tuple[str, int, Mapping[str, Any], Mapping[str, Any]]]
    ) -> int:
        """Write cells into the plan; those that are there already are left as they are.

        Parameters
        ----------
        cells : iterable of (str, int, mapping, mapping)
            Id, number, values and places on the axes of each, as JSON can hold them; seeds as
            strings.

        Returns
        -------
        int
            How many were added.
        """
        known = set(self._index.cell_ids())
        records = []
        for cell, number, values, axes in cells:
            if cell not in known:
                known.add(cell)
                records.append(
                    {"cell": cell, "number": number, "values": dict(values), "axes": dict(axes)}
                )
        self._append("plan", *records)
        return len(records)

    def retry(self, engine: Any = None, *, on_error: Any = "continue", mix: bool = False) -> int:
        """Make the failed cells again, or let the sweep make them when it is run next.

        Parameters
        ----------
        engine : Engine, pool or executor, optional
            Who makes them now. Without one they only count as missing again.
        on_error : {"continue", "stop"} or callable
            As :meth:`Sweep.run` takes it. Default ``"continue"``.
        mix : bool
            As :meth:`Sweep.run` takes it. Default False.

        Returns
        -------
        int
            How many they are.

        Raises
        ------
        RunLocked
            When the run can only be read here.
        RunError
            When the engine is another one than made the run's cells so far.
        ParameterError
            When a cell begins with an image that is not in the run.
        """
        cells = list(dict.fromkeys(one.cell for one in self.failures if one.cell is not None))
        if engine is not None and cells:
            from fooocus_nb.experiment.making import Options, retry_failed

            retry_failed(self, engine, Options(on_error=on_error, mix=mix))
        else:
            self.mark_missing(cells)
        return len(cells)

    def mark_missing(self, cells: Iterable[str]) -> None:
        """Let planned cells that have failed or were skipped count as missing."""
        self._append(
            "attempts",
            *({"attempt": None, "cell": cell, "event": "retry", "time": now()} for cell in cells),
        )

    def mark_skipped(self, cell: str) -> None:
        """Let a planned cell count as skipped."""
        self._append("attempts", {"attempt": None, "cell": cell, "event": "skipped", "time": now()})

    def _append(self, kind: str, *records: Mapping[str, Any]) -> None:
        self._require_writable()
        if isinstance(self.store, RunFolder):
            self.store.append(kind, *records)
            self._index.refresh_lines(kind)

    # -- ratings ----------------------------------------------------------------------------

    def rate(self, image: RunImage | str, rating: int | None, note: str | None = None) -> None:
        """Rate an image, from 0 to 5, and note something about it.

        Parameters
        ----------
        image : RunImage or str
            The image, or its key.
        rating : int or None
            From 0 to 5; None takes a rating back.
        note : str, optional
            A text; by default the one that is there stays, and an empty one removes it.

        Raises
        ------
        ParameterError
            When it is another rating.
        RunLocked
            When the run can only be read here.
        """
        rating = plain_number(rating)
        if rating is not None and (
            isinstance(rating, bool) or not isinstance(rating, int) or not 0 <= rating <= MAX_RATING
        ):
            msg = f"rating={rating!r} is not possible: give a whole number from 0 to 5, or None."
            raise ParameterError(msg)
        key = image if isinstance(image, str) else image.key
        if isinstance(image, str):
            self.image(key)
        text = self._index.rating(key)[1] if note is None else str(note)
        if len(text) > MAX_NOTE:
            msg = f"note= has {len(text):,} characters, and must have {MAX_NOTE:,} at most."
            raise ParameterError(msg)
        self._append("ratings", {"image": key, "rating": rating, "note": text, "time": now()})

    def rating_of(self, key: str) -> tuple[int | None, str]:
        """Return rating and note of an image by its key."""
        return self._index.rating(key)

    # -- looking at it ----------------------------------------------------------------------

    def grid(self, x: str | None = None, y: str | None = None, z: str | None = None) -> RunGrid:
        """Show all images as a labelled grid: to zoom, compare, filter, rate and go on from.

        Parameters
        ----------
        x, y, z : str, optional
            The axes that are columns, rows and blocks, by canonical or short name. What is not
            given is chosen; all can be changed in the grid.

        Returns
        -------
        RunGrid
            Show it as the last value of a cell. A saved notebook keeps a contact sheet of 60
            images at the most.

        Raises
        ------
        ParameterError
            When the images do not differ in such a parameter, or one is named twice.

        Examples
        --------
        >>> run.grid(x="guidance_scale", y="seed")
        """
        from fooocus_nb.results._views import open_run_grid

        return open_run_grid(self, x=x, y=y, z=z)

    def contact_sheet(
        self,
        path: str | os.PathLike[str],
        *,
        x: str | None = None,
        y: str | None = None,
        z: str | None = None,
        tile: int = 256,
        title: str | None = None,
        font: str | os.PathLike[str] | None = None,
    ) -> ContactSheet:
        """Write all images on one labelled sheet, or on several where one would be too large.

        Parameters
        ----------
        path : path-like
            Where to: ``.png``, ``.jpg`` or ``.webp``; a file that is there is replaced. Several
            sheets get a number behind the name.
        x, y, z : str, optional
            The axes that are columns, rows and blocks. What is not given is chosen.
        tile : int, optional
            The longer side of an image on it, 32 to 1024 pixels; less where the sheet would
            exceed what its format or Pillow takes. Default 256.
        title : str, optional
            The heading. Default: the name of the run's folder.
        font : path-like, optional
            A font file. Default: Pillow's own, and fonts of this machine for what that lacks.

        Returns
        -------
        ContactSheet
            The files, with a note on what was made smaller or has no font.

        Raises
        ------
        ParameterError
            When an axis, the suffix, `tile` or `font` is not possible, or there is no image.
        OutputError
            When it cannot be written; the run stays as it is.
        """
        from fooocus_nb.experiment.contact_sheet import run_sheet

        return run_sheet(self, path, axes=(x, y, z), tile=tile, title=title, font=font)

    def table(self, *, every: bool = False, planned: bool = False) -> Table:
        """Return the run as a table: one row for each image.

        Parameters
        ----------
        every : bool, optional
            Whether there is a column for every parameter, not only for those that differ. Default
            False.
        planned : bool, optional
            Whether there are rows for planned cells without an image, too. Default False.

        Returns
        -------
        Table
            Seeds are text. ``.to_csv(path)`` writes it, ``.to_pandas()`` hands it on.
        """
        from fooocus_nb.experiment.run_table import run_table

        return run_table(self, every=every, planned=planned)

    def to_pandas(self, *, every: bool = False, planned: bool = False) -> DataFrame:
        """Return the run as a DataFrame; see :meth:`table` for the parameters.

        Returns
        -------
        pandas.DataFrame
            Seeds are of the dtype ``string``.

        Raises
        ------
        ConfigurationError
            When pandas is not installed.
        """
        return self.table(every=every, planned=planned).to_pandas()

    def measure(
        self, name: str, function: Callable[[RunImage], Any], *, again: bool = False
    ) -> Table:
        """Measure every image, and keep the values as a column of the run.

        Parameters
        ----------
        name : str
            What the column is called.
        function : callable
            Takes a :class:`RunImage`, whose ``.open()`` has the pixels, and returns a number, a
            text, True, False or None. NaN and infinity count as none; so does an exception, of
            which a warning tells.
        again : bool, optional
            Whether images that have a value are measured again. Default False.

        Returns
        -------
        Table
            The values.

        Raises
        ------
        ParameterError
            When the name is taken by another column, or `function` cannot be called.
        RunLocked
            When the run can only be read here.

        Examples
        --------
        >>> import numpy as np
        >>> run.measure("brightness", lambda image: np.asarray(image.open().convert("L")).mean())
        """
        from fooocus_nb.experiment.measures import measure, measured_table

        return measured_table(self, name, measure(self, name, function, again=again))

    def add_measures(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write lines of measures down, for :meth:`measure`."""
        self._require_writable()
        if isinstance(self.store, RunFolder):
            self.store.append("measures", *lines)

    @overload
    def best(self, by: str = ..., *, count: None = None, lowest: bool = ...) -> RunImage: ...
    @overload
    def best(self, by: str = ..., *, count: int, lowest: bool = ...) -> list[RunImage]: ...
    def best(
        self, by: str = "rating", *, count: int | None = None, lowest: bool = False
    ) -> RunImage | list[RunImage]:
        """Return the best image, or the best ones.

        Parameters
        ----------
        by : str, optional
            ``"rating"``, or the name of a measure. Default ``"rating"``.
        count : int, optional
            How many at the most, as a list. Default: one image alone.
        lowest : bool, optional
            Whether the lowest value is the best. Default False.

        Returns
        -------
        RunImage, or list of RunImage
            The best first; equal ones in their order. What has no value is never among them.

        Raises
        ------
        ParameterError
            When there is no such measure, or no image has a value.
        """
        from fooocus_nb.experiment.measures import best

        found: list[RunImage] = best(self, by, count=count, lowest=lowest)
        return found[0] if count is None else found

    def compare(self, other: Run) -> Comparison:
        """Set another run beside this one, cell by cell.

        Parameters
        ----------
        other : Run
            The other run.

        Returns
        -------
        Comparison
            ``.grid()`` shows both side by side, ``.table()`` has a row for each cell.

        Raises
        ------
        ParameterError
            When `other` is no run.
        """
        from fooocus_nb.experiment.compare import compared

        return compared(self, other)

    def verify(
        self,
        engine: Engine | Pool | Sequence[Engine],
        sample: float | None = None,
        *,
        keep: str | os.PathLike[str] | None = None,
    ) -> Verification:
        """Make its images again, and compare: whether this experiment can be reproduced here.

        Each image is made alone, with its own seed. What is made does not become part of this run,
        nor of the one that this kernel records in.

        Parameters
        ----------
        engine : Engine, Pool, or sequence of Engine
            Who makes them. Several work at the same time; what one leaves that dies goes to the
            others. Workers elsewhere can't.
        sample : int or float, optional
            How many, or which share of them below or equal to 1.0; the same ones each time.
            Default: all.
        keep : path-like, optional
            A new folder for a run of what is made. By default it is removed after the comparison.

        Returns
        -------
        Verification
            ``.ok``, ``.counts``, ``.badges``, and ``.rows`` with the level, the measures and the
            likeliest cause of each image.

        Raises
        ------
        ParameterError
            When `sample` is not possible.
        ConfigurationError
            When `engine` is none of these.

        Examples
        --------
        >>> run.verify(engine, sample=20)
        """
        from fooocus_nb.experiment.verify import verify_run

        return verify_run(self, engine, open_run, sample=sample, keep=keep)

    def share(
        self,
        path: str | os.PathLike[str],
        *,
        originals: bool = False,
        inputs: bool = False,
        notebook: str | os.PathLike[str] | bool | None = None,
        dry_run: bool = False,
    ) -> Share:
        """Write the run as one file for others: a page to look at, or a zip. Both can be opened.

        It holds manifests, plan, ratings, notes, measures, thumbnails and the notebook without its
        outputs; no absolute path, no name of an account or a machine, no secret and no log.

        Parameters
        ----------
        path : path-like
            ``.html`` for a page that works without anything else, ``.zip`` for a folder in a zip.
        originals : bool, optional
            Whether a zip holds the image files, too, byte for byte, with whatever metadata Fooocus
            has written into them. Default False.
        inputs : bool, optional
            Whether it holds the images that generations began with. Default False.
        notebook : path-like or bool, optional
            The notebook that goes with it; False for none. Default: the one of this kernel, where
            it is known.
        dry_run : bool, optional
            Whether only to say what would go in, and how large it would be. Default False.

        Returns
        -------
        Share
            What is in it, and how large it is. Where a page would exceed 100 MB, it is a zip.

        Raises
        ------
        ParameterError
            When the name has another ending, or a page is to hold originals or inputs.
        OutputError
            When something else is at `path`, or it cannot be written.

        Examples
        --------
        >>> run.share("lighthouse.html")
        """
        from fooocus_nb.experiment.share import share_run

        return share_run(
            self,
            path,
            lambda store: Run(store, None),
            originals=originals,
            inputs=inputs,
            notebook=notebook,
            dry_run=dry_run,
        )

    def restore(self, folder: str | os.PathLike[str]) -> Run:
        """Unpack a shared run into a new folder, where a sweep can go on with it.

        What was made counts as made; an image of which there is only a thumbnail stays one.

        Parameters
        ----------
        folder : path-like
            The new folder.

        Returns
        -------
        Run
            The run in the folder.

        Raises
        ------
        RunError
            When this run is a folder already.
        OutputError
            When something is there, or it cannot be written.
        """
        from fooocus_nb.experiment.archive import ArchiveStore, restore

        if not isinstance(self.store, ArchiveStore):
            msg = f"The run {self.path} is a folder already: nothing is to be unpacked."
            raise RunError(msg)
        return open_run(restore(self.store, resolved(folder, "folder")))

    # -- its end ----------------------------------------------------------------------------

    def record(self) -> None:
        """Let everything that this kernel generates from now on become part of the run.

        Raises
        ------
        RunLocked
            When the run can only be read here.
        """
        if not self.recording:
            self._before.append(set_current(self.recorder))

    def flush(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Wait until all hashes are known and the index is written, and return whether they are.

        Parameters
        ----------
        timeout : float
            Seconds to wait at most. Default 120.
        """
        done = self._recorder is None or self._recorder.flush(timeout)
        self._index.save(always=True)
        return done

    def close(self) -> None:
        """Find out what is pending, write the index, and release the run. Harmless when closed.

        It waits 120 s at the most for hashes, such as that of a large checkpoint; what is left then
        is found out when the run is opened next.
        """
        with self._lock:  # not held while the thread, which takes it, is waited for
            if self._closed or self._closing:
                return
            self._closing = True
        try:
            if self._recorder is not None:
                if self.recording:
                    set_current(self._before.pop() if self._before else None)
                self._recorder.close()
            self._index.close()
        finally:  # also where an interrupt ends the wait for hashes
            if self._lease is not None:
                self._lease.release()
            self._closed = True
            _forget(self)
        if self._recorder is not None:
            for text in self._recorder.problems[:MAX_NOTICES]:
                warn_user(text, RunWarning)

    def __enter__(self) -> Self:
        self.record()
        self._depth += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.close()


def open_run(path: str | os.PathLike[str], *, readonly: bool = False, force: bool = False) -> Run:
    """Open a run, or begin a new one where there is none.

    One kernel at a time writes to a run. Where another one does, the run can only be read here,
    and says who that is. Opened twice in one kernel, it is the same :class:`Run`.

    Parameters
    ----------
    path : path-like
        Its folder; or a zip or a page that :meth:`Run.share` has made, which can only be read.
    readonly : bool
        Whether it is only read; then it must be there. Default False.
    force : bool
        Whether a lease is taken over whose holder can't be judged from here, such as one on
        another machine. Only where you know that it has ended. Default False.

    Returns
    -------
    Run
        The run. In a ``with`` block it records everything that this kernel generates.

    Raises
    ------
    RunError
        When something else is there, it is damaged, or a newer version has made it; or when a zip
        holds names that lead out of it.
    OutputError
        When it cannot be made.

    Examples
    --------
    >>> with fooocus_nb.open_run("runs/lighthouse"):
    ...     engine.generate("a lighthouse at dusk", seed=7)
    """
    place = resolved(path, "path")
    if place.is_file():
        return _open_archive(place)
    with _opening:
        if not readonly and (known := _open_here.get(place)) is not None and not known.readonly:
            return known
        folder = RunFolder(place)
        if not folder.exists():
            if readonly:
                msg = f"There is no run {str(place)!r}."
                raise RunError(msg)
            folder.create()
        folder.header()
        run = _open_folder(folder, readonly=readonly, force=force)
        if not run.readonly:
            _open_here[place] = run
            tell_opened(place)
    if run.holder is not None:
        warn_user(f"The run {place} can only be read here: {run.holder} writes to it.", RunWarning)
    for notice in run.notices[:MAX_NOTICES]:
        warn_user(notice, RunWarning)
    return run


_opening = threading.RLock()
#: What this process has open to write, until it is closed.
_open_here: dict[Path, Run] = {}


def _open_folder(folder: RunFolder, *, readonly: bool, force: bool) -> Run:
    if readonly:
        return Run(folder, None, why="it was opened to be read only")
    runs: list[Run] = []

    def lost(why: str) -> None:
        for run in runs:
            run.lost(why)

    lease = Lease(folder.path, lost)
    try:
        holder = lease.acquire(force=force)
    except OutputError as error:
        return Run(folder, None, why=str(error).rstrip("."))
    if holder is not None:
        return Run(folder, None, holder=holder)
    try:
        for name in (MANIFESTS, IMAGES, INPUTS):
            (folder.path / name).mkdir(exist_ok=True)
        folder.remove_parts()
        folder.end_torn_lines()
        run = Run(folder, lease)
    except BaseException:
        lease.release()
        raise
    runs.append(run)
    return run


def _open_archive(path: Path) -> Run:
    """Open a run that was shared as one file."""
    from fooocus_nb.experiment.archive import open_archive

    return Run(open_archive(path), None, why=f"{path.name} is a file; .restore(folder) unpacks it")


def _forget(run: Run) -> None:
    with _opening:
        if _open_here.get(run.path) is run:
            del _open_here[run.path]


def current_run() -> Run | None:
    """Return the run that this kernel records in; None where there is none."""
    recorder = current_recorder()
    if recorder is None:
        return None
    with _opening:
        return next((run for run in _open_here.values() if run.recording), None)
